"""A picture as data: what a figure for papers and notebooks, and the same figure on a page, are drawn from (`figures`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .palette import Style

Form = Literal[
    "line", "thin", "dots", "mean", "diamond", "cross", "below", "above", "hollow", "spots", "words", "band", "bar", "rail"
]
Table = tuple[list[str], list[list[str]]]  # a heading and rows


@dataclass(frozen=True)
class Mark:
    """Something drawn at x and y. `words` are said of each point where a pointer rests on it.

    A band lies between y and `high` at each x, a bar from x to `high` at each y, a rail is a line across at y, below and above
    point to what lies out of the frame, spots are where a pointer finds words, words stand beside a point. Lines break where x
    is NaN.
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
class Guide:
    """A line across a panel at an x or y, or a shade up to `until`, with words beside it."""

    axis: Literal["x", "y"]
    at: float
    words: str = ""
    until: float | None = None


@dataclass(frozen=True)
class Panel:
    """Series on two axes. `rows` name the places 0, 1, ... of an axis that goes down; a view is what an axis shows."""

    series: list[Series]
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    log_x: bool = False
    log_y: bool = False
    rows: list[str] = field(default_factory=list)
    view_x: tuple[float, float] | None = None
    view_y: tuple[float, float] | None = None
    guides: list[Guide] = field(default_factory=list)
    notes: list[tuple[float, str]] = field(default_factory=list)  # words at a height
    image: tuple[list[list[float]], tuple[float, float, float, float]] | None = None  # heights on a grid, and its frame


@dataclass(frozen=True)
class Picture:
    """Panels under a title that says what is seen; `table` has its data. A legend names the labels of the first panel."""

    title: str
    caption: str
    panels: list[Panel]
    table: Table
    columns: int = 1
    legend: bool = True

    @property
    def words(self) -> str:
        """What stands for the picture where it cannot be seen."""
        return f"{self.title}: {self.caption}"
