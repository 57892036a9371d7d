"""What fits a budget: decisions that only a clock can make, each a pure function of what the clock measured.

A study asks for them (`protocol.Decision`), a laboratory measures the `Clock` and stores what was decided, so that a study that
is resumed, or asked again on another machine, takes the same course.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import SteepestError
from . import statistics as st
from .protocol import Decision, Job
from .question import Question
from .space import Space

SLACK = 1.25  # times what a run takes in a short timing: long runs heat and share the machine
RESERVE, AFTER = 0.03, 2.0  # of the budget, and seconds, left for what comes after the race
TUNING_SEEDS = (1_000_000, 1_000_001, 1_000_002)  # of screening, far from those of the race, 0, 1, 2, ...
EARLY = 0.25  # of its steps, after which a screening run of a slow model ends
TOGETHER = 16  # runs of a block, at least, where they train in chunks
LONGER = 5  # times the steps, at which the first two are compared again
SHORT = ("adamw", "momentum", "rmsprop")  # raced where there is no time for all
LEAST_STEPS = 20  # of a run whose length a budget sets


@dataclass(frozen=True)
class Clock:
    """What a clock measured when it was asked, in seconds.

    `left` is the time until the phase has to end, `begun` that since the budget began. `pace` is how many runs ended in a
    second of training so far, None before the first. `run` is what a run takes, `evaluations` what its evaluations take.
    `workers` train at a time, on this machine `local` of them; `chunked` says that several runs train together.
    `costs` has seconds of a step and bytes of state by label. `known` says that the runs in question are in the store.
    """

    left: float = math.inf
    begun: float = 0.0
    pace: float | None = None
    run: float = 0.0
    evaluations: float = 0.0
    workers: int = 1
    local: int = 1
    chunked: bool = False
    known: bool = False
    reads_only: bool = False
    costs: Mapping[str, tuple[float, int]] = dataclasses.field(default_factory=dict)


class Fits(NamedTuple):
    """What fits a budget: the labels of the spaces, the rates of each, whether screening ends early, and a sentence on it."""

    labels: list[str]
    trials: int
    early: bool
    words: str


@dataclass(frozen=True)
class Fit(Decision):
    """Fewer optimizers, then fewer rates, where the budget does not allow for all; never fewer steps."""

    question: Question
    name = "fit"

    def spec(self, study: str) -> dict[str, Any]:
        return {"study": study, "fit": self.question.budget}

    def decide(self, clock: Clock) -> Fits:
        """The largest study that fits. SteepestError where not even a few runs do."""
        spaces, trials = self.question.spaces, self.question.trials
        runs = int(clock.left / (SLACK * clock.run))
        for fitting, rates in self._shapes():
            if least_runs(fitting, rates) <= runs:
                whole = len(fitting) == len(spaces) and rates == trials
                return self._fits(fitting, rates, "" if whole else self._words(clock, runs, fitting, rates))
        for rates, seeds in ((5, st.LEAST_PAIRS), (3, 1)):  # of the two that race
            tried = _least_early(fitting, rates)
            if tried and rates <= trials and tried + 2 * seeds <= runs:
                return self._fits(fitting, rates, self._words(clock, runs, fitting, rates, early=True), early=True)
        rates = min(runs // max(len(fitting), 1), 3)
        if rates < 1 or runs < 2:
            needed = (max(2, len(fitting)) * SLACK * clock.run + clock.begun + AFTER) / (1 - RESERVE)
            raise SteepestError(
                f"A run of {self.question.steps} steps takes about {clock.run:.2g} s here, and a budget of "
                f"{self.question.budget:g} s is too short to try anything; give at least --budget {math.ceil(needed)}s, or "
                "fewer steps."
            )
        return self._fits(fitting, rates, self._words(clock, runs, fitting, rates))

    def _shapes(self) -> list[tuple[list[Space], int]]:
        """Studies from the whole to the least, each with its spaces and the rates of a grid."""
        question = self.question
        names = list(dict.fromkeys(space.name for space in question.spaces))
        short = [name for name in SHORT if name in names]
        courses = list(dict.fromkeys(space.schedule for space in question.spaces))
        one = ["cosine"] if "cosine" in courses else courses[:1]
        shapes = [(names, courses, question.trials)]
        if not question.typed_optimizers and len(short) > 1:
            shapes += [(short, courses, question.trials), (short[:2], courses, question.trials)]
        last = shapes[-1][0]
        shapes += [(last, one, trials) for trials in (question.trials, 5, 3) if trials <= question.trials]
        return [
            ([space for space in question.spaces if space.name in chosen and space.schedule in schedules], trials)
            for chosen, schedules, trials in shapes
        ]

    def _fits(self, fitting: Sequence[Space], trials: int, words: str, early: bool = False) -> Fits:
        return Fits([space.label for space in fitting], trials, early, words)

    def _words(self, clock: Clock, runs: int, fitting: Sequence[Space], trials: int, early: bool = False) -> str:
        labels = ", ".join(space.label for space in fitting)
        typed = all(space.rates is not None for space in fitting)
        rates = "" if typed else f", {trials} rate{'s' if trials > 1 else ''} each at first"
        line = f"The budget allows for about {runs} runs of {clock.run:.2g} s, and so for {labels}{rates}"
        if not early:
            return f"{line}, at full length."
        apart = f"Rates are compared in runs that end after {100 * EARLY:g} % of their steps"
        return f"{line}. {apart}; the best two race at full length."


def _least_early(spaces: Sequence[Space], trials: int) -> float:
    """How many runs it takes to try every rate in a run that ends early."""
    counts = (trials if space.rates is None else len(space.rates) for space in spaces)
    return EARLY * sum(count for count, space in zip(counts, spaces, strict=True) if space.rates is None or count > 1)


def least_runs(spaces: Sequence[Space], trials: int) -> int:
    """About how many runs screening and a first look at the race take."""
    runs = 2 * st.LEAST_PAIRS
    for space in spaces:
        tried = trials if space.rates is None else len(space.rates)
        runs += st.LEAST_PAIRS + (tried + 2 * max(tried // 2, 1) if tried > 1 else 0)
    return runs


@dataclass(frozen=True)
class Begun(Decision):
    """What this question may spend of the chance of a false claim: its share of alpha, as the store remembers questions."""

    question: Question
    name = "candidates"

    def decide(self, clock: Clock) -> float:
        return st.alpha_at_look(1)


@dataclass(frozen=True)
class Ended(Decision):
    """The race has ended with so many seeds of each contender; what follows has a time of its own."""

    question: Question
    seeds: tuple[int, ...]
    name = "ended"

    def decide(self, clock: Clock) -> bool:
        return True


@dataclass(frozen=True)
class Number(Decision):
    """The number of this question among those that a store was asked about the problem."""

    question: Question
    name = "question"

    def decide(self, clock: Clock) -> int:
        return 1


@dataclass(frozen=True)
class Grows(Decision):
    """Whether half of the budget is left, and the race still fits after the values that grids would grow by."""

    question: Question
    grids: tuple[range, ...]
    added: int
    name = "grows"

    def spec(self, study: str) -> dict[str, Any]:
        grown = [[grid.start, grid.stop] for grid in self.grids]
        return {"study": study, "grown": grown, "budget": self.question.budget}

    def decide(self, clock: Clock) -> bool:
        pace = math.inf if clock.pace is None else clock.pace
        needed = self.added + 2 * (st.LEAST_PAIRS + len(TUNING_SEEDS))
        return clock.left >= (self.question.budget or 0.0) / 2 and clock.left * pace >= needed


@dataclass(frozen=True)
class Carried(Decision):
    """How many candidates can go on to a stage that takes so many runs of each, as fast as runs went so far."""

    question: Question
    stage: str
    each: int
    name = "carried"

    def spec(self, study: str) -> dict[str, Any]:
        return {"study": study, "carried": self.stage, "budget": self.question.budget}

    def decide(self, clock: Clock) -> int:
        runs = math.inf if clock.pace is None else clock.left * clock.pace
        return max(int(runs / self.each), 2) if math.isfinite(runs) else sys.maxsize


@dataclass(frozen=True)
class AtOnce(Decision):
    """Runs, at least, from this look at the race to the next: as many as train at a time on other machines."""

    question: Question
    seeds: tuple[int, ...]
    name = "at once"

    def spec(self, study: str) -> dict[str, Any]:
        return {"race": study, "seeds": [*self.seeds]}

    def decide(self, clock: Clock) -> int:
        return max(TOGETHER if clock.chunked else 1, clock.workers if clock.workers > clock.local else 1)


@dataclass(frozen=True)
class Later(Decision):
    """Whether time is left for longer runs of the first two."""

    question: Question
    seeds: tuple[int, ...]
    jobs: tuple[Job, ...]
    seconds: float  # that a run took so far
    name = "later"

    def spec(self, study: str) -> dict[str, Any]:
        return {"race": study, "seeds": [*self.seeds]}

    def decide(self, clock: Clock) -> bool:
        return clock.known or (not clock.reads_only and clock.left >= 1.5 * LONGER * len(self.jobs) * self.seconds)


@dataclass(frozen=True)
class Steps(Decision):
    """The steps of a run at which equal seeds, one growth of the grids included, take about as long as the budget."""

    question: Question
    name = "steps"

    def spec(self, study: str) -> dict[str, Any]:
        return {"study": study, "budget": self.question.budget}

    def decide(self, clock: Clock) -> int:
        """The steps; SteepestError where they are too few."""
        question = self.question
        work, runs, seconds = 0.0, 0, question.budget or 0.0
        for space in question.spaces:
            searched = question.trials + space.rate.growth
            rates = searched if space.rates is None else len(space.rates) if len(space.rates) > 1 else 0
            own = rates * len(TUNING_SEEDS) + question.seeds
            runs, work = runs + own, work + own * clock.costs[space.label][0]
        steps = int((0.9 * seconds * clock.workers / clock.local - runs * clock.evaluations) / work)
        if steps < LEAST_STEPS:
            raise SteepestError(
                f"A budget of {seconds:g} s gives each of {runs} runs under {LEAST_STEPS} steps; give more time or ask for "
                "less."
            )
        return steps


@dataclass(frozen=True)
class Costs(Decision):
    """Seconds of a step and bytes of state of every space, by label."""

    question: Question
    name = "costs"

    def decide(self, clock: Clock) -> Mapping[str, tuple[float, int]]:
        return clock.costs
