"""What an executor is: it trains runs of a problem by a plan, here or elsewhere, and yields each as it ends.

Three of them: `local.Local` trains in this process or in several of this machine; `ray.Cluster` sends blocks of runs to a Ray
cluster; `local.Slice` trains every n-th of the runs that are wanted, and leaves the others to machines that share a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from ...problems.problem import Problem
from ..checkpoints import Slots, nowhere
from ..recorder import Outcome
from ..stacked import Run
from ..ways import Plan


class Executor(Protocol):
    """Trains runs. `share` (i, n) says that it trains the i-th of n parts of them, (1, 1) all."""

    share: tuple[int, int]

    def at_once(self, device: str) -> int:
        """How many runs train at a time, in all parts together."""

    def describe(self, device: str) -> str:
        """Where runs are trained, in words that follow the plan's; empty for this machine."""

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
        """Train the runs; each with its index, as it ends.

        Chunks of which all runs are `known` are skipped; others are trained whole, so that their numbers stay the same.
        `on_step(n)` is called with the number of further gradients, and raises OutOfTimeError to stop.
        """
