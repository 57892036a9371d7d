"""Measures of a run: what a study compares candidates by, and what else its answer ranks them by.

A measure is one function of a run's outcome, which registers itself:

    @measure("steps to 90 points", direction="min", unit=" steps")
    def steps_to_90(outcome, cost):
        reached = [k for k, value in zip(outcome.curve.steps, outcome.curve.metric) if (value or 0.0) >= 90]
        return reached[0] if reached else None

`compare(..., measure="steps to 90 points")` then races on it. None says that the run has no value, as one that diverged.
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
    """What a step of a candidate costs: its seconds, the bytes of its state, the steps of a run.

    `fastest` is how long the fastest candidate that raced takes for a run, in seconds.
    """

    seconds: float
    state_bytes: int
    steps: int
    fastest: float = 0.0


FREE = Cost(0.0, 0, 1)


@dataclass(frozen=True)
class Measure:
    """A function of a run, with the direction in which it is better, and what an amount of it is followed by.

    `beside` is how an answer begins the sentence on who is best by it ("least validation loss"); empty for one that is only
    raced on. It may have {seconds} in it, for the time of the fastest run.
    """

    name: str
    of: Of
    direction: str = "min"
    unit: str = ""
    beside: str = ""
    whole: bool = False  # its values are whole numbers


METRIC = "metric"  # the measure that is raced on unless another is named: the problem's own metric
MEASURES: dict[str, Measure] = {}


def measure(name: str, **fields: Any) -> Callable[[Of], Of]:
    """Register a function as a measure; the fields are those of `Measure`."""

    def register(of: Of) -> Of:
        MEASURES[name] = Measure(name, of, **fields)
        return of

    return register


@measure("validation loss", beside="least validation loss")
def validation_loss(outcome: Outcome, cost: Cost) -> float | None:
    """The loss on validation data at the end."""
    return outcome.loss


@measure("metric at equal time", direction="metric", beside="best after {seconds:.2g} s of training, when the fastest ends,")
def at_equal_time(outcome: Outcome, cost: Cost) -> float | None:
    """The metric after as many seconds as the fastest candidate takes for its run, between two points of the curve."""
    if not cost.seconds or not outcome.curve.steps:
        return None
    values = np.array(outcome.curve.metric, float)
    at = cost.fastest / (cost.seconds * cost.steps) * cost.steps
    value = float(np.interp(at, outcome.curve.steps, values))
    return value if math.isfinite(value) else None


@measure("bytes of state", beside="fewest bytes of state", whole=True)
def state_bytes(outcome: Outcome, cost: Cost) -> float | None:
    """The memory of the optimizer's state."""
    return cost.state_bytes
