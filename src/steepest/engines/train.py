"""The one-run trainer: a problem, a rule, a rate, a schedule and a seed to a curve and a final value."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from ..problems.data import Batch
from ..problems.problem import Problem, seeded
from ..rules import Rule
from ..schedules import Schedule, constant
from . import classes

POINTS = 20  # of a learning curve, besides its start
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
    data, size = problem.train, problem.batch_size
    order = torch.arange(len(data))
    generator = torch.Generator().manual_seed(seed)
    while True:
        if problem.shuffle:
            order = torch.randperm(len(data), generator=generator)
        for begin in range(0, len(data), size):
            yield data.batch(order[begin : begin + size])


def train(
    problem: Problem,
    rule: Rule,
    *,
    lr: float,
    steps: int,
    seed: int,
    schedule: Schedule = constant,
    test: bool = False,
    device: str = "cpu",
    on_step: Callable[[int, nn.Module], None] | None = None,
) -> Outcome:
    """Train once. `test` reads the test data at the end; `on_step(k, model)` is called after update k, counted from 1.

    A run has diverged when a loss is not finite or exceeds `DIVERGED` times its start; it ends there.
    """
    began = time.perf_counter()
    marks = {round(steps * i / POINTS) for i in range(1, POINTS + 1)} | {steps}
    curve = Curve()
    with seeded(seed):
        model = problem.start(seed, device)
        model.train()
        optimizer = classes.build(rule, model.parameters(), lr=lr)
        stream = batches(problem, seed)
        valid, metric = problem.evaluate(model, problem.valid)
        limit, total, since, diverged_at = sys.float_info.max, 0.0, 0, None
        for k in range(1, steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = lr * schedule(k - 1, steps)
            optimizer.zero_grad()
            loss = problem.batch_loss(model, next(stream))
            with problem.theirs("model or loss"):
                loss.backward()  # type: ignore[no-untyped-call]
            value = loss.item()
            if k == 1:
                _note(curve, 0, value, valid, metric)
                start = max(abs(value), abs(valid))
                limit = start * DIVERGED or sys.float_info.max
            if not value <= limit:  # true of NaN and infinity too
                diverged_at = k
                break
            total, since = total + value, since + 1
            optimizer.step()
            if on_step:
                on_step(k, model)
            if k in marks:
                valid, metric = problem.evaluate(model, problem.valid)
                if not valid <= limit:
                    diverged_at = k
                    break
                _note(curve, k, total / since, valid, metric)
                total, since = 0.0, 0
        ended = diverged_at is None
        tested = problem.evaluate(model, problem.test)[1] if ended and test and problem.test else None
    return Outcome(
        curve=curve,
        valid=metric if ended else None,
        test=tested,
        loss=valid if ended else None,
        diverged_at=diverged_at,
        seconds=time.perf_counter() - began,
    )


def _note(curve: Curve, step: int, train: float, valid: float, metric: float) -> None:
    for values, value in zip((curve.steps, curve.train, curve.valid, curve.metric), (step, train, valid, metric), strict=True):
        values.append(value)  # type: ignore[attr-defined]


def time_steps(
    problem: Problem,
    choices: list[tuple[Rule, float]],
    device: str = "cpu",
    rounds: int = 5,
    slice_seconds: float = 0.05,
) -> list[tuple[float, int]]:
    """Seconds of one training step (batch, forward, backward, update) and bytes of state, for each (rule, rate).

    Solo timing: nothing else runs, the choices take turns, each for about `slice_seconds` a round after a warm-up; medians.
    """

    def steps(rule: Rule, lr: float) -> Iterator[classes.RuleOptimizer]:
        with seeded(0):
            model = problem.start(0, device)
        optimizer = classes.build(rule, model.parameters(), lr=lr)
        stream: Iterator[Batch] = batches(problem, 0)
        while True:
            optimizer.zero_grad()
            problem.batch_loss(model, next(stream)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if device != "cpu":
                torch.cuda.synchronize()
            yield optimizer

    runs = [steps(rule, lr) for rule, lr in choices]
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
