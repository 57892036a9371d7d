"""What is new: how the pick does on fresh seeds and test data, and how much better another could be on new examples."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from . import bounds, claims
from . import statistics as st
from .answer import Mean
from .course import Contender, Course

NORMAL = 1.96  # quantile of a 95 % interval
APART = 3.0  # standard errors by which test data must be worse than validation data to be remarked: chance, once in 700


class NewExamples(NamedTuple):
    """The bound on new examples, None if unknown: the lead of the rival that sets it, and the share of examples in it."""

    bound: float | None
    gap: float = 0.0
    share: float = 0.0


def new_examples(course: Course) -> NewExamples:
    """How much better than the pick another could be on new examples and new seeds."""
    (results, resampled), now = _results(course), course.now
    if now is None or results[now.pick] is None:
        return NewExamples(None)
    pick, alpha = course.contenders[now.pick], course.question.alpha
    level, least = bounds.level_of_each(len(course.contenders) - 1, alpha), course.question.scale.example
    gaps = [claims.paired(one.values, pick.values, level, least) for one in course.contenders]
    means, halves = np.array([(gap.mean, gap.high - gap.mean) for gap in gaps]).T
    new, most, share = bounds.on_new_examples(results, means, halves, now.pick, alpha, resampled)
    needed = now.possible | np.isfinite(new)  # one that is ruled out here, on too few seeds for a bound there, is left out
    largest = float(new[needed].max())
    if most is None or not math.isfinite(largest):
        return NewExamples(None)
    return NewExamples(max(largest, 0.0), float(means[most]), share)


def _results(course: Course) -> tuple[list[np.ndarray | None], bool]:
    """The metric of each example in each contender's runs, (seeds, examples), larger being better; None if not recorded.

    Or, if the second value is True, the metric of resamples of the examples.
    """
    known = [[o.examples if o.draws is None else o.draws for o in one.outcomes] for one in course.contenders]
    there = [each for own in known for each in own if each is not None]
    widths = {len(each) for each in there}
    resampled = any(o.draws is not None for one in course.contenders for o in one.outcomes)
    if course.question.scale.measure or len(widths) != 1 or len(there[0]) == 1:  # one example allows no bound on new ones
        return [None] * len(known), resampled
    none = np.full(len(there[0]), np.nan)  # of a run that collapsed
    tables: list[np.ndarray | None] = []
    for one, own in zip(course.contenders, known, strict=True):
        each = [none if x is None or math.isnan(v) else x for x, v in zip(own, one.values, strict=True)]
        tables.append(course.question.scale.sign * np.array(each, float) if each else None)
    return tables, resampled


def figure(course: Course, pick: Contender | None) -> Mean | None:
    """The mean of the pick on fresh seeds; None if there are none."""
    if pick is None:
        return None
    split = course.question.scale.split
    if course.question.scale.may_test and any(o.test is not None for o in course.figure):
        split = "test"
    values = [course.question.scale.value(o, split, course.cost(pick.candidate)) for o in course.figure]
    mean, se, n = st.mean_se([v for v in values if v is not None])
    if not n:
        return None
    lost = len(values) - int(n)
    if n < 2 or course.question.seeds:  # equal seeds chose the pick
        return Mean(mean=mean.item(), se=se.item() if n > 1 else None, n=int(n), split=split, lost=lost)
    spread = np.nanstd(pick.values, ddof=1) / math.sqrt(n) if sum(map(math.isfinite, pick.values)) > 1 else 0.0
    over_seeds = max(se.item(), float(spread))  # few seeds often miss how widely a skewed metric spreads; the race has more
    errors = [o.test_se for o in course.figure if o.test_se is not None] if split == "test" else []
    over_examples = float(np.mean(errors)) if errors else 0.0
    half = math.hypot(float(st.interval(0.0, over_seeds, n, st.ALPHA)[1]), NORMAL * over_examples)
    worse = _worse(course, pick, mean.item(), math.hypot(over_seeds, over_examples)) if errors else None
    count = course.question.scale.tested if errors else 0
    made = Mean(mean=mean.item(), se=se.item(), n=int(n), split=split, half=half, lost=lost)
    return dataclasses.replace(made, examples=count, worse=worse)


def _worse(course: Course, pick: Contender, tested: float, error: float) -> float | None:
    """How much worse the pick is on test data than on validation data; None unless it is by `APART` errors and the margin."""
    scale = course.question.scale
    (results, resampled), mean = _results(course), course.mean(pick)
    own = results[course.contenders.index(pick)] if pick in course.contenders else None
    if own is None or not math.isfinite(mean):
        return None
    own = own[np.isfinite(own).all(1)]
    deviation = float(own.mean(0).std(ddof=1))
    here = deviation if resampled else deviation / math.sqrt(own.shape[1])
    worse = mean - scale.sign * tested
    return worse if worse > max(APART * math.hypot(here, error), course.margin()) else None
