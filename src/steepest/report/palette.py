"""One colour, dash and marker for each optimizer, the same in every picture."""

from __future__ import annotations

from dataclasses import dataclass

from ..rules import CLASSICS, RULES

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dashed", "dotted", "dashdot")


@dataclass(frozen=True)
class Style:
    """How an optimizer is drawn."""

    colour: str
    dash: str


def style(optimizer: str, variant: int = 0) -> Style:
    """The style of an optimizer, by its place among the classics, which have a colour each, and the registry.

    `variant` tells its schedules apart by dash. Neighbours differ in dash as well as in colour, so that no picture leans on
    colour alone; 28 styles differ. Adadelta, which races with the classics but for AdamW, has that one's colour.
    """
    order = [*CLASSICS, *(name for name in RULES if name not in (*CLASSICS, "adadelta"))]
    order.insert(2 * len(COLOURS) - 1, "adadelta")
    place = order.index(optimizer) if optimizer in order else len(order) + len(COLOURS) - 1  # one of the user's own: black
    return Style(COLOURS[place % len(COLOURS)], DASHES[(place % len(COLOURS) + place // len(COLOURS) + variant) % len(DASHES)])
