"""Schedules: the multiplier of the learning rate as a closed form of the step. Pure, so exact on resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from .schedule import Schedule, parse

if TYPE_CHECKING:
    from .torch import from_torch

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


def get(given: str | Schedule) -> Schedule:
    """The schedule as written, such as "cosine", "step(size=30)" or "warmup(0.1) * cosine"; SteepestError for another."""
    return given if isinstance(given, Schedule) else parse(given, FORMULAS)


def __getattr__(name: str) -> Any:
    if name == "from_torch":  # it imports torch, which schedules alone do not need
        from .torch import from_torch

        return from_torch
    raise AttributeError(f"module 'steepest.schedules' has no attribute '{name}'")
