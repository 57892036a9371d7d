"""The updates and schedules that the documents print as formulas, each in plain Python, beside what is to be it."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steepest import schedules, surfaces
from steepest.paths.loop import formula_of, trajectory
from steepest.rules import get
from steepest.schedules import Schedule

from . import FORMULA, Row, definitions, kept, power, slipped
from .power import Block
from .rivals import Setting

Array = NDArray[np.float64]
Slope = Callable[[Array], Array]
STEPS, RATE = 100, 0.002
SAME = 1e-13  # relative: a hundred steps of rounding leave less than a fiftieth of it
EPS = 0.01  # so that where it stands is felt


class Printed(NamedTuple):
    """A printed update: its document, its words, the rule that is to be it with what it needs, and the update as a loop.

    `step(p, slope, t, memory)` gives the next point; `memory` is a dict that begins empty.
    """

    source: str
    words: str
    rule: str
    hyper: dict[str, Any]
    step: Callable[[Array, Slope, int, dict[str, Any]], Array]
    rate: float = RATE  # the rule's, where it is not the formula's


def _plain(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    return np.asarray(p - RATE * slope(p))


def _heavy(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    memory["v"] = 0.9 * memory.get("v", 0.0) + RATE * slope(p)
    return np.asarray(p - memory["v"])


def _mean(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    memory["v"] = 0.9 * memory.get("v", 0.0) + 0.1 * slope(p)
    return np.asarray(p - RATE * memory["v"])


def _ahead(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    v = memory.get("v", np.zeros(2))
    memory["v"] = 0.9 * v + RATE * slope(p - 0.9 * v)
    return np.asarray(p - memory["v"])


def _rolling(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    memory["z"] = 0.9 * memory.get("z", 0.0) - RATE * slope(p)
    return np.asarray(p + memory["z"])


def _foreseen(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    z = memory.get("z", np.zeros(2))
    memory["z"] = 0.9 * z - RATE * slope(p + 0.9 * z)
    return np.asarray(p + memory["z"])


def _summed(inside: bool, eps: float) -> Callable[..., Array]:
    def step(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
        g = slope(p)
        memory["G"] = memory.get("G", 0.0) + g**2
        return np.asarray(p - RATE * g / (np.sqrt(memory["G"] + eps) if inside else np.sqrt(memory["G"]) + eps))

    return step


def _averaged(beta: float, eps: float) -> Callable[..., Array]:
    def step(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
        g = slope(p)
        memory["v"] = beta * memory.get("v", 0.0) + (1 - beta) * g**2
        return np.asarray(p - RATE * g / (np.sqrt(memory["v"]) + eps))

    return step


def _moments(inside: bool, belief: bool = False) -> Callable[..., Array]:
    """Adam's update; with `belief` AdaBelief's, which adds eps at every step to its average of (g - m) squared."""

    def step(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
        g = slope(p)
        m = memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * g
        away, more = (g - m, EPS) if belief else (g, 0.0)
        v = memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * away**2 + more
        mean, variance = m / (1 - 0.9**t), v / (1 - 0.999**t)
        return np.asarray(p - RATE * mean / (np.sqrt(variance + EPS) if inside else np.sqrt(variance) + EPS))

    return step


def _cube(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    """MADGRAD with c = 1 - momentum; its k counts from 0."""
    start, scale = memory.setdefault("start", p), RATE * np.sqrt(t)
    g = slope(p)
    memory["s"] = memory.get("s", 0.0) + scale * g
    memory["nu"] = memory.get("nu", 0.0) + scale * g * g
    z = start - memory["s"] / (np.cbrt(memory["nu"]) + EPS)
    return np.asarray(0.9 * p + 0.1 * z)


def _nesterov_moments(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    """Adan in the paper's letters, where beta is the share of what is new; m and n begin as g and g * g; a decay of 0.1."""
    b1, b2, b3 = 0.02, 0.08, 0.01
    g = slope(p)
    if t == 1:
        memory |= {"m": g, "v": np.zeros(2), "n": g**2, "g": g}
    d = g - memory["g"]
    if t > 1:
        memory["m"] = (1 - b1) * memory["m"] + b1 * g
        memory["v"] = d if t == 2 else (1 - b2) * memory["v"] + b2 * d
        memory["n"] = (1 - b3) * memory["n"] + b3 * (g + (1 - b2) * d) ** 2
    memory["g"] = g
    step = RATE * (memory["m"] + (1 - b2) * memory["v"]) / (np.sqrt(memory["n"]) + EPS)
    return np.asarray((p - step) / (1 + 0.1 * RATE))


def _schedule_free(p: Array, slope: Slope, t: int, memory: dict[str, Any]) -> Array:
    """Schedule-Free AdamW with ten steps of warm-up and a decay of 0.1; p is y, where gradients are taken."""
    x, z = memory.get("x", p), memory.get("z", p)
    g, rate = slope(p), RATE * min(1, t / 10)
    v = memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * g**2
    z = z - rate * g / (np.sqrt(v / (1 - 0.999**t)) + EPS) - rate * 0.1 * p
    squares = memory["squares"] = memory.get("squares", 0.0) + rate**2
    c = rate**2 / squares
    x = (1 - c) * x + c * z
    memory |= {"x": x, "z": z}
    return np.asarray(0.1 * z + 0.9 * x)


