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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import grammar, rules
from ..errors import SteepestError, unknown
from ..rules.foreign import Foreign, Maker, Parts
from ..schedules import Schedule
from ..schedules.shape import Shape, of
from .axes import LEARNING_RATE, RATE, Axis, Grid, axes_of, axes_of_schedule, axis_of, ranged, slots_of
from .rates import Rates, checked, rates_of
from .scalars import OF_SCHEDULES, named

WIDER = 2  # rates in a decade for an optimizer that is not ours: seven cover 1.5 decades below and above its default
Find = Callable[[Any], Maker]


@dataclass(frozen=True, eq=False)
class Space:
    """One optimizer under one schedule, with the axes along which it is searched; the first is the learning rate.

    `name` is that of the optimizer, as typed; that of the rule where it was not typed otherwise. `config` has the default
    settings of what is trained. `shape` is the schedule where arguments of it are searched. `further` are axes that only the
    leaders of a study are refined along: at its centre such an axis changes nothing, and is not among a candidate's settings.
    `batch_size` is the usual one, where runs with others see as many examples.
    """

    rule: Maker
    multiplier: Schedule
    label: str
    axes: tuple[Axis, ...]
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    shape: Shape | None = None
    batch_size: int = 0
    further: tuple[Axis, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.rule.name)

    @property
    def schedule(self) -> str:
        """The schedule's name, as typed."""
        return self.shape.text if self.shape else self.multiplier.name

    def axis(self, name: str) -> Axis | None:
        """The axis with this name."""
        return next((axis for axis in (*self.axes, *self.further) if axis.name == name), None)

    def multiplier_at(self, settings: Mapping[str, Any]) -> Schedule:
        """The schedule with these settings."""
        names = [axis.name for axis in (*self.others, *self.further) if axis.of == "schedule"]
        own = {name: settings[name] for name in names if name in settings}
        return (self.shape or of(self.multiplier)).at(own) if own else self.multiplier

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

    @functools.cached_property
    def label(self) -> str:
        """The label of its space, with its own schedule if that was changed."""
        changed = any(name in OF_SCHEDULES for name, _ in self.settings)
        return f"{self.space.name}+{self.schedule}" if changed else self.space.label

    @functools.cached_property
    def multiplier(self) -> Schedule:
        """The schedule at the settings of this point."""
        return self.space.multiplier_at(dict(self.settings))

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        return self.multiplier.name

    @functools.cached_property
    def rule(self) -> Maker:
        """The optimizer at the settings of this point, but for the rate."""
        own = {name: value for name, value in self.settings if self._of(name) == "optimizer"}
        return rules.changed(self.space.rule, **own) if own else self.space.rule

    def _of(self, name: str) -> str:
        """What a setting belongs to."""
        axis = self.space.axis(name)
        return axis.of if axis else "optimizer"

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
        typed = [(name, isinstance(value, str) or value is None, value) for name, value in self.settings]
        return [(name, is_text, str(value) if is_text else value) for name, is_text, value in typed], self.lr

    def value(self, name: str) -> Any:
        """Its value on an axis."""
        axis = self.space.axis(name)
        return self.lr if name == RATE else dict(self.settings).get(name, axis.centre if axis else None)

    def moved(self, name: str, value: Any) -> Candidate:
        """The candidate with another value on one axis."""
        if name == RATE:
            return dataclasses.replace(self, lr=value)
        own = dict(self.settings) | {name: value}
        further = {axis.name: axis.centre for axis in self.space.further}
        if name in further and value == further[name]:
            del own[name]
        names = [axis.name for axis in (*self.space.others, *self.space.further)]
        return dataclasses.replace(self, settings=tuple((k, own[k]) for k in names if k in own))

    def steps(self, evaluations: int) -> int:
        """The steps that take this many gradients, or with batches of another size as many examples."""
        usual, own = self.space.batch_size, self.config.get("batch_size")
        return self.space.steps(max(round(evaluations * usual / own), 1) if usual and own else evaluations)

    @property
    def names(self) -> dict[str, Any]:
        """Its name, schedule, rate, label and settings, as the data of an answer have them."""
        space = self.space
        names: dict[str, Any] = {"name": space.name, "schedule": self.schedule, "lr": self.lr, "label": self.label}
        return names | {"settings": dict(self.settings)}

    @functools.cached_property
    def words(self) -> str:
        """It in words, as in an answer."""
        return named(self.space.name, self.lr, self.label, dict(self.settings))

    def __str__(self) -> str:
        return self.words


def _data(value: Any) -> Any:
    """A setting as data: a number, a text, or a list of them; anything else by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [one if one is None or isinstance(one, bool | int | float | str) else str(one) for one in value]
    return str(getattr(value, "__name__", None) or value)


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
    batch_size: int = 0,
    refines: bool = False,
    shapes: bool = False,
) -> tuple[Space, ...]:
    """Every optimizer with every schedule.

    `find` returns the optimizer of a name or another object; `config` maps the settings of what is trained to the values to
    compare, the default first. `refines`: leaders may be refined along further axes, and with `shapes` along those of their
    schedules too. Raises SteepestError for an unknown or repeated name, or an invalid rate.
    """
    chosen = [_chosen(given, find) for given in optimizers]
    courses = [of(schedule) for schedule in schedules]
    for what, names in (("optimizer", [one.name for one in chosen]), ("schedule", [c.text for c in courses])):
        if not names:
            raise SteepestError(f"No {what} was given; name at least one.")
        doubled = next((n for n in names if names.count(n) > 1), None)
        if doubled:
            raise SteepestError(f"The {what} '{doubled}' was given twice; name each once.")
    typed = rates_of(rates, [one.name for one in chosen])
    settings = config or {}
    own = tuple(Axis(name, options=tuple(values), of="training") for name, values in settings.items() if len(values) > 1)
    defaults = {name: values[0] for name, values in settings.items()}
    made = []
    for one in chosen:
        rate = _rate(one, typed)
        for course in courses:
            label = one.name if len(courses) == 1 else f"{one.name}+{course.text}"
            slots = tuple(slots_of(course))
            axes = (rate, *one.others, *slots, *own)
            double = next((axis.name for k, axis in enumerate(axes) if axis.name in [a.name for a in axes[:k]]), None)
            if double:
                raise SteepestError(f"{label} would search two settings named {double}; search one of them.")
            typed_so = {axis.name for axis in axes}
            further = [*axes_of(one.maker), *(axes_of_schedule(course, one.maker.hyper) if shapes else ())]
            made.append(
                Space(
                    one.maker,
                    course.at({axis.name: axis.centre for axis in slots}),
                    label,
                    axes,
                    one.name,
                    defaults,
                    course if slots else None,
                    batch_size,
                    tuple(axis for axis in further if axis.name not in typed_so) if refines and rate.typed is None else (),
                )
            )
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
        return ranged(rate, maker.rate, LEARNING_RATE)
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
                yield axis_of(f"{name}.{k}", f"beta{k + 1}" if name == "betas" else name, own[k], part)
    else:
        yield axis_of(name, name, own, value)


def _count(own: Any) -> str:
    return f"{len(own)} values" if isinstance(own, tuple | list) else "one value"


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
