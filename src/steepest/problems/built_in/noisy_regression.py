"""Linear regression from noisy labels, one example a step, to study the exponent of the error in the loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..problem import Problem
from .breast_cancer import solve

Array = NDArray[np.float64]


class Data(NamedTuple):
    """Examples x (examples, 10), labels y (examples,), the same for testing, and the initial weights (10,)."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array
    start: Array


def data(seed: int = 0) -> Data:
    """1,000 examples uniform in [-1, 1]^10, labels their sums with normal noise of 0.1, 50 for testing; starts in [0, 0.1]."""
    rng = np.random.default_rng(seed)
    x, test_x = (rng.uniform(-1, 1, (count, 10)) for count in (1000, 50))
    y, test_y = (z.sum(1) + 0.1 * rng.normal(size=len(z)) for z in (x, test_x))
    return Data(x, y, test_x, test_y, 0.1 * rng.random(10))


def noisy_regression() -> Problem:
    """The squared error of one example a step, from the same start for every seed; float64."""
    x, y, test_x, test_y, start = data()
    least = float(np.mean((test_x @ solve(x, y) - test_y) ** 2))

    def line() -> nn.Module:
        model = nn.Linear(10, 1, bias=False, dtype=torch.float64)
        model.weight.data.copy_(torch.from_numpy(start))
        return model

    return Problem(
        name="noisy-regression",
        about=f"ten coefficients from noisy labels, one example a step; the exact solution's loss is {least:.5f}",
        model=line,
        loss=nn.MSELoss(),
        train=(x, y[:, None]),
        valid=(test_x, test_y[:, None]),
        batch_size=1,
        dtype=torch.float64,
        steps=1000,
    )
