"""The bounds of a race against explicit loops, SciPy and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from steepest.study import bounds
from steepest.study.bounds import Standing, following, standing

INF = np.inf
nan = math.nan


def made(ahead, seeds=None, possible=None):
    """A standing with prescribed bounds; the pick has the smallest."""
    ahead = np.array(ahead, float)
    possible = (ahead > 0).sum(1) == len(ahead) - 1 if possible is None else np.array(possible)
    bound = np.where(possible[:, None], ahead, 0).max(0)
    return Standing(ahead, possible, bound, int(bound.argmin()), np.array(seeds or [5] * len(ahead)))


def slow_ahead(values, seeds, example=0.0, alpha=0.05):
    """Every pair at every look, in a loop, by scipy.stats."""
    count = len(values)
    best = {(c, q): 0.0 if c == q else INF for c in range(count) for q in range(count)}
    for look, n in enumerate(bounds.looks(max(seeds))):
        here = [k for k in range(count) if seeds[k] >= n]
        spreads = {}
        for c in here:
            for q in here:
                differences = [a - b for a, b in zip(values[c][:n], values[q][:n], strict=True) if math.isfinite(a - b)]
                if c != q and len(differences) >= 5:
                    spreads[c, q] = (float(np.mean(differences)), stats.tvar(differences), len(differences))
        if not spreads:
            continue
        usual = float(np.median([variance for _, variance, _ in spreads.values()]))
        for pair, (mean, variance, size) in spreads.items():
            error = math.sqrt(max(variance, usual / 4, example**2) / size)
            level = alpha * bounds.spent(look) / (count - 1)
            best[pair] = min(best[pair], float(stats.t.ppf(1 - level, size - 1, mean, error)))
    return np.array([[best[c, q] for q in range(count)] for c in range(count)])


def test_the_first_looks_are_after_5_6_7_8_10_and_12_seeds():
    assert bounds.looks(4) == ()
    assert bounds.looks(5) == (5,)
    assert bounds.looks(13) == (5, 6, 7, 8, 10, 12)
    assert bounds.looks(14) == (5, 6, 7, 8, 10, 12, 14)


def test_looks_grow_by_a_fifth_and_do_not_depend_on_how_far_one_looks():
    far = bounds.looks(10_000)
    assert all(a < b <= max(a + 1, 1.2 * a + 0.5) for a, b in itertools.pairwise(far))
    for most in (5, 17, 40, 999):
        assert bounds.looks(most) == tuple(n for n in far if n <= most)


def test_all_looks_together_spend_no_more_than_alpha():
    shares = [bounds.spent(k) for k in range(100_000)]
    assert all(a > b > 0 for a, b in itertools.pairwise(shares))
    assert 0.999 < sum(shares) < 1


@pytest.mark.parametrize(
    ("seeds", "example"), [([24] * 5, 0.0), ([24, 24, 12, 6, 5], 0.0), ([10, 4, 0, 10, 7], 0.0), ([8] * 5, 0.7)]
)
def test_a_standing_equals_the_slow_double_loop(seeds, example):
    values = np.random.default_rng(3).standard_normal((5, 24)) + np.array([0, 0.1, -0.2, -1, -4])[:, None]
    values[3] *= 0.01
    now = standing(values, seeds, example=example)
    expected = slow_ahead(values.tolist(), seeds, example)
    np.testing.assert_allclose(now.ahead, expected, rtol=1e-9)
    possible = [all(expected[c, q] > 0 for q in range(5) if q != c) for c in range(5)]
    assert now.possible.tolist() == possible
    np.testing.assert_allclose(now.bound, [max(expected[c, q] for c in range(5) if possible[c]) for q in range(5)])
    near = [k for k in range(len(now.bound)) if now.bound[k] <= 1.5 * now.bound.min()]
    assert now.pick == max(near, key=lambda k: values[k, : seeds[k]].mean() if seeds[k] else -np.inf)


def test_runs_that_collapsed_are_left_out_and_leave_a_candidate_without_five_unbounded():
    values = np.random.default_rng(4).standard_normal((4, 12))
    values[1, 2] = values[3, :8] = np.nan
    now = standing(values, [12] * 4)
    np.testing.assert_allclose(now.ahead, slow_ahead(values.tolist(), [12] * 4), rtol=1e-9)
    assert np.isinf(now.ahead[3, :3]).all()
    assert np.isinf(now.ahead[:3, 3]).all()
    assert now.possible[3]


def test_a_noisy_other_does_not_turn_the_pick_from_the_best_mean():
    rng = np.random.default_rng(0)
    common = rng.standard_normal(6)
    values = np.stack([common, common - 0.4 + 0.02 * rng.standard_normal(6), common - 3 + 6 * rng.standard_normal(6)])
    now = standing(values, [6, 6, 6])
    assert now.bound[1] < 1.5 * now.bound[0]
    assert now.pick == 0


def test_a_candidate_all_of_whose_runs_collapsed_is_picked_last():
    values = np.full((2, 6), np.nan)
    values[1] = 1.0
    assert standing(values, [6, 6]).pick == 1


def test_values_beyond_a_candidates_seeds_change_nothing():
    values = np.random.default_rng(5).standard_normal((3, 20))
    seeds = [20, 12, 7]
    before = standing(values, seeds)
    for k, n in enumerate(seeds):
        values[k, n:] = 1e9
    after = standing(values, seeds)
    np.testing.assert_array_equal(before.ahead, after.ahead)
    assert before.pick == after.pick


def test_values_without_spread_are_bounded_by_what_one_example_counts():
    values = np.array([[2.0] * 5, [1.0] * 5])
    assert standing(values, [5, 5]).ahead.tolist() == [[0, 1], [-1, 0]]
    half = stats.t.ppf(1 - 0.05 / 7, 4) * 0.3 / math.sqrt(5)
    np.testing.assert_allclose(standing(values, [5, 5], example=0.3).ahead, [[0, 1 + half], [half - 1, 0]])


def test_a_pair_that_happens_to_agree_is_taken_to_spread_half_as_much_as_others():
    values = np.random.default_rng(6).standard_normal((4, 5))
    values[1] = values[0] + 0.001
    now = standing(values, [5] * 4)
    pairs = [(c, q) for c in range(4) for q in range(4) if c != q]
    usual = np.median([np.var(values[c] - values[q], ddof=1) for c, q in pairs])
    half = stats.t.ppf(1 - 0.05 / 7 / 3, 4) * 0.5 * math.sqrt(usual / 5)
    assert now.ahead[0, 1] == pytest.approx(half - 0.001)


def test_bounds_never_widen_as_seeds_are_added_to_all():
    values = np.random.default_rng(7).standard_normal((6, 60))
    before = standing(values, [5] * 6)
    for n in range(6, 61):
        now = standing(values, [n] * 6)
        assert (now.ahead <= before.ahead).all()
        assert not (now.possible & ~before.possible).any()
        before = now


def test_bounds_do_not_depend_on_the_order_of_candidates():
    rng = np.random.default_rng(8)
    values, seeds = rng.standard_normal((5, 12)), np.array([12, 12, 8, 6, 12])
    order = rng.permutation(5)
    one, other = standing(values, seeds), standing(values[order], seeds[order])
    np.testing.assert_allclose(other.ahead, one.ahead[np.ix_(order, order)])
    assert order[other.pick] == one.pick


def test_what_is_far_behind_is_ruled_out_and_the_pick_is_sure():
    wave = np.tile([0.1, -0.1, 0.05, -0.05, 0.0], 2)
    values = np.array([5 + wave, 3 + wave[::-1], 1 - wave])
    now = standing(values, [10] * 3)
    assert now.possible.tolist() == [True, False, False]
    assert now.pick == 0
    assert now.bound[0] == 0
    assert now.bound[1] == now.ahead[0, 1] > 2
    assert following(now, 0.0) is None


def test_under_five_seeds_nothing_is_bounded_and_the_best_mean_is_picked():
    now = standing(np.array([[1.0] * 4, [2.0] * 4, [0.0] * 4]), [4, 4, 4])
    assert np.isinf(now.bound).all()
    assert now.possible.all()
    assert now.pick == 1


def test_a_single_candidate_is_the_pick_and_nothing_follows():
    now = standing(np.ones((1, 5)), [5])
    assert now.possible.tolist() == [True]
    assert now.bound.tolist() == [0]
    assert following(now, 0.1) is None


def test_the_disfavoured_is_picked_only_where_others_are_further_behind_than_the_margin():
    values = np.random.default_rng(9).standard_normal((2, 20)) + np.array([[0.3], [0.0]])
    now = standing(values, [20, 20])
    assert now.pick == 0
    gap = float(now.bound[1] - now.bound[0])
    assert standing(values, [20, 20], margin=1.01 * gap, disfavoured=[0]).pick == 1
    assert standing(values, [20, 20], margin=0.99 * gap, disfavoured=[0]).pick == 0
    assert standing(values, [20, 20], disfavoured=[0, 1]).pick == 0


def test_those_go_on_that_could_be_better_than_the_pick_by_more_than_the_margin():
    now = made([[0, 1, 1, 1], [0.6, 0, 1, 1], [0.4, 1, 0, 1], [-0.1, 1, 1, 0]])
    assert now.pick == 0
    assert now.possible.tolist() == [True, True, True, False]
    assert following(now, 0.5) == ([0, 1], 6)
    assert following(now, 0.3) == ([0, 1, 2], 6)


def test_a_race_ends_where_the_bound_is_the_margin():
    now = made([[0, 1], [0.5, 0]])
    assert following(now, 0.5) is None
    assert following(now, np.nextafter(0.5, 0)) is not None


def test_whoever_lags_behind_catches_up_alone():
    now = made([[0, 1, 1], [0.6, 0, 1], [0.1, 1, 0]], seeds=[12, 6, 5])
    assert following(now, 0.5) == ([1], 7)
    now = made([[0, 1, 1], [0.6, 0, 1], [0.7, 1, 0]], seeds=[8, 8, 5])
    assert following(now, 0.5) == ([2], 6)


def test_a_race_among_seeds_of_any_number_goes_on_to_a_later_look():
    for n in range(200):
        racing, target = following(made([[0, 1], [1, 0]], seeds=[n, n]), 0.1)
        assert racing == [0, 1]
        assert target == min(look for look in bounds.looks(1000) if look > n)


def brute_components(d):
    """Variance components of seeds, examples and residuals, from sums over all cells."""
    n, m = d.shape
    total = d.sum() / (n * m)
    seed = sum((sum(d[i]) / m - total) ** 2 for i in range(n)) * m / (n - 1)
    example = sum((sum(d[:, j]) / n - total) ** 2 for j in range(m)) * n / (m - 1)
    cells = ((d[i, j] - sum(d[i]) / m - sum(d[:, j]) / n + total) ** 2 for i in range(n) for j in range(m))
    rest = sum(cells) / ((n - 1) * (m - 1))
    return total, (seed - rest) / m, (example - rest) / n, rest


def crossed_data(rng, n, m, seed, example, rest):
    return seed * rng.standard_normal((n, 1)) + example * rng.standard_normal(m) + rest * rng.standard_normal((n, m))


def test_the_variance_of_a_crossed_mean_is_the_sum_of_its_components():
    n, m = 7, 11
    d = crossed_data(np.random.default_rng(10), n, m, 1.0, 1.5, 0.5) + 3
    mean, seed, example, rest = brute_components(d)
    assert min(seed, example) > 0
    ours = bounds.crossed(d)
    assert ours[0] == pytest.approx(mean)
    variance = seed / n + example / m + rest / (n * m)
    assert ours[1] == pytest.approx(variance)
    parts = ((m * seed + rest) / (n * m)) ** 2 / (n - 1) + ((n * example + rest) / (n * m)) ** 2 / (m - 1)
    assert ours[2] == pytest.approx(variance**2 / parts)


def test_the_variance_of_a_crossed_mean_is_right_on_average():
    rng, n, m = np.random.default_rng(11), 8, 30
    results = np.array([bounds.crossed(crossed_data(rng, n, m, 0.5, 1.0, 2.0))[:2] for _ in range(4000)])
    expected = 0.25 / n + 1 / m + 4 / (n * m)
    assert results[:, 0].var() == pytest.approx(expected, rel=0.07)
    assert results[:, 1].mean() == pytest.approx(expected, rel=0.03)


def test_with_one_value_for_all_examples_of_a_seed_the_bound_on_new_examples_is_that_on_new_seeds():
    by_seed = np.random.default_rng(12).standard_normal(9)
    results = [np.zeros((9, 20)), np.repeat(by_seed[:, None], 20, 1)]
    half = stats.t.ppf(0.95, 8) * stats.sem(by_seed)
    new, most, share = bounds.on_new_examples(results, np.array([0, by_seed.mean()]), np.array([0, half]), 0, 0.05)
    np.testing.assert_allclose(new, [0, by_seed.mean() + half])
    assert (most, share) == (1, 0)


def test_examples_and_seeds_add_as_independent_errors_do():
    """The examples' part is the normal quantile of their component of variance, which more seeds do not reduce."""
    n, m = 7, 400
    pick, other = crossed_data(np.random.default_rng(13), n, m, 0, 0, 0), crossed_data(np.random.default_rng(14), n, m, 1, 2, 3)
    _, _, example, _ = brute_components(other - pick)
    theirs = stats.norm.ppf(0.95) * math.sqrt(example / m)
    for half in (0.0, 0.1):
        new, most, share = bounds.on_new_examples([pick, other], np.array([0, 0.2]), np.array([0, half]), 0, 0.05)
        assert new[1] == pytest.approx(0.2 + math.hypot(half, theirs))
        assert most == 1
        assert share == pytest.approx(theirs**2 / (half**2 + theirs**2))


