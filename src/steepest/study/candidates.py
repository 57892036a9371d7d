"""The spaces of a study for what it trains: any optimizer for a problem or a loop, exactly the placeholders of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import rules
from ..errors import SteepestError, listed, unknown
from ..rules import CLASSICS
from ..rules.foreign import NAMED, Foreign, Maker, Parts
from ..schedules import Schedule
from ..update import foreign
from .axes import RATE
from .rates import Rates
from .space import Space, spaces

if TYPE_CHECKING:
    from ..training.protocol import Searched

ALL = "all:"  # begins the name of a module whose optimizers are all candidates


def spaces_of(
    optimizers: Sequence[Any],
    schedules: Sequence[str | Schedule],
    rates: Rates,
    searched: Searched,
    *,
    refines: bool = False,
    shapes: bool = False,
) -> tuple[tuple[Space, ...], list[str]]:
    """The spaces of a study, and notes on optimizers that were left out.

    `refines` and `shapes` are those of `space.spaces`; `shapes` also says that the user typed no schedules.

    Raises SteepestError for an optimizer or a schedule that what is trained cannot use.
    """
    if searched.named:
        return _of_command(optimizers, ["constant"] if shapes and not searched.schedules else schedules, rates, searched), []
    given, notes = _expanded(optimizers)
    made = spaces(
        given,
        schedules,
        rates,
        find=_tried,
        config=searched.config,
        batch_size=searched.batch_size,
        refines=refines,
        shapes=shapes,
    )
    for space in made:
        if isinstance(space.rule, Parts):
            _check_parts(space.rule, space.name, searched.parts)
    return made, notes


def _check_parts(maker: Parts, name: str, known: tuple[str, ...] | None) -> None:
    """Raise SteepestError unless the parts of a candidate are the optimizers of what is trained."""
    if known is None:
        raise SteepestError(
            f"{name} has several parts, and a Problem trains one model with one optimizer; write a training function with "
            "@steepest.loop, in which each part has its own run.optimizer(..., name=...)."
        )
    if "" in known:
        raise SteepestError(
            f"{name} has several parts, and the training function calls run.optimizer without a name; give each optimizer one."
        )
    other = next((key for key in maker.parts if key not in known), None)
    if other is not None:
        raise unknown("part", other, known, hint="These are the names that run.optimizer was called with.")
    missing = [key for key in known if key not in maker.parts]
    if missing:
        raise SteepestError(
            f"{name} has no part {listed(missing)}; the training function makes the optimizers {listed(known)}."
        )


def _tried(given: Any) -> Maker:
    """The optimizer of a name or an object; SteepestError for one that cannot take a step."""
    maker = foreign.find(given)
    return foreign.tried(maker) if isinstance(maker, Foreign) else maker


def _expanded(optimizers: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """The optimizers, with those of a module in place of "all:MODULE", and notes on those of its classes that cannot race."""
    given: list[Any] = []
    notes: list[str] = []
    for one in optimizers:
        if not (isinstance(one, str) and one.startswith(ALL)):
            given.append(one)
            continue
        found, refused = foreign.every(one.removeprefix(ALL))
        given += found
        names = listed([each.name for each in found])
        notes.append(f"{len(found)} optimizers of {one.removeprefix(ALL)} race: {names}.")
        by_reason: dict[str, list[str]] = {}
        for name, reason in refused.items():
            by_reason.setdefault(reason, []).append(name)
        notes += [f"Left out, {reason}: {', '.join(names)}." for reason, names in by_reason.items()]
    return given, notes


def _of_command(
    optimizers: Sequence[Any], schedules: Sequence[str | Schedule], rates: Rates, searched: Searched
) -> tuple[Space, ...]:
    """The spaces of a command, whose placeholders are its axes."""
    given = list(optimizers)
    if not searched.optimizers:
        if tuple(given) == CLASSICS:
            given = ["program"]
        elif len(given) > 1:
            raise SteepestError(
                f"{len(given)} optimizers were given, and the command has no {{optimizer}}, so all would train alike; put "
                "{optimizer} where its name belongs."
            )
    if not searched.schedules:
        if tuple(schedules) != ("constant",):
            raise SteepestError(
                "Schedules were given, and the command has neither {schedule} nor {warmup}; put {schedule} where its name "
                "belongs, or leave --schedules out."
            )
        schedules = ["constant"]
    free = searched.axes or frozenset()

    def find(name: Any) -> Maker:
        return _named(name, free)

    made = spaces(given, schedules, rates if searched.rates else 1.0, find=find)
    for space in made:
        known = space.name in rules.RULES or space.rule.base is not None or not searched.rates
        if space.rates is None and not known and isinstance(space.rule, Foreign):
            raise SteepestError(
                f"The usual rates of '{space.name}' are unknown, as it is a name for your program; give rates for it, such as "
                f"--lrs {space.name}=0.1,{space.name}=0.01."
            )
        absent = sorted(free - {axis.name for axis in space.others} - set(_values(space.rule)))
        if absent:
            raise SteepestError(
                f"The command has {{{absent[0]}}}, and {space.name} has no value for it; give values to compare, such as "
                f"'{space.name}({absent[0]}=[1, 2])'."
            )
        foreign_axis = next((axis.name for axis in space.others if axis.name not in free), None)
        if foreign_axis:
            raise SteepestError(
                f"{space.name} searches {foreign_axis}, and the command has no {{{foreign_axis}}}; put it there."
            )
    return made


def _values(maker: Maker) -> Mapping[str, Any]:
    return {name: value for name, value in maker.hyper.items() if value is not None}


def _named(name: Any, free: frozenset[str]) -> Maker:
    """The maker of a name in a command: its usual rate and settings where it is one of ours, else only its name."""
    if not isinstance(name, str):
        raise SteepestError("The optimizers of a command are names that it understands; give them as text.")
    rule = rules.RULES.get(name)
    own = {key: value for key, value in (rule.hyper.items() if rule else ()) if key in free and key != RATE}
    hyper = dict.fromkeys(sorted(free), None) | own
    return Foreign(
        name=name,
        make=_outside,
        hyper=hyper,
        rate=rule.rate if rule else 1e-2,
        digest=f"{NAMED}{name}",
        base=None,
        called=name,
    )


def _outside(*_: Any, **settings: Any) -> Any:
    raise SteepestError("This optimizer is made by the program of a command; its options are in the answer.")
