"""What a lesson shows in a notebook: an exercise with its hints folded, and a rule as a formula and as the library has it."""

from __future__ import annotations

import html
import re

from steepest import rules
from steepest.report.rule.card import source
from steepest.report.rule.latex import equations

from .exercises import hint, solution, task


class Shown:
    """Markdown and HTML of the same content, whichever a notebook shows."""

    def __init__(self, markdown: str, page: str = "") -> None:
        self.markdown, self.page = markdown, page

    def _repr_markdown_(self) -> str:
        return self.markdown

    def _repr_html_(self) -> str | None:
        return self.page or None

    def __repr__(self) -> str:
        return self.markdown


def ask(name: str) -> Shown:
    """An exercise: what is asked, three hints and a solution, each folded."""
    folds = [(f"Hint {k}", _told(hint(name, k))) for k in (1, 2, 3)]
    folds.append(("A solution", f"<pre>{html.escape(solution(name).strip())}</pre>"))
    parts = [f"<p><strong>Exercise <code>{name}</code>.</strong> {_told(task(name))}</p>"]
    parts += [f"<details><summary>{title}</summary>{words}</details>" for title, words in folds]
    return Shown(f"Exercise {name}. {task(name)}", "\n".join(parts))


def _told(words: str) -> str:
    """Words as HTML, with what is between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(words))


def rule(name: str) -> Shown:
    """A rule: its formula, made from the rule, and the rule as it stands in the library."""
    chosen = rules.get(name)
    formula = "\n\n".join(f"$${line}$$" for line in equations(chosen))
    return Shown(f"{formula}\n\n```python\n{source(chosen)}\n```")
