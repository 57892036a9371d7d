"""Which optimizer, learning rate and schedule does my model need, and how sure are we?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steepest_workshop.lessons import reproduce

    from . import optim, problems, schedules
    from .api import Choice, Study, compare, trajectory
    from .errors import SteepestError
    from .problems.problem import Problem
    from .rules import rule

# Where each public name lives. They are imported when first used, so that the command line answers at once.
_HOMES = {
    "Choice": "api",
    "Problem": "problems.problem",
    "SteepestError": "errors",
    "Study": "api",
    "compare": "api",
    "optim": "",
    "problems": "",
    "reproduce": "steepest_workshop.lessons",
    "rule": "rules",
    "schedules": "",
    "trajectory": "api",
}

__all__ = [
    "Choice",
    "Problem",
    "SteepestError",
    "Study",
    "compare",
    "optim",
    "problems",
    "reproduce",
    "rule",
    "schedules",
    "trajectory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'steepest' has no attribute {name!r}")
    home = _HOMES[name]
    if not home:
        value = importlib.import_module(f".{name}", __name__)
    else:
        value = getattr(importlib.import_module(home if "workshop" in home else f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
