"""Simulated studies whose truth is known: what the statistics of a comparison promise, and how often it holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from steepest.studies.statistics import ALPHA, alpha_at_look, interval, judge, mean_se


def simulate(studies: int = 10_000, seed: int = 0) -> list[dict[str, Any]]:
    """Simulated studies whose truth is known: how often intervals cover it, and how often "better" is said of equals.

    Each row: what, share, low and high (what the share must lie within, three Monte-Carlo standard errors allowed), holds.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []

    def row(what: str, share: float, low: float, high: float) -> None:
        edge = 3 * float(np.sqrt(share * (1 - share) / studies))
        holds = low - edge <= share <= high + edge
        rows.append({"what": what, "share": share, "low": low, "high": high, "holds": bool(holds)})

    draws: dict[str, tuple[Callable[[tuple[int, int]], Any], float, float]] = {
        "normal": (rng.standard_normal, 0.94, 0.96),
        "Laplace": (lambda size: rng.laplace(size=size), 0.93, 1.0),
        "Student t, 3 degrees of freedom": (lambda size: rng.standard_t(3, size), 0.93, 1.0),
        "Student t, 2 degrees of freedom": (lambda size: rng.standard_t(2, size), 0.93, 1.0),
    }
    for name, (draw, low, high) in draws.items():
        mean, se, n = mean_se(draw((studies, 10)))
        left, right = interval(mean, se, n, 0.05)
        row(f"95 % intervals cover, {name} differences, n = 10", float(((left <= 0) & (right >= 0)).mean()), low, high)
    for count in (2, 3, 7, 10):
        pairs = list(itertools.combinations(range(count), 2))
        values = rng.standard_normal((studies, count, 10)) + rng.standard_normal((studies, 1, 10))
        differences = np.stack([values[:, a] - values[:, b] for a, b in pairs], axis=1)
        said = judge(differences, 0.0)["verdict"] == "better"
        row(f"'better' said among {count} equal optimizers, one look", float(said.any(1).mean()), 0.0, 0.06)
    values = rng.standard_normal((studies, 1, 50))
    wrong = np.zeros(studies, bool)
    for look in range(1, 6):
        said = judge(values[..., : 10 * look], 0.0, alpha_at_look(look))["verdict"] == "better"
        wrong |= said.any(1)
    row("'better' said of 2 equal optimizers in five looks, alpha spent", float(wrong.mean()), 0.0, ALPHA)
    return rows
