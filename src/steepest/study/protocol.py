"""The protocol between a study's strategy and its laboratory: a pure function from the history to the next request.

`ask(strategy, history)` returns the runs that are wanted next, or a decision that only a clock can make, or the answer:

- With an empty history: `Wanted`, with a run of every candidate on the first screening seed.
- When these have ended, under a budget: `Carried`, for the number of optimizers that there is time to follow up.
- When the last block of seeds has brought the bound within the margin: `Stop`, with the answer.

A strategy is a generator that yields `Wanted` and decisions, and is sent their outcomes. It never trains, reads no clock and
opens no store, so the same strategies run in a laboratory (`lab`), on tables of recorded runs (`table`), and in the
calibration of what they claim. What a clock decides is data, and part of the history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from ..training.recorder import Outcome
from .space import Candidate

T = TypeVar("T")
RACE, AFTER = "race", "after"  # the phases that a clock can end: screening and race, and what is measured after it


class Job(NamedTuple):
    """A run that is wanted: a candidate on a seed, for `length` steps of its own.

    `until` ends it after so many of them, 0 for all; `test` reads the test data at its end, `examples` stores the metric
    of each validation example.
    """

    candidate: Candidate
    seed: int
    length: int
    until: int = 0
    test: bool = False
    examples: bool = False


@dataclass(frozen=True)
class Wanted:
    """Runs that are wanted next, as one batch; `why()` says what for, or who leads."""

    jobs: tuple[Job, ...]
    phase: str = RACE
    why: Callable[[], str] = str


@dataclass(frozen=True)
class Known:
    """Requests the outcomes of those runs that have ended, without training; the others are None."""

    jobs: tuple[Job, ...]


class Decision(ABC):
    """A decision that depends on time. `spec(study)` is its key in a store; `decide(clock)` is a pure function of a `Clock`."""

    name: str
    question: Any  # a `Question`, as far as the strategy has narrowed it

    def spec(self, study: str) -> dict[str, Any]:
        """The key of this decision among those of its name, in the study of this key."""
        return {"study": study}

    @abstractmethod
    def decide(self, clock: Any) -> Any:
        """Make the decision from measured times."""


@dataclass(frozen=True)
class Stop(Generic[T]):
    """The end of a strategy, with its result."""

    result: T


class StoppedError(Exception):
    """Raised inside a strategy when a phase is over; `outcomes` are those of the requested batch, None for runs not ended."""

    def __init__(self, outcomes: list[Outcome | None], interrupted: bool) -> None:
        super().__init__(interrupted)
        self.outcomes, self.interrupted = outcomes, interrupted


Strategy = Generator[Any, Any, T]  # yields Wanted, Known and decisions


@dataclass
class History:
    """The outcomes of all runs that ended, the decisions made, and the phases that are over.

    `over` maps such a phase to whether the user interrupted it.
    """

    outcomes: Mapping[Job, Outcome]
    decisions: dict[Any, Any] = field(default_factory=dict)
    over: dict[str, bool] = field(default_factory=dict)


class Asking(Generic[T]):
    """A running strategy. While its history only grows, each `ask` continues where the previous one ended."""

    def __init__(self, strategy: Strategy[T]) -> None:
        self._strategy = strategy
        self._next = self._resume(None)

    def ask(self, history: History) -> Wanted | Decision | Stop[T]:
        """The next batch of runs or decision that is not in the history, or `Stop`."""
        while True:
            step: Any = self._next
            if isinstance(step, Stop):
                return step
            if isinstance(step, Decision):
                if step not in history.decisions:
                    return step
                self._next = self._resume(history.decisions[step])
                continue
            outcomes = [*map(history.outcomes.get, step.jobs)]
            if isinstance(step, Known) or all(outcome is not None for outcome in outcomes):
                self._next = self._resume(outcomes)
            elif step.phase in history.over:
                self._next = self._resume(StoppedError(outcomes, history.over[step.phase]))
            else:
                wanted: Wanted = step
                return wanted

    def _resume(self, value: Any) -> Any:
        try:
            if isinstance(value, StoppedError):
                return self._strategy.throw(value)
            return self._strategy.send(value)
        except StopIteration as end:
            return Stop(end.value)


def ask(strategy: Strategy[T], history: History) -> Wanted | Decision | Stop[T]:
    """The next request of a strategy, which is run over the history from its beginning."""
    return Asking(strategy).ask(history)


def wanted(jobs: Iterable[Job], phase: str = RACE, why: Callable[[], str] = str) -> Strategy[list[Outcome]]:
    """Request runs inside a strategy, and return their outcomes in order. Raises StoppedError if the phase is over."""
    outcomes: list[Outcome] = yield Wanted(tuple(jobs), phase, why)
    return outcomes
