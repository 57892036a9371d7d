"""Helpers of several pictures: styles, labels of axes, means, and the range that an axis shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...study.answer import Named
from ...study.data import Curve, Entry, StudyData
from ..palette import DASHES, Style, style
from ..picture import Series

MOST_ROWS = 24  # of a picture; its table has all
SEEN = 12  # margins behind the best, at most, in a picture of rates or bounds
Numbers = Sequence[float | None]


def style_of(study: StudyData, one: Named | Entry) -> Style:
    """The style of a candidate: the colour of its optimizer, the dash of both that and its schedule."""
    courses = sorted({row.schedule for row in study.optimizers} | {one.schedule})
    return style(one.name, courses.index(one.schedule))


def style_by_schedule(study: StudyData, row: Entry) -> Style:
    """A style whose dash is the schedule's, the same for all optimizers, where each has a panel of its own."""
    courses = sorted({row.schedule for row in study.optimizers})
    return Style(style(row.name).colour, DASHES[courses.index(row.schedule) % len(DASHES)])


def metric(study: StudyData, split: str) -> str:
    """The words for the metric on an axis, such as "test accuracy (%)"."""
    return f"{split} {study.metric}" + (" (%)" if study.in_points else "")


def amount(x: float | None, digits: int = 3) -> str:
    """A number for a table; empty for None."""
    return "" if x is None else f"{x:.{digits}g}"


def mean(values: Numbers) -> float | None:
    """The mean of the runs of a candidate; None if one diverged, since it is not a choice then."""
    ended = [v for v in values if v is not None]
    return sum(ended) / len(ended) if ended and len(ended) == len(values) else None


def shortest(runs: Sequence[Curve]) -> list[int]:
    """The steps of the run that ended first: those that all have."""
    return min((run.steps for run in runs), key=len, default=[])


def quarters(count: int) -> list[int]:
    """The indices of the first of so many values, of those after a quarter and half-way, and of the last."""
    return [0, (count - 1) // 4, (count - 1) // 2, count - 1]


def is_wide(values: Sequence[float]) -> bool:
    """Whether an axis of these values is better logarithmic."""
    return bool(values) and min(values) > 0 and max(values) > 5 * min(values)


def padded(values: Sequence[float], share: float) -> tuple[float, float]:
    """The range of values, and a share of it more on each side."""
    pad = share * (max(values) - min(values) or abs(max(values)) or 1.0)
    return min(values) - pad, max(values) + pad


def view(series: Sequence[Series], axis: str = "x") -> tuple[float, float] | None:
    """What an axis shows: the middle of what is drawn without single far points; None for all."""
    marks = [mark for one in series for mark in one.marks]
    values = [v for mark in marks for v in getattr(mark, axis) + (mark.high if axis == "x" else [])]
    means = [v for mark in marks if mark.form == "mean" for v in getattr(mark, axis)]
    if len(means) < 3:
        return None
    low, high = np.percentile(means, [25, 75])
    reach = 6 * (high - low) or abs(high) or 1.0
    return padded([v for v in values if low - reach <= v <= high + reach], 1 / 20)
