"""The protocol of equal seeds: every rate on the tuning seeds, then the best candidate of each space on N fresh seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ..training.recorder import Outcome
from .budget import TUNING_SEEDS, Costs, Number, Steps
from .course import Contender, Course
from .protocol import Job, Strategy
from .protocol import wanted as outcomes_of
from .question import Question
from .screen import MOST_GROWN, grown_together
from .space import Candidate

EQUAL = "equal"  # its only phase, which has no deadline


def equal(question: Question) -> Strategy[Course]:
    """Tune every space at equal work, and confirm on `question.seeds` seeds."""
    course = Course(question, split=question.scale.split)
    course.costs = yield Costs(question)
    if question.budget is not None:
        course.question = dataclasses.replace(question, steps=(yield Steps(question)))
    chosen = yield from _tuned(course)
    jobs = [_job(course, candidate, seed, test=True) for candidate in chosen for seed in range(question.seeds)]
    outcomes = yield from outcomes_of(jobs, EQUAL, lambda: "fresh seeds")
    for k, candidate in enumerate(chosen):
        course.contenders.append(Contender(candidate))
        course.add(course.contenders[-1], outcomes[k * question.seeds : (k + 1) * question.seeds])
    course.contenders.sort(key=lambda one: order(course, one))
    now = course.look()
    course.stopped = "margin" if now.bound[now.pick] <= course.margin() else "time"
    course.number = yield Number(course.question)
    course.figure = list(course.pick.outcomes) if course.pick else []
    return course


def order(course: Course, one: Contender) -> tuple[bool, int, float, str]:
    """Sort key, best first: by runs without a value, then by the mean; contenders without any value are last."""
    values = [course.value(one.candidate, outcome) for outcome in one.outcomes]
    finite = [v for v in values if v is not None and math.isfinite(v)]
    mean = float(np.mean(finite)) if finite else None
    return mean is None, values.count(None), -course.question.scale.sign * (mean or 0.0), one.candidate.label


def _job(course: Course, candidate: Candidate, seed: int, test: bool = False) -> Job:
    return Job(candidate, seed, candidate.steps(course.question.steps), test=test)


def _tuned(course: Course) -> Strategy[list[Candidate]]:
    """The best candidate of every space; grids grow together until no best rate is at an edge, or up to the limit."""
    spaces, trials = course.question.spaces, course.question.trials
    searched = [space for space in spaces if space.rates is None]
    grids = [space.rate.first(trials) for space in searched]
    while searched:
        rates = [(space, space.rate.values(grid)) for space, grid in zip(searched, grids, strict=True)]
        yield from _try(course, [space.at(lr) for space, values in rates for lr in values])
        best = [space.rate.index(_best(course, course.tried(space)).lr) for space in searched]
        grown = grown_together(searched, grids, best, trials + MOST_GROWN)
        if grown is None:
            break
        grids = grown
    for space in searched:
        for axis in space.others:
            centre = _best(course, course.tried(space))
            yield from _try(course, [centre.moved(axis.name, v) for v in axis.values(axis.first(trials))])
    typed = [space for space in spaces if space.rates is not None and len(space.rates) > 1]
    yield from _try(course, [space.at(lr) for space in typed for lr in space.rates or ()])
    return [_best(course, course.tried(space) or [space.at(*(space.rates or ()))]) for space in spaces]


def _try(course: Course, candidates: Sequence[Candidate]) -> Strategy[None]:
    """Run the candidates not tried before on the tuning seeds."""
    new = [candidate for candidate in candidates if candidate not in course.trials]
    if not new:
        return
    jobs = [_job(course, candidate, seed) for candidate in new for seed in TUNING_SEEDS]
    outcomes = yield from outcomes_of(jobs, EQUAL, lambda: "tuning")
    count = len(TUNING_SEEDS)
    for k, candidate in enumerate(new):
        for seed, outcome in zip(TUNING_SEEDS, outcomes[k * count : (k + 1) * count], strict=True):
            course.screened(candidate, seed, outcome)


def _best(course: Course, candidates: Sequence[Candidate]) -> Candidate:
    return min(candidates, key=lambda c: rank(course, c, [*course.trials.get(c, {}).values()]))


def rank(course: Course, candidate: Candidate, outcomes: Sequence[Outcome]) -> tuple[int, float, float, float]:
    """Sort key, best first: fewest runs without a value, best mean value, lowest mean loss, lowest rate."""
    scale = course.question.scale
    values = [(course.validation(candidate, o), o.loss) for o in outcomes]
    kept = [(v, math.inf if loss is None else loss) for v, loss in values if v is not None]
    lost = len(values) - len(kept)
    if not kept:
        return lost, 0.0, 0.0, candidate.lr
    value, loss = np.mean(kept, axis=0).tolist()
    return lost, -scale.sign * value, loss, candidate.lr
