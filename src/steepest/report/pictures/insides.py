"""Norms of updates, gradients and state inside a run of the first two optimizers."""

from __future__ import annotations

import math

from ...study.data import StudyData
from ...study.recorded import Inside
from ..palette import DASHES, Style, style
from ..picture import Mark, Panel, Picture, Series
from ..registry import picture
from .parts import quarters

MEASURES = {
    "ratio": "norm of update / weights",
    "effective": "norm of update / gradient",
    "cosine": "cosine(update, −gradient)",
    "gradient": "norm of the gradient",
}


@picture("insides", order=8, needs="recorded")
def insides(study: StudyData) -> Picture | None:
    """Updates, gradients and state of the first two optimizers, each trained once more to record them."""
    if study.recorded is None:
        return None
    recorded = study.recorded.insides
    letters = dict.fromkeys(letter for one in recorded for letter in one.state)
    states = {letter: "√ of the mean v" if letter == "v" else f"root mean square of {letter}" for letter in letters}
    panels, table = [], []
    for key, words in (MEASURES | states).items():
        series = []
        for k, one in enumerate(recorded):
            values = _values(one, key)
            if values:
                at = zip(one.steps, values, strict=True)
                line = Mark.line((step, v, f"{one.label} at step {step}: {v:.4g}") for step, v in at)
                series.append(Series(one.label, Style(style(one.name).colour, DASHES[k]), line))
                table.append([words, one.label, *(f"{values[at]:.4g}" for at in quarters(len(values)))])
        log = key != "cosine" and all(v > 0 for one in series for v in one.marks[0].y)
        panels.append(Panel(series, title=words, log_y=log))
    title = f"Inside {' and '.join(one.label for one in recorded)}, on seed 0"
    caption = "One run of each: norms over the whole model, at the evaluated steps."
    heading = ["measure", "optimizer", "first", "after a quarter", "half-way", "last"]
    return Picture(title, caption, panels, (heading, table), columns=2)


def _values(inside: Inside, key: str) -> list[float]:
    """A measure, or the size of a state tensor, along a run; for v, the square root of its mean."""
    values = getattr(inside, key) if key in MEASURES else inside.state.get(key, [])
    return [math.sqrt(v) for v in values] if key == "v" else values
