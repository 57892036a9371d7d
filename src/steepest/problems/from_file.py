"""A problem from the user's own Python file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import SteepestError, alone, message_of, run_file
from .problem import LONGEST_NAME, Problem


def from_file(path: Path) -> Problem:
    """The `problem` a Python file defines (a `Problem`, or a function that returns one), named after the file.

    SteepestError where the file is absent, does not parse, raises, or defines none.
    """
    problem = run_file(path, "problem").get("problem")
    if callable(problem) and not isinstance(problem, Problem):
        try:
            with alone(path):
                problem = problem()
        except (SteepestError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise SteepestError(f"{path} raised {message_of(error)}") from error
    if not isinstance(problem, Problem):
        defines = "defines no problem" if problem is None else f"defines a problem that is a {type(problem).__name__}"
        raise SteepestError(
            f"{path} {defines}; it needs a line: problem = steepest.Problem(model=..., loss=..., train=..., valid=...)"
        )
    stem = "".join(c if c.isprintable() else "?" for c in path.stem[:LONGEST_NAME])
    return replace(problem, name=stem) if problem.name == "problem" else problem
