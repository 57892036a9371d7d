"""What the documents say in words, each put to an experiment with a number: on surfaces, and on MNIST."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .. import schedules
from ..api import compare
from ..engines import planner
from ..engines.descent import descend
from ..engines.together import Run
from ..engines.trajectory import Formula, formula_of, trajectory
from ..problems import surfaces
from ..rules import RULES, Rule, get
from ..rules.rule import rule, zeros
from . import Row, claim
from .tutorial import document

Array = NDArray[np.float64]
MANY = 200  # noisy paths


def on_surfaces() -> Iterator[Row]:
    """The claims that a surface can decide."""
    yield _escapes()
    yield from _bounded()
    yield _damps()
    yield _amsgrad()
    yield _freezes()
    yield _rootless()
    yield _flat()
    yield _sparse()


def _share(hits: NDArray[Any]) -> tuple[float, float, float]:
    """A share, and its 95 % interval (Wilson)."""
    found = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(hits.mean()), float(found.low), float(found.high)


def _noisy_ends(formula: Formula, chosen: Rule, start: float, lr: float, noise: float, steps: int = 1000) -> Array:
    """Where noisy paths from a point end, (MANY,)."""
    ends = []
    for seed in range(MANY):
        shaken = noise * np.random.default_rng(seed).standard_normal((steps, 1))
        ends.append(float(trajectory(chosen, formula, (start,), steps, lr=lr, noise=shaken)[0][-1, 0]))
    return np.array(ends)


def _escapes() -> Row:
    """A shallow minimum at 1.2 beside a deep one at -1.3, with and without the noise of single examples."""
    formula = formula_of(surfaces.get("x**4 - 3*x**2 + x"))
    noisy = _share(_noisy_ends(formula, get("sgd"), 1.1, 0.02, 10.0) < 0)
    still = _share(_noisy_ends(formula, get("sgd"), 1.1, 0.02, 0.0) < 0)
    words = (
        f"of {MANY} paths from the shallow minimum {noisy[0]:.0%} ({noisy[1]:.0%} to {noisy[2]:.0%}) end in the deep one with "
    )
    words += f"gradient noise, {still[0]:.0%} without"
    return claim("001", "the bouncing of SGD helps it escape local minima", words, noisy[1] > still[2])


def _bounded() -> Iterator[Row]:
    """Adam's step on four surfaces in units of the rate, and under a gradient a thousand times larger."""
    largest, within_one = 0.0, []
    for name in ("rosenbrock", "beale", "rastrigin", "valley"):
        surface = surfaces.get(name)
        points, _ = trajectory(get("adam"), formula_of(surface), surface.start, 1000, lr=0.01)
        sizes = np.abs(np.diff(points, axis=0)) / 0.01
        largest = max(largest, float(sizes.max()))
        within_one.append(float((sizes <= 1 + 1e-9).mean()))
    words = f"the longest step of a coordinate is {largest:.2f} rates, {min(within_one):.0%} or more are at most one"
    yield claim("003", "the step of Adam is bounded by its rate, approximately", words, largest < 1.5)
    plain, scaled = (formula_of(surfaces.get(f)) for f in ("(1-x)**2 + 100*(y-x**2)**2", "1000*((1-x)**2 + 100*(y-x**2)**2)"))
    for name, called in (("adam", "Adam"), ("sgd", "SGD")):
        lr = 0.01 if name == "adam" else 1e-6
        one, other = (trajectory(get(name), f, (-1.2, 1.0), 1000, lr=lr)[0] for f in (plain, scaled))
        apart = float(np.abs(one - other).max())
        if name == "adam":
            words = f"a loss 1,000 times larger moves no point of {called}'s path by more than {apart:.1e}"
            yield claim("003", "the step of Adam does not feel the gradient's scale", words, apart < 1e-3)
        else:
            words = f"the same moves {called}'s path by {apart:.2g}"
            yield claim("003", "plain descent does feel it", words, apart > 0.1)


