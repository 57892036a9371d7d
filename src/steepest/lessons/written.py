"""The table of what was reproduced, on the screen, as JSON and as Markdown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from ..errors import SteepestError
from ..report.pictures import save
from . import DOCUMENTS, Row, batches, reproduce, slides, tutorial, variants


def collect(numbers: Sequence[str], tier: str) -> list[Row]:
    """Every row of these documents; a person watching sees what is going on."""
    console = Console(stderr=True)
    found: list[Row] = []
    with console.status("") as status:
        began = time.perf_counter()

        def say(words: str) -> None:
            if console.is_terminal:
                status.update(f"{words} ({time.perf_counter() - began:.0f} s)")

        for number in numbers:
            found += reproduce(number, tier, say)
    return found


def as_data(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for JSON; a null has a status beside it."""
    told = []
    for row in rows:
        ours = row.ours if not isinstance(row.ours, float) or math.isfinite(row.ours) else None
        one: dict[str, Any] = {"source": row.source, "quantity": row.quantity, "printed": row.printed, "ours": ours}
        one |= {"tolerance": row.tolerance, "holds": row.holds}
        told.append(one | ({"status": row.reason or "no number"} if None in one.values() or not row.holds else {}))
    return told


def counts(rows: Sequence[Row]) -> dict[str, tuple[int, int, int, int]]:
    """For each document: printed numbers that hold, that are missed, that are not reproduced, and claims."""
    found = {}
    for number in DOCUMENTS:
        own = [row for row in rows if row.source == number]
        numbers = [row for row in own if row.quantity != "claim" and row.printed is not None]
        holds = [sum(row.holds is value for row in numbers) for value in (True, False, None)]
        if own:
            found[number] = (*holds, sum(row.quantity == "claim" for row in own))
    return found  # type: ignore[return-value]


def text(rows: Sequence[Row]) -> str:
    """The counts, every miss with its size and reason, and the claims."""
    lines = []
    for number, (holds, missed, absent, claims) in counts(rows).items():
        lines.append(f"{number} {DOCUMENTS[number][1]}: {holds} printed numbers hold, {missed} are missed, "
                     f"{absent} are not reproduced; {claims} claims")  # fmt: skip
    missed_rows = [row for row in rows if row.holds is False and row.quantity != "claim"]
    if missed_rows:
        lines += ["", "Missed:"]
        for row in missed_rows:
            lines.append(f"  {row.source} {row.quantity}: printed {_shown(row.printed)}, ours {_shown(row.ours)}, "
                         f"tolerance {_shown(row.tolerance)}; {row.reason}")  # fmt: skip
    told = [row for row in rows if row.quantity == "claim"]
    if told:
        lines += ["", "Claims:"]
        lines += [f"  {row.source} {row.printed}: {_verdict(row)}. {str(row.ours).rstrip('.')}." for row in told]
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    return row.reason or "holds"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)


def write(rows: Sequence[Row], tier: str, path: Path) -> None:
    """The whole table as Markdown."""
    if not path.resolve().parent.is_dir():
        raise SteepestError(f"The report {path} lies in a folder that does not exist; make {path.parent} first.")
    lines = [
        "# Reproduction",
        "",
        f"Made by `steepest reproduce all{'' if tier == 'default' else f' --{tier}'} --report FILE.md`.",
        "",
    ]
    lines += ["| document | hold | missed | not reproduced | claims |", "|---|---|---|---|---|"]
    for number, found in counts(rows).items():
        lines.append(f"| {number} {DOCUMENTS[number][1]} | {' | '.join(map(str, found))} |")
    for number in counts(rows):
        own = [row for row in rows if row.source == number]
        claims = [row for row in own if row.quantity == "claim"]
        lines += ["", f"## {number} {DOCUMENTS[number][1]}", ""]
        if claims:
            lines += ["| claim | verdict | experiment |", "|---|---|---|"]
            lines += [f"| {row.printed} | {_verdict(row)} | {row.ours} |" for row in claims] + [""]
        lines += ["| quantity | printed | ours | tolerance | holds |", "|---|---|---|---|---|"]
        for row in own:
            if row.quantity != "claim":
                holds = {True: "yes", False: f"no: {row.reason}", None: row.reason or "-"}[row.holds]
                lines.append(
                    f"| {row.quantity} | {_shown(row.printed)} | {_shown(row.ours)} | {_shown(row.tolerance)} | {holds} |"
                )
    if tier != "quick":
        lines += _pictures(path, set(counts(rows)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pictures(path: Path, numbers: set[str]) -> list[str]:
    """The documents' pictures, drawn beside the report."""
    folder = path.parent / "pictures"
    folder.mkdir(exist_ok=True)
    wanted: tuple[tuple[str, str, Callable[[], Figure]], ...] = (
        ("001", "fit", tutorial.fit),
        ("001", "batches", batches.paths),
        ("003", "collapse", slides.collapse),
        ("004", "exponents", variants.bars),
    )
    lines = ["", "## Pictures", ""]
    for number, name, draw in wanted:
        if number in numbers:
            figure = draw()
            save(figure, folder / f"reproduce-{name}.png")
            lines += [f"![{figure.get_gid()}](pictures/reproduce-{name}.png)", ""]
    return lines
