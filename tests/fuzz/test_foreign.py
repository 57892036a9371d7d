"""Untrusted stores: nothing in them is executed; they are read, or rejected in one sentence with code 2."""

import copy
import functools
import itertools
import json
import random
import shutil
import sqlite3
import time
import zipfile

import pytest

from steepest.study.store import Store
from steepest.study.store import gate as kept
from tests.fuzz.test_hostile import called, judged

pytestmark = pytest.mark.usefixtures("own_rules")

SHORT = ["--lrs", "0.1", "--schedules", "constant", "--steps", "6", "--seeds", "5", "--plan", "one"]
QUICK = ["--optimizers", "sgd,adam", *SHORT]
MARK = "from pathlib import Path\nPath('was-run').touch()\n"
FILE = f"""{MARK}
import torch, steepest
from torch import nn
x = torch.linspace(-1, 1, 64)[:, None]
problem = steepest.Problem(model=lambda: nn.Linear(1, 1), loss=nn.MSELoss(), train=(x, 2 * x), valid=(x, 2 * x), batch_size=8)

@steepest.rule("halved")
def halved(p, g, t, *, lr=0.1):
    return p - lr / 2 * g
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with a study recorded by --record."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert called(["compare", "digits", *QUICK, "--record", "--store", "runs.db"])[0] == 0
    return folder / "runs.db"


@pytest.fixture(autouse=True)
def store(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copy(whole, tmp_path / "runs.db")


def edited(path, statement, values=()):
    """Modify an append-only store."""
    with sqlite3.connect(path) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement, values)
    db.close()


# Nothing in a store is executed.


def asked(path):
    """The study's options in a store, as JSON."""
    with sqlite3.connect(path) as db:
        return [json.loads(value) for (value,) in db.execute("SELECT value FROM facts WHERE what = 'asked' ORDER BY rowid")]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["mine.py", *QUICK], "FILE.py --store runs.db --optimizers sgd,adam"),
        (["digits", *SHORT, "--optimizers", "sgd,./mine.py:halved"], "digits --store runs.db --optimizers sgd,FILE.py:halved"),
    ],
)
@pytest.mark.parametrize("command", [["work"], ["compare", "--continue"]], ids=" ".join)
def test_a_store_never_says_which_file_to_run(arguments, given, command, store):
    store.unlink()
    with open("mine.py", "w", encoding="utf-8") as file:
        file.write(FILE)
    code, _, err = called(["compare", *arguments, "--store", "runs.db"])
    assert code == 0, err
    (fact,) = asked(store)
    assert "mine" not in json.dumps(fact)
    (store.parent / "was-run").unlink()
    code, out, err = called([*command, "--store", "runs.db"])
    judged(code, out, err)
    assert (code, out) == (2, "")
    assert f"Give the file yourself: steepest {' '.join(command)} {given}" in err
    assert "--steps 6" in err
    assert not (store.parent / "was-run").exists()
    typed = err.strip().rpartition("Give the file yourself: steepest ")[2].replace("FILE.py", "mine.py").split()
    assert called(typed)[0] == 0, "the command that is printed runs, with the file filled in"


@pytest.mark.parametrize("command", [["work"], ["compare", "--continue"]], ids=" ".join)
@pytest.mark.parametrize("problem", ["mine.py", "./mine.py", "/tmp/mine.py", "runs.db", "mine.zip", "..", "digits/"])
@pytest.mark.parametrize("optimizers", ["sgd", "sgd,./mine.py:halved"])
def test_paths_in_a_store_of_an_earlier_version_are_not_followed(problem, optimizers, command, store):
    """Such a store has the path of the file that was compared; this one is another's."""
    for name in ("mine.py", "mine.zip"):
        with open(name, "w", encoding="utf-8") as file:
            file.write(FILE)
    (fact,) = asked(store)
    edited(
        store,
        "UPDATE facts SET value = ? WHERE what = 'asked'",
        (json.dumps(fact | {"problem": problem, "optimizers": optimizers}),),
    )
    code, out, err = called([*command, "--store", "runs.db"])
    judged(code, out, err)
    assert code == 2
    assert "Give the file yourself" in err
    assert not (store.parent / "was-run").exists()


def test_built_in_names_are_taken_from_a_store(store):
    code, out, err = called(["work", "--store", "runs.db"])
    assert (code, "Nothing to train" in out) == (0, True), err
    code, out, err = called(["compare", "--continue", "--store", "runs.db"])
    assert (code, "Nothing to train" in out) == (0, True), err
    code, out, err = called(["compare", "--continue", "--seeds", "6", "--store", "runs.db"])
    assert (code, "Trained" in out, "up to 6 seeds" in out) == (0, True, True), err


