"""The commands of the workshop: `bench`, `conformance`, `lessons`, `reproduce` and `selftest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steepest.checks import bytes_of, written
from steepest.errors import SteepestError
from steepest.shell import JSON, check_distinct, check_file, command, say, sentences, write_json

selftest = typer.Typer(help="Check the claims of steepest on this machine.", no_args_is_help=True)
bench = typer.Typer(help="Measure speed on this machine, against named rivals.", no_args_is_help=True)
lessons = typer.Typer(help="Teach with the five lessons: hand out notebooks, and grade them.", no_args_is_help=True)


@bench.callback()
def _bench() -> None: ...


@selftest.callback()
def _selftest() -> None: ...


@lessons.callback()
def _lessons() -> None: ...


@command(selftest)
def statistics(
    studies: Annotated[int, typer.Option(min=1, help="Simulated studies per row; rows of races use fewer.")] = 10_000,
    json_file: JSON = None,
) -> None:
    """Simulate and replay studies with a known truth: how often bounds and intervals hold, and how many runs a race saves."""
    from rich.console import Console

    from . import calibrated, calibration, claims

    rows = []
    console = Console(stderr=True)
    with console.status("") as status:
        for row in calibration.everything(studies):
            rows.append(row)
            if "kind" not in row or row["holds"] is False:
                typer.echo(calibrated.words(row), err=str(json_file) == "-")
            if console.is_terminal:
                status.update(f"{len(rows)} rows")
    typer.echo(f"\n{claims.TITLE}\n", err=str(json_file) == "-")
    for line in claims.matrix(rows):
        typer.echo(line, err=str(json_file) == "-")
    write_json(rows, json_file)
    if any(row["holds"] is False for row in rows):
        raise typer.Exit(1)


@command(bench)
def step(
    optimizers: Annotated[str | None, typer.Option(help="Names, separated by commas. Default: every rule.")] = None,
    shapes: Annotated[str, typer.Option(help="resnet50, gpt2-small, mlp or many-small.")] = "resnet50",
    rounds: Annotated[int, typer.Option(help="Timed steps of each implementation.")] = 7,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the result in this file.")] = None,
    json_file: JSON = None,
) -> None:
    """Time one step of every rule against torch, installed optimizer packages and the speed of memory, in one run."""
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
        typer.Option(help="mnist-mlp, digits, cnn, transformer, lstm (synthetic data) or noisy-regression. Default: all."),
    ] = None,
    runs: Annotated[str, typer.Option(help="Number of runs; separate several numbers by commas.")] = "64",
    seeds: Annotated[int, typer.Option(help="Number of seeds; runs of one seed share their batches.")] = 4,
    width: Annotated[int | None, typer.Option(help="Width of the hidden layer of mnist-mlp or digits.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Plot time against the number of runs.")] = None,
    json_file: JSON = None,
) -> None:
    """Time many training runs as planned, against a careful loop, processes, the source document's program and JAX."""
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
    """Time nine optimizers on Rosenbrock's function: compiled loops against a plain torch loop, and a million steps."""
    from .bench import path as benchmark

    _measured(benchmark, json_file)


@command(bench, "play")
def bench_play(json_file: JSON = None) -> None:
    """Time a drag in the playground in Chromium, drawn on a canvas and as SVG. Needs playwright."""
    from .bench import play as benchmark

    _measured(benchmark, json_file)


def _measured(benchmark: Any, json_file: Path | None) -> None:
    """Run a benchmark without arguments and print its result."""
    result = benchmark.measure()
    say(benchmark.text(result))
    write_json(result, json_file)


@command(bench, "cluster")
def bench_cluster(json_file: JSON = None) -> None:
    """Estimate a race's cost and time to the answer for 1 to 64 workers: replayed, with times measured here."""
    from .bench import cluster as benchmark

    _measured(benchmark, json_file)


