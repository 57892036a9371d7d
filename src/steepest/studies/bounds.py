"""How far behind the best could each candidate be? Comparisons with the best that hold at every stopping time. Pure functions.

Multiple comparisons with the best (Hsu 1981, Ann. Statist. 9; 1984): whatever is said of a candidate is wrong only if, for the
true best b, some upper bound of mu_b - mu_q lies below it. So K candidates need K - 1 one-sided bounds at once, not one for
each of K (K - 1) / 2 pairs. The seeds are looked at after 5, 6, 7, 8, 10, ... of them, each look with a share of alpha of its
own (`spent`), so that the bounds of all looks hold together, and the tightest of them may be said at any time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .statistics import ALPHA, LEAST_PAIRS

Array = NDArray[np.float64]

GROWTH = 1.2  # seeds of a look over those of the look before
NEARLY = 1.5  # times the least bound: one no larger than that is not told from it
FLOOR = 0.5  # of the pooled standard deviation of a difference, below which that of no pair is taken to lie


@functools.cache
def looks(most: int) -> tuple[int, ...]:
    """The numbers of seeds at which is looked: 5, 6, 7, 8, 10, 12, ... up to `most`."""
    made = [LEAST_PAIRS]
    while (following := max(made[-1] + 1, round(made[-1] * GROWTH))) <= most:
        made.append(following)
    return tuple(n for n in made if n <= most)


def spent(look: int) -> float:
    """The share of alpha that a look spends, counted from 0; all together spend 1. The first ones, which see least, no more."""
    return 6 / ((look + 6) * (look + 7))


@dataclass(frozen=True)
class Standing:
    """What is known of K candidates, in the metric's units, at one time.

    `ahead[c, q]` bounds mu_c - mu_q from above, infinite where nothing does. A candidate is `possible` while it may be the
    best; `bound[q]` is how much a possible one could be better than q. `pick` has the best mean of those whose bound is within
    the margin, or is at most half as large again as the least: what noisy others could be is no reason against a good mean.
    `seeds` are those of each.
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
) -> Standing:
    """From values (K, at least max(seeds)), more being better; candidate k has run on the first `seeds[k]` of common seeds.

    NaN is a run that collapsed: it says nothing of means. `example` is what one example counts in the metric: no difference is
    taken to spread less than that. Those `disfavoured` are picked only where no other's bound is within the margin of the
    least, those `excluded` only where there are no others.
    """
    ran = np.asarray(seeds)
    count = len(ran)
    ahead = np.full((count, count), np.inf)
    np.fill_diagonal(ahead, 0.0)
    for look, n in enumerate(looks(int(ran.max(initial=0)))):
        here = np.flatnonzero(ran >= n)
        if len(here) > 1:
            at = np.ix_(here, here)
            ahead[at] = np.minimum(ahead[at], _upper(values[here, :n], alpha * spent(look) / (count - 1), example))
    possible = (ahead > 0).sum(1) == count - 1
    bound = np.where(possible[:, None], ahead, 0.0).max(0)
    order = bound.copy()
    favoured = np.setdiff1d(np.arange(count), disfavoured)
    if len(favoured) and bound[favoured].min() <= bound.min() + margin:
        order[list(disfavoured)] = np.inf
    means = [np.nanmean(row[:n]) if np.isfinite(row[:n]).any() else -np.inf for row, n in zip(values, ran, strict=True)]
    if len(excluded) < count:
        order[list(excluded)] = np.inf
    good = order <= max(margin, NEARLY * order.min())
    good[list(excluded)] = False
    order[good] = -np.array(means)[good]  # of those that are good enough, the one with the best mean
    pick = int(np.lexsort((-np.array(means), order, ~good))[0])
    return Standing(ahead, possible, bound, pick, ran)


def following(now: Standing, margin: float, least_runs: int = 1) -> tuple[list[int], int] | None:
    """The candidates that go on, and to how many seeds; None where the bound of the pick is within the margin.

    What is ruled out stops, and what cannot be better than the pick by more than the margin. Whoever lags behind catches up.
    They go on to the next look at which that makes so many runs: a few trained at once take hardly less time than many.
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
    differences = values[:, None, :] - values[None, :, :]
    there = np.isfinite(differences)
    n = there.sum(-1)
    kept = np.where(there, differences, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = kept.sum(-1) / n
        variance = (np.where(there, differences - mean[..., None], 0.0) ** 2).sum(-1) / (n - 1)
    pairs = ~np.eye(len(values), dtype=bool) & (n >= LEAST_PAIRS)
    pooled = np.median(variance[pairs]) if pairs.any() else 0.0
    sd = np.sqrt(np.maximum(variance, max(FLOOR**2 * pooled, example**2)))
    quantile = special.stdtrit(np.maximum(n - 1, 1), 1 - level)
    return np.where(pairs, mean + quantile * sd / np.sqrt(np.maximum(n, 1)), np.where(n >= LEAST_PAIRS, 0.0, np.inf))


def on_new_examples(results: Sequence[Array], pick: int, level: float) -> Array:
    """For each candidate the upper bound of how much it is ahead of the pick on new examples as well as new seeds, (K,).

    `results` are (seeds, examples) each, on common seeds from the first; more is better. Seeds and examples are crossed: the
    variance of a mean difference is seed / n + example / m + rest / (n m), from the mean squares of a table without
    replications (Searle, Casella & McCulloch 1992), with Satterthwaite's degrees of freedom. It is for this training set.
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
    """Mean of differences (seeds, examples), its variance over new seeds and examples, and the degrees of freedom of that."""
    n, m = differences.shape
    of_seeds, of_examples, of_rest = _mean_squares(differences)
    total = max(of_seeds + of_examples - of_rest, of_seeds, of_examples)
    parts = of_seeds**2 / (n - 1) + of_examples**2 / (m - 1)
    return float(differences.mean()), total / (n * m), total**2 / parts if parts else float(n - 1)


def share_of_examples(differences: Array) -> float:
    """Of the variance of a mean difference (seeds, examples), the share that more seeds would not lessen."""
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
    """The upper limit, of confidence 1 - level, of the share of runs that collapse (Clopper & Pearson 1934)."""
    return 1.0 if seen >= of else float(special.betaincinv(seen + 1, of - seen, 1 - level))
