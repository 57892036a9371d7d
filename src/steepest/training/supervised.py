"""Train a supervised `Problem`: one run at a time, or many runs together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ..errors import SteepestError
from ..problems.fingerprint import Identity, identify
from ..problems.problem import Problem
from ..rules.foreign import Maker
from . import repeats, ways
from .checkpoints import NOWHERE, Slot, Slots, nowhere
from .protocol import Facts, Searched
from .recorder import Outcome
from .single import ignore
from .stacked import Run
from .timing import operations, time_evaluations, time_steps
from .ways import Plan

BATCH_SIZE = "batch_size"  # a setting of runs
SAME_START = "A module was given, not a function: every seed starts from the same weights."


class Supervised:
    """The training of a problem on a device; `workers` processes train at the same time."""

    def __init__(
        self,
        problem: Problem,
        device: str = "cpu",
        workers: int | None = None,
        exact: bool = False,
        batch_sizes: Sequence[int] = (),
    ) -> None:
        self.problem, self.device = problem.on(device), device
        self.workers = ways.at_once(device, workers)
        self.limit = workers  # of processes, if the user gave one
        self.exact = exact
        assert problem.steps is not None
        self.facts = Facts(
            name=problem.name,
            metric=problem.metric_name,
            direction=problem.direction,
            steps=problem.steps,
            about=problem.about,
            in_points=problem.in_points,
            is_loss=problem.metric is None,
            examples=len(problem.valid),
            tested=None if problem.test is None else len(problem.test),
            batch_size=problem.batch_size,
            batches=str(problem.drawing),
            optimum=problem.optimum,
            caveats=(SAME_START,) if problem.same_start else (),
        )
        self.searched = Searched()
        if batch_sizes:
            if problem.train.drawing is not None:
                raise SteepestError(
                    f"{problem.name} has a DataLoader, which sets the size of its batches; leave batch sizes out."
                )
            self.searched = Searched(config={BATCH_SIZE: tuple(batch_sizes)}, batch_size=problem.batch_size)

    @property
    def where(self) -> str:
        """The device, and whether updates are exact."""
        return f"{self.device}, exact" if self.exact else self.device

    def identify(self) -> Identity:
        """The key of the code, data and first step of the problem."""
        return identify(self.problem, self.device)

    def operations(self) -> int | None:
        """Floating-point operations of a step."""
        return operations(self.problem, self.device)

    def repeats(self, run: Run, other: Run, steps: int) -> bool | None:
        """Whether the first steps of `run` repeat."""
        return repeats.repeats(self.problem, run, other, steps, self.device)

    def time(self, run: Run, most: float) -> tuple[float, float]:
        """Seconds of one step, and of all evaluations of a run, on one thread."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # as in each of several processes; threads also stall if other programs use the cores
        try:
            step = time_steps(self.problem, [run.rule], self.device, rounds=1, slice_seconds=0.1)[0][0]
            return step, self.evaluations()
        finally:
            torch.set_num_threads(before)

    def evaluations(self) -> float:
        """Seconds of all evaluations of a run."""
        return time_evaluations(self.problem, self.device)

    def costs(self, makers: Sequence[Maker]) -> list[tuple[float, int] | None]:
        """Seconds of a step and bytes of state of each optimizer, timed in turns."""
        return [*time_steps(self.problem, [*makers], self.device, rounds=3)]

    def first_plan(self, workers: int) -> Plan:
        """Runs one by one, in processes if the data allow it."""
        way = "processes" if workers > 1 and self.problem.train.in_memory and self.workers > 1 else "one"
        return self.named_plan(way, "few runs fit")

    def named_plan(self, name: str, why: str = "as asked") -> Plan:
        """The plan with this name."""
        plan = ways.named(name, why, self.limit)
        if self.exact and plan.chunk > 1:
            raise SteepestError(f"--plan {name} trains runs together, which --exact cannot; give --plan one or processes.")
        return plan

    def fitted(self, plan: Plan, memory: int | None) -> Plan:
        """The plan with its chunks halved until they fit the memory."""
        return ways.fitted(plan, self.problem, memory, self.device)

    def choose(self, runs: Sequence[Run], memory: int | None) -> Plan:
        """The fastest way to train here."""
        if self.exact:
            return self.first_plan(self.workers)
        return ways.choose(self.problem, runs, memory=memory, device=self.device, workers=self.limit)

    def train_all(
        self,
        runs: Sequence[Run],
        plan: Plan,
        *,
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train the runs by the plan."""
        runs = [replace(run, hyper={**run.hyper, "exact": True}) for run in runs] if self.exact else runs
        for size, members in _by_batch_size(runs).items():
            mine = [runs[i] for i in members]
            ended = ways.train_all(
                sized(self.problem, size),
                mine,
                plan,
                device=self.device,
                on_step=on_step,
                known=[k for k, i in enumerate(members) if i in known],
                slots=lambda chunk, members=members: slots([members[k] for k in chunk]),  # type: ignore[misc]
            )
            for k, outcome in ended:
                yield members[k], outcome

    def notices(self) -> Mapping[str, str]:
        """None: a problem is checked before it is trained."""
        return {}

    def bytes_of(self, runs: int) -> int:
        """The memory of a block of runs, with the data."""
        splits = (self.problem.train, self.problem.valid, self.problem.test)
        held = [data for data in splits if data is not None and data.in_memory]
        return ways.bytes_of(self.problem, runs) + int(sum(t.numel() * t.element_size() for data in held for t in data.tensors))

    def sent(self) -> SentProblem:
        """The problem, for a cluster."""
        return SentProblem(self.problem, self.device, self.exact)

    def first_reports(self) -> Sequence[float]:
        """None: the identity of a problem includes its first step."""
        return ()

    def close(self) -> None:
        """Nothing was started."""


def _by_batch_size(runs: Sequence[Run]) -> dict[int | None, list[int]]:
    """The indices of runs by the size of their batches, None for the problem's own."""
    groups: dict[int | None, list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault(run.config.get(BATCH_SIZE), []).append(i)
    return groups


def sized(problem: Problem, size: int | None) -> Problem:
    """The problem with batches of another size."""
    return problem if size in (None, problem.batch_size) else replace(problem, batch_size=size)


@dataclass(frozen=True)
class SentProblem:
    """A problem as a cluster's node receives it."""

    problem: Problem
    device: str
    exact: bool = False

    def train(self, runs: Sequence[Run], plan: Plan, slot: Slot) -> list[Outcome]:
        """Train a block together, or alone if it is a single run; an empty list if they cannot train together."""
        numbers = [*range(len(runs))]
        runs = [replace(run, hyper={**run.hyper, "exact": True}) for run in runs] if self.exact else runs

        def slots(chunk: Sequence[int]) -> Slot:
            return slot if [*chunk] == numbers else NOWHERE

        sizes = [*_by_batch_size(runs)]
        if len(sizes) > 1:
            return []
        made = ways.train_chunk(sized(self.problem, sizes[0]), runs, numbers, plan, self.device, ignore, slots)
        return [outcome for _, outcome in sorted(made, key=lambda pair: pair[0])]