def _damps() -> Row:
    valley = surfaces.get("valley")
    found = descend(valley, [get("momentum"), get("rmsprop")], valley.start, 100, {"momentum": 0.02, "rmsprop": 0.05})
    turns = [int((np.diff(np.sign(path.points[:, 1])) != 0).sum()) for path in found.paths]
    words = f"across the valley momentum changes sides {turns[0]} times in 100 steps, RMSprop {turns[1]}"
    return claim("003", "RMSprop restricts oscillation across the valley", words, turns[1] < turns[0] / 2)


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
    return claim("001", "a rate that decays too fast freezes", f"height after 400 steps: {words}", left[0.8] > 100 * left[1.0])


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
        found = descend(surface, [get("adagrad"), rootless()], surface.start, 300, {})
        a, b = (float(path.values[-1]) for path in found.paths)
        parts.append(f"{name} {a:.1e} against {b:.1e}")
        worse.append(b > a)
    words = f"tuned heights after 300 steps with and without the root: {', '.join(parts)}"
    return claim("001", "Adagrad without the square root is much worse", words, all(worse) or (None if any(worse) else False))


def _flat() -> Row:
    """A sharp and a flat minimum of equal depth, from starts all over, with noise."""
    formula = formula_of(surfaces.get("-exp(-30*(x+1)**2) - exp(-2*(x-1)**2) + x**2/50"))
    shares = {}
    for name, lr in (("sgd", 0.01), ("momentum", 0.001), ("adam", 0.1)):
        shares[name] = _share(_noisy_ends(formula, get(name), -1.0, lr, 10.0) > 0)
    told = ", ".join(f"{name} {share:.0%} ({low:.0%} to {high:.0%})" for name, (share, low, high) in shares.items())
    words = f"of noisy paths that start in the sharp minimum, in the flat one end: {told}"
    return claim("001", "Adam prefers flat minima", words, None if shares["adam"][1] <= shares["sgd"][2] else True)


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
    left = {}
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
    words = (
        f"largest error of a weight after 1,000 examples at the best rate: SGD {left['sgd']:.2g}, Adagrad {left['adagrad']:.2g}"
    )
    return claim("001", "Adagrad works well with sparse features", words, left["adagrad"] < left["sgd"])


def on_mnist(say: Callable[[str], None]) -> Iterator[Row]:
    """The claims that need a network: the shape of the decay, and Adam's epsilon."""
    say("001: schedules on MNIST at equal tuning")
    problem = document()
    names = "step(gamma=0.3),exponential,inverse_time,cosine"
    study = compare(problem, "momentum", schedules=names, store=":memory:")
    told = [f"{e.candidate.schedule} {e.summary()[0]:.2f} +- {e.summary()[1]:.2f}" for e in study.result.entries]
    step = next(e.candidate.label for e in study.result.entries if e.candidate.schedule.startswith("step"))
    own = [v for v in study.result.verdicts if step in (v.a, v.b)]
    better, worse = (any(v.verdict == "better" and side == step for v in own for side in (getattr(v, s),)) for s in ("a", "b"))
    words = f"momentum on MNIST, 1,000 steps, per cent: {', '.join(told)}"
    yield claim("001", "step decay is slightly preferable", words, True if better and not worse else False if worse else None)
    say("001: Adam's epsilon")
    runs = [Run(get("adam"), 0.001, seed, 1000, test=True, hyper={"eps": eps}) for eps in EPSILONS for seed in range(5)]
    found = dict(planner.train_all(problem, runs, planner.choose(problem, runs)))
    table = np.array([found[i].test for i in range(len(runs))], float).reshape(len(EPSILONS), 5)
    parts = [f"{eps:g}: {row.mean():.2f} +- {stats.sem(row):.2f}" for eps, row in zip(EPSILONS, table, strict=True)]
    top, usual = int(table.mean(1).argmax()), EPSILONS.index(1e-8)
    gain = table[top] - table[usual]
    half = float(stats.t.ppf(0.975, len(gain) - 1) * stats.sem(gain)) if top != usual else 0.0
    words = f"accuracy after 1,000 steps at rate 0.001 by epsilon: {', '.join(parts)}"
    words += f"; the best, {EPSILONS[top]:g}, gains {gain.mean():+.2f} +- {half:.2f} over 1e-8"
    yield claim("001", "the default epsilon 1e-8 may not be the best", words, bool(gain.mean() > half))


EPSILONS = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3)
