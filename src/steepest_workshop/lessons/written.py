"""The table of what was reproduced, on the screen, as JSON and as Markdown."""

from __future__ import annotations

import importlib
import inspect
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from steepest.report.surface.pictures import save

from . import DOCUMENTS, Row, pictures, reproduce


def collect(numbers: Sequence[str], tier: str) -> list[Row]:
    """Every row of these documents; a person watching sees what is going on."""
    console = Console(stderr=True)
    rows: list[Row] = []
    with console.status("") as status:
        began = time.perf_counter()

        def say(words: str) -> None:
            if console.is_terminal:
                status.update(f"{words} ({time.perf_counter() - began:.0f} s)")

        for number in numbers:
            rows += reproduce(number, tier, say)
    return rows


def as_data(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for JSON; a null has a status beside it."""
    records = []
    for row in rows:
        ours = row.ours if not isinstance(row.ours, float) or math.isfinite(row.ours) else None
        one: dict[str, Any] = {"source": row.source, "quantity": row.quantity, "printed": row.printed, "ours": ours}
        one |= {"tolerance": row.tolerance, "holds": row.holds}
        records.append(one | ({"status": row.reason or "no number"} if None in one.values() or not row.holds else {}))
    return records


def counts(rows: Sequence[Row]) -> dict[str, tuple[int, int, int, int]]:
    """For each document: printed numbers that hold, that are missed, that are not reproduced, and claims."""
    totals = {}
    for number in DOCUMENTS:
        own = [row for row in rows if row.source == number]
        numbers = [row for row in own if row.quantity != "claim" and row.printed is not None]
        holds = [sum(row.holds is value for row in numbers) for value in (True, False, None)]
        if own:
            totals[number] = (*holds, sum(row.quantity == "claim" for row in own))
    return totals  # type: ignore[return-value]


def text(rows: Sequence[Row]) -> str:
    """The counts, every miss with its size and reason, and the claims."""
    lines = []
    for number, (holds, missed, absent, claims) in counts(rows).items():
        lines.append(f"{number} {DOCUMENTS[number][1]}: {holds} printed numbers hold, {missed} missed, "
                     f"{absent} not reproduced; {claims} claims")  # fmt: skip
    missed_rows = [row for row in rows if row.holds is False and row.quantity != "claim"]
    if missed_rows:
        lines += ["", "Missed:"]
        for row in missed_rows:
            lines.append(f"  {row.source} {row.quantity}: printed {_shown(row.printed)}, ours {_shown(row.ours)}, "
                         f"tolerance {_shown(row.tolerance)}; {row.reason}")  # fmt: skip
    claim_rows = [row for row in rows if row.quantity == "claim"]
    if claim_rows:
        lines += ["", "Claims:"]
        lines += [f"  {row.source} {row.printed}: {_verdict(row)}. {str(row.ours).rstrip('.')}." for row in claim_rows]
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    return row.reason or "holds"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)


def write(rows: Sequence[Row], tier: str, path: Path) -> None:
    """The whole table as Markdown, with the documents' pictures in a folder beside it unless the tier is "quick"."""
    totals = counts(rows)
    asked = "all" if len(totals) == len(DOCUMENTS) else " ".join(totals)
    command = f"steepest reproduce {asked}{'' if tier == 'default' else f' --{tier}'} --report FILE.md"
    lines = ["# Reproduction", "", f"Made by `{command}`.", ""]
    lines += ["| document | hold | missed | not reproduced | claims |", "|---|---|---|---|---|"]
    lines += [f"| {number} {DOCUMENTS[number][1]} | {' | '.join(map(str, cells))} |" for number, cells in totals.items()]
    for number in totals:
        module_name, title = DOCUMENTS[number]
        own = [row for row in rows if row.source == number]
        claims = [row for row in own if row.quantity == "claim"]
        about = (inspect.getdoc(importlib.import_module(f".{module_name}", __package__)) or "").partition(": ")[2]
        lines += ["", f"## {number} {title}", "", about[:1].upper() + about[1:], ""]
        if tier != "quick":
            lines += _pictures(number, rows, path.parent / "pictures")
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
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pictures(number: str, rows: Sequence[Row], folder: Path) -> list[str]:
    """A document's pictures, saved, as lines of Markdown."""
    folder.mkdir(exist_ok=True)
    lines = []
    for name, figure in pictures.of(number, rows):
        save(figure, folder / f"reproduce-{name}.png")
        words = figure.get_gid() or ""
        lines += [f"![{words.partition('. ')[0]}]({folder.name}/reproduce-{name}.png)", "", words, ""]
    return lines
