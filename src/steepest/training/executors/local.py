"""The executor on this machine: it trains all runs, or one slice of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ..checkpoints import Slots, nowhere
from ..protocol import Training
from ..recorder import Outcome
from ..stacked import Run
from ..ways import Plan


class Local:
    """Trains on this machine: all runs, or the i-th of n slices; a slice does not depend on which runs have ended."""

    def __init__(self, share: tuple[int, int] = (1, 1)) -> None:
        self.share = share

    def at_once(self, training: Training) -> int:
        """The number of processes that train in parallel, in all slices together."""
        return self.share[1] * training.workers

    def describe(self, training: Training) -> str:
        """Empty: nothing to add to the plan's description."""
        return ""

    def train_all(
        self,
        training: Training,
        runs: Sequence[Run],
        plan: Plan,
        *,
        known: Collection[int] = (),
        slots: Slots = nowhere,
        **how: Any,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train this slice of the runs, as the training does; the other runs are left out."""
        which, of = self.share
        own = [*range(len(runs))][which - 1 :: of]
        ended = training.train_all(
            [runs[i] for i in own],
            plan,
            known=[k for k, i in enumerate(own) if i in known],
            slots=lambda chunk: slots([own[k] for k in chunk]),
            **how,
        )
        return ((own[k], outcome) for k, outcome in ended)
