"""Exercises in which a learner writes one step of an optimizer, in NumPy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steepest.paths.loop import Formula, trajectory
from steepest.rules import Rule, get

from ... import mutants
from .engine import Answer, Exercise, judge_steps, steps_trial, world
from .trials import Outcome, follow

Array = NDArray[np.float64]
RATE = 0.1
SIGNATURE = (
    "(w, g, t, state)` returns the new w. g is the gradient at w, t counts steps from 1, state is an empty dict at first"
)
# what a rule with one error looks like to who wrote it
SLIPS = {
    "beta": "is a beta where 1 - beta belongs, or the other way round?",
    "bias": "did you leave out the bias correction?",
    "eps": "does epsilon stand elsewhere, under the root or outside it?",
    "root": "is a square root missing?",
    "sign": "does a sign point the wrong way?",
}
FORGETFUL = "is your state lost between steps? Put it back into `state`"
UNDER = "is epsilon under the root, as some documents print it? Here it stands outside"
LATE = "does your t begin at 0? It counts from 1"


def sgd(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    return w - 0.1 * g


def momentum(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    state["v"] = 0.9 * state.get("v", 0.0) + 0.1 * g
    return w - state["v"]


def nesterov(w: Array, slope: Callable[[Array], Array], t: int, state: dict[str, Any]) -> Array:
    v = state.get("v", np.zeros_like(w))
    state["v"] = 0.9 * v + 0.1 * slope(w - 0.9 * v)
    return w - state["v"]


def adagrad(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    state["G"] = state.get("G", 0.0) + g**2
    return w - 0.1 * g / (np.sqrt(state["G"]) + 1e-8)


def rmsprop(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    state["v"] = 0.9 * state.get("v", 0.0) + 0.1 * g**2
    return w - 0.1 * g / (np.sqrt(state["v"]) + 1e-8)


def adam(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    return w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def adabelief(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    s = state["s"] = 0.999 * state.get("s", 0.0) + 0.001 * (g - m) ** 2 + 1e-8
    return w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)


def adadelta(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    v = state["v"] = 0.9 * state.get("v", 0.0) + 0.1 * g**2
    move = np.sqrt(state.get("d", 0.0) + 1e-6) / np.sqrt(v + 1e-6) * g
    state["d"] = 0.9 * state.get("d", 0.0) + 0.1 * move**2
    return w - move


def _without_state(oracle: Callable[..., Any]) -> Callable[..., Any]:
    return lambda w, g, t, state: oracle(w, g, t, {})


def _from_zero(oracle: Callable[..., Any]) -> Callable[..., Any]:
    def step(w: Array, g: Array, t: int, state: dict[str, Any]) -> Any:
        with np.errstate(all="ignore"):
            return oracle(w, g, t - 1, state)

    return step


def _plain(rule: Any, hyper: Mapping[str, Any], gradients: Array, start: Array) -> Array:
    """The points of a rule, with an error or without, along gradients that do not depend on where it is."""
    dims = len(start)
    formula = Formula.of(
        lambda *x: sum(a * b for a, b in zip(x[:dims], x[dims:], strict=True)), lambda *x: x[dims:], dims, dims
    )
    batches = np.arange(len(gradients))[:, None]
    with np.errstate(all="ignore"):
        more = {"lr": RATE} | {name: value for name, value in hyper.items() if name in ("lr", *rule.hyper)}
        return trajectory(rule, formula, start, len(gradients), data=gradients, batches=batches, **more)[0][1:]


def _paths(
    oracle: Callable[..., Any],
    rule: str,
    hyper: Mapping[str, Any],
    wrong: tuple[tuple[str, Callable[..., Any]], ...],
    sloped: bool,
) -> Iterator[tuple[str, Array]]:
    """Paths with a usual mistake, the cheap ones first: this exercise's own, and those of the rule's mutants."""
    gradients, start = world()
    for words, function in wrong:
        with np.errstate(all="ignore"):
            yield words, np.array(list(follow(function, gradients, start, sloped)))
    if not sloped:
        yield from _mutants(get(rule), tuple(hyper.items()))


@functools.cache
def _mutants(rule: Rule, hyper: tuple[tuple[str, Any], ...]) -> list[tuple[str, Array]]:
    """What a rule's mutants look like, and their paths; they take a second, and every wrong answer is compared with them."""
    made = mutants.of(rule, dict(hyper))
    return [(SLIPS[what.partition(":")[0]], _plain(wrong, dict(hyper), *world())) for what, wrong in made]


def _exercise(
    oracle: Callable[..., Any],
    words: str,
    hints: tuple[str, str, str],
    rule: str = "",
    hyper: Mapping[str, Any] | None = None,
    more: tuple[tuple[str, Callable[..., Any]], ...] = (),
    sloped: bool = False,
) -> Exercise:
    name = oracle.__name__
    kept = () if name in ("sgd", "adagrad") else ((FORGETFUL, _without_state(oracle)),)
    wrong = (*more, *kept, *(((LATE, _from_zero(oracle)),) if name in ("adam", "adabelief") else ()))

    def judge(outcome: Outcome) -> Answer:
        return judge_steps(outcome, oracle, lambda: _paths(oracle, rule or name, hyper or {}, wrong, sloped), name, sloped)

    signature = (
        SIGNATURE.replace("w, g,", "w, slope,").replace("g is the gradient at w", "slope(at) is the gradient at a point")
        if sloped
        else SIGNATURE
    )
    return Exercise(name, f"{words} `{name}{signature}.", hints, oracle, lambda: steps_trial(sloped), judge, wrong)


