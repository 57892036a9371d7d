"""The guarantees of a race, by simulation and by replay; broken bounds are detected."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from steepest.study import bounds, course
from steepest_workshop import calibrated, calibration, simulations, tables


def broken(rows):
    """The claims that do not hold."""
    return [row["what"] for row in rows if row["holds"] is False]


def test_simulated_races_keep_their_promises_and_what_is_beyond_is_said():
    rows = list(calibration.simulated_races(50, counts=(2, 5)))
    assert broken(rows) == []
    assert len(rows) == 4 * 2 * 3
    beyond = [row for row in rows if row["holds"] is None]
    assert all("10 SD lower" in row["what"] for row in beyond)
    assert all("beyond the promise" in calibrated.words(row) for row in beyond)
    assert max(row["share"] for row in beyond) > 0.05


@pytest.mark.parametrize("name", calibration.TABLES)
def test_replays_of_real_runs_keep_their_promises(name):
    rows = list(calibration.replays(name, 20))
    assert broken(rows) == []
    assert len(rows) == 6


def test_no_name_of_one_rule_is_ruled_out():
    assert broken(calibration.copies("digits", 30)) == []


@pytest.mark.slow
def test_no_name_of_one_rule_is_ruled_out_in_studies_trained_here(monkeypatch):
    (row,) = calibration.real_copies(2, steps=100)
    assert row["holds"]
    assert row["what"].startswith("2 real studies of adamw with cosine under 3 names on digits")
    monkeypatch.setattr(bounds, "_upper", lambda values, level, example: -np.ones((len(values), len(values))))
    (row,) = calibration.real_copies(2, steps=100)
    assert not row["holds"]


def test_a_race_takes_fewer_runs_than_the_equal_protocol():
    rows = {row["what"]: row for row in calibration.costs(15)}
    assert rows["digits to a bound of 0.5 points: runs of the race, of those of the equal protocol"]["holds"]
    assert rows["digits to a bound of 0.2 points: runs of the race, of those of the equal protocol"]["figure"] < 60


def test_the_equal_protocol_ends_at_the_first_look_whose_intervals_allow_no_more_than_the_bound():
    values = np.random.default_rng(1).standard_normal((2, 200)) + np.array([[0.2], [0.0]])
    enough = calibration.equal_seeds(values, 0.4, None)
    for n, allows in ((enough, False), (enough - 1, True)):
        difference = values[:, :n].mean(1).argsort()[::-1]
        low, high = stats.ttest_rel(*values[difference, :n]).confidence_interval(0.96)
        assert (-low > 0.4) == allows
        assert high > low
    looks = (10, 20, 40, 80, 160)
    assert calibration.equal_seeds(values, 0.4, looks) in looks
    assert calibration.equal_seeds(values, 0.4, looks) >= enough


def test_the_bound_on_new_examples_covers_as_often_as_it_says():
    rows = list(simulations.on_new_examples(300))
    assert broken(rows) == []
    assert len(rows) == 2 * 2 * 6


def test_a_confidence_sequence_is_wrong_at_any_time_as_seldom_as_it_says():
    rng, most = np.random.default_rng(0), 60
    values, wrong = rng.standard_normal((4000, most)), np.zeros(4000, bool)
    for n in range(2, most + 1):
        some = values[:, :n]
        wrong |= some.mean(1) + simulations.confidence_sequence(n, 0.05) * some.std(1, ddof=1) < 0
    assert 0.01 < wrong.mean() < 0.05


def test_tables_of_real_runs_have_every_candidate_on_many_seeds():
    for name in calibration.TABLES:
        table = tables.load(name)
        assert table.values.shape == (len(table.names), 60 if name == "mnist" else 100)
        assert len(set(table.names)) == len(table.names)
        assert len(set(table.group.tolist())) == len({(optimizer, schedule) for optimizer, schedule, _ in table.names})


def test_a_race_without_bonferroni_is_noticed(monkeypatch):
    upper = bounds._upper
    monkeypatch.setattr(bounds, "_upper", lambda values, level, example: upper(values, 14 * level, example))
    assert broken(calibration.simulated_races(80, counts=(15,), noises=("normal",))) != []


def test_a_race_that_spends_all_of_alpha_at_every_look_is_noticed(monkeypatch):
    monkeypatch.setattr(bounds, "spent", lambda look: 1.0)
    assert broken(calibration.simulated_races(80, counts=(15,), noises=("normal",))) != []


def test_intervals_half_as_wide_are_noticed(monkeypatch):
    upper = bounds._upper

    def halved(values, level, example):
        ahead = upper(values, level, example)
        return (3 * ahead - ahead.T) / 4

    monkeypatch.setattr(bounds, "_upper", halved)
    assert broken(calibration.simulated_races(100, counts=(5,), noises=("normal",))) != []


def test_bounds_divided_by_two_are_noticed(monkeypatch):
    def halved(*args, **kwargs):
        now = standing(*args, **kwargs)
        return dataclasses.replace(now, bound=now.bound / 2)

    standing = bounds.standing
    monkeypatch.setattr(course, "standing", halved)
    noticed = broken(calibration.simulated_races(500, counts=(2,), noises=("normal",)))
    assert noticed == ["2 candidates, normal: the loss by the pick exceeds its bound"]


def test_a_bound_on_new_examples_that_forgets_the_examples_is_noticed(monkeypatch):
    part = bounds._of_examples

    def forgotten(*args):
        return 0.0, part(*args)[1]

    monkeypatch.setattr(bounds, "_of_examples", forgotten)
    assert any("examples vary most" in what for what in broken(simulations.on_new_examples(200)))


@pytest.mark.slow
def test_every_promise_holds_in_the_whole_calibration():
    assert broken(calibration.everything()) == []
    assert broken(calibration.copies("digits", 1000, seed=1)) == []
