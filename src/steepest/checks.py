"""Checks of what is given in many places: counts, and files that are to be written."""

from __future__ import annotations

from pathlib import Path

from .errors import SteepestError


def whole(name: str, value: object, least: int = 1) -> int:
    """A count as an int; SteepestError unless it is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SteepestError(f"{name} is {value!r}; expected a whole number, {least} or more.")
    return value


def writable(what: str, path: str | Path, example: str) -> Path:
    """The path of a file that can be written there; SteepestError where it is a folder, or its folder does not exist."""
    path = Path(path)
    if path.is_dir():
        raise SteepestError(f"The {what} {path} is a folder; give the path of a file, such as {path / example}.")
    if not path.resolve().parent.is_dir():
        raise SteepestError(f"The {what} {path} lies in a folder that does not exist; make {path.parent} first.")
    return path