def archive(path):
    """A zip file that Python would run, appended to a store: it is a valid store and a valid program."""
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__main__.py", FILE)


NO_SOURCE = {
    "a zip": lambda path: (path.unlink(), archive(path)),
    "a zip behind a store": archive,
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "__main__.py").write_text(FILE)),
    "compiled code": lambda path: path.write_bytes(b"\xa7\r\r\n" + bytes(200)),
    "a gigantic file": lambda path: path.write_text("# " + "x" * (17 << 20)),
}


@pytest.mark.parametrize("kind", NO_SOURCE)
@pytest.mark.parametrize(
    "arguments", [["compare", "./x.py"], ["compare", "digits", "--optimizers", "./x.py:halved"]], ids=" ".join
)
def test_what_is_no_source_text_is_not_run(kind, arguments, store):
    path = store.rename(store.parent / "x.py")
    NO_SOURCE[kind](path)
    code, out, err = called([*arguments, "--budget", "5s"])
    judged(code, out, err)
    assert code == 2
    assert not (store.parent / "was-run").exists()


# The schema of a store is exact.

ENDLESS = "WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless) SELECT * FROM endless"
SCHEMAS = {
    "a view of runs that never ends": ["ALTER TABLE runs RENAME TO kept", f"CREATE VIEW runs AS {ENDLESS}"],
    "a view of facts that never ends": ["ALTER TABLE facts RENAME TO kept", f"CREATE VIEW facts AS {ENDLESS}"],
    "a view of the state that never ends": ["DROP TABLE state", f"CREATE VIEW state AS {ENDLESS}"],
    "a view of its own": ["CREATE VIEW mine AS SELECT 1"],
    "a trigger": ["CREATE TRIGGER mine AFTER INSERT ON facts BEGIN DELETE FROM runs; END"],
    "a trigger in place of ours": [
        "DROP TRIGGER runs_no_DELETE",
        "CREATE TRIGGER runs_no_DELETE BEFORE INSERT ON facts BEGIN INSERT INTO state SELECT 'x', n FROM endless; END",
    ],
    "an index of an expression": ["CREATE INDEX mine ON runs (length(curve))"],
    "a virtual table": ["DROP TABLE looks", "CREATE VIRTUAL TABLE looks USING fts5(study, look, seeds, alpha, created)"],
    "a computed column": ["ALTER TABLE runs ADD COLUMN more TEXT GENERATED ALWAYS AS (hex(zeroblob(99999999))) VIRTUAL"],
    "another column": ["ALTER TABLE facts ADD COLUMN more TEXT"],
    "no column": ["ALTER TABLE runs DROP COLUMN seconds"],
    "no table": ["DROP TABLE looks"],
    "no runs": ["DROP TABLE runs"],
    "schema 0": ["PRAGMA user_version = 0"],
    "schema -1": ["PRAGMA user_version = -1"],
}
READERS = (
    ("store", "ls", "runs.db"),
    ("store", "show", "runs.db"),
    ("store", "check", "runs.db"),
    ("store", "export", "runs.db", "--out", "runs.csv"),
    ("store", "merge", "new.db", "runs.db"),
    ("report", "runs.db"),
    ("work", "--store", "runs.db"),
    ("compare", "digits", *QUICK, "--store", "runs.db"),
)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_store_of_another_schema_is_refused_at_once(kind, store):
    with sqlite3.connect(store) as db:
        for statement in SCHEMAS[kind]:
            db.execute(statement)
    db.close()
    for command in READERS:
        began = time.perf_counter()
        code, out, err = called(list(command))
        judged(code, out, err)
        assert (code, "runs.db cannot be used" in err) == (2, True), (command, out, err)
        assert time.perf_counter() - began < 10, "nothing of it was run"


# Everything that is read has a type.

WRONG = (None, True, -1, 3, 1e300, 2**70, "x", "", "\x1b]52;c;x\x07", [], {}, [[]], ["x"], {"a": []}, "x" * 100_000)
RAW = ("null", "NaN", "1e999", "[" * 5_000 + "]" * 5_000, '"\\ud800"', "{", "", "1" * 5_000)


