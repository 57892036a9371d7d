"""The race: the runs that it requests, when it stops, its sentences, and resuming.

Decisions are tested on tables of recorded runs; a few studies are trained, to test that the laboratory runs what is requested.
"""

import dataclasses
import json
import math
import shutil
import time

import numpy as np
import pytest
import torch
from torch import nn

import steepest
import steepest.training.single
from steepest.errors import SteepestError
from steepest.study import bounds
from steepest.study.bounds import standing
from steepest.study.budget import EARLY, LONGER, RESERVE, TUNING_SEEDS, Clock, Fit
from steepest.study.conclude import conclude
from steepest.study.lab import Lab
from steepest.study.protocol import AFTER, RACE
from steepest.study.question import Scale
from steepest.study.race import FRESH_SEEDS, HOPELESS
from steepest.study.result import entries
from steepest.study.table import UNTIMED, arms, question, replay
from steepest.training.processes import OutOfTimeError
from steepest.training.recorder import marks
from tests.study.tables import LOSS, POINTS, asked, changed, made

nan = math.nan
QUICK = {"optimizers": "sgd,momentum,adam", "schedules": "constant", "trials": 3, "steps": 8, "budget": "60s", "plan": "one"}
TYPED = {**QUICK, "lrs": {"sgd": 0.1, "momentum": 0.02, "adam": 0.05}}
QUICK["margin"] = 0.1  # 51 runs of screening and five looks; the default takes many more


def wanted(question, table, **more):
    """The batches of a replay, as jobs, and its course."""
    batches = []
    course = replay(question, table, watch=batches.append, **more)
    return batches, course


# Replays on tables.


def test_every_rate_gets_one_screening_seed_then_the_better_half_two_more():
    table = made("sgd,adam", rates=7)
    batches, course = wanted(asked(table, margin=0.1), table)
    first, second = batches[0].jobs, batches[1].jobs
    assert {job.seed for job in first} == {TUNING_SEEDS[0]}
    assert len(first) == 2 * 7
    assert {job.seed for job in second} == set(TUNING_SEEDS[1:])
    for space in table.spaces:
        seen = {job.candidate.lr: table[job].valid for job in first if job.candidate.space is space}
        better = sorted(seen, key=seen.get, reverse=True)[:3]
        assert {job.candidate.lr for job in second if job.candidate.space is space} == set(better)
    assert {len(seeds) for seeds in course.trials.values()} == {1, 3}


def test_the_best_of_each_space_races_and_what_is_within_the_margin_of_the_leader():
    values = np.array([[9, 9, 9], [8, 8.8, 9], [7, 99, 99], [1, 1, 1], [3, 2, 1], [2, 2, 2], [5, 5, nan], [1, 1, 1]])
    rates = [0.001, 0.01, 0.1, 1.0]
    table = made("sgd,adam,adamw", rates=1)
    own = [rates, rates[:2], rates[:2]]
    columns = np.concatenate([values, np.repeat(values[:, :1], 20, 1)], 1)
    pairs = zip(table.spaces, own, strict=True)
    spaces = [dataclasses.replace(s, axes=(dataclasses.replace(s.rate, typed=tuple(o)),)) for s, o in pairs]
    recorded = type(table)(spaces, own, columns)
    scale = Scale("value", "max")
    for margin, expected in ((0.1, set()), (0.5, {("sgd", 0.01)})):
        course = replay(question(recorded, scale, margin=margin), recorded)
        best = {("sgd", 0.001), ("adam", 0.001), ("adamw", 0.01)}
        assert {(c.candidate.label, c.lr) for c in course.contenders} == best | expected
        assert sum(len(seeds) for seeds in course.trials.values()) == 8 + 2 * (2 + 2 + 2)


def test_grids_grow_together_while_a_best_rate_lies_on_an_edge_and_within_what_was_recorded():
    table = made("sgd,adam", rates=15)
    low = min(lr for label, lr in table.rows if label == "adam")
    table = changed(table, adam={low: 99.0})
    batches, course = wanted(asked(table, margin=0.5), table)
    tried = {s.label: sorted(c.lr for c in course.tried(s)) for s in table.spaces}
    assert {len(rates) for rates in tried.values()} == {7}  # the best of the first grid is inside it
    edge = tried["adam"][0]
    grown = changed(made("sgd,adam", rates=15), adam={edge: 99.0})
    course = replay(asked(grown, margin=0.5), grown)
    assert {len(course.tried(s)) for s in grown.spaces} == {9}
    bounded = changed(made("sgd,adam", rates=7), adam={edge: 99.0})
    course = replay(asked(bounded, margin=0.5), bounded)
    assert {len(course.tried(s)) for s in bounded.spaces} == {7}
    assert conclude(course).edge
    assert len(batches) > 3


