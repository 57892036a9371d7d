"""Test whether training repeats: the first steps of a seed, trained again after another run, must give the same numbers."""

from __future__ import annotations

import contextlib
import functools
import math

import numpy as np

from ..errors import SteepestError
from ..problems.problem import Problem
from ..problems.seeds import seeded
from ..update.foreign import driven
from .single import batch_loss, batches, set_rate
from .stacked import Run

STEPS = 20  # steps to repeat
SAME = {"cpu": 1e-6, "cuda": 1e-3}  # relative tolerance for rounding; the order of sums on a GPU varies


def repeats(problem: Problem, run: Run, other: Run, steps: int = STEPS, device: str = "cpu") -> bool:
    """Whether the first `steps` of `run` give the same losses and metric before and after training `other`.

    A loss, metric or model with state that outlives a run does not repeat, nor does one that draws unseeded numbers.
    """
    first = _numbers(problem, run, steps, device)
    _numbers(problem, other, steps, device)
    again = _numbers(problem, run, steps, device)
    return len(first) == len(again) and bool(np.allclose(first, again, rtol=SAME[device], atol=0.0, equal_nan=True))


def _numbers(problem: Problem, run: Run, steps: int, device: str) -> list[float]:
    """The losses of a run's first steps, and before and after them the loss and metric on validation data."""
    problem, losses = problem.fresh(device), list[float]()
    with seeded(run.seed):
        model = problem.start(run.seed, device).train()
        optimizer = driven(run.rule, model, lr=run.lr, seed=run.seed, **run.hyper)
        stream = batches(problem, run.seed)
        losses += problem.evaluate(model, problem.valid)  # a metric that returns its best value so far differs here
        for k in range(1, steps + 1):
            set_rate(optimizer, run.lr, run.schedule, k - 1, run.steps, [])
            step = functools.partial(batch_loss, problem, model, optimizer, next(stream), run.seed, k)
            try:
                losses.append(optimizer.step(step).item())
            except SteepestError:  # the user's code may raise when a run diverges
                return losses
            if not math.isfinite(losses[-1]):
                return losses
        with contextlib.suppress(SteepestError):
            losses += problem.evaluate(model, problem.valid)
        return losses