def test_a_metric_that_is_no_mean_has_the_spread_of_its_resamples():
    rng = np.random.default_rng(15)
    pick, other = rng.standard_normal((2, 6, 50))
    error = np.std((other - pick).mean(0), ddof=1)
    new, _, _ = bounds.on_new_examples([pick, other], np.zeros(2), np.zeros(2), 0, 0.05, resampled=True)
    assert new[1] == pytest.approx(stats.norm.ppf(0.95) * error)


def test_rivals_that_err_on_the_same_examples_are_corrected_less_than_independent_ones():
    rng = np.random.default_rng(16)
    alone, shared = rng.standard_normal((8, 300)), rng.standard_normal(300)
    independent, alike = bounds.largest_of(alone, 0.05), bounds.largest_of(shared + 0.01 * alone, 0.05)
    assert independent == pytest.approx(stats.norm.ppf(0.95 ** (1 / 8)), abs=0.06)
    assert alike == pytest.approx(stats.norm.ppf(0.95), abs=0.06)


@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_the_level_of_comparisons_with_one_candidate_is_dunnetts(count):
    correlation = np.full((count, count), 0.5) + 0.5 * np.eye(count)
    critical = stats.norm.ppf(1 - bounds.level_of_each(count, 0.05))
    assert stats.multivariate_normal(cov=correlation).cdf(np.full(count, critical)) == pytest.approx(0.95, abs=0.001)