def test_the_bound_and_the_pick_are_those_of_the_standing():
    table = made("sgd,adam", rates=7, columns=60)
    course = replay(asked(table, margin=0.4), table)
    values = np.full((len(course.contenders), max(course.seeds)), nan)
    for row, one in zip(values, course.contenders, strict=True):
        row[: len(one.values)] = one.values
    now = standing(values, course.seeds, alpha=0.04, margin=0.4, example=POINTS.example)
    found = conclude(course)
    assert course.now.pick == now.pick
    assert found.bound == now.bound[now.pick]
    assert found.bound <= 0.4
    assert found.limit == "margin"


def test_what_diverges_is_rejected_and_not_picked():
    table = made("sgd,adam", rates=3, columns=60)
    (top,) = [lr for label, lr in table.rows if label == "sgd"][-1:]
    table = changed(table, sgd={top: nan})
    found = conclude(replay(asked(table, trials=3, margin=1.0), table))
    assert [(str(one), one.collapsed, one.of) for one in found.rejected] == [(f"sgd at {top:g}", 1, 1)]
    assert found.to_dict()["rejected"] == [{"name": "sgd", "schedule": "constant", "lr": top, "collapsed": 1, "of": 1}]
    assert (found.pick.name, found.pick.lr) != ("sgd", top)


def test_everything_that_diverges_gives_no_pick():
    table = made("sgd", rates=3)
    table = changed(table, sgd=dict.fromkeys([lr for _, lr in table.rows], nan))
    found = conclude(replay(asked(table, trials=3), table))
    assert found.pick is None
    assert "Nothing can be picked" in found.sentence
    assert found.to_dict()["optimizer"] is None


def test_contenders_whose_runs_collapse_end_a_race_without_a_budget():
    values = np.full((3, 200), nan)
    values[:, ::7] = 1.0
    table = arms(values)
    course = replay(question(table, Scale("value", "max"), margin=0.1), table)
    assert course.stopped == "time"
    assert max(course.seeds) < 2 * HOPELESS
    assert conclude(course).bound is None


def test_the_pick_is_measured_again_on_fresh_seeds_that_nothing_else_had():
    table = made(columns=60, fresh=5)
    batches, course = wanted(asked(table, margin=1.0), table)
    last = batches[-1]
    assert last.phase == AFTER
    assert [job.seed for job in last.jobs] == [*FRESH_SEEDS]
    pick = course.contenders[course.now.pick]
    own = table.recorded[table.rows[pick.candidate.label, pick.lr]]
    assert conclude(course).figure.mean == pytest.approx(own[-5:].mean())


def test_longer_runs_are_asked_for_where_there_is_time_and_compared():
    table = made(columns=60)
    asked_for = asked(table, margin=1.0)
    batches, _ = wanted(asked_for, table, clock=dataclasses.replace(UNTIMED, reads_only=False))
    assert {job.length for job in batches[-1].jobs} == {LONGER * asked_for.steps}
    runs = {job: dataclasses.replace(table.get(job), valid=97.0) for job in batches[-1].jobs}
    both = type("Both", (dict,), {"get": lambda self, job, default=None: runs.get(job) or table.get(job)})()
    found = conclude(replay(asked_for, both, clock=dataclasses.replace(UNTIMED, reads_only=False)))
    assert found.longer.ahead == 0.0
    assert found.longer.steps == LONGER * asked_for.steps
    assert found.longer.order == "undecided"
    assert f"At {LONGER * asked_for.steps} steps, it is not clearly ahead of or behind" in str(found)


