"""What the documents explain in words or formulas without a number of their own, each as a small computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from steepest import schedules, surfaces
from steepest.paths.descent import descend
from steepest.paths.loop import Formula, formula_of, trajectory
from steepest.rules import RULES, Rule, box, get
from steepest.rules.definition import rule, zeros
from steepest.rules.vocabulary import debias, ema, sqrt
from steepest.update.torch_class.optimizer import build

from . import ALIKE, MUCH, Row, agreed, claim

CONSTANT = Formula.of(lambda x: x, lambda x: (1.0,), 1, 0)  # a gradient of 1 everywhere


def rows() -> Iterator[Row]:
    """All of them."""
    yield stops()
    yield _slow_decay()
    yield _heavier()
    yield _guaranteed()
    yield from _begins_at_zero()
    yield _eadam()
    yield from _belief()
    yield restarts()
    yield projected()
    yield averaged()
    yield evaluated()
    yield literal()
    yield _alike()
    yield from _regularizers()


def stops(chosen: Sequence[str] = ("valley", "saddle")) -> Row:
    """Descent until the gradient is all but zero, on surfaces, from the ridge where there is one; and what lies there."""
    parts, minima = [], []
    for name in chosen:
        surface, near = surfaces.get(name), 1e-12
        points, _ = trajectory(get("gd"), formula_of(surface), (1.0, 0.0), 4000, lr=0.03)
        sizes = np.linalg.norm(surface.gradient(points), axis=1)
        at = int((sizes < near).argmax())
        least = float(np.linalg.eigvalsh(surface.hessian(points[at]))[0])
        minima.append(sizes[at] < near and least > 0)
        parts.append(f"{name}: gradient {sizes[at]:.1e} after {at} steps, where the least curvature is {least:g}")
    words = f"{'; '.join(parts)}: a minimum only where it is positive"
    return claim("001", "once the gradient is zero, the minimum is reached", words, all(minima))


def _slow_decay() -> Row:
    """Decay that is too slow wastes steps: noisy descent bounces until the rate is small."""
    formula, steps = formula_of(surfaces.get("bowl")), 400
    ends = {}
    for gamma in (1.0, 0.999, 0.99):
        heights = []
        for seed in range(50):
            noise = np.random.default_rng(seed).standard_normal((steps, 2))
            rates = 0.3 * np.array(schedules.exponential(gamma=gamma).values(steps))
            heights.append(trajectory(get("gd"), formula, (-1.5, 1.0), steps, lr=rates, noise=noise)[1][-50:].mean())
        ends[gamma] = float(np.mean(heights))
    words = "mean height of the last 50 of 400 noisy steps on a bowl: "
    words += "; ".join(f"{value:.2g} with the rate times {gamma:g} a step" for gamma, value in ends.items())
    holds = ends[1.0] < ALIKE * ends[0.999] and ends[0.99] < ends[0.999] / ALIKE
    return claim("001", "decay slowly, and you bounce about with little improvement", words, holds)


def _heavier() -> Row:
    """Momentum 0.9 beside 0.99."""
    surface, ends = surfaces.get("valley(condition=1000)"), {}
    for steps in (100, 2000):
        for momentum in (0.9, 0.99):
            chosen = get(f"sgd(momentum={momentum})")
            ends[steps, momentum] = float(descend(surface, [chosen], surface.start, steps, {}).paths[0].values[-1])
    parts = [
        f"{ends[steps, 0.9]:.1e} with 0.9, {ends[steps, 0.99]:.1e} with 0.99 after {steps:,} steps" for steps in (100, 2000)
    ]
    words = f"heights of a valley of condition 1,000 at tuned rates: {'; '.join(parts)}"
    holds = agreed(ends[steps, 0.9] < ends[steps, 0.99] for steps in (100, 2000))
    otherwise = "depends on the steps: 0.99 swings longer and ends lower"
    return claim("000", "momentum is usually set to 0.9", words, holds, otherwise)


def _guaranteed() -> Row:
    """How the steps to a millionth of the height grow with a convex quadratic's condition, at the rates that theory gives.

    Nesterov 2004, Introductory lectures on convex optimization, theorems 2.1.15 and 2.2.3: as the condition, and as its root.
    """
    conditions, needed = (1e2, 1e4), dict[str, list[int]]()
    for condition in conditions:
        root, formula = condition**0.5, formula_of(surfaces.get(f"(x**2 + {condition:g}*y**2)/2"))
        descent = trajectory(get("gd"), formula, (1.0, 1.0), 60_000, lr=2 / (1 + condition))[1]
        more: dict[str, Any] = {"lr": 1 / condition, "momentum": (root - 1) / (root + 1)}
        ahead = trajectory(get("nesterov"), formula, (1.0, 1.0), 60_000, **more)[1]
        for name, heights in (("descent", descent), ("Nesterov", ahead)):
            needed.setdefault(name, []).append(int((heights < 1e-6 * heights[0]).argmax()))
    powers = {name: float(np.log10(steps[1] / steps[0]) / 2) for name, steps in needed.items()}
    words = "steps to a millionth of the height on quadratics of condition 100 and 10,000: "
    words += "; ".join(f"{name} {a:,} and {b:,}, as its power {powers[name]:.2f}" for name, (a, b) in needed.items())
    holds = powers["descent"] > 0.9 and powers["Nesterov"] < 0.6  # 1 and at most 1/2 in theory, up to logarithms
    return claim("001", "Nesterov's guarantee for convex functions is stronger", words, holds)


def _begins_at_zero() -> Iterator[Row]:
    """Averages that begin at zero lean towards it; dividing by 1 - beta ** t mends that, exactly for a constant gradient."""
    insides: dict[str, Any] = {}
    trajectory(get("adam"), CONSTANT, (0.0,), 50, lr=0.01, insides=insides)
    m, m_hat, v_hat = (np.ravel(insides[name]) for name in ("m", "m_hat", "v_hat"))
    apart = max(float(np.abs(m_hat - 1).max()), float(np.abs(v_hat - 1).max()))
    words = f"of a gradient that is 1 always the average is {m[0]:.2g} at step 1 and {m[9]:.2g} at step 10; "
    words += f"divided by 1 - beta ** t it is 1 within {apart:.0e} at each of 50 steps, and so is that of the squares"
    yield claim("001", "then we use an unbiased estimation", words, apart < 1e-12 and m[0] < 1 / ALIKE)
    made = _own(_undebiased, "Adam without its correction")
    points = {r.name: trajectory(r, CONSTANT, (0.0,), 3, lr=0.01)[0][:, 0] for r in (get("adam"), made)}
    first = {name: abs(float(path[1] - path[0])) / 0.01 for name, path in points.items()}
    words = f"its first step is {first['adam']:.3g} rates long with the correction, {first[made.name]:.3g} without"
    yield claim("003", "create unbiased estimates: without them the first steps are other", words, first[made.name] > ALIKE)


def _undebiased(p, g, t, m=zeros, v=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):  # type: ignore[no-untyped-def]
    m, v = ema(m, g, beta1), ema(v, g * g, beta2)
    return p - lr * m / (sqrt(v) + eps), m, v


def _eadam_step(p, g, t, m=zeros, v=zeros, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):  # type: ignore[no-untyped-def]
    m, v = ema(m, g, beta1), ema(v, g * g, beta2) + eps
    return p - lr * debias(m, beta1, t) / (sqrt(debias(v, beta2, t)) + eps), m, v


def _own(function: Any, reference: str) -> Rule:
    """A rule of a function here, in no registry."""
    made = rule(reference, rate=0.001)(function)
    del RULES[made.name]
    return made


def _eadam() -> Row:
    """EAdam adds epsilon to v at every step, so that it gathers to epsilon / (1 - beta2) there."""
    made, surface = _own(_eadam_step, "Yuan & Gao 2020, arXiv:2011.02150"), surfaces.get("plateau")
    apart = {}
    for eps in (1e-8, 1e-4):
        ends = [trajectory(r, formula_of(surface), surface.start, 200, lr=0.01, eps=eps)[0][-1] for r in (get("adam"), made)]
        apart[eps] = float(np.linalg.norm(ends[1] - ends[0]))
    words = "far out on a plateau, where gradients are near 0.01, its path ends "
    words += " and ".join(f"{value:.1e} from Adam's at epsilon {eps:g}" for eps, value in apart.items())
    return claim("001", "how epsilon impacts Adam: EAdam adds it to v at every step", words, apart[1e-4] > MUCH * apart[1e-8])


def _belief() -> Iterator[Row]:
    """AdaBelief takes large steps where the gradient is as foretold, small ones where it is not."""
    steps, formula = 300, Formula.of(lambda x, c: c * x, lambda x, c: (c,), 1, 1)
    table = np.array([[1.0], [-1.0], [0.2]])
    lengths = {}
    for kind, order in (("steady", [2] * steps), ("alternating", [0, 1] * (steps // 2))):
        for name in ("adam", "adabelief"):
            batches = np.array(order)[:, None]
            points = trajectory(get(name), formula, (0.0,), steps, lr=0.001, data=table, batches=batches, eps=1e-8)[0]
            lengths[name, kind] = float(np.abs(np.diff(points[-101:, 0])).mean()) / 0.001
    words = "mean step of the last 100, in rates: a steady gradient of 0.2, Adam {:.2g} and AdaBelief {:.3g}; gradients of 1 "
    words += "and -1 in turn, {:.2g} and {:.2g}"
    told = (("adam", "steady"), ("adabelief", "steady"), ("adam", "alternating"), ("adabelief", "alternating"))
    steady, turning = lengths["adabelief", "steady"], lengths["adabelief", "alternating"]
    holds = steady > MUCH * turning and steady > ALIKE * lengths["adam", "steady"]
    sentence = "AdaBelief takes a large step where the gradient is as predicted, else a small one"
    yield claim("001", sentence, words.format(*(lengths[key] for key in told)), holds)


def restarts(restart: float = 2.0) -> Row:
    """Adan begins anew after moving too far: from there its path is that of a fresh Adan."""
    formula, start, chosen = formula_of(surfaces.get("valley")), surfaces.get("valley").start, get("adan")
    more: dict[str, Any] = {"lr": 0.2, "paper_start": True}
    insides: dict[str, Any] = {}
    plain = trajectory(chosen, formula, start, 300, **more)[0]
    path = trajectory(chosen, formula, start, 300, restart=restart, insides=insides, **more)[0]
    parted = np.abs(plain - path).max(1) > 1e-12
    at = int(parted.argmax()) - 1
    fresh = trajectory(chosen, formula, path[at], 2, restart=restart, **more)[0] if parted.any() else np.full((3, 2), np.nan)
    apart = float(np.abs(fresh[1:] - path[at + 1 : at + 3]).max())
    words = f"in the valley at rate 0.2, with a restart after every {restart:g} of squared movement, "
    words += f"the path leaves that without one at step {at + 1}, and is from there that of a fresh Adan within {apart:.0e}"
    return claim("001", "Adan may be restarted on a condition", words, bool(parted.any()) and apart < 1e-12)


def projected(rule: Rule | None = None) -> Row:
    """Adam with its projection on a box, coordinate by coordinate in any diagonal metric."""
    surface, low, high = surfaces.get("(x-3)**2 + (y+1)**2 + x*y/2"), -0.5, 2.0
    chosen = rule or box(get("adam"), low, high)
    points = trajectory(chosen, formula_of(surface), (0.0, 1.8), 4000, lr=0.01)[0]
    least = np.array((2.0, -0.5))  # by the conditions at the corner: the gradient points outwards in neither coordinate
    pushes = surface.gradient(least)
    inside = bool((points >= low).all() and (points <= high).all())
    words = (
        f"`box(adam)` from {low:g} to {high:g} ends at ({points[-1, 0]:.3f}, {points[-1, 1]:.3f}); at the box's least point, "
    )
    words += (
        f"(2, -0.5), the gradient is ({pushes[0]:.3g}, {pushes[1]:.3g}); the path {'never leaves' if inside else 'leaves'} it"
    )
    holds = inside and pushes[0] < 0 < pushes[1] and bool(np.allclose(points[-1], least, atol=1e-6))
    return claim("001", "the projection keeps the point in the allowed set", words, holds)


def averaged(beta: float = 0.9) -> Row:
    """Hinton's case: nine small batches with a gradient of 0.1, then one of -0.9. Their mean is 0, and a weight should stay."""
    steps, formula = 4000, Formula.of(lambda x, c: c * x, lambda x, c: (c,), 1, 1)
    batches = (np.arange(steps) % 10 == 9).astype(int)[:, None]
    drift = {}
    for alpha in (0.0, beta, 0.999):
        more: dict[str, Any] = {"data": [[0.1], [-0.9]], "batches": batches, "alpha": alpha}
        points = trajectory(get("rmsprop"), formula, (0.0,), steps, lr=0.001, **more)[0]
        drift[alpha] = abs(float(points[-1, 0])) / (0.001 * steps)
    words = "over batches whose gradients are 0.1 nine times and -0.9 once, of mean 0, a weight drifts by "
    words += ", ".join(f"{value:.2g} rates a step with an average of {alpha:g}" for alpha, value in drift.items())
    holds = drift[0.999] < drift[0.0] / MUCH and drift[beta] < drift[0.0]
    return claim("001", "RMSprop needs the moving average of the squares, not the batch's own", words, holds)


