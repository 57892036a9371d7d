"""Commands added by other packages, and the product without steepest_workshop."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import steepest
from steepest import plugins
from steepest.cli import app
from steepest.errors import SteepestError

GONE = "[steepest.commands]\nreproduce = steepest_workshop.commands:reproduce\nnew = another:command\n"


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """An environment with all installed packages, but only a copy of steepest's folder and version."""
    folder = tmp_path_factory.mktemp("alone")
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if "steepest" not in package.name and package.suffix != ".pth":
            (folder / package.name).symlink_to(package)
    source = Path(steepest.__file__).parent
    (folder / "steepest").mkdir()
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = folder / "steepest" / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    written(folder, "steepest", {})
    return folder


def written(folder, name, files):
    """Write the metadata of an installed package."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    for file, text in {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", **files}.items():
        (metadata / file).write_text(text)


def run(folder, *arguments, paths=()):
    """Python without its own site-packages, on these folders."""
    places = os.pathsep.join(map(str, (folder, *paths)))
    environment = os.environ | {"PYTHONPATH": places, "COLUMNS": "100"}
    command = [sys.executable, "-S", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_product_works_without_its_workshop(alone, tmp_path):
    store, page = tmp_path / "runs.db", tmp_path / "report.html"
    settings = ["--optimizers", "sgd", "--lrs", "0.01", "--schedules", "constant", "--seeds", "5", "--steps", "5"]
    commands = [
        ["list", "optimizers"],
        ["show", "sam"],
        ["path", "saddle", "--optimizers", "sgd", "--steps", "5"],
        ["play", "--out", tmp_path / "play.html"],
        ["compare", "noisy-regression", *settings, "--store", store, "--report", page],
        ["report", store, "--out", page],
    ]
    for command in commands:
        done = run(alone, "-m", "steepest", *command)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    loaded = run(alone, "-c", "import steepest, sys; import steepest.cli; print('steepest_workshop' in sys.modules)")
    assert loaded.stdout == "False\n"


WORKSHOP = [
    "reproduce --quick",
    "bench step --shapes mlp",
    "conformance --help",
    "lessons hand-out class",
    "selftest statistics",
]


@pytest.mark.parametrize("command", WORKSHOP)
def test_a_command_of_the_missing_workshop_says_what_to_install(alone, command):
    done = run(alone, "-m", "steepest", *command.split())
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"steepest: `steepest {command.split()[0]}` is not available: no installed package provides it. ")
    assert line.endswith("pip install --force-reinstall steepest")


def test_an_entry_point_whose_module_is_gone_says_so_and_is_not_listed(alone, tmp_path):
    written(tmp_path, "gone", {"entry_points.txt": GONE})
    for name, module in (("reproduce", "steepest_workshop"), ("new", "another")):
        done = run(alone, "-m", "steepest", name, paths=[tmp_path])
        assert done.returncode == 2
        assert f"`steepest {name}` is not available: No module named '{module}'" in done.stderr
    shown = run(alone, "-m", "steepest", "--help", paths=[tmp_path])
    assert shown.returncode == 0
    assert "compare" in shown.stdout
    assert "reproduce" not in shown.stdout


def test_the_function_of_the_missing_workshop_is_an_attribute_error(alone):
    done = run(alone, "-c", "import steepest; print(hasattr(steepest, 'reproduce')); steepest.reproduce")
    assert done.stdout == "False\n"
    assert "AttributeError: steepest.reproduce is not available: no installed package provides it" in done.stderr


def test_an_entry_point_adds_a_function_or_a_group_and_replaces_no_command_of_ours(monkeypatch):
    group = typer.Typer(add_completion=False)

    @group.callback()
    def _group():
        """A group."""

    @group.command()
    def one(times: int = 1):
        typer.echo("one " * times)

    def plain(word: str):
        """A command."""
        typer.echo(f"plain {word}")

    added = {"group": group, "plain": plain, "list": plain}
    monkeypatch.setattr(plugins, "names", lambda _: sorted(added))
    monkeypatch.setattr(plugins, "load", lambda group, name, called: added[name])
    assert CliRunner().invoke(app, ["group", "one", "--times", "2"]).stdout == "one one \n"
    assert CliRunner().invoke(app, ["plain", "word"]).stdout == "plain word\n"
    assert "rosenbrock" in CliRunner().invoke(app, ["list", "surfaces"]).stdout
    listed = CliRunner().invoke(app, ["--help"]).stdout
    assert "A command." in listed
    assert "A group." in listed


def test_an_unknown_name_is_an_error_with_what_was_typed():
    with pytest.raises(SteepestError, match=r"^steepest none is not available: no installed package provides it"):
        plugins.load(plugins.COMMANDS, "none", "steepest none")
