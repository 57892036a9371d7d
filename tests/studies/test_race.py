"""The race: what it asks for, when it stops, what it says, and that a stopped one goes on where it was."""

import dataclasses
import json
import math
import shutil
import time
import types

import numpy as np
import pytest
import torch
from torch import nn

import steepest
import steepest.training.single
from steepest.errors import SteepestError
from steepest.report.study.summary import as_dict
from steepest.studies import judging
from steepest.studies.bounds import standing
from steepest.studies.design import TUNING_SEEDS
from steepest.studies.race import Race
from steepest.studies.running import Laboratory
from steepest.training.processes import OutOfTimeError

QUICK = {"optimizers": "sgd,momentum,adam", "schedules": "constant", "trials": 3, "steps": 20, "budget": "60s", "plan": "one"}
TYPED = {**QUICK, "lrs": {"sgd": 0.1, "momentum": 0.02, "adam": 0.05}}
QUICK["margin"] = 0.1  # 51 runs of screening and eight looks; the default takes 23 looks and 631 runs


@pytest.fixture
def store(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture(scope="module")
def searched(line, tmp_path_factory):
    """A race whose rates are searched, and its store; to be read only."""
    path = tmp_path_factory.mktemp("searched") / "runs.db"
    return steepest.compare(line, **QUICK, store=path), path


@pytest.fixture(scope="module")
def typed(line):
    """A race at rates that were typed; to be read only."""
    return steepest.compare(line, **TYPED, store=":memory:")


def contenders(study):
    """The values of each entry as the race compares them."""
    return {e.candidate.label: [-o.valid for o in e.outcomes] for e in study.result.entries}


def test_the_bound_and_the_pick_are_those_of_the_standing(typed):
    answer, values = typed.answer(), contenders(typed)
    labels = sorted(values)
    longest = max(map(len, values.values()))
    table = np.array([values[k] + [math.nan] * (longest - len(values[k])) for k in labels])
    now = standing(table, [len(values[k]) for k in labels], alpha=0.04, margin=answer.margin)
    assert labels[now.pick] == answer.pick.candidate.label
    assert answer.bound == pytest.approx(now.bound[now.pick])
    assert answer.compared == 3
    assert answer.limit in ("margin", "examples")
    assert answer.bound <= answer.margin


def test_values_are_aligned_from_the_first_seed_and_the_pick_comes_first(line, typed, strict):
    found = typed.to_dict()
    strict(json.dumps(found))
    assert found["optimizers"][0]["name"] == found["answer"]["optimizer"]
    for o in found["optimizers"]:
        assert o["seeds"] == list(range(len(o["values"])))
        assert len(o["values"]) >= 5
    one = next(o for o in found["optimizers"] if o["name"] == "adam")
    again = steepest.training.single.train(line, steepest.rules.get("adam"), lr=0.05, steps=20, seed=3)
    assert one["values"][3] == again.valid


def test_rates_are_screened_on_seeds_of_their_own_and_each_optimizer_races_at_its_best(searched):
    study, _ = searched
    for entry in study.result.entries:
        merits = {t.lr: np.mean(t.values) for t in entry.trials if len(t.outcomes) == len(TUNING_SEEDS) and not t.diverged}
        assert entry.lr in merits
        assert len({len(t.outcomes) for t in entry.trials}) > 1  # some got one seed only
    best = min(min(m for m in (np.mean(t.values) for t in e.trials if not t.diverged)) for e in study.result.entries)
    assert math.isfinite(best)
    assert study.answer().not_followed > 0


def test_what_was_never_raced_comes_last_and_says_so(typed):
    """A loss is the better the smaller it is: one that is not known is not 0."""
    result = typed.result
    unknown = dataclasses.replace(result.entries[0], outcomes=[])
    laboratory = types.SimpleNamespace(design=result.design)
    ordered = sorted([unknown, *result.entries], key=lambda entry: Laboratory._order(laboratory, entry))
    assert ordered[-1] is unknown
    row = as_dict(dataclasses.replace(result, entries=[unknown]))["optimizers"][0]
    assert (row["values"], row["mean"], row["status"]) == ([], None, "not raced")


def test_the_same_race_again_trains_nothing_and_says_the_same(line, searched, store):
    first, path = searched
    shutil.copy(path, store)
    second = steepest.compare(line, **QUICK, store=store)
    assert first.result.trained > 0
    assert second.result.trained == 0
    assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize("after", [1, 12, 30, 60, 84])  # of 51 runs of screening, and 65 of the race
def test_a_race_that_was_stopped_ends_as_one_that_ran_on(line, searched, store, monkeypatch, after):
    whole, keep, kept = searched[0].to_dict(), Race._keep, []

    def stop(self, *args):
        keep(self, *args)
        kept.append(1)
        if len(kept) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Race, "_keep", stop)
        stopped = steepest.compare(line, **QUICK, store=store)
    assert stopped.answer().limit == "time"
    going_on = steepest.compare(line, **QUICK, store=store, go_on=True).to_dict()
    for made in (whole, going_on):
        for o in made["optimizers"]:
            del o["seconds_per_step"]
        for v in made["verdicts"]:
            v.pop("status", None)
        made["answer"].pop("seconds_to_margin")
        made["answer"]["beside"] = [row for row in made["answer"]["beside"] if "when the fastest ends" not in row["measure"]]
    assert going_on["answer"] == whole["answer"]
    assert going_on["optimizers"] == whole["optimizers"]