PRINTED = (
    Printed("000", "theta - eta * gradient", "gd", {}, _plain),
    Printed("000", "v = gamma * v + eta * gradient; theta - v", "sgd", {"momentum": 0.9, "rate_inside": True}, _heavy),
    Printed("001", "w - alpha * g", "gd", {}, _plain),
    Printed("001", "z = beta * z - alpha * g; w + z", "sgd", {"momentum": 0.9, "rate_inside": True}, _rolling),
    Printed("001", "z = beta * z - alpha * g(w + beta * z); w + z", "nesterov_lookahead", {"momentum": 0.9}, _foreseen),
    Printed("001", "w - alpha / sqrt(G + eps) * g", "adagrad", {"eps": EPS, "eps_inside": True}, _summed(True, EPS)),
    Printed("001", "w - alpha / sqrt(E[g2]) * g", "rmsprop", {"alpha": 0.9, "eps": 0.0}, _averaged(0.9, 0.0)),
    Printed("001", "w - alpha / (sqrt(v_hat) + eps) * m_hat", "adam", {"eps": EPS}, _moments(False)),
    Printed("001", "AdaBelief: s of (g - m) squared, + eps each step", "adabelief", {"eps": EPS}, _moments(False, belief=True)),
    Printed("001", "MADGRAD: x0 - s / (cbrt(nu) + eps)", "madgrad", {"eps": EPS}, _cube),
    Printed(
        "001",
        "Adan: m, v and n of the gradient and its change, with decay",
        "adan",
        {"paper_start": True, "eps": EPS, "weight_decay": 0.1},
        _nesterov_moments,
    ),
    Printed(
        "001",
        "Schedule-Free AdamW: warm-up, y, z and x",
        "schedule_free_adamw",
        {"eps": EPS, "warmup_steps": 10.0, "weight_decay": 0.1},
        _schedule_free,
    ),
    Printed("002", "momentum x previous step + gradient step", "sgd", {"momentum": 0.9}, _heavy),
    Printed("002", "momentum x previous step, then a gradient step there", "nesterov_lookahead", {"momentum": 0.9}, _ahead),
    Printed("002", "AdaGrad: eta / (eps + sqrt(V))", "adagrad", {"eps": EPS}, _summed(False, EPS)),
    Printed("002", "RMSprop: eta / (eps + sqrt(V))", "rmsprop", {"alpha": 0.999, "eps": EPS}, _averaged(0.999, EPS)),
    Printed("002", "Adam: alpha * m / sqrt(v + eps)", "adam", {"eps": EPS}, _moments(True)),
    Printed("003", "theta - alpha * gradient", "gd", {}, _plain),
    Printed("003", "v = gamma * v + alpha * gradient; theta - v", "sgd", {"momentum": 0.9, "rate_inside": True}, _heavy),
    Printed("003", "v = gamma * v + alpha * gradient(theta - gamma * v)", "nesterov_lookahead", {"momentum": 0.9}, _ahead),
    Printed("003", "v = beta * v + (1 - beta) * dw; W - alpha * v", "sgd", {"momentum": 0.9}, _mean, 0.1 * RATE),
    Printed("003", "Adam: theta - eta / (sqrt(v_hat) + eps) * m_hat", "adam", {"eps": EPS}, _moments(False)),
    Printed("003", "Adam, algorithm 1", "adam", {"eps": EPS}, _moments(False)),
    Printed("003", "RMSprop: G to the power -1/2", "rmsprop", {"alpha": 0.9, "eps": 0.0}, _averaged(0.9, 0.0)),
    Printed("003", "RMSprop: dw / (sqrt(v) + eps)", "rmsprop", {"alpha": 0.9, "eps": EPS}, _averaged(0.9, EPS)),
    Printed("004", "its program's SGD", "gd", {}, _plain),
    Printed("004", "its program's Adam", "adam", {"eps": EPS}, _moments(False)),
)


def walked(step: Callable[..., Array]) -> Array:
    """The points of a printed update on Beale's function, (STEPS + 1, 2)."""
    surface = surfaces.get("beale")
    points, memory = [np.array(surface.start)], dict[str, Any]()
    for t in range(1, STEPS + 1):
        points.append(step(points[-1], surface.gradient, t, memory))
    return np.array(points)


def blocks(number: str) -> Iterator[Block]:
    """The printed updates of a document."""
    for printed in PRINTED:
        if printed.source == number:
            setting = Setting(get(printed.rule), printed.rate, printed.hyper)
            made_of = kept.digest(sys.modules[__name__])
            yield Block(number, f"formula {printed.words}", setting, functools.partial(_rows, printed), made_of)


