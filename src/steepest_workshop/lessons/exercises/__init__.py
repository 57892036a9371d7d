"""Exercises of the lessons: `check` runs what a learner wrote beside the right answer and says where it first parts ways.

    from steepest_workshop.lessons import check
    check("adagrad", adagrad)

`task` says what to write, `hint` helps in three steps of growing detail, and `solution` shows an answer.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from steepest.errors import SteepestError, unknown

from .engine import Answer, Exercise
from .questions import QUESTIONS
from .schedules import SCHEDULES
from .steps import STEPS
from .trials import filled as filled
from .values import VALUES

EXERCISES: dict[str, Exercise] = {exercise.name: exercise for exercise in (*STEPS, *VALUES, *SCHEDULES, *QUESTIONS)}


def check(name: str, mine: Any) -> Answer:
    """Whether an answer is right, and if not where it first parts ways with the right one, with the slip it looks like.

    An Answer is true or false, and says what it has to say when shown. SteepestError for an exercise that there is none of.

    >>> check("sgd", lambda w, g, t, state: w - 0.1 * g)
    Right: 12 steps of sgd agree with the right ones.
    >>> check("sgd", lambda w, g, t, state: w + 0.1 * g)
    Step 1: 0.251 the other way; does a sign point the wrong way?
    >>> check("sgd", ...)
    Blank: put your answer in the place of its `...`.
    """
    return _found(name).check(mine)


def task(name: str) -> str:
    """What to write or to predict."""
    return _found(name).task


def hint(name: str, step: int = 1) -> str:
    """The first, second or third hint; each says more than the one before."""
    hints = _found(name).hints
    if step not in range(1, len(hints) + 1):
        raise SteepestError(f"The hint is {step!r}; expected 1 to {len(hints)}.")
    return hints[step - 1]


def solution(name: str) -> str:
    """A right answer, as Python to paste."""
    found: Callable[..., Any] | str = _found(name).solution
    if isinstance(found, str):
        return found
    tree = ast.parse(inspect.getsource(found))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
    return ast.unparse(tree)


def _found(name: str) -> Exercise:
    if name not in EXERCISES:
        raise unknown("exercise", name, list(EXERCISES))
    return EXERCISES[name]
