"""The rates next to the pick's: those that cost little, one that fails, and one that is better but was not raced."""

from __future__ import annotations

import math

import numpy as np

from . import claims
from . import statistics as st
from .answer import AxisRange, Better, Cliff
from .axes import RATE
from .course import TINY, Contender, Course
from .scalars import finite


def axes(course: Course, pick: Contender, margin: float) -> list[AxisRange]:
    """The values tried on each axis, whether the pick is at their edge, and which rates near it cost little."""
    ranges, candidate = [], pick.candidate
    for axis in (*candidate.space.axes, *candidate.space.further):
        at = candidate.value(axis.name)
        along = [candidate, *course.tried(candidate.space), *(c for c in course.nearby if c.space is candidate.space)]
        seen = {c.value(axis.name) for c in along}
        if axis in candidate.space.further and len(seen) == 1:
            continue
        tried = sorted(seen) if axis.options is None else [value for value in axis.options if value in seen]
        inside = axis.options is not None or len(tried) == 1 or (axis.zero and at == 0)
        edge = not inside and at in (tried[0], tried[-1])
        low, high, cost = (_cheap_rates(course, pick, margin) if axis.name == RATE else None) or (None, None, None)
        ranges.append(AxisRange(name=axis.name, low=low, high=high, cost_under=cost, edge=edge, tried=[*tried]))
    return ranges


def better(course: Course, pick: Contender) -> Better | None:
    """A rate next to the pick's that was better when there was no time left to race it."""
    raced = {one.candidate for one in course.contenders}
    values = {c: course.values_of(c, runs) for c, runs in course.nearby.items() if c not in raced}
    gaps = {c: claims.paired(own, pick.values, st.ALPHA) for c, own in values.items()}
    best = max((c for c in gaps if gaps[c].mean > TINY), key=lambda c: gaps[c].mean, default=None)
    return None if best is None else Better(**best.names, ahead=gaps[best].mean, seeds=gaps[best].n)


def _cheap_rates(course: Course, pick: Contender, margin: float) -> tuple[float, float, float] | None:
    """The rates around the pick's that cost little, with an upper bound of it."""
    along = [pick.candidate]
    for direction in (1, -1):
        while (other := course.next_to(along[-1 if direction > 0 else 0], direction)) and course.runs_on(other):
            along.insert(len(along) if direction > 0 else 0, other)
    values = [course.values_of(c, course.runs_on(c)) for c in along]
    least = max(course.question.scale.example, _spread(course, pick) or 0.0)
    return claims.cheap_rates([c.lr for c in along], values, along.index(pick.candidate), margin, least)


def cliff(course: Course, pick: Contender | None, margin: float) -> Cliff | None:
    """The next higher rate, if it fails."""
    above = course.next_to(pick.candidate, 1) if pick else None
    if pick is None or above is None:
        return None
    values = course.values_of(above, course.runs_on(above))
    screened = [] if course.early else course.values_of(above, course.trials.get(above, {}).values())
    if not claims.is_cliff(pick.values, values, screened, margin, _spread(course, pick) or math.nan):
        return None
    lost = sum(map(math.isnan, values))
    return Cliff(lr=above.lr, worse=finite(claims.paired(pick.values, values, st.ALPHA).mean), collapsed=lost, of=len(values))


def _spread(course: Course, pick: Contender) -> float | None:
    """The median spread of a difference between the pick and another contender; None if it is unknown or zero."""
    spreads = [claims.spread(pick.values, course.contenders[k].values) for k in course.others()]
    known = [spread for spread in spreads if spread]
    return float(np.median(known)) if known else None
