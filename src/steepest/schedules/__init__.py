"""Schedules: the multiplier of the learning rate as a closed form of the step. Pure, so exact on resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import SteepestError, described
from .formulas import (
    FORMULAS,
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    exponential_steps,
    function,
    inverse_sqrt,
    inverse_time,
    linear,
    multi_step,
    multiplicative,
    one_cycle,
    plateau,
    polynomial,
    step,
    warmup,
    warmup_stable_decay,
)
from .parse import parse
from .schedule import Schedule

if TYPE_CHECKING:
    from .torch import Scheduler, from_torch

__all__ = [
    "FORMULAS",
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "exponential_steps",
    "from_torch",
    "function",
    "get",
    "inverse_sqrt",
    "inverse_time",
    "linear",
    "multi_step",
    "multiplicative",
    "one_cycle",
    "plateau",
    "polynomial",
    "step",
    "warmup",
    "warmup_stable_decay",
]


def get(schedule: str | Schedule) -> Schedule:
    """The schedule as written, such as "cosine", "step(size=30)" or "warmup(0.1) * cosine"; SteepestError for another.

    >>> get("warmup(4) * cosine")(0, 100)
    0.25
    """
    if isinstance(schedule, Schedule):
        return schedule
    if not isinstance(schedule, str):
        raise SteepestError(
            f"The schedule is {described(schedule)}; expected a name such as 'cosine', or a steepest Schedule: "
            "steepest.schedules.from_torch(scheduler) makes one of torch's, steepest.schedules.function(f) of a function."
        )
    return parse(schedule, FORMULAS)


def to_torch(schedule: Schedule, optimizer: Any, steps: int | None = None, last_epoch: int = -1) -> Scheduler:
    """A scheduler for any torch optimizer: the group's rate is the one it was made with, times the multiplier.

    `steps` may be left out where every length is a number of steps; SteepestError where one is a share of the run.
    `last_epoch` is torch's: the last step that was taken, where only the optimizer's state is loaded.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = get("cosine").to_torch(optimizer, steps=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.05
    """
    from .torch import Scheduler

    if steps is None:
        if any(schedule(k, 1009) != schedule(k, 2018) for k in range(1009)):
            raise SteepestError(f"The schedule {schedule.name} depends on the length of the run; give to_torch its steps.")
        steps = 10**9
    return Scheduler(optimizer, schedule, steps, last_epoch=last_epoch)


Schedule.to_torch = to_torch  # type: ignore[assignment, method-assign]


def __getattr__(name: str) -> Any:
    if name == "from_torch":  # it imports torch, which schedules alone do not need
        from .torch import from_torch

        return from_torch
    raise AttributeError(f"module 'steepest.schedules' has no attribute '{name}'")
