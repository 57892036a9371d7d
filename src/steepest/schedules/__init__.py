"""Schedules: the multiplier of the learning rate as a closed form of the step. Pure, so exact on resume."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import unknown

Schedule = Callable[[int, int], float]


def constant(step: int, steps: int) -> float:
    """1 at every step."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """(1 + cos(pi * step / steps)) / 2: from 1 at step 0 to 0 after the last of `steps`.

    Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without restarts; torch's CosineAnnealingLR with T_max=steps.
    """
    return (1 + math.cos(math.pi * step / steps)) / 2


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine}


def get(name: str) -> Schedule:
    """The schedule of this name; SteepestError with the nearest name where there is none."""
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    return SCHEDULES[name]
