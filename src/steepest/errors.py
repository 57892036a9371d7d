"""The one error a user's mistake raises, a sentence that says what to do; and how a file of theirs is run."""

from __future__ import annotations

import difflib
import runpy
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class SteepestError(ValueError):
    """A mistake in what was asked. The command line prints its sentence and ends with exit code 2.

    >>> steepest.schedules.get("cosin")
    Traceback (most recent call last):
    steepest.errors.SteepestError: Unknown schedule 'cosin'; did you mean 'cosine'? ...
    """


def unknown(what: str, name: str, known: Iterable[str], hint: str = "") -> SteepestError:
    """The error for a name nobody knows, with the nearest known name."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else "."
    return SteepestError(f"Unknown {what} '{name}'{guess} Known: {', '.join(names)}.{' ' + hint if hint else ''}")


def message_of(error: BaseException) -> str:
    """A failure in the user's own code in one line: its type, the last line of theirs it passed, and its message."""
    ours = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "<frozen")
    theirs = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    place = f" at {theirs[-1].filename}, line {theirs[-1].lineno}" if theirs else ""
    return f"{type(error).__name__}{place}: {' '.join(str(error).split())}"


def run_file(path: Path, what: str) -> dict[str, Any]:
    """What a Python file of the user's defines. SteepestError where it is absent, does not parse or raises."""
    if not path.is_file():
        hint = "give a built-in problem's name or the path of a Python file" if what == "problem" else "give FILE.py:NAME"
        raise SteepestError(f"There is no {what} file {path}; {hint}.")
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)  # as Python does for a script; it stays, for what the file imports later
    try:
        return runpy.run_path(str(path), run_name=path.stem)
    except (SteepestError, KeyboardInterrupt):
        raise
    except SyntaxError as error:
        raise SteepestError(f"{path} does not parse: line {error.lineno}: {error.msg}.") from error
    except BaseException as error:  # sys.exit() too
        raise SteepestError(f"{path} raised {message_of(error)}") from error
