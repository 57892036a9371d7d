"""Measures of a run: the one by which a study compares candidates, and others reported in its answer.

A measure is one function of a run's outcome, which registers itself:

    @measure("steps to 90 points", direction="min", unit=" steps")
    def steps_to_90(outcome, cost):
        reached = [k for k, value in zip(outcome.curve.steps, outcome.curve.metric) if (value or 0.0) >= 90]
        return reached[0] if reached else None

`compare(..., measure="steps to 90 points")` then races on it. It returns None for a run without a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..training.recorder import Outcome

Of = Callable[[Outcome, "Cost"], float | None]


@dataclass(frozen=True)
class Cost:
    """The cost of a candidate: seconds of a step, bytes of state, steps of a run.

    `fastest` is the time of a run of the fastest contender, in seconds.
    """

    seconds: float
    state_bytes: int
    steps: int
    fastest: float = 0.0


FREE = Cost(0.0, 0, 1)


@dataclass(frozen=True)
class Measure:
    """A function of a run with its better `direction` ("min", "max", or "metric" for the metric's) and its unit.

    `beside` introduces the best candidate by this measure in an answer ("least validation loss"); if it is empty, the measure
    can only be raced on. It may contain {seconds}, the time of the fastest run.
    """

    name: str
    of: Of
    direction: str = "min"
    unit: str = ""
    beside: str = ""
    whole: bool = False  # its values are whole numbers


METRIC = "metric"  # the default measure: the problem's own metric
MEASURES: dict[str, Measure] = {}


def measure(name: str, **fields: Any) -> Callable[[Of], Of]:
    """Register a function as a measure; the fields are those of `Measure`."""

    def register(of: Of) -> Of:
        MEASURES[name] = Measure(name, of, **fields)
        return of

    return register


@measure("validation loss", beside="least validation loss")
def validation_loss(outcome: Outcome, cost: Cost) -> float | None:
    """The final loss on validation data."""
    return outcome.loss


@measure("metric at equal time", direction="metric", beside="best after {seconds:.2g} s of training, when the fastest ends,")
def at_equal_time(outcome: Outcome, cost: Cost) -> float | None:
    """The metric after the time that the fastest contender takes for its run, interpolated on the curve."""
    if not cost.seconds or not outcome.curve.steps:
        return None
    values = np.array(outcome.curve.metric, float)
    at = cost.fastest / (cost.seconds * cost.steps) * cost.steps
    value = float(np.interp(at, outcome.curve.steps, values))
    return value if math.isfinite(value) else None


@measure("bytes of state", beside="fewest bytes of state", whole=True)
def state_bytes(outcome: Outcome, cost: Cost) -> float | None:
    """The memory of the optimizer's state, in bytes."""
    return cost.state_bytes