def evaluated(name: str = "adan") -> Row:
    """How many gradients a step takes, and where: Adan's at the point itself, Nesterov's at the extrapolated one."""
    counted = {}
    for chosen in (name, "nesterov_lookahead"):
        weight = torch.ones(3, requires_grad=True)
        optimizer = build(get(chosen), [weight], lr=0.01)
        seen: list[torch.Tensor] = []

        def closure(weight: torch.Tensor = weight, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(weight.detach().clone())
            weight.grad = weight.detach().clone()
            return (weight**2).sum() / 2

        at = []
        for _ in range(20):
            before = weight.detach().clone()
            optimizer.step(closure)
            at.append(torch.equal(seen[-1], before))
        counted[chosen] = len(seen) / 20, sum(at)
    parts = [f"{chosen} {count:g} a step, in {own} of 20 steps at the point" for chosen, (count, own) in counted.items()]
    words = f"gradients: {'; '.join(parts)}"
    holds = counted[name] == (1, 20) and counted["nesterov_lookahead"][1] < 20
    return claim("001", "Adan avoids computing a gradient at the extrapolated point", words, holds)


def literal() -> Row:
    """Schedule-Free's line 12 as the tutorial prints it, which lacks a factor x: x = (1 - c) + c * z."""
    heights, ends = {}, {}
    surface = surfaces.get("bowl")
    for printed in (False, True):
        x = z = np.array(surface.start)
        v, total = np.zeros(2), 0.0
        for t in range(1, 1001):
            y = 0.1 * z + 0.9 * x
            g = surface.gradient(y)
            v = 0.999 * v + 0.001 * g**2
            z = z - 0.01 * g / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            total += 0.01**2
            c = 0.01**2 / total
            x = (1 - c) * (1.0 if printed else x) + c * z
        heights[printed], ends[printed] = float(surface.value(x)), x
    words = f"on a bowl after 1,000 steps the average is at ({ends[True][0]:.3f}, {ends[True][1]:.3f}) by the line as printed, "
    words += f"height {heights[True]:.2g}, and at height {heights[False]:.1e} with the factor x"
    return claim("001", "Schedule-Free's line 12, as it is printed", words, heights[True] <= ALIKE * heights[False])


def _alike() -> Row:
    """How like momentum RMSprop's path is: the angle between their steps."""
    surface = surfaces.get("valley")
    paths = descend(surface, [get(name) for name in ("sgd", "momentum", "rmsprop")], surface.start, 60, {}).paths
    steps = {path.name: np.diff(path.points, axis=0) for path in paths}

    def cosine(a: str, b: str) -> float:
        x, y = steps[a], steps[b]
        return float(np.mean((x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1) + 1e-300)))

    near, far = cosine("rmsprop", "momentum"), cosine("rmsprop", "sgd")
    words = f"mean cosine between its steps and momentum's in the valley, both tuned, {near:+.2f}; plain descent's {far:+.2f}"
    return claim("003", "RMSprop is similar to descent with momentum", words, near > max(far, 0.5))


