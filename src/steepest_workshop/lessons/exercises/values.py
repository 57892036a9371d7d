"""Exercises in which a learner writes a function of numbers: a forward pass, a gradient, a standard error, a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Answer, Exercise, judge_values
from .trials import Outcome, Trial

Array = NDArray[np.float64]
_rng = np.random.default_rng(3)
CASES: dict[str, list[tuple[Any, ...]]] = {}  # the inputs that an answer is tried on


def forward(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Any:
    return np.maximum(x @ W1.T + b1, 0) @ W2.T + b2


def cross_entropy(scores: Array, labels: Array) -> float:
    scores = scores - scores.max(1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())


def _each(scores: Array, labels: Array) -> Array:
    return np.array([cross_entropy(scores[k : k + 1], labels[k : k + 1]) for k in range(len(labels))])


def accuracy(scores: Array, labels: Array) -> float:
    return float((scores.argmax(1) == labels).mean())


def least_squares_gradient(X: Array, y: Array, w: Array) -> Array:
    return 2 * X.T @ (X @ w - y)


def closed_form(X: Array, y: Array) -> Any:
    return np.linalg.solve(X.T @ X, X.T @ y)


def power_gradient(w: Array, x: Array, y: float, power: float) -> Array:
    e = x @ w - y
    return np.asarray(power * abs(e) ** (power - 1) * np.sign(e) * x)


def standard_error(losses: Array) -> Array:
    return np.asarray(losses.std(0, ddof=1) / np.sqrt(len(losses)))


def inverse_time(t: int, k: float) -> float:
    return 1 / (1 + k * t)


def cosine(t: int, n: int, least: float) -> float:
    return least + (1 - least) / 2 * (1 + np.cos(np.pi * t / n))


def step_decay(epoch: int) -> float:
    return 0.5 ** (epoch // 5)


def multi_step(epoch: int) -> float:
    return 0.1 ** sum(epoch >= milestone for milestone in (50, 80, 100))


def lambda_rate(epoch: int) -> float:
    return 100 * 0.65**epoch


def dropout(x: Array, kept: Array, p: float) -> Array:
    return x * kept / (1 - p)


def batch_norm(x: Array) -> Array:
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return np.asarray((x - mean) / np.sqrt(variance + 1e-5))


def plateau(accuracies: Sequence[float]) -> float:
    rate, best = 1.0, -np.inf
    for accuracy in accuracies:
        if accuracy > best:
            best = accuracy
        else:
            rate *= 0.1
    return rate


def kind(H: Array) -> int:
    values = np.linalg.eigvalsh(H)
    return 1 if (values > 0).all() else -1 if (values < 0).all() else 0


def _exercise(
    oracle: Callable[..., Any],
    task: str,
    hints: tuple[str, str, str],
    cases: Sequence[tuple[Any, ...]],
    *slips: tuple[str, Callable[..., Any]],
    also: Sequence[tuple[str, Callable[..., Any]]] = (),
) -> Exercise:
    def judge(outcome: Outcome) -> Answer:
        return judge_values(outcome, oracle, cases, slips, also)

    CASES[oracle.__name__] = list(cases)
    return Exercise(oracle.__name__, task, hints, oracle, lambda: Trial("values", tuple(cases)), judge, slips)


def _layers(n: int) -> tuple[Array, ...]:
    return tuple(_rng.normal(size=shape) for shape in ((n, 4), (5, 4), (5,), (3, 5), (3,)))


_scores = [(_rng.normal(size=(n, 4)) * 3, _rng.integers(0, 4, n)) for n in (6, 3)]
_table = [(_rng.normal(size=(7, 2)), _rng.normal(size=7)) for _ in range(2)]

VALUES = (
    _exercise(
        forward,
        "`mine(x, W1, b1, W2, b2)`: a layer, ReLU, a layer; x is (batch, inputs), W is (outputs, inputs) as torch keeps it.",
        (
            "Inputs times weights, plus biases.",
            "x @ W1.T + b1; ReLU is np.maximum(…, 0).",
            "np.maximum(x @ W1.T + b1, 0) @ W2.T + b2",
        ),
        [_layers(6), _layers(1)],
        ("is the ReLU missing?", lambda x, a, b, c, d: (x @ a.T + b) @ c.T + d),
        (
            "is there a ReLU after the last layer too?",
            lambda x, a, b, c, d: np.maximum(np.maximum(x @ a.T + b, 0) @ c.T + d, 0),
        ),
        ("are the first biases missing?", lambda x, a, b, c, d: np.maximum(x @ a.T, 0) @ c.T + d),
        ("are the last biases missing?", lambda x, a, b, c, d: np.maximum(x @ a.T + b, 0) @ c.T),
        ("is that the absolute value?", lambda x, a, b, c, d: np.abs(x @ a.T + b) @ c.T + d),
    ),
    _exercise(
        cross_entropy,
        "`mine(scores, labels)`: the mean of minus the logarithm of the softmax at the right class. Scores may be in the "
        "hundreds: take each row's largest off first, which changes nothing.",
        (
            "Softmax, then the logarithm.",
            "log softmax = scores - log(sum(exp(scores))).",
            "s = scores - scores.max(1, keepdims=True); "
            "-(s - np.log(np.exp(s).sum(1, keepdims=True)))[range(len(labels)), labels].mean()",
        ),
        [*_scores, (_scores[0][0] * 300, _scores[0][1])],
        ("is it the sum, not the mean?", lambda s, y: cross_entropy(s, y) * len(y)),
        ("is the logarithm missing?", lambda s, y: -np.exp(-_each(s, y)).mean()),
        ("is the sign the other way?", lambda s, y: -cross_entropy(s, y)),
        ("is the logarithm to base 10 or 2?", lambda s, y: cross_entropy(s, y) / np.log(10)),
        (
            "is the sum taken over the examples? It goes over the classes",
            lambda s, y: float(-(s - np.log(np.exp(s).sum(0)))[np.arange(len(y)), y].mean()),
        ),
    ),
    _exercise(
        accuracy,
        "`mine(scores, labels)`: the share of examples whose largest score is at their label.",
        ("np.argmax over the classes.", "scores.argmax(1) == labels", "(scores.argmax(1) == labels).mean()"),
        [*_scores],
        ("is it in per cent? A share is asked for", lambda s, y: 100 * accuracy(s, y)),
        ("is it the number, not the share?", lambda s, y: accuracy(s, y) * len(y)),
        ("is that the share of errors?", lambda s, y: 1 - accuracy(s, y)),
    ),
    _exercise(
        least_squares_gradient,
        "`mine(X, y, w)`: the gradient of the sum of squared errors, |X w - y| ** 2.",
        ("Differentiate one square: 2 e x.", "All at once: X.T times the errors.", "2 * X.T @ (X @ w - y)"),
        [(X, y, _rng.normal(size=2)) for X, y in _table],
        ("is the 2 missing?", lambda X, y, w: X.T @ (X @ w - y)),
        ("is it the mean's gradient? The sum's is asked for", lambda X, y, w: 2 * X.T @ (X @ w - y) / len(y)),
        ("is the error y - X w? Then the sign is the other way", lambda X, y, w: -2 * X.T @ (X @ w - y)),
    ),
    _exercise(
        closed_form,
        "`mine(X, y)`: the w that makes |X w - y| ** 2 least.",
        ("Set the gradient to 0.", "X.T X w = X.T y.", "np.linalg.solve(X.T @ X, X.T @ y)"),
        _table,
        ("is the inverse missing?", lambda X, y: X.T @ y),
        ("does the sign go the other way?", lambda X, y: -closed_form(X, y)),
    ),
    _exercise(
        power_gradient,
        "`mine(w, x, y, power)`: the gradient of |x w - y| ** power for one example.",
        (
            "The chain rule: outer power, then the absolute value, then the line.",
            "The slope of |e| is the sign of e.",
            "power * abs(e) ** (power - 1) * np.sign(e) * x",
        ),
        [(_rng.normal(size=3), _rng.normal(size=3), y, p) for p, y in ((2.0, 9.0), (3.0, 9.0), (0.7, 9.0), (1.0, -9.0))],
        (
            "is the absolute value missing? A power of a negative error loses its sign, or is not a number",
            lambda w, x, y, p: p * (x @ w - y) ** (p - 1) * x,
        ),
        ("is the sign of the error missing?", lambda w, x, y, p: p * abs(x @ w - y) ** (p - 1) * x),
        ("is the power not lowered by 1?", lambda w, x, y, p: p * abs(x @ w - y) ** p * np.sign(x @ w - y) * x),
        ("is the factor `power` missing?", lambda w, x, y, p: abs(x @ w - y) ** (p - 1) * np.sign(x @ w - y) * x),
        ("is that the gradient for power 2 only?", lambda w, x, y, p: 2 * (x @ w - y) * x),
        ("is the error y - x w?", lambda w, x, y, p: -power_gradient(w, x, y, p)),
    ),
    _exercise(
        standard_error,
        "`mine(losses)`: the standard error of the mean at each time; losses is (replicates, times). The deviation may divide "
        "by n - 1, or by n as the document's does.",
        (
            "Deviation over the replicates, then over the root of how many.",
            "axis 0, ddof=1.",
            "losses.std(0, ddof=1) / np.sqrt(len(losses))",
        ),
        [(_rng.normal(size=(10, 4)),), (_rng.normal(size=(3, 2)) + 5,)],
        ("is the root of n missing?", lambda a: a.std(0, ddof=1)),
        ("is the root of n missing?", lambda a: a.std(0)),
        ("is it divided by n, not by its root?", lambda a: a.std(0, ddof=1) / len(a)),
        ("is that the variance?", lambda a: a.var(0, ddof=1) / np.sqrt(len(a))),
        ("is that the 2.5-fold, the bar of the picture?", lambda a: 2.5 * standard_error(a)),
        also=(
            (
                "it is the document's, by n; by n - 1 (ddof=1) it is larger, by 5 % for ten replicates",
                lambda a: a.std(0) / np.sqrt(len(a)),
            ),
        ),
    ),
    _exercise(
        inverse_time,
        "`mine(t, k)`: the multiplier of the rate after t steps of 1/t decay.",
        ("At t = 0 it is 1.", "alpha = alpha0 / (1 + k t).", "1 / (1 + k * t)"),
        [(0, 0.1), (1, 0.1), (30, 0.5)],
        ("is the 1 in the denominator missing?", lambda t, k: 1 / (k * t) if t else np.inf),
        ("does t begin at 1?", lambda t, k: 1 / (1 + k * (t + 1))),
        ("is that the exponential decay?", lambda t, k: np.exp(-k * t)),
    ),
    _exercise(
        cosine,
        "`mine(t, n, least)`: the multiplier in step t of n, from 1 down to `least` along a cosine.",
        (
            "Half a wave of the cosine, from 1 to -1.",
            "(1 + cos(pi t / n)) / 2 goes from 1 to 0.",
            "least + (1 - least) / 2 * (1 + np.cos(np.pi * t / n))",
        ),
        [(0, 10, 0.0), (3, 10, 0.0), (10, 10, 0.1), (7, 20, 0.2)],
        ("is `least` only added? Then it begins above 1", lambda t, n, a: a + (1 + np.cos(np.pi * t / n)) / 2),
        ("is `least` missing? It does not fall to 0", lambda t, n, a: (1 + np.cos(np.pi * t / n)) / 2),
        ("is the half missing?", lambda t, n, a: a + (1 - a) * (1 + np.cos(np.pi * t / n))),
        ("is pi missing?", lambda t, n, a: a + (1 - a) / 2 * (1 + np.cos(t / n))),
        ("is that a whole wave?", lambda t, n, a: a + (1 - a) / 2 * (1 + np.cos(2 * np.pi * t / n))),
    ),
    _exercise(
        step_decay,
        "`mine(epoch)`: the multiplier of a rate that is halved every 5 epochs, counted from 0.",
        ("It stays for five epochs.", "epoch // 5 halvings.", "0.5 ** (epoch // 5)"),
        [(0,), (4,), (5,), (14,)],
        ("is it halved a little in every epoch?", lambda e: 0.5 ** (e / 5)),
        ("is it halved in every epoch?", lambda e: 0.5**e),
        ("is it halved one epoch early?", lambda e: 0.5 ** ((e + 1) // 5)),
        ("is it divided by 10?", lambda e: 0.1 ** (e // 5)),
    ),
    _exercise(
        multi_step,
        "`mine(epoch)`: the multiplier of MultiStepLR with milestones 50, 80, 100 and gamma 0.1.",
        (
            "Count the milestones passed.",
            "A milestone counts from its own epoch on.",
            "0.1 ** sum(epoch >= m for m in (50, 80, 100))",
        ),
        [(0,), (49,), (50,), (79,), (80,), (95,), (100,)],
        ("does it drop an epoch late?", lambda e: 0.1 ** sum(e > m for m in (50, 80, 100))),
        ("is gamma 0.5?", lambda e: 0.5 ** sum(e >= m for m in (50, 80, 100))),
        ("does it drop once only?", lambda e: 0.1 ** (e >= 50)),
    ),
    _exercise(
        lambda_rate,
        "`mine(epoch)`: the rate of LambdaLR in an epoch, from 100, with the function 0.65 ** epoch.",
        ("The first rate times the function.", "In epoch 0 it is 100.", "100 * 0.65 ** epoch"),
        [(0,), (1,), (9,)],
        ("is the first rate missing?", lambda e: 0.65**e),
        (
            "is the function applied to the rate of before, again and again, from epoch 1?",
            lambda e: 100 * 0.65 ** (e * (e + 1) / 2),
        ),
        ("is it times the epoch?", lambda e: 100 * 0.65 * e),
        ("does the epoch begin at 1?", lambda e: 100 * 0.65 ** (e + 1)),
    ),
    _exercise(
        dropout,
        "`mine(x, kept, p)`: dropout in training; `kept` is 1 where a unit stays and 0 where it is left out, with chance p.",
        ("Left-out units are 0.", "The others are scaled so that the mean stays.", "x * kept / (1 - p)"),
        [(_rng.normal(size=(3, 4)), (_rng.random((3, 4)) > p).astype(float), p) for p in (0.5, 0.2)],
        ("is the scaling missing? Then the mean falls", lambda x, k, p: x * k),
        ("is it divided by p? The share that stays is 1 - p", lambda x, k, p: x * k / p),
        ("is it times 1 - p? That is done in use, by another convention", lambda x, k, p: x * k * (1 - p)),
        ("are the wrong units left out?", lambda x, k, p: x * (1 - k) / (1 - p)),
    ),
    _exercise(
        batch_norm,
        "`mine(x)`: BatchNorm of (N, C, H, W) without weights, with epsilon 1e-5 under the root.",
        (
            "Each channel has its own mean and variance.",
            "Mean and variance over N, H and W: axes 0, 2 and 3.",
            "(x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)",
        ),
        [(mean + scale * _rng.normal(size=(4, 3, 2, 2)),) for mean, scale in ((3, 2), (0, 3e-3))],  # a variance near epsilon
        ("is that over the batch alone?", lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)),
        ("is that over the channels too?", lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-5)),
        (
            "is that LayerNorm, over C, H and W?",
            lambda x: (x - x.mean((1, 2, 3), keepdims=True)) / np.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5),
        ),
        (
            "is that InstanceNorm, over H and W alone?",
            lambda x: (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5),
        ),
        (
            "is the variance divided by n - 1?",
            lambda x: (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True, ddof=1) + 1e-5),
        ),
        ("is the root missing?", lambda x: (x - x.mean((0, 2, 3), keepdims=True)) / (x.var((0, 2, 3), keepdims=True) + 1e-5)),
    ),
    _exercise(
        plateau,
        "`mine(accuracies)`: the multiplier after these epochs; it falls to a tenth after each no better than the best.",
        (
            "Remember the best so far.",
            "Patience is 0: one bad epoch is enough.",
            "rate, best = 1, -inf; for each: if better, keep it, else rate *= 0.1",
        ),
        [([90.0, 91.0, 92.0],), ([90.0, 89.0, 91.0, 90.5],), ([90.0, 90.0],), ([90.0, 80.0, 85.0],)],
        (
            "is it compared with the epoch before, not with the best?",
            lambda a: 0.1 ** sum(b <= c for b, c in zip(a[1:], a[:-1], strict=True)),
        ),
        ("is an equal epoch taken for better?", lambda a: 0.1 ** sum(x < max(a[:i]) for i, x in enumerate(a) if i)),
        ("is it mode 'min'?", lambda a: 0.1 ** sum(x >= min(a[:i]) for i, x in enumerate(a) if i)),
    ),
    _exercise(
        kind,
        "`mine(H)`: 1 if a point of rest with this Hessian is a minimum, -1 if a maximum, 0 if a saddle.",
        ("The signs of the eigenvalues.", "np.linalg.eigvalsh.", "all positive: 1; all negative: -1; else 0"),
        [(np.diag([2.0, 1.0]),), (np.diag([-2.0, -1.0]),), (np.diag([2.0, -1.0]),), (np.array([[1.0, 3.0], [3.0, 1.0]]),)],
        (
            "do you look at the diagonal? The eigenvalues decide",
            lambda H: 1 if (np.diag(H) > 0).all() else -1 if (np.diag(H) < 0).all() else 0,
        ),
        ("do you look at the determinant alone? Of a maximum it is positive too", lambda H: 1 if np.linalg.det(H) > 0 else 0),
    ),
)