def _rows(printed: Printed, setting: Setting) -> list[Row]:
    surface, right = surfaces.get("beale"), walked(printed.step)
    with np.errstate(all="ignore"):
        more = {k: v for k, v in setting.hyper.items() if k in setting.rule.hyper}
        ours = trajectory(setting.rule, formula_of(surface), surface.start, STEPS, lr=setting.lr, **more)[0]
        apart = float(np.abs(ours - right).max() / np.abs(right).max())
    holds = bool(apart <= SAME)
    name, found = f"formula: {printed.words}", f"{printed.rule} within {apart:.1e}"
    why = "paper, torch and the rule here have epsilon outside the root; on the assignment it moves the accuracies (000)"
    why = "" if holds else why if "sqrt(v + eps)" in name else "another"
    row = Row(printed.source, name, FORMULA, found, SAME, holds, why)
    return [dataclasses.replace(row, same=f"{printed.rule} {printed.hyper} {np.round(right[-1], 9)}")]


class Decay(NamedTuple):
    """A printed schedule: its document, its words, ours, the rate in step t of n by its formula, and usual wrong formulas."""

    source: str
    words: str
    ours: Schedule
    formula: Callable[[int, int], float]
    wrong: tuple[Callable[[int, int], float], ...]


N, K = 120, 0.05  # steps of a run, and the k of its formulas
DECAYS = (
    Decay(
        "001",
        "alpha0 * exp(-k * t)",
        schedules.exponential(k=K),
        lambda t, n: math.exp(-K * t),
        (lambda t, n: math.exp(-K * t / n), lambda t, n: math.exp(K * t), lambda t, n: (1 - K) ** t),
    ),
    Decay(
        "001",
        "alpha0 / (1 + k * t)",
        schedules.inverse_time(K),
        lambda t, n: 1 / (1 + K * t),
        (lambda t, n: 1 / (1 + K * (t + 1)), lambda t, n: 1 / (1 + K) ** t, lambda t, n: 1 / (1 + K * t) ** 2),
    ),
    Decay(
        "001",
        "alpha_min + (alpha0 - alpha_min) / 2 * (1 + cos(t / t_max * pi))",
        schedules.cosine(floor=0.1),
        lambda t, n: 0.1 + (1 - 0.1) / 2 * (1 + math.cos(t / n * math.pi)),
        (
            lambda t, n: 0.1 + (1 + math.cos(t / n * math.pi)) / 2,
            lambda t, n: (1 + math.cos(t / n * math.pi)) / 2,
            lambda t, n: 0.1 + (1 - 0.1) / 2 * (1 + math.cos(t / (n - 1) * math.pi)),
        ),
    ),
    Decay(
        "001",
        "half every 5 epochs, of 10 steps here",
        schedules.step(50, 0.5),
        lambda t, n: 0.5 ** (t // 50),
        (lambda t, n: 0.5 ** (t / 50), lambda t, n: 0.5 ** (t // 51), lambda t, n: 0.5 ** ((t + 1) // 50)),
    ),
    Decay(
        "001",
        "a tenth every 20 epochs, of 2 steps here",
        schedules.step(40, 0.1),
        lambda t, n: 0.1 ** (t // 40),
        (lambda t, n: 0.1 ** (t / 40), lambda t, n: 0.1 ** (t // 41), lambda t, n: 0.9 ** (t // 40)),
    ),
    Decay(
        "002",
        "lr_initial * lambda(epoch), 0.65 ** epoch",
        schedules.exponential(gamma=0.65),
        lambda t, n: float(0.65**t),
        (lambda t, n: float(0.65 ** (t + 1)), lambda t, n: 0.65 * t, lambda t, n: math.exp(-0.65 * t)),
    ),
)


def _decays(number: str) -> Iterator[Row]:
    """Printed schedules over a run: the formula, its wrong versions and a document's other schedules, step by step."""
    for decay in DECAYS:
        if decay.source != number:
            continue
        values = np.array(decay.ours.values(N))

        def apart(formula: Callable[[int, int], float], values: Array = values) -> float:
            return float(np.abs(values - [formula(t, N) for t in range(N)]).max())

        away, others = apart(decay.formula), [(other.words, other.formula) for other in DECAYS if other is not decay]
        usual = [(f"usual slip {k}", wrong) for k, wrong in enumerate(decay.wrong, 1)]
        tried = [*usual, *others, *slipped.variants(decay.formula)]
        held = [what for what, wrong in tried if slipped.comes_to(functools.partial(apart, wrong), SAME)]
        row = Row(number, f"schedule: {decay.words}", FORMULA, f"within {away:.1e} over {N} steps", SAME, away <= SAME)
        yield power.told(row, held) if row.holds else dataclasses.replace(row, reason="another")


def rows(number: str) -> Iterator[Row]:
    """Whether the rules are the printed updates, over a hundred steps on Beale's function, and the schedules the formulas."""
    for block in blocks(number):
        yield from block.made()
    yield from _decays(number)
    yield from definitions.rows(number)
