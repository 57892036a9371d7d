"""Draw pictures as matplotlib figures, and figures as SVG for a page."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from ..errors import middle_out
from .picture import Guide, Mark, Panel, Picture, Series

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
LONG = re.compile(r"(\d+\.\d)\d+")  # coordinates are cut to a tenth of a point
WIDTH = 5.8  # inches; readable at full width on a phone, and at twice the size on a slide
LONGEST = 58  # characters of a name or a note; longer ones are shortened in the middle, to leave room for the picture
BESIDE = 0.85  # of the characters that fit across a panel, for words beside a point
ACROSS, UP = 12, 14  # characters of an axis label per inch of the x and the y axis
ROW, PANEL, SMALL = 0.26, 3.2, 1.75  # height in inches: of a labelled row, of a panel, of a panel in several columns
DOT = {"linestyle": "", "marker": "o", "markeredgewidth": 0}
GREY = "#555555"
LOOKS: dict[str, dict[str, Any]] = {
    "line": {"linewidth": 1.8},
    "thin": {"linewidth": 0.5, "alpha": 0.35, "linestyle": "solid"},
    "bar": {"linewidth": 2.2, "linestyle": "solid", "solid_capstyle": "butt"},
    "dots": {**DOT, "markersize": 3.5, "alpha": 0.35},
    "mean": {**DOT, "markersize": 6.5},
    "diamond": {"linestyle": "", "marker": "D", "markersize": 6.5, "markeredgecolor": "white"},
    "cross": {"linestyle": "", "marker": "x", "markersize": 5.5},
    "spots": {**DOT, "markersize": 7, "alpha": 0.0},  # invisible, for tooltips
    "hollow": {**DOT, "markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.2},
    "below": {"linestyle": "", "marker": "v", "markersize": 5, "markeredgewidth": 0},
    "above": {"linestyle": "", "marker": "^", "markersize": 5, "markeredgewidth": 0},
}
POINTS = ("dots", "mean", "diamond", "cross", "below", "above", "hollow", "spots")
FONT: Any = {
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8,
    "axes.titleweight": "normal",
    "text.parse_math": False,  # dollars in a name are not math
}


Group = tuple[str, str, list[str]]  # a mark in an SVG: the label of its series, its form, the tooltips of its points


def draw(picture: Picture) -> Figure:
    """Draw the picture as a figure, with the picture's alternative text as its `gid`."""
    return _drawn(picture, legend=True)[0]


