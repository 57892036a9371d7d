"""What each picture of a study shows, as numbers: both the figures and the page draw from these."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...studies import statistics as st
from ...studies.running import Entry, Result
from ..palette import Style, style

LEAST_FOR_BAND = 3  # seeds


@dataclass(frozen=True)
class Rank:
    """One row of the ranking: every seed's value, their mean and its 95 % interval (None where there is none)."""

    label: str
    style: Style
    values: list[float]
    mean: float | None
    low: float | None
    high: float | None
    diverged: int


@dataclass(frozen=True)
class Sweep:
    """One optimizer's sensitivity to the rate: mean over seeds at each rate, every seed, the diverged runs by rate, and where
    those stand: on a rail of its own beyond the worst value, so that no optimizer's hide another's."""

    label: str
    style: Style
    rates: list[float]
    means: list[float]
    points: list[tuple[float, float]]
    diverged: list[tuple[float, int, int]]
    chosen: float
    rail: float


@dataclass(frozen=True)
class Curves:
    """One optimizer's learning curves on validation data: each seed's, their mean, and its standard error or None."""

    label: str
    style: Style
    seeds: list[tuple[list[int], list[float]]]
    steps: list[int]
    mean: list[float]
    se: list[float] | None


@dataclass(frozen=True)
class Axis:
    """How values are drawn: the axis' words, whether it is logarithmic, what to show."""

    label: str
    log: bool
    view: tuple[float, float] | None = None


def _style(result: Result, entry: Entry) -> Style:
    schedules = sorted({e.candidate.schedule for e in result.entries})
    return style(entry.candidate.rule.name, schedules.index(entry.candidate.schedule))


def metric_label(result: Result, split: str) -> str:
    """The words for the metric on an axis, such as "test accuracy (%)"."""
    problem = result.design.problem
    return f"{split} {problem.metric_name}" + (" (%)" if problem.in_points else "")


def ranking(result: Result) -> list[Rank]:
    """Rows of the ranking, best first."""
    rows = []
    for entry in result.entries:
        values = [v for v in entry.values if v is not None]
        mean, se, n = st.mean_se(values)
        low, high = (x.item() if n > 1 else None for x in st.interval(mean, se, n, 0.05))
        middle = mean.item() if n else None
        diverged = len(entry.values) - len(values)
        rows.append(Rank(entry.candidate.label, _style(result, entry), values, middle, low, high, diverged))
    return rows


def sweeps(result: Result) -> tuple[list[Sweep], Axis]:
    """The sweep of every optimizer, and the axis."""
    values = [v for entry in result.entries for t in entry.trials for v in t.values if v is not None]
    axis = _axis(metric_label(result, "validation"), values, result)
    rails = _rails(values, axis.log, result.design.problem.direction, len(result.entries))
    made = []
    for entry, rail in zip(result.entries, rails, strict=True):
        points = [(t.lr, v) for t in entry.trials for v in t.values if v is not None]
        kept = [
            (t.lr, np.mean([v for v in t.values if v is not None]).item()) for t in entry.trials if t.diverged < len(t.values)
        ]
        diverged = [(t.lr, t.diverged, len(t.values)) for t in entry.trials if t.diverged]
        rates, means = [lr for lr, _ in kept], [m for _, m in kept]
        made.append(Sweep(entry.candidate.label, _style(result, entry), rates, means, points, diverged, entry.lr, rail))
    return made, axis


def curves(result: Result) -> tuple[list[Curves], Axis]:
    """The learning curves of the confirming runs. A mean stops where the first of its seeds stopped."""
    made = []
    for entry in result.entries:
        each = entry.candidate.rule.evaluations  # so that equal work stands at equal places
        seeds = [([each * step for step in o.curve.steps], o.curve.metric) for o in entry.outcomes]
        shortest = min(len(steps) for steps, _ in seeds)
        table = np.array([values[:shortest] for _, values in seeds])
        se = None if len(seeds) < LEAST_FOR_BAND else (table.std(0, ddof=1) / math.sqrt(len(seeds))).tolist()
        mean = table.mean(0).tolist()
        made.append(Curves(entry.candidate.label, _style(result, entry), seeds, seeds[0][0][:shortest], mean, se))
    axis = _axis(metric_label(result, "validation"), [v for c in made for _, metric in c.seeds for v in metric], result)
    return made, Axis(axis.label, axis.log, view=None if axis.log else _view([c.mean for c in made]))


def _axis(label: str, values: list[float], result: Result) -> Axis:
    low, high = min(values, default=1.0), max(values, default=1.0)
    return Axis(label, result.design.problem.direction == "min" and low > 0 and high > 20 * low)


def _view(means: list[list[float]]) -> tuple[float, float]:
    """The range where the means lie after their first fifth: what happens there is what a comparison asks about."""
    late = [v for mean in means for v in mean[len(mean) // 5 :]] or [0.0]
    pad = (max(late) - min(late) or abs(max(late)) or 1.0) / 10
    return min(late) - pad, max(late) + pad


def _rails(values: list[float], log: bool, direction: str, count: int) -> list[float]:
    """Places beyond the worst value: the first a twelfth of the axis away, the next ones a thirtieth further each."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    shares = [1 / 12 + i / 30 for i in range(count)]
    if log:
        return [float(high * (high / low) ** share) for share in shares]
    span = high - low or abs(high) or 1.0
    return [high + span * share if direction == "min" else low - span * share for share in shares]
