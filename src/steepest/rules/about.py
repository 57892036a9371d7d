"""The docstring of a rule, parsed: its idea, when to use it, and when to avoid it."""

from __future__ import annotations

import inspect
from typing import NamedTuple


class About(NamedTuple):
    """What a rule's docstring says; a part that is missing there is empty."""

    idea: str
    use: str
    avoid: str


def parse(docstring: str) -> About:
    """Split a docstring into its first paragraph, and what follows "Use:" and "Avoid:" at the beginning of a line.

    >>> parse('''Step against the gradient.
    ...
    ... Use: for smooth
    ...     surfaces.
    ... Avoid: elsewhere.''')
    About(idea='Step against the gradient.', use='for smooth surfaces.', avoid='elsewhere.')
    """
    parts: dict[str, list[str]] = {"idea": [], "Use": [], "Avoid": [], "": []}
    part = "idea"
    for line in inspect.cleandoc(docstring).splitlines():
        label, _, rest = line.partition(":")
        if label in ("Use", "Avoid"):
            part, line = label, rest
        elif not line:
            part = ""
        parts[part].append(line.strip())
    return About(*(" ".join(parts[name]).strip() for name in ("idea", "Use", "Avoid")))
