"""The one-run trainer: a problem, a rule, a rate, a schedule and a seed to a curve and a final value."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..errors import SteepestError
from ..problems.data import Batch
from ..problems.problem import Problem, seeded
from ..rules import Rule
from ..schedules import Schedule, constant
from ..update import optimizer as classes
from .forward import drops, keyed

CONSTANT = constant()
POINTS = 20  # of a learning curve, besides its start
SMALL = 100e6  # floating-point operations in a step, about 2 ms of one core
REFRESH = 16  # batches that give BatchNorm its statistics where a rule evaluates elsewhere than it trains
DIVERGED = 1000.0  # times the loss at the start: beyond it a run counts as diverged


@dataclass
class Curve:
    """A learning curve. `train[i]` is the mean batch loss since the point before (at the start, the first batch's)."""

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a run came to: metric on validation and test data at its last step (None where it diverged, or has no test)."""

    curve: Curve
    valid: float | None
    test: float | None
    loss: float | None
    diverged_at: int | None
    seconds: float


def batches(problem: Problem, seed: int) -> Iterator[Batch]:
    """Batches without end, the same for every optimizer at this seed: each epoch in a new order, its last batch smaller."""
    stream = problem.train.batches(orders(problem, seed), seed)
    while True:
        with problem.theirs("data"):
            batch = next(stream)
        yield batch


def orders(problem: Problem, seed: int) -> Iterator[Tensor]:
    """The indices of each batch."""
    count, size = len(problem.train), problem.batch_size
    order = torch.arange(count)
    generator = torch.Generator().manual_seed(seed)
    while True:
        if problem.shuffle:
            order = torch.randperm(count, generator=generator)
        for index in torch.split(order, size):
            if len(index) == size or not problem.drop_last or count < size:
                yield index


@contextlib.contextmanager
def threads(problem: Problem, device: str = "cpu") -> Iterator[None]:
    """Inside, torch uses one thread if a step of this problem is small, else as many as before.

    A small step gains nothing from a second thread, and where another program keeps the cores busy, threads that wait for
    each other made a step of `digits` 400 times slower (measured on 2 cores). The count of operations, and so the choice,
    is the same every time.
    """
    problem, before = problem.fresh(device), torch.get_num_threads()
    with seeded(0):
        model = problem.start(0, device).train()
        batch = problem.train.batch(slice(0, problem.batch_size))
        with problem.theirs("model or loss"), FlopCounterMode(display=False) as counter:
            problem.batch_loss(model, batch).backward()  # type: ignore[no-untyped-call]
    if counter.get_total_flops() < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _DivergedError(Exception):
    """A run left the numbers that training can go on from."""


def train(
    problem: Problem,
    rule: Rule,
    *,
    lr: float,
    steps: int,
    seed: int,
    schedule: Schedule = CONSTANT,
    test: bool = False,
    device: str = "cpu",
    channels_last: bool = False,
    compiled: bool = False,
    hyper: dict[str, Any] | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
) -> Outcome:
    """Train once. `channels_last` lays images and the weights of convolutions out so, which is faster on most CPUs;
    `compiled` trains through torch.compile.

    `test` reads the test data at the end; `on_step(k, model)` is called after update k, counted from 1.

    A run has diverged, and ends, when a loss or metric is not finite, a loss exceeds `DIVERGED` times its start, or the
    user's code raises where it does not with the initial weights.
    """
    began = time.perf_counter()
    problem = problem.fresh(device)
    marks = {round(steps * i / POINTS) for i in range(1, POINTS + 1)} | {steps}
    curve, k, limit, tested = Curve(), 0, sys.float_info.max, None
    sign = -1.0 if problem.direction == "max" else 1.0
    losses: list[float] = []
    with seeded(seed):
        model = problem.start(seed, device)
        forward = _laid(model, channels_last, compiled)
        optimizer = classes.build(rule, model.parameters(), lr=lr, seed=seed, **(hyper or {}))
        stream = batches(problem, seed)
        valid, metric = problem.evaluate(model, problem.valid)
        try:
            _within(limit, valid, metric)
            for k in range(1, steps + 1):
                batch = next(stream)
                try:
                    _set(optimizer, lr, schedule, k - 1, steps, [sign * m for m in curve.metric[1:]])
                    value = optimizer.step(functools.partial(_loss, problem, forward, optimizer, batch, seed, k)).item()
                    if k == 1:
                        note(curve, 0, value, valid, metric)
                        limit = max(abs(value), abs(valid)) * DIVERGED or limit
                    _within(limit, value)
                    losses.append(value)
                    if on_step:
                        on_step(k, model)
                    if k in marks:
                        optimizer.view()
                        with refreshed(problem, model, rule):
                            valid, metric = problem.evaluate(model, problem.valid)
                            if k == steps and test and problem.test is not None and _is_within(limit, valid, metric):
                                tested = problem.evaluate(model, problem.test)[1]
                        _within(limit, valid, metric)
                        note(curve, k, sum(losses) / len(losses), valid, metric)
                        losses.clear()
                    if tested is not None:
                        _within(sys.float_info.max, 0.0, tested)
                    optimizer.train()
                except SteepestError as error:
                    exits = error.__cause__ is not None and not isinstance(error.__cause__, Exception)
                    if not exits and _works_at_the_start(problem, seed, device, batch):
                        raise _DivergedError from error
                    raise
            diverged_at = None
        except _DivergedError:
            diverged_at, tested = k, None
    ended = diverged_at is None
    return Outcome(
        curve=curve,
        valid=metric if ended else None,
        test=tested,
        loss=valid if ended else None,
        diverged_at=diverged_at,
        seconds=time.perf_counter() - began,
    )


def _set(optimizer: classes.RuleOptimizer, lr: float, schedule: Schedule, k: int, steps: int, history: list[float]) -> None:
    """The rate of step k, and the momentum where the schedule cycles it and the rule has one."""
    multiplier = schedule(k, steps, history)
    momentum = schedule.momentum(k, steps, history) if schedule.momentum else None
    for group in optimizer.param_groups:
        group["lr"] = lr * multiplier
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif momentum is not None and group.get("momentum"):
            group["momentum"] = momentum


def _laid(model: nn.Module, channels_last: bool, compiled: bool) -> nn.Module:
    """The model as it trains: its weights laid out, its passes compiled (not with dropout, whose masks change every step)."""
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    return cast(nn.Module, torch.compile(model)) if compiled and not drops(model) else model


def _loss(problem: Problem, model: nn.Module, optimizer: classes.RuleOptimizer, batch: Batch, seed: int, k: int) -> Tensor:
    """The loss of a batch, its gradients left in the parameters."""
    optimizer.zero_grad()
    with keyed(model, seed, k):
        loss = problem.batch_loss(model, batch)
    with problem.theirs("model or loss"):
        loss.backward()  # type: ignore[no-untyped-call]
    return loss


def _is_within(limit: float, loss: float, metric: float = 0.0) -> bool:
    return math.isfinite(loss) and math.isfinite(metric) and loss <= limit


def _within(limit: float, loss: float, metric: float = 0.0) -> None:
    if not _is_within(limit, loss, metric):
        raise _DivergedError


def normalizes(model: nn.Module) -> list[nn.Module]:
    """The layers that keep running statistics of what they see in training."""
    return [m for m in model.modules() if getattr(m, "running_mean", None) is not None]


@contextlib.contextmanager
def refreshed(problem: Problem, model: nn.Module, rule: Rule) -> Iterator[None]:
    """Inside, a rule that evaluates elsewhere than it trains has BatchNorm statistics of there: means over some batches.

    The statistics of training are put back afterwards.
    """
    norms: list[Any] = normalizes(model) if rule.view else []
    if not norms:
        yield
        return
    kept = [(m.momentum, {k: v.clone() for k, v in m.named_buffers(recurse=False)}) for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the mean of all batches
    model.train()
    with torch.no_grad():
        for begin in range(0, min(REFRESH * problem.batch_size, len(problem.train) - 1), problem.batch_size):
            problem.batch_loss(model, problem.train.batch(slice(begin, begin + problem.batch_size)))
    try:
        yield
    finally:
        for m, (momentum, buffers) in zip(norms, kept, strict=True):
            m.momentum = momentum
            for k, v in buffers.items():
                getattr(m, k).copy_(v)


def _works_at_the_start(problem: Problem, seed: int, device: str, batch: Batch) -> bool:
    """Whether the user's code takes this batch and the validation data with the seed's initial weights."""
    try:
        with seeded(seed):
            model = problem.start(seed, device)
            problem.batch_loss(model.train(), batch).backward()  # type: ignore[no-untyped-call]
            problem.evaluate(model, problem.valid)
    except Exception:
        return False
    return True


def note(curve: Curve, step: int, train: float, valid: float, metric: float) -> None:
    for values, value in zip((curve.steps, curve.train, curve.valid, curve.metric), (step, train, valid, metric), strict=True):
        values.append(value)  # type: ignore[attr-defined]


def time_steps(
    problem: Problem,
    rules: list[Rule],
    device: str = "cpu",
    rounds: int = 5,
    slice_seconds: float = 0.05,
    channels_last: bool = False,
    compiled: bool = False,
) -> list[tuple[float, int]]:
    """Seconds of one training step (batch, forward, backward, update) and bytes of state, for each rule.

    Solo timing: nothing else runs, the rules take turns, each for about `slice_seconds` a round after a warm-up; medians.
    The rate is next to nothing, since it costs the same and nothing diverges.
    """
    problem = problem.fresh(device)

    def steps(rule: Rule) -> Iterator[classes.RuleOptimizer]:
        with seeded(0):
            model = problem.start(0, device)
        forward = _laid(model, channels_last, compiled)
        optimizer = classes.build(rule, model.parameters(), lr=1e-12)
        for batch in batches(problem, 0):
            optimizer.step(functools.partial(_loss, problem, forward, optimizer, batch, 0, 0))
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
        problem.evaluate(model, problem.valid)
        began = time.perf_counter()
        problem.evaluate(model, problem.valid)
    return (POINTS + 1) * (time.perf_counter() - began)
