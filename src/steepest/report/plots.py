"""Pictures as bokeh plots, for a page."""

from __future__ import annotations

from typing import Any

from bokeh.models.annotations import Legend, LegendItem
from bokeh.models.sources import ColumnDataSource
from bokeh.models.tickers import FixedTicker
from bokeh.models.tools import HoverTool
from bokeh.plotting import figure

from .picture import Mark, Picture, Series

LOOKS: dict[str, dict[str, Any]] = {
    "line": {"line_width": 2.5},
    "thin": {"line_width": 0.7, "alpha": 0.35},
    "band": {"alpha": 0.2},
    "bar": {"line_width": 2.5},
    "dots": {"size": 6, "alpha": 0.35, "line_color": None},
    "mean": {"size": 11},
    "diamond": {"marker": "diamond", "size": 15, "line_color": "white"},
    "cross": {"marker": "x", "size": 10, "line_width": 2},
    "rail": {},
}


def draw(picture: Picture) -> Any:
    """The picture as a plot; a click on a name in its legend hides that one."""
    plot: Any = figure(
        height=120 + 36 * len(picture.rows) if picture.rows else 420,
        sizing_mode="stretch_width",
        toolbar_location="above",
        tools="pan,box_zoom,reset,save",
        x_axis_type="log" if picture.log_x else "linear",
        y_axis_type="log" if picture.log_y else "linear",
        x_axis_label=picture.x_label,
        y_axis_label=picture.y_label,
    )
    plot.toolbar.logo = None
    plot.grid.grid_line_alpha = 0.5
    plot.outline_line_color = None
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "13px"
    plot.axis.axis_label_text_font_style = "normal"
    if picture.rows:
        plot.y_range.start, plot.y_range.end = len(picture.rows) - 0.5, -0.5
        plot.yaxis.ticker = FixedTicker(ticks=[*range(len(picture.rows))])
        plot.yaxis.major_label_overrides = dict(enumerate(picture.rows))
        plot.ygrid.visible = False
    if picture.view:
        plot.y_range.start, plot.y_range.end = picture.view
    items = []
    for series in picture.series:
        glyphs = [glyph for mark in series.marks if (glyph := _draw(plot, series, mark))]
        items.append(LegendItem(label=series.label, renderers=glyphs))
    if not picture.rows:
        legend = Legend(items=items, click_policy="hide")
        legend.border_line_color = None
        plot.add_layout(legend, "right")
    return plot


def _draw(plot: Any, series: Series, mark: Mark) -> Any:
    """The glyph of a mark; None for a rail, which no legend hides."""
    look = {"color": series.style.colour, **LOOKS[mark.form]}
    if mark.form == "rail":
        plot.hspan(mark.y, line_color=series.style.colour, line_alpha=0.3, level="underlay")
        return None
    if mark.form == "band":
        return plot.varea(mark.x, mark.y, mark.high, **look)
    if mark.form == "bar":
        return plot.segment(mark.x, mark.y, mark.high, mark.y, **look)
    source = ColumnDataSource({"x": mark.x, "y": mark.y, "words": mark.words or [""] * len(mark.x)})
    if mark.form == "thin":
        return plot.line("x", "y", source=source, **look)
    if mark.form == "line":
        glyph = plot.line("x", "y", source=source, line_dash=series.style.dash, **look)
    else:
        glyph = plot.scatter("x", "y", source=source, **look)
    plot.add_tools(HoverTool(renderers=[glyph], tooltips=[("", "@words")]))
    return glyph
