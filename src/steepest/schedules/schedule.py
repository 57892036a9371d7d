"""A schedule: the learning rate's multiplier as a pure function of the step; composable, and exact after a resume."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any

from ..errors import SteepestError
from ..notebook import Shown

if TYPE_CHECKING:
    from .torch import Scheduler

Length = int | float  # an int is a number of steps, a float a share of the run
Values = Callable[[int, int, Sequence[float]], float]


@dataclass(frozen=True)
class Schedule(Shown):
    """A schedule: `schedule(step, steps)` is the learning rate's multiplier at a step, counted from 0, of a run of `steps`.

    `history` has the metric of each evaluation so far, smaller is better; only `plateau` reads it. `momentum` returns the
    momentum (beta1) of a step, for schedules that cycle it. Two schedules of the same name return the same values.

    >>> from steepest import schedules
    >>> (schedules.warmup(2) * schedules.linear())(0, 10)
    0.5
    """

    name: str
    value: Values = field(compare=False)
    momentum: Values | None = field(default=None, compare=False)
    reads: bool = field(default=False, compare=False)  # the history
    recipe: tuple[Callable[..., Schedule], tuple[Any, ...]] | None = field(
        default=None, compare=False
    )  # a call that makes it again

    def __reduce__(self) -> Any:
        """Pickle the call that made the schedule, because its formula is a closure, which cannot be pickled."""
        return self.recipe or (Schedule, (self.name, self.value, self.momentum, self.reads))

    def __call__(self, step: int, steps: int, history: Sequence[float] = ()) -> float:
        return self.value(step, steps, history)

    def __repr__(self) -> str:
        return f"<Schedule {self.name}>"

    def __mul__(self, other: Schedule) -> Schedule:
        """The product of both schedules at every step; the momentum is that of the schedule that cycles it."""
        return Schedule(
            f"{self.name} * {other.name}",
            lambda k, n, h: self.value(k, n, h) * other.value(k, n, h),
            self.momentum or other.momentum,
            self.reads or other.reads,
            (Schedule.__mul__, (self, other)),
        )

    def then(self, other: Schedule, at: Length) -> Schedule:
        """This schedule up to step `at`, then the other from its own step 0, over the rest of the run.

        >>> from steepest import schedules
        >>> schedules.warmup(2).then(schedules.cosine(), at=2)(2, 10)
        1.0
        """

        def choose(values: Values, others: Values) -> Values:
            def value(k: int, n: int, h: Sequence[float]) -> float:
                switch = length(at, n)
                return values(k, switch, h) if k < switch else others(k - switch, max(n - switch, 1), h)

            return value

        momentum = None
        if self.momentum and other.momentum:
            momentum = choose(self.momentum, other.momentum)
        name = f"{self.name}.then({other.name}, at={at!r})"
        recipe = (Schedule.then, (self, other, at))
        return Schedule(name, choose(self.value, other.value), momentum, self.reads or other.reads, recipe)

    def values(self, steps: int) -> list[float]:
        """The multiplier at each step of a run.

        >>> from steepest import schedules
        >>> schedules.linear().values(4)
        [1.0, 0.75, 0.5, 0.25]
        """
        return [self(k, steps) for k in range(steps)]

    def momenta(self, steps: int) -> list[float] | None:
        """The momentum at each step of a run; None if it is not cycled.

        >>> from steepest import schedules
        >>> schedules.cyclic(up=2).momenta(3)
        [0.9, 0.8500000000000001, 0.8]
        """
        return [self.momentum(k, steps, ()) for k in range(steps)] if self.momentum else None

    def to_torch(self, optimizer: Any, steps: int | None = None, last_epoch: int = -1) -> Scheduler:
        """Make a scheduler for any torch optimizer: each group's rate is its initial rate times the multiplier.

        `steps` may be left out if every length is a number of steps; SteepestError if one is a share of the run. `last_epoch`
        is torch's: the last step that was taken, if only the optimizer's state is loaded.

        >>> import torch
        >>> from steepest import schedules
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> scheduler = schedules.get("cosine").to_torch(optimizer, steps=2)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.05
        """
        from .torch import Scheduler

        if steps is None:
            if any(self(k, 1009) != self(k, 2018) for k in range(1009)):
                raise SteepestError(f"The schedule {self.name} depends on the length of the run; give to_torch its steps.")
            steps = 10**9
        return Scheduler(optimizer, self, steps, last_epoch=last_epoch)


def length(value: Length, steps: int) -> int:
    """Convert a length to steps: an int unchanged, a float as a share of the run, at least 1."""
    return value if isinstance(value, int) else max(round(value * steps), 1)


def expect(holds: bool, name: str, value: Any, domain: str) -> None:
    """Raise SteepestError with the argument's domain unless the condition `holds`."""
    if not holds:
        raise SteepestError(f"Schedule: {name} is {value!r}; expected {domain}.")


def check_length(name: str, value: Any) -> None:
    """Raise SteepestError unless the value is a length: a number of steps, or a share of the run."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    share = isinstance(value, float) and 0 < value <= 1
    expect(whole or share, name, value, "a number of steps, or a share of the run above 0 and up to 1.0")


def named(name: str, f: Callable[[int], float]) -> str:
    """A name with a hash of what a function computes."""
    return f"{name}({hashlib.sha256(repr(_code(f)).encode()).hexdigest()[:8]})"


def _code(f: Any) -> Any:
    """A function's code, constants, closure and defaults, the same in every process."""
    if isinstance(f, functools.partial):
        return ("partial", _code(f.func), f.args, f.keywords)
    code = f if isinstance(f, CodeType) else getattr(f, "__code__", None)
    if code is None:
        return _shown(f), *sorted(map(_shown, getattr(f, "__dict__", {}).items()))
    constants = tuple(_code(x) if isinstance(x, CodeType) else x for x in code.co_consts)
    cells = [cell.cell_contents for cell in getattr(f, "__closure__", None) or ()]
    named = [x for x in (getattr(f, "__defaults__", None), getattr(f, "__kwdefaults__", None)) if x]
    return (code.co_code, constants, code.co_names, [_code(x) if callable(x) else x for x in cells], *named)


def _shown(x: object) -> str:
    return re.sub(" at 0x[0-9a-f]+", "", repr(x))