def test_the_rival_in_longer_runs_has_the_best_mean_and_an_order_needs_five_seeds_and_a_t_test():
    """A rival with a wide spread has the largest upper bound; it is not the one compared."""
    rng = np.random.default_rng(3)
    values = np.array([[90.0], [89.9], [88.0]]) + np.array([[0.3], [0.3], [6.0]]) * rng.standard_normal((3, 600))
    table = arms(values, fresh=5)
    far = np.array([[95.0], [94.0], [99.0]]) + 0.1 * rng.standard_normal((3, 5))
    resting = dataclasses.replace(UNTIMED, reads_only=False)
    noisy = far + 50 * rng.standard_normal((3, 5))
    for longer, order in ((far, "ahead"), (far[[1, 0, 2]], "behind"), (noisy, "undecided")):
        table.longer = longer
        found = conclude(replay(question(table, Scale("value", "max"), margin=0.3), table, clock=resting))
        assert (found.pick.label, found.longer.label) == ("000", "001")
        assert found.longer.order == order
        assert found.longer.seeds == 5


@pytest.mark.parametrize(("seconds", "labels"), [(0.05, 14), (1.0, 2), (12.0, 2)])
def test_a_small_budget_takes_fewer_candidates_then_fewer_rates(seconds, labels):
    table = made(",".join(steepest.rules.CLASSICS), "constant,cosine", rates=15, columns=60)
    asked_for = asked(table, budget=60.0, typed_optimizers=False)
    fits = Fit(asked_for).decide(Clock(left=56.2, run=seconds))
    assert len(fits.labels) == labels
    if labels == 2:
        assert set(fits.labels) == {"adamw+cosine", "momentum+cosine"}
        assert fits.words.startswith("The budget allows for about")
    course = replay(asked_for, table, seconds=seconds)
    assert {s.label for s in course.question.spaces} == set(fits.labels)
    named = dataclasses.replace(asked_for, typed_optimizers=True)
    assert {s.name for s in replay(named, table, seconds=1.0).question.spaces} == set(steepest.rules.CLASSICS)


def test_a_budget_too_short_for_anything_says_how_much_would_do():
    table = made(columns=20)
    with pytest.raises(SteepestError, match=r"give at least --budget \d+s"):
        replay(asked(table, budget=60.0), table, seconds=50.0)
    with pytest.raises(SteepestError, match=r"give at least --budget (\d+)s") as refused:
        replay(asked(table, budget=5.0), table, seconds=2.0)
    enough = float(str(refused.value).partition("--budget ")[2].partition("s")[0])
    assert replay(asked(table, budget=enough), table, seconds=2.0).trials


@pytest.mark.parametrize(("seconds", "rates"), [(3.0, 5), (9.0, 3)])  # about 14 runs, and 4
def test_rates_of_a_slow_model_are_told_apart_in_runs_that_end_early(seconds, rates):
    table = made(",".join(steepest.rules.CLASSICS), "constant,cosine", rates=15, columns=60)
    asked_for = asked(table, budget=60.0, typed_optimizers=False)
    early = type("Early", (), {"get": lambda self, job, default=None: table.get(job._replace(until=0), default)})()
    batches, course = wanted(asked_for, early, seconds=seconds)
    assert "end after 25 % of their steps" in course.fits
    until = min(k for k in marks(100) if k >= EARLY * 100)
    assert {job.until for job in batches[0].jobs} == {until}
    assert len(batches[0].jobs) == 2 * rates
    assert len(course.contenders) == 2
    assert not any(job.until for batch in batches[1:] for job in batch.jobs if job.seed < 100)


def test_the_clock_of_a_replay_ends_screening_and_race_and_leaves_a_reserve():
    table = made("sgd,adam,adamw", rates=9, columns=400, spread=4.0)
    asked_for = asked(table, budget=40.0, margin=0.05)
    course = replay(asked_for, table, seconds=0.1)
    assert course.stopped == "time"
    assert course.ran <= ((1 - RESERVE) * 40.0 - 2.0) / 0.1
    found = conclude(course)
    assert found.limit == "time"
    assert found.bound > 0.05
    short = replay(dataclasses.replace(asked_for, budget=12.0), table, seconds=0.1)
    assert short.contenders == [] or short.now is None or conclude(short).bound is None or conclude(short).limit == "time"


def test_a_block_of_the_race_has_work_for_all_workers():
    table = arms(np.random.default_rng(0).standard_normal((4, 2000)))
    asked_for = question(table, Scale("value", "max"), margin=0.1)
    alone, _ = wanted(asked_for, table)
    many, _ = wanted(asked_for, table, clock=dataclasses.replace(UNTIMED, workers=64))
    race = [len(batch.jobs) for batch in many if batch.phase == RACE]
    assert min(race[1:]) >= 64
    assert len(many) < len(alone)


