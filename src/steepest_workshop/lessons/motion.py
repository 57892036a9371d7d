"""What the documents say of momentum as motion: it builds up speed, is damped, changes the rate of all coordinates alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from steepest import surfaces
from steepest.paths.loop import Formula, formula_of, trajectory
from steepest.rules import get

from . import ALIKE, MUCH, Row, agreed, claim

SLOPES = Formula.of(lambda x, y, a, b: a * x + b * y, lambda x, y, a, b: (a, b), 2, 2)  # a gradient of (a, b), row by row
STEPS = 300
SADDLE_RATES, RIDGES = (0.01, 0.02, 0.05), (1e-4, 1e-3, 1e-2)
HEAVY, CONDITIONS = (0.0, 0.9, 0.99, 0.999), (1e1, 1e3, 1e5, 1e7)
CLOSE = 1e-6  # of the first squared distance: where a search on a quadratic is said to have arrived
NARROW = "-exp(-2*(x+1)**2) - 1.3*exp(-60*(x-1)**2) + x**2/50"  # a wide minimum at -1, and a deeper and narrower one at 1


def rows() -> Iterator[Row]:
    """All of them."""
    yield builds_up("momentum")
    yield speeds_up("momentum")
    yield boost(HEAVY)
    yield pushed("sgd")
    yield damped("sgd")
    yield everywhere("momentum")
    yield settles()


def _steps(name: str, gradients: Sequence[tuple[float, float]]) -> np.ndarray:
    """The steps that a rule takes, in rates, on gradients that do not depend on where it is."""
    table = np.array(gradients, float)
    batches = np.arange(len(table))[:, None]
    points = trajectory(get(name), SLOPES, (0.0, 0.0), len(table), lr=0.01, data=table, batches=batches)[0]
    return np.abs(np.diff(points, axis=0)) / 0.01


def builds_up(name: str) -> Row:
    """A steady gradient and one that changes sides: the step grows to 1 / (1 - beta), and falls to 1 / (1 + beta)."""
    steps = _steps(name, [(1.0, (-1.0) ** k) for k in range(STEPS)])
    steady, turning = (float(steps[-1, i] / steps[0, i]) for i in (0, 1))
    words = f"after {STEPS} steps a step is {steady:.3g} times the first where the gradient is steady, 1 / (1 - 0.9) = 10 in "
    words += f"theory, and {turning:.3g} times where it changes its sign each time, 1 / (1 + 0.9) = 0.526"
    holds = bool(np.isclose(steady, 10, rtol=1e-3) and np.isclose(turning, 1 / 1.9, rtol=1e-3))
    return claim("001", "momentum builds up velocity in any direction that has a consistent gradient", words, holds)


def speeds_up(name: str) -> Row:
    """At a saddle: whether each step is longer than the last, by the factor that theory gives momentum, in many settings."""
    saddle, faster, gains = surfaces.get("saddle"), [], []
    bent = -float(np.linalg.eigvalsh(saddle.hessian(np.zeros(2)))[0])
    for lr, ridge in itertools.product(SADDLE_RATES, RIDGES):
        points = trajectory(get(name), formula_of(saddle), (1.0, ridge), 150, lr=lr)[0]
        lengths = np.abs(np.diff(points[:, 1]))[100:]
        growth, middle = lengths[1:] / lengths[:-1], 1.9 + lr * bent
        theory = (middle + (middle**2 - 4 * 0.9) ** 0.5) / 2
        faster.append(bool((growth > 1).all() and np.allclose(growth, theory, atol=1e-4)))
        gains.append((lr, float(growth[-1]), theory, 1 + lr * bent))
    listed = ", ".join(
        f"{own:.4f} at {lr:g} ({theory:.4f} in theory; descent's {plain:.4f})"
        for lr, own, theory, plain in gains[:: len(RIDGES)]
    )
    words = f"down from a saddle each step is longer than the last, by a factor of {listed}"
    return claim("002", "SGD with momentum speeds up more and more", words, agreed(faster), "depends on the setting")


def boost(momenta: Sequence[float]) -> Row:
    """Which momentum comes to a thousandth of the distance first, at its best rate, by a quadratic's condition."""
    parts, quickest = [], {}
    for condition in CONDITIONS:
        needed = {beta: _needed(condition, beta) for beta in momenta}
        quickest[condition] = min(needed, key=lambda beta: needed[beta])
        counts = ", ".join(f"{steps:,} with {beta:g}" for beta, steps in needed.items())
        parts.append(f"condition {condition:.0e} {counts}")
    words = f"steps to a thousandth of the distance at the best of ten rates: {'; '.join(parts)}"
    holds = agreed(quickest[condition] >= 0.99 for condition in CONDITIONS)
    return claim(
        "001", "with beta = 0.99, or 0.999, comes the boost that we need", words, holds, "only where the condition is bad"
    )


