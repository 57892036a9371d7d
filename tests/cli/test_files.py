"""Files of the user's that read the command line or print, as scripts do: it is their own, and they print once."""

import sys
from pathlib import Path

import pytest

import steepest

QUICK = {"lrs": 0.1, "schedules": "constant", "seeds": 2, "steps": 5}
PARSER = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=2)
parser.add_argument("--seeds", type=int, default=1)
{edit}
"""
PROBLEM = """
import torch, steepest
x, y = torch.zeros(8, width), torch.zeros(8, dtype=int)
loss = torch.nn.CrossEntropyLoss()
def made():
    return steepest.Problem(model=lambda: torch.nn.Linear(width, 3), loss=loss, train=(x, y), valid=(x, y))
"""
RULE = "import steepest\n@steepest.rule('mine')\ndef mine(p, g, t, *, lr=0.1):\n    return p - lr * g\n"
PARSED = PARSER.format(edit="arguments = parser.parse_args()\nwidth, seen = arguments.width, [*sys.argv]")


@pytest.fixture(autouse=True)
def command_line(tmp_path, monkeypatch, registry):
    """A folder and a registry of its own, and a command line that a user's parser does not know."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["steepest", "compare", "mine.py", "--budget", "5s", "--width", "7"])


FILES = {
    "a problem": PARSED + PROBLEM + "problem = made()\n",
    "a function that makes it": PARSER.format(edit="width = 2")
    + PROBLEM
    + "def problem():\n    parser.parse_args()\n    return made()\n",
}


@pytest.mark.parametrize("kind", FILES)
def test_a_problem_file_that_parses_arguments_sees_none_of_ours(kind):
    Path("mine.py").write_text(FILES[kind])
    before = sys.argv
    assert steepest.compare("mine.py", "sgd", store=":memory:", **QUICK).result.trained == 2
    assert steepest.problems.get("mine.py").train.tensors[0].shape == (8, 2)
    assert sys.argv is before


def test_a_rule_file_that_parses_arguments_sees_only_its_path():
    Path("mine.py").write_text(PARSED + RULE)
    before = [*sys.argv]
    assert steepest.compare("digits", "mine.py:mine", store=":memory:", **QUICK).best().name == "mine"
    Path("seen.py").write_text("import sys\nseen = [*sys.argv]\nsys.argv.append('more')\n")
    assert steepest.errors.run_file(Path("seen.py"), "rule")["seen"] == ["seen.py"]
    assert sys.argv == before


@pytest.mark.parametrize(
    "edit", ["parser.parse_args(['--no'])", "raise RuntimeError", "raise KeyboardInterrupt", "def ("], ids=str
)
def test_the_command_line_is_back_after_a_file_that_fails(edit):
    Path("mine.py").write_text(PARSER.format(edit=edit))
    before = sys.argv
    with pytest.raises((steepest.SteepestError, KeyboardInterrupt)):
        steepest.problems.get("mine.py")
    assert sys.argv is before


def test_a_function_that_fails_gives_the_command_line_back_too():
    Path("mine.py").write_text("def problem():\n    raise SystemExit(3)\n")
    before = sys.argv
    with pytest.raises(steepest.SteepestError, match="raised SystemExit"):
        steepest.problems.get("mine.py")
    assert sys.argv is before
