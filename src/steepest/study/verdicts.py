"""Pairwise verdicts: compute one for every pair of optimizers from their values, and put it into a sentence."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import statistics as st
from .scalars import Amount, Count, Name, Real, Words, finite, plain

ACCURACY_MARGIN = 0.2  # in points
LOSS_MARGIN = 0.01  # as a share of the better mean


@dataclass(frozen=True)
class Side:
    """One optimizer's values in the order of the seeds; None is a diverged run."""

    label: str
    values: Sequence[float | None]
    seconds_per_run: float

    @property
    def diverged(self) -> int:
        """The number of its runs that diverged."""
        return sum(v is None for v in self.values)

    @property
    def array(self) -> st.Array:
        """The values as an array, NaN for diverged runs."""
        return np.array([math.nan if v is None else v for v in self.values], float)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The comparison of a pair. `difference`, in units of the metric, is positive if `a` is better.

    `low` and `high` bound it at the level at which Holm tested this pair; `p` is Holm-adjusted. If a side has diverged runs,
    means are not compared: these fields are None, and `status` says why. `sentence` is the verdict in words, `beside` an
    unadjusted permutation test, for information only.
    """

    a: Name
    b: Name
    difference: Real | None
    low: Real | None
    high: Real | None
    p: Real | None
    probability: Real | None
    verdict: Name
    seeds_needed: Count | None
    margin: Amount = 0.0
    status: Words = ""
    sentence: Words = ""
    beside: Words = ""

    def __str__(self) -> str:
        return self.sentence

    def as_json(self) -> dict[str, Any]:
        """The verdict for JSON."""
        data = plain(self, "sentence", "beside", "status", "margin")
        return data | ({"status": self.status} if self.status else {})


def _sentence(v: Verdict, n: int, level: float, unit: str, seconds: float) -> str:
    """The verdict in words: `n` seeds, tested at `level`; `seconds` is the time of one more seed of both."""
    if v.difference is None or v.low is None or v.high is None:
        return f"{v.a} against {v.b} is undecided: {v.status}."
    gap, margin = f"{abs(v.difference):.3g}{unit}", f"{v.margin:.3g}{unit}"
    span = f"{100 * (1 - level):.6g} % interval {v.low:.3g} to {v.high:.3g}"
    ahead = f"{v.a} ahead on {100 * (v.probability or 0):.0f} % of {n} seeds"
    if v.verdict == "better":
        return f"{v.a} is better than {v.b} by {gap} ({span}; p = {v.p:.2g}; {ahead})."
    if v.verdict == "tied":
        return f"{v.a} and {v.b} are tied: they differ by {gap}, within the margin of {margin} ({span})."
    more = v.status
    if n < st.LEAST_PAIRS:
        more = f"a verdict needs at least {st.LEAST_PAIRS} seeds, and there are {n}"
    elif v.seeds_needed is not None:
        minutes = v.seeds_needed * seconds / 60
        time = f"{minutes:.1f} minutes" if minutes else "no time"
        more = f"about {v.seeds_needed} more seeds ({time}) would detect a difference of {margin}"
    return f"{v.a} against {v.b} is undecided: they differ by {gap} ({span}; {ahead}); {more}."


def judge_all(
    sides: Sequence[Side], *, direction: str, in_points: bool, margin: float | None, alpha: float, next_alpha: float
) -> list[Verdict]:
    """The verdicts on all pairs of sides, best first, at this look's alpha; `next_alpha` is for the seeds of the next look."""
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
        status, needed = "", None
        if not compared[i]:
            status = _divergence(a, b, direction)
        elif said["verdict"][i] != "undecided":
            needed = 0
        else:
            needed = st.seeds_needed(said["se"][i].item() * math.sqrt(n), n, margins[i], next_alpha / len(pairs))
            if needed is None:
                status = f"not even 100,000 seeds would detect a difference of {margins[i]:.3g}"
        if compared[i] and n < 2:
            status = status or "one seed gives no interval"
        flips, least = st.sign_flip(differences[i])
        verdict = Verdict(
            a=a.label,
            b=b.label,
            difference=finite(mean),
            low=finite(low),
            high=finite(high),
            p=said["p"][i].item() if compared[i] else None,
            probability=st.probability_of_improvement(a.array, b.array, direction),
            verdict=str(said["verdict"][i]),
            seeds_needed=needed,
            margin=margins[i].item(),
            status=status,
            beside=f"Sign-flip permutation p = {flips:.2g} (smallest possible {least:.2g}).",
        )
        unit, seconds = " points" if in_points else "", a.seconds_per_run + b.seconds_per_run
        words = _sentence(verdict, n, said["level"][i].item(), unit, seconds)
        verdicts.append(dataclasses.replace(verdict, sentence=words))
    return verdicts


def _shared(a: Side, b: Side) -> tuple[Side, Side]:
    """Two sides, cut to the first seeds that both have."""
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
    """The status of a pair with diverged runs: how many, and a sign test."""
    n = len(a.values)
    how = " and ".join(f"{s.label} diverged in {s.diverged} of {n} runs" for s in (a, b) if s.diverged)
    share = st.probability_of_improvement(a.array, b.array, direction) or 0.0
    p = st.sign_test(a.array, b.array, direction)
    return f"{how}, so no means are compared ({a.label} ahead on {100 * share:.0f} % of {n} seeds, sign test p = {p:.2g})"
