"""The race: find which candidate to pick and how far behind the best it could be, with as few runs as possible.

Candidates are screened on separate seeds; the best of each space then race on common seeds, until no other could be better
than the pick by more than the margin. The next runs depend only on results; a deadline can only end the race.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from ..training.recorder import Outcome
from . import bounds
from . import statistics as st
from .budget import LEAST_SHARED, LONGER, AtOnce, Begun, Costs, Ended, Fit, Later, Number, Parallel
from .course import Contender, Course
from .protocol import AFTER, RACE, Job, Known, StoppedError, Strategy, wanted
from .question import Question
from .screen import screened, searched
from .space import Candidate

MOST_SEEDS = 2_000  # limit on the seeds of a contender, in a race without a budget
HOPELESS = 20  # limit on the seeds if there is still no bound, as nearly all runs collapse
FRESH_SEEDS = range(2_000_000, 2_000_005)  # seeds for the figure of the pick and for longer runs, not used for any choice
MORE_RUNS = 0.1  # runs of rates next to the pick's, as a share of all runs before
NEXT_TO = "the rates next to the pick's"
MOST_NEARBY = 20  # most seeds of such a rate


def race(question: Question) -> Strategy[Course]:
    """Screen, race, and measure the pick and what is near it again."""
    course = Course(question)
    if question.budget is not None:
        yield from _fit(course)
    if question.scale.measure:
        course.costs = yield Costs(course.question)
    course.question = dataclasses.replace(course.question, alpha=(yield Begun(course.question)))
    surrounded = False  # whether the rates next to the pick's were run
    try:
        course.contenders = yield from (searched if question.search else screened)(course)
        course.stopped = yield from raced(course)
        while (yield from _nearby(course, RACE)):
            course.stopped = ""
            course.stopped = yield from raced(course)
        surrounded = True
    except StoppedError as stop:
        course.stopped, course.interrupted = course.stopped or "time", stop.interrupted
        yield from _gather(course)
    yield Ended(course.question, course.seeds)
    if not course.interrupted:
        yield from _fresh(course)
    if not (surrounded or course.interrupted):
        yield from _nearby(course, AFTER)
    course.parallel = yield Parallel(course.question, course.seeds)
    if course.stopped == "margin" and not course.interrupted and course.question.any_length:
        yield from _longer(course)
    course.costs = yield Costs(course.question)
    course.number = yield Number(course.question)
    return course


def _fit(course: Course) -> Strategy[None]:
    """Drop the spaces and rates for which the budget has no time."""
    question = course.question
    fits = yield Fit(question)
    chosen = tuple(space for space in question.spaces if space.label in fits.labels)
    course.early, course.fits = fits.early, fits.words
    course.grows = not fits.early and len(chosen) == len(question.spaces) and fits.trials == question.trials
    course.question = dataclasses.replace(question, spaces=chosen, trials=fits.trials)


def raced(course: Course) -> Strategy[str]:
    """Race until the bound of the pick is within the margin, and return "margin", or "time" if more seeds would not help."""
    contenders = course.contenders
    if not contenders:
        return "time"
    going_on, target = list(range(len(contenders))), LEAST_SHARED if course.early else st.LEAST_PAIRS
    if course.early:  # one run of each comes first, whatever ends the race
        firsts = yield from wanted([_job(course, one.candidate, 0) for one in contenders], why=course.words)
        for one, outcome in zip(contenders, firsts, strict=True):
            course.add(one, [outcome])
    while True:
        turns = [(k, seed) for seed in range(target) for k in going_on if seed >= len(contenders[k].outcomes)]
        jobs = [_job(course, contenders[k].candidate, seed) for k, seed in turns]
        outcomes = yield from wanted(jobs, why=course.words)
        for (k, _), outcome in zip(turns, outcomes, strict=True):
            course.add(contenders[k], [outcome])
        now = course.look()
        if course.early:
            yield from _next(course)
            now = course.now or now  # with the next rate, if that joined
        least = yield AtOnce(course.question, course.seeds)
        following = bounds.following(now, course.margin(), least)
        if following is None:
            return "margin"
        if target >= (MOST_SEEDS if math.isfinite(now.bound[now.pick]) else HOPELESS):
            return "time"
        going_on, target = following


def _job(course: Course, candidate: Candidate, seed: int) -> Job:
    """A full run on a seed of the race."""
    return Job(candidate, seed, candidate.steps(course.question.steps), examples=True)


def _gather(course: Course) -> Strategy[None]:
    """If the time was up before there was a bound, use the runs that had ended, consecutive seeds from the first."""
    if course.now and math.isfinite(course.now.bound[course.now.pick]):
        return
    for one in course.contenders:
        seeds = range(len(one.outcomes), st.LEAST_PAIRS)
        known = yield Known(tuple(_job(course, one.candidate, seed) for seed in seeds))
        course.add(one, itertools.takewhile(lambda outcome: outcome is not None, known))
    if any(one.outcomes for one in course.contenders):
        course.look()


def _after(course: Course, jobs: Sequence[Job], why: str) -> Strategy[list[Outcome]]:
    """The outcomes of runs after the race; if the time is up, those from the first to the last before a missing one."""
    try:
        return (yield from wanted(jobs, AFTER, lambda: why))
    except StoppedError as stop:
        course.interrupted = stop.interrupted
        missing = stop.outcomes.index(None)
        return [outcome for outcome in stop.outcomes[:missing] if outcome]


def _fresh(course: Course) -> Strategy[None]:
    """Measure the pick on fresh seeds: on test data, or on validation data if there are none."""
    pick = course.pick
    if pick is None:
        return
    scale = course.question.scale
    test, length = scale.split == "test" or scale.may_test, pick.candidate.steps(course.question.steps)
    jobs = [Job(pick.candidate, seed, length, test=test) for seed in FRESH_SEEDS]
    course.figure = yield from _after(course, jobs, "the pick on fresh seeds")


def _next(course: Course) -> Strategy[None]:
    """Run the rate above the pick's once at full length, as screening shortened its run; it joins the race if it is better."""
    pick = course.pick
    above = course.next_to(pick.candidate, 1) if pick else None
    if above is not None and not course.runs_on(above):
        course.nearby[above] = yield from wanted([_job(course, above, 0)], why=lambda: "the next higher rate")
        _join(course, above)


