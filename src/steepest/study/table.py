"""Tables of recorded runs, from which a study can be replayed without training, for calibration and tests.

`replay` runs the protocol and looks its runs up in the table until it stops; nothing is trained or timed.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import rules, schedules
from ..training.recorder import Curve, Outcome
from .axes import LEARNING_RATE
from .budget import AFTER, RESERVE, TUNING_SEEDS, Clock, Ended
from .course import Course
from .protocol import Asking, Decision, History, Job, Stop, Strategy, Wanted
from .question import Question, Scale
from .race import FRESH_SEEDS, race
from .space import Space

UNTIMED = Clock(reads_only=True)  # no deadline, and no time for the longer runs, which no table has
SECONDS = 1.0  # assumed time of a recorded run
STEPS = 20  # assumed length of one: the least that has all points of a curve


class Table(Mapping[Job, Outcome]):
    """The final validation values of recorded runs, (candidates, columns), NaN for a run that diverged.

    The first three columns are the screening seeds, the last `fresh` the fresh seeds, and those between the seeds of the race.
    `rates` are the recorded rates of each space, which bound its search. Every run counts as one second. Optional: `examples`
    (candidates, columns, examples), the metric of each validation example; `early` (candidates, columns), the values of
    shortened runs; `longer` (candidates, fresh), the values of longer runs on the fresh seeds; `tested`, two of (candidates,
    columns), the values on test data and their standard errors over test examples.
    """

    def __init__(
        self,
        spaces: Sequence[Space],
        rates: Sequence[Sequence[float]],
        values: NDArray[Any],
        fresh: int = 0,
        *,
        examples: NDArray[Any] | None = None,
        early: NDArray[Any] | None = None,
        longer: NDArray[Any] | None = None,
        tested: tuple[NDArray[Any], NDArray[Any]] | None = None,
    ) -> None:
        self.recorded, self.fresh = values, fresh
        self.examples, self.early, self.longer, self.tested = examples, early, longer, tested
        self.columns: Sequence[int] = range(values.shape[1])
        self.spaces = tuple(
            dataclasses.replace(space, axes=(_bounded(space, own), *space.others))
            for space, own in zip(spaces, rates, strict=True)
        )
        pairs = [(space.label, lr) for space, own in zip(spaces, rates, strict=True) for lr in own]
        self.rows = {pair: row for row, pair in enumerate(pairs)}
        self._outcomes: dict[tuple[int, int], Outcome] = {}

    def drawn(self, columns: NDArray[Any]) -> Table:
        """The same table with these of its columns, in this order."""
        other = copy.copy(self)
        other.columns = columns.tolist()
        return other

    def column(self, seed: int) -> int | None:
        """The column of a seed, or None."""
        columns = len(self.columns)
        if 0 <= seed < columns:
            column = len(TUNING_SEEDS) + seed
            return column if column < columns - self.fresh else None
        if seed in TUNING_SEEDS:
            return TUNING_SEEDS.index(seed)
        if seed in FRESH_SEEDS:
            place = FRESH_SEEDS.index(seed)
            return columns - self.fresh + place if place < self.fresh else None
        return None

    def get(self, job: Job, default: Any = None) -> Any:
        """The outcome of a recorded run, or the default."""
        row = self.rows.get((job.candidate.space.label, job.candidate.lr))
        if row is None:
            return default
        if self.longer is not None and job.length > STEPS:
            return _outcome(float(self.longer[row, FRESH_SEEDS.index(job.seed)]))
        column = self.column(job.seed)
        if column is None or (job.until and self.early is None):
            return default
        at = self.columns[column]
        if job.until and self.early is not None:
            return _outcome(float(self.early[row, at]))
        if (row, at) not in self._outcomes:
            each = None if self.examples is None else self.examples[row, at]
            self._outcomes[row, at] = _outcome(float(self.recorded[row, at]), each)
        outcome = self._outcomes[row, at]
        if job.test and self.tested is not None and outcome.valid is not None:
            value, error = (float(values[row, at]) for values in self.tested)
            return dataclasses.replace(outcome, test=value, test_se=error)
        return outcome

    def __getitem__(self, job: Job) -> Outcome:
        outcome: Outcome | None = self.get(job)
        if outcome is None:
            raise KeyError(job)
        return outcome

    def __iter__(self) -> Iterator[Job]:
        raise TypeError("a table is asked for single runs")

    def __len__(self) -> int:
        return int(self.recorded.size)


NO_CURVE = Curve()


def _outcome(value: float, examples: NDArray[Any] | None = None) -> Outcome:
    """The outcome of a run with this value, NaN if it diverged."""
    if math.isnan(value):
        return Outcome(NO_CURVE, None, None, None, 1, SECONDS)
    return Outcome(NO_CURVE, value, value, None, None, SECONDS, examples)


def _bounded(space: Space, rates: Sequence[float]) -> Any:
    """The axis of the learning rate, limited to the recorded rates; a single rate counts as typed."""
    typed = tuple(rates) if len(rates) == 1 else space.rates
    return dataclasses.replace(space.rate, low=min(rates), high=max(rates), typed=typed)


def arms(values: NDArray[Any], fresh: int = 0) -> Table:
    """A table of unnamed candidates with one rate each, so that there is no screening: values (candidates, columns)."""
    rule, constant = rules.get("gd"), schedules.get("constant")
    typed = dataclasses.replace(LEARNING_RATE, typed=(1.0,))
    spaces = [Space(rule, constant, f"{k:03}", (typed,)) for k in range(len(values))]
    unused = np.zeros((len(values), len(TUNING_SEEDS)))
    return Table(spaces, [(1.0,)] * len(values), np.concatenate([unused, values], 1), fresh)


def question(table: Table, scale: Scale, **fields: Any) -> Question:
    """A question about the spaces of a table; `fields` are those of `Question`."""
    asked = {"steps": STEPS, "trials": 7} | fields
    return Question(table.spaces, scale, **asked)


def replay(
    asked: Question,
    runs: Mapping[Job, Outcome],
    *,
    strategy: Callable[[Question], Strategy[Course]] = race,
    clock: Clock = UNTIMED,
    seconds: float = 0.0,
    watch: Callable[[Wanted], None] | None = None,
) -> Course:
    """The course of a study with recorded runs; a phase ends when it requests a run that is not recorded.

    If the question has a budget, simulated time advances by `seconds` per run. `clock` has the other inputs of decisions.
    `watch` is called with each batch of requested runs.
    """
    clock = dataclasses.replace(clock, costs=clock.costs or {space.label: (SECONDS, 0) for space in asked.spaces})
    stepwise = watch is not None or asked.budget is not None
    known: dict[Job, Outcome] = {}
    history, asking = History(known if stepwise else runs), Asking(strategy(asked))
    time = _Time(asked.budget, seconds)
    while not isinstance(step := asking.ask(history), Stop):
        if isinstance(step, Decision):
            history.decisions[step] = step.decide(time.clock(clock, len(known)))
            if isinstance(step, Ended):
                time.end = time.budget
        elif not stepwise:
            history.over[step.phase] = False
        else:
            if watch is not None:
                watch(step)
            for job in step.jobs:
                outcome = runs.get(job)
                if outcome is None or not time.passes():
                    history.over[step.phase] = False
                    break
                known[job] = outcome
    return step.result


class _Time:
    """Simulated time, which advances only with runs."""

    def __init__(self, budget: float | None, seconds: float) -> None:
        self.budget = math.inf if budget is None else budget
        self.end = math.inf if budget is None else (1 - RESERVE) * budget - AFTER
        self.now, self.seconds = 0.0, seconds

    def passes(self) -> bool:
        """Advance by a run; return whether it ended in time."""
        self.now += self.seconds
        return self.now <= self.end

    def clock(self, clock: Clock, ran: int) -> Clock:
        """The clock at the current simulated time."""
        if math.isinf(self.budget):
            return clock
        pace = 1 / self.seconds if ran and self.seconds else None
        return dataclasses.replace(clock, left=self.end - self.now, begun=self.now, pace=pace, run=self.seconds)
