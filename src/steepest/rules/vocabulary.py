"""The words a rule may use besides + - * / ** and comparisons.

Each word works on Python numbers and on anything that has the methods of a tensor, so this file imports no engine.
"""

from __future__ import annotations

import math
from typing import Any


def sqrt(x: Any) -> Any:
    """Square root, element by element."""
    return math.sqrt(x) if isinstance(x, int | float) else x.sqrt()


def maximum(x: Any, y: Any) -> Any:
    """The larger of two tensors, element by element; NaN wins."""
    return x.maximum(y)


def where(condition: bool, x: Any, y: Any) -> Any:
    """`x` where the condition holds, else `y`; the condition is on the step or a hyperparameter, not on a tensor."""
    return x if condition else y


def ema(average: Any, x: Any, beta: float) -> Any:
    """Exponential moving average: beta * average + (1 - beta) * x."""
    return beta * average + (1 - beta) * x


def debias(average: Any, beta: float, t: int) -> Any:
    """An average that started at zero, corrected for that start: average / (1 - beta ** t)."""
    return average / (1 - beta**t)
