"""Simulations of intervals and bounds with a known truth, without a race."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from steepest.study import bounds, claims
from steepest.study.statistics import ALPHA, LEAST_PAIRS, alpha_at_look, interval, judge, mean_se

from .calibrated import Row, figure, verdict

Array = NDArray[np.float64]
MOST_SEEDS = 40  # in a simulated race
TRUTHS = {
    2: np.array([0, -0.3]),
    5: np.array([0, 0, 0, -0.3, -1]),
    15: np.repeat([0, -0.3, -1], [10, 3, 2]),
}  # in standard deviations of a difference


def simulate(studies: int = 10_000, seed: int = 0) -> list[Row]:
    """Simulate studies with a known truth: coverage of intervals, and how often an equal optimizer is called "better".

    Rows have what, share, low and high (the allowed range, plus three Monte-Carlo standard errors), and holds.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []

    def row(what: str, share: float, low: float, high: float) -> None:
        rows.append(verdict(what, share, low, high, studies))

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


SPREADS = {  # variances of a result: by seed, by example, residual
    "seeds vary most": (0.2, 0.02, 1.0),
    "examples vary most": (0.02, 0.2, 1.0),
    "both vary": (0.1, 0.1, 1.0),
    "neither varies": (0.0, 0.0, 1.0),
}


def on_new_examples(studies: int, seed: int = 0) -> Iterator[Row]:
    """Simulate the coverage of the 95 % bound on new examples, for crossed results: normal, and 0 or 1."""
    rng = np.random.default_rng((seed, 5))
    for examples, seeds in itertools.product((89, 360), (8, 20)):
        for name, spread in SPREADS.items():
            covered = []
            for _ in range(studies):
                pick, other = (_crossed(rng, seeds, examples, spread) for _ in range(2))
                covered.append(_bound(pick, other) >= 0)
            what = f"the bound on new examples covers: {seeds} seeds, {examples} examples, normal, {name}"
            yield verdict(what, float(np.mean(covered)), 1 - ALPHA, 1.0, studies)
        for right in (0.9, 0.97):
            covered = []
            for _ in range(studies):
                hard = rng.standard_normal(examples)
                pick, other = (_right(rng, seeds, hard, right) for _ in range(2))
                covered.append(_bound(pick, other) >= 0)
            what = f"the bound on new examples covers: {seeds} seeds, {examples} examples, {100 * right:.0f} % right"
            yield verdict(what, float(np.mean(covered)), 1 - ALPHA, 1.0, studies)


def _bound(pick: Array, other: Array) -> float:
    """The 95 % upper bound on how far a rival is ahead of the pick on new examples; results are (seeds, examples)."""
    gap = claims.paired(other.mean(1).tolist(), pick.mean(1).tolist(), ALPHA)
    means, halves = np.array([[0.0, gap.mean], [0.0, gap.high - gap.mean]])
    return float(bounds.on_new_examples([pick, other], means, halves, 0, ALPHA)[0][1])


def _crossed(rng: np.random.Generator, seeds: int, examples: int, spread: tuple[float, float, float]) -> Array:
    """Results of shape (seeds, examples) and mean 0, with these variances by seed, by example and residual."""
    by_seed, by_example, rest = np.sqrt(spread)
    effects = by_seed * rng.standard_normal((seeds, 1)) + by_example * rng.standard_normal(examples)
    return np.asarray(effects + rest * rng.standard_normal((seeds, examples)))


def _right(rng: np.random.Generator, seeds: int, hard: Array, right: float) -> Array:
    """1 for a correct example, else 0; difficulty has a shared, a candidate's and a seed's effect, and noise."""
    own, by_seed = rng.standard_normal(len(hard)), rng.standard_normal((seeds, 1))
    latent = 2 * hard + 0.5 * own + 0.2 * by_seed + rng.standard_normal((seeds, len(hard)))
    return np.asarray(latent < special.ndtri(right) * np.sqrt(4 + 0.25 + 0.04 + 1), float)


def boundaries(studies: int, seed: int = 0) -> Iterator[Row]:
    """The mean bound of the pick of 15 candidates after 10, 20 and 40 seeds, for three ways to look often, at one level."""
    rng, truth = np.random.default_rng((seed, 6)), TRUTHS[15].astype(float)
    count, looks = len(truth), bounds.looks(MOST_SEEDS)
    level = ALPHA / (count - 1)
    ways = {
        "the shares of alpha used": {n: _t(n, level * bounds.spent(k)) for k, n in enumerate(looks)},
        "equal shares of 12 looks and none later": {n: _t(n, level / len(looks)) for n in looks},
        "a t confidence sequence": {n: confidence_sequence(n, level) for n in range(LEAST_PAIRS, MOST_SEEDS + 1)},
    }
    seen: dict[tuple[str, int], list[float]] = {}
    for _ in range(studies):
        values = truth[:, None] + rng.standard_normal((count, MOST_SEEDS)) / np.sqrt(2)
        differences = values[:, None] - values[None]
        for way, factors in ways.items():
            ahead = np.where(np.eye(count, dtype=bool), 0.0, np.inf)
            for n in range(LEAST_PAIRS, MOST_SEEDS + 1):
                if np.isfinite(factor := factors.get(n, np.inf)):
                    some = differences[..., :n]
                    ahead = np.minimum(ahead, some.mean(-1) + factor * some.std(-1, ddof=1))
                if n in (10, 20, 40):
                    possible = (ahead > 0).sum(1) == count - 1
                    seen.setdefault((way, n), []).append(float(ahead[possible].max(0).min()))
    for (way, n), bound in seen.items():
        yield figure(f"mean bound of 15 candidates after {n} seeds, by {way}", float(np.mean(bound)), "SD")


def _t(n: int, level: float) -> float:
    """The distance of a one-sided t bound from the mean of n values, in standard deviations."""
    return float(special.stdtrit(n - 1, 1 - level) / np.sqrt(n))


def confidence_sequence(n: int, level: float, tuned: int = 20) -> float:
    """The distance of a t confidence sequence, valid at every n, from the mean of n values, in standard deviations.

    A Gaussian mixture over effects under the right Haar prior (Wang & Ramdas 2025), one-sided as half of a two-sided one of
    twice the level, which favours it slightly. The mixture is the tightest at `tuned` seeds.
    """

    def radius(count: int, g: float) -> float:
        spread = 1 + count * g
        a = (np.sqrt(spread) / (2 * level)) ** (2 / count)
        return float(np.sqrt((a - 1) / (1 - a / spread) * (count - 1) / count)) if a < spread else np.inf

    best = min(np.geomspace(0.01, 100, 200).tolist(), key=lambda g: radius(tuned, g))
    return radius(n, best)
