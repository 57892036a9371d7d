"""The benchmark of answers: its rows, the true values of picks, and its output without Optuna."""

import dataclasses
import json
from math import inf, nan

import numpy as np
import pytest

from steepest import problems
from steepest.errors import SteepestError
from steepest_workshop import tables
from steepest_workshop.bench import answer

TIMES = (5.0, 20.0)
PACE = (0.03, 0.1)


@pytest.fixture(scope="module")
def result():
    return answer.measure("digits", TIMES, 2, PACE)


def test_every_pick_is_worth_the_mean_of_its_recorded_runs(result):
    json.dumps(result, allow_nan=False)
    recorded = tables.load("digits")
    methods = (answer.OURS, answer.TPE, answer.RANDOM)
    assert [(row["method"], row["seconds"]) for row in result["rows"]] == [(m, t) for m in methods for t in TIMES]
    best = result["best"]["truth"]
    assert best == pytest.approx(np.nanmax(recorded.values.mean(1)))
    for row in result["rows"]:
        assert len(row["picks"]) == 2
        for pick in row["picks"]:
            own = recorded.values[recorded.names.index((pick["optimizer"], pick["schedule"], pick["lr"]))]
            assert pick["truth"] == pytest.approx(own.mean())
            assert pick["loss"] == pytest.approx(best - pick["truth"])
            assert pick["loss"] >= 0
            assert pick["too_good"] == pytest.approx(pick["claim"] - pick["truth"])
            assert (pick["bound"] is None) == (pick["bound_holds"] is None)
            pace = PACE[0] if row["method"] == answer.OURS else PACE[1]
            assert 0 < pick["runs"] <= row["seconds"] / pace
    lines = answer.text(result).splitlines()
    assert max(map(len, lines)) <= 128
    assert sum(line.startswith(methods) for line in lines) == 6 * 2
    assert answer.text(result) in answer.page(result, "steepest bench answer")


def test_a_longer_time_gives_compare_more_runs_and_searches_a_claim_that_is_no_worse(result):
    rows = {(row["method"], row["seconds"]): row["picks"] for row in result["rows"]}
    for method in (answer.TPE, answer.RANDOM):
        for early, late in zip(rows[method, 5.0], rows[method, 20.0], strict=True):
            assert late["claim"] >= early["claim"]
    for early, late in zip(rows[answer.OURS, 5.0], rows[answer.OURS, 20.0], strict=True):
        assert late["runs"] > early["runs"]


def test_without_optuna_its_rows_say_so(monkeypatch):
    monkeypatch.setattr(answer.importlib.util, "find_spec", lambda name: None)
    found = answer.measure("digits", [2.0], 1, PACE)
    assert [row["missing"] for row in found["rows"]] == ["", "Optuna is not installed: pip install optuna", ""]
    assert "Optuna is not installed" in answer.text(found)


def test_the_best_of_a_search_after_some_seconds_is_the_first_of_the_best_that_had_ended():
    trials = [(1.0, 80.0, ("sgd", "cosine", 0.1)), (2.0, 90.0, ("adam", "cosine", 0.1)), (3.0, 90.0, ("sgd", "cosine", 1.0))]
    search = answer.Search(tables.load("digits"), 0, 1.0, trials)
    assert search.pick(0.5).setting is None
    assert [search.pick(t).claim for t in (1.0, 2.5, 9.0)] == [80.0, 90.0, 90.0]
    assert search.pick(9.0).setting == ("adam", "cosine", 0.1)
    assert search.pick(9.0).runs == 3


def test_a_run_of_a_search_is_one_of_the_table_at_the_nearest_rate():
    recorded = tables.load("digits")
    search = answer.Search(recorded, 0, 1.0)
    value = search.run("adam", "cosine", 0.03)
    row = recorded.names.index(("adam", "cosine", 0.022))
    assert value in recorded.values[row]
    diverging = dataclasses.replace(
        recorded, values=np.where(np.arange(len(recorded.values))[:, None] == row, nan, recorded.values)
    )
    assert answer.Search(diverging, 0, 1.0).run("adam", "cosine", 0.022) == np.nanmin(diverging.values)


def test_a_problem_without_a_table_is_refused():
    with pytest.raises(SteepestError, match="breast-cancer"):
        answer.measure("breast-cancer")


def test_a_run_is_timed_both_ways():
    together, alone = answer.paces(dataclasses.replace(problems.get("digits"), steps=10))
    assert 0 < together < inf
    assert 0 < alone < inf
