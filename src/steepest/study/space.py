"""Spaces of candidates, which a study compares, and the axes along which they are searched.

Three spaces, from narrow to wide:

- Adam with a constant schedule at rates 0.001 and 0.01, as typed: one axis, `lr`, with two values.
- Adam with a cosine schedule, its rate to be searched: the same axis with a log grid around Adam's own centre, which grows
  while the best rate is at its edge.
- AdamW with `weight_decay=?`: two axes, `lr` and `weight_decay`, each with a grid of its own.

A `Space` is an optimizer under a schedule with its axes; a `Candidate` is one point of it, which can be trained.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .. import rules
from .. import schedules as multipliers
from ..errors import SteepestError, unknown
from ..rules import Rule
from ..schedules import Schedule
from .rates import Rates, rates_of

RATE = "lr"  # the axis that every space has
Grid = tuple[float, ...]


@dataclass(frozen=True)
class Axis:
    """One dimension of a space: a log grid of values, `per_decade` in each decade, around a centre.

    `scale` is "log", or "one minus" for a log grid of 1 - value, as for beta2 = 0.99, 0.995, 0.999.
    `low` and `high` bound its values, `zero` adds 0 to every grid. A grid starts with some values around `centre` and grows by
    `growth` while its best value is at its edge. `typed` are the user's values, which are not searched. `usual` is the common
    range, and `source` cites it.
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

    def value(self, k: int) -> float:
        """Value k of the grid: 10 ** (k / per_decade) to two digits, or 1 minus that."""
        power = float(f"{10 ** (k / self.per_decade):.1e}")
        return power if self.scale == "log" else round(1 - power, 12)

    def index(self, value: float) -> int:
        """The index of the nearest grid value."""
        return round(self.per_decade * math.log10(value if self.scale == "log" else 1 - value))

    def first(self, count: int) -> range:
        """The indices of the first grid: `count` around the centre, as far as they are within the bounds."""
        start = self.index(self.centre) - count // 2
        return self.within(range(start, start + count))

    def within(self, grid: range) -> range:
        """The part of a grid that is within the bounds."""
        inside = [k for k in grid if self.low <= self.value(k) <= self.high]
        return range(inside[0], inside[-1] + 1) if inside else range(grid.start, grid.start)

    def values(self, grid: range) -> Grid:
        """The values of a grid, 0 first where the axis has it."""
        return (*([0.0] if self.zero else []), *map(self.value, grid))


LEARNING_RATE = Axis(RATE, usual=(1e-4, 1.0), source="three rates a decade, as Bengio 2012 (arXiv:1206.5533) advises")
WEIGHT_DECAY = Axis(
    "weight_decay",
    per_decade=2,
    low=1e-5,
    high=1.0,
    zero=True,
    source="torch.optim.AdamW's default is 0.01; two values a decade around it, and none",
)
AXES = {WEIGHT_DECAY.name: WEIGHT_DECAY}  # axes that `optimizer(name=?)` can search, by hyperparameter


def register(axis: Axis) -> Axis:
    """Make an axis searchable: `adamw(weight_decay=?)` takes the one named "weight_decay"."""
    AXES[axis.name] = axis
    return axis


