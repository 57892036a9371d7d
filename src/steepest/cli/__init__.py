"""The command line: parse, call, print. Heavy libraries are imported only by the command that needs them."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import problems as library
from .. import rules
from .. import schedules as multipliers
from ..checks import bytes_of, names_in, seconds_of
from ..errors import SteepestError, absolute
from ..escapes import every
from ..prints import Once
from ..shell import FULL, JSON, check_distinct, check_file, check_json, loading, near, nothing_more, say, sentences, write_json
from ..studies import defaults
from ..studies.rates import rates_of
from . import stores, working
from .added import Commands
from .looking import app as looking

app = typer.Typer(
    cls=Commands,
    help="Which optimizer, learning rate and schedule does my model need, and how sure are we?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Data sets that do not install with steepest.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(stores.app, name="store")


@data.callback()
def _data() -> None: ...


@app.command()
@sentences
def compare(
    context: typer.Context,
    problems: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROBLEM|FILE.py]...",
            help="Built-in problems or Python files. Default: digits; with --continue what the store was last asked.",
        ),
    ] = None,
    optimizers: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(defaults.OPTIMIZERS),
    schedules: Annotated[
        str, typer.Option(help="Names, separated by commas; with arguments where wanted: 'step(size=30)'.")
    ] = ",".join(defaults.SCHEDULES),
    lrs: Annotated[str, typer.Option(help="auto; rates for all (0.1,0.01); or by name (sgd=0.1,adam=0.001).")] = "auto",
    trials: Annotated[int, typer.Option(help="Rates in each optimizer's grid at first.")] = defaults.TRIALS,
    seeds: Annotated[
        int | None, typer.Option(help="In place of a race: this many confirming runs of each optimizer, every pair compared.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates in a run. Default: the problem's own.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time for the study, such as 5min. Default: 60s.")] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="The difference that matters. Default: 0.5 points of accuracy, 1 % of a loss."),
    ] = None,
    store: Annotated[str, typer.Option(metavar="FILE", help="The file that keeps every run.")] = defaults.STORE,
    report: Annotated[str, typer.Option(metavar="FILE.html", help="The report.")] = defaults.REPORT,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    plan: Annotated[
        str, typer.Option(help="How to train: auto takes the fastest way, show says which; one; many:N for N at once.")
    ] = "auto",
    go_on: Annotated[bool, typer.Option("--continue", help="Race on where a race had ended.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Watch the first two from inside: landscape, updates, examples in the report.")
    ] = False,
    pairs: Annotated[bool, typer.Option("--pairs", help="Print the verdict on every pair.")] = False,
    memory: Annotated[str | None, typer.Option(help="Memory for runs trained at once, such as 4GiB.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: train on a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster; auto for the one this machine is part of. Default: begun here.")
    ] = None,
    json_file: JSON = None,
) -> None:
    """Which optimizer, schedule and rate to pick for a problem, and how far behind the best it could be.

    Every run is kept in the store as it ends: the same command again trains nothing, and --continue goes on.
    """
    began = time.perf_counter()  # before torch is imported: a budget counts that too
    report, store = str(absolute(report)), str(absolute(store))  # before code of the user's runs
    check_file(Path(report), "report", "report.html")
    check_json(json_file)
    check_distinct(store=store, report=report, json=json_file)
    _check_words(problems, optimizers, schedules, lrs, budget, memory)
    command = shlex.join(["steepest", *sys.argv[1:]])
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr), Once():  # what a model or a problem file prints is not part of the answer
        with loading():
            from ..api import Study
            from ..api import compare as run
            from ..report.study import file, terminal

        console, studies = terminal.console(out), list[Study]()
        asked: dict[str, Any] = {"optimizers": optimizers, "schedules": schedules, "lrs": lrs, "trials": trials}
        asked |= {"seeds": seeds, "steps": steps, "margin": margin, "device": device, "plan": plan, "memory": memory}
        if go_on and not problems:
            typed = {name for name in asked if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
            name, asked = working.resumed(store, asked, typed)
            problems = [name]
        named = [(name, library.get(name)) for name in problems or [defaults.PROBLEM]]
        for name, problem in named:
            study = run(
                problem,
                **asked,
                budget=budget,
                store=store,
                engine=engine,
                address=address,
                go_on=go_on,
                record=record,
                command=command,
                began=None if studies else began,
            )
            terminal.show(study.result, console, pairs)
            if plan == "show":
                console.print(f"Trained {study.result.plan}.", soft_wrap=True)
            studies.append(study)
            working.remember(study.store, asked | {"problem": name})
        file.write([study.shown for study in studies], report)
        console.print(near(f"\nReport: {report}   Runs: {studies[-1].store}"), soft_wrap=True)
    results = [study.to_dict() for study in studies]
    write_json(results[0] if len(results) == 1 else results, json_file)


@app.command()
@sentences
def report(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store that `compare` made.")],
    out: Annotated[str, typer.Option(metavar="FILE.html", help="Where to write it.")] = defaults.REPORT,
    json_file: JSON = None,
) -> None:
    """The report of every study in a store, as it was when last asked; nothing is trained, and no problem is needed."""
    from ..report.study import file

    check_json(json_file)
    file.check(out)
    with stores.opened(store) as opened:
        studies = opened.studies()
    if not studies:
        raise SteepestError(f"The store {store} has runs, but no study that ended; run `steepest compare` with it once more.")
    file.write(studies, out)
    if str(json_file) != "-":
        for data in every(studies):
            say(f"{data['problem']}: {data['answer']['sentence']}")
        say(f"\nReport: {out}")
    write_json(studies, json_file)


def _check_words(
    problems: list[str] | None, optimizers: str, schedules: str, lrs: str, budget: str | None, memory: str | None
) -> None:
    """SteepestError for words that mean nothing, before torch is imported."""
    chosen = [rules.get(name) for name in names_in(optimizers) if ".py" not in name]
    for name in names_in(schedules):
        multipliers.get(name)
    if all(".py" not in name for name in names_in(optimizers)):
        rates_of(lrs, [rule.name for rule in chosen])
    for name in problems or ():
        if not name.endswith(".py") and "/" not in name and name not in library.BUILT_IN:
            library.get(name)
    if budget is not None:
        seconds_of(budget)
    if memory is not None:
        bytes_of(memory)


@data.command()
@sentences
def fetch(
    name: Annotated[str, typer.Argument(metavar="mnist|cifar10")],
    mirror: Annotated[list[str] | None, typer.Option(help="A mirror's address; may be given several times.")] = None,
    json_file: JSON = None,
) -> None:
    """Download a data set with checksum and progress bar; goes on where a broken download stopped."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ..errors import unknown
    from ..problems.built_in import cifar10, mnist

    check_json(json_file)
    sets: dict[str, Any] = {"mnist": mnist, "cifar10": cifar10}
    if name not in sets:
        raise unknown("data set", name, sets)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def progress(file: str, here: int, total: int) -> None:
            task = tasks[file] if file in tasks else tasks.setdefault(file, bar.add_task(file))
            bar.update(task, completed=here, total=total or None)

        folder, fetched = sets[name].fetch(tuple(mirror or sets[name].MIRRORS), progress)
    new = f"{len(fetched)} files fetched" if fetched else "nothing to fetch"
    called = {"mnist": "MNIST", "cifar10": "CIFAR-10"}[name]
    if str(json_file) != "-":
        say(f"{called} is in {folder}: {new}, {sets[name].verified(fetched)}.")
    write_json({"name": name, "folder": str(folder), "fetched": [*fetched]}, json_file)


app.add_typer(working.app)
app.add_typer(looking)


def main() -> None:
    """The entry point."""
    try:
        app()
    except OSError as error:  # of --help, which is no command's
        if error.errno not in FULL:
            raise
        nothing_more(error)
        sys.exit(2)
