"""Axes: the dimensions along which candidates are searched, each with its scale, its usual range and the source of that.

- The learning rate: a log grid of three values a decade around an optimizer's own centre, which grows at its edges.
- `weight_decay`: a log grid, and 0. `beta2`: a log grid of 1 - beta2, as for 0.99, 0.997, 0.999.
- `warmup`: the share of a run in which the rate rises; it belongs to the schedule.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .. import grammar
from ..errors import SteepestError, unknown
from ..rules import Rule
from ..rules.foreign import Foreign, Maker, Parts
from ..schedules.shape import DECAY, FLOOR, WARMUP, Shape

RATE = "lr"  # the axis that every space has
AT_LEAST = 5  # values of a range that a user gives
TINY = 1e-9  # relative, so that a range contains its ends
Grid = tuple[float, ...]


@dataclass(frozen=True)
class Axis:
    """One dimension of a space: a log grid of values, `per_decade` in each decade, around a centre; or a few `options`.

    `scale` is "log", or "one minus" for a log grid of 1 - value, as for beta2 = 0.99, 0.995, 0.999.
    `low` and `high` bound its values, `zero` adds 0 to every grid. A grid starts with some values around `centre` and grows by
    `growth` while its best value is at its edge. `typed` are the user's rates, which are not searched. `usual` is the common
    range, from which a random search draws, and `source` cites it. `of` is what it is a setting of: the optimizer, its
    schedule, or what is trained. `is_whole`: the first grid goes from `low` to `high`.
    """

    name: str
    centre: float = 1e-2
    per_decade: int = 3
    scale: Literal["log", "one minus"] = "log"
    low: float = 0.0
    high: float = math.inf
    zero: bool = False
    growth: int = 2
    typed: Grid | None = None
    usual: tuple[float, float] | None = None
    source: str = ""
    options: tuple[Any, ...] | None = None
    of: Literal["optimizer", "schedule", "training"] = "optimizer"
    is_whole: bool = False

    def __post_init__(self) -> None:
        if self.options is not None:
            object.__setattr__(self, "centre", self.options[0])

    def value(self, k: int) -> Any:
        """Value k of the grid: 10 ** (k / per_decade) to two digits, or 1 minus that; or option k."""
        if self.options is not None:
            return self.options[k]
        power = float(f"{10 ** (k / self.per_decade):.1e}")
        return power if self.scale == "log" else round(1 - power, 12)

    def index(self, value: float) -> int:
        """The index of the nearest grid value."""
        if self.options is not None:
            return self.options.index(value)
        return round(self.per_decade * math.log10(value if self.scale == "log" else 1 - value))

    def first(self, count: int) -> range:
        """The indices of the first grid: `count` around the centre, as far as they are within the bounds."""
        if self.options is not None:
            return range(len(self.options))
        if self.is_whole:
            ends = sorted((self.index(self.low), self.index(self.high)))
            return self.within(range(ends[0], ends[1] + 1))
        start = self.index(self.centre) - count // 2
        return self.within(range(start, start + count))

    def within(self, grid: range) -> range:
        """The part of a grid that is within the bounds."""
        if self.options is not None:
            return range(max(grid.start, 0), min(grid.stop, len(self.options)))
        low, high = self.low * (1 - TINY), self.high * (1 + TINY)
        inside = [k for k in grid if low <= self.value(k) <= high]
        return range(inside[0], inside[-1] + 1) if inside else range(grid.start, grid.start)

    def drawn(self, share: float) -> Any:
        """The value at a share of the usual range, from 0 to 1; the lowest tenth is 0 on an axis that has it."""
        if self.options is not None:
            return self.options[min(int(share * len(self.options)), len(self.options) - 1)]
        if self.zero:
            if share < NOUGHT:
                return 0.0
            share = (share - NOUGHT) / (1 - NOUGHT)
        low, high = self.usual or (self.low, self.high)
        if self.scale == "log":
            return float(f"{low * (high / low) ** share:.2g}")
        ends = 1 - low, 1 - high
        return round(1 - float(f"{ends[0] * (ends[1] / ends[0]) ** share:.2g}"), 12)

    def values(self, grid: range) -> Grid:
        """The values of a grid, 0 first where the axis has it."""
        return (*([0.0] if self.zero else []), *map(self.value, grid))


NOUGHT = 0.1  # share of the draws that are 0, on an axis that has it
LEARNING_RATE = Axis(RATE, usual=(1e-4, 1.0), source="three rates a decade, as Bengio 2012 (arXiv:1206.5533) advises")
WEIGHT_DECAY = Axis(
    "weight_decay",
    per_decade=2,
    low=1e-5,
    high=1.0,
    zero=True,
    usual=(1e-3, 0.3),
    source="torch.optim.AdamW's default is 0.01; Touvron et al. 2021 (arXiv:2012.12877) use 0.05, Brown et al. 2020 "
    "(arXiv:2005.14165) 0.1",
)
BETA_SOURCE = "Kingma & Ba 2015 (arXiv:1412.6980), section 6.4, compare 0 and 0.9 with 0.99, 0.999 and 0.9999"
BETA1 = Axis("beta1", 0.9, per_decade=2, scale="one minus", low=0.0, high=0.99, usual=(0.8, 0.98), source=BETA_SOURCE)
BETA2 = Axis("beta2", 0.999, per_decade=2, scale="one minus", low=0.9, high=0.9999, usual=(0.95, 0.9997), source=BETA_SOURCE)
MOMENTUM = Axis(
    "momentum",
    0.9,
    per_decade=2,
    scale="one minus",
    low=0.0,
    high=0.999,
    usual=(0.8, 0.99),
    source="Sutskever et al. 2013 try 0.9 to 0.999",
)
RISE = Axis(
    WARMUP,
    0.1,
    low=0.01,
    high=0.5,
    zero=True,
    usual=(0.01, 0.3),
    of="schedule",
    source="share of the run; Goyal et al. 2017 (arXiv:1706.02677) use 5 of 90 epochs, Vaswani et al. 2017 "
    "(arXiv:1706.03762) 4 %, Devlin et al. 2019 (arXiv:1810.04805) 1 % and 10 %",
)
FALL = Axis(
    DECAY,
    0.2,
    low=0.05,
    high=1.0,
    zero=True,
    usual=(0.1, 1.0),
    of="schedule",
    source="share of the run; Hagele et al. 2024 (arXiv:2405.18392) find 20 % enough, and 1 is a line to 0",
)
LEAST = Axis(
    FLOOR,
    0.1,
    per_decade=2,
    low=0.003,
    high=0.5,
    zero=True,
    usual=(0.01, 0.3),
    of="schedule",
    source="share of the rate; Touvron et al. 2023 (arXiv:2302.13971) end at 10 %",
)
AXES = {  # by the name of a hyperparameter of an optimizer or of an argument of a schedule: those that `?` can search
    axis.name: axis for axis in (WEIGHT_DECAY, BETA1, BETA2, MOMENTUM, RISE, FALL, LEAST)
}
LEVELS = ("rate", "standard", "full")  # what `search` may be


def in_words(axis: Axis) -> str:
    """The usual range of an axis in words."""
    low, high = axis.usual or (axis.low, axis.high)
    return (
        f"{'0, or ' if axis.zero else ''}{low:g} to {high:g}{', on a log scale of 1 - x' if axis.scale == 'one minus' else ''}"
    )


def register(axis: Axis) -> Axis:
    """Make an axis searchable: `adamw(weight_decay=?)` takes the one named "weight_decay"."""
    AXES[axis.name] = axis
    return axis


def axis(low: float, high: float, *, scale: Literal["log", "one minus", "linear"] = "log", zero: bool = False) -> Axis:
    """An axis for a setting of an optimizer, as in `(torch.optim.AdamW, {"weight_decay": axis(1e-4, 1, zero=True)})`.

    scale: "log" for values spaced by a factor; "one minus" for those such as 0.9, 0.99, 0.999; "linear" for equal distances.
    zero: also try 0. About five values are tried at first. SteepestError for a range without an inside.

    >>> axis(1e-4, 1.0).values(axis(1e-4, 1.0).first(5))
    (0.0001, 0.001, 0.01, 0.1, 1.0)
    """
    if isinstance(low, bool) or isinstance(high, bool) or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SteepestError(f"The axis goes from {low!r} to {high!r}; expected two finite numbers, the lower one first.")
    if scale == "linear":
        between = [low + (high - low) * k / (AT_LEAST - 1) for k in range(AT_LEAST)]
        return Axis("", options=tuple(float(f"{value:.6g}") for value in ([0.0] if zero else []) + between))
    if scale not in ("log", "one minus"):
        raise SteepestError(f"The scale of an axis is {scale!r}; expected 'log', 'one minus' or 'linear'.")
    ends = (low, high) if scale == "log" else (1 - high, 1 - low)
    if ends[0] <= 0:
        other = "above 0; add zero=True to try 0 as well" if scale == "log" else "below 1"
        raise SteepestError(f"The axis goes from {low:g} to {high:g} on the scale '{scale}'; expected numbers {other}.")
    decades = math.log10(ends[1] / ends[0])
    middle = math.sqrt(ends[0] * ends[1])
    return Axis(
        "",
        centre=middle if scale == "log" else 1 - middle,
        per_decade=max(1, math.ceil((AT_LEAST - 1) / decades - 1e-9)),
        scale=scale,
        low=low,
        high=high,
        zero=zero,
        is_whole=True,
    )


def grow(axis: Axis, grid: range, best: int | None) -> range:
    """A grid extended by `growth`, towards the edge at which its best index is, or to both sides if that is inside."""
    half = axis.growth // 2
    below, above = (axis.growth, 0) if best == grid[0] else (0, axis.growth) if best == grid[-1] else (half, half)
    return axis.within(range(grid.start - below, grid.stop + above))


def axis_of(name: str, letter: str, own: Any, search: Any) -> Axis:
    """One axis for what was typed for a setting, whose value so far is `own`; the registered one has the name `letter`."""
    known = AXES.get(letter)
    if isinstance(search, grammar.Ask):
        if known is None:
            form = f"give a range, such as {name.partition('.')[0]}=0.1..0.9, or values in square brackets"
            raise unknown("axis", letter, AXES, hint=f"For another setting {form}.")
        return dataclasses.replace(known, name=name, centre=known.centre if own is None else own)
    if isinstance(search, grammar.OneOf):
        return Axis(name, options=search.values, of=known.of if known else "optimizer")
    return dataclasses.replace(ranged(search, own, known), name=name, of=known.of if known else "optimizer")


def ranged(search: Axis | grammar.Between, own: Any, known: Axis | None) -> Axis:
    """The axis of a range; it begins at the optimizer's own value, if that is within the range."""
    if isinstance(search, grammar.Between):
        scale: Any = known.scale if known else "log" if search.low > 0 else "linear"
        if known is None and search.low >= 0.5 and 0.9 < search.high < 1:
            scale = "one minus"  # a decay of averages, such as beta2
        zero = scale == "log" and search.low == 0 and bool(known and known.zero)
        search = axis(known.low if zero and known else search.low, search.high, scale=scale, zero=zero)
    inside = isinstance(own, int | float) and not isinstance(own, bool) and search.low <= own <= search.high
    return dataclasses.replace(search, centre=float(own)) if inside and search.options is None else search


