"""The question of a study: the spaces to search, the length of a run, and the scale on which runs are compared."""

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

POINTS_MARGIN, SHARE_MARGIN = 0.5, 0.01  # default margins: points of accuracy; share of any other value


@dataclass(frozen=True)
class Scale:
    """How runs are compared: by the problem's metric, or by another measure.

    `name` and `direction` are the metric's; `in_points`: it is a percentage; `examples` is the number of validation examples
    that it averages, `tested` that of test examples. `split` is the data of the figure on fresh seeds: "test", or "validation"
    if there are no test data.
    """

    name: str
    direction: str
    in_points: bool = False
    examples: int = 0
    split: str = "validation"
    is_loss: bool = False
    measure: Measure | None = None  # replaces the metric
    tested: int = 0
    metric_direction: str = ""  # direction of the problem's metric, if a measure replaces it
    may_test: bool = False  # runs on fresh seeds show whether there are test data

    @property
    def metric_sign(self) -> float:
        """1 if larger values of the problem's metric are better, else -1."""
        return 1.0 if (self.metric_direction or self.direction) == "max" else -1.0

    @property
    def sign(self) -> float:
        """1 if larger values are better, else -1."""
        return 1.0 if self.direction == "max" else -1.0

    @property
    def unit(self) -> str:
        """The text after an amount, such as " points" or " in loss"."""
        if self.measure:
            return self.measure.unit
        return " points" if self.in_points else f" in {self.name}"

    @property
    def example(self) -> float:
        """The weight of one validation example in an accuracy, in points; 0 for other metrics."""
        return 100 / self.examples if self.in_points and self.examples else 0.0

    def value(self, outcome: Outcome, split: str = "validation", cost: Cost = FREE) -> float | None:
        """The value of a run, or None."""
        if self.measure:
            return self.measure.of(outcome, cost) if outcome.valid is not None else None
        return outcome.test if split == "test" else outcome.valid

    def margin(self, values: Sequence[float]) -> float:
        """The default margin: 0.5 points, or 1 % of the mean of `values`, those of the best candidate."""
        if self.in_points:
            return POINTS_MARGIN
        there = [v for v in values if math.isfinite(v)]
        if "accuracy" in self.name.lower() and not self.is_loss:  # of a user's own: in points, or a share
            return POINTS_MARGIN if any(abs(v) > 1 for v in there) else POINTS_MARGIN / 100
        return SHARE_MARGIN * abs(float(np.mean(there))) if there else 0.0

    def by(self, name: str) -> Scale:
        """The scale of the measure with this name. Raises SteepestError if it is unknown."""
        if name == METRIC:
            return self
        if name not in MEASURES:
            raise unknown("measure", name, [METRIC, *MEASURES])
        chosen = MEASURES[name]
        direction = self.direction if chosen.direction == METRIC else chosen.direction
        return Scale(name, direction, examples=self.examples, measure=chosen, metric_direction=self.direction)


@dataclass(frozen=True)
class Question:
    """The question of a study. `steps` is the number of gradient evaluations of a run, `trials` that of rates in a first grid.

    `seeds` is N in the protocol of equal seeds, 0 for a race. `margin` is None for the default, `budget` the seconds for the
    study, None for no limit. `alpha` is the chance of a false claim that this question may spend. `typed_optimizers`: the user
    named the optimizers, so a short budget drops none.
    `any_length`: runs can be shorter or longer than `steps`. `search` is the level of a search, for which `trials` is the
    number of points of each optimizer. `remarks` are notes for the reader.
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
    any_length: bool = True
    search: str = ""
    remarks: tuple[str, ...] = ()

    def margin_of(self, values: Sequence[float]) -> float:
        """The margin, or the default one for the values of the best candidate."""
        return self.scale.margin(values) if self.margin is None else self.margin