def test_a_stopped_race_says_what_it_knows(line, store, monkeypatch):
    def out_of_time(self, *args, **kwargs):
        if self.now is not None:
            raise OutOfTimeError
        return train(self, *args, **kwargs)

    train = Race.train
    monkeypatch.setattr(Race, "train", out_of_time)
    answer = steepest.compare(line, **TYPED, margin=0.0, store=store).answer()
    assert answer.limit == "time"
    assert answer.bound > 0
    assert "Use " in str(answer)
    assert answer.figure is None  # no time for fresh seeds


def test_continue_races_on_to_a_narrower_margin(line, store):
    wide = steepest.compare(line, **TYPED, margin=0.5, store=store).answer()
    narrow = steepest.compare(line, **TYPED, margin=wide.bound / 2, store=store, go_on=True).answer()
    assert narrow.bound <= wide.bound / 2


def test_what_diverges_is_rejected_and_not_picked(line, store):
    lrs = {"sgd": [0.1, 300.0], "adam": 0.05}
    study = steepest.compare(line, "sgd,adam", lrs=lrs, schedules="constant", steps=20, store=store, plan="one")
    answer = study.answer()
    assert [(str(one), bad, of) for one, bad, of in answer.rejected] == [("sgd at 300", 1, 1)]
    assert answer.pick.lr != 300.0
    assert answer.to_dict()["rejected"] == [{"name": "sgd", "schedule": "constant", "lr": 300.0, "collapsed": 1, "of": 1}]


def test_one_that_sometimes_collapses_is_not_the_pick_while_another_lies_within_the_margin():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(12) + np.array([[0.01], [0.0]]) + 0.01 * rng.standard_normal((2, 12))
    free, bound = standing(values, [12, 12]), standing(values, [12, 12], margin=0.1, disfavoured=[0])
    assert (free.pick, bound.pick) == (0, 1)
    assert standing(values + np.array([[5.0], [0.0]]), [12, 12], margin=0.1, disfavoured=[0]).pick == 0


def test_everything_that_diverges_gives_no_pick(line, store, strict):
    study = steepest.compare(line, "sgd", lrs=[300.0, 900.0], schedules="constant", steps=20, store=store, plan="one")
    assert "Nothing can be picked" in study.answer().sentence
    assert strict(json.dumps(study.to_dict()))["answer"]["optimizer"] is None


def test_without_test_data_the_pick_is_measured_again_on_fresh_seeds_of_the_same_examples(typed):
    data = typed.to_dict()["answer"]
    assert data["test"] is None
    assert data["fresh"]["n"] == len(judging.FRESH_SEEDS)


@pytest.fixture
def plane():
    """Three inputs to add up, with test data."""
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    y = x.sum(1, keepdim=True)
    return steepest.Problem(
        name="plane", model=lambda: nn.Linear(3, 1), loss=nn.MSELoss(), train=(x[:40], y[:40]), valid=(x[40:50], y[40:50]),
        test=(x[50:], y[50:]), batch_size=8, steps=20,
    )  # fmt: skip


def test_test_data_are_read_for_the_pick_alone(plane, store):
    study = steepest.compare(plane, **TYPED, store=store)
    answer = study.answer()
    assert answer.figure.split == "test"
    assert answer.figure.n == len(judging.FRESH_SEEDS)
    assert all(o.test is None for e in study.result.entries for o in e.outcomes)


def test_results_of_examples_are_kept_and_bound_new_ones_more_widely(line, store):
    study = steepest.compare(line, **TYPED, margin=0.0005, store=store)
    outcome = study.result.entries[0].outcomes[0]
    assert len(outcome.examples) == len(line.valid)
    assert np.mean(outcome.examples) == pytest.approx(outcome.valid, rel=1e-3)  # half precision
    assert study.answer().bound_new_data >= 0
    again = steepest.compare(line, **TYPED, margin=0.0005, store=store)  # from the store, where they take half precision
    assert np.mean(again.result.entries[0].outcomes[0].examples) == pytest.approx(outcome.valid, rel=1e-3)


