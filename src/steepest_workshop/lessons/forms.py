"""What the documents' formulas are made of: ours, called so that a formula can be held against it, and the plain forms."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from steepest import optim, schedules, surfaces
from steepest.paths.loop import trajectory
from steepest.problems.built_in.breast_cancer import breast_cancer, measures
from steepest.rules import get
from steepest.rules.vocabulary import debias
from steepest.surfaces import optimality

from .exercises.values import power_gradient
from .noisy_regression import powered
from .training import measured, mlp

Array = NDArray[np.float64]


def forward(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Any:
    model = mlp((W1.shape[1], W1.shape[0], W2.shape[0])).double()
    for parameter, values in zip(model.parameters(), (W1, b1, W2, b2), strict=True):
        parameter.data = torch.from_numpy(values)
    return model(torch.from_numpy(x)).detach().numpy()


def mean_loss(scores: Array, labels: Any) -> float:
    return measured(nn.Identity(), torch.from_numpy(scores), torch.from_numpy(labels))[0]


def right_share(scores: Array, labels: Any) -> float:
    return measured(nn.Identity(), torch.from_numpy(scores), torch.from_numpy(labels))[1] / 100


def stepped(
    w: Array, x: Array, y: Array, power: float, part: slice = slice(None), noise: Array | None = None
) -> tuple[Array, float]:
    """The gradient of the mean of |x w - y| ** power over a part of the examples, and that mean, by a step of descent at a rate
    of 1; with noise added to the gradient.
    """
    rows, batches = np.column_stack([x, y]), np.arange(len(x))[None, part]
    shaken = None if noise is None else noise[None]
    path, heights = trajectory(get("gd"), powered(power, len(w)), w, 1, lr=1.0, data=rows, batches=batches, noise=shaken)
    return np.asarray(path[0] - path[1]), float(heights[0])


def slope(w: Array, x: Array, y: Array, power: float = 2.0) -> Array:
    return stepped(w, x, y, power)[0]


def normalised(x: Array) -> Any:
    return nn.BatchNorm2d(x.shape[1], affine=False).double()(torch.from_numpy(x)).numpy()


def falling(accuracies: Sequence[float]) -> float:
    """Ours reads a metric that is to fall."""
    history = [-accuracy for accuracy in accuracies]
    return schedules.plateau(factor=0.1, patience=0, threshold=0.0)(len(history), 100, history)


def halving(errors: Sequence[float]) -> float:
    return schedules.plateau(factor=0.5, patience=0, threshold=0.0)(len(errors), 100, errors)


def kept_by(key: str, grads: Array, kind: type[torch.optim.Optimizer] = optim.Adam) -> Array:
    """What an optimizer keeps after these gradients, (steps, parameters)."""
    p = torch.zeros(grads.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = kind([p])  # type: ignore[call-arg]
    for g in grads:
        p.grad = torch.from_numpy(g)
        optimizer.step()
    return np.asarray(optimizer.state[p][key].numpy())


def corrected(key: str, beta: float, grads: Array) -> Any:
    return debias(kept_by(key, grads), beta, len(grads))


def faded(values: Array, beta: float) -> Any:
    """An average that starts at zero and forgets: a plain loop."""
    average = np.zeros(values.shape[1])
    for value in values:
        average = beta * average + (1 - beta) * value
    return average


def weighted(values: Array, beta: float) -> Any:
    """The mean of values with weights that fall by beta for each step back."""
    return np.average(values, axis=0, weights=beta ** np.arange(len(values))[::-1])


def rest_point(a: float, b: float, c: float, d: float, e: float) -> Any:
    """Where descent rests on a parabola of two variables."""
    (point,) = optimality.stationary(surfaces.get(f"{a}*x**2 + {b}*x*y + {c}*y**2 + {d}*x + {e}*y"))
    return point.point


def level_point(a: float, b: float, c: float, d: float, e: float) -> Any:
    """Where both its derivatives are zero: two linear equations."""
    return np.linalg.solve([[2 * a, b], [b, 2 * c]], [-d, -e])


def kind_of(H: Array) -> int:
    terms = (f"({value})*x{i + 1}*x{j + 1}/2" for (i, j), value in np.ndenumerate(H))
    (point,) = optimality.stationary(surfaces.get(" + ".join(terms)))
    return {"minimum": 1, "maximum": -1, "saddle": 0}[point.kind]


def curved(x: float, y: float) -> Array:
    return surfaces.get("beale").hessian((x, y))


def beale(at: torch.Tensor) -> torch.Tensor:
    x, y = at
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2  # type: ignore[no-any-return]


def second_derivatives(x: float, y: float) -> Any:
    """Every second derivative, by torch's differentiation of the function in plain Python."""
    return torch.autograd.functional.hessian(beale, torch.tensor([x, y], dtype=torch.float64)).numpy()  # type: ignore[no-untyped-call]