def _needed(condition: float, beta: float, most: int = 2**28) -> int:
    """Steps of momentum on x ** 2 / 2 + y ** 2 / (2 * condition): linear, so that powers of a matrix count them."""
    least = most
    for rate in (2 + 2 * beta) * np.array([0.999, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25, 0.1, 0.03, 0.01]):
        matrices = [np.array([[1 + beta - rate * h, -beta], [1, 0]]) for h in (1, 1 / condition)]
        least = min(least, _arrival(matrices, most))
    return least


def _arrival(matrices: Sequence[np.ndarray], most: int) -> int:
    """The step from which the squared distance is below CLOSE of the first, by squaring; `most` where there is none."""

    def away(states: list[np.ndarray]) -> float:
        return float(sum(state[0] ** 2 for state in states))

    states, count = [np.ones(2) for _ in matrices], 0
    powers = [[matrix] for matrix in matrices]
    while 2 ** len(powers[0]) <= most:
        for own in powers:
            own.append(own[-1] @ own[-1])
    target = CLOSE * away(states)
    for k in reversed(range(len(powers[0]))):
        ahead = [own[k] @ state for own, state in zip(powers, states, strict=True)]
        if not away(ahead) < target:
            states, count = ahead, count + 2**k
    return min(count + 1, most)


def pushed(name: str) -> Row:
    """The gradient changes the velocity, and the velocity the position: in a bowl, momentum 1, without friction."""
    surface, lr = surfaces.get("bowl"), 0.01
    points = trajectory(get(name), formula_of(surface), surface.start, 400, lr=lr, momentum=0.99)[0]
    velocity = np.diff(points, axis=0)
    force = velocity[1:] - 0.99 * velocity[:-1]
    apart = float(np.abs(force + lr * surface.gradient(points[1:-1])).max() / np.abs(force).max())
    words = f"what a step adds to 0.99 of the last is minus the rate times the gradient, within {apart:.0e} of the largest; "
    words += "the position moves by the velocity, whatever the gradient"
    return claim("001", "the gradient directly changes only the velocity, which changes the position", words, apart < 1e-9)


def damped(name: str) -> Row:
    """The energy of a ball in a bowl, kinetic and of its height, with momentum 1 and below."""
    surface, lr, left = surfaces.get("bowl"), 0.001, {}
    for momentum in (1.0, 0.99, 0.9):
        points, heights = trajectory(get(name), formula_of(surface), surface.start, 4000, lr=lr, momentum=momentum)
        energy = heights[1:] + (np.diff(points, axis=0) ** 2).sum(1) / (2 * lr)
        left[momentum] = float(energy[-500:].mean() / energy[:500].mean())
    words = "of its energy, of height and of motion, a ball in a bowl has left after 4,000 steps: "
    words += ", ".join(f"{value:.2g} with momentum {momentum:g}" for momentum, value in left.items())
    holds = 1 / ALIKE < left[1.0] < ALIKE and left[0.9] < 1 / MUCH and left[0.99] < 1 / MUCH
    return claim("001", "momentum below 1 damps the velocity, else the ball would never stop", words, holds)


def everywhere(name: str) -> Row:
    """The rate that each of two coordinates feels where one gradient is a hundred times the other."""
    felt = _steps(name, [(1.0, 0.01)] * STEPS) / np.array([1.0, 0.01])
    grown, apart = float(felt[-1, 0] / felt[0, 0]), float((felt[:, 1] / felt[:, 0] - 1).max())
    words = f"the rate that a coordinate feels grows to {grown:.3g} times the first in {STEPS} steps, and by as much, within "
    words += f"{apart:.0e}, where the gradient is a hundredth"
    holds = abs(apart) < 1e-6 and not 1 / ALIKE < grown < ALIKE
    return claim("001", "momentum is one adaptive learning rate, equal for all parameters", words, holds)


def settles(rates: tuple[float, float] = (0.05, 0.0005), noises: Sequence[float] = (5.0, 7.0, 10.0)) -> Row:
    """Noisy descent from the wide minimum at a high rate, and at one that falls: how many end in the deep, narrow one."""
    formula, steps, parts, calmer = formula_of(surfaces.get(NARROW)), 6000, [], []
    for noise in noises:
        inside = {}
        for label, values in (("high", np.full(steps, rates[0])), ("falling", np.geomspace(*rates, steps))):
            hits = 0
            for seed in range(100):
                shaken = noise * np.random.default_rng(seed).standard_normal((steps, 1))
                path = trajectory(get("gd"), formula, (-1.0,), steps, lr=values, noise=shaken)[0]
                hits += abs(path[-200:, 0].mean() - 1) < 0.15  # the narrow minimum reaches as far
            inside[label] = hits / 100
        calmer.append(inside["falling"] > ALIKE * inside["high"] and inside["falling"] > 0.1)
        parts.append(f"{inside['high']:.0%} and {inside['falling']:.0%} at gradient noise {noise:g}")
    words = "of 100 noisy paths over a wide minimum and a deeper, narrower one, there settle in the narrow one at a rate of "
    words += f"{rates[0]:g}, and at one that falls to {rates[1]:g}, {', '.join(parts)}"
    return claim("001", "a high rate cannot settle in deeper, but narrower parts of the loss", words, agreed(calmer))