def test_a_small_budget_takes_fewer_candidates_and_says_so(line, store, monkeypatch):
    def fitting(seconds):
        monkeypatch.setattr(Race, "_cost", lambda self, candidates: seconds)
        return steepest.compare(line, schedules="constant,cosine", steps=20, budget=60, store=":memory:", plan="one")

    few = fitting(1.0)  # about 57 runs
    labels = [e.candidate.label for e in few.result.entries]
    assert set(labels) == {"adamw+cosine", "momentum+cosine"}
    assert any("The budget allows for about" in note for note in few.result.notes)
    fewer = fitting(12.0)  # about 3 runs: one rate of each, to their end
    assert {len(e.trials) for e in fewer.result.entries} == {1}
    with pytest.raises(SteepestError, match=r"give at least --budget \d+s"):
        fitting(50.0)


@pytest.mark.parametrize(("seconds", "rates"), [(3.5, 5), (9.0, 3)])  # about 15 runs, and 5
@pytest.mark.parametrize("plan", ["one", "many:4"])
def test_rates_of_a_slow_model_are_told_apart_in_runs_that_end_early(line, store, monkeypatch, seconds, rates, plan):
    monkeypatch.setattr(Race, "_cost", lambda self, candidates: seconds)
    asked = {"schedules": "constant,cosine", "steps": 40, "budget": 60, "plan": plan, "store": store}
    study = steepest.compare(line, **asked)
    assert any("told apart in runs that end after 25 % of their steps" in note for note in study.result.notes)
    assert len(study.result.entries) == 2
    for e in study.result.entries:
        assert len(e.trials) >= rates
        assert {o.curve.steps[-1] for t in e.trials for o in t.outcomes if o.valid is not None} == {10}
        assert {o.curve.steps[-1] for o in e.outcomes} == {40}
        tried = {t.lr: t.outcomes[0] for t in e.trials}
        whole = steepest.training.single.train(
            line, e.candidate.rule, lr=e.lr, steps=40, seed=TUNING_SEEDS[0], schedule=e.candidate.multiplier
        )
        np.testing.assert_allclose(tried[e.lr].curve.valid, whole.curve.valid[:6], rtol=1e-4)
        assert e.lr == min(tried, key=lambda lr: math.inf if tried[lr].valid is None else tried[lr].valid)
    assert study.answer().bound is not None
    assert study.answer().to_dict()["axes"][0]["cost_under"] is None
    again = steepest.compare(line, **asked)
    assert again.result.trained == 0
    assert str(again.answer()) == str(study.answer())


def test_what_contenders_had_run_when_the_time_was_spent_is_not_lost(line, store, monkeypatch):
    monkeypatch.setattr(Race, "_cost", lambda self, candidates: 9.0)
    keep, kept = Race._keep, []

    def stop(self, candidate, spec, outcome):
        keep(self, candidate, spec, outcome)
        kept.append(spec["seed"] < 5)
        if sum(kept) == 5:
            raise OutOfTimeError

    monkeypatch.setattr(Race, "_keep", stop)
    study = steepest.compare(line, schedules="constant", steps=40, budget=60, plan="one", store=store)
    ran = {e.candidate.label: len(e.outcomes) for e in study.result.entries}
    assert sorted(ran.values()) in ([1, 4], [2, 3])
    assert study.answer().bound is None
    assert "did best of the" in study.answer().sentence
    assert "told apart in runs that ended after 10 of 40 steps" in study.answer().sentence


def test_other_measures_stand_beside_with_their_means(store):
    lrs = {"sgd": 0.5, "adam": 0.01}
    study = steepest.compare("digits", "sgd,adam", lrs=lrs, schedules="constant", steps=60, margin=5, store=store)
    answer, beside = study.answer(), study.to_dict()["answer"]["beside"]
    assert any("bytes" in row["measure"] for row in beside)
    entries = {(e.candidate.label, e.lr): e for e in study.result.entries}
    pick = entries[answer.pick.candidate.label, answer.pick.lr]
    for measure, row in zip(answer.beside, beside, strict=True):
        best = entries[measure.best.candidate.label, measure.best.lr]
        if "bytes" in row["measure"]:
            assert (row["value"], row["pick"]) == (best.state_bytes, pick.state_bytes)
        if "validation loss" in row["measure"]:
            assert row["value"] == pytest.approx(np.mean([o.loss for o in best.outcomes]))
        if "when the fastest ends" in row["measure"]:
            assert 0 <= row["value"] <= 100
        assert row["value"] != row["pick"]
        assert row["measure"] in str(answer)