@dataclass(frozen=True, eq=False)
class Space:
    """One optimizer under one schedule, with the axes along which it is searched; the first is the learning rate."""

    rule: Rule
    multiplier: Schedule
    label: str
    axes: tuple[Axis, ...]
    name: str = ""  # of the optimizer, as typed; that of the rule where it was not typed otherwise

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.rule.name)

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        return self.multiplier.name

    @property
    def rate(self) -> Axis:
        """The axis of the learning rate."""
        return self.axes[0]

    @property
    def others(self) -> tuple[Axis, ...]:
        """The axes other than the learning rate."""
        return self.axes[1:]

    @property
    def rates(self) -> Grid | None:
        """The rates that were typed; None where they are searched."""
        return self.rate.typed

    def at(self, lr: float, **others: float) -> Candidate:
        """The candidate at a rate, and at the centre of every other axis unless its value is named."""
        return Candidate(self, lr, tuple((axis.name, others.get(axis.name, axis.centre)) for axis in self.others))

    def steps(self, evaluations: int) -> int:
        """The steps that take this many gradients: equal work for a rule that takes several a step."""
        return max(1, evaluations // self.rule.evaluations)


@dataclass(frozen=True)
class Candidate:
    """A point of a space: an optimizer with all its settings and a schedule. It is what a run trains."""

    space: Space
    lr: float
    settings: tuple[tuple[str, float], ...] = ()  # values of the other axes

    @property
    def label(self) -> str:
        """The label of its space."""
        return self.space.label

    @property
    def multiplier(self) -> Schedule:
        """The schedule."""
        return self.space.multiplier

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        return self.space.schedule

    @functools.cached_property
    def rule(self) -> Rule:
        """The rule at the settings of this point, but for the rate."""
        if not self.settings:
            return self.space.rule
        return rules.get(f"{self.space.rule.name}({', '.join(f'{k}={v!r}' for k, v in self.settings)})")

    def moved(self, name: str, value: float) -> Candidate:
        """The candidate with another value on one axis."""
        if name == RATE:
            return dataclasses.replace(self, lr=value)
        return dataclasses.replace(self, settings=tuple((k, value if k == name else v) for k, v in self.settings))

    def steps(self, evaluations: int) -> int:
        """The steps that take this many gradients."""
        return self.space.steps(evaluations)

    @property
    def names(self) -> dict[str, Any]:
        """Its name, schedule, rate, label and settings, as the data of an answer have them."""
        space = self.space
        names: dict[str, Any] = {"name": space.name, "schedule": space.schedule, "lr": self.lr, "label": space.label}
        return names | {"settings": dict(self.settings)}

    @functools.cached_property
    def words(self) -> str:
        """Its label, rate and settings."""
        settings = "".join(f", {k} {v:g}" for k, v in self.settings)
        return f"{self.label} at {self.lr:g}{settings}"

    def __str__(self) -> str:
        return self.words


def spaces(optimizers: Sequence[str | Rule], schedules: Sequence[str | Schedule], rates: Rates) -> tuple[Space, ...]:
    """Every optimizer with every schedule. Raises SteepestError for an unknown or repeated name, or an invalid rate."""
    chosen = [_searched(name) for name in optimizers]
    courses = [multipliers.get(schedule) for schedule in schedules]
    for what, names in (("optimizer", [name for _, name, _ in chosen]), ("schedule", [c.name for c in courses])):
        if not names:
            raise SteepestError(f"No {what} was given; name at least one.")
        doubled = next((n for n in names if names.count(n) > 1), None)
        if doubled:
            raise SteepestError(f"The {what} '{doubled}' was given twice; name each once.")
    typed = rates_of(rates, [name for _, name, _ in chosen])
    made = []
    for rule, name, others in chosen:
        for course in courses:
            label = name if len(courses) == 1 else f"{name}+{course.name}"
            rate = dataclasses.replace(LEARNING_RATE, centre=rule.rate, typed=typed.get(name))
            made.append(Space(rule, course, label, (rate, *others), name))
    return tuple(made)


def _searched(optimizer: str | Rule) -> tuple[Rule, str, tuple[Axis, ...]]:
    """The rule of an optimizer, its name, and the axes that it contains as `name=?`, centred on the rule's own values."""
    if not isinstance(optimizer, str) or "?" not in optimizer:
        rule = rules.get(optimizer)
        return rule, rule.name, ()
    names = re.findall(r"(\w+)\s*=\s*\?", optimizer)
    plain = re.sub(r",?\s*\w+\s*=\s*\?", "", optimizer).replace("(,", "(").replace("()", "")
    rule = rules.get(plain)
    for name in names:
        if name not in AXES:
            raise unknown("axis", name, AXES)
        if name not in rule.hyper:
            raise unknown(f"hyperparameter of {rule.name}", name, rule.hyper)
    centred = (dataclasses.replace(AXES[name], centre=rule.hyper[name] or AXES[name].centre) for name in names)
    return rule, optimizer.strip(), tuple(centred)


def grow(axis: Axis, grid: range, best: int | None) -> range:
    """A grid extended by `growth`, towards the edge at which its best index is, or to both sides if that is inside."""
    half = axis.growth // 2
    below, above = (axis.growth, 0) if best == grid[0] else (0, axis.growth) if best == grid[-1] else (half, half)
    return axis.within(range(grid.start - below, grid.stop + above))
