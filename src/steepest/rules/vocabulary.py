"""The words a rule may use besides + - * / ** abs and comparisons.

Each works on numbers and on the symbols of a rule being traced; engines give the operations their meaning.
"""

from __future__ import annotations

from typing import Any

from .symbols import RefusedError, Symbol, apply, reduce


def sqrt(x: Any) -> Any:
    """Square root; NaN of a negative."""
    return apply("sqrt", x)


def cbrt(x: Any) -> Any:
    """Cube root, of negatives too."""
    return apply("cbrt", x)


def power(x: Any, y: Any) -> Any:
    """x to the power y, for x of 0 or more and a number y; NaN of a negative x."""
    if isinstance(y, Symbol) and y.tensor:
        raise RefusedError("has a tensor for an exponent, which no engine offers")
    return apply("pow", x, y)


def sign(x: Any) -> Any:
    """-1, 0 or 1."""
    return apply("sign", x)


def maximum(x: Any, y: Any) -> Any:
    """The larger; NaN wins."""
    return apply("maximum", x, y)


def minimum(x: Any, y: Any) -> Any:
    """The smaller; NaN wins."""
    return apply("minimum", x, y)


def clip(x: Any, low: Any, high: Any) -> Any:
    """x, but at least `low` and at most `high`."""
    return minimum(maximum(x, low), high)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y; element by element if any of the three is a tensor."""
    return apply("where", condition, x, y)


def ema(average: Any, x: Any, beta: Any) -> Any:
    """Exponential moving average: beta * average + (1 - beta) * x."""
    return beta * average + (1 - beta) * x


def debias(average: Any, beta: Any, t: Any) -> Any:
    """An average that started at zero, corrected for that start: average / (1 - beta ** t)."""
    return average / (1 - beta**t)


def norm(x: Any, over: str = "tensor") -> Any:
    """Euclidean norm over the tensor, or over all tensors of the model; one pass more over memory."""
    return sqrt(reduce("sum of squares", x, over))


def mean(x: Any, over: str = "tensor") -> Any:
    """Mean over the tensor, or over all elements of the model; one pass more over memory."""
    return reduce("mean", x, over)
