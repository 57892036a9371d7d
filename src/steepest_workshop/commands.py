"""The commands that show what steepest claims: `conformance`, `reproduce`, `selftest` and `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steepest.errors import SteepestError
from steepest.shell import JSON, check_distinct, check_file, command, say, sentences, write_json

selftest = typer.Typer(help="Checks of what steepest claims, on this machine.", no_args_is_help=True)
bench = typer.Typer(help="Speed, measured on this machine beside a named rival.", no_args_is_help=True)


@bench.callback()
def _bench() -> None: ...


@selftest.callback()
def _selftest() -> None: ...


@command(selftest)
def statistics(
    studies: Annotated[int, typer.Option(min=1, help="Simulated studies in each of the first rows; races are fewer.")] = 10_000,
    json_file: JSON = None,
) -> None:
    """Studies whose truth is known, simulated or replayed: do bounds and intervals hold, and what does a race save?"""
    from rich.console import Console

    from . import calibration

    rows = []
    console = Console(stderr=True)
    with console.status("") as status:
        for row in calibration.everything(studies):
            rows.append(row)
            typer.echo(calibration.words(row), err=str(json_file) == "-")
            if console.is_terminal:
                status.update(f"{len(rows)} rows")
    write_json(rows, json_file)
    if any(row["holds"] is False for row in rows):
        raise typer.Exit(1)


@command(bench)
def step(
    optimizers: Annotated[str | None, typer.Option(help="Names, separated by commas. Default: every rule.")] = None,
    shapes: Annotated[str, typer.Option(help="resnet50, gpt2-small, mlp or many-small.")] = "resnet50",
    rounds: Annotated[int, typer.Option(help="Timed steps of each contender.")] = 7,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A picture of the result.")] = None,
    json_file: JSON = None,
) -> None:
    """One step of every rule, beside torch, installed packages of optimizers and the speed of memory, in one run."""
    from rich.console import Console

    from .bench import step as benchmark

    console = Console(stderr=True)
    with console.status("") as status:
        names = optimizers.split(",") if optimizers else None
        result = benchmark.measure(names, shapes, rounds, status.update if console.is_terminal else None)
    say(benchmark.text(result))
    if out:
        benchmark.draw(result, out)
    write_json(result, json_file)


@command(bench, "train")
def bench_train(
    problem: Annotated[
        str | None,
        typer.Option(
            help="mnist-mlp, digits, cnn, transformer, lstm (made-up data) or noisy-regression. Default: each of them."
        ),
    ] = None,
    runs: Annotated[str, typer.Option(help="How many runs; several numbers, separated by commas, to see how it grows.")] = "64",
    seeds: Annotated[int, typer.Option(help="Seeds among the runs; those of one seed share their batches.")] = 4,
    width: Annotated[int | None, typer.Option(help="Width of the hidden layer of mnist-mlp or digits.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A picture of how it grows.")] = None,
    json_file: JSON = None,
) -> None:
    """Many training runs by the planner's way, beside a careful loop, processes, the source's program and JAX."""
    from .bench import train as benchmark

    try:
        counts = [int(part) for part in runs.split(",")]
    except ValueError:
        raise SteepestError(f"--runs is {runs!r}; expected whole numbers, separated by commas, such as 64.") from None
    if min(counts) < 1 or seeds < 1:
        raise SteepestError("--runs and --seeds must be 1 or more.")
    rows = []
    for row in benchmark.rows(problem, counts, seeds, width):
        rows.append(row)
        typer.echo(benchmark.text(row), err=str(json_file) == "-")
    if out:
        benchmark.draw(rows, out)
    write_json(rows, json_file)


@command(bench, "path")
def bench_path(json_file: JSON = None) -> None:
    """Nine optimizers on Rosenbrock's function: compiled loops beside a plain torch loop, and a million steps."""
    from .bench import path as benchmark

    _measured(benchmark, json_file)


