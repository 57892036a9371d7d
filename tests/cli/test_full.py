"""A full disk: every command and every output ends with one sentence and code 2, and existing files stay intact."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import steepest
from steepest import checks
from steepest.cli import app
from steepest.errors import SteepestError

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.is_char_device(), reason="only Linux has /dev/full")
QUICK = ("--optimizers", "sgd", "--lrs", "0.1", "--schedules", "constant", "--seeds", "1", "--steps", "3")
WORDS = {  # arguments that a command needs; other commands need none, or are too slow for a test
    "compare": ("compare", "digits", *QUICK),
    "work": ("work", "digits", *QUICK),
    "report": ("report", "kept.db"),
    "list": ("list", "optimizers"),
    "surface": ("surface", "bowl"),
    "path": ("path", "bowl", "--steps", "3", "--optimizers", "sgd"),
    "play": ("play",),
    "schedule": ("schedule", "cosine", "--steps", "3"),
    "show": ("show", "adam"),
    "store ls": ("store", "ls", "kept.db"),
    "store show": ("store", "show", "kept.db"),
    "store merge": ("store", "merge", "new.db", "kept.db"),
    "store check": ("store", "check", "kept.db"),
    "store export": ("store", "export", "kept.db", "--out", "runs.csv"),
}


def outputs():
    """Every option of every command that names an output file, from the app itself."""
    root = typer.main.get_command(app)
    nested = [
        (f"{name} {inner}", each)
        for name, group in root.commands.items()
        for inner, each in getattr(group, "commands", {}).items()
    ]
    for name, command in [*root.commands.items(), *nested]:
        for option in command.params:
            metavar = str(option.metavar or "")
            if name in WORDS and option.opts[0].startswith("--") and metavar.startswith("FILE"):
                yield name, option.opts[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with one study."""
    path = tmp_path_factory.mktemp("trained") / "kept.db"
    steepest.compare("digits", "sgd", lrs=0.1, schedules="constant", seeds=1, steps=3, store=path)
    return path


@pytest.fixture(autouse=True)
def there(trained, tmp_path, monkeypatch):
    """A folder of its own for each test, with a copy of that store."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained, "kept.db")


def judged(code, err):
    assert code == 2
    (said,) = [line for line in err.splitlines() if line.strip()]
    assert said.startswith("steepest: ")


@pytest.mark.parametrize(("name", "option"), [*outputs()], ids=str)
def test_an_output_to_a_full_disk_is_one_sentence(name, option):
    result = CliRunner().invoke(app, [*WORDS[name], option, str(FULL)])
    assert isinstance(result.exception, SystemExit), result.exception
    judged(result.exit_code, result.stderr)


QUIET = ("compare", "work")  # slow; it writes its output in the same way


@pytest.mark.parametrize("name", ["--help", *(name for name in WORDS if name not in QUIET)])
def test_a_command_that_prints_to_a_full_disk_is_one_sentence_and_no_noise(name):
    command = [sys.executable, "-m", "steepest", *WORDS.get(name, (name,))]
    with FULL.open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    judged(done.returncode, done.stderr)
    assert "cannot be written: No space left on device" in done.stderr


def half_written(path):
    with checks.replacing("JSON file", path) as part:
        part.write_text("half")
        FULL.write_text("x")


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_was_there_is_not_lost_where_the_new_one_cannot_be_written(tmp_path, link):
    old = tmp_path / "old.json"
    old.write_text("mine")
    old.chmod(0o640)
    path = tmp_path / "link.json" if link else old
    if link:
        path.symlink_to(old)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SteepestError, match=r"cannot be written to .*: No space left"):
        half_written(path)
    assert old.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == before
    checks.written("JSON file", path, "new")
    assert old.read_text() == "new"
    assert old.stat().st_mode & 0o777 == 0o640
    assert path.is_symlink() == link
