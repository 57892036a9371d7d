"""Everything that the five documents hold, item by item, and where it is here.

A line of `recorded/items.txt` is a document, what kind of thing it is, its words, and where it is: `row` and how a row's
quantity or claim begins, `picture` and its name, `code` and what to import, `exercise` and its name, or `cited` and the reason
why it is not made again; `&` between two places. What another document has begins with it: `picture 001/begun`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from . import Row

ITEMS = Path(__file__).parent.parent / "recorded" / "items.txt"
CITED = "cited: "


class Item(NamedTuple):
    """A thing of a document: what kind, its words, and where it is here."""

    source: str
    kind: str
    words: str
    where: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why it is cited and not made again; empty where it is made."""
        return self.where[0].removeprefix(CITED) if self.where[0].startswith(CITED) else ""

    @property
    def command(self) -> str:
        """The command that shows it."""
        kind, _, name = self.where[0].partition(" ")
        source = name[:3] if name[3:4] == "/" else self.source
        if kind == "code":
            return f"python -m pydoc {name}"
        if kind == "exercise":
            return f"python -c \"from steepest_workshop.lessons import task; print(task('{name}'))\""
        return f"steepest reproduce {source}{'' if kind == 'row' else ' --report page.md'}"


def items() -> list[Item]:
    """All of them, document by document."""
    parts = (line.split(" | ") for line in ITEMS.read_text(encoding="utf-8").splitlines())
    return [
        Item(source, kind, words, (where,) if where.startswith(CITED) else tuple(where.split(" & ")))
        for source, kind, words, where in parts
    ]


def unmet(rows: Sequence[Row], pictures: Iterable[tuple[str, str]]) -> list[tuple[Item, str]]:
    """The places that are not there, of items that are said to be here; `pictures` are (document, name)."""
    rowed = {(row.source, str(row.printed if row.quantity == "claim" else row.quantity)) for row in rows}
    drawn, lost = set(pictures), []
    for item in items():
        for where in () if item.reason else item.where:
            kind, _, name = where.partition(" ")
            source, name = (name[:3], name[4:]) if name[3:4] == "/" else (item.source, name)
            if kind == "row":
                there = any(number == source and words.startswith(name) for number, words in rowed)
            else:
                there = (source, name) in drawn if kind == "picture" else _there(kind, name)
            if not there:
                lost.append((item, where))
    return lost


def _there(kind: str, name: str) -> bool:
    from .exercises import EXERCISES

    return name in EXERCISES if kind == "exercise" else _importable(name)


def _importable(path: str) -> bool:
    """Whether a module, or what a module has, is there."""
    module, _, name = path.rpartition(".")
    try:
        importlib.import_module(path)
    except ImportError:
        try:
            return hasattr(importlib.import_module(module), name)
        except ImportError:
            outer, _, inner = module.rpartition(".")
            return hasattr(getattr(importlib.import_module(outer), inner), name)
    return True
