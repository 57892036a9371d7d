"""Convert schedules to torch's schedulers, and back."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import lr_scheduler

from ..checks import whole
from ..errors import SteepestError
from . import formulas
from .schedule import Schedule


class Scheduler(lr_scheduler.LRScheduler):
    """A torch scheduler that follows a schedule: values depend only on the step, so a resumed run equals an uninterrupted one.

    `step(metric)` passes a metric to a schedule that reads its history (`mode` "min" or "max"). `last_epoch` is torch's: the
    last step that was taken, if the state of the optimizer is loaded and that of the scheduler is not. A group that is added
    to the optimizer later follows the schedule from its own rate.
    """

    def __init__(self, optimizer: Any, schedule: Schedule, steps: int, mode: str = "min", last_epoch: int = -1) -> None:
        self.schedule, self.steps, self.sign = schedule, whole("steps", steps), -1.0 if mode == "max" else 1.0
        self.history: list[float] = []
        if whole("last_epoch", last_epoch, -1) >= 0:
            if schedule.reads:
                raise SteepestError(f"{schedule.name} needs its history, which last_epoch lacks; use load_state_dict.")
            if any("initial_lr" not in group for group in optimizer.param_groups):
                raise SteepestError(
                    f"last_epoch is {last_epoch}, and a group has no 'initial_lr'; load the optimizer's state first."
                )
        super().__init__(optimizer, last_epoch)

    def step(self, metric: Any = None) -> None:
        """Advance one step; pass the metric if the schedule reads it."""
        if metric is not None:
            self.history.append(self.sign * float(metric))
        with warnings.catch_warnings(
            action="ignore", category=UserWarning
        ):  # torch's, about a first call before the optimizer's
            super().step()
        self._cycle_momentum()

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each group."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:  # added since
            self.base_lrs.append(_copied(group.setdefault("initial_lr", _copied(group["lr"]))))
        multiplier = self.schedule(self.last_epoch, self.steps, self.history)
        return [base * multiplier for base in self.base_lrs]

    def _cycle_momentum(self) -> None:
        """Set the groups' momentum, if the schedule cycles it."""
        if self.schedule.momentum:
            momentum = self.schedule.momentum(self.last_epoch, self.steps, self.history)
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                elif group.get("momentum"):
                    group["momentum"] = momentum

    def state_dict(self) -> dict[str, Any]:
        """The step, the rates of the groups, and the history, for resuming."""
        names = ("last_epoch", "base_lrs", "history", "_step_count", "_last_lr")
        state = {name: copy.copy(getattr(self, name)) for name in names}
        return state | {"schedule": self.schedule.name, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state and set the groups' rates for its step, whether the optimizer's state is loaded before or after.

        SteepestError for the state of another schedule, or of more groups than the optimizer has.
        """
        mine, theirs = (self.schedule.name, self.steps), (state_dict["schedule"], state_dict["steps"])
        if mine != theirs:
            raise SteepestError(f"This is the state of {theirs[0]} over {theirs[1]} steps; expected {mine[0]} over {mine[1]}.")
        groups, driven = self.optimizer.param_groups, len(state_dict["base_lrs"])
        if driven > len(groups):
            raise SteepestError(
                f"This state drives {driven} parameter groups, and the optimizer has {len(groups)}; add the others."
            )
        self.__dict__.update({k: copy.copy(v) for k, v in state_dict.items() if k not in ("schedule", "steps")})
        for group, rate in zip(groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(float(rate))
            else:
                group["lr"] = rate
        for group, base in zip(groups, self.base_lrs, strict=True):
            group["initial_lr"] = _copied(base)
        self._last_lr = [_copied(group["lr"]) for group in groups]
        self._cycle_momentum()


def _copied(rate: Any) -> Any:
    """A copy of a rate, which may be a tensor that is written in place."""
    return rate.clone() if isinstance(rate, torch.Tensor) else rate


# torch's class name -> ours, from a scheduler and the initial rate of each group
CLOSED: dict[str, Callable[[Any, list[float]], Schedule]] = {
    "StepLR": lambda s, bases: formulas.step(s.step_size, s.gamma),
    "MultiStepLR": lambda s, bases: formulas.multi_step(tuple(sorted(s.milestones.elements())), s.gamma),
    "ExponentialLR": lambda s, bases: formulas.exponential(s.gamma),
    "ConstantLR": lambda s, bases: formulas.constant(s.factor, s.total_iters),
    "LinearLR": lambda s, bases: formulas.linear(s.start_factor, s.end_factor, s.total_iters),
    "PolynomialLR": lambda s, bases: formulas.polynomial(s.power, s.total_iters),
    "CosineAnnealingLR": lambda s, bases: formulas.cosine(_floor(s, [s.eta_min] * len(bases), bases), s.T_max),
    "CosineAnnealingWarmRestarts": lambda s, bases: formulas.cosine_restarts(
        s.T_0, s.T_mult, _floor(s, [s.eta_min] * len(bases), bases)
    ),
    "LambdaLR": lambda s, bases: _same(s, [formulas.function(f) for f in s.lr_lambdas]),
    "MultiplicativeLR": lambda s, bases: _same(s, [formulas.multiplicative(f) for f in s.lr_lambdas]),
    "ReduceLROnPlateau": lambda s, bases: formulas.plateau(
        s.factor, s.patience, s.threshold, s.threshold_mode == "rel", s.cooldown, _floor(s, s.min_lrs, bases)
    ),
}


def _same(scheduler: Any, of_groups: Sequence[Any]) -> Any:
    """The value that all groups share; SteepestError if they differ, because a schedule has one multiplier for all groups."""
    if any(other != of_groups[0] for other in of_groups):
        raise SteepestError(
            f"{type(scheduler).__name__} gives its groups different multiples of their rates; a schedule is one multiplier for "
            "all groups: make one for each, with an optimizer of its own."
        )
    return of_groups[0]


def _floor(scheduler: Any, lowest: Sequence[float], bases: Sequence[float]) -> float:
    """The lowest rate as a share of the initial one."""
    return float(_same(scheduler, [float(low) / base for low, base in zip(lowest, bases, strict=True) if base] or [0.0]))


def from_torch(scheduler: Any) -> Schedule:
    """Convert a torch scheduler, from its first step, to a schedule relative to each group's initial rate.

    SteepestError if the groups' multiples differ, such as those of several lambdas, or of one floor under two rates. OneCycleLR
    and CyclicLR are relative to their largest rate. A scheduler without a closed form here is run step by step on a copy.

    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> from_torch(torch.optim.lr_scheduler.StepLR(optimizer, 30))
    <Schedule step(size=30)>
    """
    name, groups = type(scheduler).__name__, scheduler.optimizer.param_groups
    if name in CLOSED:
        return CLOSED[name](scheduler, [float(group.get("initial_lr", group["lr"])) for group in groups])
    if isinstance(scheduler, Scheduler):
        return scheduler.schedule
    if scheduler.last_epoch > 0:
        raise SteepestError(f"{name} has taken {scheduler.last_epoch} steps; pass a new scheduler.")
    there = {id(p): torch.nn.Parameter(torch.zeros(0)) for group in groups for p in group["params"]}
    without = copy.deepcopy(scheduler, {**there, id(scheduler.optimizer.state): defaultdict(dict)})  # without copying the model
    return _played(without, f"{name}({id(scheduler)})")


def _played(scheduler: Any, name: str) -> Schedule:
    """Make a schedule from the rates that a new scheduler sets step by step."""
    moving = copy.deepcopy(scheduler)
    groups = moving.optimizer.param_groups
    largest = getattr(scheduler, "max_lrs", [group.get("initial_lr", group["lr"]) for group in groups])
    tops = [float(group.get("max_lr", top)) for group, top in zip(groups, largest, strict=True)]
    seen: list[float] = []

    def value(k: int, n: int, h: Any) -> float:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            while len(seen) <= k:
                multiples = [float(group["lr"]) / top for group, top in zip(groups, tops, strict=True)]
                _same(scheduler, [round(multiple, 12) for multiple in multiples])
                seen.append(multiples[0])
                moving.step()
        return seen[k]

    value(0, 1, ())  # rejects groups with different first multiples
    return Schedule(name, value, recipe=(_played, (scheduler, name)))
