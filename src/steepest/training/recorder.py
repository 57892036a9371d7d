"""Record one run or many: their curves and results, and where and why they diverged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..problems.spread import Spread, Values

POINTS = 20  # points of a learning curve, besides its start
KEPT = ("alive", "diverged_at", "_limits", "_valid", "_metric", "_over")  # a recorder's arrays that change before the last step
LARGEST = 1e150  # largest result: squares of larger ones are not finite
DIVERGED = 1000.0  # a run diverges if its loss exceeds the initial one by this factor and grows from mark to mark


@dataclass
class Curve:
    """A learning curve. `train[i]` is the mean batch loss since the point before (at the start, the first batch's).

    None: the loss or metric was not finite there, but the run continued, or it is unknown.
    """

    steps: list[int] = field(default_factory=list)
    train: list[float | None] = field(default_factory=list)
    valid: list[float | None] = field(default_factory=list)
    metric: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The result of a run: metric on validation and test data at its last step (None where it has none).

    `examples` has the metric of each validation example, if requested and if the metric is a mean over examples. If it is not,
    `draws` has the metric on bootstrap resamples of the validation examples, which are the same for all runs. `test_se` is the
    standard error of `test` over test examples; None where neither of the two is known of them.
    `failed`: the run crashed its worker on every retry, so it has no result. `why` says what was not finite, and where.
    """

    curve: Curve
    valid: float | None
    test: float | None
    loss: float | None
    diverged_at: int | None
    seconds: float
    examples: NDArray[np.float32] | None = field(default=None, compare=False)
    failed: bool = False
    why: str = ""
    draws: NDArray[np.float32] | None = field(default=None, compare=False)
    test_se: float | None = None

    @property
    def status(self) -> str:
        """ "finished", "diverged", "failed", or "no metric": trained to its end, where the metric was not finite."""
        if self.failed:
            return "failed"
        if self.diverged_at is not None:
            return "diverged"
        return "finished" if self.valid is not None else "no metric"


def _floats(values: Values | None) -> NDArray[np.float32] | None:
    with np.errstate(over="ignore"):
        return None if values is None else values.astype(np.float32)


def _spreads(plain: list[list[list[float] | None]]) -> list[Spread]:
    """Spreads from their lists in a checkpoint."""
    return [Spread(*(None if x is None else np.array(x, float) for x in one)) for one in plain]


def marks(steps: int) -> set[int]:
    """The steps after which a run of this length is evaluated."""
    return {round(steps * i / POINTS) for i in range(1, POINTS + 1)} | {steps}


class Recorder:
    """Records runs of equal length from their first evaluation to their last.

    A run has diverged when a training loss is not finite, or when losses exceed `DIVERGED` times their start at one mark and
    are no smaller at the next, or do so at the end; later steps are not recorded. A run that starts at a very small loss
    may exceed it for a while. A metric that is not finite leaves a gap in the curve. Arrays have one number per run.
    """

    def __init__(self, steps: int, direction: str, runs: int = 1) -> None:
        self.steps = steps
        self.marks = marks(steps)
        self.curves = [Curve() for _ in range(runs)]
        self.histories: list[list[float]] = [[] for _ in range(runs)]  # of each run's metric, smaller being better
        self.alive = np.ones(runs, bool)
        self.diverged_at = np.zeros(runs, int)
        self._sign = -1.0 if direction == "max" else 1.0
        self.whys = [""] * runs
        self._limits = np.full(runs, np.inf)
        self._over = np.full(runs, np.inf)  # the mean loss before the last mark of runs that are over their limit
        self._losses: list[NDArray[np.float64]] = []  # of the steps since the last mark
        self._valid = self._metric = self._test = np.full(runs, np.nan)
        self._spreads = self._test_spreads = [Spread()] * runs  # of the metric over validation and test examples at the end

    def begin(self, valid: ArrayLike, metric: ArrayLike) -> None:
        """Record the evaluation before the first step."""
        self._look(0, valid, metric)

    def step(self, k: int, losses: ArrayLike) -> None:
        """Record the losses of step k, counted from 1, before its update."""
        values = np.array(losses, float, ndmin=1)
        if k == 1:
            self._add(0, values)
            limits = np.fmax(np.abs(values), np.abs(self._valid)) * DIVERGED
            self._limits = np.where(limits > 0, limits, np.inf)
        before = self._losses[-1] if self._losses else self._valid
        self._end(k, np.isfinite(values), lambda r: f"the training loss was {values[r]:.4g} at step {k}, after {before[r]:.4g}")
        self._losses.append(values)

    def evaluate(self, k: int, valid: ArrayLike, metric: ArrayLike, spreads: Sequence[Spread] = ()) -> None:
        """Record the evaluation after step k, a mark, and at the last one how each run's metric spreads over examples."""
        self._spreads = [*spreads] or self._spreads
        self._look(k, valid, metric)
        for history, value in zip(self.histories, self._metric, strict=True):
            seen = self._sign * float(value)
            history.append(seen if math.isfinite(seen) else history[-1] if history else math.inf)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.mean(self._losses, axis=0)
        self._judge(k, mean)
        self._add(k, mean)
        self._losses.clear()

    def test(self, values: ArrayLike, spreads: Sequence[Spread]) -> None:
        """Record the metric on test data at the end, and how it spreads over them."""
        self._test_spreads = [*spreads]
        self._test = np.array(values, float, ndmin=1)

    def stop(self, k: int, why: str) -> None:
        """Mark all runs as diverged at step k: the user's code raised."""
        self._end(k, np.zeros(len(self.curves), bool), lambda r: f"{why} at step {k}")

    def outcomes(self, seconds: float) -> list[Outcome]:
        """The outcome of each run; `seconds` is the time of one."""
        made = []
        for r, curve in enumerate(self.curves):
            alive = bool(self.alive[r])
            metric, test, loss = (
                float(x[r]) if alive and abs(x[r]) <= LARGEST else None for x in (self._metric, self._test, self._valid)
            )
            ended = None if alive else int(self.diverged_at[r])
            why = self.whys[r]
            if alive and metric is None:
                why = (
                    f"the metric was {self._metric[r]} at step {self.steps}, where the validation loss was {self._valid[r]:.4g}"
                )
            spread, error = self._spreads[r], self._test_spreads[r].error
            examples = _floats(spread.each) if alive else None
            draws = _floats(spread.draws) if metric is not None else None
            test_se = error if test is not None and error <= LARGEST else None
            made.append(Outcome(curve, metric, test, loss, ended, seconds, examples, why=why, draws=draws, test_se=test_se))
        return made

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint, as lists and numbers."""
        arrays = {name: getattr(self, name).tolist() for name in KEPT}
        curves = [asdict(curve) for curve in self.curves]
        losses = [one.tolist() for one in self._losses]
        return {**arrays, "curves": curves, "histories": self.histories, "losses": losses, "whys": self.whys, **self._ends()}

    def _ends(self) -> dict[str, Any]:
        """What is recorded after the last step, at which a run may be stopped too."""
        both = {"spreads": self._spreads, "test_spreads": self._test_spreads}
        plain = {name: [[None if t is None else t.tolist() for t in one] for one in spreads] for name, spreads in both.items()}
        return {"test": self._test.tolist(), **plain}

    def put_back(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        for name in KEPT:
            setattr(self, name, np.array(state[name], getattr(self, name).dtype))
        self.curves = [Curve(**curve) for curve in state["curves"]]
        self.histories = [[*history] for history in state["histories"]]
        self._losses = [np.array(one, float) for one in state["losses"]]
        self.whys = [*state["whys"]]
        if "test" in state:  # written by versions that stored what is recorded after the last step
            self._test = np.array(state["test"], float)
            self._spreads, self._test_spreads = (_spreads(state[name]) for name in ("spreads", "test_spreads"))

    def _look(self, k: int, valid: ArrayLike, metric: ArrayLike) -> None:
        self._valid, self._metric = np.array(valid, float, ndmin=1), np.array(metric, float, ndmin=1)
        if k == self.steps:
            lost = ~np.isfinite(self._valid) & ~np.isfinite(self._metric)
            self._end(k, ~lost, lambda r: f"the validation loss was {self._valid[r]} at step {k}")

    def _judge(self, k: int, mean: NDArray[np.float64]) -> None:
        """End runs whose losses stay far above their start: at two marks without falling, or at the end."""
        over = (mean > self._limits) & ~(self._valid <= self._limits)
        stays = over & ((mean >= self._over) | (k == self.steps))
        self._over = np.where(over, mean, np.inf)
        times = f"over {DIVERGED:g} times its start"
        self._end(k, ~stays, lambda r: f"the training loss was {mean[r]:.4g} before step {k}, {times}")

    def _end(self, k: int, sound: NDArray[np.bool_], why: Callable[[int], str]) -> None:
        """Mark the runs that are not sound as diverged at step k."""
        ends = self.alive & ~sound
        for r in np.flatnonzero(ends).tolist():
            self.whys[r] = why(r)
        self.diverged_at[ends] = k
        self.alive &= ~ends

    def _add(self, k: int, losses: NDArray[np.float64]) -> None:
        """Add a point to the curves of the runs that have not diverged."""
        for r in np.flatnonzero(self.alive).tolist():
            curve, valid, metric = self.curves[r], float(self._valid[r]), float(self._metric[r])
            curve.steps.append(k)
            curve.train.append(float(losses[r]))
            curve.valid.append(valid if math.isfinite(valid) else None)
            curve.metric.append(metric if math.isfinite(metric) else None)
