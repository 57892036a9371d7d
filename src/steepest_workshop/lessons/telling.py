"""What a lesson shows in a notebook: an exercise with its hints folded, and the formula of a rule."""

from __future__ import annotations

import html
import re

from steepest import rules
from steepest.report.rule.latex import equations, letter

from .exercises import hint, task


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
    """An exercise: its task, and three hints, each folded. Its answer is not in the page: `solution(name)` shows it."""
    parts = [f"<p><strong>Exercise <code>{name}</code>.</strong> {_coded(task(name))}</p>"]
    parts += [f"<details><summary>Hint {k}</summary>{_coded(hint(name, k))}</details>" for k in (1, 2, 3)]
    return Shown(f"Exercise {name}. {task(name)}", "\n".join(parts))


def _coded(words: str) -> str:
    """Words as HTML, with what is between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(words))


def rule(name: str) -> Shown:
    """The formula of one of the library's rules, made from the rule that runs, and what its letters are."""
    chosen = rules.get(name)
    lines = equations(chosen)
    numbers = {k: v for k, v in chosen.hyper.items() if isinstance(v, float) and letter(k) in "".join(lines)}
    letters = ", ".join(f"${letter(k)}$ is `{k}` ({v:g} unless set)" for k, v in numbers.items())
    formula = "\n\n".join(f"$${line}$$" for line in lines)
    gradient = ", $g$ is the gradient" if "g_t" in formula else ""
    return Shown(f"{formula}\n\nHere $\\theta$ are the parameters{gradient}, $t$ counts steps from 1; {letters}.")
