"""Train one run: from a problem, a rule, a rate, a schedule and a seed to a curve and a final value."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, cast

import torch
from torch import Tensor, nn

from ..errors import SteepestError
from ..problems.broken import broken_in
from ..problems.data import Batch
from ..problems.problem import Problem
from ..problems.seeds import seeded
from ..problems.trees import size_of
from ..rules.definition import Hyper
from ..rules.foreign import Maker
from ..schedules import Schedule, constant
from ..update.foreign import Driven, driven
from ..update.torch_class.optimizer import RuleOptimizer
from . import checkpoints
from .checkpoints import NOWHERE, Slot
from .forward import drops, keyed
from .norms import REFRESH, normalizes, refresh
from .recorder import Outcome, Recorder

P = ParamSpec("P")
CONSTANT = constant()


def batches(problem: Problem, seed: int, after: int = 0) -> Iterator[Batch]:
    """Endless batches in the order of the problem, the same for every optimizer at this seed, from batch `after` on."""
    stream = problem.train.batches(orders(problem, seed), seed, after)
    while True:
        with problem.theirs("data"):
            batch = next(stream)
        yield batch


def orders(problem: Problem, seed: int) -> Iterator[Tensor]:
    """The indices of each batch; none for a stream, which has its own order."""
    return iter(()) if problem.train.is_stream else problem.drawing.indices(len(problem.train), seed)


class Hook:
    """Callbacks of a run as it trains; each does nothing unless it is overridden."""

    def begin(self, problem: Problem, model: nn.Module, optimizer: RuleOptimizer | Driven) -> None:
        """Called before the first step, with the initial weights."""

    def before(self, k: int) -> None:
        """Called before step k, counted from 1."""

    def after(self, k: int) -> None:
        """Called after the update of step k; the parameters still have its gradient."""

    def evaluated(self, k: int) -> None:
        """Called after step k if it is a mark, with the weights that were evaluated."""

    def end(self) -> None:
        """Called after the last step, or the step at which the run diverged."""


SILENT = Hook()


def _or_anew(train: Callable[P, Outcome]) -> Callable[P, Outcome]:
    """The same function, retried from the beginning if its checkpoint is invalid."""

    @functools.wraps(train)
    def trained(*args: P.args, **how: P.kwargs) -> Outcome:
        try:
            return train(*args, **how)
        except checkpoints.UnfitError:
            return train(*args, **how)

    return trained


@_or_anew
def train(
    problem: Problem,
    rule: Maker,
    *,
    lr: float,
    steps: int,
    seed: int,
    schedule: Schedule = CONSTANT,
    test: bool = False,
    examples: bool = False,
    device: str = "cpu",
    channels_last: bool = False,
    compiled: bool = False,
    hyper: Hyper | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
    hook: Hook = SILENT,
    until: int = 0,
    slot: Slot = NOWHERE,
) -> Outcome:
    """Train one run. `channels_last` uses that memory format for the model, `compiled` trains with torch.compile.

    `test` evaluates on the test data at the end; `examples` records the metric of each validation example, or on resamples;
    `on_step(k, model)` is called at the end of step k, counted from 1, and `hook` during the run. `until`, one of the
    recorder's marks, ends the run early. A run resumes from the checkpoint in its `slot`, written every minute and at a stop.

    A run ends as diverged by the conditions of `Recorder`, or if the user's code raises but does not with the initial weights.
    Raises SteepestError if a loss is not finite with the initial weights either, as no rate could train on such a batch.
    """
    began = time.perf_counter()
    problem, recorder = problem.fresh(device), Recorder(steps, problem.direction)
    with seeded(seed), slot.watching():
        model = problem.start(seed, device)
        forward = laid(model, channels_last, compiled)
        optimizer = driven(rule, model, lr=lr, seed=seed, **(hyper or {}))
        done, began = _resumed(slot, until or steps, problem, model, optimizer, recorder, began)
        stream = batches(problem, seed, done)
        hook.begin(problem, model, optimizer)
        for k in range(done + 1, (until or steps) + 1) if recorder.alive.any() else ():
            batch = next(stream)
            set_rate(optimizer, lr, schedule, k - 1, steps, recorder.histories[0])
            hook.before(k)
            with _diverging(problem, recorder, seed, device, batch, k):
                loss = optimizer.step(functools.partial(batch_loss, problem, forward, optimizer, batch, seed, k))
                recorder.step(k, loss.item())
                if not recorder.alive.any():
                    refuse_broken(problem, seed, device, batch, k)
                    break
                hook.after(k)
                if k in recorder.marks:
                    optimizer.view()
                    with evaluated(problem, model, rule):
                        _evaluate(problem, model, recorder, k, test and k == steps, examples and k == steps)
                    hook.evaluated(k)
                    optimizer.train()
            if not recorder.alive.any():
                break
            state = functools.partial(_state, model, optimizer, recorder, k, began)
            slot.tick(state, functools.partial(on_step or ignore, k, model))
        hook.end()
    return recorder.outcomes(time.perf_counter() - began)[0]


def _resumed(
    slot: Slot, length: int, problem: Problem, model: nn.Module, optimizer: Any, recorder: Recorder, began: float
) -> tuple[int, float]:
    """Load a run's checkpoint, or evaluate its initial weights; return the steps done, and the run's start on this clock."""
    if not isinstance(optimizer, RuleOptimizer):
        slot.path = None  # the state of others may be of any kind
    state = slot.read()
    if state is None:
        recorder.begin(*problem.evaluate(model, problem.valid))
        return 0, began
    with slot.fitting(state, length):
        recorder.put_back(state[1]["recorder"])
        checkpoints.put_back(model, optimizer, state)
        return state[1]["step"], began - state[1]["seconds"]


def _state(model: nn.Module, optimizer: Any, recorder: Recorder, k: int, began: float) -> checkpoints.State:
    """The checkpoint of a run after step k."""
    tensors, facts = checkpoints.of_run(model, optimizer)
    return tensors, facts | {"step": k, "seconds": time.perf_counter() - began, "recorder": recorder.state()}


@contextlib.contextmanager
def _diverging(problem: Problem, recorder: Recorder, seed: int, device: str, batch: Batch, k: int) -> Iterator[None]:
    """A context in which an exception of the user's code ends the run as diverged, unless the initial weights raise too."""
    try:
        yield
    except SteepestError as error:
        exits = not isinstance(error.__cause__, Exception)  # sys.exit(), or our own error
        if exits or not _works_at_the_start(problem, seed, device, batch):
            raise
        recorder.stop(k, str(error))


