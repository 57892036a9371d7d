"""The statistics against simulation, brute force and SciPy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from scipy import stats

from steepest.study import statistics as st
from steepest.study.verdicts import Side, judge_all
from steepest_workshop import simulations


@pytest.fixture(scope="module")
def simulation():
    return {row["what"]: row for row in simulations.simulate(studies=10_000, seed=0)}


def test_intervals_cover_and_better_is_said_of_equals_as_seldom_as_claimed(simulation):
    assert len(simulation) == 9
    assert [what for what, row in simulation.items() if not row["holds"]] == []


def test_the_simulation_would_notice_levels_without_holm(monkeypatch):
    monkeypatch.setattr(st, "holm", lambda p, alpha: (p, np.full_like(p, alpha)))
    rows = {row["what"]: row for row in simulations.simulate(studies=2_000)}
    assert not rows["'better' said among 7 equal optimizers, one look"]["holds"]


def test_the_simulation_would_notice_looks_that_spend_nothing(monkeypatch):
    monkeypatch.setattr(simulations, "alpha_at_look", lambda look: st.ALPHA)
    rows = simulations.simulate(studies=2_000)
    assert not rows[-1]["holds"]
    assert rows[-1]["share"] > 0.1


def test_all_looks_together_spend_alpha():
    assert math.isclose(sum(st.alpha_at_look(k) for k in range(1, 60)), st.ALPHA)
    assert [st.alpha_at_look(k) for k in (1, 2, 3)] == pytest.approx([0.04, 0.005, 0.0025])


def test_t_test_and_interval_equal_scipys():
    rng = np.random.default_rng(1)
    d = rng.standard_normal((20, 7)) + 0.5
    mean, se, n = st.mean_se(d)
    expected = stats.ttest_1samp(d, 0, axis=1)
    np.testing.assert_allclose(st.t_test(mean, se, n), expected.pvalue, rtol=1e-12)
    low, high = st.interval(mean, se, n, 0.03)
    np.testing.assert_allclose([low, high], expected.confidence_interval(0.97), rtol=1e-12)


def test_mean_and_se_leave_nan_out_and_give_no_error_to_one_value():
    mean, se, n = st.mean_se([[1.0, math.nan, 3.0], [5.0, math.nan, math.nan]])
    np.testing.assert_allclose(mean, [2.0, 5.0])
    assert se[0] == pytest.approx(1.0)
    assert math.isnan(se[1])
    assert n.tolist() == [2, 1]


def holm_by_hand(p, alpha):
    """Rejections step by step, as in Holm's paper."""
    rejected = set()
    for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] > alpha / (len(p) - place):
            break
        rejected.add(i)
    return rejected


@given(arrays(float, some.integers(1, 12), elements=some.floats(0, 1)))
def test_holm_rejects_what_the_procedure_rejects(p):
    adjusted, level = st.holm(p, 0.05)
    by_hand = holm_by_hand(p.tolist(), 0.05)
    assert {i for i in range(len(p)) if p[i] <= level[i]} == by_hand
    assert {i for i in range(len(p)) if adjusted[i] <= 0.05 * (1 + 1e-12)} == by_hand


@given(
    arrays(float, some.tuples(some.integers(1, 6), some.integers(5, 12)), elements=some.floats(-10, 10)),
    some.floats(0, 5),
)
def test_interval_and_verdict_never_disagree(differences, margin):
    said = st.judge(differences, margin)
    for low, high, verdict in zip(said["low"], said["high"], said["verdict"], strict=True):
        inside = -margin <= low and high <= margin
        assert verdict == ("tied" if inside else "better" if low > 0 or high < 0 else "undecided")


def test_better_is_said_exactly_where_the_adjusted_p_is_at_most_alpha():
    rng = np.random.default_rng(2)
    said = st.judge(rng.standard_normal((500, 6, 10)) + rng.standard_normal((500, 6, 1)), 0.0)
    np.testing.assert_array_equal(said["verdict"] == "better", said["p"] <= st.ALPHA)


def test_under_five_pairs_there_is_no_verdict():
    assert st.judge([[9.0, 9.1, 9.2, 9.3]], 0.1)["verdict"].tolist() == ["undecided"]
    assert st.judge([[9.0, 9.1, 9.2, 9.3, 9.1]], 0.1)["verdict"].tolist() == ["better"]


