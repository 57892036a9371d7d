"""Measurements of a problem on this machine; each is made once and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from ..problems.problem import Problem
from ..training.recorder import POINTS
from ..training.repeats import STEPS, repeats
from ..training.stacked import Run
from ..training.timing import operations, time_evaluations, time_steps
from .budget import TUNING_SEEDS
from .keys import Keys
from .question import Question
from .space import Space
from .store import Store

REPEATED, LEAST_REPEATED = 0.03, 3  # to test whether runs repeat: the largest share of the budget, and the fewest steps


class Progress(Protocol):
    """Progress callbacks: estimated and confirmed total steps, steps done, current activity."""

    def plan(self, steps: int) -> None: ...

    def expect(self, steps: int) -> None: ...

    def done(self, steps: int) -> None: ...

    def say(self, what: str) -> None: ...


class Machine:
    """Measures a problem on a device: operations of a step, whether runs repeat, and the cost of a step."""

    def __init__(self, problem: Problem, keys: Keys, store: Store, progress: Progress) -> None:
        self.problem, self.keys, self.store, self.progress = problem, keys, store, progress
        self.device = keys.device
        self._timed: tuple[float, float] | None = None
        self._costs: dict[str, tuple[float, int]] = {}

    def operations(self) -> int:
        """Floating-point operations of a step. They are stored, as counting imports a large part of torch."""
        count = self.store.recall("operations", self.keys.problem())
        if count is None:
            count = operations(self.problem, self.device)
            self.store.remember("operations", self.keys.problem(), count)
        return int(count)

    def repeats(self, question: Question) -> bool | None:
        """Whether two runs with one seed agree; None if the share `REPEATED` of the budget is too short to test it."""
        known = self.store.recall("repeats", self.keys.problem())
        if known is None:
            steps = self._steps_to_repeat(question)
            if steps < LEAST_REPEATED:
                return None
            self.progress.say("testing whether runs repeat")
            run, other = (self._first_run(space, seed, question) for seed, space in enumerate((question.spaces * 2)[:2]))
            known = repeats(self.problem, run, other, steps, self.device)
            self.store.remember("repeats", self.keys.problem(), known)
        return bool(known)

    def _steps_to_repeat(self, question: Question) -> int:
        """The number of steps to repeat that fits the budget."""
        if question.budget is None:
            return STEPS
        spec = self.keys.problem() | {"budget": question.budget}
        kept = self.store.recall("steps to repeat", spec)
        if kept is None:
            step, evaluation = self.timed(question)
            kept = max(min(STEPS, int((REPEATED * question.budget / 3 - 2 * evaluation) / step)), 0)
            self.store.remember("steps to repeat", spec, kept)
        return int(kept)

    def _first_run(self, space: Space, seed: int, question: Question) -> Run:
        """A run of a space at its lowest typed rate, or at the centre of its grid."""
        rates = space.rates or space.rate.values(space.rate.first(1))
        return Run(space.rule, rates[0], seed, question.steps, space.multiplier)

    def timed(self, question: Question) -> tuple[float, float]:
        """Seconds of a step of the first space and of one evaluation, on one thread."""
        if self._timed is None:
            before = torch.get_num_threads()
            torch.set_num_threads(1)  # as in each of several processes; threads also stall if other programs use the cores
            try:
                rule = question.spaces[0].rule
                step = time_steps(self.problem, [rule], self.device, rounds=1, slice_seconds=0.1)[0][0]
                self._timed = step, self.evaluations() / (POINTS + 1)
            finally:
                torch.set_num_threads(before)
        return self._timed

    def evaluations(self) -> float:
        """Seconds of all evaluations of a run."""
        return time_evaluations(self.problem, self.device)

    def costs(self, spaces: Sequence[Space]) -> Mapping[str, tuple[float, int]]:
        """Seconds per step and bytes of state of each space, by label; those not in the store are timed together."""
        if not self._costs:
            specs = {s.label: self.keys.rule(s.rule, threads=torch.get_num_threads(), timing=1) for s in spaces}
            missing = [space for space in spaces if self.store.recall("timing", specs[space.label]) is None]
            if missing:
                self.progress.say("timing one step of each")
                rules = list({space.rule: None for space in missing})
                timed = dict(zip(rules, time_steps(self.problem, rules, self.device, rounds=3), strict=True))
                for space in missing:
                    self.store.remember("timing", specs[space.label], timed[space.rule])
            self._costs = {label: self._cost(spec) for label, spec in specs.items()}
        return self._costs

    def _cost(self, spec: dict[str, Any]) -> tuple[float, int]:
        seconds, state = self.store.recall("timing", spec)
        return seconds, state


def first_runs(question: Question) -> list[Run]:
    """The first screening runs, on which the ways to train are timed."""
    runs = []
    for space in question.spaces:
        rates = space.rates or space.rate.values(space.rate.first(question.trials))
        steps = space.steps(question.steps)
        runs += [Run(space.rule, lr, TUNING_SEEDS[0], steps, space.multiplier) for lr in rates]
    return runs
