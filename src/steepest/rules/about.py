"""The docstring of a rule, parsed: its idea, when to use it, and when to avoid it."""

from __future__ import annotations

import inspect
import re
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
    idea, *labelled = re.split(r"^(Use|Avoid):", inspect.cleandoc(docstring), flags=re.MULTILINE)
    parts = {"idea": idea, **dict(zip(labelled[::2], labelled[1::2], strict=True))}
    first = {name: text.strip().split("\n\n")[0] for name, text in parts.items()}
    return About(*(" ".join(first.get(name, "").split()) for name in ("idea", "Use", "Avoid")))
