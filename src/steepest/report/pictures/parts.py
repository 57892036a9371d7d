"""Helpers shared by pictures: styles, axis labels, means and axis ranges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...study.answer import Named
from ...study.data import Curve, Entry, StudyData
from ..palette import DASHES, Style, style
from ..picture import Series

MOST_ROWS = 24  # rows of a picture; its table has all
SEEN = 12  # pictures of rates and bounds show values up to this many margins behind the best
Numbers = Sequence[float | None]


def style_of(study: StudyData, one: Named | Entry) -> Style:
    """The style of a candidate: the optimizer sets the colour, optimizer and schedule together the dash."""
    courses = sorted({row.schedule for row in study.optimizers} | {one.schedule})
    return style(one.name, courses.index(one.schedule))


def style_by_schedule(study: StudyData, row: Entry) -> Style:
    """A style with one dash per schedule, for pictures in which each optimizer has its own panel."""
    courses = sorted({row.schedule for row in study.optimizers})
    return Style(style(row.name).colour, DASHES[courses.index(row.schedule) % len(DASHES)])


def metric(study: StudyData, split: str) -> str:
    """The axis label of the metric, such as "test accuracy (%)", or of the measure that is raced."""
    if study.is_measure:
        return study.metric
    return f"{split} {study.metric}" + (" (%)" if study.in_points else "")


def during(study: StudyData) -> str:
    """The name of what a learning curve shows: the problem's metric, whatever measure is raced."""
    return "metric" if study.is_measure else study.metric


def amount(x: float | None, digits: int = 3) -> str:
    """A number for a table; empty for None."""
    return "" if x is None else f"{x:.{digits}g}"


def mean(values: Numbers) -> float | None:
    """The mean over a candidate's runs; None if one diverged, which rules the candidate out."""
    ended = [v for v in values if v is not None]
    return sum(ended) / len(ended) if ended and len(ended) == len(values) else None


def shortest(runs: Sequence[Curve]) -> list[int]:
    """The recorded steps of the shortest run, which all runs have."""
    return min((run.steps for run in runs), key=len, default=[])


def quarters(count: int) -> list[int]:
    """Indices of the first, quarter-way, half-way and last of `count` values."""
    return [0, (count - 1) // 4, (count - 1) // 2, count - 1]


def is_wide(values: Sequence[float]) -> bool:
    """Whether these values need a log axis."""
    return bool(values) and min(values) > 0 and max(values) > 5 * min(values)


def padded(values: Sequence[float], share: float) -> tuple[float, float]:
    """The range of values, extended by a share of it on each side."""
    pad = share * (max(values) - min(values) or abs(max(values)) or 1.0)
    return min(values) - pad, max(values) + pad


def view(series: Sequence[Series], axis: str = "x") -> tuple[float, float] | None:
    """The range of an axis without outliers, far from the quartiles of the means; None shows everything."""
    marks = [mark for one in series for mark in one.marks]
    values = [v for mark in marks for v in getattr(mark, axis) + (mark.high if axis == "x" else [])]
    means = [v for mark in marks if mark.form == "mean" for v in getattr(mark, axis)]
    if len(means) < 3:
        return None
    low, high = np.percentile(means, [25, 75])
    reach = 6 * (high - low) or abs(high) or 1.0
    return padded([v for v in values if low - reach <= v <= high + reach], 1 / 20)
