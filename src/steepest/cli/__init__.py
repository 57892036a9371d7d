"""The command line: parse, call, print. Heavy libraries are imported only by the command that needs them."""

from __future__ import annotations

import contextlib
import inspect
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steepest_workshop.commands import app as workshop

from .. import problems as library
from .. import rules
from .. import schedules as multipliers
from ..checks import bytes_of, names_in, seconds_of
from ..errors import SteepestError
from ..rules import RACE
from ..shell import JSON, check_distinct, check_file, check_json, sentences, write_json
from ..studies import defaults
from ..studies.rates import rates_of

if TYPE_CHECKING:
    from ..studies.store import Store

app = typer.Typer(
    help="Which optimizer, learning rate and schedule does my model need, and how sure are we?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Data sets that do not install with steepest.", no_args_is_help=True)
app.add_typer(data, name="data")


stores = typer.Typer(help="What a store keeps.", no_args_is_help=True)
app.add_typer(stores, name="store")


@data.callback()
def _data() -> None: ...


@stores.callback()
def _stores() -> None: ...


@app.command()
@sentences
def compare(
    problems: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROBLEM|FILE.py]...", help="Built-in problems or Python files. Default: digits."),
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
    json_file: JSON = None,
) -> None:
    """Which optimizer, schedule and rate to pick for a problem, and how far behind the best it could be.

    Every run is kept in the store as it ends: the same command again trains nothing, and --continue goes on.
    """
    began = time.perf_counter()  # before torch is imported: a budget counts that too
    check_file(Path(report), "report", "report.html")
    check_json(json_file)
    check_distinct(store=store, report=report, json=json_file)
    _check_words(problems, optimizers, schedules, lrs, budget, memory)
    command = shlex.join(["steepest", *sys.argv[1:]])
    out = sys.stderr if str(json_file) == "-" else sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a model or a problem file prints is not part of the answer
        from ..api import Study
        from ..api import compare as run
        from ..report.study import terminal

        console, studies = terminal.console(out), list[Study]()
        for problem in [library.get(name) for name in problems or [defaults.PROBLEM]]:
            study = run(
                problem,
                optimizers,
                schedules=schedules,
                lrs=lrs,
                trials=trials,
                seeds=seeds,
                steps=steps,
                budget=budget,
                margin=margin,
                store=store,
                device=device,
                plan=plan,
                memory=memory,
                go_on=go_on,
                record=record,
                command=command,
                began=None if studies else began,
            )
            terminal.show(study.result, console, pairs)
            if plan == "show":
                console.print(f"Trained {study.result.plan}.", soft_wrap=True)
            studies.append(study)
        from ..report.study import page  # after the answer is shown: its library takes a while to load

        page.write([study.shown for study in studies], report)
        console.print(f"\nReport: {report}   Runs: {store}", soft_wrap=True)
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
    from ..report.study import page

    check_json(json_file)
    page.check(out)
    with _opened(store) as opened:
        studies = opened.studies()
    if not studies:
        raise SteepestError(f"The store {store} has runs, but no study that ended; run `steepest compare` with it once more.")
    page.write(studies, out)
    if str(json_file) != "-":
        for data in studies:
            typer.echo(f"{data['problem']}: {data['answer']['sentence']}")
        typer.echo(f"\nReport: {out}")
    write_json(studies, json_file)


@stores.command()
@sentences
def export(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store that `compare` made.")],
    out: Annotated[str, typer.Option(metavar="FILE|FOLDER", help="A .csv or .parquet file, or a folder for the others.")],
    to: Annotated[str | None, typer.Option(help="csv, parquet, tensorboard or mlflow. Default: by the file's name.")] = None,
    json_file: JSON = None,
) -> None:
    """Every run of a store for another program: a table, TensorBoard's curves, MLflow's runs."""
    from ..studies.exports import export as write

    check_json(json_file)
    with _opened(store) as opened:
        count = write(opened, out, to)
    if str(json_file) != "-":
        typer.echo(f"Wrote {count} runs to {out}.")
    write_json({"runs": count, "out": out}, json_file)


def _opened(path: str) -> Store:
    """An existing store; SteepestError where there is none."""
    from ..studies.store import Store

    if not Path(path).is_file():
        raise SteepestError(f"There is no store {path}; give the file that `steepest compare --store` wrote.")
    return Store(path)


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


