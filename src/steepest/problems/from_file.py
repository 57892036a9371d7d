"""A problem from the user's own Python file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import SteepestError, run_file, told
from .problem import Problem


def from_file(path: Path) -> Problem:
    """The `problem` a Python file defines (a `Problem`, or a function that returns one), named after the file.

    SteepestError where the file is absent, does not parse, raises, or defines none.
    """
    found = run_file(path, "problem").get("problem")
    if callable(found) and not isinstance(found, Problem):
        try:
            found = found()
        except (SteepestError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise SteepestError(f"{path} raised {told(error)}") from error
    if not isinstance(found, Problem):
        kind = "defines no problem" if found is None else f"defines a problem that is a {type(found).__name__}"
        raise SteepestError(
            f"{path} {kind}; it needs a line: problem = steepest.Problem(model=..., loss=..., train=..., valid=...)"
        )
    return replace(found, name=path.stem) if found.name == "problem" else found
