"""Problems: a model, a loss and data, independent of any optimizer."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SteepestError, alone, message_of, run_file, unknown

if TYPE_CHECKING:
    from .problem import Problem

LONGEST_NAME = 100  # characters
IDENTITY = "2:"  # prefix of the keys of problems that include the user's code; keys of earlier versions have none

# name: (module, function). They import torch, so they are imported only when used.
BUILT_IN = {
    "digits": ("digits", "digits"),
    "breast-cancer": ("breast_cancer", "breast_cancer"),
    "noisy-regression": ("noisy_regression", "noisy_regression"),
    "mnist-mlp": ("mnist", "mnist_mlp"),
    "cifar10-resnet20": ("cifar10", "cifar10_resnet20"),
}

__all__ = ["BUILT_IN", "IDENTITY", "get"]


def get(name: str) -> Problem:
    """A built-in problem by name, or the one in a Python file. Raises SteepestError if there is none."""
    if name.endswith(".py") or "/" in name:
        return _from_file(Path(name))
    if name not in BUILT_IN:
        raise unknown("problem", name, BUILT_IN, hint="A problem of your own is a Python file: steepest compare FILE.py.")
    module, function = BUILT_IN[name]
    return getattr(importlib.import_module(f".built_in.{module}", __name__), function)()  # type: ignore[no-any-return]


def _from_file(path: Path) -> Problem:
    """The `problem` that a Python file defines (a `Problem`, or a function that returns one), named after the file.

    Raises SteepestError if the file is missing, does not parse, raises, or defines none.
    """
    from .problem import Problem

    problem = run_file(path, "problem").get("problem")
    if callable(problem) and not isinstance(problem, Problem):
        problem = called(path, problem)
    if not isinstance(problem, Problem):
        defines = "defines no problem" if problem is None else f"defines a problem that is a {type(problem).__name__}"
        raise SteepestError(
            f"{path} {defines}; it needs a line: problem = steepest.Problem(model=..., loss=..., train=..., valid=...)"
        )
    return replace(problem, name=stem(path)) if problem.name == "problem" else problem


def called(path: Path, function: Any) -> Any:
    """The result of a function of a user's file. SteepestError if it raises."""
    try:
        with alone(path):
            return function()
    except (SteepestError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SteepestError(f"{path} raised {message_of(error)}") from error


def stem(path: Path) -> str:
    """The name of a problem after its file."""
    return "".join(c if c.isprintable() else "?" for c in path.stem[:LONGEST_NAME])
