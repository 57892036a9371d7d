"""The documents' formulas that are no update: a forward pass, losses, gradients, the closed form, points of rest.

Each is an exercise too: its plain form is the exercise's answer, and its wrong forms are the exercise's usual slips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from steepest import schedules, surfaces
from steepest.paths.loop import trajectory
from steepest.problems.built_in.breast_cancer import solve
from steepest.rules import get
from steepest.surfaces import optimality

from . import FORMULA, Row
from .exercises import EXERCISES
from .exercises.values import CASES
from .noisy_regression import powered
from .training import measured, mlp

Array = NDArray[np.float64]
SAME = 1e-9  # relative: what rounding in another order may do


def _forward(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Any:
    model = mlp((W1.shape[1], W1.shape[0], W2.shape[0])).double()
    for parameter, values in zip(model.parameters(), (W1, b1, W2, b2), strict=True):
        parameter.data = torch.from_numpy(values)
    return model(torch.from_numpy(x)).detach().numpy()


def _measured(scores: Array, labels: Any, which: int) -> float:
    return measured(nn.Identity(), torch.from_numpy(scores), torch.from_numpy(labels))[which]


def _slope(w: Array, x: Array, y: Array, power: float) -> Array:
    """The gradient of the mean of |x w - y| ** power, by a step of descent at a rate of 1."""
    batches = np.arange(len(x))[None]
    path = trajectory(get("gd"), powered(power, len(w)), w, 1, lr=1.0, data=np.column_stack([x, y]), batches=batches)[0]
    return np.asarray(path[0] - path[1])


def _kind(H: Array) -> int:
    (a, b), (_, c) = H
    (point,) = optimality.stationary(surfaces.get(f"({a}*x**2 + {2 * b}*x*y + {c}*y**2)/2"))
    return {"minimum": 1, "maximum": -1, "saddle": 0}[point.kind]


# document, words, exercise, and ours
DEFINITIONS: tuple[tuple[str, str, str, Callable[..., Any]], ...] = (
    ("000", "a layer, ReLU, a layer", "forward", _forward),
    ("000", "cross-entropy", "cross_entropy", lambda scores, labels: _measured(scores, labels, 0)),
    ("000", "100 * correct / total", "accuracy", lambda scores, labels: _measured(scores, labels, 1) / 100),
    ("001", "2 X'X w - 2 X'y", "least_squares_gradient", lambda X, y, w: _slope(w, X, y, 2.0) * len(y)),
    ("001", "(X'X)^-1 X'y", "closed_form", solve),
    ("001", "the Hessian's eigenvalues tell what a point of rest is", "kind", _kind),
    (
        "001",
        "MultiStep at 50, 80 and 100 by 0.1",
        "multi_step",
        lambda epoch: schedules.multi_step((50, 80, 100), 0.1)(epoch, 120),
    ),
    ("002", "100 * 0.65 ** epoch", "lambda_rate", lambda epoch: 100 * schedules.exponential(gamma=0.65)(epoch, 10)),
    ("004", "inv(A'A) (A'y)", "closed_form", solve),
    (
        "004",
        "deg * |err| ** (deg - 1) * sign(err) * x",
        "power_gradient",
        lambda w, x, y, p: _slope(w, x[None], np.array([y]), p),
    ),
)


def rows(number: str) -> Iterator[Row]:
    """Whether ours are a document's formulas, on a few inputs, and none of the wrong ones."""
    for source, words, name, ours in DEFINITIONS:
        if source == number:
            exercise, cases = EXERCISES[name], CASES[name]
            assert callable(exercise.solution)
            away = _apart(ours, exercise.solution, cases)
            weak = any(_apart(ours, wrong, cases) <= SAME for _, wrong in exercise.wrong)
            found, holds = f"within {away:.1e} on {len(cases)} inputs", away <= SAME
            worth = "" if not holds else "weak" if weak else "reproduced"
            yield Row(source, f"formula: {words}", FORMULA, found, SAME, holds, "" if holds else "another formula", worth)


def _apart(ours: Callable[..., Any], formula: Callable[..., Any], cases: list[tuple[Any, ...]]) -> float:
    """The largest difference over the inputs, relative to the formula's largest value."""
    with np.errstate(all="ignore"):
        pairs = [(np.asarray(ours(*case), float), np.asarray(formula(*case), float)) for case in cases]
        away = np.array(
            [np.abs(a - b).max() / max(1e-300, np.abs(b).max()) if a.shape == b.shape else np.inf for a, b in pairs]
        )
    return float(away.max()) if np.isfinite(away).all() else np.inf
