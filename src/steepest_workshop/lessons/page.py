"""The page of a reproduction, as Markdown: what was found first, then each document, with its tables folded."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from steepest.report.surface.pictures import save

from ..gallery import few_colours
from . import DOCUMENTS, Row, inventory, pictures
from .written import counts, shown, summed


class Story(NamedTuple):
    """What a claim's experiment teaches, told where its verdict is the one that it is told of."""

    claim: str
    holds: bool | None
    words: str


STORIES = (
    Story("Adam's averages are divided", False, "A formula is refuted by the figures printed beside it."),
    Story("Adam's epsilon stands", False, "The printed figures show that epsilon stands outside the root."),
    Story("RMSprop at 0.01 stays", None, "Whether RMSprop learns at 0.01 is decided by the start."),
    Story("sgd is stuck at the saddle", None, "Who is stuck at a saddle depends on the rate and the start."),
    Story("momentum converges slower", None, "Whether momentum is slower in a valley depends on how the valley lies."),
    Story("RMSprop is similar", False, "RMSprop walks more like plain descent than like momentum."),
    Story("Adam prefers flat minima", None, "Adam prefers flat minima at one rate, and not at others."),
    Story("momentum lowers the variation", None, "Momentum calms the loss only where its rate is cut by as much as it adds."),
    Story("mini-batches get a little closer", False, "Single examples end nearer than mini-batches, at the best rate of each."),
    Story("SGD ends better", True, "SGD starts slower than Adam and ends better, plain or with momentum."),
    Story("use Adam first", True, "Adam first and SGD then, switched late, ends better than either alone."),
    Story("exponential step sizes", False, "One tuned milestone does better than exponential step sizes."),
    Story("momentum below 1 damps", True, "Momentum is friction: at 1 a ball never stops."),
    Story("with beta = 0.99", None, "The best momentum grows with the condition: 0.99 is a brake in a bowl."),
    Story("Schedule-Free's line 12", False, "Taken literally, a misprinted line does not train."),
    Story("Nesterov's guarantee", True, "Nesterov needs the root of the steps that descent needs."),
    Story("Adam may fail to converge", True, "Adam can walk away from where the mean gradient points."),
    Story("then we use an unbiased", True, "Dividing by 1 - beta ** t is exact, not a rule of thumb."),
)  # fmt: skip


