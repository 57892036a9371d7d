"""The lessons' sources, in jupytext's py:percent format, and their cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PACKAGED = Path(__file__).parent / "notebooks"  # in an installed package
CHECKOUT = Path(__file__).parents[4] / "notebooks"  # where they are edited
HEADER = re.compile(r"\A# ---\n.*?^# ---\n", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"^# %%(.*)\n", re.MULTILINE)
MAGIC = re.compile(r"^# (?=[%!])", re.MULTILINE)  # a magic is a comment in a source
COMMENT = re.compile(r"^# ?", re.MULTILINE)


class Cell(NamedTuple):
    """A cell of a notebook: "code" or "markdown", and its text."""

    kind: str
    text: str


def lessons() -> list[Path]:
    """The files of the lessons, in order."""
    return sorted((PACKAGED if PACKAGED.is_dir() else CHECKOUT).glob("*.py"))


def cells(path: Path) -> list[Cell]:
    """The cells of a lesson."""
    _, *parts = MARKER.split(HEADER.sub("", path.read_text(encoding="utf-8")))
    return [_cell(title, text.strip("\n")) for title, text in zip(parts[::2], parts[1::2], strict=True)]


def _cell(title: str, text: str) -> Cell:
    if "[markdown]" in title:
        return Cell("markdown", COMMENT.sub("", text))
    return Cell("code", MAGIC.sub("", text))
