"""The executor protocol: an executor trains runs by a plan, here or elsewhere, and yields each as it ends.

There are two: `local.Local` trains in one or several processes of this machine, all runs or every n-th, while other machines
that share a folder train the rest; `ray.Cluster` sends blocks of runs to a Ray cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from ..checkpoints import Slots, nowhere
from ..protocol import Training
from ..recorder import Outcome
from ..stacked import Run
from ..ways import Plan


class Executor(Protocol):
    """Trains runs. `share` is the slice of the runs that it trains, the i-th of n: (i, n); (1, 1) is all of them."""

    share: tuple[int, int]

    def at_once(self, training: Training) -> int:
        """The number of runs that train in parallel, in all slices together."""

    def describe(self, training: Training) -> str:
        """Where runs are trained, to append to the plan's description; empty for this machine."""

    def train_all(
        self,
        training: Training,
        runs: Sequence[Run],
        plan: Plan,
        *,
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train the runs and yield each with its index, as it ends.

        Chunks are skipped if all their runs are `known`, else trained as a whole, so that their numbers stay the same.
        `on_step(n)` is called with the number of further gradients, and raises OutOfTimeError to stop.
        """