def columns():
    """Every column of runs and looks with values of other types."""
    values = (None, b"\xff\x00", "x", -1, 0, 1.5, float("inf"), 2**62, "\x1b[31m", "x" * 100_000, "[" * 5_000 + "]" * 5_000)
    with sqlite3.connect(":memory:") as db:
        from steepest.study.store import schema

        schema.make(db)
        for table in ("runs", "looks", "facts"):
            for _, name, *_ in db.execute(f"PRAGMA table_info({table})").fetchall():
                for value in values:
                    yield table, name, value


def places(data, keys=()):
    """Every path in JSON; of lists, only the first item."""
    yield keys
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*keys, key))
    elif isinstance(data, list) and data:
        yield from places(data[0], (*keys, 0))


def put(data, keys, value):
    """A copy with another value at a place; without it where the value is `KeyError`."""
    if not keys:
        return value
    made = copy.copy(data)
    if value is KeyError and len(keys) == 1:
        del made[keys[0]]
    else:
        made[keys[0]] = put(data[keys[0]], keys[1:], value)
    return made


def changed(data, keys, value):
    return json.dumps(put(data, keys, value))


def facts(path):
    """Every fact with other values at every place, as (what, function that makes the changed text)."""
    with sqlite3.connect(path) as db:
        rows = dict(db.execute("SELECT what, value FROM facts ORDER BY rowid").fetchall())
    for what, text in rows.items():
        for raw in RAW:
            yield what, functools.partial(str, raw)
        data = json.loads(text)
        for keys in places(data):
            for value in (*WRONG, *([KeyError] if keys else [])):
                yield what, functools.partial(changed, data, keys, value)


def try_all(store, whole, statement, values, drawn):
    """Run every command (the report, which takes seconds, if `drawn`) on a store with one change: code 0, or 2 and a sentence.

    `check` must detect every store that another command rejects.
    """
    for path in store.parent.glob("*.db*"):
        path.unlink()
    shutil.copy(whole, store)
    try:
        edited(store, statement, values)
    except (sqlite3.IntegrityError, OverflowError):  # such a store cannot be created
        return
    codes = {}
    for command in (command for command in READERS if drawn or command[0] != "report"):
        code, out, err = called(list(command))
        judged(code, out, err)
        assert code in (0, 2), (command, err)
        codes[command[:2]] = code, err
    damaged = [command for command, (_, err) in codes.items() if "is damaged" in err]
    assert not damaged or codes["store", "check"][0] == 2, (damaged, codes)


def chosen(tries, count, seed):
    """A random sample of all cases."""
    tries = [*tries]
    return tries if count is None else random.Random(seed).sample(tries, min(count, len(tries)))


@pytest.mark.parametrize("count", [6, pytest.param(None, marks=pytest.mark.slow)])
def test_a_column_of_another_type_is_read_or_refused(count, store, whole):
    for table, name, value in chosen(columns(), count, 1):
        statement = f"UPDATE {table} SET {name} = ? WHERE rowid = (SELECT max(rowid) FROM {table})"
        try_all(store, whole, statement, (value,), drawn=False)


@pytest.mark.parametrize("count", [6, pytest.param(1_500, marks=pytest.mark.slow)])
def test_a_fact_of_another_form_is_read_or_refused(count, store, whole):
    for what, make in chosen(facts(whole), count, 2):
        try_all(store, whole, "UPDATE facts SET value = ? WHERE what = ?", (make(), what), drawn=what == "study")


def test_every_fact_of_another_form_passes_the_gate_or_is_unfit(whole):
    """All cases without the commands; the test above samples those that are accepted."""
    passed = refused = 0
    for what, make in facts(whole):
        try:
            kept.fact(what, make())
            passed += 1
        except kept.UnfitError:
            refused += 1
    assert refused > 3_000
    assert passed < refused / 3  # strings replaced by strings, numbers by numbers, options removed


@pytest.mark.parametrize("count", [2, pytest.param(250, marks=pytest.mark.slow)])
def test_a_study_that_passes_the_gate_is_drawn(count, store, whole):
    """Values of the right types that contradict each other, or that nobody measured."""
    makes = [make for what, make in facts(whole) if what == "study"]
    passing = filter(fits, (make() for make in chosen(makes, len(makes), 3)))
    for text in itertools.islice(passing, count):
        edited(store, "UPDATE facts SET value = ? WHERE what = 'study'", (text,))
        for command in (["report", "runs.db", "--out", "r.html"], ["store", "ls", "runs.db"]):
            code, out, err = called(command)
            judged(code, out, err)
            assert code == 0, err


