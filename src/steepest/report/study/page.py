"""The report: one HTML file with table, verdicts, code and three pictures. It holds all it needs and opens offline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bokeh.embed import components
from bokeh.resources import Resources

from ...checks import writable
from ...errors import SteepestError
from ...studies.running import Result
from .. import plots
from ..picture import Picture
from . import summary
from .pictures import pictures

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.7rem;margin:0 0 .2rem} h2{font-size:1.15rem;margin:2.2rem 0 .5rem} .about{color:#555;margin:0 0 1rem}
.answer{font-size:1.1rem;font-weight:600;border-left:4px solid #0072B2;padding-left:.8rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.3rem .6rem .3rem 0;text-align:right;white-space:nowrap;border-bottom:1px solid #e3e3e3}
th:first-child,td:first-child{text-align:left} th{font-weight:600}
pre{background:#f5f5f5;padding:.8rem 1rem;overflow-x:auto} li{margin:.15rem 0}
.better{color:#00664a} .undecided{color:#555} figure{margin:0} figcaption{color:#555;font-size:.9rem}
footer{margin:3rem 0 1rem;padding-top:1rem;border-top:1px solid #ccc;color:#555;font-size:.85rem}
"""


def write(results: Sequence[Result], path: str | Path, command: str) -> Path:
    """Write the report of these studies; `command` is what made it. SteepestError where the folder does not exist."""
    path = check(path)
    shown = [[*pictures(result).values()] for result in results]
    script, divs = components([plots.draw(picture) for own in shown for picture in own])
    boxes = iter(divs)
    sections = "\n".join(
        _section(result, [_picture(picture, summary.answer(result), next(boxes)) for picture in own])
        for result, own in zip(results, shown, strict=True)
    )
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


def _section(result: Result, boxes: list[str]) -> str:
    escape = html.escape
    heading, rows = summary.cells(result)
    head = "".join(f"<th>{escape(word)}</th>" for word in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    verdicts = "".join(f'<li class="{v.verdict}">{escape(v.sentence)} {escape(_beside(v))}</li>' for v in result.verdicts)
    details = "".join(f"<li>{escape(line)}</li>" for line in (result.answer.details() if result.answer else ()))
    notes = "".join(f"<p>Note: {escape(note)}</p>" for note in result.notes)
    problem = result.design.problem
    optimum = (
        f"<p>The least loss possible is {problem.optimum[0]:.6g}: {escape(problem.optimum[1])}.</p>" if problem.optimum else ""
    )
    lines = escape(summary.code(result.entries[0], result.design.steps))
    choice = f"<h2>The choice, to paste</h2><pre>{lines}</pre>" if result.entries[0].summary()[0] is not None else ""
    return f"""<section><h1>{escape(problem.name)}</h1><p class="about">{escape(problem.about)}</p>
<p class="answer">{escape(summary.answer(result))}</p>
<ul>{details}</ul>
<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{optimum}{notes}
{choice}
{"".join(boxes)}
<details><summary>Every pair</summary><ul>{verdicts}</ul></details></section>"""


def _picture(picture: Picture, answer: str, box: str) -> str:
    label = html.escape(f"{picture.title}: {picture.caption} {answer}")
    figure = f'<figure role="img" aria-label="{label}">{box}<figcaption>{picture.caption}</figcaption></figure>'
    return f"<h2>{picture.title}</h2>{figure}"


def _beside(verdict: Any) -> str:
    """What stands beside a verdict and decides nothing."""
    p, least = verdict.sign_flip
    return f"Sign-flip permutation p = {p:.2g} (least possible {least:.2g})."