@app.command("list")
@sentences
def list_(
    what: Annotated[str, typer.Argument(metavar="optimizers|schedules|problems|surfaces")],
    json_file: JSON = None,
) -> None:
    """What there is to compare."""
    from ..errors import unknown

    if what == "surfaces":
        from .. import surfaces

    kinds: dict[str, list[dict[str, Any]]] = {
        "optimizers": [
            {
                "name": r.name,
                "class": r.class_name,
                "reference": r.reference,
                "reach": r.reach,
                "state": list(r.state),
                "hyper": {k: v for k, v in r.hyper.items() if k != "matrix"},
                "deviations": list(r.deviations),
            }
            for r in rules.RULES.values()
        ],
        "schedules": [
            {"name": k, "arguments": str(inspect.signature(f)).split(" ->")[0], "formula": _first_line(f)}
            for k, f in multipliers.FORMULAS.items()
        ],
        "problems": [{"name": name} for name in library.BUILT_IN],
        "surfaces": [{"name": k, "about": _first_line(f)} for k, f in surfaces.SURFACES.items()] if what == "surfaces" else [],
    }
    if what not in kinds:
        raise unknown("list", what, kinds)
    check_json(json_file)
    if str(json_file) != "-":
        for row in kinds[what]:
            more = f"{row['class']:19}{row['reference']}" if "class" in row else row.get("formula") or row.get("about", "")
            typer.echo(f"{row['name']:21}{more}".rstrip())
    write_json(kinds[what], json_file)


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").split("\n")[0]


@app.command()
@sentences
def surface(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FORMULA|PROBLEM", help='"himmelblau", "x**2 + 3*sin(y)**2", or a problem.')
    ],
    json_file: JSON = None,
) -> None:
    """A surface's stationary points and their kinds, convexity and minima; of a network's loss the slope and curvature."""
    check_json(json_file)
    if name in library.BUILT_IN or name.endswith(".py"):
        from ..report.surface import text
        from ..training.curvature import curvature

        problem = library.get(name)
        steepness = curvature(problem)
        if str(json_file) != "-":
            typer.echo(text.network(problem.name, steepness, rules.get("sgd").rate))
        write_json({"name": problem.name, **steepness._asdict()}, json_file)
        return
    from .. import surfaces
    from ..report.surface import text

    chosen = surfaces.get(name)
    if str(json_file) != "-":
        typer.echo(text.text(chosen))
    if json_file is not None:
        write_json(text.card(chosen), json_file)


VIEWS = ("map", "space", "panels", "heights", "insides")


@app.command()
@sentences
def path(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FORMULA", help='"saddle", "valley(condition=100)", "x**2 + 3*sin(y)**2".')
    ],
    optimizers: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(RACE),
    lrs: Annotated[
        str | None, typer.Option(help="A rate for all, or by name (sgd=0.1,adam=0.01); auto: the best of a grid.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Where all begin, such as --start=1,1e-3.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Gradients for each.")] = 200,
    schedule: Annotated[str, typer.Option(help="The multiplier of the rates.")] = "constant",
    noise: Annotated[float, typer.Option(help="Size of normal noise on every gradient.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    view: Annotated[str, typer.Option(help=f"What --out draws: {', '.join(VIEWS)} (of the last optimizer).")] = "map",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture: PNG, SVG or PDF.")] = None,
    animate: Annotated[Path | None, typer.Option(metavar="FILE.gif", help="The paths as they grow.")] = None,
    json_file: JSON = None,
) -> None:
    """Paths of optimizers down a surface, from one start, at equal work."""
    from ..api import trajectory
    from ..report.surface import pictures, text

    check_json(json_file)
    if view not in VIEWS:
        raise SteepestError(f"--view is {view!r}; expected one of {', '.join(VIEWS)}.")
    descent = trajectory(name, optimizers, start, steps, lrs=lrs, schedule=schedule, noise=noise, seed=seed)
    if str(json_file) != "-":
        typer.echo(text.ends(descent))
    if out:
        drawn = {"map": pictures.contour, "space": pictures.surface3d, "panels": pictures.panels, "heights": pictures.heights}
        figure = drawn[view](descent) if view in drawn else pictures.insides(descent.paths[-1], descent.surface)
        pictures.save(figure, out)
    if animate:
        poster = pictures.animate(descent, animate)
        typer.echo(f"Animation: {animate}   Last frame: {poster}", err=str(json_file) == "-")
    write_json(text.paths(descent), json_file)