def fits(text):
    try:
        kept.fact("study", text)
    except kept.UnfitError:
        return False
    return True


def test_what_steepest_writes_passes_its_own_gate(whole):
    """Every fact, run and look of a real store; a fact with an unknown name may be any JSON."""
    with Store(whole) as opened:
        from steepest.study.store import inspection

        assert [*inspection.faults(opened)] == []
    assert kept.fact("of a later version", '{"a": [1, null]}') == {"a": [1, None]}
    with sqlite3.connect(whole) as db:
        names = {what for (what,) in db.execute("SELECT what FROM facts")}
    assert names <= set(kept.FACTS)


def test_counts_of_a_look_are_numbers(store):
    for name, value in itertools.product(("look", "seeds", "alpha"), ("x", -3, 2.5)):
        shutil.copy(store, "again.db")
        edited("again.db", f"UPDATE looks SET {name} = ?", (value,))
        code, out, _ = called(["store", "check", "again.db"])
        assert code == 2
        assert "Look" in out


# Plausible false values: the same command reads them, and ends in an answer or one sentence.

RACE = ["compare", "digits", "--optimizers", "sgd,adam", "--schedules", "constant", "--lrs", "0.1,0.03", "--steps", "20"]
RACE += ["--budget", "10min", "--plan", "one", "--margin", "20", "--store", "runs.db"]
FACT = "UPDATE facts SET value = ? WHERE what = ?"
LIES = {
    "no candidate fits": (FACT, ('[[], 7, false, "", null]', "fit")),
    "another candidate fits": (FACT, ('[["nope"], 7, false, "", "one"]', "fit")),
    "very many rates fit": (FACT, ('[["sgd", "adam"], 1000000000000, false, "", "one"]', "fit")),
    "a way that is a path": (FACT, ('[["sgd", "adam"], 7, false, "", "../../x"]', "fit")),
    "nothing is carried on": (FACT, ("0", "carried")),
    "a step takes no time": (FACT, ("[0, 0]", "timing")),
    "a step takes for ever": (FACT, ("[1e308, 0]", "timing")),
    "gigantic state": (FACT, ("[1, 1e308]", "timing")),
    "another question": (FACT, ('["digits", "other"]', "question")),
    "other candidates": (FACT, ('["x", []]', "candidates")),
    "it ended after very many runs": (FACT, ("1000000000000", "ended")),
    "gigantic results": ("UPDATE runs SET valid = 1e308", ()),
    "gigantic results of both signs": ("UPDATE runs SET valid = CASE WHEN seed % 2 THEN 1e308 ELSE -1e308 END", ()),
    "no results": ("UPDATE runs SET valid = NULL", ()),
    "no metric": ("UPDATE runs SET status = 'no metric', valid = NULL, loss = NULL, why = char(27) || '[31m<b>'", ()),
    "all failed": ("UPDATE runs SET status = 'failed', valid = NULL", ()),
    "empty curves": ("""UPDATE runs SET curve = '{"steps": [], "train": [], "valid": [], "metric": []}'""", ()),
    "one example": ("UPDATE runs SET examples = X'620000000180'", ()),
    "no example": ("UPDATE runs SET examples = X'6200000000'", ()),
    "very long runs": ("UPDATE runs SET steps = 1000000000000, seconds = 1e300, seed = 4611686018427387904", ()),
}
USUAL = (
    "no candidate fits",
    "a step takes no time",
    "another question",
    "gigantic results of both signs",
    "empty curves",
    "no results",
)


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    """A store with a finished race."""
    folder = tmp_path_factory.mktemp("race")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert called(RACE)[0] == 0
    return folder / "runs.db"


@pytest.mark.parametrize("kind", [k if k in USUAL else pytest.param(k, marks=pytest.mark.slow) for k in LIES])
def test_a_store_that_lies_ends_in_an_answer_or_one_sentence(kind, race, store):
    shutil.copy(race, store)
    edited(store, *LIES[kind])
    code, out, err = called(RACE)
    judged(code, out, err)
    assert code in (0, 2), err
    if "is damaged" in err and kind != "another candidate fits":
        assert called(["store", "check", "runs.db"])[0] == 2


def test_rates_at_which_all_diverges_are_answered_and_drawn():
    code, out, err = called(["compare", "digits", *QUICK, "--lrs", "1e30,1e31"])
    judged(code, out, err)
    assert code == 0, err
    assert "every run diverged" in out
