"""Which optimizer, learning rate and schedule does my model need, and how sure are we?"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import notebook

if TYPE_CHECKING:
    from . import optim as optim
    from . import problems as problems
    from . import schedules as schedules
    from .api import Choice as Choice
    from .api import Study as Study
    from .api import compare as compare
    from .api import trajectory as trajectory
    from .errors import SteepestError as SteepestError
    from .problems.problem import Problem as Problem
    from .rules import rule as rule
    from .study.axes import axis as axis
    from .training.command import Command as Command
    from .training.loop.definition import Loop as Loop
    from .training.loop.definition import loop as loop

    reproduce: Callable[..., list[Any]]

# The module of each public name; it is imported on first use, which keeps the command line fast to start.
_HOMES = {
    "Choice": "api",
    "Command": "training.command",
    "Loop": "training.loop.definition",
    "Problem": "problems.problem",
    "SteepestError": "errors",
    "Study": "api",
    "axis": "study.axes",
    "compare": "api",
    "loop": "training.loop.definition",
    "optim": "",
    "problems": "",
    "rule": "rules",
    "schedules": "",
    "trajectory": "api",
}

__all__ = sorted([*_HOMES, "reproduce"])


def __getattr__(name: str) -> Any:
    if name == "reproduce":
        value = _reproduce()
    elif name not in _HOMES:
        raise AttributeError(f"module 'steepest' has no attribute {name!r}")
    elif home := _HOMES[name]:
        value = getattr(importlib.import_module(f".{home}", __name__), name)
    else:
        value = importlib.import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def _reproduce() -> Any:
    """Load `reproduce` from steepest_workshop; AttributeError that says what to install if it is missing."""
    from . import errors, plugins

    try:
        return plugins.load(plugins.FUNCTIONS, "reproduce", "steepest.reproduce")
    except errors.SteepestError as error:
        raise AttributeError(str(error)) from None


def _load_drawings() -> None:
    """Register the functions that draw our objects in notebooks."""
    from .report import notebook as notebook


def __dir__() -> list[str]:
    return __all__


notebook.load_with(_load_drawings)
