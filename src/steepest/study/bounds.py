"""Bounds on how far behind the best each candidate could be, valid at every stopping time. Pure functions.

Multiple comparisons with the best (Hsu 1981, Ann. Statist. 9; 1984): a claim about any candidate is wrong only if, for the
true best b, some upper bound of mu_b - mu_q is too low. So K candidates need K - 1 simultaneous one-sided bounds, not one
for each of K (K - 1) / 2 pairs. Each look, after 5, 6, 7, 8, 10, ... seeds, spends its own share of alpha (`spent`), so the
bounds of all looks are simultaneous, and the tightest may be reported at any time.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .statistics import ALPHA, LEAST_PAIRS

Array = NDArray[np.float64]

GROWTH = 1.2  # ratio of the seeds of successive looks
NEARLY = 1.5  # bounds up to this many times the smallest count as equal
LEAST_SPREAD = 8  # least shared seeds on which spreads are compared
CALMER = 0.01  # level at which one spread counts as smaller than another, so that few picks follow chance
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
    best; `bound[q]` is how much a possible one could be better than q. `pick` is the most robust of those that are as good as
    the best mean (`_robust`), among those whose bound is within the margin or at most 1.5 times the smallest, so that noise in
    others does not count against a good mean. `seeds` is the number of seeds of each.
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
    rates: Sequence[tuple[Hashable, float]] = (),
    earlier: dict[Any, Array] | None = None,
) -> Standing:
    """The standing from values (K, at least max(seeds)), larger being better; candidate k ran on the first `seeds[k]` seeds.

    NaN is a collapsed run, which is left out of means. `example` is the weight of one example in the metric: the smallest
    spread assumed for a difference. `disfavoured` candidates are picked only if no other bound is within the margin of the
    smallest. `excluded` ones are not compared, unless there are no others: who fails in most runs must not take the others'
    bounds away. `rates` are each candidate's space and learning rate. `earlier` caches the bounds of looks that have not
    changed since the last call: the same candidates on the same seeds.
    """
    ran = np.asarray(seeds)
    count = len(ran)
    ahead = tightest(values, ran, alpha, example, earlier)
    out = np.zeros(count, bool)
    out[list(excluded)] = len(excluded) < count
    possible = (((ahead > 0) | out).sum(1) == count - 1) & ~out
    bound = np.where(possible[:, None], ahead, 0.0).max(0)
    means = _means(values, ran)
    shunned = np.zeros(count, bool)
    shunned[list(disfavoured)] = True
    order = bound.copy()
    if not shunned.all() and bound[~shunned].min() <= bound.min() + margin:
        order[shunned] = np.inf
    order[out] = np.inf
    good = (order <= max(margin, NEARLY * order.min())) & ~out
    order[good] = -means[good]  # among these, the best mean wins
    pick = int(np.lexsort((-means, order, ~good))[0])
    if margin and good[pick]:
        pick = _robust(values, ran, pick, np.flatnonzero(np.isfinite(order)).tolist(), bound, margin, rates)
    return Standing(ahead, possible, bound, pick, ran)


def _robust(
    values: Array,
    ran: NDArray[np.int64],
    best: int,
    others: list[int],
    bound: Array,
    margin: float,
    rates: Sequence[tuple[Hashable, float]],
) -> int:
    """The most robust of the candidates whose means are within the margin of the best one's.

    First the one with fewest collapses; then, after `LEAST_SPREAD` shared seeds, the one whose values spread least, if that is
    more than chance, and if its mean is at most a standard error further behind; then the smallest rate of its space, unless
    that would prolong the race.
    """
    gaps = {c: _gap(values[best], values[c], min(ran[best], ran[c])) for c in others}
    near = [c for c in others if gaps[c][0] <= margin]
    lost = {c: float(np.isnan(values[c, : ran[c]]).mean()) for c in others}
    near = [c for c in near if lost[c] == min(lost[k] for k in near)]
    if not near:
        return best
    pick = best if best in near else min(near, key=lambda c: gaps[c][0])
    about = [c for c in others if gaps[c][0] <= margin + gaps[c][1] and lost[c] <= lost[pick]]
    calm = [c for c in about if is_calmer(values[c], values[pick], min(ran[c], ran[pick]))]
    if calm:
        pick = min(calm, key=lambda c: float(np.nanstd(values[c, : ran[c]])))
    if not np.nanstd(values[pick, : ran[pick]]):
        return pick  # a measure that no run changes, such as the size of the state
    same = [c for c in near if c != pick and rates and rates[c][0] == rates[pick][0] and rates[c][1] < rates[pick][1]]
    most = max(margin, bound[pick])
    sound = [c for c in same if bound[c] <= most and not is_calmer(values[pick], values[c], min(ran[c], ran[pick]))]
    return min(sound, key=lambda c: rates[c][1], default=pick)


def _gap(best: Array, other: Array, n: int) -> tuple[float, float]:
    """The mean difference on the first n seeds, and its standard error; infinite for fewer than two."""
    differences = best[:n] - other[:n]
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return float(differences.mean()) if len(differences) else np.inf, np.inf
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))


def is_calmer(one: Array, other: Array, n: int) -> bool:
    """Whether the values of one spread less than another's over the first n seeds, which both share, at `CALMER`.

    A test of the correlation between sums and differences, which is 0 for equal variances (Pitman 1939, Biometrika 31).
    """
    shared = np.isfinite(one[:n]) & np.isfinite(other[:n])
    a, b = one[:n][shared], other[:n][shared]
    if len(a) < LEAST_SPREAD:
        return False
    sums, differences = a + b - (a + b).mean(), a - b - (a - b).mean()
    scale = float(np.sqrt((sums**2).sum() * (differences**2).sum()))
    if not scale:
        return False
    r = float((sums * differences).sum()) / scale
    freedom = len(a) - 2
    return bool(-r * np.sqrt(freedom / max(1 - r * r, 1e-12)) > special.stdtrit(freedom, 1 - CALMER))


def tightest(
    values: Array, ran: NDArray[np.int64], alpha: float, example: float, earlier: dict[Any, Any] | None = None
) -> Array:
    """The smallest upper bound of mu_c - mu_q over all looks, (K, K); infinite if no look compared the two.

    The bounds of the best candidate against all others hold together at 1 - alpha.
    """
    count, earlier = len(ran), {} if earlier is None else earlier
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


def on_new_examples(
    results: Sequence[Array | None], means: Array, halves: Array, pick: int, alpha: float, resampled: bool = False
) -> tuple[Array, int | None, float]:
    """Upper bounds on how far each candidate is ahead of the pick on new examples and new seeds, (K,); infinite where unknown.

    `results` are (seeds, examples) for each candidate, on common seeds from the first, None where they are unknown; or, if
    `resampled`, (seeds, resamples of the examples), for a metric that is no mean over examples. `means` and `halves`, (K,),
    are the mean differences and the half-widths of their bounds on these examples. A half-width on new examples
    is the root of the squares of that and of the examples' own, as the two errors are independent. The examples are the same
    at every look, so that the bound needs no share of alpha for each, only a correction over rivals: for the examples the
    quantile of the largest of correlated normal values. Also returns which candidate sets the bound, and the share of examples
    in its square. The training set is fixed.
    """
    parts = {c: _of_examples(own, results[pick], resampled) for c, own in enumerate(results) if c != pick}
    known = {c: part for c, part in parts.items() if part is not None}
    new = np.full(len(results), np.inf)
    new[pick] = 0.0
    if not known:
        return new, None, 0.0
    quantile = largest_of(np.stack([by_example for _, by_example in known.values()]), alpha)
    shares = np.zeros(len(results))
    for c, (se, _) in known.items():
        theirs = quantile * se
        half = float(np.hypot(halves[c], theirs))
        new[c] = means[c] + half
        shares[c] = (theirs / half) ** 2 if half else 0.0
    most = max(known, key=lambda c: new[c])
    return new, most, float(shares[most])


def _of_examples(own: Array | None, pick: Array | None, resampled: bool) -> tuple[float, Array] | None:
    """The standard error of a mean difference over examples, and its parts by example; None with under five shared seeds."""
    if own is None or pick is None:
        return None
    differences = own[: len(pick)] - pick[: len(own)]
    differences = differences[np.isfinite(differences).all(1)]
    if len(differences) < LEAST_PAIRS:
        return None
    by_example = differences.mean(0)
    if resampled:
        return float(by_example.std(ddof=1)), by_example - by_example.mean()
    _, of_examples, of_rest = _mean_squares(differences)
    return float(np.sqrt(max(of_examples - of_rest, 0.0) / differences.size)), by_example - by_example.mean()


@functools.cache
def level_of_each(count: int, alpha: float) -> float:
    """The level at which each of `count` comparisons with one candidate is tested, so that all hold with 1 - alpha.

    Comparisons share that candidate's noise, so they correlate, by 0.5 (Dunnett 1955, J. Am. Statist. Assoc. 50).
    """
    z = np.linspace(-8, 8, 801)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    low, high = alpha / count, alpha
    for _ in range(40):
        middle = (low + high) / 2
        beyond = 1 - float((density * special.ndtr(np.sqrt(2) * special.ndtri(1 - middle) - z) ** count).sum())
        low, high = (low, middle) if beyond > alpha else (middle, high)
    return low


def largest_of(parts: Array, alpha: float, draws: int = 4_000) -> float:
    """The 1 - alpha quantile of the largest of K standard normal values that correlate as `parts`, (K, examples), do."""
    norms = np.sqrt((parts**2).sum(1))
    varying = parts[norms > 0] / norms[norms > 0, None]
    if len(varying) <= 1:
        return float(special.ndtri(1 - alpha))
    values, vectors = np.linalg.eigh(varying @ varying.T)
    noise = np.random.default_rng(0).standard_normal((draws, len(values)))
    drawn = noise * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    return float(np.quantile(drawn.max(1), 1 - alpha))


def crossed(differences: Array) -> tuple[float, float, float]:
    """Mean of differences (seeds, examples), its variance over new seeds and examples, and that one's degrees of freedom."""
    n, m = differences.shape
    of_seeds, of_examples, of_rest = _mean_squares(differences)
    total = max(of_seeds + of_examples - of_rest, of_seeds, of_examples)
    parts = of_seeds**2 / (n - 1) + of_examples**2 / (m - 1)
    return float(differences.mean()), total / (n * m), total**2 / parts if parts else float(n - 1)


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
