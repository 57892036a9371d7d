"""What a study wants to know next: a pure function of what is known so far.

`ask(question, history)` returns the runs that are wanted next, or a decision that only a clock can make, or the answer:

- Nothing is known yet: `Wanted` has a run of every candidate on the first screening seed.
- These have ended, and under a budget: `Carried` asks how many optimizers there is time to follow up.
- The last block of seeds has brought the bound within the margin: `Stop` has the answer.

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
    """Which of these runs have ended already: nothing is trained for it, and None stands for the others."""

    jobs: tuple[Job, ...]


class Decision(ABC):
    """What only a clock can tell. `spec(study)` names it in a store; `decide(clock)` is a pure function of a `Clock`."""

    name: str
    question: Any  # a `Question`, as far as the strategy has narrowed it

    def spec(self, study: str) -> dict[str, Any]:
        """The key of this decision among those of its name, in the study of this key."""
        return {"study": study}

    @abstractmethod
    def decide(self, clock: Any) -> Any:
        """The decision, from what a clock measured."""


@dataclass(frozen=True)
class Stop(Generic[T]):
    """The end of a strategy, with its result."""

    result: T


class StoppedError(Exception):
    """Raised inside a strategy where no more runs of a phase will end; `outcomes` has those of the batch that did, or None."""

    def __init__(self, outcomes: list[Outcome | None], interrupted: bool) -> None:
        super().__init__(interrupted)
        self.outcomes, self.interrupted = outcomes, interrupted


Strategy = Generator[Any, Any, T]  # yields Wanted, Known and decisions


@dataclass
class History:
    """What is known: the outcome of every run that ended, the decisions of the clock, and the phases that are over.

    `over` maps a phase that the clock has ended to whether a person interrupted it.
    """

    outcomes: Mapping[Job, Outcome]
    decisions: dict[Any, Any] = field(default_factory=dict)
    over: dict[str, bool] = field(default_factory=dict)


class Asking(Generic[T]):
    """A strategy under way. While its history only grows, each `ask` goes on where the last one ended."""

    def __init__(self, strategy: Strategy[T]) -> None:
        self._strategy = strategy
        self._next = self._resume(None)

    def ask(self, history: History) -> Wanted | Decision | Stop[T]:
        """The next batch of runs, or decision, that the history does not have; or the end."""
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
    """What a strategy wants to know next, from the history alone: it is run anew from its beginning."""
    return Asking(strategy).ask(history)


def wanted(jobs: Iterable[Job], phase: str = RACE, why: Callable[[], str] = str) -> Strategy[list[Outcome]]:
    """Inside a strategy, the outcomes of these runs in their order; StoppedError where the clock has ended the phase."""
    outcomes: list[Outcome] = yield Wanted(tuple(jobs), phase, why)
    return outcomes
