"""The functions that a rule may use besides + - * / ** abs and comparisons.

Each takes numbers or, while a rule is traced, symbols; engines implement the operations.
"""

from __future__ import annotations

from typing import Any

from .symbols import NOISES, RefusedError, Static, Symbol, apply, reduce


def sqrt(x: Any) -> Any:
    """Square root; NaN for a negative x."""
    return apply("sqrt", x)


def cbrt(x: Any) -> Any:
    """Cube root, also of a negative x."""
    return apply("cbrt", x)


def power(x: Any, y: Any) -> Any:
    """x to the power y, for x of 0 or more and a number y; NaN for a negative x."""
    if isinstance(y, Symbol) and y.tensor:
        raise RefusedError("has a tensor as exponent, which no engine supports")
    return apply("pow", x, y)


def sign(x: Any) -> Any:
    """-1, 0 or 1; 0 for NaN, as in torch."""
    return apply("sign", x)


def maximum(x: Any, y: Any) -> Any:
    """The larger; NaN if either is NaN."""
    return apply("maximum", x, y)


def minimum(x: Any, y: Any) -> Any:
    """The smaller; NaN if either is NaN."""
    return apply("minimum", x, y)


def clip(x: Any, low: Any, high: Any) -> Any:
    """Limit x to the interval from `low` to `high`."""
    return minimum(maximum(x, low), high)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition is true, else y; elementwise if any of the three is a tensor."""
    return apply("where", condition, x, y)


def ema(average: Any, x: Any, beta: Any) -> Any:
    """Exponential moving average: beta * average + (1 - beta) * x."""
    return beta * average + (1 - beta) * x


def lerp(average: Any, x: Any, share: Any) -> Any:
    """Interpolate from an average to x by a share, as torch.lerp does, where infinities give NaN."""
    step = x - average
    return where(share < 0.5, average + share * step, x - (1 - share) * step)


def debias(average: Any, beta: Any, t: Any) -> Any:
    """Correct an average for its initial value of zero: average / (1 - beta ** t)."""
    return average / (1 - beta**t)


def norm(x: Any, over: str = "tensor") -> Any:
    """Euclidean norm of the tensor, or with over="model" of all tensors together; needs another pass over memory."""
    return sqrt(reduce("squares", x, over))


def mean(x: Any, over: str = "tensor") -> Any:
    """Mean over the tensor, or with over="model" over all tensors; needs another pass over memory."""
    return reduce("mean", x, over)


def total(x: Any, over: str = "tensor") -> Any:
    """Sum over the tensor, or with over="model" over all tensors; needs another pass over memory."""
    return reduce("sum", x, over)


def row_mean(x: Any) -> Any:
    """Mean over the last dimension, which keeps length 1: the mean of each row of a matrix."""
    return apply("row mean", x)


def column_mean(x: Any) -> Any:
    """Mean over the second to last dimension, which keeps length 1: the mean of each column of a matrix."""
    return apply("column mean", x)


def rows(x: Any) -> Any:
    """The length of the first dimension."""
    return apply("rows", x)


def columns(x: Any) -> Any:
    """The number of elements for each index of the first dimension."""
    return apply("columns", x)


def orthogonal(x: Any, a: Any, b: Any, c: Any, eps: Any, steps: Any, precise: Any) -> Any:
    """The nearest orthogonal matrix, by `steps` Newton-Schulz iterations a X + b X X'X + c X X'X X'X from X = x / norm(x).

    They run in bfloat16, or in the dtype of x if `precise`. More than two dimensions are reshaped to (first, all others).
    """
    counts = (int(v.value if isinstance(v, Static) else v) for v in (steps, precise))
    return apply("orthogonal", x, a, b, c, eps, *counts)


def epsilon(x: Any) -> Any:
    """The distance from 1 to the next larger number in the dtype in which x is stored."""
    return apply("epsilon", x)


def normal() -> Any:
    """A standard normal number for each element, drawn at each step from the run's key."""
    return _noise(NOISES[0])


def random_sign() -> Any:
    """-1 or 1 with equal probability for each element, drawn at each step from the run's key."""
    return _noise(NOISES[1])


def _noise(op: str) -> Symbol:
    return Symbol(op, tensor=True, name=op.replace(" ", "_"))
