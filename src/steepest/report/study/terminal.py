"""A result on the screen, and the progress bar while it is made."""

from __future__ import annotations

from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ...escapes import plain
from ...studies.results import Result
from . import summary

ALL_SENTENCES = 10  # pairs; beyond, only the first optimizer's verdicts are told one by one


class Bar:
    """A progress bar with the time left, shown where a person watches; tells `studies.running.Progress`."""

    def __init__(self, console: Console) -> None:
        columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._done = self._expected = self._planned = 0

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def plan(self, steps: int) -> None:
        """About so many steps of training lie ahead in all."""
        self._planned = steps

    def expect(self, steps: int) -> None:
        """More steps of training lie ahead."""
        self._expected += steps

    def done(self, steps: int) -> None:
        """Steps of training are done."""
        self._done += steps
        share = self._done / max(self._expected, self._planned, 1)
        self._bar.update(self._task, completed=max(share, self._bar.tasks[0].completed))  # never back

    def say(self, what: str) -> None:
        """What is going on now."""
        self._bar.update(self._task, description=plain(what, ""))


def console(file: IO[str]) -> Console:
    """Where results are printed: as wide as the terminal, or in a pipe as wide as the table needs."""
    how: Any = {"file": file, "highlight": False, "markup": False, "emoji": False}
    made = Console(**how)
    return made if made.is_terminal else Console(**how, width=160)


def show(result: Result, console: Console, pairs: bool = False) -> None:
    """Print the answer, the table, the notes and the code; with `pairs` the verdicts too."""
    design = result.design

    def line(words: str = "", style: str = "", whole: bool = False) -> None:
        console.print(Text(plain(words, ""), style=style), soft_wrap=whole or not console.is_terminal)

    line(" - ".join(filter(None, (design.problem.name, design.problem.about))), "bold")
    line(_ran(result))
    line()
    assert result.answer
    line(result.answer.sentence, "bold")
    for sentence in result.answer.details():
        line("  " + sentence)
    line()
    heading, rows = summary.cells(result)
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for i, word in enumerate(heading):
        table.add_column(Text(plain(word, "")), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell, "")) for cell in row))
    console.print(table)
    line()
    if design.problem.optimum:
        least, how = design.problem.optimum
        line(f"The least loss possible is {least:.6g}: {how}.")
    for sentence in sentences(result) if pairs else ():
        line("  " + sentence)
    for note in result.notes:
        line("Note: " + note)
    if result.answer.pick is not None:
        line()
        for code in summary.code(result.chosen, design.steps).splitlines():
            line("  " + code, whole=True)


def sentences(result: Result) -> list[str]:
    """Every verdict in words; where there are many, the first optimizer's one by one and the others' by optimizer."""
    if len(result.verdicts) <= ALL_SENTENCES:
        return [v.sentence for v in result.verdicts]
    first = result.entries[0].candidate.label
    lines = [v.sentence for v in result.verdicts if v.a == first]
    for entry in result.entries[1:-1]:
        label = entry.candidate.label
        lines.append(f"{label} is {'; '.join(summary.standing(result, label))}.")
    return lines


def _ran(result: Result) -> str:
    """What was trained and what the store knew."""
    days = "" if result.days is None else result.days[0] if len(set(result.days)) == 1 else " to ".join(result.days)
    known = f"from the store, {result.stored} runs of {days}"
    if result.trained == 0 and result.stored:
        work = f"Nothing to train: all {result.stored} runs are in the store. The answer is {known}."
    elif result.trained == 0:
        work = "Nothing was trained."
    else:
        work = f"Trained {result.trained} runs in {result.seconds:.0f} s{'; ' + known if result.stored else ''}."
    look = f" Look {result.look} at this study, at alpha {result.alpha:.4g}." if result.verdicts and result.look else ""
    seeds = f"up to {result.design.seeds} seeds, " if result.design.seeds else ""
    assert result.answer
    return f"{work}{look} {result.answer.seen} each, {result.design.problem.drawing}, {seeds}{result.design.device}."
