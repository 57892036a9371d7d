"""The statistics of a comparison, as pure functions on arrays. `steepest selftest statistics` and the tests verify them.

The decision is a paired t test, Holm's procedure over all pairs (Holm 1979, Scand. J. Statist. 6), and the interval at
the level at which Holm tested that pair, so that interval and verdict cannot disagree. Permutation and rank statistics
are reported with it, and no decision uses them.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

ALPHA = 0.05  # chance of any wrong "better" in a study, over all its pairs and looks
LEAST_PAIRS = 5  # fewest pairs for a verdict
POWER = 0.8  # power with which `seeds_needed` detects a difference of the margin


def alpha_at_look(look: int) -> float:
    """The share of ALPHA spent at this look, counted from 1: 0.04, then 0.005, 0.0025, ...; all looks together spend 0.05.

    A Bonferroni split, valid for any number of looks at any number of seeds, planned or not.
    """
    return ALPHA * 4 / 5 if look == 1 else ALPHA / 5 / 2 ** (look - 1)


def mean_se(x: ArrayLike) -> tuple[Array, Array, NDArray[np.int64]]:
    """Mean, standard error and count along the last axis, without NaN. The standard error is NaN for fewer than two values."""
    x = np.asarray(x, float)
    here = np.isfinite(x)
    n = here.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(here, x, 0).sum(-1) / n
        squares = (np.where(here, x - mean[..., None], 0) ** 2).sum(-1)
        se = np.where(n > 1, np.sqrt(squares / (n - 1) / n), np.nan)
    return mean, se, n


def t_test(mean: ArrayLike, se: ArrayLike, n: ArrayLike) -> Array:
    """Two-sided p of a t test that the mean is 0; 1 for fewer than two values. Without spread, 1 if the mean is 0, else 0."""
    mean, se, n = np.asarray(mean, float), np.asarray(se, float), np.asarray(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(mean) / se
        p = 2 * special.stdtr(np.maximum(n - 1, 1), -t)
    p = np.where(se == 0, np.where(mean == 0, 1.0, 0.0), p)
    return np.where(n > 1, p, 1.0)


def holm(p: ArrayLike, alpha: float) -> tuple[Array, Array]:
    """Holm's adjusted p, and the level at which each hypothesis was tested, along the last axis of `p` (..., pairs).

    Hypotheses after the first that is not rejected are not tested; their level is the one at which the procedure
    stopped. An adjusted p is at most alpha exactly if p is at most its level.
    """
    p = np.asarray(p, float)
    m = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    ordered = np.take_along_axis(p, order, -1)
    divisor = m - np.arange(m)
    adjusted = np.minimum(np.maximum.accumulate(ordered * divisor, axis=-1), 1)
    kept = ordered > alpha / divisor
    stop = np.where(kept.any(-1), kept.argmax(-1), m - 1)[..., None]
    level = alpha / (m - np.minimum(np.arange(m), stop))
    back = np.argsort(order, axis=-1, kind="stable")
    return np.take_along_axis(adjusted, back, -1), np.take_along_axis(level, back, -1)


def interval(mean: ArrayLike, se: ArrayLike, n: ArrayLike, level: ArrayLike) -> tuple[Array, Array]:
    """The two-sided t interval of confidence 1 - level; infinite for fewer than two values."""
    mean, n = np.asarray(mean, float), np.asarray(n)
    quantile = special.stdtrit(np.maximum(n - 1, 1), 1 - np.asarray(level, float) / 2)
    half = np.where(n > 1, quantile * np.asarray(se, float), np.inf)
    middle = np.where(n > 1, mean, 0.0)
    return middle - half, middle + half


def verdict(low: ArrayLike, high: ArrayLike, n: ArrayLike, margin: ArrayLike) -> NDArray[np.str_]:
    """ "tied" if the whole interval is within +- margin, else "better" if it excludes 0, else "undecided".

    With fewer than LEAST_PAIRS pairs always "undecided".
    """
    low, high, margin = (np.asarray(a, float) for a in (low, high, margin))
    tied = np.maximum(-low, high) <= margin
    better = (low > 0) | (high < 0)
    said = np.select([tied, better], ["tied", "better"], "undecided")
    return np.where(np.asarray(n) >= LEAST_PAIRS, said, "undecided")


def judge(differences: ArrayLike, margin: ArrayLike, alpha: float = ALPHA) -> dict[str, Any]:
    """Decide a family of pairs from differences (..., pairs, seeds), NaN where a pair of runs has no difference.

    Returns arrays (..., pairs): mean, se, n, p (adjusted by Holm), level, low, high, verdict.
    """
    mean, se, n = mean_se(differences)
    p, level = holm(t_test(mean, se, n), alpha)
    low, high = interval(mean, se, n, level)
    said = verdict(low, high, n, margin)
    return {"mean": mean, "se": se, "n": n, "p": p, "level": level, "low": low, "high": high, "verdict": said}


def seeds_needed(sd: float, n: int, margin: float, level: float, most: int = 100_000) -> int | None:
    """How many more seeds than n detect a difference of the margin at this level with power POWER; None beyond `most`.

    The standard deviation is estimated from n differences, so its upper 80 % bound is used. For fewer than two
    differences there is no estimate, and the result is LEAST_PAIRS - n.
    """
    if n < 2:
        return LEAST_PAIRS - n
    sd *= float(np.sqrt((n - 1) / (2 * special.gammaincinv((n - 1) / 2, 0.2))))  # chi-squared's quantile

    def enough(count: int) -> bool:
        t = special.stdtrit(count - 1, 1 - level / 2) + special.stdtrit(count - 1, POWER)
        return bool(t * sd <= margin * np.sqrt(count))

    few, many = max(n, LEAST_PAIRS - 1), most
    if not enough(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many - n


def sign_flip(differences: ArrayLike, draws: int = 20_000) -> tuple[float, float]:
    """Two-sided sign-flip permutation p of the mean difference, and the smallest p possible at this n.

    Exact up to n = 14; beyond, `draws` random flips from a fixed seed.
    """
    d = np.asarray(differences, float)
    d = d[np.isfinite(d)]
    n = len(d)
    if n == 0:
        return 1.0, 1.0
    seen = abs(d.sum()) * (1 - 1e-12)
    if n <= 14:
        flips = np.array(list(itertools.product((1, -1), repeat=n)))
        return float((np.abs(flips @ d) >= seen).mean()), 2.0 ** (1 - n)
    flips = np.random.default_rng(0).choice((1.0, -1.0), size=(draws, n))
    return float((1 + (np.abs(flips @ d) >= seen).sum()) / (1 + draws)), max(2.0 ** (1 - n), 1 / (1 + draws))


def probability_of_improvement(a: ArrayLike, b: ArrayLike, direction: str) -> float | None:
    """The share of seeds on which a beats b, ties counting half. NaN is a diverged run: worse than any value, tied with NaN."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size == 0:
        return None
    worst = np.inf if direction == "min" else -np.inf
    a, b = np.where(np.isnan(a), worst, a), np.where(np.isnan(b), worst, b)
    ahead = a < b if direction == "min" else a > b
    return float((ahead + 0.5 * (a == b)).mean())


def sign_test(a: ArrayLike, b: ArrayLike, direction: str) -> float:
    """Two-sided sign test p over the seeds on which a and b differ; diverged runs count as the worst."""
    from scipy import stats  # takes a second to import

    n = np.asarray(a).size
    share = probability_of_improvement(a, b, direction)
    level = float((np.nan_to_num(np.asarray(a, float), nan=np.inf) == np.nan_to_num(np.asarray(b, float), nan=np.inf)).sum())
    if share is None or level == n:
        return 1.0
    return float(stats.binomtest(round(share * n - level / 2), round(n - level)).pvalue)