def test_one_that_sometimes_collapses_is_not_the_pick_while_another_lies_within_the_margin():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(12) + np.array([[0.01], [0.0]]) + 0.01 * rng.standard_normal((2, 12))
    free, bound = standing(values, [12, 12]), standing(values, [12, 12], margin=0.1, disfavoured=[0])
    assert (free.pick, bound.pick) == (0, 1)
    assert standing(values + np.array([[5.0], [0.0]]), [12, 12], margin=0.1, disfavoured=[0]).pick == 0


def test_bounds_of_earlier_looks_are_not_computed_again_and_are_the_same():
    rng, values = np.random.default_rng(1), np.random.default_rng(2).standard_normal((6, 40))
    values[2, 7] = nan
    earlier = {}
    for most in bounds.looks(40):
        seeds = np.where(rng.random(6) < 0.3, min(most, 12), most)
        seeds[:2] = most
        fresh, kept = standing(values, seeds, example=0.1), standing(values, seeds, example=0.1, earlier=earlier)
        np.testing.assert_array_equal(fresh.ahead, kept.ahead)
        assert fresh.pick == kept.pick


def test_a_measure_of_a_loss_has_the_margin_of_one_per_cent():
    table = made("sgd,adam", rates=3, best=3.0, spread=0.01, columns=60)
    course = replay(asked(table, LOSS, trials=3), table)
    assert conclude(course).margin == pytest.approx(0.01 * abs(np.mean(course.contenders[course.now.pick].values)))


# Trained in a laboratory.


@pytest.fixture
def store(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture(scope="module")
def searched(line, tmp_path_factory):
    """A race with searched rates, and its store; do not modify it."""
    path = tmp_path_factory.mktemp("searched") / "runs.db"
    return steepest.compare(line, **QUICK, store=path), path


@pytest.fixture(scope="module")
def typed(line):
    """A race with typed rates; do not modify it."""
    return steepest.compare(line, **TYPED, store=":memory:")


def test_a_replay_asks_for_the_same_runs_as_the_study_that_was_trained(line, tmp_path, monkeypatch):
    asked_for, train = [], Lab._train

    def watched(self, step, history):
        asked_for.append(step.jobs)
        train(self, step, history)

    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(Lab, "_train", watched)
        patch.setattr(Lab, "run", lambda self, run=Lab.run: (kept.append(self), run(self))[1])
        study = steepest.compare(line, **QUICK | {"budget": math.inf}, store=tmp_path / "s.db")
    (lab,) = kept
    batches, course = wanted(lab.question, lab.runs, clock=dataclasses.replace(UNTIMED, reads_only=False))
    assert [batch.jobs for batch in batches[: len(asked_for)]] == asked_for
    found = conclude(course, repeats=study.answer().repeats)
    assert (found.pick, found.bound, found.possible) == (study.answer().pick, study.answer().bound, study.answer().possible)


def test_values_are_aligned_from_the_first_seed_and_the_pick_comes_first(line, typed, strict):
    found = typed.to_dict()
    strict(json.dumps(found))
    assert found["optimizers"][0]["name"] == found["answer"]["optimizer"]
    for o in found["optimizers"]:
        assert o["seeds"] == list(range(len(o["values"])))
        assert len(o["values"]) >= 5
    one = next(o for o in found["optimizers"] if o["name"] == "adam")
    again = steepest.training.single.train(line, steepest.rules.get("adam"), lr=0.05, steps=8, seed=3)
    assert one["values"][3] == again.valid
    assert found["answer"]["test"] is None
    assert found["answer"]["fresh"]["n"] == len(FRESH_SEEDS)


def test_what_was_never_raced_comes_last_and_says_so():
    """A smaller loss is better: an unknown one must not count as 0."""
    table = made("sgd,adam,adamw", rates=3, columns=30, best=3.0, spread=0.1)
    course = replay(asked(table, LOSS, trials=3, margin=0.01), table)
    pick = course.contenders[course.now.pick]
    for one in course.contenders:
        one.outcomes = one.outcomes if one is pick else []
    course.costs = dict.fromkeys((s.label for s in table.spaces), (1.0, 8))
    ordered = entries(course, conclude(course))
    assert [bool(entry.values) for entry in ordered] == [True, False, False]


def test_the_same_race_again_trains_nothing_and_says_the_same(line, searched, store):
    first, path = searched
    shutil.copy(path, store)
    second = steepest.compare(line, **QUICK, store=store)
    assert first.result.trained > 0
    assert second.result.trained == 0
    assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize("after", [12, 60, 84])  # of 51 runs of screening, and 37 of the race
def test_a_race_that_was_stopped_ends_as_one_that_ran_on(line, searched, store, monkeypatch, after):
    whole, keep, kept = searched[0].to_dict(), Lab._keep, []

    def stop(self, *args):
        keep(self, *args)
        kept.append(1)
        if len(kept) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lab, "_keep", stop)
        stopped = steepest.compare(line, **QUICK, store=store)
    assert stopped.answer().limit == "time"
    going_on = steepest.compare(line, **QUICK, store=store, go_on=True).to_dict()
    for made_of in (whole, going_on):
        for o in made_of["optimizers"]:
            del o["seconds_per_step"]
        for v in made_of["verdicts"]:
            v.pop("status", None)
        made_of["answer"].pop("seconds_to_margin")
        for row in made_of["answer"]["rows"]:
            del row["seconds_per_step"]
        made_of["answer"]["details"] = [line for line in made_of["answer"]["details"] if "By other measures" not in line]
        beside = made_of["answer"]["beside"]
        made_of["answer"]["beside"] = [row for row in beside if "when the fastest ends" not in row["measure"]]
    assert going_on["answer"] == whole["answer"]
    assert going_on["optimizers"] == whole["optimizers"]


