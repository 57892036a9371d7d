"""Problem files that parse the command line or print: they see their own arguments, and print once."""

import subprocess
import sys
from pathlib import Path

import pytest

import steepest
from steepest import api
from steepest.prints import Once, Silence

QUICK = {"lrs": 0.1, "schedules": "constant", "seeds": 2, "steps": 20}
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
    """Use a separate folder and registry, and a command line that a user's parser does not know."""
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


LOUD = """
import sys, torch, steepest
print("file")
print("warned", file=sys.stderr)
x, y = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2
class Net(torch.nn.Linear):
    def forward(self, x):
        print("forward")
        return super().forward(x)
def model():
    print("building ", end="")
    print("model")
    return Net(2, 2)
def loss(output, target):
    print("loss", flush=True)
    return torch.nn.functional.cross_entropy(output, target)
def score(output, target):
    print("score")
    return (output.argmax(1) == target).double().mean()
problem = steepest.Problem(model=model, loss=loss, train=(x, y), valid=(x, y), metric=score, direction="max")
"""
LOUD_RULE = (
    RULE.replace("import steepest", "import steepest\nprint('rule')")
    + "@steepest.rule('more')\ndef more(p, g, t, *, lr=0.1):\n    return p\n"
)
PRINTED = ["file", "building model", "loss", "forward", "score"]
RULES = "sgd,rules.py:mine,rules.py:more"


@pytest.fixture
def loud():
    Path("loud.py").write_text(LOUD)
    Path("rules.py").write_text(LOUD_RULE)


@pytest.mark.usefixtures("loud")
@pytest.mark.parametrize("plan", ["one", "processes", "auto"])
def test_what_files_and_models_print_appears_once_and_not_again_in_the_runs(plan, capfd):
    study = steepest.compare(
        "loud.py", RULES, plan=plan, store="runs.db", lrs=[0.1, 0.2], seeds=2, steps=20, schedules="constant"
    )
    captured = capfd.readouterr()
    assert sorted(captured.out.split("\n")) == sorted(["", "rule", *PRINTED])
    assert captured.err.count("warned") == 1
    assert study.result.trained == 24
    study.record()
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("loud")
def test_a_slice_prints_once_too(capfd):
    asked = {"store": "runs.db", "lrs": 0.1, "seeds": 2, "steps": 20, "schedules": "constant", "plan": "processes"}
    api.work("loud.py", "sgd,adam", share=(1, 2), **asked)
    assert sorted(capfd.readouterr().out.split()) == sorted(" ".join(PRINTED).split())


@pytest.mark.usefixtures("loud")
def test_a_command_prints_once_for_several_problems_and_its_json_is_all_on_standard_output(strict):
    Path("again.py").write_text(LOUD)
    command = [
        "compare",
        "loud.py",
        "again.py",
        "--optimizers",
        RULES,
        "--lrs",
        "0.1",
        "--seeds",
        "2",
        "--steps",
        "5",
        "--json",
        "-",
    ]
    done = subprocess.run([sys.executable, "-m", "steepest", *command], capture_output=True, text=True, check=False)
    assert [found["problem"] for found in strict(done.stdout)] == ["loud", "again"]
    lines = done.stderr.split("\n")
    assert [lines.count(line) for line in ("rule", *PRINTED)] == [1] * 6
    assert lines.count("warned") == 2


def test_an_error_in_the_check_leaves_standard_output_as_it_was_and_shows_what_was_printed(line, capsys):
    def loss(output, target):
        print("here", end="")
        raise RuntimeError

    before = sys.stdout
    with pytest.raises(steepest.SteepestError):
        steepest.compare(
            steepest.Problem(model=line.model, loss=loss, train=line.train, valid=line.valid), "sgd", store=":memory:"
        )
    assert sys.stdout is before
    assert capsys.readouterr().out == "here"


def test_an_error_in_a_run_leaves_standard_output_as_it_was(line, monkeypatch, capsys):
    def stopped(*args, **kwargs):
        print("deep inside")
        raise KeyError

    before = sys.stdout
    monkeypatch.setattr(steepest.training.ways, "train_all", stopped)
    with pytest.raises(KeyError):
        steepest.compare(line, "sgd", lrs=0.1, seeds=2, steps=20, store=":memory:", plan="one")
    assert sys.stdout is before
    assert capsys.readouterr().out == ""


def test_once_hands_each_line_on_once_and_remembers_when_it_is_entered_again(capsys):
    once = Once()
    with once:
        print("a\nb\na\n\n\nb")
        sys.stdout.writelines(["c", "\n", "c\n"])
        print(".", end="", flush=True)
        print(".", end="", flush=True)
        assert sys.stdout.encoding == once.encoding
        assert sys.stdout.write("a\n") == 2
    print("a")
    with once:
        print("a")
        print("d")
    assert capsys.readouterr().out == "a\nb\n\nc\n.a\nd\n"


def test_a_stream_that_is_kept_prints_all_after_the_check_and_the_runs(capsys):
    kept = []
    for quiet in (Once(), Silence()):
        with quiet:
            kept.append(sys.stdout)
            print("x")
    for stream in kept:
        print("x", file=stream)
        print("x", file=stream)
    assert capsys.readouterr().out == "x\n" * 5
