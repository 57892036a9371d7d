"""Choose how to train many runs of a problem: time the ways on this machine for a few steps, and take the fastest."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ..errors import SteepestError, text_of
from ..problems.memory import activation_bytes
from ..problems.problem import Problem
from .checkpoints import NOWHERE, Slot, Slots, finish, nowhere
from .forward import NotStackableError, drops
from .processes import in_processes
from .recorder import Outcome
from .single import ignore, train
from .stacked import EVALUATED, Run, StackedRuns
from .timing import one_thread, time_steps

WAYS = ("one", "processes", "one:channels-last", "processes:channels-last", "one:compiled")  # to train runs one by one
SIZES = (8, 32, 128)  # chunk sizes to try
TRIED = 6  # steps to time for each way
COMPARED = 2  # runs of a chunk that are compared with the same runs trained alone
LONGEST = 20.0  # most seconds for a chunk, so that a stop loses no more
OFTEN = 25  # steps between progress callbacks of a run
LONG = 120.0  # seconds of training above which timing torch.compile is worthwhile
# Errors of a model that cannot be batched, or not in this memory; its runs train one by one, which surfaces real errors.
NOT_TOGETHER = (NotStackableError, SteepestError, RuntimeError, MemoryError)
COMPILER = (RuntimeError, ImportError, OSError, subprocess.SubprocessError)  # errors of torch.compile and its compiler
AGREE = 1e-3  # relative tolerance between a chunk's losses and those of the same runs trained alone


@dataclass(frozen=True)
class Plan:
    """A way to train: runs one by one, in this process or in `workers` processes, or `chunk` runs together in each process.

    `channels_last` uses that memory format; `compiled` trains runs one by one with torch.compile; `why` gives the reason.
    """

    chunk: int = 1
    workers: int = 1
    channels_last: bool = False
    compiled: bool = False
    why: str = ""
    ms: float = 0.0  # milliseconds a run and step, as timed

    @property
    def name(self) -> str:
        """The plan as a value of `--plan`: "one", "processes", "many:32"; "one:channels-last", "one:compiled"."""
        if self.chunk > 1:
            return f"many:{self.chunk}"
        layout = ":compiled" if self.compiled else ":channels-last" if self.channels_last else ""
        return ("processes" if self.workers > 1 else "one") + layout

    def __str__(self) -> str:
        how = f"{self.chunk} runs together" if self.chunk > 1 else "one by one"
        how += f" in each of {self.workers} processes" if self.workers > 1 else ""
        how += ", channels last" if self.channels_last else ", compiled" if self.compiled else ""
        return f"{how} ({self.why})" if self.why else how


def at_once(device: str, workers: int | None = None) -> int:
    """The number of processes that train in parallel: as many as the user asked for, or one for each core."""
    return workers_on(device) if workers is None else workers


def workers_on(device: str) -> int:
    """The number of processes that train in parallel: one if processes cannot be forked, or on a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8) if device == "cpu" and has_forks() else 1


def named(name: str, why: str = "as asked", workers: int | None = None) -> Plan:
    """The plan with this name, in at most so many `workers`. Raises SteepestError for an unknown name."""
    way, _, size = name.partition(":")
    if name in WAYS:
        processes = at_once("cpu", workers) if way == "processes" else 1
        return Plan(1, processes, size == "channels-last", size == "compiled", why)
    if way == "many" and re.fullmatch("[0-9]{1,9}", size) and int(size) > 1:
        return Plan(int(size), at_once("cpu", workers), why=why)
    raise SteepestError(
        f"--plan is {name!r}; expected auto, show, {', '.join(WAYS)}, or many:N for N runs together, such as many:32."
    )


def one_by_one(name: str, workers: int) -> int:
    """The processes of a plan that trains runs one by one: 1 for "one". Raises SteepestError for any other plan."""
    if name not in ("one", "processes"):
        raise SteepestError(f"--plan is {name!r}; a loop or a command trains by one or processes, each run by itself.")
    return 1 if name == "one" else workers


