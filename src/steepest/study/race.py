"""The race: find which candidate to pick and how far behind the best it could be, with as few runs as possible.

Candidates are screened on separate seeds; the best of each space then race on common seeds, until no other could be better
than the pick by more than the margin. The next runs depend only on results; a deadline can only end the race.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

from . import bounds
from . import statistics as st
from .budget import LONGER, AtOnce, Begun, Costs, Ended, Fit, Later, Number
from .course import Contender, Course
from .protocol import AFTER, Job, Known, StoppedError, Strategy, wanted
from .question import Question
from .screen import screened

MOST_SEEDS = 2_000  # limit on the seeds of a contender, in a race without a budget
HOPELESS = 20  # limit on the seeds if there is still no bound, as nearly all runs collapse
FRESH_SEEDS = range(2_000_000, 2_000_005)  # seeds for the figure of the pick, not used for any choice
LONGER_SEEDS = range(3)


def race(question: Question) -> Strategy[Course]:
    """Screen, race, and measure the pick again on fresh seeds."""
    course = Course(question)
    if question.budget is not None:
        yield from _fit(course)
    if question.scale.measure:
        course.costs = yield Costs(course.question)
    course.question = dataclasses.replace(course.question, alpha=(yield Begun(course.question)))
    try:
        course.contenders = yield from screened(course)
        course.stopped = yield from raced(course)
    except StoppedError as stop:
        course.stopped, course.interrupted = "time", stop.interrupted
        yield from _gather(course)
    yield Ended(course.question, course.seeds)
    if not course.interrupted:
        yield from _fresh(course)
    course.costs = yield Costs(course.question)
    if course.stopped == "margin" and not course.interrupted:
        yield from _longer(course)
    course.number = yield Number(course.question)
    return course


def _fit(course: Course) -> Strategy[None]:
    """Drop the spaces and rates for which the budget has no time."""
    question = course.question
    fits = yield Fit(question)
    chosen = tuple(space for space in question.spaces if space.label in fits.labels)
    course.early, course.fits = fits.early, fits.words
    course.grows = fits.early or (len(chosen) == len(question.spaces) and fits.trials == question.trials)
    course.question = dataclasses.replace(question, spaces=chosen, trials=fits.trials)


def raced(course: Course) -> Strategy[str]:
    """Race until the bound of the pick is within the margin, and return "margin", or "time" if more seeds would not help."""
    contenders = course.contenders
    if not contenders:
        return "time"
    going_on, target = list(range(len(contenders))), 1 if course.early else st.LEAST_PAIRS
    while True:
        missing = [(contenders[k], range(len(contenders[k].outcomes), target)) for k in going_on]
        jobs = [job for one, seeds in missing for job in _jobs(course, one, seeds)]
        outcomes = iter((yield from wanted(jobs, why=course.words)))
        for one, seeds in missing:
            course.add(one, itertools.islice(outcomes, len(seeds)))
        now = course.look()
        least = yield AtOnce(course.question, course.seeds)
        following = bounds.following(now, course.margin(), least)
        if following is None:
            return "margin"
        if target >= (MOST_SEEDS if math.isfinite(now.bound[now.pick]) else HOPELESS):
            return "time"
        going_on, target = following


def _jobs(course: Course, one: Contender, seeds: range) -> list[Job]:
    """The jobs of a contender on these seeds."""
    length = one.candidate.steps(course.question.steps)
    return [Job(one.candidate, seed, length, examples=True) for seed in seeds]


def _gather(course: Course) -> Strategy[None]:
    """If the time was up before there was a bound, use the runs that had ended, consecutive seeds from the first."""
    if course.now and math.isfinite(course.now.bound[course.now.pick]):
        return
    for one in course.contenders:
        seeds = range(len(one.outcomes), st.LEAST_PAIRS)
        known = yield Known(tuple(_jobs(course, one, seeds)))
        course.add(one, itertools.takewhile(lambda outcome: outcome is not None, known))
    if any(one.outcomes for one in course.contenders):
        course.look()


def _fresh(course: Course) -> Strategy[None]:
    """Measure the pick on fresh seeds: on test data, or on validation data if there are none."""
    pick = course.pick
    if pick is None:
        return
    test = course.question.scale.split == "test"
    length = pick.candidate.steps(course.question.steps)
    try:
        jobs = (Job(pick.candidate, seed, length, test=test) for seed in FRESH_SEEDS)
        course.figure = yield from wanted(jobs, AFTER, lambda: "the pick on fresh seeds")
    except StoppedError as stop:
        course.figure = [outcome for outcome in stop.outcomes if outcome]
        course.interrupted = stop.interrupted


def _longer(course: Course) -> Strategy[None]:
    """Run the first two for several times the steps, if there is time."""
    pick, possible = course.pick, course.possible()
    if pick is None or not possible:
        return
    other = max(possible, key=lambda pair: pair[1])[0]
    steps = LONGER * course.question.steps
    jobs = tuple(Job(one.candidate, seed, one.candidate.steps(steps)) for one in (pick, other) for seed in LONGER_SEEDS)
    if not (yield Later(course.question, course.seeds, jobs, course.seconds_per_run())):
        return
    try:
        course.longer = other, (yield from wanted(jobs, AFTER, lambda: "the first two for more steps"))
    except StoppedError as stop:
        course.interrupted = stop.interrupted