def _drawn(picture: Picture, legend: bool) -> tuple[Figure, dict[str, Group]]:
    """Draw a figure; also return the group of each mark by its id. `legend` adds a legend and a title."""
    groups: dict[str, Group] = {}
    with matplotlib.rc_context(FONT):
        columns = picture.columns
        lines = math.ceil(len(picture.panels) / columns)
        small = SMALL if columns > 1 else PANEL if lines == 1 else 0.75 * PANEL
        heights = [max(_height(p, small) for p in picture.panels[k * columns : (k + 1) * columns]) for k in range(lines)]
        figure = Figure(figsize=(WIDTH, sum(heights) + 0.2), layout="constrained", gid=picture.words)
        grid = [*figure.subplots(lines, columns, squeeze=False, gridspec_kw={"height_ratios": heights}).flat]
        for k, (panel, axes) in enumerate(zip(picture.panels, grid, strict=False)):
            most = int(ACROSS * WIDTH / columns), int(UP * _height(panel, small))
            groups |= _panel(axes, panel, k, most)
            if columns > 1 and not panel.log_x:
                axes.locator_params(axis="x", nbins=4)
        for axes in grid[len(picture.panels) :]:
            axes.set_axis_off()
        handles = {label: h for axes in figure.axes for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        if legend and picture.legend and len(handles) > 1:
            named = [*handles.values()], [*handles]
            figure.legend(*named, loc="outside lower center", ncols=3, frameon=False)
        if legend:
            figure.suptitle("\n".join(textwrap.wrap(picture.title, 80)), x=0.01, ha="left", fontsize=9.5)
    return figure, groups


def _height(panel: Panel, otherwise: float) -> float:
    return 0.75 + ROW * len(panel.rows) if panel.rows else otherwise


def _panel(axes: Axes, panel: Panel, number: int, most: tuple[int, int]) -> dict[str, Group]:
    """Draw a panel and return the groups of its marks by id; `most` limits the characters of the x and y labels."""
    groups: dict[str, Group] = {}
    axes.set_xscale("log" if panel.log_x else "linear")
    axes.set_yscale("log" if panel.log_y else "linear")
    if panel.image:
        heights, frame = panel.image
        axes.contourf(heights, extent=frame, levels=24, cmap="Greys", alpha=0.4)
        axes.contour(heights, extent=frame, levels=24, colors="#888888", linewidths=0.3)
    for k, series in enumerate(panel.series):
        for m, mark in enumerate(series.marks):
            name = f"mark {number} {k} {m} {mark.form}"
            shown = _within(mark, panel)
            _draw(axes, series, shown, name, min(LONGEST, int(BESIDE * most[0])))
            groups[name] = series.label, mark.form, shown.words
    if panel.rows:
        axes.set_yticks(range(len(panel.rows)), [middle_out(row, LONGEST) for row in panel.rows])
        axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    if panel.view_x:
        axes.set_xlim(panel.view_x)
    if panel.view_y:
        axes.set_ylim(panel.view_y)
    for guide in panel.guides:
        _guide(axes, guide)
    for height, text in panel.notes:
        note = middle_out(text, LONGEST)
        axes.annotate(note, (0.99, height), xycoords=("axes fraction", "data"), ha="right", va="center", color=GREY)
    axes.set_xlabel(middle_out(panel.x_label, most[0]))
    axes.set_ylabel(middle_out(panel.y_label, most[1]))
    axes.set_title(middle_out(panel.title, most[0]), loc="left")
    axes.tick_params(labelsize=FONT["font.size"])
    for axis, log in ((axes.xaxis, panel.log_x), (axes.yaxis, panel.log_y)):
        if log:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(_Minor(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
    plain(axes)
    return groups


class _Minor(LogFormatter):
    """Minor tick labels for a log axis that spans less than a decade, in the format of the major ones."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _within(mark: Mark, panel: Panel) -> Mark:
    """The mark without its points outside the panel's views; lines and bands are unchanged."""
    if mark.form not in POINTS:
        return mark
    views = [view or (-math.inf, math.inf) for view in (panel.view_x, panel.view_y)]
    keep = [all(low <= v <= high for v, (low, high) in zip(at, views, strict=True)) for at in zip(mark.x, mark.y, strict=True)]
    inside = [k for k, is_inside in enumerate(keep) if is_inside]
    words = [mark.words[k] for k in inside] if mark.words else []
    return replace(mark, x=[mark.x[k] for k in inside], y=[mark.y[k] for k in inside], words=words)


def _guide(axes: Axes, guide: Guide) -> None:
    across = axes.axvline if guide.axis == "x" else axes.axhline
    if guide.until is None:
        across(guide.at, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    else:
        span = axes.axvspan if guide.axis == "x" else axes.axhspan
        span(guide.at, guide.until, color="#000000", alpha=0.06, linewidth=0, zorder=0)
    if guide.words:
        down = guide.axis == "x"
        at = (guide.at, 1.0) if down else (0.01, guide.at)
        transform = axes.get_xaxis_transform() if down else axes.get_yaxis_transform()
        words = f" {middle_out(guide.words, LONGEST // 2)} "
        axes.text(*at, words, transform=transform, ha="left", va="bottom", color=GREY, fontsize=7.5)


def _draw(axes: Axes, series: Series, mark: Mark, name: str, longest: int) -> None:
    """Draw a mark as an SVG group with the id `name`; words beside a point have at most `longest` characters."""
    colour = series.style.colour
    x: Any = mark.x
    y: Any = mark.y
    high = mark.high
    if mark.form == "band":
        axes.fill_between(x, y, high, color=colour, alpha=0.18, linewidth=0, gid=name)
    elif mark.form == "rail":
        axes.axhline(y[0], color=colour, linewidth=0.8, alpha=0.4, zorder=0)
    elif mark.form == "words":
        for at, height, words in zip(x, y, mark.words, strict=True):
            shown = middle_out(words, longest)
            text = axes.annotate(shown, (at, height), (4, 3), textcoords="offset points", fontsize=7, color=GREY, gid=name)
            text.set_in_layout(shown == words)  # shortened text may overlap the edge instead of shrinking the axes
    else:
        x, y = ([x, high], [y, y]) if mark.form == "bar" else (x, y)
        label = middle_out(series.label, LONGEST) if mark.form == "line" else None
        lines = axes.plot(x, y, color=colour, label=label, **{"linestyle": series.style.dash, **LOOKS[mark.form]})
        for line in lines:
            line.set_gid(name)


def plain(axes: Axes) -> None:
    """Remove the box of axes and add a light grid."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)


def svg(picture: Picture, name: str) -> str:
    """The picture as an SVG element, without title and legend, which a page adds itself.

    Each mark is a group with its series' label as `data-series` and its form as the class; its points have their tooltips as
    `data-words`. Every id starts with `name`, so that pictures do not share ids.
    """
    figure, groups = _drawn(picture, legend=False)
    return svg_of(figure, picture.words, name, groups)


def svg_of(figure: Figure, described: str, name: str, groups: Mapping[str, Group] | None = None) -> str:
    """A figure as an SVG element with the alternative text `described`; every id starts with `name`.

    `groups` maps the ids of the marks to their groups.
    """
    file, name = io.StringIO(), re.sub(r"[^A-Za-z0-9-]+", "-", name)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "steepest"}):
        figure.set_gid("picture")
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")), transparent=True)
    for prefix, address in (("", SVG), ("xlink", XLINK)):
        ElementTree.register_namespace(prefix, address)
    drawn = file.getvalue()
    root = ElementTree.fromstring(drawn[drawn.index("<svg") :])
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for group in root.iter(f"{{{SVG}}}g"):
        known = (groups or {}).get(group.get("id", ""))
        if known:
            label, form, words = known
            group.set("data-series", label)
            group.set("class", form)
            for point, text in zip(group.iter(f"{{{SVG}}}use"), words, strict=False):
                point.set("data-words", text)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value.replace(' ', '-')}")
            elif key == f"{{{XLINK}}}href" or "url(#" in value:
                element.set(key, value.replace("#", f"#{name}-"))
            elif key in ("d", "x", "y", "transform", "points"):
                element.set(key, LONG.sub(r"\1", value))
    size = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {"viewBox": size, "role": "img", "aria-label": described}
    return ElementTree.tostring(root, encoding="unicode")
