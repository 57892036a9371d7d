"""What a study is asked: the spaces to search, the length of a run, and the scale on which runs are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import unknown
from ..training.recorder import Outcome
from .measures import FREE, MEASURES, METRIC, Cost, Measure
from .space import Space
from .statistics import alpha_at_look

POINTS_MARGIN, SHARE_MARGIN = 0.5, 0.01  # the default margins: in points of accuracy, and as a share of any other value


@dataclass(frozen=True)
class Scale:
    """How runs are compared: by a problem's metric, or by another measure.

    `name` and `direction` are the metric's, `in_points` says that it is a share in percent, `examples` counts the validation
    examples that it is a mean over. `split` is the data of the last figure: "test", or "validation" without test data.
    """

    name: str
    direction: str
    in_points: bool = False
    examples: int = 0
    split: str = "validation"
    is_loss: bool = False
    measure: Measure | None = None  # in place of the metric
    metric_direction: str = ""  # of the problem's metric, where another measure is raced on

    @property
    def metric_sign(self) -> float:
        """1 where more of the problem's metric is better, else -1."""
        return 1.0 if (self.metric_direction or self.direction) == "max" else -1.0

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return 1.0 if self.direction == "max" else -1.0

    @property
    def unit(self) -> str:
        """What an amount is followed by."""
        if self.measure:
            return self.measure.unit
        return " points" if self.in_points else f" in {self.name}"

    @property
    def example(self) -> float:
        """What one validation example counts in the metric; 0 where it is no count."""
        return 100 / self.examples if self.in_points else 0.0

    def value(self, outcome: Outcome, split: str = "validation", cost: Cost = FREE) -> float | None:
        """What a run came to; None where it has no value."""
        if self.measure:
            return self.measure.of(outcome, cost) if outcome.valid is not None else None
        return outcome.test if split == "test" else outcome.valid

    def margin(self, values: Sequence[float]) -> float:
        """The default margin: 0.5 points, or 1 % of the mean of these values, which are the best candidate's."""
        if self.in_points:
            return POINTS_MARGIN
        there = [v for v in values if math.isfinite(v)]
        return SHARE_MARGIN * abs(float(np.mean(there))) if there else 0.0

    def by(self, name: str) -> Scale:
        """The scale of the measure of this name; SteepestError for an unknown one."""
        if name == METRIC:
            return self
        if name not in MEASURES:
            raise unknown("measure", name, [METRIC, *MEASURES])
        chosen = MEASURES[name]
        direction = self.direction if chosen.direction == METRIC else chosen.direction
        return Scale(name, direction, examples=self.examples, measure=chosen, metric_direction=self.direction)


@dataclass(frozen=True)
class Question:
    """What a study is asked. `steps` are gradient evaluations of a run, `trials` the rates of a first grid.

    `seeds` are those of the protocol of equal seeds, 0 for a race. `margin` is None for the default, `budget` the seconds for
    the study, None for as many as it takes. `alpha` is the chance of a false claim that this question may spend.
    `typed_optimizers` says that a user named them, so that a short budget drops none.
    """

    spaces: tuple[Space, ...]
    scale: Scale
    steps: int
    trials: int
    seeds: int = 0
    margin: float | None = None
    budget: float | None = None
    alpha: float = alpha_at_look(1)
    typed_optimizers: bool = True

    def margin_of(self, values: Sequence[float]) -> float:
        """The margin asked for, else the default one for the values of the best."""
        return self.scale.margin(values) if self.margin is None else self.margin
