"""A problem from the user's own Python file."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path

from ..errors import SteepestError, told
from .problem import Problem


def from_file(path: Path) -> Problem:
    """The `problem` a Python file defines (a `Problem`, or a function that returns one), named after the file.

    SteepestError where the file is absent, does not parse, raises, or defines none.
    """
    if not path.is_file():
        raise SteepestError(f"There is no problem file {path}; give a built-in problem's name or the path of a Python file.")
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)  # as Python does for a script; it stays, for what the model imports when it is made
    try:
        found = runpy.run_path(str(path), run_name=path.stem).get("problem")
        if callable(found) and not isinstance(found, Problem):
            found = found()
    except SteepestError:
        raise
    except SyntaxError as error:
        raise SteepestError(f"{path} does not parse: line {error.lineno}: {error.msg}.") from error
    except (Exception, SystemExit) as error:
        raise SteepestError(f"{path} raised {told(error)}") from error
    if not isinstance(found, Problem):
        kind = "defines no problem" if found is None else f"defines a problem that is a {type(found).__name__}"
        raise SteepestError(
            f"{path} {kind}; it needs a line: problem = steepest.Problem(model=..., loss=..., train=..., valid=...)"
        )
    return replace(found, name=path.stem) if found.name == "problem" else found
