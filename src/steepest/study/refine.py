"""Refinement: the leaders of screening with other settings, one change after another, while each is better.

A leader is tried with a warm-up at a higher rate, another weight decay, another beta2 or momentum, and a rate that falls to 0.
The best change is kept, and the others are tried on top of it. Changes run on screening seeds, one or more as time allows, and
are compared with their leader on the same ones; what is kept must still win the race, on seeds of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..schedules.shape import DECAY, WARMUP
from .axes import RATE, Axis
from .course import Course
from .space import Candidate

LEADERS = 2  # optimizers that are refined
WITHIN = 2.0  # margins behind the leader within which another optimizer is refined too
OTHER = {  # the first other value of a setting, and the second
    "weight_decay": (0.1, 0.001),
    "beta2": (0.99, 0.95),
    "momentum": (0.95, 0.8),
    WARMUP: (0.1, 0.25),
    DECAY: (1.0, 0.3),
}


def leaders(course: Course, screened: Sequence[Candidate]) -> list[Candidate]:
    """The best candidate of each of the best optimizers that have anything to refine."""
    order = sorted((c for c in screened if course.merit(c) > -math.inf), key=lambda c: -course.merit(c))
    if not order:
        return []
    top = course.merit(order[0])
    margin = course.question.margin_of([top])
    first = {c.space.name: c for c in reversed(order) if c.space.further}
    near = [c for c in order if first.get(c.space.name) is c and course.merit(c) >= top - WITHIN * margin]
    return near[:LEADERS]


Change = tuple[tuple[str, float | int], ...]  # settings with their new values; for the rate, a number of places on its grid


def changes(leader: Candidate) -> Iterator[Change]:
    """The changes that a leader can be tried with, the most promising first."""
    axes = {letter(axis): axis for axis in leader.space.further}
    for place in (0, 1):
        for name in (WARMUP, DECAY, "weight_decay", "beta2", "momentum"):
            axis = axes.get(name)
            if axis is None:
                continue
            value = OTHER[name][place]
            if name == WARMUP:
                yield (axis.name, value), (RATE, 1)
            yield ((axis.name, value),)
        yield ((RATE, 1 - 2 * place),)


def letter(axis: Axis) -> str:
    """The name of an axis among ours: an element of a tuple, such as betas.1, has its own."""
    return {"betas.0": "beta1", "betas.1": "beta2"}.get(axis.name, axis.name)


def apply(candidate: Candidate, change: Change) -> Candidate | None:
    """The candidate with a change; None if its rate would be outside the bounds."""
    for name, value in change:
        if name == RATE:
            rate = candidate.space.rate
            k = rate.index(candidate.lr) + int(value)
            if not rate.within(range(k, k + 1)):
                return None
            candidate = candidate.moved(RATE, rate.value(k))
        else:
            candidate = candidate.moved(name, value)
    return candidate
