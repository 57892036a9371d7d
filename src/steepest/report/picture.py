"""A picture as data: what a figure for papers and notebooks, and the same figure on a page, are drawn from (`figures`)."""

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
    """Something drawn at x and y. `words` describe each point, shown where a pointer rests on it.

    A band is between y and `high` at each x, a bar from x to `high` at each y, a rail is a line across at y, below and above
    point to what is out of the frame, spots are invisible points with words for a pointer, words are text next to a point.
    Lines break where x is NaN.
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
        """A line through points, and spots on it where a pointer finds their words."""
        points = [*points]
        return [cls.at("line", points), cls.at("spots", points)]


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
    """A line across a panel at an x or y, or a shade up to `until`, with a label."""

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
    """Panels under a title that states the result; `table` has its data. A legend names the labels of the first panel."""

    title: str
    caption: str
    panels: list[Panel]
    table: Table
    columns: int = 1
    legend: bool = True

    @property
    def words(self) -> str:
        """The alternative text of the picture."""
        return f"{self.title}: {self.caption}"
