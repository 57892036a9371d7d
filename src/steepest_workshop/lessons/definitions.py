"""The documents' formulas that are no update: a forward pass, losses, gradients, the closed form, convexity, points of rest.

Each has wrong forms, which ours must not be. Most are exercises: the plain form is the exercise's answer, and the wrong ones
are its usual slips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from steepest import schedules, surfaces
from steepest.paths.loop import trajectory
from steepest.problems.built_in.breast_cancer import breast_cancer, measures, solve
from steepest.rules import get
from steepest.surfaces import optimality

from . import FORMULA, Row
from .exercises import EXERCISES
from .exercises.values import CASES, power_gradient
from .noisy_regression import powered
from .training import measured, mlp

Array = NDArray[np.float64]
SAME = 1e-9  # relative: what rounding in another order may do


class Definition(NamedTuple):
    """A printed formula: its document, its words, ours, the formula, the inputs, and wrong formulas."""

    source: str
    words: str
    ours: Callable[..., Any]
    formula: Callable[..., Any]
    cases: Sequence[tuple[Any, ...]]
    wrong: Sequence[Callable[..., Any]]


def _exercise(source: str, words: str, name: str, ours: Callable[..., Any]) -> Definition:
    exercise = EXERCISES[name]
    assert callable(exercise.solution)
    return Definition(source, words, ours, exercise.solution, CASES[name], [wrong for _, wrong in exercise.wrong])


def _forward(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Any:
    model = mlp((W1.shape[1], W1.shape[0], W2.shape[0])).double()
    for parameter, values in zip(model.parameters(), (W1, b1, W2, b2), strict=True):
        parameter.data = torch.from_numpy(values)
    return model(torch.from_numpy(x)).detach().numpy()


def _loss(scores: Array, labels: Any) -> float:
    return measured(nn.Identity(), torch.from_numpy(scores), torch.from_numpy(labels))[0]


def _right(scores: Array, labels: Any) -> float:
    return measured(nn.Identity(), torch.from_numpy(scores), torch.from_numpy(labels))[1] / 100


def _stepped(w: Array, x: Array, y: Array, power: float) -> tuple[Array, float]:
    """The gradient of the mean of |x w - y| ** power, by a step of descent at a rate of 1, and that mean."""
    rows, batches = np.column_stack([x, y]), np.arange(len(x))[None]
    path, heights = trajectory(get("gd"), powered(power, len(w)), w, 1, lr=1.0, data=rows, batches=batches)
    return np.asarray(path[0] - path[1]), float(heights[0])


def _slope(w: Array, x: Array, y: Array, power: float = 2.0) -> Array:
    return _stepped(w, x, y, power)[0]


def _normalised(x: Array) -> Any:
    return nn.BatchNorm2d(x.shape[1], affine=False).double()(torch.from_numpy(x)).numpy()


def _falling(accuracies: Sequence[float]) -> float:
    """Ours reads a metric that is to fall."""
    history = [-accuracy for accuracy in accuracies]
    return schedules.plateau(factor=0.1, patience=0, threshold=0.0)(len(history), 100, history)


def _kind(H: Array) -> int:
    (a, b), (_, c) = H
    (point,) = optimality.stationary(surfaces.get(f"({a}*x**2 + {2 * b}*x*y + {c}*y**2)/2"))
    return {"minimum": 1, "maximum": -1, "saddle": 0}[point.kind]


def _curved(x: float, y: float) -> Array:
    return surfaces.get("beale").hessian((x, y))


def _beale(at: torch.Tensor) -> torch.Tensor:
    x, y = at
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2  # type: ignore[no-any-return]


def _second(x: float, y: float) -> Any:
    """Every second derivative, by torch's differentiation of the function in plain Python."""
    return torch.autograd.functional.hessian(_beale, torch.tensor([x, y], dtype=torch.float64)).numpy()  # type: ignore[no-untyped-call]


def _products(x: float, y: float) -> Array:
    g = surfaces.get("beale").gradient((x, y))
    return np.outer(g, g)


def _convex(formula: str) -> bool:
    return optimality.convexity(surfaces.get(formula))[0] is not False


def _chords(formula: str, way: float = 1.0) -> bool:
    """Whether no chord of many lies under the function; over it, for a way of -1."""
    f, rng = surfaces.get(formula), np.random.default_rng(0)
    low, high = np.array(f.domain).T
    a, b, t = low + (high - low) * rng.random((5000, 2)), low + (high - low) * rng.random((5000, 2)), rng.random((5000, 1))
    chord = t[:, 0] * f.value(a) + (1 - t[:, 0]) * f.value(b)
    return bool((way * (chord - f.value(t * a + (1 - t) * b)) >= -1e-9 * (1 + np.abs(chord))).all())


def _unimodal(formula: str) -> bool:
    return len(optimality.stationary(surfaces.get(formula))) == 1


def _column(k: int) -> Array:
    """A column of the problem's data, in the order of the file."""
    part = breast_cancer().train
    (x,), y = part.batch(slice(0, len(part)))
    found = np.empty((len(part), 3))
    found[np.random.RandomState(0).permutation(len(part))] = np.column_stack([x.numpy(), y.numpy()])
    return found[:, k]


def _scaled(k: int, ddof: int = 0) -> Array:
    x = measures()[:, k]
    return np.asarray((x - x.mean()) / x.std(ddof=ddof))


_rng = np.random.default_rng(4)
_batches = [(_rng.normal(size=3), _rng.normal(size=(n, 3)), _rng.normal(size=n)) for n in (1, 4, 7)]
_powers = [(*batch, power) for batch in _batches for power in (0.7, 1.0, 3.0)]


def _mean(w: Array, x: Array, y: Array) -> Any:
    return np.mean([power_gradient(w, one, of, 2.0) for one, of in zip(x, y, strict=True)], 0)


