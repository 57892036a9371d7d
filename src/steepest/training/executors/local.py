"""Executors on this machine: all runs, or one slice of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from ...problems.problem import Problem
from .. import ways
from ..checkpoints import Slots, nowhere
from ..recorder import Outcome
from ..stacked import Run
from ..ways import Plan
from .protocol import Executor


class Local:
    """Trains all runs on this machine."""

    share = (1, 1)

    def at_once(self, device: str) -> int:
        """How many processes train side by side."""
        return ways.workers_on(device)

    def describe(self, device: str) -> str:
        """Nothing to add to the plan."""
        return ""

    def train_all(self, problem: Problem, runs: Sequence[Run], plan: Plan, **how: Any) -> Iterator[tuple[int, Outcome]]:
        """Train the runs, as `ways.train_all` does."""
        return ways.train_all(problem, runs, plan, **how)


class Slice:
    """Trains the i-th of n parts of the runs that are wanted: the same ones, however many have ended already."""

    def __init__(self, executor: Executor, share: tuple[int, int]) -> None:
        self.executor, self.share = executor, share

    def at_once(self, device: str) -> int:
        """As many as all slices train together."""
        return self.share[1] * self.executor.at_once(device)

    def describe(self, device: str) -> str:
        """As the executor says."""
        return self.executor.describe(device)

    def train_all(
        self,
        problem: Problem,
        runs: Sequence[Run],
        plan: Plan,
        *,
        device: str = "cpu",
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train this slice of the runs; the others are left out."""
        which, of = self.share
        own = [*range(len(runs))][which - 1 :: of]
        here = [k for k, i in enumerate(own) if i in known]
        ended = self.executor.train_all(
            problem,
            [runs[i] for i in own],
            plan,
            device=device,
            on_step=on_step,
            known=here,
            slots=lambda chunk: slots([own[k] for k in chunk]),
        )
        return ((own[k], outcome) for k, outcome in ended)