def test_continue_races_on_to_a_narrower_margin(line, store):
    wide = steepest.compare(line, **TYPED, margin=0.5, store=store).answer()
    narrow = steepest.compare(line, **TYPED, margin=wide.bound / 2, store=store, go_on=True).answer()
    assert narrow.bound <= wide.bound / 2


@pytest.fixture
def plane():
    """The sum of three inputs, with test data."""
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    y = x.sum(1, keepdim=True)
    return steepest.Problem(
        name="plane", model=lambda: nn.Linear(3, 1), loss=nn.MSELoss(), train=(x[:40], y[:40]), valid=(x[40:50], y[40:50]),
        test=(x[50:], y[50:]), batch_size=8, steps=20,
    )  # fmt: skip


def test_test_data_are_read_for_the_pick_alone(plane, store):
    study = steepest.compare(plane, **TYPED, store=store)
    assert study.answer().figure.split == "test"
    assert study.answer().figure.n == len(FRESH_SEEDS)
    assert all(o.test is None for e in study.result.entries for o in e.outcomes)


def test_results_of_examples_are_kept_and_bound_new_ones_more_widely(line, store):
    study = steepest.compare(line, **TYPED, margin=0.0005, store=store)
    outcome = study.result.entries[0].outcomes[0]
    assert len(outcome.examples) == len(line.valid)
    assert np.mean(outcome.examples) == pytest.approx(outcome.valid, rel=1e-3)  # half precision
    assert study.answer().bound_new_data >= 0
    again = steepest.compare(line, **TYPED, margin=0.0005, store=store)  # from the store, in half precision
    assert np.mean(again.result.entries[0].outcomes[0].examples) == pytest.approx(outcome.valid, rel=1e-3)


@pytest.mark.parametrize("plan", ["one", "many:4"])
def test_runs_that_end_early_begin_as_those_that_do_not(line, store, monkeypatch, plan):
    monkeypatch.setattr(Lab, "_run_seconds", lambda self, question: 9.0)
    asked_for = {"schedules": "constant,cosine", "steps": 20, "budget": 60, "plan": plan, "store": store}
    study = steepest.compare(line, **asked_for)
    assert any("end after 25 % of their steps" in note for note in study.result.notes)
    for e in study.result.entries:
        assert {o.curve.steps[-1] for t in e.trials for o in t.outcomes if o.valid is not None} == {5}
        assert {o.curve.steps[-1] for o in e.outcomes} == {20}
        tried = {t.lr: t.outcomes[0] for t in e.trials}
        whole = steepest.training.single.train(
            line, e.candidate.rule, lr=e.lr, steps=20, seed=TUNING_SEEDS[0], schedule=e.candidate.multiplier
        )
        np.testing.assert_allclose(tried[e.lr].curve.valid, whole.curve.valid[:6], rtol=1e-4)
        assert e.lr == min(tried, key=lambda lr: math.inf if tried[lr].valid is None else tried[lr].valid)
    again = steepest.compare(line, **asked_for)
    assert again.result.trained == 0
    assert str(again.answer()) == str(study.answer())


