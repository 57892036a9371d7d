"""Command-line side effects: paths after user code changes directory, standard output, a store that is truncated."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import steepest
from steepest.errors import SteepestError, run_file
from steepest.study.store import Store
from tests.fuzz.test_hostile import called

pytestmark = pytest.mark.usefixtures("own_rules")

QUICK = ["--lrs", "0.1", "--schedules", "constant", "--steps", "6", "--seeds", "2", "--plan", "one"]
PROBLEM = """
import torch, steepest
from torch import nn
x = torch.linspace(-1, 1, 64)[:, None]
problem = steepest.Problem(model=lambda: nn.Linear(1, 1), loss=nn.MSELoss(), train=(x, 2 * x), valid=(x, 2 * x), batch_size=8)
"""
RULE = """
@steepest.rule("halved")
def halved(p, g, t, *, lr=0.1):
    return p - lr / 2 * g
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two folders of a user."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


MOVES = f"import os; os.chdir({os.pardir!r} + '/elsewhere')\n"
WRITES = {
    "compare": (["compare", "moves.py", "--optimizers", "sgd,./rule.py:halved", *QUICK], ["r.html", "s.db", "j.json"]),
    "a rule that moves": (["compare", "digits", "--optimizers", "sgd,./moves.py:halved", *QUICK], ["r.html", "s.db", "j.json"]),
    "work": (["work", "moves.py", "--optimizers", "sgd", *QUICK, "--store", "s.db", "--json", "j.json"], ["s.db", "j.json"]),
    "path": (
        ["path", "bowl", "--optimizers", "./moves.py:halved", "--lrs", "0.1", "--out", "p.png", "--json", "j.json"],
        ["p.png", "j.json"],
    ),
    "play": (
        ["play", "bowl", "--optimizers", "./moves.py:halved", "--out", "p.html", "--json", "j.json"],
        ["p.html", "j.json"],
    ),
}


@pytest.mark.parametrize("kind", WRITES)
def test_every_file_is_where_it_was_asked_for_though_the_users_code_changes_the_directory(kind, folder):
    (folder / "moves.py").write_text(MOVES + PROBLEM + RULE)
    (folder / "rule.py").write_text("import steepest" + RULE)
    command, files = WRITES[kind]
    if command[0] == "compare":
        command = [*command, "--report", "r.html", "--store", "s.db", "--json", "j.json"]
    try:
        code, out, err = called(command)
    finally:
        os.chdir(folder)
    assert code == 0, err
    assert all((folder / file).stat().st_size > 0 for file in files)
    assert [*(folder.parent / "elsewhere").iterdir()] == []
    assert str(folder) not in out, "paths are shown as they were typed"


def test_a_study_from_python_is_stored_where_it_was_asked_for(folder):
    (folder / "moves.py").write_text(MOVES + PROBLEM)
    study = steepest.compare("moves.py", "sgd", lrs=0.1, seeds=1, steps=4, store="s.db")
    os.chdir(folder)
    assert study.store == str(folder / "s.db")
    assert (folder / "s.db").exists()


NOISY = """
import ctypes, os, subprocess
print("from Python")
os.write(1, b"from the descriptor\\n")
subprocess.run(["echo", "from a child"])
ctypes.CDLL(None).puts(b"from C")
"""
QUIET = {
    "compare": ["compare", "noisy.py", "--optimizers", "sgd", *QUICK],
    "work": ["work", "noisy.py", "--optimizers", "sgd", *QUICK],
    "path": ["path", "bowl", "--optimizers", "./noisy.py:halved", "--lrs", "0.1"],
    "show": ["show", "./noisy.py:halved"],
    "play": ["play", "bowl", "--optimizers", "./noisy.py:halved"],
}


@pytest.mark.parametrize("kind", QUIET)
def test_json_alone_goes_to_standard_output(kind, folder):
    """Output of user code goes to standard error: from Python, the file descriptor, child processes and C."""
    (folder / "noisy.py").write_text(NOISY + PROBLEM + RULE)
    command = [sys.executable, "-m", "steepest", *QUIET[kind], "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    json.loads(done.stdout)
    for words in ("from Python", "from the descriptor", "from a child", "from C"):
        assert words in done.stderr


@pytest.mark.parametrize("cut", [0, 4096, 0.6])
def test_a_store_that_is_cut_short_while_it_is_used_is_said_and_rescued(cut, folder, line):
    add, done = Store.add_run, []

    def add_then_cut(self, *arguments):
        add(self, *arguments)
        done.append(1)
        if len(done) == 3:
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.guard()
            os.truncate("s.db", cut if isinstance(cut, int) else int(cut * os.path.getsize("s.db")))

    asked = {"optimizers": "sgd,adam", "lrs": 0.05, "seeds": 5, "steps": 6, "schedules": "constant", "plan": "one"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "add_run", add_then_cut)
        try:
            study = steepest.compare(line, **asked, store="s.db")
        except SteepestError as error:  # both are correct, depending on SQLite's cache
            said = str(error)
        else:
            (said,) = [note for note in study.result.notes if "cut short" in note]
            assert study.store == str(folder / "s.db-rescued")
    assert "was cut short while it was in use" in said
    assert str(folder / "s.db-rescued") in said
    code, out, err = called(["store", "check", "s.db-rescued"])
    assert (code, "is sound" in out) == (0, True), (out, err)
    assert steepest.compare(line, **asked, store="s.db-rescued").store.endswith("s.db-rescued")


TASK = """
from __future__ import annotations
import dataclasses, inspect, sys, helper

@dataclasses.dataclass
class Item:
    x: int
    mode: "str" = "a"

class Data:
    def __len__(self): return 4
    def __getitem__(self, i): return Item(i)

seen = {"file": __file__, "path": sys.path[0], "argv": sys.argv, "name": __name__, "source": inspect.getsource(Item)}
"""


def test_a_file_that_is_run_is_a_module_like_any(folder, monkeypatch):
    """As with `python task.py`: its path, imports of neighbours, sources, data classes, and pickling."""
    (folder / "task.py").write_text(TASK)
    (folder / "helper.py").write_text("from pathlib import Path\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("task", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    space = run_file(Path("task.py"), "problem")
    seen = space["seen"]
    assert (seen["file"], seen["path"], seen["name"]) == (str(folder / "task.py"), str(folder), "task")
    assert seen["argv"] == ["task.py"]
    assert seen["source"].startswith("@dataclasses.dataclass\nclass Item:")
    assert pickle.loads(pickle.dumps(space["Data"]()[2])) == space["Item"](2)
    assert sys.modules["task"].Item is space["Item"]
    assert run_file(Path("task.py"), "problem")["Item"] is not space["Item"], "a file is read again each time"
    monkeypatch.delitem(sys.modules, "task")


def test_a_file_with_the_name_of_a_library_leaves_the_library_its_name(folder):
    (folder / "json.py").write_text("import json as other\nx = 3\n")
    assert run_file(Path("json.py"), "rule")["x"] == 3
    assert sys.modules["json"] is json
    sys.path.remove(str(folder))


def test_a_file_that_raises_leaves_no_module(folder):
    (folder / "fails.py").write_text("1 / 0")
    with pytest.raises(SteepestError, match="raised ZeroDivisionError"):
        run_file(Path("fails.py"), "rule")
    assert "fails" not in sys.modules
    sys.path.remove(str(folder))
