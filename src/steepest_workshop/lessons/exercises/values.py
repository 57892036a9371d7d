"""Exercises in which a learner writes a function of numbers: a forward pass, a loss, a gradient, a schedule."""

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
ORACLES: dict[str, Callable[..., Any]] = {}


def forward(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Any:
    return np.maximum(x @ W1.T + b1, 0) @ W2.T + b2


def cross_entropy(scores: Array, labels: Array) -> float:
    scores = scores - scores.max(1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())


def _softmax(scores: Array) -> Array:
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


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


def power_loss(w: Array, x: Array, y: float, power: float) -> Any:
    return abs(x @ w - y) ** power


def replicate_mean(losses: Array) -> Any:
    return losses.mean(0)


def standard_error(losses: Array) -> Array:
    return np.asarray(losses.std(0, ddof=1) / np.sqrt(len(losses)))


def dropout(x: Array, kept: Array, p: float) -> Array:
    return x * kept / (1 - p)


def batch_norm(x: Array) -> Array:
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return np.asarray((x - mean) / np.sqrt(variance + 1e-5))


def kind(H: Array) -> int:
    values = np.linalg.eigvalsh(H)
    return 1 if (values > 0).all() else -1 if (values < 0).all() else 0


NETWORK = """
class Network(nn.Module):
    def __init__(self, inputs=784, hidden=100, outputs=10):
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.relu = nn.ReLU()
        self.last = nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.last(self.relu(self.first(x)))
"""
LOSS = """
def cross_entropy(scores, labels):
    logs = scores - scores.logsumexp(1, keepdim=True)
    return -logs[torch.arange(len(labels)), labels].mean()
"""


def exercise(
    oracle: Callable[..., Any],
    task: str,
    hints: tuple[str, str, str],
    cases: Sequence[tuple[Any, ...]],
    *slips: tuple[str, Callable[..., Any]],
    solution: str = "",
    kind: str = "values",
    also: Sequence[tuple[str, Callable[..., Any]]] = (),
) -> Exercise:
    """`kind` is that of the trial. An answer in torch has a `solution` in torch; `also` are other answers that are right."""

    def judge(outcome: Outcome) -> Answer:
        return judge_values(outcome, oracle, cases, slips, also)

    CASES[oracle.__name__], ORACLES[oracle.__name__] = list(cases), oracle
    return Exercise(oracle.__name__, task, hints, solution or oracle, lambda: Trial(kind, tuple(cases)), judge, slips)


def _either(wrong: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that also takes tensors."""
    return lambda *args: wrong(*map(np.asarray, args))


def _layers(n: int) -> tuple[Array, ...]:
    return tuple(_rng.normal(size=shape) for shape in ((n, 4), (5, 4), (5,), (3, 5), (3,)))


_scores = [(_rng.normal(size=(n, 4)) * 3, _rng.integers(0, 4, n)) for n in (6, 3)]
_few = _scores[0][0].argmax(1) * [1, 1, 1, 1, 1, 0]  # labels, all right but the last
_CURVATURES = [[2.0, 1.0], [-2.0, -1.0], [2.0, -1.0], [3.0, 1.0, 2.0], [-1.0, -2.0, -3.0], [1.0, -1.0, -2.0], [3.0, 3.0, -1.0]]
_CURVATURES += [[1.0, 2.0, 3.0, -1.0]]  # a saddle by one of four
_table = [(_rng.normal(size=(7, 2)), _rng.normal(size=7)) for _ in range(2)]

VALUES = (
    exercise(
        forward,
        "`forward(self, x)` of the class returns the scores (batch, outputs) of images (batch, inputs): a layer, ReLU, a "
        'layer. Pass the class: `check("forward", Network)`.',
        (
            "`self.first`, `self.relu` and `self.last` are functions: call them.",
            "What one returns is what the next one takes; in which order?",
            "ReLU stands between the two layers; the scores themselves may be negative. Do not forget `return`.",
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
        ("is that the softmax of the scores? The loss takes it", lambda *args: _softmax(forward(*args))),
        ("is that the log softmax of the scores? The loss takes it", lambda *args: np.log(_softmax(forward(*args)))),
        solution=NETWORK,
        kind="network",
    ),
    exercise(
        cross_entropy,
        "`cross_entropy(scores, labels)` returns the mean of minus the logarithm of the softmax at the right class, in torch. "
        "Scores may be in the hundreds, where `exp` overflows.",
        (
            "The logarithm of the softmax is the score less log(sum(exp(scores))), the sum over the row.",
            "`scores.logsumexp(1, keepdim=True)` computes that logarithm without overflow.",
            "Of the log probabilities take row k's at labels[k], with `torch.arange(len(labels))` as rows; then mean and sign.",
        ),
        [*_scores, (_scores[0][0] * 300, _scores[0][1])],
        ("is it the sum, not the mean?", _either(lambda s, y: cross_entropy(s, y) * len(y))),
        ("is the logarithm missing?", _either(lambda s, y: -np.exp(-_each(s, y)).mean())),
        ("is the sign the other way?", _either(lambda s, y: -cross_entropy(s, y))),
        ("is the logarithm to base 10 or 2?", _either(lambda s, y: cross_entropy(s, y) / np.log(10))),
        ("is the softmax taken twice?", _either(lambda s, y: cross_entropy(_softmax(s), y))),
        ("is the softmax missing?", _either(lambda s, y: -s[np.arange(len(y)), y].mean())),
        (
            "is the sum taken over the examples? It goes over the classes",
            _either(lambda s, y: float(-(s - np.log(np.exp(s).sum(0)))[np.arange(len(y)), y].mean())),
        ),
        solution=LOSS,
        kind="tensors",
    ),
    exercise(
        accuracy,
        "`accuracy(scores, labels)` returns the share of examples, from 0 to 1, whose largest score is at their label; scores "
        "is (examples, classes).",
        (
            "First the class that each row says, then whether it is the label.",
            "`scores.argmax` needs the axis of the classes.",
            "A comparison of two arrays is an array of True and False, and the mean of that is a share.",
        ),
        [*_scores, (_scores[0][0], _few)],
        ("is it in per cent? A share is asked for", lambda s, y: 100 * accuracy(s, y)),
        ("is it the number, not the share?", lambda s, y: accuracy(s, y) * len(y)),
        ("is that the share of errors?", lambda s, y: 1 - accuracy(s, y)),
    ),
    exercise(
        least_squares_gradient,
        "`least_squares_gradient(X, y, w)` returns the gradient (features,) of the sum of squared errors, |X w - y| ** 2.",
        (
            "One example first: what is the derivative of e ** 2, with e = x w - y?",
            "It is 2 e x. Over all examples these are summed, not averaged.",
            "The errors are `X @ w - y`; `X.T @` sums over the examples, each times its x.",
        ),
        [(X, y, _rng.normal(size=2)) for X, y in _table],
        ("is the 2 missing?", lambda X, y, w: X.T @ (X @ w - y)),
        ("is it the mean's gradient? The sum's is asked for", lambda X, y, w: 2 * X.T @ (X @ w - y) / len(y)),
        ("is the error y - X w? Then the sign is the other way", lambda X, y, w: -2 * X.T @ (X @ w - y)),
    ),
    exercise(
        closed_form,
        "`closed_form(X, y)` returns the w (features,) that makes |X w - y| ** 2 least.",
        (
            "At the least point the gradient is 0.",
            "That is a system of linear equations for w, as many as there are features.",
            "`np.linalg.solve(A, b)` solves A w = b. Which A and which b do the normal equations have?",
        ),
        _table,
        ("is the inverse missing?", lambda X, y: X.T @ y),
        ("does the sign go the other way?", lambda X, y: -closed_form(X, y)),
    ),
    exercise(
        power_gradient,
        "`power_gradient(w, x, y, power)` returns the gradient (10,) of |x w - y| ** power by w, of one example x (10,).",
        (
            "The chain rule, three factors: of the power, of the absolute value, and of the line.",
            "The power's factor is power times |e| to the power less 1; the slope of |e| is the sign of e.",
            "The line's factor is x. `np.sign(e)` is the sign; all three are multiplied.",
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
    exercise(
        power_loss,
        "`power_loss(w, x, y, power)` returns the loss |x w - y| ** power, a number, of one example x (10,).",
        (
            "First the error, x w - y, a number.",
            "An error may be negative, and a negative number to the power 0.4 is none.",
            "Take the absolute value of the error, and only then the power.",
        ),
        [(_rng.normal(size=3), _rng.normal(size=3), y, p) for p, y in ((3.0, 9.0), (0.7, 9.0), (2.0, -9.0))],
        (
            "is the absolute value missing? A negative error to such a power is negative, or not a number",
            lambda w, x, y, p: (x @ w - y) ** p,
        ),
        ("is the power missing?", lambda w, x, y, p: abs(x @ w - y)),
        ("is that the square, whatever the power?", lambda w, x, y, p: (x @ w - y) ** 2),
        ("is it divided by the power? The gradient has its factor instead", lambda w, x, y, p: power_loss(w, x, y, p) / p),
    ),
    exercise(
        replicate_mean,
        "`replicate_mean(losses)` returns the mean loss (times,) at each time over replicates; losses is (replicates, times).",
        (
            "At each time, over all replicates: which axis goes away?",
            "Replicates are the rows, axis 0.",
            "`losses.mean` takes the axis to average over.",
        ),
        [(_rng.normal(size=(4, 4)),), (_rng.normal(size=(10, 3)) + 5,)],
        ("is it the sum, not the mean?", lambda a: a.sum(0)),
        ("is that the median?", lambda a: np.median(a, 0)),
        ("is that the least, not the mean?", lambda a: a.min(0)),
    ),
    exercise(
        standard_error,
        "`standard_error(losses)` returns the standard error (times,) of the mean at each time; losses is (replicates, times). "
        "The deviation divides the squares by n - 1, or by n as the document's does.",
        (
            "The deviation over the replicates, divided by the root of their number.",
            "NumPy's `std` divides the squares by n. Its `ddof` says how much less than n it should be.",
            "`ddof=1` makes it n - 1; the axis is 0. Then divide by the root of `len(losses)`.",
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
    exercise(
        dropout,
        "`dropout(x, kept, p)` returns what dropout makes of x in training; `kept`, of the same shape, is 0 where a unit is "
        "left out, which has chance p, and 1 where it stays. Its mean over many draws of `kept` is x.",
        (
            "A unit that is left out is 0.",
            "What is the mean of x times `kept` over many draws, and what is it short by?",
            "A unit stays with chance 1 - p, so that the mean is (1 - p) x: scale it back.",
        ),
        [(_rng.normal(size=(3, 4)), (_rng.random((3, 4)) > p).astype(float), p) for p in (0.5, 0.2)],
        ("is the scaling missing? Then the mean falls", lambda x, k, p: x * k),
        ("is it divided by p? The share that stays is 1 - p", lambda x, k, p: x * k / p),
        ("is it times 1 - p? That is done in use, by another convention", lambda x, k, p: x * k * (1 - p)),
        ("are the wrong units left out?", lambda x, k, p: x * (1 - k) / (1 - p)),
    ),
    exercise(
        batch_norm,
        "`batch_norm(x)` returns BatchNorm in training of x (N, C, H, W), without weights, with epsilon 1e-5 under the root.",
        (
            "Each channel has its own mean and variance, over everything else.",
            "N, H and W are axes 0, 2 and 3; `keepdims=True` leaves shapes that fit x. `x.var` divides by n, as is wanted.",
            "Take the mean off, and divide by the root of the variance plus 1e-5.",
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
    exercise(
        kind,
        "`kind(H)` returns 1 if a stationary point with this Hessian (d, d) is a minimum, -1 if a maximum, 0 if a saddle.",
        (
            "The curvatures along the Hessian's own directions decide, not those along the axes.",
            "They are its eigenvalues; `np.linalg.eigvalsh` computes those of a symmetric matrix.",
            "In a minimum it curves up in every direction, in a maximum down in every one; `(values > 0).all()`.",
        ),
        [(np.diag(each),) for each in _CURVATURES] + [(np.array([[1.0, 3.0], [3.0, 1.0]]),)],
        (
            "do you look at the diagonal? The eigenvalues decide",
            lambda H: 1 if (np.diag(H) > 0).all() else -1 if (np.diag(H) < 0).all() else 0,
        ),
        ("do you look at the determinant alone? Of a maximum it is positive too", lambda H: 1 if np.linalg.det(H) > 0 else 0),
    ),
)