def _nearby(course: Course, phase: str) -> Strategy[bool]:
    """Run the rates next to the pick's on seeds on which it raced: the higher one always, the lower one if few runs do it.

    These seeds chose the pick, which can only flatter it, and so only raises what the other rates seem to cost. One that is
    better nevertheless joins the race; returns whether one did.
    """
    pick, joined = course.pick, False
    if pick is None or not pick.outcomes:
        return False
    spare = max(int(MORE_RUNS * course.ran), 1)
    for direction in (1, -1):
        other = course.next_to(pick.candidate, direction)
        most = min(len(pick.outcomes), MOST_NEARBY, spare if direction < 0 else max(spare // 2, 1))
        if other is None or (direction < 0 and most < st.LEAST_PAIRS):
            continue
        have = course.runs_on(other)
        jobs = [_job(course, other, seed) for seed in range(len(have), most)]
        try:
            outcomes = yield from wanted(jobs, phase, lambda: NEXT_TO)
        except StoppedError as stop:
            missing = stop.outcomes.index(None)
            course.nearby[other] = [*have, *(outcome for outcome in stop.outcomes[:missing] if outcome)]
            if phase == RACE:
                raise
            course.interrupted = stop.interrupted
            return False
        course.nearby[other] = [*have, *outcomes]
        spare -= len(jobs)
        joined |= phase == RACE and _join(course, other)
    return joined


def _join(course: Course, candidate: Candidate) -> bool:
    """Add a candidate that was run next to the pick to the race, if it is better on the seeds that both have."""
    pick, runs = course.pick, course.nearby[candidate]
    if pick is None or candidate in [one.candidate for one in course.contenders]:
        return False
    gaps = [b - a for a, b in zip(pick.values, course.values_of(candidate, runs), strict=False)]
    if not gaps or not sum(gaps) > 0:  # nor with a collapsed run, whose value is NaN
        return False
    course.contenders.append(Contender(candidate))
    course.add(course.contenders[-1], runs)
    course.look()
    return True


def _longer(course: Course) -> Strategy[None]:
    """Run the pick and the rival with the best mean for several times the steps, if there is time."""
    pick, rival = course.pick, course.rival()
    if pick is None or rival is None:
        return
    steps = LONGER * course.question.steps
    jobs = tuple(Job(one.candidate, seed, one.candidate.steps(steps)) for seed in FRESH_SEEDS for one in (pick, rival))
    if (yield Later(course.question, course.seeds, jobs, LONGER * len(jobs) * course.seconds_per_run())):
        course.longer = rival, (yield from _after(course, jobs, "the first two for more steps"))
