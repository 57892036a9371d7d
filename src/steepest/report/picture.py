"""A picture as data; `figures` draws it as a matplotlib figure, or as SVG for a page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Self

from .palette import Style

Form = Literal[
    "line", "thin", "dots", "mean", "diamond", "cross", "below", "above", "hollow", "spots", "words", "band", "bar", "rail"
]
Table = tuple[list[str], list[list[str]]]  # a heading and rows
Point = tuple[float, float, str]  # x, y, words


@dataclass(frozen=True)
class Mark:
    """Points, a line, a band or text drawn at x and y. `words` are the tooltips of the points.

    A band spans y to `high` at each x, a bar spans x to `high` at each y, a rail is a line across the panel at y. "below" and
    "above" are arrows to values outside the frame, "spots" are invisible points with tooltips, "words" are text next to a
    point. Lines break where x is NaN.
    """

    form: Form
    x: list[float]
    y: list[float]
    high: list[float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, form: Form, points: Iterable[Point]) -> Self:
        """A mark at points (x, y, words)."""
        points = [*points]
        return cls(form, [float(x) for x, _, _ in points], [float(y) for _, y, _ in points], words=[w for _, _, w in points])

    @classmethod
    def line(cls, points: Iterable[Point]) -> list[Self]:
        """A line through points, and spots on it with their tooltips."""
        points = [*points]
        return [cls.at("line", points), cls.at("spots", points)]


@dataclass(frozen=True)
class Series:
    """The marks of one optimizer in a panel, with their label and style."""

    label: str
    style: Style
    marks: list[Mark]

    def mark(self, form: Form) -> Mark | None:
        """The first mark of this form, or None."""
        return next((mark for mark in self.marks if mark.form == form), None)


@dataclass(frozen=True)
class Guide:
    """A labelled line across a panel at an x or y, or a shaded range from there to `until`."""

    axis: Literal["x", "y"]
    at: float
    words: str = ""
    until: float | None = None


@dataclass(frozen=True)
class Panel:
    """Series on two axes. `rows` label the positions 0, 1, ... of a y axis that points down; a view is an axis's range."""

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
    notes: list[tuple[float, str]] = field(default_factory=list)  # text at a height y
    image: tuple[list[list[float]], tuple[float, float, float, float]] | None = None  # heights on a grid, and its extent


@dataclass(frozen=True)
class Picture:
    """Panels under a title that states the result; `table` has their data. `legend` adds a legend of the series."""

    title: str
    caption: str
    panels: list[Panel]
    table: Table
    columns: int = 1
    legend: bool = True

    @property
    def words(self) -> str:
        """Alternative text of the picture."""
        return f"{self.title}: {self.caption}"
