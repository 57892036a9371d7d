"""Schedules to and from torch's schedulers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import lr_scheduler

from ..checks import whole
from ..errors import SteepestError
from . import formulas
from .schedule import Schedule


class Scheduler(lr_scheduler.LRScheduler):
    """A schedule as torch's loops drive it: every value from the step's number alone, so a resumed run repeats a whole one.

    `step(metric)` hands a metric on to a schedule that reads its history (`mode` "min" or "max").
    """

    def __init__(self, optimizer: Any, schedule: Schedule, steps: int, mode: str = "min") -> None:
        self.schedule, self.steps, self.sign = schedule, whole("steps", steps), -1.0 if mode == "max" else 1.0
        self.history: list[float] = []
        super().__init__(optimizer)

    def step(self, metric: Any = None) -> None:
        """One step on; with the metric where the schedule reads it."""
        if metric is not None:
            self.history.append(self.sign * float(metric))
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch's, for a first call before the optimizer's
            super().step()

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each group; the momentum, where it is cycled, is written to the groups."""
        if self.schedule.momentum:
            momentum = self.schedule.momentum(self.last_epoch, self.steps, self.history)
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                elif group.get("momentum"):
                    group["momentum"] = momentum
        multiplier = self.schedule(self.last_epoch, self.steps, self.history)
        return [base * multiplier for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the step, the rates of the groups, and the history."""
        names = ("last_epoch", "base_lrs", "history", "_step_count", "_last_lr")
        return {name: getattr(self, name) for name in names} | {"schedule": self.schedule.name, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another left off; SteepestError where that followed another schedule."""
        mine, theirs = (self.schedule.name, self.steps), (state_dict["schedule"], state_dict["steps"])
        if mine != theirs:
            raise SteepestError(f"This is the state of {theirs[0]} over {theirs[1]} steps; expected {mine[0]} over {mine[1]}.")
        self.__dict__.update({k: copy.copy(v) for k, v in state_dict.items() if k not in ("schedule", "steps")})


# torch's class name -> ours, from a scheduler and the first group's initial rate
CLOSED: dict[str, Callable[[Any, float], Schedule]] = {
    "StepLR": lambda s, base: formulas.step(s.step_size, s.gamma),
    "MultiStepLR": lambda s, base: formulas.multi_step(tuple(sorted(s.milestones.elements())), s.gamma),
    "ExponentialLR": lambda s, base: formulas.exponential(s.gamma),
    "ConstantLR": lambda s, base: formulas.constant(s.factor, s.total_iters),
    "LinearLR": lambda s, base: formulas.linear(s.start_factor, s.end_factor, s.total_iters),
    "PolynomialLR": lambda s, base: formulas.polynomial(s.power, s.total_iters),
    "CosineAnnealingLR": lambda s, base: formulas.cosine(s.eta_min / base, s.T_max),
    "CosineAnnealingWarmRestarts": lambda s, base: formulas.cosine_restarts(s.T_0, s.T_mult, s.eta_min / base),
    "LambdaLR": lambda s, base: formulas.function(s.lr_lambdas[0]),
    "MultiplicativeLR": lambda s, base: formulas.multiplicative(s.lr_lambdas[0]),
    "ReduceLROnPlateau": lambda s, base: formulas.plateau(
        s.factor, s.patience, s.threshold, s.threshold_mode == "rel", s.cooldown, s.min_lrs[0] / base
    ),
}


def from_torch(scheduler: Any) -> Schedule:
    """A schedule that gives a torch scheduler's rates from its beginning, relative to the first group's initial rate.

    OneCycleLR and CyclicLR are relative to their largest rate. A scheduler without a closed form here is played forward,
    step by step, on a copy.

    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> from_torch(torch.optim.lr_scheduler.StepLR(optimizer, 30))
    <Schedule step(size=30)>
    """
    name, group = type(scheduler).__name__, scheduler.optimizer.param_groups[0]
    if name in CLOSED:
        return CLOSED[name](scheduler, float(group.get("initial_lr", group["lr"])))
    if isinstance(scheduler, Scheduler):
        return scheduler.schedule
    return _played(scheduler, name)


def _played(scheduler: Any, name: str) -> Schedule:
    """The rates of a scheduler made anew, as it gives them one after another."""
    group = scheduler.optimizer.param_groups[0]
    top = float(group.get("max_lr", getattr(scheduler, "max_lrs", [group.get("initial_lr", group["lr"])])[0]))
    if scheduler.last_epoch > 0:
        raise SteepestError(f"{name} has taken {scheduler.last_epoch} steps; give it as it was made.")
    moving = copy.deepcopy(scheduler)
    seen: list[float] = []

    def value(k: int, n: int, h: Any) -> float:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            while len(seen) <= k:
                seen.append(float(moving.optimizer.param_groups[0]["lr"]) / top)
                moving.step()
        return seen[k]

    return Schedule(f"{name}({id(scheduler)})", value)
