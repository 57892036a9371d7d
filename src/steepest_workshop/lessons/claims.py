"""What the documents say in words, each put to an experiment with a number: on surfaces, and on MNIST."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from steepest import schedules, surfaces
from steepest.paths.descent import descend
from steepest.paths.loop import Formula, formula_of, trajectory
from steepest.rules import RACE, RULES, Rule, get
from steepest.rules.definition import rule, zeros

from . import ALIKE, MUCH, ON_EDGE, Row, agreed, batches, claim, edge, shares, spread
from .compared import UNDECIDED

Array = NDArray[np.float64]
SEEN = 0.01  # of the way: the width of a drawn line
MANY = 200  # noisy paths
SEEDS = 20  # of trainings


@functools.cache
def on_surfaces() -> tuple[Row, ...]:
    """The claims that a surface can decide."""
    return (
        *_escapes(),
        *_rates(),
        _settles(),
        *_momentum(),
        *shares.rows(),
        _widths(),
        *_shrinks(),
        *_bounded(),
        *_damps(),
        _amsgrad(),
        _freezes(),
        _rootless(),
        _flat(),
        _sparse(),
    )


def _share(hits: NDArray[Any]) -> tuple[float, float, float]:
    """A share, and its 95 % interval (Wilson)."""
    interval = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(hits.mean()), float(interval.low), float(interval.high)


def _noisy_ends(formula: Formula, chosen: Rule, start: float, lr: float, noise: float, steps: int = 1000) -> Array:
    """Where noisy paths from a point end, (MANY,)."""
    ends = []
    for seed in range(MANY):
        shaken = noise * np.random.default_rng(seed).standard_normal((steps, 1))
        ends.append(float(trajectory(chosen, formula, (start,), steps, lr=lr, noise=shaken)[0][-1, 0]))
    return np.array(ends)


def _escapes() -> Iterator[Row]:
    """A shallow minimum at 1.2 beside a deep one at -1.3, with the noise of single examples, of ten at a time, and without."""
    formula = formula_of(surfaces.get("x**4 - 3*x**2 + x"))
    shares = [_share(_noisy_ends(formula, get("sgd"), 1.1, 0.02, noise) < 0) for noise in (10.0, 10 / 10**0.5, 0.0)]
    noisy, few, still = (f"{share:.0%} ({low:.0%} to {high:.0%})" for share, low, high in shares)
    words = f"of {MANY} paths from the shallow minimum, in the deep one end {noisy} with gradient noise, {still} without"
    yield claim("001", "the bouncing of SGD helps it escape local minima", words, shares[0][1] > shares[2][2])
    words = f"with a tenth of the noise's variance {few} of them do, against {noisy}"
    apart = shares[1][2] < shares[0][1]
    holds = (True if shares[1][0] > shares[0][0] / ALIKE else None) if apart else None
    printed = "for mini-batches it is a little harder to escape local minima"
    yield claim("001", printed, words, holds, "harder, and not a little" if apart else UNDECIDED)


def _rates() -> Iterator[Row]:
    """Descent on a quadratic of largest curvature 50: it falls at every step for rates below 2/50, and grows above."""
    surface = surfaces.get("valley")
    bound = 2 / float(np.linalg.eigvalsh(surface.hessian(surface.start)).max())
    ends, falls = {}, {}
    for part in (0.0025, 0.25, 0.99, 1.01):
        heights = trajectory(get("sgd"), formula_of(surface), surface.start, 300, lr=part * bound)[1]
        ends[part], falls[part] = float(heights[-1]), bool((np.diff(heights) < 0).all())
    listing = ", ".join(f"{value:.2g} at {part:g} of it" for part, value in ends.items())
    words = f"the bound is 2 / largest curvature = {bound:g}; height after 300 steps {listing}"
    holds = ends[0.0025] > MUCH * ends[0.25] and ends[1.01] > ends[0.0025]
    yield claim("001", "too small a rate takes many iterations, too high a one may diverge", words, holds)
    words = (
        "every step goes down at " + ", ".join(f"{part:g}" for part, down in falls.items() if down) + " of that bound, not at "
    )
    words += ", ".join(f"{part:g}" for part, down in falls.items() if not down)
    yield claim(
        "001", "with a small enough rate every step of descent is an improvement", words, falls[0.99] and not falls[1.01]
    )


def _settles() -> Row:
    """Single examples at the best constant rate, and at one that falls to nothing in a straight line."""
    regression, epochs = batches.data(), 20
    lr, seeds = batches.best(regression, 1, epochs)[0], range(10)
    steps = len(batches.order(len(regression.x), 1, epochs))
    last, ends = [], {}
    for name, rates in (("constant", np.full(steps, lr)), ("falling", 3 * lr * (1 - np.arange(steps) / steps))):
        paths = [batches.excess(regression, batches.descend(regression, 1, epochs, rates, seed=seed)) for seed in seeds]
        ends[name] = np.array([path[-1] for path in paths])
        last += [path[-len(path) // epochs :] for path in paths] if name == "constant" else []
    bounce = np.mean([path.max() / path.min() for path in last])
    gain = ends["constant"] - ends["falling"]
    mean, half = spread(gain)
    words = f"in its last epoch the excess loss still goes up and down by a factor of {bounce:.0f}; it ends at "
    words += f"{ends['constant'].mean():.1e}, with a falling rate at {ends['falling'].mean():.1e} "
    words += f"(gain {mean:.1e} +- {half:.0e})"
    printed = "SGD bounces about the minimum, good but not optimal, unless its rate is reduced"
    return claim("001", printed, words, mean > half)


def _momentum() -> Iterator[Row]:
    """Beyond the minimum and back on three surfaces; nothing of it without momentum; its spread under noise."""
    beyond: dict[str, list[float]] = {name: [] for name in RACE}
    for name in ("valley", "beale", "bowl"):
        surface = surfaces.get(name)
        least = np.array(surface.minima[0] if surface.minima else (0.0, 0.0))
        for path in descend(surface, [get(called) for called in beyond], surface.start, 400).paths:
            start = path.points[0] - least
            beyond[path.name].append(max(0.0, -float((((path.points - least) @ start) / (start @ start)).min())))
    listing = ", ".join(f"{name} {max(parts):.0%}" for name, parts in beyond.items())
    words = f"furthest beyond the minimum of valley, Beale's function and a bowl, in parts of the way there: {listing}"
    holds = min(min(beyond[name]) for name in ("momentum", "nesterov")) > MUCH * max(beyond["sgd"]) + SEEN
    yield claim("001", "momentum-based methods overshoot", words, holds)
    formula, start = formula_of(surfaces.get("rosenbrock")), (-1.2, 1.0)
    one = trajectory(get("momentum"), formula, start, 1000, lr=1e-3, momentum=0.0)[0]
    apart = float(np.abs(one - trajectory(get("gd"), formula, start, 1000, lr=1e-3)[0]).max())
    words = f"the largest difference of 1,000 steps on Rosenbrock's function is {apart:g}"
    yield claim("001", "with momentum 0 gradient descent is recovered", words, apart == 0)
    formula, shaken = formula_of(surfaces.get("valley")), np.random.default_rng(0).standard_normal((20_000, 2))
    heights = [
        float(trajectory(get(name), formula, (0.0, 0.0), 20_000, lr=lr, noise=shaken)[1][2000:].mean())
        for name, lr in (("sgd", 0.01), ("momentum", 0.001), ("momentum", 0.01))
    ]
    words = (
        "mean height over the valley's minimum under gradient noise: SGD {:.2g} at rate 0.01; momentum 0.9 {:.2g} at 0.001, "
    )
    words += "which goes as far a step in a steady slope, {:.2g} at 0.01"
    varied = agreed(heights[0] > value for value in heights[1:])
    yield claim("000", "momentum lowers the variation of the loss", words.format(*heights), varied, "depends on the rate")


def _shrinks() -> Iterator[Row]:
    """The rate that a coordinate feels, its step over its gradient, along the valley at a rate of 0.01."""
    formula, start, felt, heights = formula_of(surfaces.get("valley")), surfaces.get("valley").start, {}, {}
    for name, lr in (("adagrad", 0.01), ("rmsprop", 0.01), ("adadelta", 1.0)):
        insides: dict[str, Array] = {}
        points, values = trajectory(get(name), formula, start, 1000, lr=lr, insides=insides)
        rates = np.abs(np.diff(points[:, 0]) / insides["g"][:, 0])
        felt[name], heights[name] = rates[-1] / rates[0], float(values[-1])
    words = f"after 1,000 steps Adagrad's rate is {felt['adagrad']:.2g} of its first and its height {heights['adagrad']:.2g}; "
    words += f"RMSprop's {felt['rmsprop']:.2g} and {heights['rmsprop']:.1g}"
    stuck = felt["adagrad"] < 1 / MUCH and heights["adagrad"] > MUCH * heights["rmsprop"]
    yield claim("002", "Adagrad's rate shrinks before the minimum is reached", words, stuck)
    yield claim("002", "RMSprop's rate does not shrink to nothing", words, felt["rmsprop"] > 1)
    words = f"after 1,000 steps the rate that Adadelta's first coordinate feels is {felt['adadelta']:.3g} times its first"
    yield claim("003", "Adadelta goes on learning after many updates", words, felt["adadelta"] > 1)


def _bounded() -> Iterator[Row]:
    """Adam's step on four surfaces in units of the rate, and under a gradient a thousand times larger."""
    largest = 0.0
    for name in ("rosenbrock", "beale", "rastrigin", "valley"):
        surface = surfaces.get(name)
        points, _ = trajectory(get("adam"), formula_of(surface), surface.start, 1000, lr=0.01)
        largest = max(largest, float(np.abs(np.diff(points, axis=0)).max()) / 0.01)
    words = f"the longest step of a coordinate in 1,000 steps on each of four surfaces is {largest:.3f} rates"
    yield claim("003", "the step of Adam is bounded by its rate, approximately", words, largest < ALIKE)
    plain, scaled = (formula_of(surfaces.get(f)) for f in ("(1-x)**2 + 100*(y-x**2)**2", "1000*((1-x)**2 + 100*(y-x**2)**2)"))
    apart = {}
    for name, lr in (("adam", 0.01), ("sgd", 1e-6)):
        one, other = (trajectory(get(name), f, (-1.2, 1.0), 1000, lr=lr)[0] for f in (plain, scaled))
        apart[name] = float(np.abs(one - other).max())
    words = (
        f"a loss 1,000 times larger moves no point of Adam's path by more than {apart['adam']:.1e}, SGD's by {apart['sgd']:.2g}"
    )
    yield claim("003", "the step of Adam does not feel the gradient's scale", words, apart["adam"] < apart["sgd"] / MUCH)