@command(bench, "answer")
def bench_answer(
    problem: Annotated[str, typer.Option(help="digits, diabetes or mnist-mlp, which have recorded runs.")] = "digits",
    seconds: Annotated[str, typer.Option(help="Budgets at which the picks are compared, separated by commas.")] = "10,30,60",
    repetitions: Annotated[int, typer.Option(min=1, help="Repetitions, each on different seeds.")] = 20,
    docs: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write the result as Markdown.")] = None,
    json_file: JSON = None,
) -> None:
    """Compare the picks of `compare`, Optuna's TPE and random search after some seconds, and how good they are."""
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
        list[str] | None, typer.Argument(metavar="[NAME|all]...", help="Documents: 000 to 004, or all (the default).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Under four minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Everything, however long it takes.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write the table as Markdown, with its pictures next to it.")
    ] = None,
    json_file: JSON = None,
) -> None:
    """Reproduce the five teaching documents: each printed figure, ours, the tolerance, and whether ours is within it."""
    from .lessons import chosen, page, written

    check_file(report, "report")
    check_distinct(report=report, json=json_file)
    if quick and full:
        raise SteepestError("--quick and --full were both given; give one of them.")
    tier = "quick" if quick else "full" if full else "default"
    rows = written.collect(chosen(names or ["all"]), tier)
    say(written.text(rows))
    write_json(written.as_data(rows), json_file)
    if report:
        page.write(rows, tier, report)


@command(lessons, "hand-out")
def hand_out(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    json_file: JSON = None,
) -> None:
    """Write the five lessons as notebooks for students, without outputs and answers, and a README."""
    from .lessons.classroom import handout

    paths = handout.hand_out(folder)
    for path in paths:
        say(str(path))
    write_json([str(path) for path in paths], json_file)


@command(lessons)
def grade(
    notebooks: Annotated[list[Path], typer.Argument(metavar="NOTEBOOK...", help="Notebooks of students, or folders of them.")],
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="The marks: 1 is right, 0 is not.")] = Path("marks.csv"),
    sentences: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write what `check` says of each answer in this file.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Processor time of an answer.")] = 10.0,
    memory: Annotated[str, typer.Option(help="Memory of an answer.")] = "1GiB",
    json_file: JSON = None,
) -> None:
    """Grade notebooks of students: a row of marks for each, a column for each exercise.

    Each answer is run in a process of its own, with limits on time, memory and files. This is no sandbox: see SECURITY.md.
    The exit code is 2 if a notebook could not be read; the others are graded.
    """
    from rich.console import Console
    from rich.progress import Progress

    from .lessons.classroom import grader, marks

    check_file(out, "table of marks", "marks.csv")
    check_file(sentences, "table of sentences", "sentences.csv")
    check_distinct(out=out, sentences=sentences, json=json_file)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("answers", total=None)
        limits = grader.Limits(seconds, bytes_of(memory))
        try:
            marked = grader.grade(
                marks.notebooks(notebooks), limits, lambda done, total: bar.update(task, completed=done, total=total)
            )
        except KeyboardInterrupt:
            say("steepest: interrupted; no marks were written.", err=True)
            raise typer.Exit(130) from None
    written("table of marks", out, marks.table(marked))
    if sentences:
        written("table of sentences", sentences, marks.sentences(marked))
    for each, line in zip(marked, marks.lines(marked), strict=True):
        say(line, err=bool(each.fault))
    say(f"\nMarks: {out}{f'   Sentences: {sentences}' if sentences else ''}")
    write_json(marks.as_data(marked), json_file)
    if any(each.fault for each in marked):
        raise typer.Exit(2)


@sentences
def conformance(
    docs: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write this document only. Default in a checkout: all of them.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Pin the new digest of a rule that was changed on purpose.")
    ] = None,
    json_file: JSON = None,
) -> None:
    """Measure the largest error of every rule against its paper, its author's package and torch.

    In a checkout, also write the generated files: docs/optimizers.md, src/steepest/optim.pyi and the pinned digests.
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