@command(bench, "play")
def bench_play(json_file: JSON = None) -> None:
    """The playground in Chromium: what a drag costs, and the same drawn as SVG. It needs playwright."""
    from .bench import play as benchmark

    _measured(benchmark, json_file)


def _measured(benchmark: Any, json_file: Path | None) -> None:
    """A benchmark that takes no arguments, shown."""
    result = benchmark.measure()
    say(benchmark.text(result))
    write_json(result, json_file)


@command(bench, "cluster")
def bench_cluster(json_file: JSON = None) -> None:
    """How a race's cost and its time to the answer grow from 1 to 64 workers: replayed, with times measured here."""
    from .bench import cluster as benchmark

    _measured(benchmark, json_file)


@command(bench, "answer")
def bench_answer(
    problem: Annotated[str, typer.Option(help="digits, diabetes or mnist-mlp, whose runs are recorded.")] = "digits",
    seconds: Annotated[str, typer.Option(help="Times after which the picks are judged, separated by commas.")] = "10,30,60",
    repetitions: Annotated[int, typer.Option(min=1, help="How often all is done, each time on other seeds.")] = 20,
    docs: Annotated[Path | None, typer.Option(metavar="FILE.md", help="The result as Markdown.")] = None,
    json_file: JSON = None,
) -> None:
    """What is picked after so many seconds, and how good it is: `compare`, Optuna's TPE and random search."""
    from .bench import answer as benchmark

    check_file(docs, "document", "answer-bench.md")
    check_distinct(docs=docs, json=json_file)
    try:
        times = sorted({float(part) for part in seconds.split(",")})
    except ValueError:
        times = []
    if not times or not all(0 < t < float("inf") for t in times):
        raise SteepestError(f"--seconds is {seconds!r}; expected numbers above 0, separated by commas, such as 10,30,60.")
    result = benchmark.measure(problem, times, repetitions, say=lambda line: typer.echo(line, err=True))
    say(benchmark.text(result))
    write_json(result, json_file)
    if docs:
        made_by = f"steepest bench answer --problem {problem} --seconds {seconds} --repetitions {repetitions}"
        docs.write_text(benchmark.page(result, made_by), encoding="utf-8")


@sentences
def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|all]...", help="Documents: 000 to 004, or all, which is the default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="What takes under four minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Everything, as long as it needs.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="The table as Markdown, and its pictures beside.")
    ] = None,
    json_file: JSON = None,
) -> None:
    """The five documents that teach the subject, made again: printed figure, ours, tolerance, and whether it holds."""
    from . import lessons
    from .lessons import page, written

    check_file(report, "report")
    check_distinct(report=report, json=json_file)
    if quick and full:
        raise SteepestError("--quick and --full were both given; give one of them.")
    tier = "quick" if quick else "full" if full else "default"
    rows = written.collect(lessons.chosen(names or ["all"]), tier)
    say(written.text(rows))
    write_json(written.as_data(rows), json_file)
    if report:
        page.write(rows, tier, report)


@sentences
def conformance(
    docs: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Make this document only. Default: all that is made, in a checkout.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Pin the new digest of a rule that computes something else now.")
    ] = None,
    json_file: JSON = None,
) -> None:
    """Every rule against its paper, its author's package and torch: the largest error of each.

    In a checkout it makes what is made from the rules: docs/optimizers.md, src/steepest/optim.pyi and the pinned digests.
    """
    from rich.console import Console

    from . import catalogue, digests, stubs
    from . import conformance as check

    stub = Path("src/steepest/optim.pyi")
    in_checkout = docs is None and stub.is_file()
    if in_checkout:
        digests.pin(change or (), digests.FILE)
        stub.write_text(stubs.page(), encoding="utf-8")
    console = Console(stderr=True)
    with console.status("") as status:
        rows = check.table(progress=status.update if console.is_terminal else None)
    say(check.text(rows))
    document = Path("docs/optimizers.md") if in_checkout else docs
    if document:
        document.write_text(catalogue.page(rows), encoding="utf-8")
    write_json(rows, json_file)
