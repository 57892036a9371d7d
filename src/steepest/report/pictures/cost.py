"""The cost of optimizers in time and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...study.data import Entry, StudyData
from ..picture import Mark, Panel, Picture, Series
from ..registry import picture
from .parts import metric, style_of, view


@picture("cost", order=7)
def cost(study: StudyData) -> Picture | None:
    """The mean metric against the seconds of a run, and against the bytes of optimizer state."""
    rows = [(row, row.mean) for row in study.optimizers if row.mean is not None]
    if len(rows) < 2:
        return None
    panels = [
        _panel(study, rows, _seconds, "seconds of a run", "s", metric(study, study.split)),
        _panel(study, rows, _state, "bytes of state", "B", ""),
    ]
    table = [[row.label, f"{_seconds(row):.3g}", str(row.state_bytes), f"{mean:.5g}"] for row, mean in rows]
    fast, small = (min((row for row, _ in rows), key=of) for of in (_seconds, _state))
    title = f"{fast.label} is the fastest, {small.label} has the smallest state"
    title = f"{small.label} is the fastest and has the smallest state" if fast is small else title
    caption = "Means against the seconds of a run, timed alone, and the bytes of optimizer state."
    return Picture(
        title, caption, panels, (["optimizer", "seconds of a run", "bytes of state", "mean"], table), 2, legend=False
    )


def _seconds(row: Entry) -> float:
    return row.seconds_per_step * row.length


def _state(row: Entry) -> float:
    return row.state_bytes


def _panel(
    study: StudyData, rows: Sequence[tuple[Entry, float]], of: Callable[[Entry], float], axis: str, unit: str, y_label: str
) -> Panel:
    """Means against a cost, with labels on the Pareto front: those that none beats in both cost and mean."""
    series = []
    for row, mean in rows:
        words = f"{row.label}: {of(row):.3g} {unit}, mean {mean:.5g}"
        series.append(Series(row.label, style_of(study, row), [Mark("mean", [float(of(row))], [mean], words=[words])]))
    sign = -1.0 if study.direction == "max" else 1.0
    best = math.inf
    for one in sorted(series, key=lambda one: (one.marks[0].x[0], sign * one.marks[0].y[0])):
        if sign * one.marks[0].y[0] < best:
            best = sign * one.marks[0].y[0]
            one.marks.append(Mark("words", one.marks[0].x, one.marks[0].y, words=[one.label]))
    return Panel(series, axis, y_label, view_y=view(series, "y"))