def test_the_bound_on_new_examples_uses_the_seeds_that_both_have_and_needs_five():
    results = [np.random.default_rng(k).standard_normal((n, 12)) for k, n in enumerate((10, 6, 4))]
    none = np.zeros(3)
    new, _, _ = bounds.on_new_examples([*results[:2], None], none, none, 0, 0.05)
    assert new[0] == 0
    assert new[1] == bounds.on_new_examples([results[0][:6], results[1]], none[:2], none[:2], 0, 0.05)[0][1]
    assert new[2] == INF
    new, most, _ = bounds.on_new_examples([results[0], results[2]], none[:2], none[:2], 0, 0.05)
    assert (new[1], most) == (INF, None)


def test_a_collapsed_run_is_left_out_on_new_examples():
    rng = np.random.default_rng(17)
    pick, other = rng.standard_normal((2, 7, 12))
    lost = other.copy()
    lost[2] = nan
    kept = [k for k in range(7) if k != 2]
    none = np.zeros(2)
    expected = bounds.on_new_examples([pick[kept], other[kept]], none, none, 0, 0.05)[0][1]
    assert bounds.on_new_examples([pick, lost], none, none, 0, 0.05)[0][1] == pytest.approx(expected)


def test_candidates_without_any_difference_are_not_ahead_on_new_examples():
    none = np.zeros(2)
    new, _, share = bounds.on_new_examples([np.ones((6, 10))] * 2, none, none, 0, 0.05)
    assert (new.tolist(), share) == ([0, 0], 0)


@pytest.mark.parametrize(("seen", "of"), [(0, 5), (0, 59), (1, 8), (3, 20), (19, 20), (7, 7)])
def test_the_most_collapses_equal_scipys_exact_limit(seen, of):
    exact = stats.binomtest(seen, of, alternative="less").proportion_ci(0.95, method="exact")
    assert bounds.most_collapses(seen, of) == pytest.approx(exact.high)


def test_no_collapse_in_59_runs_says_under_one_in_twenty():
    assert bounds.most_collapses(0, 58) > 0.05 > bounds.most_collapses(0, 59)
