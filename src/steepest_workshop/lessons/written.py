"""What was reproduced, on the screen and as JSON."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from . import DOCUMENTS, FORMULA, Row, reproduce
from .power import KINDS, recorded


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
    return once(rows)


def as_data(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for JSON; a null has a status beside it."""
    records = []
    for row in rows:
        ours = row.ours if not isinstance(row.ours, float) or math.isfinite(row.ours) else None
        one: dict[str, Any] = {"source": row.source, "quantity": row.quantity, "printed": row.printed, "ours": ours}
        one |= {"tolerance": row.tolerance, "holds": row.holds}
        one |= {"power": row.power or None} | ({"alike": row.alike} if row.alike else {})
        records.append(one | ({"status": row.reason or "no number"} if None in one.values() or not row.holds else {}))
    return records


def once(rows: Sequence[Row]) -> list[Row]:
    """The rows, of which those that repeat the comparison of an earlier one are "again"."""
    seen, marked = set[str](), list[Row]()
    for row in rows:
        marked.append(replace(row, power="again") if row.same and row.same in seen and row.holds else row)
        seen.add(row.same)
    return marked


def counts(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """For each document: printed results by what they are worth, those missed or that cannot be had, and claims."""
    totals = {}
    for number in DOCUMENTS:
        own = [row for row in rows if row.source == number]
        printed = [row for row in own if row.quantity != "claim" and row.printed is not None]
        holding = Counter(row.power for row in printed if row.holds)
        totals[number] = {kind: holding[kind] for kind in KINDS if kind != "cited"}
        totals[number] |= {
            "formulas": sum(row.printed == FORMULA and row.power == "reproduced" and bool(row.holds) for row in printed)
        }
        totals[number] |= {"missed": sum(row.holds is False for row in printed)}
        known = Counter(row.power for row in printed if row.holds is None)
        totals[number] |= {"cited": known["cited"]}
        totals[number]["echo"] += known["echo"]
        totals[number]["unscored"] += known["unscored"]
        totals[number] |= {"not to be had": sum(known.values()) - known["cited"] - known["echo"] - known["unscored"]}
        totals[number] |= {"claims": sum(row.quantity == "claim" for row in own)}
        if not own:
            del totals[number]
    return totals


def summed(totals: Mapping[str, Mapping[str, int]]) -> str:
    """The headline: how much is reproduced, and apart from it what else holds and what does not."""
    whole = Counter[str]()
    for one in totals.values():
        whole.update(one)
    others = ", ".join(f"{whole[kind]} {WORDS[kind]}" for kind in WORDS if whole[kind])
    first = (
        f"{whole['reproduced']} printed results are reproduced, {whole['formulas']} of them formulas: they hold for the right"
    )
    return f"{first} rule, and for no other optimizer, slip or error that was tried. {others}."


def lost(rows: Sequence[Row]) -> str:
    """A sentence on rows that were reproduced when they were scored, and are not in these; empty if there is none."""
    known = {(row.source, row.quantity): row for row in rows}
    gone = [known[key] for key in recorded() if key in known and known[key].power not in ("reproduced", "again")]
    if not gone:
        return ""
    blocks = Counter(f"{row.source} {re.split('[,:]', row.quantity)[0]}" for row in gone)
    which = ", ".join(f"{count} of {name}" for name, count in sorted(blocks.items()))
    return f"{len(gone)} results that were reproduced are not any more: {which}."


WORDS = {
    "again": "repeat one of these",
    "consistent": "are consistent: something wrong that was tried gives them too",
    "fitted": "are fitted: what makes them was chosen by them",
    "echo": "are data, defaults or identities",
    "unscored": "are not scored, and count as missing",
    "missed": "are missed",
    "cited": "are cited",
    "not to be had": "cannot be had here",
}


def text(rows: Sequence[Row]) -> str:
    """The counts by what they are worth, every miss with its size and reason, and the claims."""
    totals = counts(rows)
    lines = [*filter(None, [lost(rows)]), summed(totals), ""]
    for number, one in totals.items():
        lines.append(
            f"{number} {DOCUMENTS[number][1]}: " + ", ".join(f"{count} {kind}" for kind, count in one.items() if count)
        )
    missed_rows = [row for row in rows if row.holds is False and row.quantity != "claim"]
    if missed_rows:
        lines += ["", "Missed:"]
        for row in missed_rows:
            lines.append(f"  {row.source} {row.quantity}: printed {shown(row.printed)}, ours {shown(row.ours)}, "
                         f"tolerance {shown(row.tolerance)}; {row.reason}")  # fmt: skip
    claim_rows = [row for row in rows if row.quantity == "claim"]
    if claim_rows:
        lines += ["", "Claims:"]
        lines += [f"  {row.source} {row.printed}: {verdict(row)}. {str(row.ours).rstrip('.')}." for row in claim_rows]
    return "\n".join(lines)


def verdict(row: Row) -> str:
    """Whether a claim holds, in words."""
    return row.reason or "holds"


def shown(value: Any) -> str:
    """A figure with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)
