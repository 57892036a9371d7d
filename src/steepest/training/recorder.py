"""What is kept of runs while they train: curves, where they diverged, what they came to. The same for one run and for many."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

POINTS = 20  # of a learning curve, besides its start
KEPT = ("alive", "diverged_at", "_limits", "_valid", "_metric")  # a recorder's arrays that change before the last step
DIVERGED = 1000.0  # times the loss at the start: beyond it a run counts as diverged


@dataclass
class Curve:
    """A learning curve. `train[i]` is the mean batch loss since the point before (at the start, the first batch's)."""

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)

    def add(self, step: int, train: float, valid: float, metric: float) -> None:
        """One point more."""
        self.steps.append(step)
        self.train.append(train)
        self.valid.append(valid)
        self.metric.append(metric)


@dataclass(frozen=True)
class Outcome:
    """What a run came to: metric on validation and test data at its last step (None where it diverged, or has no test).

    `examples` has the metric of each validation example, where it was asked for and the metric is a mean over examples.
    `failed` says that it ended the process that trained it, again and again, before anything was known of it.
    """

    curve: Curve
    valid: float | None
    test: float | None
    loss: float | None
    diverged_at: int | None
    seconds: float
    examples: NDArray[np.float32] | None = field(default=None, compare=False)
    failed: bool = False


def marks(steps: int) -> set[int]:
    """The steps after which a run of this length is evaluated."""
    return {round(steps * i / POINTS) for i in range(1, POINTS + 1)} | {steps}


class Recorder:
    """Watches some runs of equal length from their first evaluation to their last.

    A run has diverged when a loss or metric is not finite, or a loss exceeds `DIVERGED` times its start; what comes after is
    not recorded. Arrays hold a number for each run.
    """

    def __init__(self, steps: int, direction: str, runs: int = 1) -> None:
        self.steps = steps
        self.marks = marks(steps)
        self.curves = [Curve() for _ in range(runs)]
        self.histories: list[list[float]] = [[] for _ in range(runs)]  # of each run's metric, smaller being better
        self.alive = np.ones(runs, bool)
        self.diverged_at = np.zeros(runs, int)
        self._sign = -1.0 if direction == "max" else 1.0
        self._limits = np.full(runs, sys.float_info.max)
        self._losses: list[NDArray[np.float64]] = []  # of the steps since the last mark
        self._valid = self._metric = self._test = np.full(runs, np.nan)
        self.examples: list[NDArray[np.float32] | None] = [None] * runs  # the metric of each validation example at the end

    def begin(self, valid: ArrayLike, metric: ArrayLike) -> None:
        """What an evaluation gives before the first step."""
        self._look(0, valid, metric)

    def step(self, k: int, losses: ArrayLike) -> None:
        """The losses of step k, counted from 1, before its update."""
        values = np.array(losses, float, ndmin=1)
        if k == 1:
            self._add(0, values)
            limits = np.maximum(np.abs(values), np.abs(self._valid)) * DIVERGED
            self._limits = np.where(limits > 0, limits, sys.float_info.max)
        self._end(k, values)
        self._losses.append(values)

    def evaluate(self, k: int, valid: ArrayLike, metric: ArrayLike) -> None:
        """What an evaluation gives after step k, a mark."""
        self._look(k, valid, metric)
        for history, value in zip(self.histories, self._metric, strict=True):
            history.append(self._sign * float(value))
        self._add(k, np.mean(self._losses, axis=0))
        self._losses.clear()

    def test(self, values: ArrayLike) -> None:
        """The metric on test data at the end."""
        self._test = np.array(values, float, ndmin=1)
        self._end(self.steps, self._test * 0)

    def stop(self, k: int) -> None:
        """All runs have diverged at step k: their user's code could not go on."""
        self._end(k, np.full(len(self.curves), np.nan))

    def outcomes(self, seconds: float) -> list[Outcome]:
        """What each run came to; `seconds` is what one of them took."""
        made = []
        for r, curve in enumerate(self.curves):
            alive = bool(self.alive[r])
            metric, test, loss = (
                float(x[r]) if alive and np.isfinite(x[r]) else None for x in (self._metric, self._test, self._valid)
            )
            ended = None if alive else int(self.diverged_at[r])
            made.append(Outcome(curve, metric, test, loss, ended, seconds, self.examples[r] if alive else None))
        return made

    def state(self) -> dict[str, Any]:
        """All that is recorded before the last step, as lists and numbers."""
        arrays = {name: getattr(self, name).tolist() for name in KEPT}
        curves = [asdict(curve) for curve in self.curves]
        return {**arrays, "curves": curves, "histories": self.histories, "losses": [one.tolist() for one in self._losses]}

    def put_back(self, state: Mapping[str, Any]) -> None:
        """As it was when `state` was called."""
        for name in KEPT:
            setattr(self, name, np.array(state[name], getattr(self, name).dtype))
        self.curves = [Curve(**curve) for curve in state["curves"]]
        self.histories = [[*history] for history in state["histories"]]
        self._losses = [np.array(one, float) for one in state["losses"]]

    def _look(self, k: int, valid: ArrayLike, metric: ArrayLike) -> None:
        self._valid, self._metric = np.array(valid, float, ndmin=1), np.array(metric, float, ndmin=1)
        self._end(k, self._valid, self._metric)

    def _end(self, k: int, losses: NDArray[np.float64], metric: NDArray[np.float64] | float = 0.0) -> None:
        """Runs that are where training cannot go on from end at step k."""
        with np.errstate(invalid="ignore"):
            sound = np.isfinite(losses) & np.isfinite(metric) & (losses <= self._limits)
        self.diverged_at[self.alive & ~sound] = k
        self.alive &= sound

    def _add(self, k: int, losses: NDArray[np.float64]) -> None:
        for r in np.flatnonzero(self.alive).tolist():
            self.curves[r].add(k, float(losses[r]), float(self._valid[r]), float(self._metric[r]))
