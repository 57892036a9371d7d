"""From the values of every optimizer to a verdict on every pair, and the sentence that says it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import statistics as st

ACCURACY_MARGIN = 0.2  # points
LOSS_MARGIN = 0.01  # of the better mean


@dataclass(frozen=True)
class Side:
    """One optimizer's confirmed values, in the order of the seeds; None is a diverged run."""

    label: str
    values: Sequence[float | None]
    seconds_per_run: float

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return sum(v is None for v in self.values)

    @property
    def array(self) -> st.Array:
        """The values, NaN where a run diverged."""
        return np.array([math.nan if v is None else v for v in self.values], float)


@dataclass(frozen=True)
class Verdict:
    """What is known of a pair. `difference` is above 0 where `a` is better, in units of the metric.

    `low` and `high` bound it at the confidence `1 - level` at which Holm tested this pair; `p` is adjusted by Holm.
    `sign_flip` is (p, least possible p) of the permutation test, not adjusted; it decides nothing. Where a side has
    diverged runs, nothing is said of means: those are None, and `status` says why.
    """

    a: str
    b: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    probability: float | None
    verdict: str
    seeds_needed: int | None
    minutes_needed: float | None
    n: int
    level: float
    margin: float
    sign_flip: tuple[float, float]
    unit: str
    status: str | None

    def __str__(self) -> str:
        return self.sentence

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.difference is None:
            return f"{self.a} against {self.b} is undecided: {self.status}."
        gap, margin = f"{abs(self.difference):.3g}{self.unit}", f"{self.margin:.3g}{self.unit}"
        if self.low is None or self.high is None:
            return f"{self.a} against {self.b} is undecided: {self.status}."
        span = f"{100 * (1 - self.level):.4g} % interval {self.low:.3g} to {self.high:.3g}"
        ahead = f"{self.a} ahead on {100 * (self.probability or 0):.0f} % of {self.n} seeds"
        if self.verdict == "better":
            return f"{self.a} is better than {self.b} by {gap} ({span}; p = {self.p:.2g}; {ahead})."
        if self.verdict == "tied":
            return f"{self.a} and {self.b} are tied: they differ by {gap}, within the margin of {margin} ({span})."
        return f"{self.a} against {self.b} is undecided: they differ by {gap} ({span}; {ahead}); {self._more(margin)}."

    def _more(self, margin: str) -> str:
        if self.n < st.LEAST_PAIRS:
            return f"{self.n} seeds are too few for any verdict, {st.LEAST_PAIRS} the least"
        if self.seeds_needed is None:
            return self.status or ""
        time = f"{self.minutes_needed:.1f} minutes" if self.minutes_needed else "no time"
        return f"about {self.seeds_needed} more seeds ({time}) would tell a difference of {margin}"


def judge_all(
    sides: Sequence[Side], *, direction: str, in_points: bool, margin: float | None, alpha: float, next_alpha: float
) -> list[Verdict]:
    """A verdict on every pair of sides, which come best first, at this look's alpha; `next_alpha` sizes the next look."""
    pairs = [_shared(a, b) for a, b in itertools.combinations(sides, 2)]
    if not pairs:
        return []
    longest = max(len(a.values) for a, _ in pairs)
    sign = 1.0 if direction == "max" else -1.0
    margins = np.array([_margin(a, b, direction, in_points, margin) for a, b in pairs])
    differences = np.full((len(pairs), longest), math.nan)
    for row, (a, b) in zip(differences, pairs, strict=True):
        row[: len(a.values)] = sign * (a.array - b.array)
    compared = np.array([a.diverged + b.diverged == 0 for a, b in pairs])
    said = st.judge(np.where(compared[:, None], differences, math.nan), margins, alpha)
    verdicts = []
    for i, (a, b) in enumerate(pairs):
        mean, low, high, n = (said[k][i].item() for k in ("mean", "low", "high", "n"))
        status = needed = None
        if not compared[i]:
            status = _divergence(a, b, direction)
        else:
            if n < 2:
                status = "one seed gives no interval"
            if said["verdict"][i] == "undecided":
                sd = said["se"][i].item() * math.sqrt(n)
                needed = st.seeds_needed(sd, n, margins[i], next_alpha / len(pairs))
                if needed is None:
                    status = f"no number of seeds up to 100,000 would tell a difference of {margins[i]:.3g}"
            else:
                needed = 0
        verdicts.append(
            Verdict(
                a=a.label,
                b=b.label,
                difference=_finite(mean),
                low=_finite(low),
                high=_finite(high),
                p=said["p"][i].item() if compared[i] else None,
                probability=st.probability_of_improvement(a.array, b.array, direction),
                verdict=str(said["verdict"][i]),
                seeds_needed=needed,
                minutes_needed=needed and needed * (a.seconds_per_run + b.seconds_per_run) / 60,
                n=n,
                level=said["level"][i].item(),
                margin=margins[i].item(),
                sign_flip=st.sign_flip(differences[i]),
                unit=" points" if in_points else "",
                status=status,
            )
        )
    return verdicts


def _shared(a: Side, b: Side) -> tuple[Side, Side]:
    """Two sides on the seeds that both have, from the first on."""
    n = min(len(a.values), len(b.values))
    return dataclasses.replace(a, values=a.values[:n]), dataclasses.replace(b, values=b.values[:n])


def _margin(a: Side, b: Side, direction: str, in_points: bool, margin: float | None) -> float:
    if margin is not None:
        return margin
    if in_points:
        return ACCURACY_MARGIN
    means = [float(np.nanmean(s.array)) for s in (a, b) if s.diverged < len(s.values)]
    return LOSS_MARGIN * abs((max if direction == "max" else min)(means)) if means else 0.0


def _divergence(a: Side, b: Side, direction: str) -> str:
    """How often each side diverged, and what ranks alone say."""
    n = len(a.values)
    how = " and ".join(f"{s.label} diverged in {s.diverged} of {n} runs" for s in (a, b) if s.diverged)
    share = st.probability_of_improvement(a.array, b.array, direction) or 0.0
    p = st.sign_test(a.array, b.array, direction)
    return f"{how}, so no means are compared ({a.label} ahead on {100 * share:.0f} % of {n} seeds, sign test p = {p:.2g})"


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None
