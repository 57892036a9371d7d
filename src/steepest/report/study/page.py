"""The report: one HTML file with table, verdicts, code and three pictures. It holds all it needs and opens offline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bokeh.embed import components
from bokeh.models.annotations import Legend, LegendItem, Span, TeeHead, Whisker
from bokeh.models.sources import ColumnDataSource
from bokeh.models.tools import HoverTool
from bokeh.plotting import figure
from bokeh.resources import Resources

from ...checks import writable
from ...errors import SteepestError
from ...studies.running import Result
from . import series, summary

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.7rem;margin:0 0 .2rem} h2{font-size:1.15rem;margin:2.2rem 0 .5rem} .about{color:#555;margin:0 0 1rem}
.answer{font-size:1.1rem;font-weight:600;border-left:4px solid #0072B2;padding-left:.8rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.3rem .9rem .3rem 0;text-align:right;white-space:nowrap;border-bottom:1px solid #e3e3e3}
th:first-child,td:first-child{text-align:left} th{font-weight:600}
pre{background:#f5f5f5;padding:.8rem 1rem;overflow-x:auto} li{margin:.15rem 0}
.better{color:#00664a} .undecided{color:#555} figure{margin:0} figcaption{color:#555;font-size:.9rem}
footer{margin:3rem 0 1rem;padding-top:1rem;border-top:1px solid #ccc;color:#555;font-size:.85rem}
"""

CAPTIONS = (
    ("Ranking", "Mean, 95 % interval and every seed, best on top."),
    (
        "Sensitivity to the rate",
        "Mean and every seed, on validation data. Diamonds: the rates chosen. Crosses on the rails: diverged runs.",
    ),
    (
        "Learning curves",
        "Mean ± standard error thick, every seed thin; a mean stops where a seed stopped. Click a name to hide it.",
    ),
)


def write(results: Sequence[Result], path: str | Path, command: str) -> Path:
    """Write the report of these studies; `command` is what made it. SteepestError where the folder does not exist."""
    path = check(path)
    plots = [plot for result in results for plot in (_ranking(result), _sensitivity(result), _curves(result))]
    script, divs = components(plots)
    sections = "\n".join(_section(result, divs[3 * i : 3 * i + 3]) for i, result in enumerate(results))
    protocols = "\n".join(f"<p>{html.escape(r.design.problem.name)}: {html.escape(summary.protocol(r))}</p>" for r in results)
    title = "steepest: " + ", ".join(r.design.problem.name for r in results)
    versions = ", ".join(f"{name} {number}" for name, number in results[0].versions.items())
    text = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE}</style>
{Resources(mode="inline", components=["bokeh"]).render()}
</head><body>
{sections}
<footer><h2>Protocol</h2>
{protocols}
<p>Made by <code>{html.escape(command)}</code><br>{html.escape(versions)}; {results[0].design.device}</p></footer>
{script}
</body></html>
"""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SteepestError(f"The report cannot be written to {path}: {error.strerror}.") from error
    return path


def check(path: str | Path) -> Path:
    """The path of a report that can be written there; SteepestError for another."""
    return writable("report", path, "report.html")


def _section(result: Result, divs: Sequence[str]) -> str:
    escape = html.escape
    heading, rows = summary.cells(result)
    head = "".join(f"<th>{escape(word)}</th>" for word in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    verdicts = "".join(f'<li class="{v.verdict}">{escape(v.sentence)} {escape(_beside(v))}</li>' for v in result.verdicts)
    notes = "".join(f"<p>Note: {escape(note)}</p>" for note in result.notes)
    problem = result.design.problem
    optimum = (
        f"<p>The least loss possible is {problem.optimum[0]:.6g}: {escape(problem.optimum[1])}.</p>" if problem.optimum else ""
    )
    pictures = "".join(
        _picture(title, caption, summary.answer(result), div) for (title, caption), div in zip(CAPTIONS, divs, strict=True)
    )
    lines = escape(summary.code(result.entries[0], result.design.steps))
    choice = f"<h2>The choice, to paste</h2><pre>{lines}</pre>" if result.entries[0].summary()[0] is not None else ""
    return f"""<section><h1>{escape(problem.name)}</h1><p class="about">{escape(problem.about)}</p>