def write(rows: Sequence[Row], tier: str, path: Path) -> None:
    """The page, with the documents' pictures in a folder beside it unless the tier is "quick"."""
    totals = counts(rows)
    asked = "all" if len(totals) == len(DOCUMENTS) else " ".join(totals)
    command = f"steepest reproduce {asked}{'' if tier == 'default' else f' --{tier}'} --report FILE.md"
    lines = ["# What the documents say, and what comes out", "", f"{summed(totals)} Made by `{command}`.", ""]
    lines += [*_told(rows), *_verdicts(rows), *_counted(totals)]
    for number in totals:
        lines += _document(number, rows, None if tier == "quick" else path.parent / "pictures")
    lines += _listed(set(totals), rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _told(rows: Sequence[Row]) -> list[str]:
    """What surprises, each with its experiment."""
    lines = []
    for story in STORIES:
        row = next((row for row in _claims(rows) if str(row.printed).startswith(story.claim)), None)
        if row and row.holds is story.holds:
            lines.append(f"- **{story.words}** {_sentence(row)} ({row.source})")
    return ["## What surprises", "", *lines, ""] if lines else []


def _verdicts(rows: Sequence[Row]) -> list[str]:
    """The claims by how they fared: what does not hold, what depends, what holds."""
    parts = {False: "Does not hold", None: "Depends, or is not decided", True: "Holds"}
    lines = ["## Every claim by its verdict", ""] if _claims(rows) else []
    for holds, title in parts.items():
        own = [row for row in _claims(rows) if row.holds is holds]
        if own:
            lines += [f"<details{'' if holds else ' open'}><summary>{title} ({len(own)})</summary>", ""]
            lines += [
                f"- *{row.printed}*{f': {row.reason}' if holds is None else ''}. {_sentence(row)} ({row.source})" for row in own
            ]
            lines += ["", "</details>", ""]
    return lines


def _counted(totals: dict[str, dict[str, int]]) -> list[str]:
    """The printed results of each document, by what they are worth."""
    kinds = list(next(iter(totals.values())))
    lines = ["## Printed results by what they are worth", "", *KINDS_TOLD, ""]
    lines += [f"| document | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    return lines + [
        f"| {number} {DOCUMENTS[number][1]} | {' | '.join(map(str, one.values()))} |" for number, one in totals.items()
    ]


KINDS_TOLD = (
    "*Reproduced*: our figure agrees, and every other optimizer of the five documents, every usual slip and every mutant",
    "miss it. *Again*: the same comparison as a row above. *Consistent*: something wrong gives it too, which the row names.",
    "*Fitted*: what makes it was chosen by it. *Echo*: data, a default, an identity. *Unscored*: not tried yet.",
)


def _document(number: str, rows: Sequence[Row], folder: Path | None) -> Iterator[str]:
    """A document: what it is, its pictures, and its figures, folded."""
    module_name, title = DOCUMENTS[number]
    about = (inspect.getdoc(importlib.import_module(f".{module_name}", __package__)) or "").partition(": ")[2]
    yield from ("", f"## {number} {title}", "", about[:1].upper() + about[1:], "")
    yield from _pictures(number, rows, folder) if folder else ()
    yield from ("<details><summary>Every printed result</summary>", "")
    yield from ("| quantity | printed | ours | tolerance | holds | worth |", "|---|---|---|---|---|---|")
    for row in rows:
        if row.source == number and row.quantity != "claim":
            holds = {True: "yes", False: f"no: {row.reason}", None: row.reason or "-"}[row.holds]
            worth = f"{row.power}: {row.alike}" if row.alike else row.power
            cells = (row.quantity, shown(row.printed), shown(row.ours), shown(row.tolerance), holds, worth)
            yield f"| {' | '.join(cells)} |"
    yield from ("", "</details>")


def _listed(numbers: set[str], rows: Sequence[Row]) -> Iterator[str]:
    """Everything that the documents hold, and where it is here."""
    own = [item for item in inventory.items() if item.source in numbers]
    lost = {item for item, _ in inventory.unmet(rows, pictures.names())}
    here = sum(not item.reason and item not in lost for item in own)
    cited = sum(bool(item.reason) for item in own)
    yield from ("", "## Everything in them", "", f"{len(own)} things, of which {here} are here and {cited} are cited.", "")
    yield from (
        "<details><summary>The list</summary>",
        "",
        "| document | kind | what | where | command |",
        "|---|---|---|---|---|",
    )
    for item in own:
        where = item.where[0] if item.reason else "; ".join(f"{kind}: {name}" for kind, _, name in map(_parted, item.where))
        where = "not made by this command" if item in lost else where
        yield f"| {item.source} | {item.kind} | {item.words} | {where} | `{item.command}` |"
    yield from ("", "</details>")


def _parted(where: str) -> tuple[str, str, str]:
    return where.partition(" ")


def _claims(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.quantity == "claim"]


def _sentence(row: Row) -> str:
    words = str(row.ours).rstrip(".")
    return f"{words[:1].upper()}{words[1:]}."


def _pictures(number: str, rows: Sequence[Row], folder: Path) -> Iterator[str]:
    """A document's pictures, saved, as lines of Markdown."""
    folder.mkdir(exist_ok=True)
    for name, figure in pictures.of(number, rows):
        save(figure, folder / f"reproduce-{name}.png")
        few_colours(folder / f"reproduce-{name}.png")
        words = figure.get_gid() or ""
        yield from (f"![{words.partition('. ')[0]}]({folder.name}/reproduce-{name}.png)", "", words, "")
