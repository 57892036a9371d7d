"""The equal protocol: equal work, pairing, confirmation, looks, and resuming from the store."""

import dataclasses
import json
import math
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.study.axes import LEARNING_RATE
from steepest.study.budget import TUNING_SEEDS
from steepest.study.machine import Machine
from steepest.study.screen import MOST_GROWN, grown_together
from steepest.study.space import spaces
from steepest.study.store import Store
from steepest.study.store.schema import VERSION
from steepest.training.single import train
from steepest.training.supervised import Supervised

QUICK = {"optimizers": "sgd,momentum,adam", "lrs": {"sgd": 0.1, "momentum": 0.02, "adam": 0.05}, "seeds": 6, "steps": 8}
QUICK |= {"schedules": "constant", "plan": "one"}


@pytest.fixture
def store(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture(scope="module")
def trained(line, tmp_path_factory):
    """The study QUICK and its store; do not modify it."""
    path = tmp_path_factory.mktemp("trained") / "runs.db"
    return steepest.compare(line, **QUICK, store=path), path


@pytest.fixture
def full_store(trained, store):
    """A separate store with the runs of QUICK."""
    return shutil.copy(trained[1], store)


def test_the_log_grid_has_three_rates_a_decade():
    assert [LEARNING_RATE.value(k) for k in range(-6, 1)] == [0.01, 0.022, 0.046, 0.1, 0.22, 0.46, 1.0]


def test_grids_grow_together_and_stop_at_the_cap():
    two, most = spaces(["sgd", "adam"], ["constant"], None), 7 + MOST_GROWN
    grids = [range(0, 7), range(-10, -3)]
    assert grown_together(two, grids, [3, -7], most) is None
    assert grown_together(two, grids, [0, -7], most) == [range(-2, 7), range(-11, -2)]
    assert grown_together(two, grids, [3, -4], most) == [range(-1, 8), range(-10, -1)]
    full = [range(0, 13), range(0, 13)]
    assert grown_together(two, full, [0, 6], most) is None


def test_every_searched_optimizer_gets_the_same_number_of_trials_and_tuning_seeds(line, store):
    study = steepest.compare(line, "sgd,adam", seeds=2, steps=10, trials=3, schedules="constant", plan="one", store=store)
    trials = [entry.trials for entry in study.result.entries]
    assert len(trials[0]) == len(trials[1]) > 3  # three rates are too few here, so both grids grew
    assert {len(t.outcomes) for ts in trials for t in ts} == {len(TUNING_SEEDS)}
    assert study.result.trained == 2 * (len(trials[0]) * len(TUNING_SEEDS) + 2)


def test_the_rate_chosen_has_the_best_validation_mean_and_is_confirmed_on_other_seeds(line, store):
    study = steepest.compare(line, "sgd", lrs=[1e-3, 0.1, 0.2, 0.9], seeds=3, schedules="constant", plan="one", store=store)
    entry = study.result.entries[0]
    means = {t.lr: np.mean(t.values) for t in entry.trials if not t.diverged}
    assert entry.lr == min(means, key=means.get)
    rows = sqlite3.connect(store).execute("SELECT seed FROM runs WHERE lr = ?", (entry.lr,)).fetchall()
    assert {seed for (seed,) in rows} == {0, 1, 2, *TUNING_SEEDS}


def test_a_best_rate_on_the_edge_is_flagged(line, store):
    study = steepest.compare(line, "sgd", lrs=[1e-4, 1e-3], seeds=2, schedules="constant", plan="one", store=store)
    assert study.result.entries[0].at_edge
    assert "is at the edge of those tried" in " ".join(study.result.notes)


def test_test_data_are_read_only_by_confirming_runs(line, store):
    x = torch.ones(4, 1)
    with_test = steepest.Problem(**{f: getattr(line, f) for f in ("model", "loss", "train", "valid")}, test=(x, x))
    study = steepest.compare(
        with_test, "sgd", lrs=[0.05, 0.1], seeds=2, steps=10, schedules="constant", plan="one", store=store
    )
    rows = sqlite3.connect(store).execute("SELECT seed, test FROM runs").fetchall()
    assert all((test is not None) == (seed < 1000) for seed, test in rows)
    assert study.result.entries[0].values == [o.test for o in study.result.entries[0].outcomes]


def plainly_trained(line, optimizer_of, seed, steps):
    """The final loss of a plain training loop over shuffled batches of 8, evaluated at the optimizer's view if it has one."""
    torch.manual_seed(seed)
    model = nn.Linear(1, 1)
    optimizer = optimizer_of(model.parameters())
    (x, y), order, done = line.train.tensors, torch.Generator().manual_seed(seed), 0
    while done < steps:
        for index in torch.randperm(64, generator=order).split(8):
            if done < steps:
                optimizer.zero_grad()
                ((model(x[index]) - y[index]) ** 2).mean().backward()
                optimizer.step()
                done += 1
    getattr(optimizer, "eval", lambda: None)()
    return ((model(x) - y) ** 2).mean().item()


def test_values_are_those_of_a_plain_torch_loop(line, store):
    """The whole path from command to number, against a loop written here with torch's own Adam."""
    study = steepest.compare(line, "adam", lrs=0.05, seeds=2, steps=15, schedules="constant", plan="one", store=store)
    expected = [plainly_trained(line, lambda params: torch.optim.Adam(params, lr=0.05), seed, 15) for seed in (0, 1)]
    assert study.result.entries[0].values == pytest.approx(expected, rel=1e-5)


def test_seeds_are_paired_so_that_equal_rules_give_equal_values(line, store):
    study = steepest.compare(
        line, ["sgd", rules.get("sgd").preset("twin_of_sgd")], lrs=0.1, seeds=5, schedules="constant", plan="one", store=store
    )
    a, b = study.result.entries
    assert a.values == b.values
    assert len(set(a.values)) == 5
    assert study.verdicts()[0].verdict == "tied"
    del rules.RULES["twin_of_sgd"]


def test_numbers_agree_with_scipy_from_the_values(line, store):
    study = steepest.compare(line, **QUICK, margin=0.0, store=store)
    found = study.to_dict()
    values = {o["name"]: np.array(o["values"]) for o in found["optimizers"]}
    for o in found["optimizers"]:
        assert o["mean"] == pytest.approx(values[o["name"]].mean())
        assert o["se"] == pytest.approx(stats.sem(values[o["name"]]))
    raw = []
    for v in found["verdicts"]:
        d = values[v["b"]] - values[v["a"]]
        raw.append(stats.ttest_1samp(d, 0).pvalue)
        assert v["difference"] == pytest.approx(d.mean())
        assert v["difference"] >= 0
        assert v["probability"] == (d > 0).mean()
        assert (v["verdict"] == "better") == (v["low"] > 0)
    ordered = sorted(raw)
    adjusted = {p: min(1, max(q * (3 - i) for i, q in enumerate(ordered[: k + 1]))) for k, p in enumerate(ordered)}
    assert [v["p"] for v in found["verdicts"]] == pytest.approx([adjusted[p] for p in raw])


def test_the_same_study_again_trains_nothing_and_says_the_same(line, trained, full_store):
    first, second = trained[0], steepest.compare(line, **QUICK, store=full_store)
    assert (first.result.trained, second.result.trained) == (18, 0)
    assert first.to_dict() == second.to_dict()
    assert "Nothing to train" in str(second)


def test_more_seeds_train_only_what_is_missing_as_a_declared_look(line, full_store):
    more = steepest.compare(line, **{**QUICK, "seeds": 9}, store=full_store)
    assert more.result.trained == 3 * 3
    assert (more.result.look, more.result.alpha) == (2, pytest.approx(0.005))
    assert "Look 2 at this study" in str(more)
    again = steepest.compare(line, **QUICK, store=full_store)
    assert (again.result.look, again.result.alpha) == (1, 0.04)


@pytest.mark.parametrize("plan", ["one", "many:4"])
def test_an_interrupted_study_goes_on_where_it_stopped_bit_for_bit(line, store, tmp_path, monkeypatch, plan):
    whole = steepest.compare(line, **{**QUICK, "plan": plan}, store=tmp_path / "whole.db")
    from steepest.study.store import Store

    keep, kept = Store.add_run, []

    def keep_then_stop(*args):
        if len(kept) == 7:
            raise KeyboardInterrupt
        kept.append(1)
        keep(*args)

    monkeypatch.setattr(Store, "add_run", keep_then_stop)
    with pytest.raises(KeyboardInterrupt):
        steepest.compare(line, **{**QUICK, "plan": plan}, store=store)
    monkeypatch.undo()
    resumed = steepest.compare(line, **{**QUICK, "plan": plan}, store=store)
    assert resumed.result.trained == 18 - 7
    assert [e.values for e in resumed.result.entries] == [e.values for e in whole.result.entries]


@pytest.mark.parametrize(
    "change", [{"steps": 9}, {"lrs": {"sgd": 0.11, "momentum": 0.02, "adam": 0.05}}, {"schedules": "cosine"}]
)
def test_another_setting_is_another_run(line, full_store, change):
    assert steepest.compare(line, **{**QUICK, **change}, store=full_store).result.trained > 0


def test_an_edited_rule_is_another_run(line, store, monkeypatch):
    steepest.compare(line, "sgd", lrs=0.1, seeds=2, schedules="constant", plan="one", store=store)
    sgd = rules.get("sgd")
    twice = dataclasses.replace(sgd, traced=[], step=lambda p, g, *a, **k: sgd.step(p, 2 * g, *a, **k))
    monkeypatch.setitem(rules.RULES, "sgd", twice)
    assert steepest.compare(line, "sgd", lrs=0.1, seeds=2, schedules="constant", plan="one", store=store).result.trained == 2


def test_a_store_whose_runs_were_keyed_by_the_text_of_rules_is_opened_kept_and_told(line, full_store):
    with sqlite3.connect(full_store) as db:  # as in the first version: digests without a mark, and so other keys
        db.execute("DROP TRIGGER runs_no_UPDATE")
        db.execute("UPDATE runs SET spec = json_set(spec, '$.rule', 'ab12'), key = 'old' || key")
    study = steepest.compare(line, **QUICK, store=full_store)
    assert study.result.trained == 18
    (note,) = [n for n in study.result.notes if "earlier version" in n]
    assert note.startswith("18 runs of line in the store are of an earlier version")
    assert note in str(study)
    with sqlite3.connect(full_store) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (36,)


SECOND = """
CREATE TABLE plans (key TEXT PRIMARY KEY, steps INTEGER NOT NULL, created TEXT NOT NULL);
CREATE TABLE ways (key TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE timings (
    key TEXT PRIMARY KEY, seconds_per_step REAL NOT NULL, state_bytes INTEGER NOT NULL, created TEXT NOT NULL);
INSERT INTO plans SELECT key, value, created FROM facts WHERE what = 'steps';
INSERT INTO ways SELECT key, value ->> '$', created FROM facts WHERE what = 'way';
INSERT INTO timings SELECT key, value ->> '$[0]', value ->> '$[1]', created FROM facts WHERE what = 'timing';
DROP TABLE facts;
DROP TABLE state;
ALTER TABLE runs DROP COLUMN examples;
"""


@pytest.mark.parametrize("schema", [1, 2, 3, 5])
def test_a_store_of_an_earlier_schema_is_carried_over(schema, line, store):
    """Schema 5 had no standard errors, 3 no table for its state, 2 a table for each kind of fact, and 1 none for ways."""
    whole = steepest.compare(line, **{**QUICK, "plan": "auto"}, store=store)
    with sqlite3.connect(store) as db:
        facts = db.execute("SELECT what, key, value FROM facts ORDER BY what, key").fetchall()
        before = {1: SECOND + "DROP TABLE ways;", 2: SECOND, 3: "DROP TABLE state;", 5: ""}[schema]
        before += "ALTER TABLE runs DROP COLUMN test_se;"
        db.executescript(f"{before} PRAGMA user_version = {schema}")
    again = steepest.compare(line, **{**QUICK, "plan": "auto"}, store=store)
    assert again.result.trained == 0
    assert [e.values for e in again.result.entries] == [e.values for e in whole.result.entries]
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        kept = db.execute("SELECT what, key, value FROM facts ORDER BY what, key").fetchall()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("UPDATE facts SET value = 'one'")
    before = {(what, key): json.loads(value) for what, key, value in facts if schema > 1 or what != "way"}
    after = {(what, key): json.loads(value) for what, key, value in kept}
    assert all(after[k] == (pytest.approx(v, rel=1e-14) if k[0] == "timing" else v) for k, v in before.items())
    more = steepest.compare(line, **{**QUICK, "seeds": 8, "plan": "auto"}, store=store)
    assert more.result.trained == 6


def test_a_diverged_run_is_kept_counted_ranked_last_and_never_compared_by_means(line, store, strict):
    study = steepest.compare(
        line, "sgd,adam", lrs={"sgd": 500.0, "adam": 0.05}, seeds=6, steps=30, schedules="constant", plan="one", store=store
    )
    found = strict(json.dumps(study.to_dict(), allow_nan=False))
    assert [o["name"] for o in found["optimizers"]] == ["adam", "sgd"]
    sgd, verdict = found["optimizers"][1], found["verdicts"][0]
    assert (sgd["values"], sgd["mean"], sgd["se"], sgd["diverged"]) == ([None] * 6, None, None, 6)
    assert sgd["status"] == "6 of 6 runs diverged"
    assert (verdict["verdict"], verdict["low"], verdict["probability"]) == ("undecided", None, 1.0)
    assert "sgd diverged in 6 of 6 runs" in verdict["status"]
    rows = sqlite3.connect(store).execute("SELECT status, diverged_at, curve FROM runs WHERE optimizer = 'sgd'").fetchall()
    assert {status for status, _, _ in rows} == {"diverged"}
    assert all(0 < at <= 30 and json.loads(curve)["steps"] for _, at, curve in rows)
    assert (
        steepest.compare(
            line, "sgd,adam", lrs={"sgd": 500.0, "adam": 0.05}, seeds=6, steps=30, schedules="constant", plan="one", store=store
        ).result.trained
        == 0
    )


def test_a_loss_a_thousand_times_its_start_has_diverged_and_a_smaller_one_has_not(line):
    for lr, diverged in ((3.0, True), (0.1, False)):
        outcome = train(line, rules.get("sgd"), lr=lr, steps=400, seed=0)
        assert (outcome.diverged_at is not None) == diverged
        assert (outcome.valid is None) == diverged
        assert all(math.isfinite(v) for v in outcome.curve.metric)


def test_a_problem_without_randomness_says_so(store):
    study = steepest.compare(
        "breast-cancer",
        "sgd,adam",
        lrs={"sgd": 1e-3, "adam": 0.01},
        seeds=5,
        steps=20,
        schedules="constant",
        plan="one",
        store=store,
    )
    assert "no randomness" in " ".join(study.result.notes)
    assert study.verdicts()[0].verdict == "better"


def test_a_given_module_is_told(line, store):
    tuned = steepest.Problem(model=nn.Linear(1, 1), loss=nn.MSELoss(), train=line.train, valid=line.valid)
    study = steepest.compare(tuned, "sgd", lrs=0.1, seeds=2, steps=5, schedules="constant", plan="one", store=store)
    assert "every seed starts from the same weights" in " ".join(study.result.notes)


def test_unequal_tuning_is_told(line, store):
    study = steepest.compare(
        line,
        "sgd,adam",
        lrs={"sgd": [0.1, 0.05], "adam": 0.01},
        seeds=2,
        steps=5,
        schedules="constant",
        plan="one",
        store=store,
    )
    assert "not tuned with equal work" in " ".join(study.result.notes)


def test_schedules_cross_with_optimizers(line, store):
    study = steepest.compare(
        line, "sgd,adam", schedules="constant,cosine", lrs=0.05, seeds=5, steps=10, plan="one", store=store
    )
    found = study.to_dict()
    assert len(found["optimizers"]) == 4
    assert len(found["verdicts"]) == 6
    assert {v["a"] for v in found["verdicts"]} <= {"sgd+constant", "sgd+cosine", "adam+constant", "adam+cosine"}


def test_a_budget_sets_the_steps_once(line, store, monkeypatch):
    monkeypatch.setattr(Machine, "costs", lambda self, spaces: {space.label: (1e-3, 8) for space in spaces})
    monkeypatch.setattr(Supervised, "evaluations", lambda self: 0.01)
    arguments = {
        "optimizers": "sgd,adam",
        "lrs": 0.05,
        "seeds": 5,
        "budget": "2s",
        "schedules": "constant",
        "plan": "one",
        "store": store,
    }
    first = steepest.compare(line, **arguments)
    assert first.result.question.steps >= 20
    second = steepest.compare(line, **arguments)
    assert second.result.question.steps == first.result.question.steps
    assert second.result.trained == 0
    with pytest.raises(SteepestError, match="fewer than 20 steps"):
        steepest.compare(line, **{**arguments, "budget": 1e-4})


def test_the_table_json_and_text_agree(trained):
    study, _ = trained
    found, table, text = study.to_dict(), study.table(), str(study)
    assert table.index.tolist() == [o["name"] for o in found["optimizers"]]
    for o in found["optimizers"]:
        row = table.loc[o["name"]]
        assert (row["lr"], row["mean"], row["se"], row["n"]) == (o["lr"], o["mean"], o["se"], len(o["values"]))
        printed = next(words for words in text.splitlines() if words.startswith(o["name"] + " ")).split()
        assert float(printed[1]) == o["lr"]
        assert float(printed[2]) == pytest.approx(o["mean"], rel=0.05)


def test_the_best_choice_is_an_optimizer_and_its_code_makes_the_same_one(line, store):
    study = steepest.compare(
        line, "nesterov,adamw", lrs={"nesterov": 0.02, "adamw": 0.05}, seeds=3, schedules="constant", plan="one", store=store
    )
    model = nn.Linear(1, 1)
    mine = study.best().optimizer(model.parameters())
    namespace = {"model": model}
    exec(study.best().code(), namespace)
    groups = [{k: v for k, v in o.param_groups[0].items() if k != "params"} for o in (mine, namespace["optimizer"])]
    assert groups[0] == groups[1]
    assert groups[0]["lr"] == study.best().lr


def test_the_store_keeps_every_run_and_changes_none(full_store):
    db = sqlite3.connect(full_store)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    for statement in ("DELETE FROM runs", "UPDATE runs SET valid = 0", "DELETE FROM looks"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    assert db.execute("SELECT count(*) FROM runs").fetchone() == (18,)


def test_two_processes_may_make_the_same_store_at_once(store):
    a = Store(store)
    b = Store(store)
    spec = {"x": 1}
    a.remember("timing", spec, (0.5, 7))
    b.remember("timing", spec, (0.9, 9))
    assert a.recall("timing", spec) == b.recall("timing", spec) == [0.5, 7]
    assert a.recall("way", spec) is None
    a.close()
    b.close()


def test_solo_timing_and_state_bytes_stand_beside_the_values(trained):
    found = trained[0].to_dict()
    by_name = {o["name"]: o for o in found["optimizers"]}
    assert {name: o["state_bytes"] for name, o in by_name.items()} == {"sgd": 0, "momentum": 8, "adam": 16}
    assert all(0 < o["seconds_per_step"] < 1 for o in by_name.values())


def test_a_rule_written_again_under_its_name_is_the_one_trained(line, store):
    def changed(factor):
        @rules.rule("test", twin="SGD")
        def mine(p, g, t, *, lr=0.1, factor=factor):
            return (p - factor * lr * g,)

        return mine

    values = [
        steepest.compare(line, [changed(f)], lrs=0.1, seeds=2, schedules="constant", plan="one", store=store)
        .result.entries[0]
        .values
        for f in (1.0, 0.0)
    ]
    reference = (
        steepest.compare(line, "sgd", lrs=0.1, seeds=2, schedules="constant", plan="one", store=store).result.entries[0].values
    )
    del rules.RULES["mine"]
    assert values[0] == pytest.approx(reference)
    assert values[1] != values[0]


def test_only_the_built_in_accuracy_is_measured_in_points(line, store):
    def accuracy(output, target):
        return (output - target).abs().lt(0.3).double().mean()

    fraction = steepest.Problem(
        model=line.model, loss=line.loss, train=line.train, valid=line.valid, metric=accuracy, direction="max"
    )
    study = steepest.compare(
        fraction, "sgd,adam", lrs={"sgd": 0.1, "adam": 0.001}, seeds=5, steps=30, schedules="constant", plan="one", store=store
    )
    better = max(e.summary()[0] for e in study.result.entries)
    assert study.verdicts()[0].margin == pytest.approx(0.01 * better)
    assert "points" not in study.verdicts()[0].sentence


class Explodes(nn.Module):
    """A loss that raises, or becomes non-finite, once the weights have moved far."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, output, target):
        if output.detach().abs().max() > 1e3:
            if self.how == "raises":
                raise ValueError("scale must be positive")
            return output.sum() * float(self.how)
        return ((output - target) ** 2).mean()


@pytest.mark.parametrize("how", ["raises", "nan", "inf", "-inf"])
def test_losses_that_break_down_far_from_the_start_are_diverged_runs(line, store, strict, how):
    far = steepest.Problem(model=line.model, loss=Explodes(how), train=line.train, valid=line.valid, batch_size=8)
    study = steepest.compare(
        far, "sgd,adam", lrs={"sgd": 2.0, "adam": 0.05}, seeds=5, steps=30, schedules="constant", plan="one", store=store
    )
    found = strict(json.dumps(study.to_dict(), allow_nan=False))
    assert {o["name"]: o["diverged"] for o in found["optimizers"]} == {"adam": 0, "sgd": 5}
    again = steepest.compare(
        far, "sgd,adam", lrs={"sgd": 2.0, "adam": 0.05}, seeds=5, steps=30, schedules="constant", plan="one", store=store
    )
    assert again.to_dict() == study.to_dict()


def test_a_loss_that_raises_whatever_the_weights_is_the_users_to_mend(line, store):
    calls = []

    def tired(output, target):
        calls.append(1)
        if len(calls) > 60:
            raise ValueError("no more")
        return ((output - target) ** 2).mean()

    weary = steepest.Problem(model=line.model, loss=tired, train=line.train, valid=line.valid)
    with pytest.raises(SteepestError, match=r"ValueError at .*: no more"):
        steepest.compare(weary, "sgd", lrs=0.01, seeds=5, steps=100, schedules="constant", plan="one", store=store)


def test_a_metric_that_is_nan_makes_a_run_diverged_and_never_the_best(line, store, strict):
    def metric(output, target):
        return float("nan") if output.abs().max() > 30 else ((output - target) ** 2).mean()

    odd = steepest.Problem(model=line.model, loss=line.loss, train=line.train, valid=line.valid, metric=metric)
    study = steepest.compare(odd, "sgd", lrs=[0.1, 1.5], seeds=3, steps=30, schedules="constant", plan="one", store=store)
    assert study.best().lr == 0.1
    strict(json.dumps(study.to_dict(), allow_nan=False))


def test_trials_do_not_count_as_another_study_where_every_rate_is_given(line, full_store):
    assert steepest.compare(line, **{**QUICK, "seeds": 7}, trials=9, store=full_store).result.look == 2


def test_under_five_seeds_nothing_is_spent(line, store):
    few = steepest.compare(line, **{**QUICK, "seeds": 3}, store=store)
    assert few.result.look == 0
    assert "Look" not in str(few)
    assert steepest.compare(line, **QUICK, store=store).result.look == 1


def test_rates_may_come_as_an_array(line, store):
    assert steepest.compare(
        line, "sgd", lrs=np.array([0.1, 0.05]), seeds=2, steps=5, schedules="constant", plan="one", store=store
    ).best().lr in (0.1, 0.05)


def test_six_connections_make_one_store_together(tmp_path):
    with ThreadPoolExecutor(6) as pool:
        for i in range(10):
            list(pool.map(lambda i: Store(tmp_path / f"{i}.db").close(), [i] * 6))


def test_a_small_step_gets_one_thread_and_a_large_one_all(line):
    from steepest.training.timing import operations, threads

    x = torch.zeros(1024, 512)
    large = steepest.Problem(
        model=lambda: nn.Linear(512, 512), loss=nn.MSELoss(), train=(x, x), valid=(x[:1], x[:1]), batch_size=1024
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    for problem, expected in ((line, 1), (large, 2)):
        with threads(operations(problem)):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_rule_that_takes_two_gradients_a_step_makes_half_the_steps(line, store):
    study = steepest.compare(
        line, "sgd,sam", lrs={"sgd": 0.1, "sam": 0.02}, seeds=5, steps=30, schedules="constant", plan="one", store=store
    )
    steps = dict(sqlite3.connect(store).execute("SELECT optimizer, steps FROM runs").fetchall())
    assert steps == {"sgd": 30, "sam": 15}
    assert "sam takes 2 gradients a step, so it trains for 15 steps: equal work." in study.result.notes


def test_a_rule_with_a_view_is_evaluated_there(line, store):
    outcome = train(line, rules.get("schedule_free_adamw"), lr=0.1, steps=20, seed=0)
    expected = plainly_trained(line, lambda params: steepest.optim.ScheduleFreeAdamW(params, lr=0.1), 0, 20)
    assert outcome.valid == pytest.approx(expected, rel=1e-5)
