"""Terminal output of a study: its result, and a progress bar while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..escapes import plain
from ..study import sentences as answers
from ..study.data import StudyData

if TYPE_CHECKING:
    from ..study.result import Result

ALL_SENTENCES = 10  # pairs; with more, only the first optimizer's verdicts are printed one by one
STANDING = {"better": "better than", "tied": "tied with", "undecided": "undecided against"}


class Bar:
    """The progress callbacks of a study, as a progress bar with the time left; hidden when not on a terminal."""

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
        """Callback: the estimated total number of training steps."""
        self._planned = steps

    def expect(self, steps: int) -> None:
        """Callback: this many more steps are confirmed."""
        self._expected += steps

    def done(self, steps: int) -> None:
        """Callback: this many more steps are done."""
        self._done += steps
        share = self._done / max(self._expected, self._planned, 1)
        self._bar.update(self._task, completed=max(share, self._bar.tasks[0].completed))  # never moves back

    def say(self, what: str) -> None:
        """Callback: the current activity."""
        self._bar.update(self._task, description=plain(what, ""))


def console(file: IO[str]) -> Console:
    """The console for results: as wide as the terminal, or 160 characters if the output is piped."""
    how: Any = {"file": file, "highlight": False, "markup": False, "emoji": False}
    made = Console(**how)
    return made if made.is_terminal else Console(**how, width=160)


def show(result: Result, data: StudyData, console: Console, pairs: bool = False, verbose: bool = False) -> None:
    """Print the answer, notes and code of a study; `pairs` adds the pairwise verdicts, `verbose` all details and candidates."""

    def line(words: str = "", style: str = "", whole: bool = False) -> None:
        console.print(Text(plain(words, ""), style=style), soft_wrap=whole or not console.is_terminal)

    answer = data.answer
    line(answer.sentence, "bold")
    if answer.rows and answer.raced:
        line()
        console.print(_table(answers.table(answer)))
    line()
    for sentence in answer.details if verbose else answer.lines:
        line(sentence)
    if data.code:
        line()
        for code in data.code.splitlines():
            line("  " + code, whole=True)
    line()
    line(" - ".join(filter(None, (data.problem, data.about))))
    line(_ran(result, data))
    if verbose or not (answer.rows and answer.raced):
        line()
        console.print(_table(data.table))
    if data.optimum:
        least, how = data.optimum
        line(f"The lowest possible loss is {least:.6g}: {how}.")
    for sentence in sentences(data) if pairs else ():
        line("  " + sentence)
    for note in data.notes:
        line("Note: " + note)
    if not verbose and len(answer.details) > len(answer.lines):
        line("More with --verbose: every optimizer at its best rate, and all bounds.", "dim")


def _table(parts: tuple[Sequence[str], Sequence[Sequence[str]]]) -> Table:
    heading, rows = parts
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for i, word in enumerate(heading):
        table.add_column(Text(plain(word, "")), justify="left" if i == 0 or word == "optimizer" else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell, "")) for cell in row))
    return table


def sentences(data: StudyData) -> list[str]:
    """All verdicts as sentences; if there are many, one per pair for the first optimizer and one per optimizer after it."""
    if len(data.verdicts) <= ALL_SENTENCES:
        return [v.sentence for v in data.verdicts]
    first, *others = (row.label for row in data.optimizers)
    lines = [v.sentence for v in data.verdicts if v.a == first]
    return lines + [f"{label} is {'; '.join(_standing(data, label))}." for label in others[:-1]]


def _standing(data: StudyData, label: str) -> list[str]:
    """How an optimizer compares with those ranked below it: "better than a, b", "tied with c", "undecided against d"."""
    groups = {words: [v.b for v in data.verdicts if (v.a, v.verdict) == (label, name)] for name, words in STANDING.items()}
    return [f"{words} {', '.join(names)}" for words, names in groups.items() if names]


def _ran(result: Result, data: StudyData) -> str:
    """A line with the number of runs trained and loaded from the store, and the length, batches and device of a run."""
    days = "" if result.days is None else result.days[0] if len(set(result.days)) == 1 else " to ".join(result.days)
    known = f"from the store, {result.stored} runs of {days}"
    if result.trained == 0 and result.stored:
        work = f"Nothing to train: all {result.stored} runs are in the store. The answer is {known}."
    elif result.trained == 0:
        work = "Nothing was trained."
    else:
        work = f"Trained {result.trained} runs in {result.seconds:.0f} s{'; ' + known if result.stored else ''}."
    look = f" Look {result.look} at this study, at alpha {result.alpha:.4g}." if data.verdicts and result.look else ""
    most = max((place.n for place in data.answer.places), default=result.question.seeds)
    seeds = f"up to {most} seeds, " if most else ""
    length = data.ran.partition(" runs of ")[2]
    each = ", ".join(filter(None, (f"{length[:1].upper()}{length[1:]} each", data.batches, f"{seeds}{data.device}")))
    return f"{work}{look} {each}."
