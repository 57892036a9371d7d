"""Noisy regression by powers of the error: every optimizer, exponent and replicate in compiled loops."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steepest.paths.loop import Formula, trajectory
from steepest.problems.built_in.noisy_regression import Data
from steepest.rules import Rule
from steepest.rules.vocabulary import sign

Array = NDArray[np.float64]
EXPONENTS = (0.4, 0.7, 1.0, 2.0, 3.0, 5.0)


class Result(NamedTuple):
    """Test losses (exponents, rules, replicates, evaluations) and last points (exponents, rules, replicates, 10)."""

    losses: Array
    points: Array


@functools.cache
def powered(exponent: float, dims: int) -> Formula:
    """The mean over examples of |x theta - y| ** exponent; a row of data is x, then y."""

    def error(at: Sequence[Any]) -> Any:
        theta, x, y = at[:dims], at[dims:-1], at[-1]
        return sum(a * b for a, b in zip(theta, x, strict=True)) - y

    def gradient(*at: Any) -> list[Any]:
        e = error(at)
        slope = exponent * abs(e) ** (exponent - 1) * sign(e)
        return [slope * x for x in at[dims:-1]]

    return Formula.of(lambda *at: abs(error(at)) ** exponent, gradient, dims, dims + 1)


def experiment(
    data: Data,
    rules: Sequence[Rule],
    lrs: Sequence[float],
    exponents: Sequence[float] = EXPONENTS,
    replicates: int = 10,
    steps: int = 1000,
    every: int = 50,
    noise: tuple[float, float] = (0.0, 0.0),
) -> Result:
    """Train on one example a step. A replicate has its own examples and noise, the same for every rule and exponent.

    `noise` are the sizes of a normal number and of a random sign added to each coordinate of the gradient.
    """
    dims = len(data.start)
    table = np.column_stack([data.x, data.y])
    points = np.empty((len(exponents), len(rules), replicates, steps + 1, dims))
    formulas = [powered(exponent, dims) for exponent in exponents]
    for replicate in range(replicates):
        rng = np.random.default_rng(replicate)
        batches = rng.integers(len(table), size=(steps, 1))
        shaken = noise[0] * rng.standard_normal((steps, dims)) + noise[1] * rng.choice((-1.0, 1.0), (steps, dims))
        for i, formula in enumerate(formulas):
            for j, (rule, lr) in enumerate(zip(rules, lrs, strict=True)):
                path = trajectory(rule, formula, data.start, steps, lr=lr, data=table, batches=batches, noise=shaken)
                points[i, j, replicate] = path[0]
    powers = np.reshape(exponents, (-1, 1, 1, 1, 1))
    with np.errstate(all="ignore"):  # a path may diverge
        errors = np.abs(points[..., :-1:every, :] @ data.test_x.T - data.test_y)
        return Result((errors**powers).mean(-1), points[..., -1, :])
