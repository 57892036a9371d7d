"""Corrupted stores and broken problem files: commands succeed, or end with one sentence and code 2."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import steepest
from steepest.study.store import Store
from tests.fuzz.test_hostile import LIMIT, QUICK, called, judged

COMMANDS = (("store", "check"), ("store", "ls"), ("store", "show"), ("report",), ("store", "merge", "taken.db"))
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=64)), min_size=1, max_size=6)


class Whole(bytes):
    """The bytes of a store with a short repr, for the output of failing examples."""

    def __repr__(self):
        return f"Whole of {len(self):,} bytes"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a store with a study in it."""
    import torch
    from torch import nn

    path = tmp_path_factory.mktemp("whole") / "runs.db"
    x = torch.linspace(-1, 1, 64)[:, None]
    problem = steepest.Problem(
        name="line", model=lambda: nn.Linear(1, 1), loss=nn.MSELoss(), train=(x, 2 * x), valid=(x, 2 * x), batch_size=8
    )
    steepest.compare(problem, "sgd,adam", lrs=0.05, seeds=3, steps=5, schedules="constant", plan="one", store=path)
    return Whole(path.read_bytes())


def damaged(whole, changes, kept, folder):
    """A store with some bytes changed, possibly truncated."""
    made = bytearray(whole)
    for place, what in changes:
        at = int(place * len(made))
        made[at : at + len(what)] = what
    for path in folder.glob("*.db*"):
        path.unlink()
    (folder / "runs.db").write_bytes(made[: int(kept * len(made))])
    for command in COMMANDS:
        judged(*called([*command, "runs.db"]))


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


HOW = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": LIMIT * 1000}


@settings(max_examples=15, **HOW)
@example(changes=[(0.0625, b"\x80")], kept=1.0)  # in a name that SQLite quotes as it refuses
@given(changes=CHANGES, kept=st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.01, 0.0]))
def test_a_store_with_other_bytes_is_read_or_refused(whole, tmp_path, changes, kept):
    damaged(whole, changes, kept, tmp_path)


@pytest.mark.slow
@settings(max_examples=1000, derandomize=False, **HOW)
@given(changes=CHANGES, kept=st.one_of(st.just(1.0), st.floats(0, 1)))
def test_drawn_bytes_of_a_store_are_read_or_refused(whole, tmp_path, changes, kept):
    damaged(whole, changes, kept, tmp_path)


HEAD = """
import torch, steepest
from torch import nn
x, y = torch.randn(64, 3), torch.arange(64) % 2
given = dict(model=lambda: nn.Linear(3, 2), loss=nn.CrossEntropyLoss(), train=(x, y), valid=(x, y), batch_size=8)
"""
PROBLEMS = {
    "nothing": "",
    "no problem": "x = 1",
    "another name": HEAD + "mine = steepest.Problem(**given)",
    "a number": "problem = 3",
    "a class": HEAD + "problem = steepest.Problem",
    "what does not parse": "problem = (",
    "a NUL": "problem = 1\0",
    "an error": "1 / 0",
    "an error of many lines": "raise ValueError('a\\nb\\x1b[31m' * 200)",
    "an end": "import sys; sys.exit(3)",
    "an end at once": "raise SystemExit",
    "a missing module": "import nowhere_at_all",
    "a group of errors": "raise ExceptionGroup('both', [ValueError('a'), TypeError('b')])",
    "recursion": "def f(): return f()\nf()",
    "a long name": HEAD + "problem = steepest.Problem(**given, name='n' * 10_000)",
    "a name of lines": HEAD + "problem = steepest.Problem(**given, name='a\\nb')",
    "no model": HEAD + "given.pop('model'); problem = steepest.Problem(**given)",
    "a model that is none": HEAD + "problem = steepest.Problem(**given | {'model': lambda: None})",
    "a model that raises": HEAD + "problem = steepest.Problem(**given | {'model': lambda: 1 / 0})",
    "a model that ends": HEAD + "import sys\nproblem = steepest.Problem(**given | {'model': lambda: sys.exit(1)})",
    "a model without weights": HEAD + "problem = steepest.Problem(**given | {'model': nn.Identity})",
    "another shape": HEAD + "problem = steepest.Problem(**given | {'model': lambda: nn.Linear(4, 2)})",
    "a loss of many numbers": HEAD + "problem = steepest.Problem(**given | {'loss': nn.CrossEntropyLoss(reduction='none')})",
    "a loss that is none": HEAD + "problem = steepest.Problem(**given | {'loss': lambda a, b: None})",
    "a loss without a gradient": HEAD + "problem = steepest.Problem(**given | {'loss': lambda a, b: a.detach().sum()})",
    "a metric of words": HEAD + "problem = steepest.Problem(**given, metric='precision')",
    "a metric that raises": HEAD + "problem = steepest.Problem(**given, metric=lambda a, b: 1 / 0, direction='max')",
    "no data": HEAD + "problem = steepest.Problem(**given | {'train': (x[:0], y[:0])})",
    "data that are not finite": HEAD + "problem = steepest.Problem(**given | {'train': (x / 0, y)})",
    "unequal data": HEAD + "problem = steepest.Problem(**given | {'train': (x, y[:9])})",
    "words for data": HEAD + "problem = steepest.Problem(**given | {'train': 'x'})",
    "a class that does not exist": HEAD + "problem = steepest.Problem(**given | {'train': (x, y + 7)})",
    "a batch of none": HEAD + "problem = steepest.Problem(**given | {'batch_size': 0})",
    "steps of none": HEAD + "problem = steepest.Problem(**given, steps=-1)",
    "an unknown setting": HEAD + "problem = steepest.Problem(**given, epochs=3)",
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_wrong_problem_file_is_one_sentence(kind, tmp_path):
    (tmp_path / "mine.py").write_text(PROBLEMS[kind])
    code, out, err = called(["compare", "mine.py", *QUICK])
    judged(code, out, err)
    assert code == 2, err


def test_a_problem_file_of_other_bytes_is_one_sentence(tmp_path):
    (tmp_path / "mine.py").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    for path in ("mine.py", "loop.py", "./mine.py:rule", "loop.py:rule"):
        for command in (["compare", path, *QUICK], ["show", path], ["path", "bowl", "--optimizers", path]):
            code, out, err = called(command)
            judged(code, out, err)
            assert code == 2


def test_a_store_of_another_program_is_not_touched(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "runs.db") as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = (tmp_path / "runs.db").read_bytes()
    for command in COMMANDS:
        code, out, err = called([*command, "runs.db"])
        judged(code, out, err)
        assert code == 2
        assert "database of another program" in err
    assert (tmp_path / "runs.db").read_bytes() == before
    Store(tmp_path / "taken.db").close()