def _regularizers() -> Iterator[Row]:
    """What Dropout and BatchNorm do to numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20_000, 50, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Dropout(0.5)
        kept = layer(x)
        layer.eval()
        still = layer(x)
    near = 4 * 0.5 / x.numel() ** 0.5  # four standard errors of a share of one half
    share, mean = float((kept == 0).double().mean()), float(kept.mean() / x.mean())
    words = (
        f"of {x.numel():,} units {share:.2%} are set to 0 in training and the others doubled: the mean stays ({mean:.4f} of "
    )
    words += f"it); in use nothing is changed (difference {float((still - x).abs().max()):g})"
    yield claim("002", "dropout leaves out units in training", words, abs(share - 0.5) < near and abs(mean - 1) < 2 * near)
    images = 3 + 2 * torch.randn(64, 4, 8, 8, generator=generator) * torch.arange(1, 5).view(1, 4, 1, 1)
    out = nn.BatchNorm2d(4)(images).detach()
    before, after = images.std((0, 2, 3)), out.std((0, 2, 3))
    first, last = (", ".join(f"{s:.3g}" for s in deviations) for deviations in (before, after))
    words = f"channels with deviations {first} come out with {last}"
    yield claim("002", "batch normalization gives every channel one scale", words, bool((after - 1).abs().max() < 1e-3))
