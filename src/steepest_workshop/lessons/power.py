"""What a row is worth: would it hold as well for another optimizer, or for the rule with one thing wrong?

A document's rows come in blocks, each made by one optimizer. `score` makes them again with every other optimizer of the
document, and with every mutant of the rule, and keeps which of those hold too; `steepest reproduce` reads what is kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from steepest.rules import Rule

from .. import mutants
from . import DOCUMENTS, Row, kept

FILE = "power"
KINDS = ("reproduced", "weak", "echo", "chosen", "cited", "unscored")


@dataclass(frozen=True)
class Setting:
    """A rule with its rate and hyperparameters, as a document has it."""

    rule: Rule
    lr: float
    hyper: Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """Rows that one optimizer makes; `others`, what the document has beside it, are tried too, and rules with an error."""

    name: str
    setting: Setting
    rows: Callable[[Setting], Sequence[Row]]
    others: Mapping[str, Setting]
    made_of: str = ""  # a digest of what else the rows come from: their functions, their constants, what is kept

    def made(self) -> list[Row]:
        """The rows, with what is kept of each: "reproduced" where nothing wrong held, "weak" where something did."""
        return [self._worth(row) for row in self.rows(self.setting)]

    def _worth(self, row: Row) -> Row:
        held = kept.value(FILE, _key(row), self.made_by(row))
        return row if row.power or held is None or not row.holds else replace(row, power="weak" if held else "reproduced")

    def made_by(self, row: Row) -> str:
        """The digest of a score: what is printed, the rule with its settings, and what it is held against."""
        own, *others = ((s.rule.digest, s.lr, dict(s.hyper)) for s in (self.setting, *self.others.values()))
        exact = row.tolerance if isinstance(row.tolerance, float) else None  # an interval comes from the rule itself
        return kept.digest(row.quantity, row.printed, exact, own, others, self.made_of, mutants)

    def wrong(self) -> Iterator[tuple[str, Setting]]:
        """Every setting that is not the block's own, and what it is."""
        yield from self.others.items()
        for what, made in mutants.of(self.setting.rule, self.setting.hyper):
            yield what, replace(self.setting, rule=made)


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
        right = block.rows(block.setting)
        current |= {_key(row) for row in right}
        digests = {row.quantity: block.made_by(row) for row in right}
        if all(kept.value(FILE, _key(row), digests[row.quantity]) is not None for row in right):
            continue
        held: dict[str, list[str]] = {row.quantity: [] for row in right}
        for what, setting in block.wrong():
            for row in block.rows(setting):
                if row.holds and row.quantity in held:
                    held[row.quantity].append(what)
            if all(held.values()):  # each is weak already
                break
        kept.keep(FILE, {_key(row): (digests[row.quantity], held[row.quantity]) for row in right})
        alone = sum(not held[row.quantity] and bool(row.holds) for row in right)
        say(f"{number} {block.name}: {alone} of {len(held)} rows hold for the rule alone")
    kept.drop(FILE, lambda key: key.startswith(number) and key not in current)


def _key(row: Row) -> str:
    return f"{row.source} {row.quantity}"


def unscored(row: Row) -> Row:
    """A printed row of no block, which says nothing itself of what it is worth, is not scored."""
    return replace(row, power="unscored") if not row.power and row.quantity != "claim" and row.printed is not None else row


if __name__ == "__main__":
    import sys

    for asked in sys.argv[1:] or DOCUMENTS:
        score(asked)