def _widths() -> Row:
    """How many of the rates of a grid bring an optimizer down."""
    parts, wider = [], []
    for name in ("valley", "rosenbrock", "beale"):
        surface, formula = surfaces.get(name), formula_of(surfaces.get(name))
        good = {}
        for chosen in ("sgd", "adagrad"):
            heights = [
                trajectory(get(chosen), formula, surface.start, 300, lr=float(lr))[1] for lr in 10.0 ** np.arange(-5, 2, 0.1)
            ]
            good[chosen] = 0.1 * sum(bool(each[-1] < each[0] / MUCH) for each in heights)
        parts.append(f"{name} {good['adagrad']:.1f} and {good['sgd']:.1f}")
        wider.append(good["adagrad"] > good["sgd"])
    words = f"decades of rates that end below a tenth of the first height after 300 steps, Adagrad and SGD: {', '.join(parts)}"
    return claim("001", "Adagrad alleviates the need to tune the rate", words, agreed(wider), "depends on the surface")


def _damps() -> Iterator[Row]:
    valley = surfaces.get("valley")
    descent = descend(valley, [get("momentum"), get("rmsprop")], valley.start, 100, {"momentum": 0.02, "rmsprop": 0.05})
    turns = [int((np.diff(np.sign(path.points[:, 1])) != 0).sum()) for path in descent.paths]
    words = f"across the valley momentum changes sides {turns[0]} times in 100 steps, RMSprop {turns[1]}"
    yield claim("003", "RMSprop restricts oscillation across the valley", words, turns[1] < turns[0] / ALIKE)