def fitted(plan: Plan, problem: Problem, memory: int | None, device: str = "cpu") -> Plan:
    """The plan with its chunks halved until they fit the memory; SteepestError for a compiled plan that cannot work."""
    if plan.compiled and not has_compiler(device):
        raise SteepestError(
            "--plan one:compiled needs a C++ compiler (c++, g++ or clang++), and none was found; give another --plan."
        )
    if plan.compiled and drops(problem.start(0)):
        raise SteepestError(
            "--plan one:compiled does not support dropout, whose masks depend on the run and step; give --plan auto or one."
        )
    bound = memory_bound(device) if memory is None else memory
    while plan.chunk > 1 and bytes_of(problem, plan.chunk) * plan.workers > bound:
        half = max(plan.chunk // 2, 1)
        plan = replace(plan, chunk=half, workers=plan.workers if half > 1 else 1, why=f"{plan.why}, halved to fit the memory")
    return plan


def chunks(runs: Sequence[Run], size: int, workers: int = 1) -> list[list[int]]:
    """Indices of the runs, in chunks that may train together; runs with one seed, which share batches, are grouped."""
    laid_out: list[list[int]] = []
    counts: list[tuple[list[int], int]] = []
    alone = [i for i, run in enumerate(runs) if run.is_alone]
    order = sorted(
        (i for i in range(len(runs)) if not runs[i].is_alone),
        key=lambda i: (repr(runs[i].together_key), runs[i].seed, runs[i].rule.name, i),
    )
    for _, group in itertools.groupby(order, key=lambda i: runs[i].together_key):
        alike = list(group)
        seeds = [list(g) for _, g in itertools.groupby(alike, key=lambda i: runs[i].seed)]
        if max(map(len, seeds)) < max(4, size // 3):  # too few runs per seed for chunks of this size: mix seeds, sort by rule
            seeds = [sorted(alike, key=lambda i: (runs[i].rule.name, i))]
        counts += [(members, -(-len(members) // size)) for members in seeds]
    spare = -sum(count for _, count in counts) % workers  # so that all workers are busy to the end
    for members, count in counts:
        more = min(spare, 1) if len(members) >= 2 * (count + 1) else 0
        spare -= more
        laid_out += [part.tolist() for part in np.array_split(np.array(members), count + more)]
    return sorted([*laid_out, *([i] for i in alone)], key=len, reverse=True)


def bytes_of(problem: Problem, runs: int) -> int:
    """An estimate of the memory of a chunk of `runs` runs: weights, gradients, states, activations, and an evaluation."""
    model = problem.start(0).train()
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return int(runs * (7 * weights + 2 * activation_bytes(problem, model))) + EVALUATED


def memory_bound(device: str) -> int:
    """The default memory bound of runs that train together: half of what the machine or device has."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info(device)[1] // 2)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # unknown on some systems
        return 4 * 2**30


def has_forks() -> bool:
    """Whether runs can train in processes here: a problem contains functions, which only a forked process inherits."""
    return "fork" in multiprocessing.get_all_start_methods()


def has_compiler(device: str) -> bool:
    """Whether torch.compile can compile here."""
    return device != "cpu" or any(map(shutil.which, ("c++", "g++", "clang++")))


def choose(
    problem: Problem, runs: Sequence[Run], *, memory: int | None = None, device: str = "cpu", workers: int | None = None
) -> Plan:
    """The fastest way that fits the memory and agrees with runs trained alone."""
    workers = at_once(device, workers)
    if len(runs) < 2:
        return Plan(why="a single run")
    if not problem.train.in_memory:
        return Plan(why="the data are read batch by batch")
    sample = [replace(run, steps=TRIED, test=False, examples=False) for run in runs]
    alone: dict[int, list[float | None]] = {}  # losses of the first runs of each chunk tried, trained alone
    memory = memory_bound(device) if memory is None else memory
    best, reasons = min(_apart(problem, runs[0], workers, device), key=lambda plan: plan.ms), list[str]()
    for size in SIZES:
        groups = chunks(sample, size, workers)
        if bytes_of(problem, min(size, len(groups[0]))) * workers > memory:
            reasons.append(f"chunks of {size} need over {memory / 2**20:.4g} MiB")
            break
        chosen = groups[0]
        if len(chosen) < 2 or (size > SIZES[0] and len(chosen) <= size // 4):
            break
        try:
            team = StackedRuns(problem, [sample[i] for i in chosen], device)
            seen = torch.stack([team.step() for _ in range(TRIED)]).tolist()
            ms = time_together(team, TRIED)
        except NOT_TOGETHER as error:
            reasons.append(f"not together: {text_of(error)[:200] or type(error).__name__}")
            break
        for i in chosen[:COMPARED]:
            if i not in alone:
                alone[i] = _alone(problem, sample[i], Plan(), device, ignore).curve.train[1:]
        if not all(_agree([step[k] for step in seen], alone[i]) for k, i in enumerate(chosen[:COMPARED])):
            reasons.append("not together: the losses differ from those of runs trained alone")
            break
        if size > SIZES[0] and ms / 1e3 * len(chosen) * runs[0].steps > LONGEST:
            break
        if ms / workers < best.ms:
            best = Plan(size, workers, ms=ms / workers)
    left = best.ms / 1e3 * sum(run.steps for run in runs)
    if left > LONG and not drops(problem.start(0)) and has_compiler(device):
        try:
            ms = 1e3 * time_steps(problem, [runs[0].rule], device, rounds=3, compiled=True)[0][0]
            reasons.append(f"compiled {ms:.3g} ms")
            best = Plan(compiled=True, ms=ms) if ms < best.ms else best
        except COMPILER as error:
            reasons.append(f"not compiled: {type(error).__name__}")
    measured = f"{best.ms:.3g} ms a run and step"
    return replace(best, why="; ".join([measured, *reasons]))


def time_together(team: StackedRuns, steps: int) -> float:
    """Milliseconds per run and step of a chunk, on one thread."""
    with one_thread():
        team.step()
        begun = time.perf_counter()
        for _ in range(steps):
            team.step()
        took = time.perf_counter() - begun
    return 1e3 * took / steps / len(team.runs)


def _apart(problem: Problem, run: Run, workers: int, device: str) -> Iterator[Plan]:
    """The ways to train runs one by one, timed: with torch's threads or a process for each core, and by layout."""
    images = any(isinstance(m, nn.Conv2d) for m in problem.start(0, device).modules())
    for channels_last in (False, True) if images else (False,):
        for count in (1, workers) if workers > 1 else (1,):
            with one_thread() if count > 1 else contextlib.nullcontext():
                seconds = time_steps(problem, [run.rule], device, rounds=3, channels_last=channels_last)[0][0]
            yield Plan(1, count, channels_last, ms=1e3 * seconds / count)


def _agree(together: Sequence[float], alone: Sequence[float | None]) -> bool:
    """Whether a run's losses agree both ways, for as many steps as it trained alone."""
    return bool(np.allclose(together[: len(alone)], np.array(alone, float), rtol=AGREE, atol=1e-6))


def train_all(
    problem: Problem,
    runs: Sequence[Run],
    plan: Plan,
    *,
    device: str = "cpu",
    on_step: Callable[[int], None] | None = None,
    known: Collection[int] = (),
    slots: Slots = nowhere,
) -> Iterator[tuple[int, Outcome]]:
    """Train the runs by the plan and yield each with its index, as it ends. `on_step(n)` is called with the number of further
    gradients, and may raise OutOfTimeError to stop.

    A chunk is skipped if all its runs are `known`, else trained as a whole, so that its numbers stay the same. A chunk
    resumes from its checkpoint, which is deleted when the caller has consumed all outcomes. If memory runs out, a chunk is
    halved and trained again. Workers are processes: two Python threads were 1.2 to 2.8 times slower on small models (2 cores),
    and a process can be stopped immediately.
    """
    on_steps = on_step or ignore

    def work(chunk: list[int], callback: Callable[[int], None]) -> list[tuple[int, Outcome]]:
        return train_chunk(problem, runs, chunk, plan, device, callback, slots)

    left = [chunk for chunk in chunks(runs, plan.chunk, plan.workers) if not all(i in known for i in chunk)]
    while left:
        jobs, left = left, []
        if plan.workers > 1 and device == "cpu" and has_forks():  # a named plan does not depend on the device
            ended = in_processes(work, jobs, plan.workers, on_steps, lambda chunk: str(runs[chunk[0]]))
        else:
            ended = ((chunk, work(chunk, on_steps)) for chunk in jobs)
        for chunk, outcomes in ended:
            yield from outcomes
            finish(slots, chunk)
            if not outcomes:
                left += [[i] for i in chunk]


def train_chunk(
    problem: Problem,
    runs: Sequence[Run],
    chunk: list[int],
    plan: Plan,
    device: str,
    on_steps: Callable[[int], None],
    slots: Slots,
) -> list[tuple[int, Outcome]]:
    """Train a chunk: the index and outcome of each run; an empty list if they cannot train together."""
    try:
        with counted(on_steps, sum(runs[i].length * runs[i].rule.evaluations for i in chunk)) as tick:
            if len(chunk) == 1:
                return [(chunk[0], _alone(problem, runs[chunk[0]], plan, device, tick, slots(chunk)))]
            with one_thread():
                return _together(problem, runs, chunk, device, tick, slots)
    except NOT_TOGETHER:
        if len(chunk) == 1:
            raise
        return []


def _together(
    problem: Problem, runs: Sequence[Run], chunk: list[int], device: str, tick: Callable[[int], None], slots: Slots
) -> list[tuple[int, Outcome]]:
    """Train a chunk together; if memory runs out, train its halves one after the other."""
    try:
        team = StackedRuns(problem.fresh(device), [runs[i] for i in chunk], device)
        outcomes = team.train(lambda k: tick(len(chunk) * runs[chunk[0]].rule.evaluations), slots(chunk))
    except (MemoryError, RuntimeError) as error:
        if len(chunk) == 1 or not _is_memory(error):
            raise
        half = len(chunk) // 2
        halves = chunk[:half], chunk[half:]
        return [pair for part in halves for pair in _together(problem, runs, part, device, tick, slots)]
    return list(zip(chunk, outcomes, strict=True))


@contextlib.contextmanager
def counted(on_steps: Callable[[int], None], gradients: int) -> Iterator[Callable[[int], None]]:
    """Yield a callback that counts gradients; at the end, gradients skipped by a divergence are reported as done."""
    left = gradients

    def tick(steps: int) -> None:
        nonlocal left
        left -= steps
        on_steps(steps)

    yield tick
    on_steps(max(left, 0))


def _alone(
    problem: Problem, run: Run, plan: Plan, device: str, on_steps: Callable[[int], None], slot: Slot = NOWHERE
) -> Outcome:
    def tick(k: int, _: nn.Module) -> None:
        if k % OFTEN == 0 or k == run.length:
            on_steps((k % OFTEN or OFTEN) * run.rule.evaluations)

    return train(
        problem,
        **run.arguments,
        device=device,
        channels_last=plan.channels_last,
        compiled=plan.compiled,
        on_step=tick,
        slot=slot,
    )


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in text_of(error).lower()