STEPS = (
    _exercise(
        sgd,
        "A step of gradient descent at a rate of 0.1.",
        (
            "Which way does the loss fall?",
            "Against the gradient: a minus sign.",
            "The step is the rate times the gradient; return w less that step.",
        ),
        "gd",
        more=(("is the rate missing, or another one?", lambda w, g, t, state: w - g),),
    ),
    _exercise(
        momentum,
        "A step of momentum: v = 0.9 v + 0.1 g, then w - v.",
        (
            "The velocity v lasts from step to step: where do you store it?",
            "Read it with `state.get('v', 0.0)`, and write the new one to `state['v']`.",
            "The new v is 0.9 of the old one and a tenth of g; only then does v move w.",
        ),
        "sgd",
        {"momentum": 0.9, "rate_inside": True},
        (
            ("is there one 0.1 too many: 1 - 0.9, or the rate twice?", lambda w, g, t, state: _ema_momentum(w, g, state)),
            ("is it the v of before that moves w? Renew v first", lambda w, g, t, state: _late_momentum(w, g, state)),
        ),
    ),
    _exercise(
        nesterov,
        "A step of Nesterov's momentum: v = 0.9 v + 0.1 times the gradient at w - 0.9 v, then w - v.",
        (
            "The gradient is taken where the old velocity leads.",
            "A step is w - v, so that the old velocity leads to w less 0.9 times v.",
            "Call `slope` there, renew v with it as momentum does, store v in `state`, and take it off w.",
        ),
        more=(
            ("is the gradient taken at w? It belongs to w - 0.9 v", lambda w, slope, t, state: momentum(w, slope(w), t, state)),
            ("does the lookahead go backwards? It is w - 0.9 v", lambda w, slope, t, state: _behind(w, slope, state)),
            ("does the lookahead leave out 0.9?", lambda w, slope, t, state: _full(w, slope, state)),
            ("does the step go uphill? It is w - v", lambda w, slope, t, state: 2 * w - nesterov(w, slope, t, state)),
        ),
        sloped=True,
    ),
    _exercise(
        adagrad,
        "A step of Adagrad at 0.1: the gradient over the root of the sum of its squares so far, plus 1e-8 outside the root.",
        (
            "What is divided by what? The gradient, by something that remembers all gradients.",
            "The sum of squares lasts in `state`, a number for each coordinate; add g ** 2 to it first.",
            "Then 0.1 g over the root of the sum; 1e-8 is added to the root, not to the sum.",
        ),
        "adagrad",
        {"eps": 1e-8},
        (
            (
                "is that the last square only? They are summed, in `state`",
                lambda w, g, t, state: w - 0.1 * g / (np.abs(g) + 1e-8),
            ),
            ("is that an average? Adagrad sums", lambda w, g, t, state: rmsprop(w, g, t, state)),
            (UNDER, lambda w, g, t, state: _adagrad_under(w, g, state)),
            ("does the sum go on over the coordinates? Each has its own", lambda w, g, t, state: _pooled(w, g, state)),
        ),
    ),
    _exercise(
        rmsprop,
        "A step of RMSprop at 0.1: the gradient over the root of an average of its squares (beta 0.9), plus 1e-8.",
        (
            "As Adagrad, but with an average that forgets.",
            "0.9 of the old average and 0.1 of the new square; it begins at 0 and lasts in `state`.",
            "Then 0.1 g over the root of the average; 1e-8 is added to the root.",
        ),
        "rmsprop",
        {"alpha": 0.9},
        more=(
            ("are the squares summed? RMSprop averages", lambda w, g, t, state: adagrad(w, g, t, state)),
            (UNDER, lambda w, g, t, state: _rmsprop_under(w, g, state)),
            ("is beta 0.99? Here it is 0.9", lambda w, g, t, state: _rmsprop_under(w, g, state, 0.99, 0.0, 1e-8)),
        ),
    ),
    _exercise(
        adam,
        "A step of Adam at 0.1 with betas 0.9 and 0.999 and epsilon 1e-8, outside the root.",
        (
            "Two averages last in `state`: m of the gradient, and v of its square.",
            "m forgets with 0.9, v with 0.999. Both begin at 0, which is why they are corrected.",
            "m over 1 - 0.9 ** t, v over 1 - 0.999 ** t; then 0.1 times the one over the root of the other plus 1e-8.",
        ),
        more=(
            (
                "are the averages divided by 1 - beta at every step? It is 1 - beta ** t",
                lambda w, g, t, state: adam(w, g, 1, state),
            ),
            (UNDER, lambda w, g, t, state: _adam_under(w, g, t, state)),
            ("is the step returned, not the new w?", lambda w, g, t, state: adam(w, g, t, state) - w),
            ("are beta1 and beta2 swapped?", lambda w, g, t, state: _adam_under(w, g, t, state, 0.999, 0.9, 0.0, 1e-8)),
            ("did you leave out both bias corrections?", lambda w, g, t, state: _uncorrected(w, g, state)),
        ),
    ),
    _exercise(
        adabelief,
        "A step of AdaBelief at 0.1: Adam with an average of (g - m) squared, to which 1e-8 is added at every step.",
        (
            "Only the second average differs from Adam's.",
            "It averages the square of the gradient's distance from m, the new m; then 1e-8 is added to it, and stays in it.",
            "Both averages are corrected as Adam's are, by 1 - beta ** t, and 1e-8 is added to the root once more.",
        ),
        "adabelief",
        {"eps": 1e-8},
        (
            ("is that Adam's g ** 2? The square is of g - m", lambda w, g, t, state: _with_eps(w, g, t, state)),
            ("is that g less the m of before? Take the new m", lambda w, g, t, state: _old_belief(w, g, t, state)),
        ),
    ),
    _exercise(
        adadelta,
        "A step of Adadelta at rho 0.9 and epsilon 1e-6: the gradient times the root of the average square of past moves, plus "
        "epsilon, over the root of the average square of gradients, plus epsilon; both under their roots.",
        (
            "It has no rate: the moves so far give a move its size.",
            "Two averages last in `state`: of squared gradients, renewed before a move, and of squared moves, renewed after.",
            "The move is g, times the root of the average of moves plus 1e-6, over the root of that of gradients plus 1e-6.",
        ),
        "adadelta",
        {"lr": 1.0},
        (
            ("is the rate of 0.1 in it? Adadelta needs none", lambda w, g, t, state: w + 0.1 * (adadelta(w, g, t, state) - w)),
            ("is the average one of gradients, not of moves?", lambda w, g, t, state: _of_gradients(w, g, state)),
        ),
    ),
)