def test_differences_without_spread_decide():
    assert st.judge([[1.0] * 5, [0.0] * 5], 0.5)["verdict"].tolist() == ["better", "tied"]


def test_sign_flip_equals_brute_force_and_names_its_least_p():
    d = np.array([0.3, -0.1, 0.5, 0.2, 0.7])
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=5)]
    p, least = st.sign_flip(d)
    assert p == np.mean([s >= abs(d.sum()) - 1e-12 for s in sums])
    assert least == 2 / 2**5
    assert st.sign_flip(np.ones(10))[0] == 2 / 2**10
    many = np.random.default_rng(0).standard_normal(30) + 0.4
    assert st.sign_flip(many)[0] == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.01)


def test_probability_of_improvement_counts_a_diverged_run_as_worst():
    nan = math.nan
    assert st.probability_of_improvement([1, 2, nan, nan], [2, 2, 1, nan], "min") == (1 + 0.5 + 0 + 0.5) / 4
    assert st.probability_of_improvement([1, 2, nan, nan], [2, 2, 1, nan], "max") == (0 + 0.5 + 0 + 0.5) / 4
    assert st.sign_test([nan] * 10, [1.0] * 10, "min") == pytest.approx(2 / 2**10)


def test_seeds_needed_give_the_power_they_promise():
    sd, level = 1.0, 0.01
    more = st.seeds_needed(sd, 10, 0.5, level)
    inflated = sd * np.sqrt(9 / stats.chi2.ppf(0.2, 9))
    draws = np.random.default_rng(0).normal(0.5, inflated, (4000, 10 + more))
    power = (stats.ttest_1samp(draws, 0, axis=1).pvalue <= level).mean()
    assert 0.78 <= power <= 0.83
    assert st.seeds_needed(1.0, 10, 0.0, level) is None
    assert st.seeds_needed(math.nan, 1, 0.5, level) == 4


def sides(*values):
    return [Side(label, v, 1.0) for label, v in zip("abcdefg", values, strict=False)]


def judged(*values, direction="min", points=False, margin=None):
    return judge_all(sides(*values), direction=direction, in_points=points, margin=margin, alpha=0.04, next_alpha=0.005)


def test_a_difference_is_above_zero_where_a_is_better_in_either_direction():
    low, high = [1.0, 1.1, 0.9, 1.0, 1.05], [2.0, 2.2, 1.9, 2.1, 2.0]
    assert judged(low, high)[0].difference == pytest.approx(1.03)
    assert judged(high, low, direction="max", points=True)[0].difference == pytest.approx(1.03)


def test_default_margins_are_one_per_cent_of_the_better_loss_and_a_fifth_of_a_point():
    assert judged([2.0] * 5, [3.0] * 5)[0].margin == pytest.approx(0.02)
    assert judged([97.0] * 5, [98.0] * 5, direction="max", points=True)[0].margin == 0.2
    assert judged([2.0] * 5, [3.0] * 5, margin=7.0)[0].margin == 7.0


def test_with_diverged_runs_no_mean_is_compared_and_the_words_say_how_often():
    verdict = judged([1.0, 1.1, 1.2, 1.1, 1.0], [None, 9.0, None, 9.0, 9.0])[0]
    assert verdict.verdict == "undecided"
    assert (verdict.difference, verdict.low, verdict.high, verdict.p, verdict.seeds_needed) == (None,) * 5
    assert "b diverged in 2 of 5 runs" in verdict.sentence
    assert verdict.probability == 1.0


def test_every_verdict_is_a_sentence():
    rng = np.random.default_rng(0)
    base = rng.normal(10, 1, 10)
    close, noisy, worse = (base + rng.normal(mean, sd, 10) for mean, sd in ((0.02, 0.01), (0.5, 1.0), (3.0, 0.1)))
    values = [base, close, noisy, worse]
    found = {v.verdict: str(v) for v in judged(*(v.tolist() for v in values))}
    assert found["better"].startswith("c is better than d by ")
    assert found["tied"].startswith("a and b are tied: ")
    assert "more seeds (" in found["undecided"]
