"""Measurements of a problem on this machine; each is made once and stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from ..training.protocol import Training
from ..training.recorder import POINTS
from ..training.repeats import STEPS
from ..training.stacked import Run
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
    """Measures a training on its device: operations of a step, whether runs repeat, and the cost of a step."""

    def __init__(self, training: Training, keys: Keys, store: Store, progress: Progress) -> None:
        self.training, self.keys, self.store, self.progress = training, keys, store, progress
        self._timed: tuple[float, float] | None = None
        self._costs: dict[str, tuple[float, int]] = {}

    def operations(self) -> int | None:
        """Floating-point operations of a step. They are stored, as counting imports a large part of torch."""
        count = self.store.recall("operations", self.keys.problem())
        if count is None:
            count = self.training.operations()
            if count is not None:
                self.store.remember("operations", self.keys.problem(), count)
        return count if count is None else int(count)

    def repeats(self, question: Question) -> bool | None:
        """Whether two runs with one seed agree; None if the share `REPEATED` of the budget is too short to test it."""
        known = self.store.recall("repeats", self.keys.problem())
        if known is None:
            steps = self._steps_to_repeat(question)
            if steps < LEAST_REPEATED:
                return None
            self.progress.say("testing whether runs repeat")
            run, other = (self._first_run(space, seed, question) for seed, space in enumerate((question.spaces * 2)[:2]))
            known = self.training.repeats(run, other, steps)
            if known is None:
                return None
            self.store.remember("repeats", self.keys.problem(), known)
        return bool(known)

    def _steps_to_repeat(self, question: Question) -> int:
        """The number of steps to repeat that fits the budget."""
        if question.budget is None:
            return STEPS
        spec = self.keys.problem() | {"budget": question.budget}
        kept = self.store.recall("steps to repeat", spec)
        if kept is None:
            step, once = self.timed(question)
            kept = max(min(STEPS, int((REPEATED * question.budget / 3 - 2 * once / (POINTS + 1)) / step)), 0)
            self.store.remember("steps to repeat", spec, kept)
        return int(kept)

    def _first_run(self, space: Space, seed: int, question: Question) -> Run:
        """A run of a space at its lowest typed rate, or at the centre of its grid."""
        rates = space.rates or space.rate.values(space.rate.first(1))
        candidate = space.at(rates[0])
        return Run(candidate.rule, rates[0], seed, question.steps, space.multiplier, config=candidate.config)

    def timed(self, question: Question) -> tuple[float, float]:
        """Seconds of a step of the first space, and of what else a run does, on one thread."""
        if self._timed is None:
            self._timed = self.training.time(first_runs(question)[0], question.budget or math.inf)
        return self._timed

    def costs(self, spaces: Sequence[Space]) -> Mapping[str, tuple[float, int]]:
        """Seconds per step and bytes of state of each space, by label; those not in the store are timed together.

        Zeros for a space of which only runs can show them, before there is one.
        """
        if not all(seconds for seconds, _ in self._costs.values()) or not self._costs:
            specs = {s.label: self.keys.rule(s.rule, threads=torch.get_num_threads(), timing=1) for s in spaces}
            missing = [space for space in spaces if self.store.recall("timing", specs[space.label]) is None]
            if missing:
                self.progress.say("timing one step of each")
                rules = list({space.rule: None for space in missing})
                timed = dict(zip(rules, self.training.costs(rules), strict=True))
                for space in missing:
                    if timed[space.rule] is not None:
                        self.store.remember("timing", specs[space.label], timed[space.rule])
            self._costs = {label: self._cost(spec) for label, spec in specs.items()}
        return self._costs

    def _cost(self, spec: dict[str, Any]) -> tuple[float, int]:
        """Seconds of a step and bytes of state; zeros if no run has shown them yet."""
        seconds, state = self.store.recall("timing", spec) or (0.0, 0)
        return seconds, state


def first_runs(question: Question) -> list[Run]:
    """The first screening runs, on which the ways to train are timed."""
    runs = []
    for space in question.spaces:
        rates = space.rates or space.rate.values(space.rate.first(question.trials))
        steps = space.steps(question.steps)
        at = [space.at(lr) for lr in rates]
        runs += [Run(c.rule, c.lr, TUNING_SEEDS[0], steps, space.multiplier, config=c.config) for c in at]
    return runs