def test_what_contenders_had_run_when_the_time_was_up_is_not_lost(line, store, monkeypatch):
    monkeypatch.setattr(Lab, "_run_seconds", lambda self, question: 9.0)
    keep, kept = Lab._keep, []

    def stop(self, job, spec, outcome):
        keep(self, job, spec, outcome)
        kept.append(spec["seed"] < 5)
        if sum(kept) == 5:
            raise OutOfTimeError

    monkeypatch.setattr(Lab, "_keep", stop)
    study = steepest.compare(line, schedules="constant", steps=40, budget=60, plan="one", store=store)
    ran = {e.candidate.label: len(e.outcomes) for e in study.result.entries}
    assert [*ran.values()] == [2, 2]  # seeds go in order over all that race; the fifth run is the next higher rate
    found = study.answer()
    assert found.bound is None
    assert (found.rival.seeds, found.rival.low) == (2, None)
    assert f"{found.rival} on 2 shared seeds" in found.sentence
    assert f"for {40} steps" in found.sentence


def test_other_measures_stand_beside_with_their_means(store):
    lrs = {"sgd": 0.5, "adam": 0.01}
    study = steepest.compare("digits", "sgd,adam", lrs=lrs, schedules="constant", steps=20, margin=5, store=store)
    found = study.answer()
    assert any("bytes" in row.measure for row in found.beside)
    rows = {(e.candidate.label, e.lr): e for e in study.result.entries}
    pick = rows[found.pick.label, found.pick.lr]
    for row in found.beside:
        best = rows[row.label, row.lr]
        if "bytes" in row.measure:
            assert (row.value, row.pick) == (best.state_bytes, pick.state_bytes)
        if "validation loss" in row.measure:
            assert row.value == pytest.approx(np.mean([o.loss for o in best.outcomes]))
        if "when the fastest ends" in row.measure:
            assert 0 <= row.value <= 100
        assert row.value != row.pick
        assert any(row.measure in line for line in found.details)


def test_a_budget_stops_the_training(line, store):
    slow = steepest.Problem(
        name="slow", model=lambda: Slow(), loss=nn.MSELoss(), train=line.train, valid=line.valid, batch_size=8, steps=20
    )
    began = time.perf_counter()
    found = steepest.compare(
        slow, "sgd", lrs=[0.3, 0.31, 0.32, 0.33], budget="6s", margin=0.0, store=store, plan="one"
    ).answer()
    assert time.perf_counter() - began < 1.5 * 6
    assert found.limit == "time"


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
    alone = {**TYPED, "optimizers": "sgd", "lrs": 0.1, "store": store}
    assert steepest.compare(line, **alone).answer().question == 1
    second = steepest.compare(line, **{**alone, "steps": 12}).answer()
    assert second.question == 2
    assert any("question 2" in line for line in second.details)
    assert steepest.compare(line, **alone).answer().question == 1


def test_a_race_and_equal_seeds_share_a_store_and_not_their_runs(plane, store):
    """Runs of a race do not read the test data, and those of equal seeds store no results of examples."""
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

    alone = {**TYPED, "optimizers": "sgd", "lrs": 0.1, "store": store}
    first, second = (steepest.compare(noisy(), **alone) for _ in range(2))
    assert not any("something in it is random" in note for note in first.result.notes)
    assert any("something in it is random" in note for note in second.result.notes)


def test_a_candidate_added_later_spends_a_reserved_share(line, store):
    for names, expected in (("sgd,adam", 0.04), ("adam", 0.04), ("sgd,adam,momentum", 0.005), ("momentum,sgd", 0.005)):
        study = steepest.compare(line, **{**TYPED, "optimizers": names, "lrs": 0.05}, margin=1.0, store=store)
        assert study.result.question.alpha == expected
