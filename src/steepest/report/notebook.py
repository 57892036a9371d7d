"""Notebook HTML for rules, schedules, surfaces and descents, as text and SVG, which survive an export."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..escapes import page as escaped
from ..notebook import html_of
from ..paths.descent import Descent
from ..rules import Rule
from ..schedules import Schedule
from ..surfaces import Surface
from . import figures
from .rule import card
from .surface import pictures, text

STEPS = 100  # steps for which a schedule is drawn


@html_of.register
def _rule(rule: Rule) -> str:
    return _text(card.text(card.describe(rule)))


@html_of.register
def _schedule(schedule: Schedule) -> str:
    return _figure(pictures.schedules([schedule], STEPS), f"schedule-{schedule.name}")


@html_of.register
def _surface(surface: Surface) -> str:
    drawn = _figure(pictures.level_lines(surface), f"surface-{surface.name}") if surface.dims == 2 else ""
    return drawn + _text(text.text(surface))


@html_of.register
def _descent(descent: Descent) -> str:
    rows = "".join(
        f"<tr><td>{escaped(path.name)}</td><td>{path.lr:g}</td><td>{path.values[-1]:.4g}</td></tr>" for path in descent.paths
    )
    heading = "<tr><th>optimizer</th><th>rate</th><th>height at the end</th></tr>"
    name = f"paths-{descent.surface.name}-{'-'.join(path.name for path in descent.paths)}"
    drawn = _figure(pictures.contour(descent), name) if descent.surface.dims == 2 else ""
    return f"{drawn}<table><thead>{heading}</thead><tbody>{rows}</tbody></table>"


def _text(words: str) -> str:
    return f"<pre>{escaped(words)}</pre>"


def _figure(figure: Figure, name: str) -> str:
    return f"<div style='max-width:46rem'>{figures.svg_of(figure, figure.get_gid() or '', name)}</div>"