@app.command()
@sentences
def play(
    surface: Annotated[
        str, typer.Argument(metavar="[SURFACE|FORMULA]", help='"himmelblau", "valley(condition=100)", "x**2 + 3*sin(y)**2".')
    ] = "valley",
    optimizers: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(RACE),
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page.")] = Path("steepest-play.html"),
    opened: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json_file: JSON = None,
) -> None:
    """A page to play with: drag the start, and every optimizer's path follows. It needs no network and no server."""
    from ..playground import page

    check_json(json_file)
    check_file(out, "page", "play.html")
    check_distinct(out=out, json=json_file)
    made = page.play(surface, names_in(optimizers))
    made.write(out)
    size = out.stat().st_size
    if str(json_file) != "-":
        typer.echo(f"Page: {out} ({size / 1000:.0f} kB); open it in a browser.")
    write_json({"out": str(out), "bytes": size, "surface": surface, "optimizers": names_in(optimizers)}, json_file)
    if opened:
        typer.launch(str(out.resolve()))


@app.command()
@sentences
def schedule(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Such as cosine, 'step(size=30)', 'warmup(0.1) * cosine'.")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Of the run.")] = 1000,
    rate: Annotated[float, typer.Option(help="The rate that is multiplied, for the picture.")] = 1.0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture: PNG, SVG or PDF.")] = None,
    json_file: JSON = None,
) -> None:
    """Schedules as they run: the multiplier of the learning rate at every step."""
    check_json(json_file)
    chosen = [multipliers.get(name) for name in names]
    rows = [{"name": s.name, "values": s.values(steps), "momentum": s.momenta(steps)} for s in chosen]
    if str(json_file) != "-":
        marks = sorted({round(i * (steps - 1) / 8) for i in range(9)})
        width = max(10, *(len(s.name) for s in chosen)) + 2
        typer.echo("step".ljust(width) + "".join(f"{k:>10}" for k in marks))
        for s in chosen:
            typer.echo(s.name.ljust(width) + "".join(f"{s(k, steps):>10.4g}" for k in marks))
    if out:
        from ..report.surface import pictures

        pictures.save(pictures.schedules(chosen, steps, rate), out)
    write_json({"schedules": rows}, json_file)


@app.command()
@sentences
def show(
    name: Annotated[str, typer.Argument(metavar="OPTIMIZER|FILE.py:NAME")],
    language: Annotated[str | None, typer.Option(help="Only the step, as python, latex or javascript writes it.")] = None,
    json_file: JSON = None,
) -> None:
    """A rule as it is written, its source, hyperparameters, state and deviations, and one step with real numbers."""
    from ..report.rule import card

    check_json(json_file)
    rule = card.describe(name) if language is None else card.written(name, language)
    if str(json_file) != "-":
        typer.echo(card.text(rule) if language is None else rule["text"])
    write_json(rule, json_file)


@data.command()
@sentences
def fetch(
    name: Annotated[str, typer.Argument(metavar="mnist|cifar10")],
    mirror: Annotated[list[str] | None, typer.Option(help="A mirror's address; may be given several times.")] = None,
) -> None:
    """Download a data set with checksum and progress bar; goes on where a broken download stopped."""
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
        tasks: dict[str, Any] = {}

        def progress(file: str, here: int, total: int) -> None:
            task = tasks[file] if file in tasks else tasks.setdefault(file, bar.add_task(file))
            bar.update(task, completed=here, total=total or None)

        folder, fetched = sets[name].fetch(tuple(mirror or sets[name].MIRRORS), progress)
    new = f"{len(fetched)} files fetched" if fetched else "nothing to fetch"
    called = {"mnist": "MNIST", "cifar10": "CIFAR-10"}[name]
    typer.echo(f"{called} is in {folder}: {new}, {sets[name].verified(fetched)}.")


app.add_typer(workshop)


def main() -> None:
    """The entry point."""
    app()
