"""Batch sizes as an axis of a study of a problem: equal examples, the same runs as the problem with that size."""

import dataclasses
import math

import pytest

import steepest
from steepest import problems, rules
from steepest.errors import SteepestError
from steepest.training.stacked import Run
from steepest.training.supervised import Supervised, sized

ASK = {"search": "rate", "schedules": "constant", "trials": 3, "budget": math.inf, "margin": 10.0}


def values(training, runs, plan):
    ended = dict(training.train_all(runs, training.named_plan(plan)))
    return [ended[k].valid for k in range(len(runs))]


@pytest.mark.parametrize("plan", ["one", "many:4", "processes"])
def test_runs_of_several_batch_sizes_are_those_of_problems_with_these_sizes(plan):
    digits = problems.get("digits")
    adam = rules.get("adam")
    runs = [
        Run(adam, 0.01, seed, steps, config={"batch_size": size})
        for seed in (0, 1)
        for size, steps in ((16, 40), (64, 10), (32, 20))
    ]
    found = values(Supervised(digits, batch_sizes=(16, 32, 64)), runs, plan)
    for k, run in enumerate(runs):
        other = dataclasses.replace(digits, batch_size=run.config["batch_size"])
        (alone,) = values(Supervised(other), [dataclasses.replace(run, config={})], "one")
        assert found[k] == pytest.approx(alone, abs=0.3)  # an example of 360, as plans round differently
    assert len({*found}) > 3


def test_a_problem_keeps_its_own_size():
    digits = problems.get("digits")
    assert sized(digits, None) is sized(digits, digits.batch_size) is digits
    assert sized(digits, 8).batch_size == 8
    assert sized(digits, 8).train is digits.train


def test_a_study_of_batch_sizes_has_equal_examples(tmp_path):
    made = {**ASK, "steps": 48, "batch_size": "16,32,64", "store": tmp_path / "s.db"}
    study = steepest.compare("digits", "sgd", **made)
    (entry,) = study.result.entries
    steps = {trial.candidate.config["batch_size"]: trial.candidate.steps(48) for trial in entry.trials}
    assert steps == {16: 96, 32: 48, 64: 24}
    for trial in entry.trials:
        assert {o.curve.steps[-1] for o in trial.outcomes} == {steps[trial.candidate.config["batch_size"]]}
    assert any(note.startswith("Runs see as many examples whatever their batch size: 96 steps") for note in study.result.notes)
    assert "batch_size" in {axis["name"] for axis in study.to_dict()["answer"]["axes"]}
    assert f"batch_size = {study.answer().pick.settings['batch_size']}" in study.best().code()
    assert steepest.compare("digits", "sgd", **made).result.trained == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("16,16", "expected different whole numbers"), ("0", "expected a whole number, 1 or more"), ("16,x", "batch size is 'x'")],
)
def test_bad_batch_sizes_are_refused(given, sentence):
    with pytest.raises(SteepestError, match=sentence):
        steepest.compare("digits", "sgd", **ASK, batch_size=given, store=":memory:")


def test_batch_sizes_are_for_problems():
    @steepest.loop(metric="loss", steps=10)
    def train(run): ...

    with pytest.raises(SteepestError, match="a training function declares config="):
        steepest.compare(train, "sgd", **ASK, batch_size=[16, 32], store=":memory:")
