"""Schedules: the learning rate's multiplier as a pure function of the step, which makes resuming exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import SteepestError, described
from .formulas import FORMULAS as FORMULAS
from .formulas import constant as constant
from .formulas import cosine as cosine
from .formulas import cosine_restarts as cosine_restarts
from .formulas import cyclic as cyclic
from .formulas import exponential as exponential
from .formulas import exponential_steps as exponential_steps
from .formulas import function as function
from .formulas import inverse_sqrt as inverse_sqrt
from .formulas import inverse_time as inverse_time
from .formulas import linear as linear
from .formulas import multi_step as multi_step
from .formulas import multiplicative as multiplicative
from .formulas import one_cycle as one_cycle
from .formulas import plateau as plateau
from .formulas import polynomial as polynomial
from .formulas import step as step
from .formulas import warmup as warmup
from .formulas import warmup_stable_decay as warmup_stable_decay
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
