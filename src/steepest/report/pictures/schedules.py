"""Schedules, and the training loss under each."""

from __future__ import annotations

import numpy as np

from ...study.data import Entry, StudyData
from ..picture import Mark, Panel, Picture, Series
from ..registry import picture
from .parts import is_wide, shortest, style_by_schedule


@picture("schedules", order=6)
def schedules(study: StudyData) -> Picture | None:
    """The learning rate of the pick's optimizer at each step, one line per schedule, and the training loss below."""
    pick = study.answer.pick
    name = pick.name if pick else study.optimizers[0].name
    rates, losses, table = [], [], []
    for row in study.optimizers:
        if row.name != name or row.lr is None:
            continue
        applied = [(k * row.evaluations, row.lr * multiplier) for k, multiplier in row.multipliers]
        rates.append(_series(study, row, applied, "rate "))
        runs = [run for run in row.runs if run.steps]
        if not runs:
            continue
        steps = shortest(runs)
        loss = np.array([run.train[: len(steps)] for run in runs], float).mean(0).tolist()
        losses.append(_series(study, row, [(k * row.evaluations, v) for k, v in zip(steps, loss, strict=True)]))
        table.append([row.schedule, f"{row.lr:g}", f"{applied[-1][1]:.3g}", f"{loss[-1]:.4g}"])
    values = [v for series in losses for v in series.marks[0].y]
    below = Panel(losses, "step", "training loss", log_y=is_wide(values))
    title = f"The rate of {name}, and the training loss under it"
    caption = "Learning rate at each step, for the rate at which each schedule raced; batch losses are means over seeds."
    heading = ["schedule", "rate", "last rate", "last training loss"]
    return Picture(title, caption, [Panel(rates, y_label="rate"), below], (heading, table))


def _series(study: StudyData, row: Entry, points: list[tuple[int, float]], what: str = "") -> Series:
    line = Mark.line((k, v, f"{row.schedule} at step {k}: {what}{v:.4g}") for k, v in points)
    return Series(row.schedule, style_by_schedule(study, row), line)
