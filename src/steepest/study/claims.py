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
CLIFF, NO_CLIFF = 8.7, 5.0  # margins by which the next rate must be worse: half way, on a log scale, from 5 to 15; and for sure
NOISE = 2.0  # standard errors that noise may add
FAILS = 0.25  # least share of its runs that collapse
ORDER_LEVEL = 0.025  # one-sided, of an order in longer runs
DRAWS = 200  # simulated continuations of a race
PRIOR = 5  # degrees of freedom with which a spread is drawn towards the others'
CLOSER = 0.3  # true differences between candidates that race are smaller than measured ones, more than noise explains
# Chosen on the tables digits, diabetes and symbols; a long race is harder to foretell than it seems.
AGREE = 2.2  # continuations agree if the 90 % quantile of their runs is at most this many times the 10 % quantile
NEAR = 1.0  # least median, as a share of the runs of the race: near its end, one look more or less is too large a part
FAR = 4.0  # largest median: if a race seems that far from its end, the leaders met by luck, and part later
ENDS = 0.5, 2.0  # the ends of a range of runs, as multiples of the median
NOT_WITHIN = 0.33  # and the runs that are not enough, where there is no range


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


def is_cliff(pick: Sequence[float], above: Sequence[float], screened: Sequence[float], margin: float, sd: float) -> bool:
    """Whether the next higher rate fails, from values on shared seeds and on those of screening, NaN for a collapsed run.

    The pick's screening runs chose it, so the other's are compared with its mean in the race. It fails if it collapses far more
    often than the pick, or is worse by `CLIFF` margins, and by more than `NO_CLIFF` with `NOISE` standard errors less. `sd` is
    the spread of a difference between candidates, NaN if it is unknown; a rate that fails at times spreads more, which must
    not count for it.
    """
    n = min(len(pick), len(above))
    lost, usual = (sum(map(math.isnan, values[:n])) for values in (above, pick))
    if n and lost > 2 * usual and (lost == n or (lost > 1 and lost >= FAILS * n)):
        return True
    sound = [v for v in pick if math.isfinite(v)]
    more = [float(np.mean(sound)) - v for v in screened if math.isfinite(v)] if sound else []
    differences = np.array([*_differences(pick, above), *more])
    if margin <= 0 or not len(differences) or math.isnan(sd):
        return False
    worse, error = float(differences.mean()), sd / math.sqrt(len(differences))
    return worse >= CLIFF * margin and worse - NOISE * error > NO_CLIFF * margin


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
    racing = [c for c in rivals if now.ahead[c, now.pick] > margin]
    differences = [_shared(values, c, now.pick, now.seeds) for c in rivals]
    if margin <= 0 or not racing or any(len(d) < LEAST_PAIRS for d in differences):
        return None
    rng, have = np.random.default_rng(0), int(now.seeds[now.pick])
    counts, means, variances = np.array([(len(d), d.mean(), d.var(ddof=1)) for d in differences]).T
    own = _drawn_variances(rng, counts, variances, example)
    true = _drawn_means(rng, np.append(counts, have), np.append(means, 0.0), np.append(variances, 0.0), own)
    paths = _Paths(have, np.append(means, 0.0), true, own)
    needed = _needed(rng, paths, margin, alpha / (len(now.possible) - 1), len(racing))
    needed += sum(max(have - int(now.seeds[c]), 0) for c in racing)  # those with fewer seeds catch up
    return _range(needed, int(now.seeds.sum()))


def _range(needed: Array, ran: int) -> Runs | None:
    """The range of runs from those of each continuation, after `ran` runs; None if it is only a look or two away."""
    low, middle, high = np.quantile(needed, (0.1, 0.5, 0.9)).tolist()
    if high > AGREE * low or not NEAR * ran <= middle <= FAR * ran:
        least = math.floor(NOT_WITHIN * min(middle, FAR * ran))
        return Runs(least, None) if least >= LEAST_PAIRS else None
    return Runs(math.ceil(ENDS[0] * middle), math.floor(ENDS[1] * middle))


def _drawn_variances(rng: np.random.Generator, counts: Array, variances: Array, example: float) -> Array:
    """Variances of a run of each rival and, last, of the pick, (draws, K): half of that of a difference, drawn around it."""
    pooled, freedom = float(np.median(variances)), counts - 1 + PRIOR
    shrunk = np.maximum(((counts - 1) * variances + PRIOR * pooled) / freedom, max(FLOOR**2 * pooled, example**2))
    rivals = shrunk * freedom / rng.chisquare(freedom, (DRAWS, len(counts))) / 2
    return np.concatenate([rivals, np.median(rivals, 1, keepdims=True)], 1)


def _drawn_means(rng: np.random.Generator, counts: Array, means: Array, variances: Array, own: Array) -> Array:
    """True differences from the pick, last that of the pick itself, (draws, K): drawn around the measured ones, and closer."""
    errors = variances[:-1] / counts[:-1]
    between = max(float(np.mean(means[:-1] ** 2 - errors)), 0.0) * CLOSER
    total = between + errors
    weight = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
    weight = np.append(weight, weight.mean())
    return np.asarray(weight * means + np.sqrt(weight * own / counts) * rng.standard_normal(own.shape))


class _Paths(NamedTuple):
    """Races to be continued from `have` seeds on: mean differences so far (K,), and true means and variances (draws, K)."""

    have: int
    means: Array
    true: Array
    own: Array


def _shared(values: Array, c: int, pick: int, seeds: NDArray[np.int64]) -> Array:
    """The differences of a candidate from the pick on the seeds that both have, without collapsed runs."""
    n = min(seeds[c], seeds[pick])
    differences: Array = values[c, :n] - values[pick, :n]
    return differences[np.isfinite(differences)]


@functools.cache
def _horizon(most: int = 20_000) -> tuple[int, ...]:
    """The looks up to many seeds."""
    return bounds.looks(most)


def _needed(rng: np.random.Generator, paths: _Paths, margin: float, alpha: float, racing: int) -> Array:
    """The runs of each continuation, (draws,); `racing` rivals take part at first, and leave as their bounds get narrow."""
    have, _, true, own = paths
    looks = np.array(_horizon())
    at = looks[looks > have]
    steps = np.diff(at, prepend=have)
    noise = np.sqrt(own)[:, None] * np.sqrt(steps)[:, None] * rng.standard_normal((len(true), len(at), true.shape[1]))
    means = (have * paths.means + np.cumsum(true[:, None] * steps[:, None] + noise, 1)) / at[:, None]
    leader = means.argmax(2)[..., None]
    variance = own[:, None] + np.take_along_axis(np.broadcast_to(own[:, None], means.shape), leader, 2)
    shares = np.array([bounds.spent(k) for k in np.flatnonzero(looks > have).tolist()])
    half = special.stdtrit(at - 1, 1 - alpha * shares)[:, None] * np.sqrt(variance / at[:, None])
    upper = half - (np.take_along_axis(means, leader, 2) - means)
    np.put_along_axis(upper, leader, -np.inf, 2)
    open_ = (np.minimum.accumulate(upper, 1) > margin).sum(2)
    before = np.concatenate([np.full((len(true), 1), racing), open_[:, :-1]], 1)
    runs = np.cumsum((before + (before > 0)) * steps, 1)  # the pick runs as long as any other does
    return np.asarray(runs[:, -1], float)
