"""Linear least squares, where the exact solution is known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..problem import Problem
from . import tables

Array = NDArray[np.float64]


def measures() -> Array:
    """Mean radius, area and perimeter of each tumour, (569, 3)."""
    features, _ = tables.tumours()
    return features[:, [tables.FEATURES.index(f"mean {name}") for name in ("radius", "area", "perimeter")]]


def solve(x: Array, y: Array) -> Array:
    """The w, (features,), that minimizes the sum of squares of x w - y; x is (examples, features), y (examples,)."""
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], np.float64)


def breast_cancer() -> Problem:
    """Perimeter from radius and area of 569 tumours, standardised; summed squares, batches of 10 in one fixed order.

    The tutorial's exercise (T. Daniel, Tutorial 03): float64, w starts at 0, the last batch of an epoch has 9 rows, and
    the order is NumPy's RandomState(0).permutation in every epoch. Training and validation data are the same rows.
    """
    table = measures()
    table = ((table - table.mean(axis=0)) / table.std(axis=0))[np.random.RandomState(0).permutation(len(table))]
    x, y = table[:, :2], table[:, 2:]
    w = solve(x, y[:, 0])
    least = float(((x @ w - y[:, 0]) ** 2).sum())

    def line() -> nn.Module:
        model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(model.weight)
        return model

    return Problem(
        name="breast-cancer",
        about="least squares, perimeter from radius and area of 569 tumours, batches of 10 in one fixed order",
        model=line,
        loss=nn.MSELoss(reduction="sum"),
        train=(x, y),
        valid=(x, y),
        batch_size=10,
        dtype=torch.float64,
        shuffle=False,
        steps=570,
        optimum=(least, f"exact solution w = [{w[0]:.8f}, {w[1]:.8f}]"),
    )
