"""Schedules with arguments to search, such as "warmup(?) * cosine(floor=0.01..0.3)"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SteepestError, described
from ..grammar import Ask, Between
from .formulas import FORMULAS, linear, warmup, warmup_stable_decay
from .parse import parse
from .schedule import Schedule

WARMUP, DECAY, FLOOR = "warmup", "decay", "floor"
NAMES = {  # short names of arguments; any other is that of its schedule and its own, such as "step.size"
    ("warmup", "over"): WARMUP,
    ("warmup_stable_decay", "over"): WARMUP,
    ("warmup_stable_decay", "decay"): DECAY,
    ("cosine", "floor"): FLOOR,
}
RISING = ("warmup", "one_cycle", "cyclic", "inverse_sqrt")  # schedules that begin low themselves
EXAMPLE = 0.1  # an argument, where only the form of a schedule counts


@dataclass(frozen=True)
class Slot:
    """An argument to search: its name among the settings of a candidate, and what was typed for it."""

    name: str
    schedule: str
    argument: str
    search: Ask | Between


@dataclass(frozen=True)
class Shape:
    """A schedule of which some arguments are searched: its text, and a slot for each of them. `fixed` is one without any.

    >>> of("warmup(?) * cosine").at({"warmup": 0.1})
    <Schedule warmup(over=0.1) * cosine>
    """

    text: str
    slots: tuple[Slot, ...] = ()
    fixed: Schedule | None = None

    @property
    def can_warm_up(self) -> bool:
        """Whether a warm-up can be put before it: it has none yet, and does not read the metric."""
        reads = self.fixed is not None and self.fixed.reads
        return not reads and not any(name in self.text for name in RISING)

    def at(self, values: Mapping[str, Any]) -> Schedule:
        """The schedule with these values in its slots.

        A value for a warm-up comes before it. One for a decay replaces it by a constant rate that falls to 0 along a line.
        """
        if self.fixed is None:
            left = [values[slot.name] for slot in self.slots]
            made = parse(self.text, FORMULAS, lambda *_: left.pop(0))
        else:
            made = self.fixed
        names = {slot.name for slot in self.slots}
        rise, fall = (0.0 if name in names else values.get(name, 0.0) for name in (WARMUP, DECAY))
        if fall == 1:
            return warmup(rise) * linear() if rise else linear()
        if fall:
            return warmup_stable_decay(over=rise or 1, decay=fall)
        if rise:
            return warmup(rise) if made.name == "constant" else warmup(rise) * made
        return made


def of(schedule: str | Schedule) -> Shape:
    """The shape of a schedule as typed. SteepestError for one that cannot be read."""
    if isinstance(schedule, Schedule):
        return Shape(schedule.name, fixed=schedule)
    if not isinstance(schedule, str):
        raise SteepestError(
            f"The schedule is {described(schedule)}; expected a name such as 'cosine', or a steepest Schedule: "
            "steepest.schedules.from_torch(scheduler) converts one of torch's, steepest.schedules.function(f) a function."
        )
    slots: list[Slot] = []

    def fill(name: str, argument: str, search: Ask | Between) -> Any:
        short = NAMES.get((name, argument), f"{name}.{argument}")
        again = sum(slot.name.partition(" ")[0] == short for slot in slots)
        slots.append(Slot(f"{short} {again + 1}" if again else short, name, argument, search))
        return search.low if isinstance(search, Between) else EXAMPLE

    made = parse(schedule, FORMULAS, fill)
    return Shape(schedule.strip(), tuple(slots)) if slots else Shape(made.name, fixed=made)
