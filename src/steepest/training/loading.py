"""What to train: from an object, or from a name or a file that a user typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import problems
from ..errors import SteepestError, described, run_file
from ..problems.problem import Problem
from .command import Command, CommandTraining
from .loop.definition import Loop
from .protocol import Training
from .supervised import Supervised

WANTED = "problem = steepest.Problem(model=..., loss=..., train=..., valid=...), or a training function with @steepest.loop"


def given(name: str) -> Any:
    """The object that a name refers to: a built-in problem, or the problem, loop or command that a Python file defines.

    FILE.py:NAME names one of several loops in a file. Raises SteepestError if there is none.
    """
    path, colon, inside = name.rpartition(":")
    if colon and path.endswith(".py"):
        return in_file(Path(path), inside)
    if name.endswith(".py") or "/" in name:
        return in_file(Path(name))
    return problems.get(name)


def in_file(path: Path, name: str = "") -> Any:
    """The problem, loop or command that a Python file defines, named after the file."""
    defined = run_file(path, "problem")
    loops = {key: value for key, value in defined.items() if isinstance(value, Loop)}
    if name:
        chosen = defined.get(name)
        if not isinstance(chosen, Problem | Loop | Command):
            names = ", ".join(loops) or "none"
            raise SteepestError(f"{path} defines no problem and no loop {name!r}; its loops: {names}.")
    elif "problem" in defined:
        chosen = _made(path, defined["problem"])
    elif len(set(map(id, loops.values()))) == 1:
        name, chosen = next(iter(loops.items()))
    elif loops:
        raise SteepestError(
            f"{path} defines {len(loops)} loops ({', '.join(loops)}); name one, such as {path}:{next(iter(loops))}."
        )
    else:
        raise SteepestError(f"{path} defines no problem; it needs {WANTED}.")
    if isinstance(chosen, Loop):
        return dataclasses.replace(
            chosen, name=problems.stem(path) if chosen.is_unnamed else chosen.name, file=(str(path), name)
        )
    return dataclasses.replace(chosen, name=problems.stem(path)) if chosen.name == "problem" else chosen


def _made(path: Path, problem: Any) -> Any:
    """The problem of a file, which may be a function that makes it."""
    if callable(problem) and not isinstance(problem, Problem | Loop):
        problem = problems.called(path, problem)
    if not isinstance(problem, Problem | Loop | Command):
        raise SteepestError(f"{path} defines a problem that is a {type(problem).__name__}; it needs {WANTED}.")
    return problem


def training_of(
    what: Any,
    *,
    device: str = "cpu",
    workers: int | None = None,
    exact: bool = False,
    scheduled: bool = True,
    budget: float | None = None,
    steps: int | None = None,
    batch_sizes: Sequence[int] = (),
) -> Training:
    """The training of a problem, a loop, a command, or a name of one. Raises SteepestError for anything else.

    `scheduled`: whether candidates have schedules; `budget` is the time of the study in seconds; `steps` the length of a run,
    None for its own; `batch_sizes` are those to compare on a problem.
    """
    what = given(what) if isinstance(what, str) else what
    if isinstance(what, Problem):
        return Supervised(what, device, workers, exact, batch_sizes)
    if batch_sizes:
        raise SteepestError(
            "Batch sizes are for a Problem: a training function declares config={'batch_size': [32, 64]}, and a command has "
            "{batch_size} with values for it, such as 'adam(batch_size=[32, 64])'."
        )
    if isinstance(what, Loop):
        from .loop.training import LoopTraining  # with the processes that train it

        return LoopTraining(what, device=device, workers=workers, exact=exact, scheduled=scheduled, budget=budget)
    if isinstance(what, Command):
        what = dataclasses.replace(what, steps=steps) if steps is not None else what
        return CommandTraining(what, workers, device)
    hint = "decorate it with @steepest.loop(steps=...)" if callable(what) else "give one of these, a name or a file"
    raise SteepestError(
        f"The problem is {described(what)}; expected a steepest.Problem, a loop, a steepest.Command, a name or a file: {hint}."
    )
