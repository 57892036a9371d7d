"""What a search owes to luck: its best trial against fresh seeds, the expected best of fewer trials, and its short runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

from . import statistics as st
from .answer import Expected, Ranked, Searched
from .course import Course
from .scalars import finite
from .search import best_of, expected_best, rank_correlation
from .space import Candidate

TRIALS = (1, 2, 5, 10, 20, 50, 100, 200)  # trial counts at which the expected best is reported


def searched(course: Course) -> Searched | None:
    """The luck of a study's search; None without a finished trial."""
    tried = [c for c, runs in course.trials.items() if runs and course.merit(c) > -math.inf]
    if not tried or course.question.seeds:
        return None
    sign = course.question.scale.sign
    best = max(tried, key=lambda c: max(_firsts(course, c)))
    if not math.isfinite(max(_firsts(course, best))):
        return None  # all collapsed
    raced = next((one.values for one in course.contenders if one.candidate == best), [])
    mean, se, n = st.mean_se([v for v in raced if math.isfinite(v)])
    return Searched(
        points=len({*course.trials, *course.short}),
        claimed=sign * max(_firsts(course, best)),
        best=str(best),
        mean=finite(sign * float(mean)) if n else None,
        half=finite(float(se) * float(special.stdtrit(n - 1, 0.975))) if n >= st.LEAST_PAIRS else None,
        n=int(n),
        ranked=_ranked(course),
        expected=[row for name in dict.fromkeys(c.space.name for c in tried) for row in _expected(course, name)],
    )


def _firsts(course: Course, candidate: Candidate) -> list[float]:
    """The values of a candidate's screening runs, larger being better."""
    return [v for v in course.values_of(candidate, course.trials[candidate].values()) if math.isfinite(v)] or [-math.inf]


def _ranked(course: Course) -> Ranked | None:
    """How well runs of half the steps ranked candidates that have both; None without such runs."""
    both = [c for c in course.short if c in course.trials and course.merit(c) > -math.inf and course.short_merit(c) > -math.inf]
    if not course.short:
        return None
    found = rank_correlation([course.short_merit(c) for c in both], [course.merit(c) for c in both], _weights(course, both))
    correlation, low, high = found or (None, None, None)
    return Ranked(
        correlation=correlation and finite(correlation), low=low and finite(low), high=high and finite(high), n=len(both)
    )


def _weights(course: Course, candidates: Sequence[Candidate]) -> list[float]:
    """How many candidates each one stands for: those sampled from the dropped ones stand for all of these."""
    dropped = len(course.short) - len({c for c in course.short if c in course.trials and c not in course.sampled})
    return [dropped / len(course.sampled) if c in course.sampled else 1.0 for c in candidates]


def _expected(course: Course, name: str) -> list[Expected]:
    """The expected best of some trials of one optimizer, with a band; empty unless its points were drawn at random."""
    if not course.question.search:
        return []
    own = [c for c in course.trials if c.space.name == name and math.isfinite(_firsts(course, c)[0])]
    values = [_firsts(course, c)[0] for c in own]
    weights, sign = _weights(course, own), course.question.scale.sign
    rows = []
    for trials in TRIALS:
        if trials > sum(weights):
            break
        low, high = expected_best(values, weights, trials)
        mean = sign * best_of(values, weights, trials)
        rows.append(
            Expected(name=name, trials=trials, mean=mean, low=min(sign * low, sign * high), high=max(sign * low, sign * high))
        )
    return rows