def _amsgrad() -> Row:
    """A gradient of 1010 once in 101 steps and -10 otherwise: its mean points down, Adam's average forgets it too soon."""
    formula = Formula.of(lambda x, c: c * x, lambda x, c: (c,), 1, 1)
    rows = np.array([[1010.0], [-10.0]])
    steps = 20_000
    batches = np.where(np.arange(steps) % 101 == 0, 0, 1)[:, None]
    ends = {}
    for amsgrad in (False, True):
        more: dict[str, Any] = {"amsgrad": amsgrad, "beta1": 0.0, "beta2": 0.99}
        points, _ = trajectory(get("adam"), formula, (0.0,), steps, lr=0.001, data=rows, batches=batches, **more)
        ends[amsgrad] = float(points[-1, 0])
    words = (
        f"where the mean gradient points down, Adam (betas 0, 0.99) goes to {ends[False]:+.2f}, AMSGrad to {ends[True]:+.3f}"
    )
    return claim("003", "Adam may fail to converge where AMSGrad does not", words, ends[False] > 0 > ends[True])


def _freezes() -> Row:
    surface = surfaces.get("valley")
    left = {}
    for gamma in (1.0, 0.98, 0.8):
        path = descend(surface, [get("sgd")], surface.start, 400, {"sgd": 0.03}, schedules.exponential(gamma=gamma)).paths[0]
        left[gamma] = float(path.values[-1])
    words = "; ".join(f"{value:.2g} with the rate times {gamma:g} a step" for gamma, value in left.items())
    return claim("001", "a rate that decays too fast freezes", f"height after 400 steps: {words}", left[0.8] > MUCH * left[1.0])


