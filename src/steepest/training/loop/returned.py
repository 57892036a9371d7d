"""Read what a training function returns: its metric as a number or for each validation example, and a test value."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import described
from ..recorder import LARGEST


class UnfitError(Exception):
    """Something was returned that is neither a number nor numbers; its text says what."""


@dataclass(frozen=True)
class Value:
    """A metric: its mean, and its value for each example if those were returned."""

    mean: float
    examples: NDArray[np.float64] | None = None

    @property
    def is_finite(self) -> bool:
        """Whether it can be compared: squares of larger numbers are not finite."""
        return math.isfinite(self.mean) and abs(self.mean) <= LARGEST

    @property
    def error(self) -> float | None:
        """The standard error of the mean over examples; None without examples."""
        if self.examples is None:
            return None
        return float(self.examples.std(ddof=1) / math.sqrt(len(self.examples)))


@dataclass(frozen=True)
class Returned:
    """The metric on validation data, and on test data if they were returned."""

    valid: Value
    test: Value | None = None


def read(returned: Any, metric: str) -> Returned:
    """Read what a function returned: a metric, or a dict with it under its name and perhaps "test".

    UnfitError for anything else.
    """
    if not isinstance(returned, Mapping):
        return Returned(_value(returned))
    if metric not in returned:
        raise UnfitError(f"a dict without {metric!r}")
    test = returned.get("test") if metric != "test" else None
    return Returned(_value(returned[metric]), None if test is None else _value(test))


def _value(x: Any) -> Value:
    """A metric from a number, or from a tensor, an array or a list with one number for each example."""
    if isinstance(x, numbers.Real) and not isinstance(x, bool):
        return Value(_float(x))
    array = _array(x)
    if array is None:
        raise UnfitError(described(x))
    if array.ndim > 1:
        raise UnfitError(f"an array of shape {tuple(array.shape)}")
    if array.size == 0:
        raise UnfitError("an empty array")
    if array.size == 1:
        return Value(float(array.reshape(())))
    with np.errstate(all="ignore"):
        return Value(float(array.mean()), array)


def _float(x: numbers.Real) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf


def _array(x: Any) -> NDArray[np.float64] | None:
    """The numbers of a tensor, an array or a list; None if these are no real numbers, such as the truth of one comparison."""
    if isinstance(x, list):
        if not all(number_like(one) for one in x):
            return None
        x = np.array([_float(one) if isinstance(one, numbers.Real) else float(one) for one in x], float)
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        x = (x.to(torch.float64) if not x.is_complex() else x).numpy()
    if not isinstance(x, np.ndarray | np.generic) or x.dtype.kind not in "fiub" or isinstance(x, np.bool_):
        return None
    return np.asarray(x, float)


def number_like(x: Any) -> bool:
    """Whether an item of a list is a number, a truth value, or a tensor or array of one number."""
    if isinstance(x, Tensor | np.ndarray):
        return x.ndim == 0
    return isinstance(x, numbers.Real | np.bool_)