def axes_of(maker: Maker) -> Iterator[Axis]:
    """The axes of an optimizer other than the rate: of its settings that have a known range and that the user has not set."""
    if isinstance(maker, Parts):
        return
    for name, own in maker.hyper.items():
        if name in _set(maker) or isinstance(own, bool | str):
            continue
        if name == "betas" and isinstance(own, tuple):
            letters = [(f"{name}.{k}", f"beta{k + 1}", value) for k, value in enumerate(own)]
        else:
            letters = [(name, name, own)]
        for typed, letter, value in letters:
            known = AXES.get(letter)
            if known is not None and known.of == "optimizer" and isinstance(value, int | float):
                yield dataclasses.replace(known, name=typed, centre=float(value))


def _set(maker: Rule | Foreign) -> set[str]:
    """The names of the settings that the user set."""
    if isinstance(maker, Foreign):
        return {*maker.given}
    base = maker.base
    return {name for name, value in maker.hyper.items() if base is not None and base.hyper.get(name) != value}


def axes_of_schedule(shape: Shape, names: Collection[str] = ()) -> Iterator[Axis]:
    """The axes of a schedule: a warm-up, and a decay along a line at the end, which may replace a cosine.

    None of them may have a name among `names`, which are those of an optimizer's settings.
    """
    for axis in (RISE, FALL):
        is_fit = shape.can_warm_up if axis is RISE else shape.text in ("constant", "cosine")
        if is_fit and axis.name not in names and not shape.slots:
            yield dataclasses.replace(axis, centre=0.0)


def slots_of(shape: Shape) -> Iterator[Axis]:
    """The axes of the arguments that were typed to be searched."""
    for slot in shape.slots:
        yield axis_of(slot.name, slot.name.partition(" ")[0], None, slot.search)
