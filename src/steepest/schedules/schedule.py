"""What a schedule is: the learning rate's multiplier as a pure function of the step; composable, and exact on resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import SteepestError
from ..notebook import Shown

Length = int | float  # an int is a number of steps, a float a share of the run
Values = Callable[[int, int, Sequence[float]], float]


@dataclass(frozen=True)
class Schedule(Shown):
    """`schedule(step, steps)` is the multiplier of the learning rate at a step, counted from 0, of a run of `steps`.

    `history` holds the metric at each evaluation so far, smaller being better; only `plateau` reads it. `momentum`, where a
    schedule cycles it, gives the momentum (beta1) of the same step. Two schedules with one name give the same values.

    >>> from steepest import schedules
    >>> (schedules.warmup(2) * schedules.linear())(0, 10)
    0.5
    """

    name: str
    value: Values = field(compare=False)
    momentum: Values | None = field(default=None, compare=False)
    reads: bool = field(default=False, compare=False)  # the history
    recipe: tuple[Callable[..., Schedule], tuple[Any, ...]] | None = field(default=None, compare=False)  # what makes it anew

    def __reduce__(self) -> Any:
        """Pickle what makes the schedule, since the formulas are closures, which no pickle takes."""
        return self.recipe or (Schedule, (self.name, self.value, self.momentum, self.reads))

    def __call__(self, step: int, steps: int, history: Sequence[float] = ()) -> float:
        return self.value(step, steps, history)

    def __repr__(self) -> str:
        return f"<Schedule {self.name}>"

    def __mul__(self, other: Schedule) -> Schedule:
        """The product of both, at every step; the momentum is that of the one that cycles it."""
        return Schedule(
            f"{self.name} * {other.name}",
            lambda k, n, h: self.value(k, n, h) * other.value(k, n, h),
            self.momentum or other.momentum,
            self.reads or other.reads,
            (Schedule.__mul__, (self, other)),
        )

    def then(self, other: Schedule, at: Length) -> Schedule:
        """This schedule up to step `at`, then the other from its own step 0, for what is left of the run.

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
        """The momentum at each step of a run, or None where it is not cycled.

        >>> from steepest import schedules
        >>> schedules.cyclic(up=2).momenta(3)
        [0.9, 0.8500000000000001, 0.8]
        """
        return [self.momentum(k, steps, ()) for k in range(steps)] if self.momentum else None

    if TYPE_CHECKING:

        def to_torch(self, optimizer: Any, steps: int | None = None, last_epoch: int = -1) -> Any:
            """See `schedules.to_torch`, which the package puts here: a schedule knows no torch."""


def length(value: Length, steps: int) -> int:
    """A length in steps: a whole number as it is, a float as that share of the run, at least 1."""
    return value if isinstance(value, int) else max(round(value * steps), 1)


def expect(holds: bool, name: str, value: Any, domain: str) -> None:
    """SteepestError with the domain unless it holds."""
    if not holds:
        raise SteepestError(f"Schedule: {name} is {value!r}; expected {domain}.")


def check_length(name: str, value: Any) -> None:
    """SteepestError unless this is a length."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    share = isinstance(value, float) and 0 < value <= 1
    expect(whole or share, name, value, "a number of steps, or a share of the run above 0 and up to 1.0")
