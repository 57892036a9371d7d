"""The bench of answers: its rows, the seeds of its truth, and what is said where Optuna is missing."""

import importlib.util
import json
import math

import pytest
import torch

from steepest import problems
from steepest.training import ways
from steepest_workshop.bench import answer

TIMES = (0.5, 2.0)


@pytest.fixture
def seeds(monkeypatch):
    """The seeds of every training asked for: those of the searches, and of each call that trains many."""
    seen = {"searches": [], "calls": []}
    train, train_all = answer.train, ways.train_all

    def alone(problem, rule, **more):
        seen["searches"].append(more["seed"])
        return train(problem, rule, **more)

    def together(problem, runs, plan, **more):
        seen["calls"].append((problem.name, [run.seed for run in runs]))
        return train_all(problem, runs, plan, **more)

    monkeypatch.setattr(answer, "train", alone)
    monkeypatch.setattr(ways, "train_all", together)
    return seen


def test_every_pick_has_a_truth_on_seeds_that_no_method_trained_on(seeds, tmp_path):
    result = answer.measure("digits", TIMES, 1, steps=10)
    json.dumps(result, allow_nan=False)
    *claims, (name, truth) = seeds["calls"]
    assert name == "digits"
    assert set(truth) == set(result["truth_seeds"])
    assert len(result["truth_seeds"]) == 30
    trained = {seed for _, some in claims for seed in some} | set(seeds["searches"])
    assert trained
    assert not trained & set(truth)
    assert len(set(seeds["searches"])) >= len(seeds["searches"]) / 2  # TPE and random search take the same ones
    there = importlib.util.find_spec("optuna") is not None
    methods = (answer.OURS, answer.TPE, answer.RANDOM)
    assert [(row["method"], row["seconds"]) for row in result["rows"]] == [(m, t) for m in methods for t in TIMES]
    best = result["best"]["truth"]
    for row in result["rows"]:
        assert bool(row["missing"]) == (row["method"] == answer.TPE and not there)
        for pick in row["picks"]:
            if pick["truth"] is not None:
                assert pick["loss"] == pytest.approx(best - pick["truth"])
                assert pick["loss"] >= 0
                assert pick["too_good"] is None or pick["too_good"] == pytest.approx(pick["claim"] - pick["truth"])
                assert (pick["bound"] is None) == (pick["bound_holds"] is None)
    longest = {row["method"]: row["picks"] for row in result["rows"] if row["seconds"] == TIMES[-1]}
    assert longest[answer.RANDOM][0]["truth"] is not None
    assert best >= result["recorded"]["truth"]
    lines = answer.text(result).splitlines()
    assert max(map(len, lines)) <= 128
    assert sum(line.startswith(methods) for line in lines) == 6 * 2 if there else 6 + 4
    assert answer.text(result) in answer.page(result, "steepest bench answer")


def test_without_optuna_its_rows_say_so(monkeypatch):
    monkeypatch.setattr(answer.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(answer, "ours", lambda problem, seconds, repetition: answer.Pick(repetition, seconds, 0.0, 0, None))
    result = answer.measure("digits", [0.2], 1, steps=5)
    assert [row["missing"] for row in result["rows"]] == ["", "Optuna is not installed: pip install optuna", ""]
    assert "Optuna is not installed" in answer.text(result)


def test_the_best_of_a_search_after_some_seconds_is_the_first_of_the_best_that_had_ended():
    trials = [(1.0, 80.0, ("sgd", "cosine", 0.1)), (2.0, 90.0, ("adam", "cosine", 0.1)), (3.0, 90.0, ("sgd", "cosine", 1.0))]
    search = answer.Search(problems.get("digits"), 0, 0.0, [*trials, (4.0, math.nan, ("sgd", "cosine", 9.0))])
    assert search.pick(0.5).setting is None
    assert [search.pick(t).claim for t in (1.0, 2.5, 9.0)] == [80.0, 90.0, 90.0]
    assert search.pick(9.0).setting == ("adam", "cosine", 0.1)
    assert search.pick(9.0).runs == 3


def test_a_repetition_has_the_same_examples_in_another_order_and_other_initial_weights():
    problem = problems.get("digits")
    one, other, same = (answer.varied(problem, k) for k in (1, 2, 2))
    assert len({problem.name, one.name, other.name}) == 3
    for a, b, same_as in ((one, other, False), (other, same, True)):
        starts = []
        for varied in (a, b):
            torch.manual_seed(0)
            starts.append(varied.start(0)[0].weight)
        assert torch.equal(*starts) == same_as
        assert torch.equal(a.train.tensors[0], b.train.tensors[0]) == same_as
    (x,), y = other.train.batch(slice(0, len(other.train)))
    (x0,), y0 = problem.train.batch(slice(0, len(problem.train)))
    index = [int(torch.where((x0 == row).all(1))[0][0]) for row in x[:20]]
    assert y[:20].tolist() == y0[index].tolist()
    assert problem.valid is one.valid
