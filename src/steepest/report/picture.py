"""A picture as data, drawn by matplotlib for papers and notebooks (`figures`) and by bokeh for the page (`plots`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .palette import Style

Form = Literal["line", "thin", "dots", "mean", "diamond", "cross", "band", "bar", "rail"]


@dataclass(frozen=True)
class Mark:
    """Something drawn at x and y. `words` are said of each point where a pointer rests on it.

    A band lies between y and `high` at each x, a bar from x to `high` at each y, a rail is a line across at y. Lines break
    where x is NaN.
    """

    form: Form
    x: list[float]
    y: list[float]
    high: list[float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Series:
    """What a picture shows of one optimizer."""

    label: str
    style: Style
    marks: list[Mark]

    def mark(self, form: Form) -> Mark | None:
        """Its first mark of a form, None where it has none."""
        return next((mark for mark in self.marks if mark.form == form), None)


@dataclass(frozen=True)
class Picture:
    """Series on two axes. `rows` name the places 0, 1, ... of an axis that goes down; `view` is what y shows at first."""

    title: str
    caption: str
    x_label: str
    y_label: str
    series: list[Series]
    log_x: bool = False
    log_y: bool = False
    rows: list[str] = field(default_factory=list)
    view: tuple[float, float] | None = None
    notes: list[tuple[float, str]] = field(default_factory=list)  # words at a height
