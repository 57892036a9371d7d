"""Solo timing: how long a step and an evaluation take, and whether a step is large enough for several threads."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..problems.problem import Problem
from ..problems.seeds import seeded
from ..rules.foreign import Maker
from ..update.foreign import Driven, driven
from ..update.torch_class.optimizer import RuleOptimizer
from .recorder import POINTS
from .single import batch_loss, batches, laid

SMALL = 100e6  # floating-point operations in a step, about 2 ms of one core


def operations(problem: Problem, device: str = "cpu") -> int:
    """Floating-point operations of one step, forward and backward; for linear layers about six per example and weight."""
    problem = problem.fresh(device)
    with seeded(0):
        model = problem.start(0, device).train()
        leaves = [m for m in model.modules() if not [*m.children()]]
        if type(model) is nn.Sequential and all(isinstance(m, nn.Linear) or not [*m.parameters()] for m in leaves):
            return 6 * problem.batch_size * sum(p.numel() for p in model.parameters())  # counting would import torch._dynamo
        batch = problem.first_batch()
        try:
            with FlopCounterMode(display=False) as counter:
                problem.batch_loss(model, batch).backward()  # type: ignore[no-untyped-call]
        except (Exception, SystemExit):  # the counter's hooks reject some models that train, such as gradients in forward
            return int(SMALL)
    return int(counter.get_total_flops())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """A context in which torch uses one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads(count: int) -> contextlib.AbstractContextManager[None]:
    """A context in which torch uses one thread if a step of `count` operations is small, else as many as before.

    A small step gains nothing from a second thread, and if other programs use the cores, threads that wait for each other
    made a step of `digits` 400 times slower (measured on 2 cores). The choice is reproducible, as it depends on `count` only.
    """
    return one_thread() if count < SMALL else contextlib.nullcontext()


def time_steps(
    problem: Problem,
    rules: list[Maker],
    device: str = "cpu",
    rounds: int = 5,
    slice_seconds: float = 0.05,
    channels_last: bool = False,
    compiled: bool = False,
) -> list[tuple[float, int]]:
    """Seconds of one training step (batch, forward, backward, update) and bytes of state, for each rule.

    Solo timing: nothing else trains, and the rules take turns, each for about `slice_seconds` per round after a warm-up; the
    result is the median. The rate is tiny, so that nothing diverges.
    """
    problem = problem.fresh(device)

    def steps(rule: Maker) -> Iterator[RuleOptimizer | Driven]:
        with seeded(0):
            model = problem.start(0, device)
        forward = laid(model, channels_last, compiled)
        optimizer = driven(rule, model, lr=1e-12)
        for batch in batches(problem, 0):
            optimizer.step(functools.partial(batch_loss, problem, forward, optimizer, batch, 0, 0))
            if device != "cpu":
                torch.cuda.synchronize()
            yield optimizer

    runs = [steps(rule) for rule in rules]
    with seeded(0):
        states = [next(run).state_bytes() for run in runs]
        times: list[list[float]] = [[] for _ in runs]
        for _ in range(rounds):
            for run, seen in zip(runs, times, strict=True):
                next(run)
                count, began = 0, time.perf_counter()
                while count == 0 or time.perf_counter() - began < slice_seconds:
                    next(run)
                    count += 1
                seen.append((time.perf_counter() - began) / count)
    return [(sorted(seen)[rounds // 2], state) for seen, state in zip(times, states, strict=True)]


def time_evaluations(problem: Problem, device: str = "cpu") -> float:
    """Seconds that one run spends on evaluating its validation data."""
    with seeded(0):
        model = problem.start(0, device)
        began = time.perf_counter()
        problem.evaluate(model, problem.valid)
        first = time.perf_counter() - began
        if first < 0.1:  # measure a short one again, warm
            began = time.perf_counter()
            problem.evaluate(model, problem.valid)
            first = time.perf_counter() - began
    return (POINTS + 1) * first
