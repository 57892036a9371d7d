"""How a metric spreads over examples: its value for every example, or, if it is no mean of those, on bootstrap resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 50  # resamples: a standard deviation over them is known to about 10 %
Values = NDArray[np.float64]


class Spread(NamedTuple):
    """How a metric spreads over examples, in one of two ways; neither where the metric is known only as a whole.

    each: the metric of every example, (examples,), if the metric is their mean.
    draws: else the metric on `DRAWS` bootstrap resamples of the examples, (draws,).
    """

    each: Values | None = None
    draws: Values | None = None

    @property
    def error(self) -> float:
        """The standard error of the metric over examples; NaN if it is not known, as of a single example."""
        values = self.each if self.each is not None else self.draws
        if values is None or len(values) < 2:
            return math.nan
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = float(np.std(values, ddof=1))
        return deviation if self.each is None else deviation / math.sqrt(len(values))


def overall(parts: Sequence[Spread]) -> Spread:
    """The spread over all data, from those of its parts: every example's metric, or the resamples of a single part."""
    if len(parts) == 1:
        return parts[0]
    each = [part.each for part in parts if part.each is not None]
    return Spread(np.concatenate(each) if each and len(each) == len(parts) else None)
