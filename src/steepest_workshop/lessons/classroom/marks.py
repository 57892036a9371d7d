"""Marks as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from steepest.errors import SteepestError
from steepest.escapes import cell

from ..exercises import EXERCISES
from .grader import Marked


def notebooks(names: Sequence[Path]) -> list[Path]:
    """The notebooks at these paths: a folder stands for all that are in it, at any depth."""
    found: list[Path] = []
    for path in names:
        inside = sorted(each for each in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in each.parts)
        if path.is_dir() and not inside:
            raise SteepestError(f"The folder {path} has no notebook.")
        found += inside if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def table(marked: Sequence[Marked]) -> str:
    """The marks as CSV: a row for each notebook, a column for each exercise (1 right, 0 not, empty if it is not there)."""
    names = [name for name in EXERCISES if any(name in each.answers for each in marked)]
    rows: list[list[Any]] = [["notebook", "right", "exercises", *names, "fault"]]
    for each in marked:
        marks = [int(each.answers[name].right) if name in each.answers else "" for name in names]
        counts = ["", ""] if each.fault else [each.right, len(each.answers)]
        rows.append([each.path, *counts, *marks, each.fault])
    return _csv(rows)


def sentences(marked: Sequence[Marked]) -> str:
    """What `check` says of each answer as CSV: a row for each notebook and exercise."""
    rows: list[list[Any]] = [["notebook", "exercise", "mark", "sentence"]]
    for each in marked:
        rows += [[each.path, name, int(answer.right), answer.words] for name, answer in each.answers.items()]
    return _csv(rows)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([cell(each) for each in row] for row in rows)
    return text.getvalue()


def lines(marked: Sequence[Marked]) -> Iterator[str]:
    """A line for each notebook: how many are right, and which are not."""
    for each in marked:
        wrong = [name for name, answer in each.answers.items() if not answer.right]
        more = f"; not right: {', '.join(wrong)}" if wrong else ""
        yield each.fault or f"{each.path}: {each.right} of {len(each.answers)} right{more}"


def as_data(marked: Sequence[Marked]) -> list[dict[str, Any]]:
    """The marks as JSON."""
    return [
        {
            "notebook": each.path,
            "fault": each.fault,
            "right": each.right,
            "answers": {name: {"right": answer.right, "sentence": answer.words} for name, answer in each.answers.items()},
        }
        for each in marked
    ]
