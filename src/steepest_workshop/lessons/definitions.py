"""The documents' formulas that are no update: a forward pass, losses, gradients, the closed form, convexity, points of rest.

Each has wrong forms, which ours must not be. Most are exercises: the plain form is the exercise's oracle, and the wrong ones
are its usual slips.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steepest import optim, schedules
from steepest.problems.built_in.breast_cancer import measures, solve

from . import FORMULA, Row, kept, power, slipped
from .exercises import EXERCISES
from .exercises.values import CASES, ORACLES, power_gradient
from .forms import (
    at_samples,
    chords,
    convex,
    corrected,
    curved,
    dropped,
    dropped_late,
    expanded,
    faded,
    falling,
    forward,
    halving,
    kept_by,
    kind_of,
    level_point,
    mean_loss,
    mean_slope,
    normalised,
    over_samples,
    products_of_slopes,
    rest_point,
    right_share,
    scaled,
    second_derivatives,
    slope,
    standardised,
    stepped,
    sum_of_squares,
    unimodal,
    weighted,
)

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
    wrong = [wrong for _, wrong in EXERCISES[name].wrong]
    return Definition(source, words, ours, ORACLES[name], CASES[name], wrong)


_rng = np.random.default_rng(4)
_batches = [(_rng.normal(size=3), _rng.normal(size=(n, 3)), _rng.normal(size=n)) for n in (1, 4, 7)]
_gradients = [(_rng.normal(size=(steps, 4)),) for steps in (1, 2, 30)]
_powers = [(*batch, power) for batch in _batches for power in (0.7, 1.0, 3.0)]
_examples = (_rng.normal(size=3), _rng.normal(size=(9, 3)), _rng.normal(size=9))
_noisy = [(*batch, _rng.normal(size=3) + _rng.choice((-1.0, 1.0), 3)) for batch in _batches]
_not_m = [lambda g: faded(g, 0.1), lambda g: faded(g, 0.999), lambda g: 10 * faded(g, 0.9), lambda g: g.mean(0)]
_not_sum = [lambda g: g.sum(0) ** 2, lambda g: (g**2).mean(0), lambda g: np.abs(g).sum(0), lambda g: np.full(4, (g**2).sum())]
_not_v = [
    lambda g: faded(g**2, 0.001),
    lambda g: faded(g**2, 0.9),
    lambda g: faded(g, 0.999) ** 2,
    lambda g: (g**2).sum(0),
]

_lopsided = [("exp(x) + exp(y)",), ("100 - (x**2 + y**2)/10",), ("100 + (x**2 + y**2)/10",)]  # a sign and a share show here

DEFINITIONS = (
    _exercise("000", "a layer, ReLU, a layer", "forward", forward),
    Definition(
        "000",
        "the gradient at one sample, x^i",
        lambda w, x, y, i: at_samples(w, x, y, i, 1),
        lambda w, x, y, i: power_gradient(w, x[i], y[i], 2.0),
        [(*_examples, i) for i in (0, 3, 8)],
        [
            lambda w, x, y, i: mean_slope(w, x, y),
            lambda w, x, y, i: power_gradient(w, x[i - 1], y[i - 1], 2.0),
            lambda w, x, y, i: power_gradient(w, x[i], y[i], 2.0) / len(y),
        ],
    ),
    Definition(
        "000",
        "the gradient at n samples, x^(i:i+n)",
        at_samples,
        lambda w, x, y, i, n: over_samples(w, x, y, slice(i, i + n)),
        [(*_examples, i, n) for i, n in ((0, 4), (3, 2), (5, 4))],
        [
            lambda w, x, y, i, n: n * over_samples(w, x, y, slice(i, i + n)),
            lambda w, x, y, i, n: over_samples(w, x, y, slice(i, i + n + 1)),
            lambda w, x, y, i, n: over_samples(w, x, y, slice(i, n)) if i < n else mean_slope(w, x, y),
            lambda w, x, y, i, n: mean_slope(w, x, y),
        ],
    ),
    *(
        Definition(source, words, functools.partial(kept_by, key), plain, _gradients, wrong)
        for source, v in (("000", "v"), ("002", "V"))
        for words, key, plain, wrong in (
            ("m = beta1 * m + (1 - beta1) * g", "exp_avg", lambda grads: faded(grads, 0.9), _not_m),
            (f"{v} = beta2 * {v} + (1 - beta2) * g ** 2", "exp_avg_sq", lambda grads: faded(grads**2, 0.999), _not_v),
        )
    ),
    _exercise("000", "cross-entropy", "cross_entropy", mean_loss),
    _exercise("000", "100 * correct / total", "accuracy", right_share),
    Definition(
        "001",
        "f(t x1 + (1 - t) x2) <= t f(x1) + (1 - t) f(x2)",
        convex,
        chords,
        [
            ("bowl",),
            ("saddle",),
            ("-x**2 - y**2",),
            ("himmelblau",),
            ("(x**2 + y**2)/(1 + x**2 + y**2)",),
            ("x**4 + y**4",),
            *_lopsided,
        ],
        [lambda f: chords(f, -1.0), lambda f: not chords(f), unimodal],
    ),
    Definition(
        "001",
        "H_ij, the second derivative by x_i and x_j",
        curved,
        second_derivatives,
        [(1.0, 1.0), (-2.0, 0.5), (3.0, -1.0)],
        [
            lambda x, y: np.diag(np.diag(second_derivatives(x, y))),
            lambda x, y: 2 * second_derivatives(x, y),
            products_of_slopes,
        ],
    ),
    _exercise("001", "the Hessian's eigenvalues tell what a point of rest is", "kind", kind_of),
    Definition(
        "001",
        "g = 1/m sum f'(x_i, w, y_i)",
        slope,
        mean_slope,
        _batches,
        [
            lambda w, x, y: mean_slope(w, x, y) * len(y),
            lambda w, x, y: mean_slope(w, x[:1], y[:1]),
            lambda w, x, y: mean_slope(w, x, y) / 2,
            lambda w, x, y: power_gradient(w, x.mean(0), y.mean(), 2.0),
        ],
    ),
    Definition(
        "001",
        "|X w - y|^2, summed",
        lambda w, x, y: stepped(w, x, y, 2.0)[1] * len(y),
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
        lambda w, x, y: stepped(w, x, y, 2.0)[1] * len(y),
        expanded,
        _batches,
        [
            lambda w, x, y: expanded(w, x, y, 1.0),
            lambda w, x, y: expanded(w, x, y, -2.0),
            lambda w, x, y: expanded(w, x, y) - y @ y,
        ],
    ),
    Definition(
        "001",
        "at an optimum the gradient is 0",
        rest_point,
        level_point,
        [(1.0, 1.0, 2.0, -3.0, 1.0), (2.0, -1.0, 1.0, 0.5, 0.5), (-1.0, 0.5, -1.0, 1.0, 0.0)],
        [
            lambda a, b, c, d, e: level_point(a, 0.0, c, d, e),
            lambda a, b, c, d, e: -level_point(a, b, c, d, e),
            lambda a, b, c, d, e: level_point(a / 2, b / 2, c / 2, d, e),
        ],
    ),
    *(
        Definition(
            source, words, functools.partial(kept_by, "sum", kind=optim.Adagrad), sum_of_squares, _gradients[1:], _not_sum
        )
        for source, words in (
            ("001", "G_ii, the sum of the squared gradients by w_i"),
            ("002", "AdaGrad: V, the sum of g ** 2"),
        )
    ),
    Definition(
        "001",
        "E[g2] = beta * E[g2] + (1 - beta) * g ** 2",
        lambda grads: kept_by("square_avg", grads, optim.RMSprop),
        lambda grads: faded(grads**2, 0.99),
        _gradients,
        [
            lambda g: faded(g**2, 0.01),
            lambda g: faded(g, 0.99) ** 2,
            lambda g: (g**2).sum(0),
            lambda g: 100 * faded(g**2, 0.99),
        ],
    ),
    _exercise("001", "2 X'X w - 2 X'y", "least_squares_gradient", lambda X, y, w: slope(w, X, y) * len(y)),
    _exercise("001", "(X'X)^-1 X'y", "closed_form", solve),
    Definition(
        "001",
        "(X - mean) / std",
        standardised,
        scaled,
        [(0,), (1,), (2,)],
        [lambda k: scaled(k, ddof=1), lambda k: measures()[:, k], lambda k: scaled(k) + measures()[:, k].mean()],
    ),
    _exercise("001", "a layer, ReLU, a layer", "forward", forward),
    _exercise("001", "softmax, then cross-entropy", "cross_entropy", mean_loss),
    _exercise("001", "100 * correct / total", "accuracy", right_share),
    _exercise("001", "ReduceLROnPlateau, mode max, factor 0.1, patience 0", "plateau", falling),
    Definition(
        "001",
        "half whenever the validation error stops improving",
        halving,
        dropped,
        [([3.0, 2.0, 1.0],), ([3.0, 3.5, 2.5, 2.6],), ([1.0, 1.0],), ([1.0, 2.0, 1.5, 1.2],)],
        [
            lambda errors: dropped(errors, factor=0.1),
            dropped_late,
            lambda errors: dropped([-error for error in errors]),
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
    _exercise("002", "BatchNorm over N, H and W, not C", "batch_norm", normalised),
    *(
        Definition(
            "002",
            f"{average} / (1 - {beta} ** t)",
            functools.partial(corrected, key, share),
            lambda grads, share=share, power=power: weighted(grads**power, share),
            _gradients[1:],
            [
                lambda grads, share=share, power=power: faded(grads**power, share),
                lambda grads, share=share, power=power: faded(grads**power, share) / (1 - share),
                lambda grads, share=share, power=power: weighted(np.abs(grads) ** (3 - power), share),
            ],
        )
        for average, beta, key, power, share in (("m", "beta1", "exp_avg", 1, 0.9), ("v", "beta2", "exp_avg_sq", 2, 0.999))
    ),
    _exercise("003", "correct / total", "accuracy", right_share),
    _exercise("004", "inv(A'A) (A'y)", "closed_form", solve),
    Definition(
        "004",
        "|err| ** deg, its mean",
        lambda w, x, y, p: stepped(w, x, y, p)[1],
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
        lambda w, x, y, p: slope(w, x[None], np.array([y]), p),
    ),
    Definition(
        "004",
        "gradient + normal noise + random signs",
        lambda w, x, y, noise: stepped(w, x, y, 2.0, noise=noise)[0],
        lambda w, x, y, noise: mean_slope(w, x, y) + noise,
        _noisy,
        [
            lambda w, x, y, noise: mean_slope(w, x, y) - noise,
            lambda w, x, y, noise: mean_slope(w, x, y),
            lambda w, x, y, noise: mean_slope(w, x, y) * (1 + noise),
            lambda w, x, y, noise: mean_slope(w, x, y) + noise[0],
        ],
    ),
    _exercise("004", "LogSoftmax, then NLLLoss", "cross_entropy", mean_loss),
    _exercise("004", "correct_count / all_count", "accuracy", right_share),
)


def rows(number: str) -> Iterator[Row]:
    """Whether ours are a document's formulas, on a few inputs, and none of the wrong ones."""
    for one in DEFINITIONS:
        if one.source == number:
            away = _apart(one.ours, one.formula, one.cases)
            usual = [(f"usual slip {k}", wrong) for k, wrong in enumerate(one.wrong, 1)]
            tried = [*usual, *slipped.variants(one.formula)]
            held = [
                what for what, wrong in tried if slipped.comes_to(functools.partial(_apart, one.ours, wrong, one.cases), SAME)
            ]
            found = f"within {away:.1e} on {len(one.cases)} inputs"
            same = kept.digest(slipped.identity(one.ours), slipped.identity(one.formula))
            row = Row(number, f"formula: {one.words}", FORMULA, found, SAME, away <= SAME, same=same)
            yield power.told(row, held) if row.holds else dataclasses.replace(row, reason="another formula")


def _apart(ours: Callable[..., Any], formula: Callable[..., Any], cases: Sequence[tuple[Any, ...]]) -> float:
    """The largest difference over the inputs, relative to the formula's largest value."""
    with np.errstate(all="ignore"):
        pairs = [(np.asarray(ours(*case), float), np.asarray(formula(*case), float)) for case in cases]
        away = np.array(
            [np.abs(a - b).max() / max(1e-300, np.abs(b).max()) if a.shape == b.shape else np.inf for a, b in pairs]
        )
    return float(away.max()) if np.isfinite(away).all() else np.inf
