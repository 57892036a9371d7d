"""Checks of arguments: counts, times, sizes, and files to write."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import SteepestError, place


def whole(name: str, value: object, least: int = 1) -> int:
    """Return a count; SteepestError unless it is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SteepestError(f"{name} is {value!r}; expected a whole number, {least} or more.")
    return value


def writable(what: str, path: str | Path, example: str) -> Path:
    """Return the path of a file to write; SteepestError if it is a folder, or in a folder that does not exist."""
    path = place(what, path)
    if path.is_dir():
        raise SteepestError(f"The {what} {path} is a folder; give the path of a file, such as {path / example}.")
    if not path.resolve().parent.is_dir():
        raise SteepestError(f"The {what} {path} is in a folder that does not exist; create {path.parent} first.")
    return path


def written(what: str, path: Path, text: str) -> Path:
    """Write a text file at a path that is `writable`; SteepestError if that fails."""
    with replacing(what, path) as part:
        part.write_text(text, encoding="utf-8")
    return path


@contextlib.contextmanager
def replacing(what: str, path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same ending; the file there replaces `path` when the block ends.

    SteepestError if it cannot be written; an existing file is then left unchanged. A device is written to directly.
    """
    target = path.resolve()
    is_file = target.is_file() or not target.exists()
    part = target.with_name(f".{secrets.token_hex(8)}{target.suffix}") if is_file else target
    try:
        yield part
        if is_file:
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
    except OSError as error:
        raise SteepestError(f"The {what} cannot be written to {path}: {error.strerror or error}.") from error
    finally:
        if is_file:
            part.unlink(missing_ok=True)


def names_in(text: str) -> list[str]:
    """Split a text at the commas outside parentheses."""
    parts = re.split(r",(?![^()]*\))", text)
    return [part.strip() for part in parts if part.strip()]


SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def seconds_of(budget: str | float) -> float:
    """Parse a time such as 300, "90s", "5min" or "1h" to seconds."""
    return quantity("budget", budget, SECONDS, "a time above 0, such as 90s, 5min or 1h")


def bytes_of(memory: str | int) -> int:
    """Parse a size such as "4GiB" or "500MB" to bytes."""
    return int(quantity("memory", memory, BYTES, "a size above 0, such as 4GiB or 500MB"))


def quantity(name: str, value: object, units: Mapping[str, float], examples: str) -> float:
    """Parse a number above 0 such as "90s" or "4GiB" to the unit of factor 1, which is also that of a bare number."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", str(value))
    try:
        result = float(match[1]) * ({"": 1.0} | {**units})[match[2]] if match else 0.0
    except (ValueError, KeyError):
        result = 0.0
    if not 0 < result < float("inf"):
        raise SteepestError(f"The {name} is {value!r}; expected {examples}.")
    return result
