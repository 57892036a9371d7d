"""Schedules: the learning rate's multiplier as a pure function of the step, which makes resuming exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import SteepestError, described
from .formulas import *
from .parse import parse
from .schedule import Schedule

if TYPE_CHECKING:
    from .torch import from_torch as from_torch

__all__ = ["FORMULAS", "Schedule", "from_torch", "function", "get", "multiplicative", *FORMULAS]


def get(schedule: str | Schedule) -> Schedule:
    """Parse a schedule such as "cosine", "step(size=30)" or "warmup(0.1) * cosine"; a Schedule is returned as it is.

    >>> get("warmup(4) * cosine")(0, 100)
    0.25
    """
    if isinstance(schedule, Schedule):
        return schedule
    if not isinstance(schedule, str):
        raise SteepestError(
            f"The schedule is {described(schedule)}; expected a name such as 'cosine', or a steepest Schedule: "
            "steepest.schedules.from_torch(scheduler) converts one of torch's, steepest.schedules.function(f) a function."
        )
    return parse(schedule, FORMULAS)


def __getattr__(name: str) -> Any:
    if name == "from_torch":  # imported here, as it needs torch
        from .torch import from_torch

        return from_torch
    if name in FORMULAS:  # one that was added, and is not named above
        return FORMULAS[name]
    raise AttributeError(f"module 'steepest.schedules' has no attribute '{name}'")
