"""Spaces of candidates, which a study compares, and the axes along which they are searched.

Three spaces, from narrow to wide:

- Adam with a constant schedule at rates 0.001 and 0.01, as typed: one axis, `lr`, with two values.
- Adam with a cosine schedule, its rate to be searched: the same axis with a log grid around Adam's own centre, which grows
  while the best rate is at its edge.
- AdamW with `weight_decay=?`: two axes, `lr` and `weight_decay`, each with a grid of its own; a setting of the user's own
  loop, such as its batch size, is one axis more.

A `Space` is an optimizer under a schedule with its axes; a `Candidate` is one point of it, which can be trained.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .. import grammar, rules
from .. import schedules as multipliers
from ..errors import SteepestError, unknown
from ..rules.foreign import Foreign, Maker, Parts
from ..schedules import Schedule
from .rates import Rates, checked, rates_of
from .scalars import in_words

RATE = "lr"  # the axis that every space has
WIDER = 2  # rates in a decade for an optimizer that is not ours: seven cover 1.5 decades below and above its default
AT_LEAST = 5  # values of a range that a user gives
TINY = 1e-9  # relative, so that a range contains its ends
Grid = tuple[float, ...]
Find = Callable[[Any], Maker]


@dataclass(frozen=True)
class Axis:
    """One dimension of a space: a log grid of values, `per_decade` in each decade, around a centre; or a few `options`.

    `scale` is "log", or "one minus" for a log grid of 1 - value, as for beta2 = 0.99, 0.995, 0.999.
    `low` and `high` bound its values, `zero` adds 0 to every grid. A grid starts with some values around `centre` and grows by
    `growth` while its best value is at its edge. `typed` are the user's rates, which are not searched. `usual` is the common
    range, and `source` cites it. `of_loop`: it is a setting of the user's own loop, and not of the optimizer. `is_whole`:
    the first grid goes from `low` to `high`.
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
    of_loop: bool = False
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
BETA_SOURCE = "Kingma & Ba 2015 (arXiv:1412.6980), section 6.4, compare 0 and 0.9 with 0.99, 0.999 and 0.9999"
BETA1 = Axis("beta1", 0.9, per_decade=2, scale="one minus", low=0.0, high=0.99, source=BETA_SOURCE)
BETA2 = Axis("beta2", 0.999, per_decade=2, scale="one minus", low=0.9, high=0.9999, source=BETA_SOURCE)
MOMENTUM = Axis(
    "momentum", 0.9, per_decade=2, scale="one minus", low=0.0, high=0.999, source="Sutskever et al. 2013 try 0.9 to 0.999"
)
AXES = {
    axis.name: axis for axis in (WEIGHT_DECAY, BETA1, BETA2, MOMENTUM)
}  # axes that `optimizer(name=?)` can search, by hyperparameter


def register(axis: Axis) -> Axis:
    """Make an axis searchable: `adamw(weight_decay=?)` takes the one named "weight_decay"."""
    AXES[axis.name] = axis
    return axis


@dataclass(frozen=True, eq=False)
class Space:
    """One optimizer under one schedule, with the axes along which it is searched; the first is the learning rate."""

    rule: Maker
    multiplier: Schedule
    label: str
    axes: tuple[Axis, ...]
    name: str = ""  # of the optimizer, as typed; that of the rule where it was not typed otherwise
    config: Mapping[str, Any] = field(default_factory=dict)  # default settings of the user's own loop

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

    def at(self, lr: float, **others: Any) -> Candidate:
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
    settings: tuple[tuple[str, Any], ...] = ()  # values of the other axes

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
    def rule(self) -> Maker:
        """The optimizer at the settings of this point, but for the rate."""
        own = {name: value for name, value in self.settings if name not in self.space.config}
        return rules.changed(self.space.rule, **own) if own else self.space.rule

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The settings of the user's own loop at this point."""
        return {name: dict(self.settings).get(name, value) for name, value in self.space.config.items()}

    @property
    def hyper(self) -> dict[str, Any]:
        """The settings of its optimizer but for the rate, as the data of a study have them."""
        return {name: _data(value) for name, value in self.rule.hyper.items() if name != RATE}

    @property
    def order(self) -> tuple[Any, ...]:
        """A key that sorts the candidates of a space by their settings and rate, whatever the type of a setting."""
        values = [(isinstance(v, str) or v is None, str(v) if isinstance(v, str) or v is None else v) for _, v in self.settings]
        return *values, self.lr

    def moved(self, name: str, value: Any) -> Candidate:
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
        return f"{self.label} at {self.lr:g}{with_settings(self.settings)}"

    def __str__(self) -> str:
        return self.words


def with_settings(settings: Iterable[tuple[str, Any]]) -> str:
    """Values on other axes in words: ", weight_decay 0.1, batch_size 64"."""
    return "".join(f", {name} {in_words(value)}" for name, value in settings)