def products_of_slopes(x: float, y: float) -> Array:
    g = surfaces.get("beale").gradient((x, y))
    return np.outer(g, g)


def convex(formula: str) -> bool:
    return optimality.convexity(surfaces.get(formula))[0] is not False


@functools.cache
def ends(formula: str) -> tuple[Array, Array, Array]:
    """The ends of many chords of a function, each (5000, 2), and where on each to look, (5000, 1)."""
    rng, (low, high) = np.random.default_rng(0), np.array(surfaces.get(formula).domain).T
    return rng.uniform(low, high, (5000, 2)), rng.uniform(low, high, (5000, 2)), rng.random((5000, 1))


def chords(formula: str, way: float = 1.0) -> bool:
    """Whether no chord of many lies under the function; over it, for a way of -1."""
    f, (a, b, t) = surfaces.get(formula), ends(formula)
    chord, value = t[:, 0] * f.value(a) + (1 - t[:, 0]) * f.value(b), f.value(t * a + (1 - t) * b)
    return bool(((way * chord > way * value) | np.isclose(chord, value)).all())


def unimodal(formula: str) -> bool:
    return len(optimality.stationary(surfaces.get(formula))) == 1


def standardised(k: int) -> Array:
    """A column of the problem's data, in the order of the file."""
    part = breast_cancer().train
    (x,), y = part.batch(slice(0, len(part)))
    found = np.empty((len(part), 3))
    found[np.random.RandomState(0).permutation(len(part))] = np.column_stack([x.numpy(), y.numpy()])
    return found[:, k]


def scaled(k: int, ddof: int = 0) -> Array:
    x = measures()[:, k]
    return np.asarray((x - x.mean()) / x.std(ddof=ddof))


def mean_slope(w: Array, x: Array, y: Array) -> Any:
    return np.mean([power_gradient(w, one, of, 2.0) for one, of in zip(x, y, strict=True)], 0)


def sum_of_squares(grads: Array) -> Any:
    return (grads**2).sum(0)


def at_samples(w: Array, x: Array, y: Array, i: int, n: int) -> Array:
    return stepped(w, x, y, 2.0, slice(i, i + n))[0]


def over_samples(w: Array, x: Array, y: Array, part: slice) -> Any:
    return mean_slope(w, x[part], y[part])


def expanded(w: Array, x: Array, y: Array, cross: float = 2.0) -> float:
    """The sum of squared errors, multiplied out."""
    return float(w @ x.T @ x @ w - cross * w @ x.T @ y + y @ y)


def dropped(errors: Sequence[float], factor: float = 0.5) -> float:
    """What is left of a rate that falls whenever the error has not become lower than ever."""
    rate, best = 1.0, np.inf
    for error in errors:
        rate *= 1.0 if error < best else factor
        best = min(best, error)
    return rate


def dropped_late(errors: Sequence[float]) -> float:
    """The same, once the error has not become lower twice in a row."""
    rate, best, bad = 1.0, np.inf, 0
    for error in errors:
        bad = 0 if error < best else bad + 1
        best = min(best, error)
        if bad > 1:
            rate, bad = rate / 2, 0
    return rate
