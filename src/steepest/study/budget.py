"""Decisions that depend on time, such as what fits a budget; each is a pure function of measured times.

A strategy yields them (`protocol.Decision`); the laboratory measures the `Clock` and stores each decision, so a study that is
resumed, or repeated on another machine, takes the same course.
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

SLACK = 1.25  # safety factor on a short timing: in long runs the machine heats up and is shared
RESERVE, AFTER = 0.03, 2.0  # share of the budget, and seconds, reserved for what follows the race
TUNING_SEEDS = (1_000_000, 1_000_001, 1_000_002)  # screening seeds, far from those of the race, 0, 1, 2, ...
EARLY = 0.25  # share of the steps after which a screening run of a slow model ends
TOGETHER = 16  # at least so many runs in a block, where they train in chunks
LONGER = 5  # the first two are compared again at this many times the steps
SHORT = ("adamw", "momentum", "rmsprop")  # the optimizers raced if there is no time for all
LEAST_SHARED = 2  # least full runs of each of the two that race, on the same seeds, if screening runs are shortened
# Rates of each space, and full runs, where screening runs are shortened: those of the two that race, and one above the pick.
SHORTENED = ((5, 2 * st.LEAST_PAIRS + 1), (3, 2 * LEAST_SHARED + 1), (3, 2))
REFINED = 40  # runs for a refinement: two rounds of changes on one seed, those followed on more, and a longer race
RACED = 12 * st.LEAST_PAIRS  # runs that a refinement leaves for the race: six candidates on ten seeds
REFINES = 0.2  # of the other runs that there is time for, in each round of a refinement
SEARCHES = 0.5  # of the runs that there is time for, for a search; the others are for the race
POINT = 1.0  # runs of full length for each point of a search: half a run, and the share that goes on
LEAST_POINTS, ENOUGH, MOST_POINTS = 4, 16, 128  # points of an optimizer: the fewest, enough to keep all optimizers, the most
LEAST_STEPS = 20  # least length of a run if a budget sets it


@dataclass(frozen=True)
class Clock:
    """Times in seconds, measured when a decision is due.

    `left` is the time until the phase has to end, `begun` the time since the budget began. `pace` is the number of runs per
    second of training so far, None before the first. `run` is the time of a run, `evaluations` the part spent on evaluation.
    `workers` can train in parallel, `local` of them on this machine, `parallel` do by the plan; `chunked`: several runs train
    together. `costs` maps labels to seconds of a step and bytes of state. `known`: the runs in question are in the store.
    """

    left: float = math.inf
    begun: float = 0.0
    pace: float | None = None
    run: float = 0.0
    evaluations: float = 0.0
    workers: int = 1
    local: int = 1
    parallel: int = 1
    chunked: bool = False
    known: bool = False
    reads_only: bool = False
    costs: Mapping[str, tuple[float, int]] = dataclasses.field(default_factory=dict)


class Fits(NamedTuple):
    """What fits a budget: labels of spaces, rates of each, whether screening runs are shortened, and a sentence on this."""

    labels: list[str]
    trials: int
    early: bool
    words: str


@dataclass(frozen=True)
class Fit(Decision):
    """The largest study that fits the budget: fewer optimizers, then fewer rates, never fewer steps."""

    question: Question
    name = "fit"

    def spec(self, study: str) -> dict[str, Any]:
        return {"study": study, "fit": self.question.budget}

    def decide(self, clock: Clock) -> Fits:
        """The largest study that fits. Raises SteepestError if not even a few runs do."""
        spaces, trials = self.question.spaces, self.question.trials
        runs = int(clock.left / (SLACK * clock.run))
        if self.question.search:
            return self._points(clock, runs)
        for fitting, rates in self._shapes():
            if least_runs(fitting, rates) <= runs:
                whole = len(fitting) == len(spaces) and rates == trials
                return self._fits(fitting, rates, "" if whole else self._words(clock, runs, fitting, rates))
        for rates, full in SHORTENED if self.question.any_length else ():
            tried = _least_early(fitting, rates)
            if tried and rates <= trials and tried + full <= runs:
                return self._fits(fitting, rates, self._words(clock, runs, fitting, rates, early=True), early=True)
        rates = min(runs // max(len(fitting), 1), 3)
        if rates < 1 or runs < 2:
            needed = (max(2, len(fitting)) * SLACK * clock.run + clock.begun + AFTER) / (1 - RESERVE)
            raise SteepestError(
                f"A budget of {self.question.budget:g} s is too short to try anything: {clock.begun:.2g} s went to starting "
                f"and checks, and a run of {self.question.steps} steps takes about {clock.run * clock.parallel:.2g} s here; "
                f"give at least --budget {math.ceil(needed)}s, or fewer steps."
            )
        return self._fits(fitting, rates, self._words(clock, runs, fitting, rates))

    def _points(self, clock: Clock, runs: int) -> Fits:
        """The optimizers, and the points of each, that a search has time for: fewer optimizers rather than very few points."""
        names = list(dict.fromkeys(space.name for space in self.question.spaces))
        short = [name for name in SHORT if name in names]
        choices = [names] if self.question.typed_optimizers or len(short) < 2 else [names, short, short[:2]]
        each = {tuple(chosen): int(SEARCHES * runs / (POINT * len(chosen))) for chosen in choices}
        chosen = next((one for one, count in each.items() if count >= ENOUGH), [*each][-1])
        count = min(max(each[chosen], 0), MOST_POINTS)
        if count < LEAST_POINTS:
            needed = (LEAST_POINTS * POINT * len(chosen) * SLACK * clock.run / SEARCHES + clock.begun + AFTER) / (1 - RESERVE)
            raise SteepestError(
                f"A budget of {self.question.budget:g} s has time for {count} points of each optimizer, and a search needs "
                f"{LEAST_POINTS}; give at least --budget {math.ceil(needed)}s, fewer optimizers, or fewer steps."
            )
        fitting = [space for space in self.question.spaces if space.name in chosen]
        words = (
            f"The budget allows for about {runs} runs of {clock.run:.2g} s, and so for {count} points of {', '.join(chosen)}."
        )
        return self._fits(fitting, count, words)

    def _shapes(self) -> list[tuple[list[Space], int]]:
        """Studies from the whole to the smallest, each with its spaces and the number of rates in a grid."""
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
        return f"{line}. {apart}; then of the best two at full length."


def _least_early(spaces: Sequence[Space], trials: int) -> float:
    """The cost of trying every rate in a shortened run, in full runs."""
    counts = (trials if space.rates is None else len(space.rates) for space in spaces)
    return EARLY * sum(count for count, space in zip(counts, spaces, strict=True) if space.rates is None or count > 1)


def followed(tried: int) -> int:
    """How many of a space's candidates get all screening seeds: the better half, and at least two."""
    return min(tried, max(tried // 2, 2))


def least_runs(spaces: Sequence[Space], trials: int) -> int:
    """An estimate of the runs of screening, of a refinement, and of the race up to its first look."""
    runs = 2 * st.LEAST_PAIRS + (REFINED if any(space.further for space in spaces) else 0)
    for space in spaces:
        tried = trials if space.rates is None else len(space.rates)
        runs += st.LEAST_PAIRS + (tried + 2 * followed(tried) if tried > 1 else 0)
    return runs


@dataclass(frozen=True)
class Begun(Decision):
    """The share of alpha, the chance of a false claim, of this question; it depends on earlier questions in the store."""

    question: Question
    name = "candidates"

    def decide(self, clock: Clock) -> float:
        return st.alpha_at_look(1)


@dataclass(frozen=True)
class Ended(Decision):
    """Marks the end of the race, with the number of seeds of each contender; the next phase has its own deadline."""

    question: Question
    seeds: tuple[int, ...]
    name = "ended"

    def decide(self, clock: Clock) -> bool:
        return True


@dataclass(frozen=True)
class Number(Decision):
    """The number of this question among all asked of the store about the problem."""

    question: Question
    name = "question"

    def decide(self, clock: Clock) -> int:
        return 1


@dataclass(frozen=True)
class Grows(Decision):
    """Whether to grow the grids: half of the budget is left, and the race still fits after the values added."""

    question: Question
    grids: tuple[range, ...]
    added: int
    early: bool = False  # whether the values are tried in shortened runs
    name = "grows"

    def spec(self, study: str) -> dict[str, Any]:
        grown = [[grid.start, grid.stop] for grid in self.grids]
        return {"study": study, "grown": grown, "budget": self.question.budget}

    def decide(self, clock: Clock) -> bool:
        pace = math.inf if clock.pace is None else clock.pace
        later = (2 * LEAST_SHARED + 1) / EARLY if self.early else 2 * (st.LEAST_PAIRS + len(TUNING_SEEDS))
        return clock.left >= (self.question.budget or 0.0) / 2 and clock.left * pace >= self.added + later


@dataclass(frozen=True)
class Carried(Decision):
    """How many candidates there is time to carry to a stage of `each` runs per candidate, at the pace so far."""

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
class Refined(Decision):
    """How many runs there is time for in the next round of a refinement, at the pace so far."""

    question: Question
    stage: str
    name = "refined"

    def spec(self, study: str) -> dict[str, Any]:
        return {"study": study, "refined": self.stage, "budget": self.question.budget}

    def decide(self, clock: Clock) -> int:
        runs = math.inf if clock.pace is None else clock.left * clock.pace - RACED
        return max(int(REFINES * runs), 0) if math.isfinite(runs) else sys.maxsize


@dataclass(frozen=True)
class AtOnce(Decision):
    """The least number of runs until the next look at the race: as many as train in parallel on other machines."""

    question: Question
    seeds: tuple[int, ...]
    name = "at once"

    def spec(self, study: str) -> dict[str, Any]:
        return {"race": study, "seeds": [*self.seeds]}

    def decide(self, clock: Clock) -> int:
        return max(TOGETHER if clock.chunked else 1, clock.workers if clock.workers > clock.local else 1)


@dataclass(frozen=True)
class Parallel(Decision):
    """The number of runs that train in parallel, for estimates of time after the race."""

    question: Question
    seeds: tuple[int, ...]
    name = "parallel"

    def spec(self, study: str) -> dict[str, Any]:
        return {"race": study, "seeds": [*self.seeds]}

    def decide(self, clock: Clock) -> int:
        return clock.parallel


@dataclass(frozen=True)
class Later(Decision):
    """Whether there is time for these runs after the race."""

    question: Question
    seeds: tuple[int, ...]
    jobs: tuple[Job, ...]
    seconds: float  # expected time of all of them
    name: str = "later"

    def spec(self, study: str) -> dict[str, Any]:
        return {"race": study, "seeds": [*self.seeds]}

    def decide(self, clock: Clock) -> bool:
        return clock.known or (not clock.reads_only and clock.left >= 1.5 * self.seconds)


@dataclass(frozen=True)
class Steps(Decision):
    """The steps per run with which the protocol of equal seeds fills the budget, with one growth of the grids."""

    question: Question
    name = "steps"

    def spec(self, study: str) -> dict[str, Any]:
        return {"study": study, "budget": self.question.budget}

    def decide(self, clock: Clock) -> int:
        """The steps. Raises SteepestError if they are too few."""
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
                f"A budget of {seconds:g} s leaves fewer than {LEAST_STEPS} steps for each of {runs} runs; give a larger "
                "--budget, or fewer optimizers, rates or seeds."
            )
        return steps


@dataclass(frozen=True)
class Costs(Decision):
    """Seconds per step and bytes of state of every space, by label."""

    question: Question
    name = "costs"

    def decide(self, clock: Clock) -> Mapping[str, tuple[float, int]]:
        return clock.costs
