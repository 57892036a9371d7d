"""Schedules: the learning rate's multiplier as a pure function of the step, which makes resuming exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import SteepestError
from . import shape
from .formulas import *
from .schedule import Schedule

if TYPE_CHECKING:
    from .torch import from_torch as from_torch

__all__ = ["FORMULAS", "Schedule", "from_torch", "function", "get", "multiplicative", *FORMULAS]


def get(schedule: str | Schedule) -> Schedule:
    """Parse a schedule such as "cosine", "step(size=30)" or "warmup(0.1) * cosine"; a Schedule is returned as it is.

    >>> get("warmup(4) * cosine")(0, 100)
    0.25
    """
    made = shape.of(schedule)
    if made.fixed is None:
        raise SteepestError(
            f"The schedule '{made.text}' has {made.slots[0].argument} to search, which a study does; give it a value, such as "
            "warmup(0.1)."
        )
    return made.fixed


def __getattr__(name: str) -> Any:
    if name == "from_torch":  # imported here, as it needs torch
        from .torch import from_torch

        return from_torch
    if name in FORMULAS:  # one that was added, and is not named above
        return FORMULAS[name]
    raise AttributeError(f"module 'steepest.schedules' has no attribute '{name}'")
