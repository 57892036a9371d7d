"""The numbers that a run reports as it trains, and its learning curve."""

from __future__ import annotations

import math
import numbers
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from ..recorder import Curve, marks

BATCH = 20  # reports on another device that are read together


def number_of(value: Any) -> float | Tensor | None:
    """A reported number, or a tensor of one number on another device; None if it is neither."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        if value.device.type != "cpu":
            return value.detach().clone()  # reading it here would wait for the device
        return float(value.detach())
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiu":
        return float(value.reshape(()))
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


class Reports:
    """Losses with the steps after which they were reported, and the metric's values at marks.

    Numbers on another device are read in batches, so that a step does not wait for it.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.at: list[int] = []
        self.marks: list[tuple[int, float]] = []
        self._waiting: list[tuple[int, float | Tensor]] = []

    def __len__(self) -> int:
        return len(self.losses) + len(self._waiting)

    def add(self, step: int, loss: float | Tensor) -> None:
        """Add the loss reported after this many steps."""
        self._waiting.append((step, loss))
        if isinstance(loss, float) or len(self._waiting) >= BATCH:
            self.read()

    def mark(self, step: int, value: float) -> None:
        """Add the metric after this many steps."""
        self.marks.append((step, value))

    def read(self) -> None:
        """Read all numbers that wait on another device."""
        for step, loss in self._waiting:
            self.at.append(step)
            self.losses.append(float(loss))
        self._waiting.clear()

    def lost(self, since: int = 0) -> int | None:
        """The index of the first loss from `since` on that is not finite; None if there is none."""
        return next((k for k in range(since, len(self.losses)) if not math.isfinite(self.losses[k])), None)

    def curve(self, length: int, last: int, final: float | None) -> Curve:
        """The learning curve of a run of `length` steps that ended after step `last` with the metric `final`.

        A point has the mean loss since the point before; without reports there is only that of the final metric.
        """
        curve = Curve()
        losses = [(step, loss) for step, loss in zip(self.at, self.losses, strict=True) if math.isfinite(loss)]
        if not losses:
            if final is not None:
                _add(curve, last, None, final)
            return curve
        _add(curve, 0, losses[0][1], None)
        at = sorted({k for k in marks(max(length, 1)) if 0 < k < last} | {last})
        for before, point in pairwise([-1, *at]):
            own = [loss for step, loss in losses if before < step <= point]
            seen = [value for step, value in self.marks if before < step <= point]
            metric = seen[-1] if seen and math.isfinite(seen[-1]) else None
            if point == last:
                metric = final if final is not None else metric
            if own or metric is not None:
                _add(curve, point, math.fsum(own) / len(own) if own else curve.train[-1], metric)
        return curve


def _add(curve: Curve, step: int, loss: float | None, metric: float | None) -> None:
    curve.steps.append(step)
    curve.train.append(loss)
    curve.valid.append(None)
    curve.metric.append(metric)
