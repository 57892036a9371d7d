"""The search: quasi-random points of every optimizer's axes, halved by one rule for all; the survivors race.

Each optimizer gets the same number of points, its defaults first, drawn from a scrambled Sobol sequence over its schedules, its
rate and its other axes. All train for half of the steps, under schedules of that length. The best quarter of each optimizer,
and a few of the others at random, train for all steps: the latter show how well the short runs ranked. The best of these get
the other screening seeds, and at least two of each optimizer race.

>>> best_of([90.0, 92.0, 94.0], [1, 1, 1], 2)
93.1...
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schedules.shape import WARMUP
from .axes import Axis
from .space import Candidate, Space

SPREAD = 1.5  # decades below and above an optimizer's usual rate
STANDARD = ("weight_decay", WARMUP)  # axes of a standard search, besides the rate
HALF = 2  # the part of the steps of a short run
KEPT = 4  # one in so many points trains for all steps
SAMPLED = 8  # points of all optimizers together, among those dropped, that do so too
FOLLOWED = 16  # one in so many points gets all screening seeds
SURVIVORS = 2  # least points of each optimizer that do, and race


def axes_in(space: Space, level: str) -> list[Axis]:
    """The axes of a space that a search at this level draws from, besides the rate."""
    own = [axis for axis in space.further if level == "full" or axis.name in STANDARD]
    return [*space.others, *own]


def points(spaces: Sequence[Space], level: str, count: int, seed: int = 0) -> list[Candidate]:
    """`count` candidates of one optimizer, of which `spaces` has a space for each schedule; its defaults come first.

    The draws are those of a scrambled Sobol sequence: the first coordinate chooses the space, the second the rate, and one
    each the value on an axis.
    """
    from scipy.stats import qmc  # which takes a while to import

    first = [
        space.at(space.rates[0] if space.rates else space.rate.value(space.rate.index(space.rate.centre))) for space in spaces
    ]
    names = list(dict.fromkeys(axis.name for space in spaces for axis in axes_in(space, level)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the number of points is no power of two
        draws = qmc.Sobol(2 + len(names), scramble=True, rng=np.random.default_rng(seed)).random(count)
    found = list(dict.fromkeys(first[:count]))
    for draw in draws:
        space = spaces[min(int(draw[0] * len(spaces)), len(spaces) - 1)]
        candidate = space.at(_rate(space, float(draw[1])))
        for axis in axes_in(space, level):
            candidate = candidate.moved(axis.name, axis.drawn(float(draw[2 + names.index(axis.name)])))
        if candidate not in found and len(found) < count:
            found.append(candidate)
    return found


def _rate(space: Space, share: float) -> float:
    """The rate at a share of the range around a space's usual one."""
    axis = space.rate
    if axis.typed is not None:
        return axis.typed[min(int(share * len(axis.typed)), len(axis.typed) - 1)]
    low, high = max(axis.low, axis.centre / 10**SPREAD), min(axis.high, axis.centre * 10**SPREAD)
    return float(f"{low * (high / low) ** share:.2g}")


def sample(dropped: Sequence[Candidate], count: int, seed: int = 0) -> list[Candidate]:
    """`count` of the dropped candidates at random, the same each time."""
    order = np.random.default_rng(seed).permutation(len(dropped))
    return [dropped[k] for k in sorted(order[:count].tolist())]


def rank_correlation(
    short: Sequence[float], full: Sequence[float], weights: Sequence[float], draws: int = 1_000
) -> tuple[float, float, float] | None:
    """Spearman's correlation of two scores, with a 95 % interval by bootstrap; None for fewer than three or equal scores.

    A point that stands for others that were not scored has their number as its weight.
    """
    x, y, w = (np.asarray(values, float) for values in (short, full, weights))
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    rng = np.random.default_rng(0)
    found = [_weighted(x[rows], y[rows], w[rows]) for rows in rng.integers(0, len(x), (draws, len(x)))]
    there = [value for value in found if math.isfinite(value)]
    low, high = np.quantile(there, [0.025, 0.975]) if there else (math.nan, math.nan)
    return _weighted(x, y, w), float(low), float(high)


def _weighted(x: NDArray[Any], y: NDArray[Any], w: NDArray[Any]) -> float:
    """The correlation of weighted ranks."""
    ranks = [np.array([w[values < v].sum() + w[values == v].sum() / 2 for v in values]) for values in (x, y)]
    a, b = (rank - np.average(rank, weights=w) for rank in ranks)
    scale = math.sqrt(float((w * a * a).sum() * (w * b * b).sum()))
    return float((w * a * b).sum()) / scale if scale else math.nan


def best_of(values: Sequence[float], weights: Sequence[float], trials: int) -> float:
    """The expected best of `trials` random trials, whose values have the distribution of these, larger being better.

    Dodge et al. 2019 (arXiv:1909.03004), with a weight for each value.
    """
    order = np.argsort(values)
    ordered, share = np.asarray(values, float)[order], np.asarray(weights, float)[order].cumsum()
    beyond = (share / share[-1]) ** trials
    return float((ordered * np.diff(beyond, prepend=0.0)).sum())


def expected_best(values: Sequence[float], weights: Sequence[float], trials: int, draws: int = 400) -> tuple[float, float]:
    """A 95 % band of `best_of` by bootstrap over the trials."""
    x, w, rng = np.asarray(values, float), np.asarray(weights, float), np.random.default_rng(0)
    found = [best_of(x[rows].tolist(), w[rows].tolist(), trials) for rows in rng.integers(0, len(x), (draws, len(x)))]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