DEFINITIONS = (
    _exercise("000", "a layer, ReLU, a layer", "forward", _forward),
    _exercise("000", "cross-entropy", "cross_entropy", _loss),
    _exercise("000", "100 * correct / total", "accuracy", _right),
    Definition(
        "001",
        "f(t x1 + (1 - t) x2) <= t f(x1) + (1 - t) f(x2)",
        _convex,
        _chords,
        [("bowl",), ("saddle",), ("-x**2 - y**2",), ("himmelblau",), ("(x**2 + y**2)/(1 + x**2 + y**2)",), ("x**4 + y**4",)],
        [lambda f: _chords(f, -1.0), lambda f: not _chords(f), _unimodal],
    ),
    Definition(
        "001",
        "H_ij, the second derivative by x_i and x_j",
        _curved,
        _second,
        [(1.0, 1.0), (-2.0, 0.5), (3.0, -1.0)],
        [lambda x, y: np.diag(np.diag(_second(x, y))), lambda x, y: 2 * _second(x, y), _products],
    ),
    _exercise("001", "the Hessian's eigenvalues tell what a point of rest is", "kind", _kind),
    Definition(
        "001",
        "g = 1/m sum f'(x_i, w, y_i)",
        _slope,
        _mean,
        _batches,
        [
            lambda w, x, y: _mean(w, x, y) * len(y),
            lambda w, x, y: _mean(w, x[:1], y[:1]),
            lambda w, x, y: _mean(w, x, y) / 2,
            lambda w, x, y: power_gradient(w, x.mean(0), y.mean(), 2.0),
        ],
    ),
    Definition(
        "001",
        "|X w - y|^2, summed",
        lambda w, x, y: _stepped(w, x, y, 2.0)[1] * len(y),
        lambda w, x, y: float(np.sum((x @ w - y) ** 2)),
        _batches,
        [
            lambda w, x, y: float(np.mean((x @ w - y) ** 2)),
            lambda w, x, y: float(np.sum(np.abs(x @ w - y))),
            lambda w, x, y: float(np.sum((x @ w - y) ** 2)) / 2,
            lambda w, x, y: float(np.sum(x @ w - y) ** 2),
        ],
    ),
    _exercise("001", "2 X'X w - 2 X'y", "least_squares_gradient", lambda X, y, w: _slope(w, X, y) * len(y)),
    _exercise("001", "(X'X)^-1 X'y", "closed_form", solve),
    Definition(
        "001",
        "(X - mean) / std",
        _column,
        _scaled,
        [(0,), (1,), (2,)],
        [lambda k: _scaled(k, ddof=1), lambda k: measures()[:, k], lambda k: _scaled(k) + measures()[:, k].mean()],
    ),
    _exercise("001", "100 * correct / total", "accuracy", _right),
    _exercise("001", "ReduceLROnPlateau, mode max, factor 0.1, patience 0", "plateau", _falling),
    _exercise(
        "001",
        "MultiStep at 50, 80 and 100 by 0.1",
        "multi_step",
        lambda epoch: schedules.multi_step((50, 80, 100), 0.1)(epoch, 120),
    ),
    _exercise("002", "100 * 0.65 ** epoch", "lambda_rate", lambda epoch: 100 * schedules.exponential(gamma=0.65)(epoch, 10)),
    _exercise("002", "BatchNorm over N, H and W, not C", "batch_norm", _normalised),
    _exercise("004", "inv(A'A) (A'y)", "closed_form", solve),
    Definition(
        "004",
        "|err| ** deg, its mean",
        lambda w, x, y, p: _stepped(w, x, y, p)[1],
        lambda w, x, y, p: float(np.mean(np.abs(x @ w - y) ** p)),
        _powers,
        [
            lambda w, x, y, p: float(np.sum(np.abs(x @ w - y) ** p)),
            lambda w, x, y, p: float(np.mean(np.abs(x @ w - y)) ** p),
            lambda w, x, y, p: float(np.mean(np.abs(x @ w - y) ** 2)),
            lambda w, x, y, p: float(np.mean(np.abs(x @ w - y) ** p)) / p,
        ],
    ),
    _exercise(
        "004",
        "deg * |err| ** (deg - 1) * sign(err) * x",
        "power_gradient",
        lambda w, x, y, p: _slope(w, x[None], np.array([y]), p),
    ),
    _exercise("004", "LogSoftmax, then NLLLoss", "cross_entropy", _loss),
    _exercise("004", "correct_count / all_count", "accuracy", _right),
)


def rows(number: str) -> Iterator[Row]:
    """Whether ours are a document's formulas, on a few inputs, and none of the wrong ones."""
    for one in DEFINITIONS:
        if one.source == number:
            away = _apart(one.ours, one.formula, one.cases)
            weak = any(_apart(one.ours, wrong, one.cases) <= SAME for wrong in one.wrong)
            found, holds = f"within {away:.1e} on {len(one.cases)} inputs", away <= SAME
            worth = "" if not holds else "weak" if weak else "reproduced"
            why = "" if holds else "another formula"
            yield Row(number, f"formula: {one.words}", FORMULA, found, SAME, holds, why, worth)


def _apart(ours: Callable[..., Any], formula: Callable[..., Any], cases: Sequence[tuple[Any, ...]]) -> float:
    """The largest difference over the inputs, relative to the formula's largest value."""
    with np.errstate(all="ignore"):
        pairs = [(np.asarray(ours(*case), float), np.asarray(formula(*case), float)) for case in cases]
        away = np.array(
            [np.abs(a - b).max() / max(1e-300, np.abs(b).max()) if a.shape == b.shape else np.inf for a, b in pairs]
        )
    return float(away.max()) if np.isfinite(away).all() else np.inf