def _data(value: Any) -> Any:
    """A setting as data: a number, a text, or a list of them; anything else by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [one if one is None or isinstance(one, bool | int | float | str) else str(one) for one in value]
    return str(getattr(value, "__name__", None) or value)


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


@dataclass(frozen=True)
class Chosen:
    """An optimizer as the user chose it: its maker, its name, its axes other than the rate, and its rates if it has any."""

    maker: Maker
    name: str
    others: tuple[Axis, ...] = ()
    rate: Axis | Grid | None = None


def spaces(
    optimizers: Sequence[Any],
    schedules: Sequence[str | Schedule],
    rates: Rates,
    *,
    find: Find = rules.get,
    config: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[Space, ...]:
    """Every optimizer with every schedule.

    `find` returns the optimizer of a name or another object; `config` maps the settings of the user's own loop to the values
    to compare, the default first. Raises SteepestError for an unknown or repeated name, or an invalid rate.
    """
    chosen = [_chosen(given, find) for given in optimizers]
    courses = [multipliers.get(schedule) for schedule in schedules]
    for what, names in (("optimizer", [one.name for one in chosen]), ("schedule", [c.name for c in courses])):
        if not names:
            raise SteepestError(f"No {what} was given; name at least one.")
        doubled = next((n for n in names if names.count(n) > 1), None)
        if doubled:
            raise SteepestError(f"The {what} '{doubled}' was given twice; name each once.")
    typed = rates_of(rates, [one.name for one in chosen])
    of_loop = tuple(
        Axis(name, options=tuple(values), of_loop=True) for name, values in (config or {}).items() if len(values) > 1
    )
    made = []
    for one in chosen:
        rate = _rate(one, typed)
        for course in courses:
            label = one.name if len(courses) == 1 else f"{one.name}+{course.name}"
            defaults = {name: values[0] for name, values in (config or {}).items()}
            made.append(Space(one.maker, course, label, (rate, *one.others, *of_loop), one.name, defaults))
    return tuple(made)


def _rate(one: Chosen, typed: Mapping[str, Grid]) -> Axis:
    """The axis of an optimizer's learning rate: of the rates that were given for it, or of its own."""
    if one.name in typed and one.rate is not None:
        raise SteepestError(f"{one.name} sets lr, and other rates are given for it; give them in one place.")
    if isinstance(one.rate, Axis):
        return dataclasses.replace(one.rate, name=RATE)
    per_decade = LEARNING_RATE.per_decade
    if isinstance(one.maker, Foreign) and one.maker.twin is None:
        per_decade = WIDER  # its default is less well known than those of our rules
    return dataclasses.replace(LEARNING_RATE, centre=one.maker.rate, per_decade=per_decade, typed=typed.get(one.name, one.rate))


def _chosen(given: Any, find: Find) -> Chosen:
    """An optimizer as typed, an object, a pair of an object and its settings, or a dict of parts."""
    if isinstance(given, str):
        parsed = grammar.candidate(given)
        return _parts(dict(parsed.parts), find) if isinstance(parsed, grammar.Parts) else _one(parsed, find)
    if isinstance(given, grammar.One):
        return _one(given, find)
    if isinstance(given, Mapping):
        return _parts(given, find)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping):
        return _with(find(given[0]), dict(given[1]))
    return Chosen(maker := find(given), maker.name)


def _one(one: grammar.One, find: Find) -> Chosen:
    return _with(find(one.name), dict(one.settings))


def _with(maker: Maker, settings: dict[str, Any]) -> Chosen:
    """A maker with settings, each a value or something to search: an axis, `?`, a range, or several values."""
    rate = settings.pop(RATE, None)
    settings = {name: _compared(maker, name, value) for name, value in settings.items()}
    searched = {name: value for name, value in settings.items() if _is_searched(value)}
    fixed = {name: value for name, value in settings.items() if name not in searched}
    changed = rules.changed(maker, **fixed) if fixed else maker
    axes = [axis for name, value in searched.items() for axis in _axes(changed, name, value)]
    shown = {name: _shown(value) for name, value in searched.items()}
    name = str(grammar.One(maker.name, (*fixed.items(), *shown.items()))) if searched else changed.name
    return Chosen(changed, name, tuple(axes), _own_rate(changed, rate))


def _compared(maker: Maker, name: str, value: Any) -> Any:
    """A list, given in Python for a setting that is not one itself, as values to compare."""
    if isinstance(value, list) and not isinstance(maker.hyper.get(name), tuple | list):
        return grammar.OneOf(tuple(one.item() if hasattr(one, "item") else one for one in value))
    return value


def _own_rate(maker: Maker, rate: Any) -> Axis | Grid | None:
    """The rates that a candidate sets itself."""
    if rate is None or isinstance(rate, grammar.Ask):
        return None
    if isinstance(rate, grammar.OneOf):
        return checked(rate.values)
    if isinstance(rate, Axis | grammar.Between):
        return _ranged(rate, maker.rate, LEARNING_RATE)
    return checked(rate)


def _is_searched(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_searched, value))
    return isinstance(value, Axis | grammar.Ask | grammar.Between | grammar.OneOf)


