"""Pictures as matplotlib figures."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .picture import Mark, Picture, Series

DOT = {"linestyle": "", "marker": "o", "markeredgewidth": 0}
LOOKS: dict[str, dict[str, Any]] = {
    "line": {"linewidth": 2.2},
    "thin": {"linewidth": 0.6, "alpha": 0.3, "linestyle": "solid"},
    "bar": {"linewidth": 2.5, "linestyle": "solid", "solid_capstyle": "butt"},
    "dots": {**DOT, "markersize": 4.5, "alpha": 0.3},
    "mean": {**DOT, "markersize": 8},
    "diamond": {"linestyle": "", "marker": "D", "markersize": 8, "markeredgecolor": "white"},
    "cross": {"linestyle": "", "marker": "x", "markersize": 7},
}


def draw(picture: Picture) -> Figure:
    """The picture as a figure; its caption is the figure's alternative text."""
    height = 1.2 + 0.45 * len(picture.rows) if picture.rows else 4.5
    figure = Figure(figsize=(7, height), layout="constrained", gid=f"{picture.title}: {picture.caption}")
    axes = figure.subplots()
    for series in picture.series:
        for mark in series.marks:
            _draw(axes, series, mark)
    axes.set_xscale("log" if picture.log_x else "linear")
    axes.set_yscale("log" if picture.log_y else "linear")
    if picture.rows:
        axes.set_yticks(range(len(picture.rows)), picture.rows)
        axes.set_ylim(len(picture.rows) - 0.5, -0.5)
    else:
        axes.legend(frameon=False, fontsize="small")
    if picture.view:
        axes.set_ylim(picture.view)
    for height, words in picture.notes:
        axes.annotate(words, (0.99, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#555555")
    axes.set_xlabel(picture.x_label)
    axes.set_ylabel(picture.y_label)
    axes.set_title(picture.title, loc="left")
    plain(axes)
    return figure


def _draw(axes: Axes, series: Series, mark: Mark) -> None:
    colour = series.style.colour
    x: Any = mark.x
    y: Any = mark.y
    high = mark.high
    if mark.form == "band":
        axes.fill_between(x, y, high, color=colour, alpha=0.2, linewidth=0)
    elif mark.form == "rail":
        axes.axhline(y[0], color=colour, linewidth=0.8, alpha=0.4, zorder=0)
    else:
        x, y = ([x, high], [y, y]) if mark.form == "bar" else (x, y)
        label = series.label if mark.form == "line" else None
        axes.plot(x, y, color=colour, label=label, **{"linestyle": series.style.dash, **LOOKS[mark.form]})


def plain(axes: Axes) -> None:
    """Axes without a box, with a light grid."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(alpha=0.25)
