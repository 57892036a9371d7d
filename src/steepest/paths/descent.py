"""Paths of several optimizers on a surface, from one start, at equal work, each at a chosen or tuned learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SteepestError
from ..notebook import Shown
from ..rules import Rule
from ..schedules import Schedule, constant
from ..surfaces import Point, Surface
from .loop import formula_of, trajectory

Array = NDArray[np.float64]
GRID = tuple(float(f"{10 ** (k / 3):.1e}") for k in range(-15, 5))  # learning rates of a search, three a decade
FAR = 1e6  # times the size of the domain, beyond which a path has diverged


@dataclass(frozen=True, eq=False)
class Path:
    """One optimizer's path: points (steps + 1, dims), the start first, and the height at each.

    diverged_at: the first step to a point that is not finite or too far away, or None; points from there on are NaN.
    insides: the values that each step computed, see `trajectory`.
    tuned: whether the learning rate was searched for.
    """

    rule: Rule
    lr: float
    points: Array
    values: Array
    diverged_at: int | None
    insides: dict[str, Array]
    tuned: bool

    @property
    def name(self) -> str:
        """The optimizer's name."""
        return self.rule.name

    def leaves(self, domain: Sequence[tuple[float, float]]) -> int | None:
        """The first step whose point is outside the domain, or None."""
        low, high = np.array(domain, float).T
        outside = ~((self.points >= low) & (self.points <= high)).all(1)
        return int(outside.argmax()) if outside.any() else None


@dataclass(frozen=True, eq=False)
class Descent(Shown):
    """Paths down one surface from one start, at equal work: `steps` gradients each."""

    surface: Surface
    start: Point
    steps: int
    paths: tuple[Path, ...]


def descend(
    surface: Surface,
    rules: Sequence[Rule],
    start: Point,
    steps: int,
    lrs: Mapping[str, float] | None = None,
    schedule: Schedule | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> Descent:
    """Run every rule from the start, at the rate in `lrs`, else the surface's own, else the best of a grid.

    The best rate is the one whose path ends lowest, among those that stay in the domain if any does. `noise` is the standard
    deviation of a normal number added to each coordinate of every gradient, the same numbers for every rule.
    """
    if steps < 1:
        raise SteepestError(f"steps is {steps}; expected 1 or more.")
    if not np.isfinite(noise) or noise < 0:
        raise SteepestError(f"noise is {noise}; expected a finite number, 0 or more.")
    low, high = np.array(surface.domain, float).T
    far = FAR * float(np.max(high - low))
    if not np.isfinite(surface.value(start)):
        raise SteepestError(f"{surface.name} has no finite value at {start}; start elsewhere.")
    # NumPy guarantees the stream of a RandomState, and the playground draws the same numbers in a browser
    shaken = noise * np.random.RandomState(seed).standard_normal((steps, surface.dims)) if noise else None

    def walk(rule: Rule, lr: float, tuned: bool) -> Path:
        count, insides = max(steps // rule.evaluations, 1), dict[str, Array]()
        rates = lr * np.array((schedule or constant()).values(count))
        own = None if shaken is None else shaken[:count]
        points, values = trajectory(rule, formula_of(surface), start, count, lr=rates, noise=own, insides=insides)
        with np.errstate(invalid="ignore"):
            lost = ~(np.isfinite(points).all(1) & np.isfinite(values) & (np.abs(points).max(1) <= far))
        diverged_at = int(lost.argmax()) if lost.any() else None
        if diverged_at is not None:
            points[diverged_at:] = values[diverged_at:] = np.nan
        return Path(rule, lr, points, values, diverged_at, insides, tuned)

    paths = []
    for rule in rules:
        own = surface.rates.get(rule.name, surface.rates.get("")) if lrs is None else None
        rate = (lrs or {}).get(rule.name, own)
        tried = [walk(rule, lr, rate is None) for lr in ((rate,) if rate is not None else GRID)]
        staying = [path for path in tried if path.leaves(surface.domain) is None] or tried
        ends = [np.inf if path.diverged_at is not None else path.values[-1] for path in staying]
        paths.append(staying[int(np.argmin(ends))])
    return Descent(surface, start, steps, tuple(paths))
