"""Bounds on how far behind the best each candidate could be, valid at every stopping time. Pure functions.

Multiple comparisons with the best (Hsu 1981, Ann. Statist. 9; 1984): a claim about any candidate is wrong only if, for the
true best b, some upper bound of mu_b - mu_q is too low. So K candidates need K - 1 simultaneous one-sided bounds, not one
for each of K (K - 1) / 2 pairs. Each look, after 5, 6, 7, 8, 10, ... seeds, spends its own share of alpha (`spent`), so the
bounds of all looks are simultaneous, and the tightest may be reported at any time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .statistics import ALPHA, LEAST_PAIRS

Array = NDArray[np.float64]

GROWTH = 1.2  # ratio of the seeds of successive looks
NEARLY = 1.5  # bounds up to this many times the smallest count as equal
FLOOR = 0.5  # smallest standard deviation assumed for a pair, as a share of the pooled one


@functools.cache
def looks(most: int) -> tuple[int, ...]:
    """The numbers of seeds at which there is a look: 5, 6, 7, 8, 10, 12, ... up to `most`."""
    made = [LEAST_PAIRS]
    while (following := max(made[-1] + 1, round(made[-1] * GROWTH))) <= most:
        made.append(following)
    return tuple(n for n in made if n <= most)


def spent(look: int) -> float:
    """The share of alpha that a look, counted from 0, spends; all looks together spend 1, later ones less and less."""
    return 6 / ((look + 6) * (look + 7))


@dataclass(frozen=True)
class Standing:
    """The bounds between K candidates at one look, in the metric's units.

    `ahead[c, q]` is an upper bound of mu_c - mu_q, infinite if there is none. A candidate is `possible` while it may be the
    best; `bound[q]` is how much a possible one could be better than q. `pick` has the best mean among those whose bound is
    within the margin or at most 1.5 times the smallest, so that noise in others does not count against a good mean.
    `seeds` is the number of seeds of each.
    """

    ahead: Array
    possible: NDArray[np.bool_]
    bound: Array
    pick: int
    seeds: NDArray[np.int64]


def standing(
    values: Array,
    seeds: Sequence[int],
    *,
    example: float = 0.0,
    alpha: float = ALPHA,
    margin: float = 0.0,
    disfavoured: Sequence[int] = (),
    excluded: Sequence[int] = (),
    earlier: dict[Any, Array] | None = None,
) -> Standing:
    """The standing from values (K, at least max(seeds)), larger being better; candidate k ran on the first `seeds[k]` seeds.

    NaN is a collapsed run, which is left out of means. `example` is the weight of one example in the metric: the smallest
    spread assumed for a difference. `disfavoured` candidates are picked only if no other bound is within the margin of the
    smallest, `excluded` ones only if there are no others. `earlier` caches the bounds of looks that have not changed since the
    last call: the same candidates on the same seeds.
    """
    ran = np.asarray(seeds)
    count = len(ran)
    ahead = _tightest(values, ran, alpha, example, {} if earlier is None else earlier)
    possible = (ahead > 0).sum(1) == count - 1
    bound = np.where(possible[:, None], ahead, 0.0).max(0)
    means = _means(values, ran)
    shunned = np.zeros(count, bool)
    shunned[list(disfavoured)] = True
    order = bound.copy()
    if not shunned.all() and bound[~shunned].min() <= bound.min() + margin:
        order[shunned] = np.inf
    shunned[:] = False
    shunned[list(excluded)] = True
    if not shunned.all():
        order[shunned] = np.inf
    good = (order <= max(margin, NEARLY * order.min())) & ~shunned
    order[good] = -means[good]  # among these, the best mean wins
    pick = int(np.lexsort((-means, order, ~good))[0])
    return Standing(ahead, possible, bound, pick, ran)


def _tightest(values: Array, ran: NDArray[np.int64], alpha: float, example: float, earlier: dict[Any, Any]) -> Array:
    """The smallest upper bound of mu_c - mu_q over all looks, (K, K); infinite if no look compared the two."""
    count = len(ran)
    ahead = np.full((count, count), np.inf)
    np.fill_diagonal(ahead, 0.0)
    unchanged = True
    for look, n in enumerate(looks(int(ran.max(initial=0)))):
        there = ran >= n
        compared, upper, tightest = earlier.get(look, (None, None, None))
        same = compared == there.tobytes()
        if not (same and unchanged):
            unchanged = False
            here = np.flatnonzero(there)
            if len(here) < 2:
                continue
            if not same:
                upper = _upper(values[here, :n], alpha * spent(look) / (count - 1), example)
            tightest, at = ahead.copy(), np.ix_(here, here)
            tightest[at] = np.minimum(ahead[at], upper)
            earlier[look] = there.tobytes(), upper, tightest
        ahead = tightest
    return ahead


def _means(values: Array, ran: NDArray[np.int64]) -> Array:
    """The mean of each candidate's finite values among its first `ran`; minus infinity if there are none."""
    there = np.isfinite(values) & (np.arange(values.shape[1]) < ran[:, None])
    counts = there.sum(1)
    return np.where(counts > 0, np.where(there, values, 0.0).sum(1) / np.maximum(counts, 1), -np.inf)


