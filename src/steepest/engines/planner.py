"""How to train many runs on this problem and this machine: the ways there are, timed for a few steps, and the fastest taken."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import SteepestError
from ..problems.data import Streamed
from ..problems.problem import Problem
from .together import Run, Together
from .train import Outcome, time_steps, train

SIZES = (8, 32, 128)  # of chunks that are tried
TRIED = 6  # steps timed of each way
AGREE = 1e-3  # relative: a chunk's losses over those steps against the same runs trained alone


@dataclass(frozen=True)
class Plan:
    """A way to train: one by one, or `chunk` runs together in each of `workers` threads. `why` says what was measured."""

    chunk: int = 1
    workers: int = 1
    why: str = ""
    ms: float = 0.0  # milliseconds a run and step, as timed

    @property
    def name(self) -> str:
        """The plan in a word that `--plan` takes: "one", or "many:32"."""
        return "one" if self.chunk == 1 else f"many:{self.chunk}"

    def __str__(self) -> str:
        how = "one by one" if self.chunk == 1 else f"{self.chunk} runs together, {self.workers} threads"
        return f"{how} ({self.why})" if self.why else how


def resumed(chunk: int) -> Plan:
    """The plan that a study was begun with."""
    return Plan(chunk, 1 if chunk == 1 else _workers("cpu"), "as this study was begun")


def _workers(device: str) -> int:
    return min(os.cpu_count() or 1, 8) if device == "cpu" else 1


def named(name: str) -> Plan:
    """The plan of a name; SteepestError for another."""
    kind, _, size = name.partition(":")
    if name == "one":
        return Plan(why="as asked")
    if kind == "many" and size.isdigit() and int(size) > 1:
        return Plan(int(size), _workers("cpu"), "as asked")
    raise SteepestError(f"--plan is {name!r}; expected auto, show, one, or many:N for N runs together, such as many:32.")


def chunks(runs: Sequence[Run], size: int, workers: int = 1) -> list[list[int]]:
    """The runs by index, in chunks of one kind; runs of one seed, which share their batches, stand together."""
    found: list[list[int]] = []
    counts: list[tuple[list[int], int]] = []
    order = sorted(range(len(runs)), key=lambda i: (repr(runs[i].kind), runs[i].seed, runs[i].rule.name, i))
    for _, group in itertools.groupby(order, key=lambda i: runs[i].kind):
        of_kind = list(group)
        seeds = [list(g) for _, g in itertools.groupby(of_kind, key=lambda i: runs[i].seed)]
        if max(map(len, seeds)) < 4:  # many seeds with few runs each: mixed, sorted by rule
            seeds = [sorted(of_kind, key=lambda i: (runs[i].rule.name, i))]
        counts += [(members, -(-len(members) // size)) for members in seeds]
    spare = -sum(count for _, count in counts) % workers  # so that all threads have work to the end
    for members, count in counts:
        more = min(spare, 1) if len(members) >= 2 * (count + 1) else 0
        spare -= more
        found += [part.tolist() for part in np.array_split(np.array(members), count + more)]
    return sorted(found, key=len, reverse=True)


def bytes_of(problem: Problem, runs: int) -> int:
    """About how much memory a chunk of so many runs takes: weights, gradients, two states, and its activations' like."""
    model = problem.start(0)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    inputs, _ = problem.train.batch(slice(0, problem.batch_size))
    return int(runs * (6 * weights + 8 * sum(x.numel() * x.element_size() for x in inputs)))