def rootless() -> Rule:
    """Adagrad without its square root, as the tutorial says that it is worse; not registered."""
    made = rule("the tutorial's aside on Adagrad", rate=0.1)(adagrad_without_root)
    del RULES[made.name]
    return made


def adagrad_without_root(p, g, t, G=zeros, *, lr=0.1, eps=1e-10):  # type: ignore[no-untyped-def]
    """p - lr * g / (the sum of squares + eps)."""
    G = G + g * g
    return p - lr * g / (G + eps), G


def _rootless() -> Row:
    parts, worse = [], []
    for name in ("rosenbrock", "beale", "valley"):
        surface = surfaces.get(name)
        descent = descend(surface, [get("adagrad"), rootless()], surface.start, 300, {})
        a, b = (float(path.values[-1]) for path in descent.paths)
        parts.append(f"{name} {a:.1e} against {b:.1e}")
        worse.append(b > a)
    words = f"tuned heights after 300 steps with and without the root: {', '.join(parts)}"
    return claim("001", "Adagrad without the square root is much worse", words, agreed(worse), "depends on the surface")


def _flat() -> Row:
    """A sharp and a flat minimum of equal depth: of noisy paths that start in one, the share that end in the other."""
    formula = formula_of(surfaces.get("-exp(-30*(x+1)**2) - exp(-2*(x-1)**2) + x**2/50"))
    parts, prefers = [], {}
    for name, rates in (("adam", (0.03, 0.1, 0.3)), ("sgd", (0.003, 0.01, 0.03)), ("momentum", (0.0003, 0.001, 0.003))):
        for lr in rates:
            sharp = _share(_noisy_ends(formula, get(name), -1.0, lr, 10.0) > 0)
            flat = _share(_noisy_ends(formula, get(name), 1.0, lr, 10.0) < 0)
            prefers[name, lr] = sharp[1] > flat[2]
            parts.append(
                f"{name} at {lr:g} {sharp[0]:.0%} and {flat[0]:.0%}{' (prefers the flat one)' if prefers[name, lr] else ''}"
            )
    words = f"share of noisy paths that leave a sharp and a flat minimum of equal depth: {', '.join(parts)}"
    holds = agreed(value for (name, _), value in prefers.items() if name == "adam")
    return claim("001", "Adam prefers flat minima", words, holds, "depends on the rate")


def _sparse() -> Row:
    """One feature in every example and one in a hundredth of them, equally important."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=2000), rng.normal(size=2000) * (rng.random(2000) < 0.01)])
    rows = np.column_stack([x, x @ np.ones(2)])
    formula = Formula.of(
        lambda a, b, u, v, y: (a * u + b * v - y) ** 2,
        lambda a, b, u, v, y: (2 * (a * u + b * v - y) * u, 2 * (a * u + b * v - y) * v),
        2,
        3,
    )
    left, inner = {}, True
    for name in ("sgd", "adagrad"):
        ends = []
        for lr in 10.0 ** np.arange(-3, 0.6, 0.25):
            errors = []
            for seed in range(5):
                batches = np.random.default_rng(seed).integers(2000, size=(1000, 1))
                points, _ = trajectory(get(name), formula, (0.0, 0.0), 1000, lr=lr, data=rows, batches=batches)
                errors.append(np.abs(points[-1] - 1).max())
            ends.append(float(np.nan_to_num(np.mean(errors), nan=np.inf)))
        left[name] = min(ends)
        inner &= not edge(ends.index(left[name]), len(ends))
    words = (
        f"largest error of a weight after 1,000 examples at the best rate: SGD {left['sgd']:.2g}, Adagrad {left['adagrad']:.2g}"
    )
    holds = left["adagrad"] < left["sgd"] if inner else None
    return claim("001", "Adagrad works well with sparse features", words, holds, ON_EDGE)
