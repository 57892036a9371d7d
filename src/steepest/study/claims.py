"""What an answer claims beside its bounds: rates near the pick's, longer runs, the runs that are still needed.

Pure functions of the values of runs, larger being better. `steepest selftest statistics` counts how often each claim is false.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from . import bounds
from .bounds import FLOOR, Standing
from .statistics import ALPHA, LEAST_PAIRS

Array = NDArray[np.float64]

RANGE_LEVEL = 0.03  # chance that a rate of the range costs more than is said, over all of its rates
MOST_COST = 2.0  # margins that a range may cost
CLIFF = 8.7  # margins by which the next rate must be worse to be a cliff: the geometric mean of 5 (it is not) and 15 (it is)
ORDER_LEVEL = 0.025  # one-sided, of an order in longer runs
DRAWS = 200  # simulated continuations of a race
PRIOR = 5  # degrees of freedom with which a spread is drawn towards the others'
CLOSER = 0.3  # true differences between candidates that race are smaller than measured ones, more than noise explains
# Chosen on the tables digits, diabetes, spirals and teacher; a race that goes on for long is harder to foretell than it seems.
AGREE = 2.0  # continuations agree if the 90 % quantile of their runs is at most this many times the 10 % quantile
FAR = 0.25  # least median, as a share of the runs of the race: near its end, one look more or less is too large a part
ENDS = 0.6, 2.4  # the ends of a range of runs, as multiples of the median
NOT_WITHIN = 0.33  # and the runs that are not enough, where they do not agree


class Interval(NamedTuple):
    """A mean difference with its bounds, from `n` shared seeds."""

    mean: float
    low: float
    high: float
    n: int


def paired(one: Sequence[float], other: Sequence[float], level: float, least_sd: float = 0.0) -> Interval:
    """The mean difference on shared seeds with one-sided t bounds, each at `level`; infinite for fewer than two seeds."""
    differences = _differences(one, other)
    n = len(differences)
    if n < 2:
        return Interval(float(differences[0]) if n else math.nan, -math.inf, math.inf, n)
    mean = float(differences.mean())
    half = float(special.stdtrit(n - 1, 1 - level)) * max(float(differences.std(ddof=1)), least_sd) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def _differences(one: Sequence[float], other: Sequence[float]) -> Array:
    """The differences on shared seeds, without collapsed runs."""
    n = min(len(one), len(other))
    differences = np.subtract(one[:n], other[:n])
    return np.asarray(differences[np.isfinite(differences)], float)


def spread(one: Sequence[float], other: Sequence[float]) -> float:
    """The standard deviation of the difference on shared seeds; 0 for fewer than two."""
    differences = _differences(one, other)
    return float(differences.std(ddof=1)) if len(differences) > 1 else 0.0


def cheap_rates(
    rates: Sequence[float], values: Sequence[Sequence[float]], pick: int, margin: float, least_sd: float
) -> tuple[float, float, float] | None:
    """The lowest and highest rate around the pick's, and an upper bound of what the worst in between costs; None if too much.

    `values` are those of each rate on the seeds of the race, from the first; NaN is a collapsed run, which ends the range. The
    bounds hold together for all rates that have five seeds or more (Bonferroni). `least_sd` is the smallest spread assumed for
    a difference: a few seeds of a rate that fails at times may contain no failure.
    """
    usable = [len(own) >= LEAST_PAIRS and all(map(math.isfinite, own)) for own in values]
    count = sum(usable) - usable[pick]
    if not (usable[pick] and count):
        return None
    low = high = pick
    cost = 0.0
    for step in (1, -1):
        at = pick + step
        while 0 <= at < len(rates) and usable[at]:
            upper = paired(values[pick], values[at], RANGE_LEVEL / count, least_sd).high
            if upper > MOST_COST * margin:
                break
            cost, low, high, at = max(cost, upper), min(low, at), max(high, at), at + step
    return (rates[low], rates[high], cost) if high > low else None


def is_cliff(differences: Sequence[float], collapsed: int, margin: float) -> bool:
    """Whether the next higher rate fails: a run of it collapsed, or it is worse than the pick by `CLIFF` margins."""
    there = [d for d in differences if math.isfinite(d)]
    return collapsed > 0 or (bool(there) and float(np.mean(there)) >= CLIFF * margin)


class Runs(NamedTuple):
    """A range of the runs that a race still needs; `most` is None if it is too uncertain for an upper end."""

    least: int
    most: int | None


def runs_to_margin(now: Standing, values: Array, margin: float, alpha: float = ALPHA, example: float = 0.0) -> Runs | None:
    """The runs until the bound is within the margin, by simulated continuations of the race; None if it is already.

    `values` (K, seeds) are those of the race. A continuation draws the true differences and spreads of the possible candidates,
    then means at every look. If the continuations agree, the ends of the range are multiples of their median (`ENDS`).
    """
    rivals = [c for c in np.flatnonzero(now.possible).tolist() if c != now.pick]
    if margin <= 0 or not any(now.ahead[c, now.pick] > margin for c in rivals):
        return None
    differences = [_shared(values, c, now.pick, now.seeds) for c in rivals]
    if any(len(d) < LEAST_PAIRS for d in differences):
        return None
    rng, have = np.random.default_rng(0), int(now.seeds[now.pick])
    counts, means, variances = np.array([(len(d), d.mean(), d.var(ddof=1)) for d in differences]).T
    pooled = float(np.median(variances))
    freedom = counts - 1 + PRIOR
    variances = np.maximum(((counts - 1) * variances + PRIOR * pooled) / freedom, max(FLOOR**2 * pooled, example**2))
    own = (
        variances * freedom / rng.chisquare(freedom, (DRAWS, len(rivals))) / 2
    )  # half of a difference's variance is the pick's
    own = np.concatenate([own, np.median(own, 1, keepdims=True)], 1)
    shrunk = max(float(np.mean(means**2 - variances / counts)), 0.0) * CLOSER
    weight = shrunk / (shrunk + variances / counts)
    means, counts, weight = np.append(means, 0.0), np.append(counts, have), np.append(weight, weight.mean())
    true = weight * means + np.sqrt(weight * own / counts) * rng.standard_normal(own.shape)
    needed = _needed(
        rng, have, means, true, own, margin, alpha / (len(now.possible) - 1), int((now.ahead[rivals, now.pick] > margin).sum())
    )
    needed += sum(max(have - int(now.seeds[c]), 0) for c in rivals if now.ahead[c, now.pick] > margin)
    low, middle, high = np.quantile(needed, (0.1, 0.5, 0.9)).tolist()
    if high > AGREE * low or middle < FAR * now.seeds.sum():
        least = math.floor(NOT_WITHIN * middle)
        return Runs(least, None) if least >= LEAST_PAIRS else None  # a look or two away
    return Runs(math.ceil(ENDS[0] * middle), math.floor(ENDS[1] * middle))


def _shared(values: Array, c: int, pick: int, seeds: NDArray[np.int64]) -> Array:
    """The differences of a candidate from the pick on the seeds that both have, without collapsed runs."""
    n = min(seeds[c], seeds[pick])
    differences: Array = values[c, :n] - values[pick, :n]
    return differences[np.isfinite(differences)]


@functools.cache
def _horizon(most: int = 20_000) -> tuple[int, ...]:
    """The looks up to many seeds."""
    return bounds.looks(most)


def _needed(
    rng: np.random.Generator, have: int, means: Array, true: Array, own: Array, margin: float, alpha: float, racing: int
) -> Array:
    """The runs of each continuation, (draws,), from `have` seeds on; `true` and `own` are means and variances (draws, K)."""
    looks = np.array(_horizon())
    at = looks[looks > have]
    steps = np.diff(at, prepend=have)
    noise = rng.standard_normal((len(true), len(at), len(means)))
    gained = true[:, None] * steps[:, None] + np.sqrt(own)[:, None] * np.sqrt(steps)[:, None] * noise
    paths = (have * means + np.cumsum(gained, 1)) / at[:, None]
    leader = paths.argmax(2)[..., None]
    variance = own[:, None] + np.take_along_axis(np.broadcast_to(own[:, None], paths.shape), leader, 2)
    shares = np.array([bounds.spent(k) for k in np.flatnonzero(looks > have).tolist()])
    half = special.stdtrit(at - 1, 1 - alpha * shares)[:, None] * np.sqrt(variance / at[:, None])
    upper = half - (np.take_along_axis(paths, leader, 2) - paths)
    np.put_along_axis(upper, leader, -np.inf, 2)
    open_ = (np.minimum.accumulate(upper, 1) > margin).sum(2)
    before = np.concatenate([np.full((len(true), 1), racing), open_[:, :-1]], 1)
    runs = np.cumsum((before + (before > 0)) * steps, 1)  # the pick runs as long as any other does
    return np.asarray(runs[:, -1], float)
