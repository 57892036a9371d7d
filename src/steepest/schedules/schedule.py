"""What a schedule is: the learning rate's multiplier as a pure function of the step; composable, and exact on resume."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import SteepestError, unknown

if TYPE_CHECKING:
    from .torch import Scheduler

Length = int | float  # an int is a number of steps, a float a share of the run
Values = Callable[[int, int, Sequence[float]], float]


@dataclass(frozen=True)
class Schedule:
    """`schedule(step, steps)` is the multiplier of the learning rate at a step, counted from 0, of a run of `steps`.

    `history` holds the metric at each evaluation so far, smaller being better; only `plateau` reads it. `momentum`, where a
    schedule cycles it, gives the momentum (beta1) of the same step. Two schedules with one name give the same values.
    """

    name: str
    value: Values = field(compare=False)
    momentum: Values | None = field(default=None, compare=False)
    reads: bool = field(default=False, compare=False)  # the history

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
        )

    def then(self, other: Schedule, at: Length) -> Schedule:
        """This schedule up to step `at`, then the other from its own step 0, for what is left of the run."""

        def choose(values: Values, others: Values) -> Values:
            def value(k: int, n: int, h: Sequence[float]) -> float:
                switch = length(at, n)
                return values(k, switch, h) if k < switch else others(k - switch, max(n - switch, 1), h)

            return value

        momentum = None
        if self.momentum and other.momentum:
            momentum = choose(self.momentum, other.momentum)
        name = f"{self.name}.then({other.name}, at={at!r})"
        return Schedule(name, choose(self.value, other.value), momentum, self.reads or other.reads)

    def values(self, steps: int) -> list[float]:
        """The multiplier at each step of a run."""
        return [self(k, steps) for k in range(steps)]

    def momenta(self, steps: int) -> list[float] | None:
        """The momentum at each step of a run, or None where it is not cycled."""
        return [self.momentum(k, steps, ()) for k in range(steps)] if self.momentum else None

    def to_torch(self, optimizer: Any, steps: int | None = None) -> Scheduler:
        """A scheduler for any torch optimizer: the group's rate is the one it was made with, times the multiplier.

        `steps` may be left out where every length is a number of steps; SteepestError where one is a share of the run.
        """
        from .torch import Scheduler

        if steps is None:
            if any(self(k, 1009) != self(k, 2018) for k in range(1009)):
                raise SteepestError(f"The schedule {self.name} depends on the length of the run; give to_torch its steps.")
            steps = 10**9
        return Scheduler(optimizer, self, steps)


def length(given: Length, steps: int) -> int:
    """A length in steps: a whole number as it is, a float as that share of the run, at least 1."""
    return given if isinstance(given, int) else max(round(given * steps), 1)


def expect(holds: bool, name: str, given: Any, domain: str) -> None:
    """SteepestError with the domain unless it holds."""
    if not holds:
        raise SteepestError(f"Schedule: {name} is {given!r}; expected {domain}.")


def check_length(name: str, given: Any) -> None:
    """SteepestError unless this is a length."""
    whole = isinstance(given, int) and not isinstance(given, bool) and given >= 1
    share = isinstance(given, float) and 0 < given <= 1
    expect(whole or share, name, given, "a number of steps, or a share of the run above 0 and up to 1.0")


def parse(text: str, known: dict[str, Callable[..., Schedule]]) -> Schedule:
    """A schedule as written: a name, a name with arguments, products, and `a.then(b, at=...)`."""

    def refuse(node: ast.AST) -> SteepestError:
        what = ast.unparse(node)
        return SteepestError(
            f"Schedule '{text}': '{what}' cannot be used; write a name, name(argument=value), a * b or a.then(b, at=...)."
        )

    def build(node: ast.expr) -> Schedule:
        if isinstance(node, ast.Name):
            return make(node.id, [], {})
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return build(node.left) * build(node.right)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return make(node.func.id, node.args, {k.arg: k.value for k in node.keywords})
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "then":
            named = {k.arg: k.value for k in node.keywords}
            if len(node.args) == 1 and set(named) == {"at"}:
                at = literal(named["at"])
                check_length("at", at)
                return build(node.func.value).then(build(node.args[0]), at)
        raise refuse(node)

    def make(name: str, args: list[ast.expr], named: dict[str | None, ast.expr]) -> Schedule:
        if name not in known:
            raise unknown("schedule", name, known)
        try:
            return known[name](*map(literal, args), **{str(k): literal(v) for k, v in named.items()})
        except TypeError as error:
            said = str(error).split(") ", 1)[-1].replace("() ", " ")
            raise SteepestError(f"Schedule '{text}': {said}; `steepest list schedules` tells what each takes.") from None

    def literal(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise refuse(node) from None

    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        raise SteepestError(f"Schedule '{text}' cannot be read; write a name such as cosine, or step(size=30).") from None
    return build(tree.body)
