"""The training protocol: what a study needs of whatever turns a candidate, a seed and a number of steps into an outcome.

There are three:

- `supervised.Supervised` trains a `Problem`, one run at a time or many runs as one.
- `loop.training.LoopTraining` calls the user's own training function, in a process for each run.
- `command.CommandTraining` starts a program for each run and reads its metric from what it prints.

A study reads the facts of its training, asks it for measurements, and passes it the runs that its protocol wants.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..problems.fingerprint import Identity
from ..rules.foreign import Maker
from .checkpoints import Slot, Slots, nowhere
from .recorder import Outcome
from .stacked import Run
from .ways import Plan


@dataclass(frozen=True)
class Facts:
    """What is known of a training before its first run.

    `steps` is the default number of steps of a run; `examples` and `tested` count validation and test examples, 0 if unknown;
    `may_test`: only a run on fresh seeds shows whether there are test data. `batches` describes how batches are drawn,
    `optimum` is the lowest possible loss with a phrase on how it was found, `caveats` are notes for the reader.
    """

    name: str
    metric: str
    direction: str
    steps: int
    about: str = ""
    in_points: bool = False
    is_loss: bool = False
    examples: int = 0
    tested: int | None = None
    may_test: bool = False
    batch_size: int | None = None
    batches: str = ""
    optimum: tuple[float, str] | None = None
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Searched:
    """What a training lets a study search: the values of its own settings, the parts that its optimizers may have names for.

    `config` maps each setting to its values, the default first. `schedules`: whether it follows a schedule. `named`: whether
    it passes the names of optimizers through, so that any name is accepted, each with rates. `axes` names the only
    hyperparameters that it can be given, None for all. `parts` are the names of its optimizers, as
    far as they were seen; None if it cannot train a candidate of several parts. `batch_size` is that of a problem whose
    config has others: runs with these see as many examples, in more or fewer steps.
    """

    config: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    schedules: bool = True
    optimizers: bool = True
    named: bool = False
    axes: frozenset[str] | None = None
    rates: bool = True
    parts: tuple[str, ...] | None = None
    any_length: bool = True
    batch_size: int = 0


class Sent(Protocol):
    """A training as a cluster's node receives it; it can be pickled."""

    def train(self, runs: Sequence[Run], plan: Plan, slot: Slot) -> list[Outcome]:
        """Train the runs of one block, in order; an empty list if they cannot train together."""


class Training(Protocol):
    """Something to train, on a device. `workers` is the number of runs that train at the same time on this machine."""

    facts: Facts
    searched: Searched
    device: str
    workers: int

    @property
    def where(self) -> str:
        """The device and the way of updating, as part of the keys of runs."""

    def identify(self) -> Identity:
        """The key of its code and data. Raises SteepestError if it cannot be trained."""

    def operations(self) -> int | None:
        """Floating-point operations of a step; None if runs do not train in this process."""

    def repeats(self, run: Run, other: Run, steps: int) -> bool | None:
        """Whether the first steps of `run` give the same numbers before and after `other`; None if that is unknown."""

    def time(self, run: Run, most: float) -> tuple[float, float]:
        """Seconds of one step on one thread, and those of a run that are spent on anything else; it takes `most` at most."""

    def evaluations(self) -> float:
        """Seconds of a run that are spent on anything but steps."""

    def costs(self, makers: Sequence[Maker]) -> list[tuple[float, int] | None]:
        """Seconds of a step and bytes of state of each optimizer; None if that is not known yet."""

    def first_plan(self, workers: int) -> Plan:
        """The plan if there is no time to compare ways to train."""

    def named_plan(self, name: str, why: str = "as asked") -> Plan:
        """The plan with this name. Raises SteepestError for one that does not fit."""

    def fitted(self, plan: Plan, memory: int | None) -> Plan:
        """The plan, changed to fit the memory."""

    def choose(self, runs: Sequence[Run], memory: int | None) -> Plan:
        """The fastest plan here."""

    def train_all(
        self,
        runs: Sequence[Run],
        plan: Plan,
        *,
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train the runs and yield each with its index, as it ends; those that are `known` may be left out.

        `on_step(n)` is called with the number of further gradients, and raises OutOfTimeError to stop.
        """

    def notices(self) -> Mapping[str, str]:
        """Notes for the reader, seen while runs trained, by a short code for each."""

    def bytes_of(self, runs: int) -> int:
        """An estimate of the memory of a block of runs that train together, with the data."""

    def sent(self) -> Sent:
        """The training as it is sent to a cluster. Raises SteepestError if it cannot be."""

    def first_reports(self) -> Sequence[float]:
        """The first numbers of seed 0, to compare with those of an earlier study; empty if the identity includes them."""

    def close(self) -> None:
        """End what was started for it, such as processes."""
