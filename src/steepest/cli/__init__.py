"""The command line: parse arguments, call the library, print. Heavy libraries are imported only by commands that need them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import problems as library
from ..errors import SteepestError, absolute
from ..options import PROBLEM, REPORT, Options
from ..prints import Once
from ..shell import FULL, JSON, check_distinct, check_file, command, loading, near, nothing_more, say, write_json
from . import stores, working
from .added import Commands
from .looking import app as looking
from .options import takes_options

app = typer.Typer(
    cls=Commands,
    help="Which optimizer, learning rate and schedule does my model need, and how sure are we?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Data sets that are not installed with steepest.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(stores.app, name="store")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(version("steepest"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None: ...


@data.callback()
def _data() -> None: ...


@command(app)
@takes_options("compare")
def compare(
    context: typer.Context,
    problems: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROBLEM|FILE.py]...",
            help="Built-in problems or Python files. Default: digits; with --continue the problem of the store's last study.",
        ),
    ] = None,
    report: Annotated[str, typer.Option(metavar="FILE.html", help="Where to write the report.")] = REPORT,
    pairs: Annotated[bool, typer.Option("--pairs", help="Print the verdicts on all pairs.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print every optimizer and schedule at its best rate, and all bounds.")
    ] = False,
    json_file: JSON = None,
    **asked: Any,
) -> None:
    """Find which optimizer, schedule and rate to pick for a problem, and how far behind the best it could be.

    Every run is stored when it ends: repeating the command trains nothing, and --continue resumes.
    """
    began = time.perf_counter()  # before torch is imported, as a budget includes that
    out, report = sys.stdout, str(absolute(report))  # before the user's code runs
    asked["store"] = str(absolute(asked["store"]))
    asked["optimizers"] = ",".join(asked["optimizers"])
    check_file(Path(report), "report", "report.html")
    check_distinct(store=asked["store"], report=report, json=json_file)
    command = shlex.join(["steepest", *sys.argv[1:]])
    if asked["go_on"] and len(problems or ()) < 2:
        typed = {name for name in asked if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
        named, asked = working.resumed(problems[0] if problems else None, asked, typed)
        problems = None if named is None else [named]
    default: list[str | None] = [None if asked["command"] is not None else PROBLEM]
    names: list[str | None] = [*problems] if problems else default
    options = Options(names[0], **asked)
    for name in names:
        if name is not None and ".py" not in name and "/" not in name and name not in library.BUILT_IN:
            library.get(name)
    with contextlib.redirect_stdout(sys.stderr), Once():  # what a model or a problem file prints is not part of the answer
        with loading():
            from ..api import Study, run
            from ..report import file, terminal
            from ..training.loading import given

        console, studies = terminal.console(out), list[Study]()
        for name, problem in [(name, name and given(name)) for name in names]:
            try:
                study = run(dataclasses.replace(options, problem=problem), command, None if studies else began)
            except KeyboardInterrupt:
                working.remember(asked["store"], asked | {"problem": name})  # for --continue
                raise
            working.remember(study.store, asked | {"problem": name})
            terminal.show(study.result, study.data, console, pairs, verbose)
            if options.plan == "show":
                console.print(f"Trained {study.result.plan}.", soft_wrap=True)
            studies.append(study)
        file.write([study.data for study in studies], report)
        console.print(near(f"\nReport: {report}   Runs: {studies[-1].store}"), soft_wrap=True)
    results = [study.to_dict() for study in studies]
    write_json(results[0] if len(results) == 1 else results, json_file)


@command(app)
def report(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store that `compare` made.")],
    out: Annotated[str, typer.Option(metavar="FILE.html", help="Where to write it.")] = REPORT,
    json_file: JSON = None,
) -> None:
    """Write the report of every study in a store, without training and without its problem."""
    import msgspec

    from ..report import file

    check_file(Path(out), "report", "report.html")
    with stores.opened(store) as opened:
        studies = opened.studies()
    if not studies:
        raise SteepestError(f"The store {store} has no completed study; run `steepest compare` with it to complete one.")
    file.write(studies, out)
    for study in studies:
        say(f"{study.problem}: {study.answer.sentence}")
    say(f"\nReport: {out}")
    write_json([msgspec.to_builtins(study) | study.as_json() for study in studies], json_file)


@command(data)
def fetch(
    name: Annotated[str, typer.Argument(metavar="mnist|cifar10")],
    mirror: Annotated[list[str] | None, typer.Option(help="A mirror's address; may be repeated.")] = None,
    json_file: JSON = None,
) -> None:
    """Download a data set and check it; a broken download is resumed."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ..errors import unknown
    from ..problems.built_in import cifar10, mnist

    sets: dict[str, Any] = {"mnist": mnist, "cifar10": cifar10}
    if name not in sets:
        raise unknown("data set", name, sets)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = functools.cache(bar.add_task)

        def progress(file: str, here: int, total: int) -> None:
            bar.update(task(file), completed=here, total=total or None)

        folder, fetched = sets[name].fetch(tuple(mirror or sets[name].MIRRORS), progress)
    new = f"{len(fetched)} files fetched" if fetched else "nothing to fetch"
    called = {"mnist": "MNIST", "cifar10": "CIFAR-10"}[name]
    say(f"{called} is in {folder}: {new}, {sets[name].verified(fetched)}.")
    write_json({"name": name, "folder": str(folder), "fetched": [*fetched]}, json_file)


app.add_typer(working.app)
app.add_typer(looking)


def main() -> None:
    """The entry point."""
    try:
        app()
    except OSError as error:  # from --help, which runs outside of any command
        if error.errno not in FULL:
            raise
        nothing_more(error)
        sys.exit(2)