def following(now: Standing, margin: float, least_runs: int = 1) -> tuple[list[int], int] | None:
    """The candidates that continue, and up to how many seeds; None if the bound of the pick is within the margin.

    Candidates stop that are ruled out, or cannot be better than the pick by more than the margin. Those with fewer seeds catch
    up. The target is the next look that needs `least_runs` runs or more: training a few together is hardly faster than many.
    """
    open_ = now.possible & (now.ahead[:, now.pick] > margin)
    open_[now.pick] = False
    if not open_.any():
        return None
    racing = [*np.flatnonzero(open_).tolist(), now.pick]
    seeds = now.seeds[racing]
    least = int(seeds.min())
    ahead = (n for n in looks(2 * least + 2 * LEAST_PAIRS + least_runs) if n > least)
    target = next(n for n in ahead if np.maximum(n - seeds, 0).sum() >= least_runs)
    return sorted(c for c in racing if now.seeds[c] < target), target


def _upper(values: Array, level: float, example: float) -> Array:
    """One-sided upper bounds of mu_c - mu_q for all pairs, (K, K), each of confidence 1 - level, from shared seeds (K, n)."""
    first, second = _pairs(len(values))
    n, mean, variance = _moments(values[first] - values[second])
    compared = n >= LEAST_PAIRS
    pooled = np.median(variance[compared]) if compared.any() else 0.0
    sd = np.sqrt(np.maximum(variance, max(FLOOR**2 * pooled, example**2)))
    half = _quantiles(np.maximum(n - 1, 1), 1 - level) * sd / np.sqrt(np.maximum(n, 1))
    upper = np.full((len(values), len(values)), np.inf)
    upper[first, second] = np.where(compared, mean + half, np.inf)
    upper[second, first] = np.where(compared, half - mean, np.inf)
    np.fill_diagonal(upper, np.where(np.isfinite(values).sum(1) >= LEAST_PAIRS, 0.0, np.inf))
    return upper


@functools.cache
def _pairs(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices of the first and second of each pair, for `count` candidates."""
    return np.triu_indices(count, 1)


def _moments(differences: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Count, mean and variance along the last axis, NaN left out."""
    there = np.isfinite(differences)
    n = there.sum(-1)
    if there.all():
        mean = differences.sum(-1) / n
        return n, mean, ((differences - mean[..., None]) ** 2).sum(-1) / (n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, differences, 0.0).sum(-1) / n
        return n, mean, (np.where(there, differences - mean[..., None], 0.0) ** 2).sum(-1) / (n - 1)


def _quantiles(freedom: NDArray[np.int64], share: float) -> Array:
    """Quantiles of Student's t, computed once for each number of degrees of freedom."""
    if (freedom == freedom[0]).all():
        return np.full(len(freedom), special.stdtrit(freedom[0], share))
    distinct, places = np.unique(freedom, return_inverse=True)
    return np.asarray(special.stdtrit(distinct, share)[places], float)


def on_new_examples(results: Sequence[Array], pick: int, level: float) -> Array:
    """Upper bounds on how far each candidate is ahead of the pick on new examples and new seeds, (K,).

    `results` are (seeds, examples) each, on common seeds from the first; larger is better. Seeds and examples are crossed: the
    variance of a mean difference is seed / n + example / m + rest / (n m), from the mean squares of a table without
    replications (Searle, Casella & McCulloch 1992), with Satterthwaite's degrees of freedom. The training set is fixed.
    """
    ahead = np.full(len(results), np.inf)
    for c, own in enumerate(results):
        n = min(len(own), len(results[pick]))
        if c == pick:
            ahead[c] = 0.0
        elif n >= LEAST_PAIRS:
            mean, variance, freedom = crossed(own[:n] - results[pick][:n])
            ahead[c] = mean + special.stdtrit(freedom, 1 - level) * np.sqrt(variance)
    return ahead


def crossed(differences: Array) -> tuple[float, float, float]:
    """Mean of differences (seeds, examples), its variance over new seeds and examples, and that one's degrees of freedom."""
    n, m = differences.shape
    of_seeds, of_examples, of_rest = _mean_squares(differences)
    total = max(of_seeds + of_examples - of_rest, of_seeds, of_examples)
    parts = of_seeds**2 / (n - 1) + of_examples**2 / (m - 1)
    return float(differences.mean()), total / (n * m), total**2 / parts if parts else float(n - 1)


def share_of_examples(differences: Array) -> float:
    """The share of the variance of a mean difference (seeds, examples) that more seeds would not reduce."""
    _, of_examples, of_rest = _mean_squares(differences)
    _, variance, _ = crossed(differences)
    own = max(of_examples - of_rest, 0.0) / differences.size
    return own / variance if variance > 0 else 0.0


def _mean_squares(differences: Array) -> tuple[float, float, float]:
    """Mean squares of a two-way table (seeds, examples) without replication: of seeds, of examples, of the rest."""
    n, m = differences.shape
    by_seed, by_example = differences.mean(1, keepdims=True), differences.mean(0, keepdims=True)
    rest = differences - by_seed - by_example + differences.mean()
    squares = (rest**2).sum() / ((n - 1) * (m - 1))
    return float(m * by_seed.var(ddof=1)), float(n * by_example.var(ddof=1)), float(squares)


def most_collapses(seen: int, of: int, level: float = ALPHA) -> float:
    """Upper confidence limit, at 1 - level, of the share of runs that collapse (Clopper & Pearson 1934)."""
    return 1.0 if seen >= of else float(special.betaincinv(seen + 1, of - seen, 1 - level))