def _ema_momentum(w: Array, g: Array, state: dict[str, Any]) -> Array:
    state["v"] = 0.9 * state.get("v", 0.0) + 0.1 * 0.1 * g
    return np.asarray(w - state["v"])


def _late_momentum(w: Array, g: Array, state: dict[str, Any]) -> Array:
    v = state.get("v", np.zeros_like(w))
    state["v"] = 0.9 * v + 0.1 * g
    return np.asarray(w - v)


def _old_belief(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    before = state.get("m", 0.0)
    m = state["m"] = 0.9 * before + 0.1 * g
    s = state["s"] = 0.999 * state.get("s", 0.0) + 0.001 * (g - before) ** 2 + 1e-8
    return np.asarray(w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8))


def _of_gradients(w: Array, g: Array, state: dict[str, Any]) -> Array:
    before = state.get("v", 0.0)
    v = state["v"] = 0.9 * before + 0.1 * g**2
    return np.asarray(w - np.sqrt(before + 1e-6) / np.sqrt(v + 1e-6) * g)


def _behind(w: Array, slope: Callable[[Array], Array], state: dict[str, Any]) -> Array:
    v = state.get("v", np.zeros_like(w))
    state["v"] = 0.9 * v + 0.1 * slope(w + 0.9 * v)
    return np.asarray(w - state["v"])


def _full(w: Array, slope: Callable[[Array], Array], state: dict[str, Any]) -> Array:
    v = state.get("v", np.zeros_like(w))
    state["v"] = 0.9 * v + 0.1 * slope(w - v)
    return np.asarray(w - state["v"])


def _pooled(w: Array, g: Array, state: dict[str, Any]) -> Array:
    state["G"] = state.get("G", 0.0) + (g**2).sum()
    return np.asarray(w - 0.1 * g / (np.sqrt(state["G"]) + 1e-8))


def _uncorrected(w: Array, g: Array, state: dict[str, Any]) -> Array:
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    return np.asarray(w - 0.1 * m / (np.sqrt(v) + 1e-8))


def _with_eps(w: Array, g: Array, t: int, state: dict[str, Any]) -> Array:
    m = state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    s = state["s"] = 0.999 * state.get("s", 0.0) + 0.001 * g**2 + 1e-8
    return np.asarray(w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8))


def _adam_under(
    w: Array,
    g: Array,
    t: int,
    state: dict[str, Any],
    beta1: float = 0.9,
    beta2: float = 0.999,
    inside: float = 1e-8,
    outside: float = 0.0,
) -> Array:
    m = state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    return np.asarray(w - 0.1 * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t) + inside) + outside))


def _rmsprop_under(
    w: Array, g: Array, state: dict[str, Any], beta: float = 0.9, inside: float = 1e-8, outside: float = 0.0
) -> Array:
    v = state["v"] = beta * state.get("v", 0.0) + (1 - beta) * g**2
    return np.asarray(w - 0.1 * g / (np.sqrt(v + inside) + outside))


def _adagrad_under(w: Array, g: Array, state: dict[str, Any]) -> Array:
    state["G"] = state.get("G", 0.0) + g**2
    return np.asarray(w - 0.1 * g / np.sqrt(state["G"] + 1e-8))
