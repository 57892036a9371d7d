"""Write the report file, only if its contents changed: drawing takes longer than reading a whole study."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ..checks import writable, written
from ..study.data import StudyData

SOURCES = Path(__file__).parent  # code that draws reports; a page drawn by another version of it is redrawn
MARK = '<meta name="steepest-digest" content="{}">\n'
LINES_BEFORE = 2  # lines of a page before its digest


def write(studies: Sequence[StudyData], path: str | Path) -> Path:
    """Write the report of these studies and return its path; skip this if the file already is this report.

    Raises SteepestError if the folder does not exist.
    """
    path = writable("report", path, "report.html")
    shown = _digest(studies)
    if _is_report(path, shown):
        return path
    from . import page  # imports matplotlib, which is slow

    head, rest = _split(page.text(studies))
    return written("report", path, head + MARK.format(_sealed(shown, head, rest)) + rest)


def _is_report(path: Path, shown: str) -> bool:
    """Whether a file is a complete, unedited report with this digest."""
    if not path.is_file():  # reading a device may never end
        return False
    try:
        head, rest = _split(path.read_bytes().decode())
    except (OSError, UnicodeDecodeError):
        return False
    mark, _, rest = rest.partition("\n")
    return mark + "\n" == MARK.format(_sealed(shown, head, rest))


def _split(page: str) -> tuple[str, str]:
    """Split a page at the line where its digest goes."""
    lines = page.split("\n", LINES_BEFORE)
    return "".join(f"{line}\n" for line in lines[:LINES_BEFORE]), lines[-1]


def _digest(studies: Sequence[StudyData]) -> str:
    """Digest of everything a page is made from: the studies' data, the drawing code and the package version."""
    h = hashlib.sha256(version("steepest").encode())
    for source in sorted(SOURCES.rglob("*.*")):
        if source.suffix in (".py", ".css", ".js"):
            h.update(source.read_bytes())
    h.update(json.dumps([dataclasses.asdict(study) for study in studies], sort_keys=True).encode())
    return h.hexdigest()


def _sealed(shown: str, head: str, rest: str) -> str:
    """The digest written into a page. It covers the page's data and the page itself, so an edit is noticed."""
    return hashlib.sha256("\n".join((shown, head, rest)).encode()).hexdigest()
