"""Listing, showing, merging and checking a store; stores that are damaged, deleted or replaced while in use."""

import gc
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import steepest
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.study.store import Store, inspection

ASKED = {"optimizers": "sgd,adam", "lrs": 0.05, "seeds": 5, "steps": 20, "schedules": "constant", "plan": "one"}


def store_command(*arguments):
    return CliRunner().invoke(app, ["store", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(line, tmp_path_factory):
    """A store of ten runs, to be copied."""
    path = tmp_path_factory.mktemp("trained") / "runs.db"
    steepest.compare(line, **ASKED, store=path)
    return path


@pytest.fixture
def store(trained, tmp_path):
    return shutil.copy(trained, tmp_path / "runs.db")


def edited(path, statement):
    """Modify an append-only table."""
    with sqlite3.connect(path) as db:
        for table in ("runs", "looks", "facts"):
            db.execute(f"DROP TRIGGER IF EXISTS {table}_no_UPDATE")
        db.execute(statement)
    db.close()


def test_what_it_holds_is_listed(store, strict):
    result = store_command("ls", store, "--json", store.parent / "ls.json")
    assert result.exit_code == 0, result.output
    assert "line: 10 runs of 2 optimizers" in result.stdout
    assert "Study of line: Use" in result.stdout
    held = strict((store.parent / "ls.json").read_text())
    assert held["problems"][0]["runs"] == 10
    assert held["unfinished"] == {"files": 0, "bytes": 0}
    (store.parent / "runs.db-unfinished").mkdir()
    (store.parent / "runs.db-unfinished" / "a.safetensors").write_bytes(b"x" * 2**20)
    assert "Unfinished runs or chunks: 1 (1 MiB)" in store_command("ls", store).stdout


def test_a_run_is_shown_by_the_beginning_of_its_key(store, strict):
    listed = store_command("show", store)
    assert listed.exit_code == 0, listed.output
    assert len(listed.stdout.splitlines()) == 11
    key = listed.stdout.splitlines()[1].split()[0]
    result = store_command("show", store, key, "--json", "-")
    run = strict(result.stdout)
    assert run["key"].startswith(key)
    assert run["spec"]["seed"] == run["seed"]
    assert run["curve"]["steps"][-1] == 20
    assert f"optimizer   {run['optimizer']}" in store_command("show", store, key).stdout
    for wrong in ("zz", ""):
        refused = store_command("show", store, wrong)
        assert refused.exit_code == 2
        assert "whose key begins with" in refused.stderr


def test_stores_are_merged_into_one_that_answers_for_all(line, store, tmp_path):
    other, all_of_them = tmp_path / "other.db", tmp_path / "all.db"
    steepest.compare(line, **{**ASKED, "optimizers": "sgd,momentum", "seeds": 6}, store=other)
    result = store_command("merge", all_of_them, store, other)
    assert result.exit_code == 0, result.output
    assert "runs.db: 10 runs, 1 looks" in result.stdout
    assert "other.db: 7 runs, 1 looks" in result.stdout  # sgd's first five are in the store
    assert "nothing new" in store_command("merge", all_of_them, store, other).stdout
    study = steepest.compare(line, **{**ASKED, "optimizers": "sgd,momentum,adam"}, store=all_of_them)
    assert study.result.trained == 0
    whole = steepest.compare(line, **{**ASKED, "optimizers": "sgd,momentum,adam"}, store=":memory:")
    assert [e.values for e in study.result.entries] == [e.values for e in whole.result.entries]
    assert "merged into itself" in store_command("merge", store, store).stderr
    assert store_command("merge", all_of_them, tmp_path / "none.db").exit_code == 2


def test_looks_at_the_same_study_in_two_stores_spend_alpha_one_after_the_other(tmp_path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        a.look("study", 5, lambda k: 0.1 / k)
        b.look("study", 6, lambda k: 0.1 / k)
        assert b.look("study", 6, None) == (1, 0.1)
    with Store(tmp_path / "a.db") as a:
        assert inspection.merge(a, str(tmp_path / "b.db"))["looks"] == 1
        assert a.look("study", 6, None)[0] == 2
        assert a.look("study", 6, None)[1] < 0.1


DAMAGE = {
    "a curve that is no JSON": ("UPDATE runs SET curve = '{' WHERE rowid = 3", "its curve is not a curve"),
    "a curve of something else": ("UPDATE runs SET curve = '[]' WHERE rowid = 3", "its curve is not a curve"),
    "columns of several lengths": (
        """UPDATE runs SET curve = json_set(curve, '$.train', json('[1]')) WHERE rowid = 3""",
        "columns of several lengths",
    ),
    "another spec": ("UPDATE runs SET spec = '{}' WHERE rowid = 3", "its key does not match its spec"),
    "no spec": ("UPDATE runs SET spec = 'x' WHERE rowid = 3", "what made it is not JSON"),
    "examples": ("UPDATE runs SET examples = x'6201' WHERE rowid = 3", "the results of its examples cannot be read"),
    "too few resamples": (
        "UPDATE runs SET examples = x'6400000000' WHERE rowid = 3",
        "the results of its examples cannot be read",
    ),
    "resamples that are no numbers": (
        f"UPDATE runs SET examples = x'64{'0000c07f' * 50}' WHERE rowid = 3",
        "the results of its examples cannot be read",
    ),
    "a standard error below zero": ("UPDATE runs SET test_se = -1.0 WHERE rowid = 3", "a column is not what it is for"),
    "words for a standard error": ("UPDATE runs SET test_se = 'low' WHERE rowid = 3", "one of its results is not a number"),
    "words for a number": ("UPDATE runs SET loss = 'low' WHERE rowid = 3", "one of its results is not a number"),
    "a fact": ("UPDATE facts SET value = '{' WHERE what = 'timing'", "is not JSON"),
    "a look": ("UPDATE looks SET alpha = 'x'", "its alpha is 'x'"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_the_rest_taken_over(kind, line, store, tmp_path):
    assert store_command("check", store).stdout == f"{store} is sound: 10 runs.\n"
    statement, words = DAMAGE[kind]
    edited(store, statement)
    result = store_command("check", store, "--json", tmp_path / "c.json")
    assert result.exit_code == 2
    assert words in result.stdout
    assert len(result.stderr.strip().splitlines()) == 1
    assert not json.loads((tmp_path / "c.json").read_text())["sound"]
    taken = store_command("merge", tmp_path / "new.db", store)
    assert taken.exit_code == 0, taken.output
    assert store_command("check", tmp_path / "new.db").exit_code == 0
    study = steepest.compare(line, **ASKED, store=tmp_path / "new.db")
    assert study.result.trained == (1 if "runs SET" in statement else 0)


def f1(output, target):
    predicted, true = output.argmax(1) == 1, target == 1
    return 2 * (predicted & true).sum() / (predicted.sum() + true.sum())


def test_results_of_resamples_and_the_error_of_a_test_are_stored_loaded_merged_and_exported(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 3, generator=generator)
    y = (x[:, 0] + torch.randn(90, generator=generator) > 0).long()
    problem = steepest.Problem(
        name="f1", model=lambda: nn.Linear(3, 2), loss=nn.CrossEntropyLoss(), metric=f1, direction="max", batch_size=8,
        train=(x[:30], y[:30]), valid=(x[30:60], y[30:60]), test=(x[60:], y[60:]), steps=20,
    )  # fmt: skip
    asked = {"optimizers": "sgd", "lrs": 0.1, "seeds": 2, "schedules": "constant", "plan": "one"}
    race = {"optimizers": "sgd,adam", "lrs": 0.1, "schedules": "constant", "plan": "one", "budget": "1min", "margin": 0.2}
    for kind, question in (("equal", asked), ("race", race)):
        first = steepest.compare(problem, **question, store=tmp_path / f"{kind}.db").result
        merged = store_command("merge", tmp_path / f"{kind}-all.db", tmp_path / f"{kind}.db")
        assert merged.exit_code == 0, merged.output
        again = steepest.compare(problem, **question, store=tmp_path / f"{kind}-all.db").result
        assert again.trained == 0
        for a, b in zip(first.entries[0].outcomes, again.entries[0].outcomes, strict=True):
            assert a == b
            assert a.examples is b.examples is None
            if kind == "race":
                assert a.draws.shape == (50,)
                np.testing.assert_array_equal(a.draws, b.draws)
            else:
                assert 0 < a.test_se < 0.3
        out = tmp_path / f"{kind}.csv"
        assert store_command("export", tmp_path / f"{kind}.db", "--out", out).exit_code == 0
        assert sorted(pd.read_csv(out).test_se.dropna()) == pytest.approx(sorted(errors(tmp_path / f"{kind}.db")))
        assert errors(tmp_path / f"{kind}.db")


def errors(store):
    """The standard errors of test results in a store."""
    with sqlite3.connect(store) as db:
        found = [error for (error,) in db.execute("SELECT test_se FROM runs WHERE test IS NOT NULL")]
    db.close()
    return found


def test_a_damaged_run_that_is_asked_for_is_one_sentence(line, store):
    edited(store, "UPDATE runs SET curve = '{' WHERE rowid = 3")
    with pytest.raises(SteepestError, match=r"^Run [0-9a-f]{12} in the store .* is damaged; `steepest store check`"):
        steepest.compare(line, **ASKED, store=store)


def test_bytes_that_are_no_longer_a_database_are_one_sentence(store):
    bytes_ = bytearray(store.read_bytes())
    bytes_[5000 : len(bytes_) - 4000] = os.urandom(len(bytes_) - 9000)
    store.write_bytes(bytes_)
    for command in ("ls", "show", "check"):
        result = store_command(command, store)
        assert result.exit_code == 2, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("how", ["deleted", "replaced", "its log deleted"])
def test_a_store_that_goes_while_it_is_used_is_said_and_saved(how, line, store, tmp_path, monkeypatch):
    add, done = Store.add_run, []

    def add_then_lose(self, *arguments):
        add(self, *arguments)
        done.append(1)
        if len(done) == 3:
            if how == "its log deleted":
                os.remove(f"{store}-wal")
            else:
                os.remove(store)
            if how == "replaced":
                shutil.copy(tmp_path / "empty.db", store)

    Store(tmp_path / "empty.db").close()
    monkeypatch.setattr(Store, "add_run", add_then_lose)
    study = steepest.compare(line, **{**ASKED, "optimizers": "sgd,momentum,adam"}, store=store)
    (note,) = [note for note in study.result.notes if "deleted or replaced" in note]
    saved = f"{store}-rescued"
    assert note.endswith(f"are in {saved}.")
    assert note in str(study)
    assert study.store == saved
    monkeypatch.undo()
    assert store_command("check", saved).stdout == f"{saved} is sound: 15 runs.\n"
    assert steepest.compare(line, **{**ASKED, "optimizers": "sgd,momentum,adam"}, store=saved).result.trained == 0


KILLED = """
import os, sys, signal
from steepest.study.store import Store
store = Store(sys.argv[1])
store.remember("fact", {}, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_log_that_is_lost_is_said(store, tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, store], check=False)
    assert Path(f"{store}-wal").exists()
    copied = tmp_path / "copied.db"
    shutil.copy(store, copied)
    with Store(copied) as opened:
        (note,) = opened.notes
        assert "with its newest runs, is missing" in note
    with Store(copied) as opened:
        assert opened.notes == []
    shutil.copy(store, copied)
    assert "newest runs, is missing" in store_command("ls", copied).stdout
    with Store(store) as opened:  # its log is there
        assert opened.notes == []
        assert opened.recall("fact", {}) == 1


def test_two_that_use_one_store_lose_nothing_and_get_no_note(tmp_path):
    with Store(tmp_path / "s.db") as a, Store(tmp_path / "s.db") as b:
        a.remember("fact", {"of": "a"}, 1)
        b.remember("fact", {"of": "b"}, 2)
    with Store(tmp_path / "s.db") as c:
        assert (c.recall("fact", {"of": "a"}), c.recall("fact", {"of": "b"})) == (1, 2)
        assert (a.notes, b.notes, c.notes) == ([], [], [])


def test_many_short_runs_are_listed_in_seconds(tmp_path):
    import time

    from steepest.training.recorder import Curve, Outcome

    path, names = tmp_path / "many.db", {"problem": "p", "optimizer": "sgd", "schedule": "constant", "lr": 0.1, "steps": 5}
    outcome = Outcome(Curve([0, 5], [1.0, 0.5], [1.0, 0.5], [1.0, 0.5]), 0.5, None, 0.5, None, 0.01)
    with Store(path) as store, store.transaction():
        for seed in range(20_000):
            store.add_run({"seed": seed}, names | {"seed": seed}, outcome)
    began = time.perf_counter()
    with Store(path) as store:
        assert inspection.listed(store)["problems"][0]["runs"] == 20_000
        assert len(inspection.newest(store)) == inspection.NEWEST
        assert list(inspection.faults(store)) == []
    assert time.perf_counter() - began < 20  # 0.5 s on two otherwise idle cores


def test_rows_left_unread_are_dropped_in_silence_after_the_store_was_closed(tmp_path):
    """As when a command stops at a damaged row: an exception in a destructor would be printed as a traceback."""
    store = Store(tmp_path / "runs.db")
    store.remember("steps", {"a": 1}, 3)
    store.remember("steps", {"a": 2}, 3)
    rows = store.all("SELECT * FROM facts")
    next(rows)
    store.close()
    del rows
    gc.collect()
