"""Learning curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...study.data import Curve, Entry, StudyData
from ..picture import Mark, Panel, Picture, Series
from ..registry import Choices, picture
from .parts import during, metric, padded, quarters, shortest, style_of

LEAST_FOR_BAND = 3  # seeds
MOST_THIN = 10  # seeds drawn one by one for each optimizer
POINTS = 21  # points on the curve of a complete run


def _choices(study: StudyData) -> Choices:
    measures = {"metric": during(study)} | ({"loss": "loss"} if study.metric != "loss" else {})
    return {"x": {"steps": "steps", "seconds": "seconds"}, "scale": {"linear": "linear", "log": "log"}, "of": measures}


@picture("curves", order=5, choices=_choices)
def curves(study: StudyData, x: str = "steps", scale: str = "linear", of: str = "metric") -> Picture:
    """Validation metric or loss against training steps: mean, standard error and seeds.

    `x` is "steps" or "seconds", `scale` "linear" or "log", `of` "metric" or "loss". A mean ends where its first seed stopped.
    On a log axis the mean and band are those of the logarithms.
    """
    series, table = [], []
    for row in study.optimizers:
        drawn = _series(study, row, x, scale == "log", "metric" if of == "metric" else "valid")
        if drawn:
            series.append(drawn[0])
            table.append(drawn[1])
    lines = [line.y for one in series if (line := one.mark("line"))]
    own = "validation metric" if study.is_measure else metric(study, "validation")
    words = own if of == "metric" else "validation loss"
    late = [v for line in lines for v in line[len(line) // 5 :]]  # the first fifth does not set the axis
    view = padded(late, 1 / 10) if late and scale != "log" else None
    panel = Panel(series, "step" if x == "steps" else "seconds", words, log_y=scale == "log", view_y=view)
    heading = ["optimizer", "seeds", "at the start", "after a quarter", "half-way", "at the end"]
    title = _leads(study, lines, [one.label for one in series], of)
    return Picture(title, "Mean and standard error; a mean ends where its first seed stopped.", [panel], (heading, table))


def _series(study: StudyData, row: Entry, x: str, log: bool, column: str) -> tuple[Series, list[str]] | None:
    """The marks and the table row of an optimizer; None if it has no mean, or values that a log axis cannot show."""
    each = row.seconds_per_step if x == "seconds" else row.evaluations  # the same x means the same work
    runs = [run for run in row.runs if run.steps]
    at = [each * step for step in shortest(runs)]
    values = np.ma.masked_invalid(np.array([getattr(run, column)[: len(at)] for run in runs], float))  # None is non-finite
    if not at or not values.count(0).all() or (log and not (values > 0).all()):
        return None
    forward, back = (np.ma.log, np.ma.exp) if log else (np.ma.asarray, np.ma.asarray)
    logs = forward(values)
    mean = logs.mean(0)
    marks = [_thin(runs[:MOST_THIN], column, each)]
    if len(runs) >= LEAST_FOR_BAND:
        se = np.ma.filled(logs.std(0, ddof=1), 0.0) / math.sqrt(len(runs))
        marks.append(Mark("band", at, back(mean - se).tolist(), back(mean + se).tolist()))
    stopped = sum(len(run.steps) < POINTS for run in runs)
    n = f"n = {len(runs)}" + (f", {stopped} stopped early" if stopped and len(at) < POINTS else "")
    means = back(mean).tolist()
    marks += Mark.line((k, v, f"{row.label} at {k:.4g}: {v:.5g} ({n})") for k, v in zip(at, means, strict=True))
    table = [row.label, n, *(f"{means[k]:.5g}" for k in quarters(len(at)))]
    return Series(row.label, style_of(study, row), marks), table


def _thin(runs: Sequence[Curve], column: str, each: float) -> Mark:
    """All seeds as one thin line, broken between seeds."""
    x = [v for run in runs for v in (*(each * step for step in run.steps), math.nan)]
    return Mark("thin", x, [math.nan if v is None else v for run in runs for v in (*getattr(run, column), None)])


def _leads(study: StudyData, lines: list[list[float]], labels: list[str], of: str) -> str:
    """A title that says which optimizer leads by its mean, after a quarter of the steps and at the end."""
    if not lines:
        return ""
    best: Callable[..., int] = np.argmax if of == "metric" and study.direction == "max" else np.argmin
    whole = max(map(len, lines))
    full = [k for k, line in enumerate(lines) if len(line) == whole]
    early, late = (labels[full[int(best([lines[k][at] for k in full]))]] for at in (whole // 4, -1))
    what = during(study) if of == "metric" else "loss"
    if len(labels) == 1 or study.is_measure:  # its direction is not the metric's
        return f"The mean {what} of {labels[0] if len(labels) == 1 else 'each'} during training"
    if early == late:
        return f"{late} has the best mean {what} after a quarter of the steps and at the end"
    return f"{early} has the best mean {what} after a quarter of the steps, {late} at the end"