def choose(problem: Problem, runs: Sequence[Run], *, memory: int | None = None, device: str = "cpu") -> Plan:
    """The fastest way that agrees with runs trained alone, of those that fit the memory."""
    workers = _workers(device)
    if len(runs) < 2:
        return Plan(why="a single run")
    if isinstance(problem.train, Streamed):
        return Plan(why="the data are read batch by batch")
    sample = [replace(run, steps=TRIED, test=False) for run in runs]
    alone = [
        train(problem, run.rule, lr=run.lr, steps=TRIED, seed=run.seed, schedule=run.schedule, device=device).curve.train[1:]
        for run in sample[:2]
    ]
    best, reasons = Plan(ms=1e3 * time_steps(problem, [runs[0].rule], device, rounds=3)[0][0]), []
    for size in SIZES:
        groups = chunks(sample, size, workers)
        if memory and bytes_of(problem, size) * workers > memory:
            reasons.append(f"chunks of {size} need over {memory / 2**30:.2g} GiB")
            break
        chosen = groups[0]
        if len(chosen) < 2 or (size > SIZES[0] and len(chosen) <= size // 4):
            break
        try:
            together = Together(problem, [sample[i] for i in chosen], device)
            seen = torch.stack([together.step() for _ in range(TRIED)]).tolist()
            begun = time.perf_counter()
            for _ in range(TRIED):
                together.step()
            took = 1e3 * (time.perf_counter() - begun) / TRIED
        except Exception as error:  # whatever a model does that cannot be done many at once, it still trains alone
            reasons.append(f"not together: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}")
            break
        if not all(_agree([step[k] for step in seen], alone[i]) for k, i in enumerate(chosen) if i < len(alone)):
            reasons.append("not together: the losses differ from those of runs trained alone")
            break
        ms = took / len(chosen) / min(workers, len(groups))
        if ms < best.ms:
            best = Plan(size, workers, "", ms)
    told = f"{best.ms:.3g} ms a run and step"
    return replace(best, why="; ".join([told, *reasons]))


def _agree(together: Sequence[float], alone: Sequence[float]) -> bool:
    """Whether a run had the same losses both ways, as far as it got alone."""
    return bool(np.allclose(together[: len(alone)], alone, rtol=AGREE, atol=1e-6))


def train_all(
    problem: Problem,
    runs: Sequence[Run],
    plan: Plan,
    *,
    device: str = "cpu",
    on_step: Callable[[int], None] | None = None,
    known: Collection[int] = (),
) -> Iterator[tuple[int, Outcome]]:
    """Train the runs by the plan; each with its index, as it ends. `on_step(n)` hears of n more steps of a run.

    A chunk of which all runs are `known` is left out; any other is trained whole, so that its numbers stay the same.
    Where memory runs out, a chunk is halved and trained again.
    """
    told = on_step or (lambda n: None)

    def one(i: int) -> list[tuple[int, Outcome]]:
        run = runs[i]
        fixed = {"schedule": run.schedule, "test": run.test, "device": device}
        done = train(problem, run.rule, lr=run.lr, steps=run.steps, seed=run.seed, on_step=lambda k, _: told(1), **fixed)  # type: ignore[arg-type]
        return [(i, done)]

    def many(chunk: list[int]) -> list[tuple[int, Outcome]]:
        try:
            own = problem.fresh(device)
            outcomes = Together(own, [runs[i] for i in chunk], device).train(lambda k: told(len(chunk)))
        except (MemoryError, RuntimeError) as error:
            if len(chunk) == 1 or not _is_memory(error):
                raise
            half = len(chunk) // 2
            return many(chunk[:half]) + many(chunk[half:])
        return list(zip(chunk, outcomes, strict=True))

    laid = [chunk for chunk in chunks(runs, plan.chunk, plan.workers) if not all(i in known for i in chunk)]
    single, parts = [chunk for chunk in laid if len(chunk) == 1], [chunk for chunk in laid if len(chunk) > 1]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(plan.workers) as pool:
            waiting = {pool.submit(many, chunk): chunk for chunk in parts}
            try:
                while waiting:
                    for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                        chunk = waiting.pop(done)
                        try:
                            yield from done.result()
                        except Exception:  # what cannot go together goes alone, or says there what is wrong
                            single += [[i] for i in chunk]
            finally:
                for left in waiting:
                    left.cancel()
    finally:
        torch.set_num_threads(before)
    for chunk in single:
        yield from one(chunk[0])


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error).lower()