def _evaluate(problem: Problem, model: nn.Module, recorder: Recorder, k: int, test: bool, examples: bool) -> None:
    """Record the metric on validation data; with `test` that on test data too, with `examples` how it spreads over examples."""
    loss, metric, spread = problem.evaluation(model, problem.valid, examples)
    recorder.evaluate(k, loss, metric, [spread])
    if test and problem.test is not None and recorder.alive.any():
        _, metric, spread = problem.evaluation(model, problem.test, True)
        recorder.test(metric, [spread])


def ignore(*_: Any) -> None:
    """No-op callback."""


def set_rate(
    optimizer: RuleOptimizer | Driven, lr: float, schedule: Schedule, k: int, steps: int, history: list[float]
) -> None:
    """Set the rate of step k, and the momentum if the schedule cycles it and the rule has one."""
    multiplier = schedule(k, steps, history)
    momentum = schedule.momentum(k, steps, history) if schedule.momentum else None
    for group in optimizer.param_groups:
        group["lr"] = lr * multiplier
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif momentum is not None and group.get("momentum"):
            group["momentum"] = momentum


def laid(model: nn.Module, channels_last: bool, compiled: bool) -> nn.Module:
    """The model for training: in channels-last format, or compiled (not with dropout, whose masks change every step)."""
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    return cast(nn.Module, torch.compile(model)) if compiled and not drops(model) else model


def batch_loss(
    problem: Problem, model: nn.Module, optimizer: RuleOptimizer | Driven, batch: Batch, seed: int, k: int
) -> Tensor:
    """Compute the loss of a batch, and its gradients in the parameters."""
    optimizer.zero_grad()
    if problem.accumulate == 1:
        loss = _backward(problem, model, batch, 1.0, seed, k)
    else:
        cut = enumerate(problem.parts(batch))
        losses = [_backward(problem, model, part, w, seed, k * problem.accumulate + i).detach() for i, (part, w) in cut]
        loss = torch.stack(losses).sum()
    if problem.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), problem.clip)
    return loss


def _backward(problem: Problem, model: nn.Module, batch: Batch, weight: float, seed: int, key: int) -> Tensor:
    """The weighted loss of a batch or part of a batch; its gradients are added to those of the parameters."""
    with keyed(model, seed, key):
        loss = problem.batch_loss(model, batch)
    with problem.theirs("model or loss"):
        loss = loss if weight == 1.0 else weight * loss
        loss.backward()  # type: ignore[no-untyped-call]
    return loss


@contextlib.contextmanager
def evaluated(problem: Problem, model: nn.Module, rule: Maker) -> Iterator[None]:
    """A context with BatchNorm statistics for the evaluated weights, if a rule evaluates other weights than it trains."""

    def run() -> None:
        for batch in problem.first_batches(REFRESH):
            if size_of(batch[1]) > 1:  # BatchNorm refuses a single example
                problem.batch_loss(model, batch)

    norms = normalizes(model) if rule.view else []
    model.train()
    put_back = refresh(norms, run) if norms else ignore
    try:
        yield
    finally:
        put_back()


def _works_at_the_start(problem: Problem, seed: int, device: str, batch: Batch) -> bool:
    """Whether the user's code accepts this batch and the validation data with the seed's initial weights."""
    try:
        with seeded(seed):
            model = problem.start(seed, device)
            problem.batch_loss(model.train(), batch).backward()  # type: ignore[no-untyped-call]
            problem.evaluate(model, problem.valid)
    except (SteepestError, RuntimeError):
        return False
    return True


def refuse_broken(problem: Problem, seed: int, device: str, batch: Batch, k: int) -> None:
    """Raise SteepestError with the reason if a batch's loss is not finite with the initial weights either."""
    with seeded(seed):
        model = problem.start(seed, device).train()
        with torch.enable_grad():
            loss = problem.batch_loss(model, batch).item()
        if not math.isfinite(loss):
            raise SteepestError(
                f"Problem '{problem.name}': the loss of training batch {k} (seed {seed}) is {loss} with the initial weights "
                f"too, so that no rate could train on it: {broken_in(problem, model, batch)[0]}."
            )