def test_optimizers_that_were_named_are_not_dropped(line, monkeypatch):
    monkeypatch.setattr(Race, "_cost", lambda self, candidates: 1.0)
    study = steepest.compare(line, "sgd,adam,lion", steps=20, budget=60, store=":memory:", plan="one")
    assert {e.candidate.rule.name for e in study.result.entries} == {"sgd", "adam", "lion"}


def test_a_budget_stops_the_training(line, store):
    slow = steepest.Problem(
        name="slow", model=lambda: Slow(), loss=nn.MSELoss(), train=line.train, valid=line.valid, batch_size=8, steps=20
    )
    began = time.perf_counter()
    answer = steepest.compare(
        slow, "sgd", lrs=[0.3, 0.31, 0.32, 0.33], budget="6s", margin=0.0, store=store, plan="one"
    ).answer()
    assert time.perf_counter() - began < 1.5 * 6
    assert answer.limit == "time"


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        time.sleep(0.005)
        return self.layer(x)


def test_hyperparameters_in_parentheses_make_an_optimizer_of_their_own(line, store):
    lrs = "sgd(momentum=0.99)=0.005,sgd=0.1"
    study = steepest.compare(line, "sgd(momentum=0.99),sgd", lrs=lrs, schedules="constant", steps=20, store=store, plan="one")
    heavy = next(e for e in study.result.entries if e.candidate.rule.name == "sgd(momentum=0.99)")
    assert heavy.lr == 0.005
    assert (
        heavy.outcomes[0].valid
        == steepest.training.single.train(
            line, steepest.rules.get("sgd"), lr=0.005, steps=20, seed=0, hyper={"momentum": 0.99}
        ).valid
    )
    assert "sgd(momentum=0.99)" not in steepest.rules.RULES
    for text, words in (
        ("sgd(momentm=0.9)", "did you mean 'momentum'"),
        ("sgd(momentum=-1)", "0 or more"),
        ("sgd(lr=1)", "--lrs sgd=0.1"),
        ("sgd(0.9)", "write it such as sgd"),
    ):
        with pytest.raises(SteepestError, match=words.replace("(", r"\(")):
            steepest.rules.get(text)


def test_another_number_of_steps_is_another_question(line, store):
    assert steepest.compare(line, **TYPED, store=store).answer().question == 1
    second = steepest.compare(line, **{**TYPED, "steps": 30}, store=store).answer()
    assert second.question == 2
    assert "question 2" in str(second)
    assert steepest.compare(line, **TYPED, store=store).answer().question == 1


def test_a_race_and_equal_seeds_share_a_store_and_not_their_runs(plane, store):
    """A race's runs read no test data, and those of equal seeds keep no results of examples."""
    equal = {**TYPED, "budget": None, "seeds": 5}
    alone = steepest.compare(plane, **equal, store=":memory:").to_dict()["optimizers"]
    race = steepest.compare(plane, **TYPED, store=store)
    after = steepest.compare(plane, **equal, store=store).to_dict()["optimizers"]
    assert [o["values"] for o in after] == [o["values"] for o in alone]
    assert race.answer().bound_new_data is not None


def test_a_problem_that_is_another_at_every_import_is_said(line, store):
    def noisy():
        x = torch.randn(64, 1)
        return steepest.Problem(
            name="noisy", model=lambda: nn.Linear(1, 1), loss=nn.MSELoss(), train=(x, x), valid=(x, x), batch_size=8, steps=20
        )

    first = steepest.compare(noisy(), **TYPED, margin=0.5, store=store)
    second = steepest.compare(noisy(), **TYPED, margin=0.5, store=store)
    assert not any("something in it is random" in note for note in first.result.notes)
    assert any("something in it is random" in note for note in second.result.notes)


def test_a_candidate_added_later_spends_a_reserved_share(line, store, monkeypatch):
    alphas, stand = [], Race.stand

    def watched(self):
        alphas.append(self.alpha)
        return stand(self)

    monkeypatch.setattr(Race, "stand", watched)
    for names, expected in (("sgd,adam", 0.04), ("adam", 0.04), ("sgd,adam,momentum", 0.005), ("momentum,sgd", 0.005)):
        steepest.compare(line, names, lrs=0.05, schedules="constant", steps=20, store=store, plan="one", budget="60s")
        assert set(alphas) == {expected}
        alphas.clear()
