"""What a row is worth: would it hold as well for another optimizer, a usual slip, or the rule with one thing wrong?

A document's rows come in blocks, each made by one optimizer. `score` makes them again with every wrong setting (`rivals`), and
keeps which of these hold too; `steepest reproduce` reads what is kept. A block that something else made than its score is not
scored: its rows count as missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .. import mutants
from . import DOCUMENTS, Row, kept, rivals
from .rivals import Setting

FILE = "power"
NAMED = 3  # wrong settings of a row that are kept by name
# What rows are worth: "reproduced", if everything wrong that was tried misses it; "consistent", if something wrong holds too;
# "fitted", if it served to choose what makes it; "again", the same comparison as a row above; "echo", data, a default or an
# identity; "cited"; "unscored", not tried yet.
KINDS = ("reproduced", "consistent", "fitted", "again", "echo", "cited", "unscored")


@dataclass(frozen=True)
class Block:
    """Rows of a document that one optimizer makes. `worth` is that of all of them, where it is known without a score."""

    source: str
    name: str
    setting: Setting
    rows: Callable[[Setting], Sequence[Row]]
    made_of: str = ""  # a digest of what else the rows come from: their functions and constants
    worth: str = ""

    def made(self) -> list[Row]:
        """The rows, each with what it is worth."""
        return [self._worth(row) for row in self.rows(self.setting)]

    def _worth(self, row: Row) -> Row:
        if row.power or not row.holds:
            return row
        if self.worth:
            return replace(row, power=self.worth)
        held = self.score()
        return replace(row, power="unscored") if held is None else told(row, held.get(row.quantity, []))

    @property
    def key(self) -> str:
        """The block in the file of scores."""
        return f"{self.source} {self.name}"

    @property
    def digest(self) -> str:
        """The digest of a score: the rule with its settings, what the rows come from, and what they are held against."""
        own = self.setting.rule.digest, self.setting.lr, self.setting.values
        return kept.digest(self.key, own, self.made_of, rivals, mutants)

    def score(self) -> dict[str, list[str]] | None:
        """The wrong settings for which each row holds too, the first few; None where the block was not scored as it is."""
        held: dict[str, list[str]] | None = kept.value(FILE, self.key, self.digest)
        return held


def told(row: Row, held: Sequence[str]) -> Row:
    """A row with its worth by what else holds for it."""
    return replace(row, power="consistent" if held else "reproduced", alike="; ".join(held))


def blocks(number: str) -> Iterator[Block]:
    """The blocks of a document: its printed formulas, and what its module has."""
    from . import formulas

    yield from formulas.blocks(number)
    module = importlib.import_module(f".{DOCUMENTS[number][0]}", __package__)
    if hasattr(module, "blocks"):
        yield from module.blocks()


def score(number: str, say: Callable[[str], None] = print) -> None:
    """Keep, for each row of a document's blocks, the wrong settings for which it holds too; what is kept is not made again."""
    current = set()
    for block in blocks(number):
        current.add(block.key)
        if block.worth or block.score() is not None:
            continue
        held: dict[str, list[str]] = {row.quantity: [] for row in block.rows(block.setting) if row.holds and not row.power}
        tried = 0
        for what, setting in rivals.of(block.setting):
            if all(held.values()):  # nothing is left to be told apart
                break
            tried += 1
            for row in block.rows(setting):
                if row.holds and row.quantity in held and len(held[row.quantity]) < NAMED:
                    held[row.quantity].append(what)
        kept.keep(FILE, {block.key: (block.digest, held)})
        alone = sum(not names for names in held.values())
        say(f"{block.key}: {alone} of {len(held)} rows hold for the right setting alone, of {tried} others")
    kept.drop(FILE, lambda key: key.startswith(number) and key not in current)


def recorded() -> set[tuple[str, str]]:
    """The rows (document, quantity) that were reproduced when they were scored."""
    scores = ((key[:3], held["value"]) for key, held in kept.load(FILE).items())
    return {(number, quantity) for number, rows in scores for quantity, names in rows.items() if not names}


def unscored(row: Row) -> Row:
    """A printed row of no block, which says nothing itself of what it is worth, is not scored."""
    return replace(row, power="unscored") if not row.power and row.quantity != "claim" and row.printed is not None else row


if __name__ == "__main__":
    import sys

    for asked in sys.argv[1:] or DOCUMENTS:
        score(asked)
