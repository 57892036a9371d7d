"""The documents' formulas that are no update: a forward pass, losses, gradients, the closed form, convexity, points of rest.

Each has wrong forms, which ours must not be. Most are exercises: the plain form is the exercise's answer, and the wrong ones
are its usual slips.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from steepest import optim, schedules, surfaces
from steepest.paths.loop import trajectory
from steepest.problems.built_in.breast_cancer import breast_cancer, measures, solve
from steepest.rules import get
from steepest.rules.vocabulary import debias
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


def _stepped(
    w: Array, x: Array, y: Array, power: float, part: slice = slice(None), noise: Array | None = None
) -> tuple[Array, float]:
    """The gradient of the mean of |x w - y| ** power over a part of the examples, and that mean, by a step of descent at a rate
    of 1; with noise added to the gradient.
    """
    rows, batches = np.column_stack([x, y]), np.arange(len(x))[None, part]
    shaken = None if noise is None else noise[None]
    path, heights = trajectory(get("gd"), powered(power, len(w)), w, 1, lr=1.0, data=rows, batches=batches, noise=shaken)
    return np.asarray(path[0] - path[1]), float(heights[0])


def _slope(w: Array, x: Array, y: Array, power: float = 2.0) -> Array:
    return _stepped(w, x, y, power)[0]


def _normalised(x: Array) -> Any:
    return nn.BatchNorm2d(x.shape[1], affine=False).double()(torch.from_numpy(x)).numpy()


def _falling(accuracies: Sequence[float]) -> float:
    """Ours reads a metric that is to fall."""
    history = [-accuracy for accuracy in accuracies]
    return schedules.plateau(factor=0.1, patience=0, threshold=0.0)(len(history), 100, history)


def _halving(errors: Sequence[float]) -> float:
    return schedules.plateau(factor=0.5, patience=0, threshold=0.0)(len(errors), 100, errors)


def _state(key: str, grads: Array, kind: type[torch.optim.Optimizer] = optim.Adam) -> Array:
    """What an optimizer keeps after these gradients, (steps, parameters)."""
    p = torch.zeros(grads.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = kind([p])  # type: ignore[call-arg]
    for g in grads:
        p.grad = torch.from_numpy(g)
        optimizer.step()
    return np.asarray(optimizer.state[p][key].numpy())


def _corrected(key: str, beta: float, grads: Array) -> Any:
    return debias(_state(key, grads), beta, len(grads))


def _faded(values: Array, beta: float) -> Any:
    """An average that starts at zero and forgets: a plain loop."""
    average = np.zeros(values.shape[1])
    for value in values:
        average = beta * average + (1 - beta) * value
    return average


def _weighted(values: Array, beta: float) -> Any:
    """The mean of values with weights that fall by beta for each step back."""
    return np.average(values, axis=0, weights=beta ** np.arange(len(values))[::-1])


def _rest(a: float, b: float, c: float, d: float, e: float) -> Any:
    """Where descent rests on a parabola of two variables."""
    (point,) = optimality.stationary(surfaces.get(f"{a}*x**2 + {b}*x*y + {c}*y**2 + {d}*x + {e}*y"))
    return point.point


def _level(a: float, b: float, c: float, d: float, e: float) -> Any:
    """Where both its derivatives are zero: two linear equations."""
    return np.linalg.solve([[2 * a, b], [b, 2 * c]], [-d, -e])


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
_gradients = [(_rng.normal(size=(steps, 4)),) for steps in (1, 2, 30)]
_powers = [(*batch, power) for batch in _batches for power in (0.7, 1.0, 3.0)]


def _mean(w: Array, x: Array, y: Array) -> Any:
    return np.mean([power_gradient(w, one, of, 2.0) for one, of in zip(x, y, strict=True)], 0)


_examples = (_rng.normal(size=3), _rng.normal(size=(9, 3)), _rng.normal(size=9))
_noisy = [(*batch, _rng.normal(size=3) + _rng.choice((-1.0, 1.0), 3)) for batch in _batches]
_not_m = [lambda g: _faded(g, 0.1), lambda g: _faded(g, 0.999), lambda g: 10 * _faded(g, 0.9), lambda g: g.mean(0)]


def _summed(grads: Array) -> Any:
    return (grads**2).sum(0)


_not_sum = [lambda g: g.sum(0) ** 2, lambda g: (g**2).mean(0), lambda g: np.abs(g).sum(0), lambda g: np.full(4, (g**2).sum())]
_not_v = [
    lambda g: _faded(g**2, 0.001),
    lambda g: _faded(g**2, 0.9),
    lambda g: _faded(g, 0.999) ** 2,
    lambda g: (g**2).sum(0),
]


def _part(w: Array, x: Array, y: Array, i: int, n: int) -> Array:
    return _stepped(w, x, y, 2.0, slice(i, i + n))[0]


def _over(w: Array, x: Array, y: Array, part: slice) -> Any:
    return _mean(w, x[part], y[part])


def _expanded(w: Array, x: Array, y: Array, cross: float = 2.0) -> float:
    """The sum of squared errors, multiplied out."""
    return float(w @ x.T @ x @ w - cross * w @ x.T @ y + y @ y)


def _drop(errors: Sequence[float], factor: float = 0.5, patience: int = 0) -> float:
    """What is left of a rate that falls whenever the error has not become lower than ever for longer than the patience."""
    rate, best, bad = 1.0, np.inf, 0
    for error in errors:
        bad = 0 if error < best else bad + 1
        best = min(best, error)
        if bad > patience:
            rate, bad = rate * factor, 0
    return rate


DEFINITIONS = (
    _exercise("000", "a layer, ReLU, a layer", "forward", _forward),
    Definition(
        "000",
        "the gradient at one sample, x^i",
        lambda w, x, y, i: _part(w, x, y, i, 1),
        lambda w, x, y, i: power_gradient(w, x[i], y[i], 2.0),
        [(*_examples, i) for i in (0, 3, 8)],
        [
            lambda w, x, y, i: _mean(w, x, y),
            lambda w, x, y, i: power_gradient(w, x[i - 1], y[i - 1], 2.0),
            lambda w, x, y, i: power_gradient(w, x[i], y[i], 2.0) / len(y),
        ],
    ),
    Definition(
        "000",
        "the gradient at n samples, x^(i:i+n)",
        _part,
        lambda w, x, y, i, n: _over(w, x, y, slice(i, i + n)),
        [(*_examples, i, n) for i, n in ((0, 4), (3, 2), (5, 4))],
        [
            lambda w, x, y, i, n: n * _over(w, x, y, slice(i, i + n)),
            lambda w, x, y, i, n: _over(w, x, y, slice(i, i + n + 1)),
            lambda w, x, y, i, n: _over(w, x, y, slice(i, n)) if i < n else _mean(w, x, y),
            lambda w, x, y, i, n: _mean(w, x, y),
        ],
    ),
    Definition(
        "000",
        "m = beta1 * m + (1 - beta1) * g",
        lambda grads: _state("exp_avg", grads),
        lambda grads: _faded(grads, 0.9),
        _gradients,
        _not_m,
    ),
    Definition(
        "000",
        "v = beta2 * v + (1 - beta2) * g ** 2",
        lambda grads: _state("exp_avg_sq", grads),
        lambda grads: _faded(grads**2, 0.999),
        _gradients,
        _not_v,
    ),
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
    Definition(
        "001",
        "w'X'X w - 2 w'X'Y + Y'Y",
        lambda w, x, y: _stepped(w, x, y, 2.0)[1] * len(y),
        _expanded,
        _batches,
        [
            lambda w, x, y: _expanded(w, x, y, 1.0),
            lambda w, x, y: _expanded(w, x, y, -2.0),
            lambda w, x, y: _expanded(w, x, y) - y @ y,
        ],
    ),
    Definition(
        "001",
        "at an optimum the gradient is 0",
        _rest,
        _level,
        [(1.0, 1.0, 2.0, -3.0, 1.0), (2.0, -1.0, 1.0, 0.5, 0.5), (-1.0, 0.5, -1.0, 1.0, 0.0)],
        [
            lambda a, b, c, d, e: _level(a, 0.0, c, d, e),
            lambda a, b, c, d, e: -_level(a, b, c, d, e),
            lambda a, b, c, d, e: _level(a / 2, b / 2, c / 2, d, e),
        ],
    ),
    *(
        Definition(source, words, functools.partial(_state, "sum", kind=optim.Adagrad), _summed, _gradients[1:], _not_sum)
        for source, words in (
            ("001", "G_ii, the sum of the squared gradients by w_i"),
            ("002", "AdaGrad: V, the sum of g ** 2"),
        )
    ),
    Definition(
        "001",
        "E[g2] = beta * E[g2] + (1 - beta) * g ** 2",
        lambda grads: _state("square_avg", grads, optim.RMSprop),
        lambda grads: _faded(grads**2, 0.99),
        _gradients,
        [
            lambda g: _faded(g**2, 0.01),
            lambda g: _faded(g, 0.99) ** 2,
            lambda g: (g**2).sum(0),
            lambda g: 100 * _faded(g**2, 0.99),
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
    _exercise("001", "a layer, ReLU, a layer", "forward", _forward),
    _exercise("001", "softmax, then cross-entropy", "cross_entropy", _loss),
    _exercise("001", "100 * correct / total", "accuracy", _right),
    _exercise("001", "ReduceLROnPlateau, mode max, factor 0.1, patience 0", "plateau", _falling),
    Definition(
        "001",
        "half whenever the validation error stops improving",
        _halving,
        _drop,
        [([3.0, 2.0, 1.0],), ([3.0, 3.5, 2.5, 2.6],), ([1.0, 1.0],), ([1.0, 2.0, 1.5, 1.2],)],
        [
            lambda errors: _drop(errors, factor=0.1),
            lambda errors: _drop(errors, patience=1),
            lambda errors: _drop([-error for error in errors]),
            lambda errors: 0.5 ** sum(b >= a for a, b in itertools.pairwise(errors)),
        ],
    ),
    _exercise(
        "001",
        "MultiStep at 50, 80 and 100 by 0.1",
        "multi_step",
        lambda epoch: schedules.multi_step((50, 80, 100), 0.1)(epoch, 120),
    ),
    _exercise("002", "100 * 0.65 ** epoch", "lambda_rate", lambda epoch: 100 * schedules.exponential(gamma=0.65)(epoch, 10)),
    _exercise("002", "BatchNorm over N, H and W, not C", "batch_norm", _normalised),
    Definition(
        "002",
        "m = beta1 * m + (1 - beta1) * g",
        lambda grads: _state("exp_avg", grads),
        lambda grads: _faded(grads, 0.9),
        _gradients,
        _not_m,
    ),
    Definition(
        "002",
        "V = beta2 * V + (1 - beta2) * g ** 2",
        lambda grads: _state("exp_avg_sq", grads),
        lambda grads: _faded(grads**2, 0.999),
        _gradients,
        _not_v,
    ),
    *(
        Definition(
            "002",
            f"{average} / (1 - {beta} ** t)",
            functools.partial(_corrected, key, share),
            lambda grads, share=share, power=power: _weighted(grads**power, share),
            _gradients[1:],
            [
                lambda grads, share=share, power=power: _faded(grads**power, share),
                lambda grads, share=share, power=power: _faded(grads**power, share) / (1 - share),
                lambda grads, share=share, power=power: _weighted(np.abs(grads) ** (3 - power), share),
            ],
        )
        for average, beta, key, power, share in (("m", "beta1", "exp_avg", 1, 0.9), ("v", "beta2", "exp_avg_sq", 2, 0.999))
    ),
    _exercise("003", "correct / total", "accuracy", _right),
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
    Definition(
        "004",
        "gradient + normal noise + random signs",
        lambda w, x, y, noise: _stepped(w, x, y, 2.0, noise=noise)[0],
        lambda w, x, y, noise: _mean(w, x, y) + noise,
        _noisy,
        [
            lambda w, x, y, noise: _mean(w, x, y) - noise,
            lambda w, x, y, noise: _mean(w, x, y),
            lambda w, x, y, noise: _mean(w, x, y) * (1 + noise),
            lambda w, x, y, noise: _mean(w, x, y) + noise[0],
        ],
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
