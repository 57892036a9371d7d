"""The colour and dash of each optimizer, the same in every picture."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from ..rules import CLASSICS, RULES

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dashed", "dotted", "dashdot")
BLOCK = len(COLOURS) * len(DASHES)  # styles that the named colours give
GOLDEN = 0.618034  # hues this far apart stay distinct, however many there are
# The order in which styles were assigned, so that they never change. Other rules follow in the registry's order.
FIRST = (
    *CLASSICS,
    *("gd", "nesterov_lookahead", "sam", "adamax", "nadam", "radam", "adadelta", "madgrad", "padam", "adabelief", "adan"),
    *("rprop", "lion", "lamb", "adai", "lars", "adafactor", "muon", "asgd", "schedule_free_adamw", "schedule_free_sgd"),
)


@dataclass(frozen=True)
class Style:
    """The colour and dash of an optimizer's lines."""

    colour: str
    dash: str


def style(optimizer: str, variant: int = 0) -> Style:
    """The style of an optimizer by name; black if it is not registered. `variant`, the index of a schedule, shifts the dash.

    Neighbours in the order differ in both dash and colour, so no picture relies on colour alone.
    """
    optimizer = optimizer.partition("(")[0]  # without arguments
    order = [*FIRST, *(name for name in RULES if name not in FIRST)]
    if optimizer not in order:
        return Style(COLOURS[-1], DASHES[(2 + variant) % len(DASHES)])
    place = order.index(optimizer)
    row, column = divmod(place, len(COLOURS))
    return Style(_colour(place // BLOCK, column), DASHES[(row + column + variant) % len(DASHES)])


def _colour(block: int, column: int) -> str:
    """A named colour in the first block; in later blocks a hue of fixed saturation, dark enough on white."""
    if block == 0:
        return COLOURS[column]
    hue = GOLDEN * (len(COLOURS) * (block - 1) + column) % 1
    return "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hsv_to_rgb(hue, 0.85, 0.6))