def _shown(value: Any) -> Any:
    """What is searched, as it is typed: an axis made in Python as its range."""
    if isinstance(value, Axis):
        ends = (value.low, value.high) if value.options is None else (value.options[0], value.options[-1])
        return grammar.Between(*ends) if ends[0] < ends[1] else grammar.OneOf(value.options or ends)
    return value


def _axes(maker: Maker, name: str, value: Any) -> Iterator[Axis]:
    """The axes of one setting: several if it is a tuple, such as betas."""
    if name not in maker.hyper:
        raise unknown(f"hyperparameter of {maker.name}", name, maker.hyper)
    own = maker.hyper[name]
    if isinstance(value, tuple):
        if not isinstance(own, tuple | list) or len(own) != len(value):
            raise SteepestError(f"{maker.name}: {name} is a setting of {_count(own)}, not of {len(value)} values.")
        for k, part in enumerate(value):
            if _is_searched(part):
                yield _axis(f"{name}.{k}", f"beta{k + 1}" if name == "betas" else name, own[k], part)
    else:
        yield _axis(name, name, own, value)


def _count(own: Any) -> str:
    return f"{len(own)} values" if isinstance(own, tuple | list) else "one value"


def _axis(name: str, letter: str, own: Any, value: Any) -> Axis:
    """One axis: as registered for its letter, or as given."""
    known = AXES.get(letter)
    if isinstance(value, grammar.Ask):
        if known is None:
            form = f"give a range, such as {name.partition('.')[0]}=0.1..0.9, or values in square brackets"
            raise unknown("axis", letter, AXES, hint=f"For another setting {form}.")
        return dataclasses.replace(known, name=name, centre=own or known.centre)
    if isinstance(value, grammar.OneOf):
        return Axis(name, options=value.values)
    return dataclasses.replace(_ranged(value, own, known), name=name)


def _ranged(value: Axis | grammar.Between, own: Any, known: Axis | None) -> Axis:
    """The axis of a range; it begins at the optimizer's own value, if that is within the range."""
    if isinstance(value, grammar.Between):
        scale: Any = known.scale if known else "log" if value.low > 0 else "linear"
        if known is None and value.low >= 0.5 and 0.9 < value.high < 1:
            scale = "one minus"  # a decay of averages, such as beta2
        zero = scale == "log" and value.low == 0 and bool(known and known.zero)
        value = axis(known.low if zero and known else value.low, value.high, scale=scale, zero=zero)
    inside = isinstance(own, int | float) and not isinstance(own, bool) and value.low <= own <= value.high
    return dataclasses.replace(value, centre=float(own)) if inside and value.options is None else value


def _parts(parts: Mapping[str, Any], find: Find) -> Chosen:
    """One candidate of several optimizers; each but the first has its own rate as a further axis, unless that is given."""
    if not parts:
        raise SteepestError("A candidate of several parts is empty; write it such as {generator: adam, discriminator: sgd}.")
    chosen = {key: _chosen(given, find) for key, given in parts.items()}
    first = next(iter(chosen))
    others: list[Axis] = []
    fixed: dict[str, float] = {}
    for key, one in chosen.items():
        if isinstance(one.maker, Parts):
            raise SteepestError(f"The part '{key}' has parts itself; name one optimizer for each part.")
        others += [dataclasses.replace(axis, name=f"{key}.{axis.name}") for axis in one.others]
        if key == first:
            continue
        rate = _rate(one, {})
        if rate.typed is not None and len(rate.typed) == 1:
            fixed[f"{key}.{RATE}"] = rate.typed[0]
        elif rate.typed is not None:
            others.append(Axis(f"{key}.{RATE}", options=rate.typed))
        else:
            others.append(dataclasses.replace(rate, name=f"{key}.{RATE}"))
    maker = Parts({key: one.maker for key, one in chosen.items() if not isinstance(one.maker, Parts)})
    shown = ", ".join(f"{key}: {_with_rate(one) if key != first else one.name}" for key, one in chosen.items())
    return Chosen(maker.changed(**fixed) if fixed else maker, f"{{{shown}}}", tuple(others), chosen[first].rate)


def _with_rate(one: Chosen) -> str:
    """The name of a part with the rates that were given for it."""
    if one.rate is None:
        return one.name
    rate = _shown(one.rate) if isinstance(one.rate, Axis) else one.rate[0] if len(one.rate) == 1 else grammar.OneOf(one.rate)
    head, bracket, tail = one.name.partition("(")
    return f"{head}(lr={grammar.written(rate)}{', ' + tail if bracket else ')'}"


def grow(axis: Axis, grid: range, best: int | None) -> range:
    """A grid extended by `growth`, towards the edge at which its best index is, or to both sides if that is inside."""
    half = axis.growth // 2
    below, above = (axis.growth, 0) if best == grid[0] else (0, axis.growth) if best == grid[-1] else (half, half)
    return axis.within(range(grid.start - below, grid.stop + above))