<p class="answer">{escape(summary.answer(result))}</p>
<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{optimum}{notes}
{choice}
{pictures}
<h2>Verdicts</h2><ul>{verdicts}</ul></section>"""


def _picture(title: str, caption: str, answer: str, div: str) -> str:
    label = html.escape(f"{title}: {caption} {answer}")
    return f'<h2>{title}</h2><figure role="img" aria-label="{label}">{div}<figcaption>{caption}</figcaption></figure>'


def _beside(verdict: Any) -> str:
    """What stands beside a verdict and decides nothing."""
    p, least = verdict.sign_flip
    return f"Sign-flip permutation p = {p:.2g} (least possible {least:.2g})."


def _figure(**options: Any) -> Any:
    plot = figure(height=420, sizing_mode="stretch_width", toolbar_location="above", tools="pan,box_zoom,reset,save", **options)
    plot.toolbar.logo = None
    plot.grid.grid_line_alpha = 0.5
    plot.outline_line_color = None
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "13px"
    plot.axis.axis_label_text_font_style = "normal"
    return plot


def _legend(plot: Any, items: list[tuple[str, list[Any]]]) -> None:
    legend = Legend(items=[LegendItem(label=label, renderers=glyphs) for label, glyphs in items], click_policy="hide")
    legend.border_line_color = None
    plot.add_layout(legend, "right")


def _ranking(result: Result) -> Any:
    rows = series.ranking(result)
    names = [row.label for row in rows]
    plot = _figure(y_range=names[::-1], x_axis_label=series.metric_label(result, result.design.split))
    plot.height = 120 + 36 * len(rows)
    for row in rows:
        colour = row.style.colour
        seeds = ColumnDataSource({"x": row.values, "y": [row.label] * len(row.values)})
        dots = plot.scatter("x", "y", source=seeds, size=7, color=colour, alpha=0.3, line_color=None)
        plot.add_tools(HoverTool(renderers=[dots], tooltips=[("", "@y: @x{0.0000}")]))
        if row.low is not None:
            bar = ColumnDataSource({"y": [row.label], "low": [row.low], "high": [row.high]})
            whisker = Whisker(
                base="y", lower="low", upper="high", source=bar, dimension="width", line_color=colour, line_width=2.5
            )
            whisker.upper_head = whisker.lower_head = TeeHead(size=10, line_color=colour, line_width=2.5)
            plot.add_layout(whisker)
        if row.mean is not None:
            plot.scatter([row.mean], [row.label], size=11, color=colour)
    plot.ygrid.visible = False
    return plot


def _sensitivity(result: Result) -> Any:
    sweeps, axis = series.sweeps(result)
    scale = "log" if axis.log else "linear"
    plot = _figure(x_axis_type="log", y_axis_type=scale, x_axis_label="learning rate", y_axis_label=axis.label)
    items = []
    for s in sweeps:
        colour = s.style.colour
        glyphs = [plot.line(s.rates, s.means, color=colour, line_dash=s.style.dash, line_width=2.5)]
        source = ColumnDataSource(
            {"x": [x for x, _ in s.points], "y": [y for _, y in s.points], "name": [s.label] * len(s.points)}
        )
        dots = plot.scatter("x", "y", source=source, size=6, color=colour, alpha=0.35, line_color=None)
        plot.add_tools(HoverTool(renderers=[dots], tooltips=[("", "@name at @x: @y{0.0000}")]))
        best = [(x, m) for x, m in zip(s.rates, s.means, strict=True) if x == s.chosen]
        glyphs += [
            dots,
            plot.scatter(
                [x for x, _ in best], [m for _, m in best], marker="diamond", size=15, color=colour, line_color="white"
            ),
        ]
        if s.diverged:
            source = ColumnDataSource({
                "x": [x for x, _, _ in s.diverged], "y": [s.rail] * len(s.diverged),
                "text": [f"{s.label} at {x:g}: {k} of {n} diverged" for x, k, n in s.diverged],
            })  # fmt: skip
            plot.add_layout(Span(location=s.rail, dimension="width", line_color=colour, line_alpha=0.3, level="underlay"))
            crosses = plot.scatter("x", "y", source=source, marker="x", size=10, color=colour, line_width=2)
            plot.add_tools(HoverTool(renderers=[crosses], tooltips=[("", "@text")]))
            glyphs.append(crosses)
        items.append((s.label, glyphs))
    _legend(plot, items)
    return plot


def _curves(result: Result) -> Any:
    made, axis = series.curves(result)
    scale = "log" if axis.log else "linear"
    plot = _figure(y_axis_type=scale, x_axis_label="step", y_axis_label=axis.label)
    if axis.view:
        plot.y_range.start, plot.y_range.end = axis.view
    items = []
    for c in made:
        colour = c.style.colour
        thin = plot.multi_line([s for s, _ in c.seeds], [v for _, v in c.seeds], color=colour, line_width=0.7, alpha=0.35)
        glyphs = [thin]
        if c.se is not None:
            low = [m - s for m, s in zip(c.mean, c.se, strict=True)]
            high = [m + s for m, s in zip(c.mean, c.se, strict=True)]
            glyphs.append(plot.varea(c.steps, low, high, color=colour, alpha=0.2))
        source = ColumnDataSource({"x": c.steps, "y": c.mean, "name": [c.label] * len(c.steps)})
        line = plot.line("x", "y", source=source, color=colour, line_dash=c.style.dash, line_width=2.5)
        plot.add_tools(HoverTool(renderers=[line], tooltips=[("", "@name, step @x: @y{0.0000}")]))
        items.append((c.label, [*glyphs, line]))
    _legend(plot, items)
    return plot
