"""Screening: choose the candidates for the race, with few runs on separate seeds, by one rule for all optimizers.

Every rate of every grid gets one seed, and grids grow together while a best rate is at an edge. The other axes are searched at
the best rate. The better half of each space gets two more seeds; the best candidate of each space races, and so do all others
within the margin of the leader.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence

from ..training.recorder import Outcome, marks
from . import statistics as st
from .axes import Axis, grow
from .budget import EARLY, TUNING_SEEDS, Carried, Grows, Refined, followed
from .course import Contender, Course
from .protocol import Job, StoppedError, Strategy, wanted
from .refine import Change, apply, changes, leaders
from .search import FOLLOWED as FOLLOWED_POINTS
from .search import HALF, KEPT, SAMPLED, SURVIVORS, points, sample
from .space import Candidate, Space

MOST_GROWN = 6  # values added to a grid whose best value is at an edge
MOST_GROWN_IN_TIME = 18  # values added while half of the budget is left: six more decades
ROUNDS = 4  # changes that a leader can get in a refinement
RACED = 2 * st.LEAST_PAIRS  # runs of each candidate that there must be time for in the race, for a bound that says something
FOLLOWED = 3  # changes of a round that are tried on more seeds
REFINING_SEEDS = (*TUNING_SEEDS, *range(TUNING_SEEDS[-1] + 1, TUNING_SEEDS[-1] + 10))  # for these, if there is time
LEAST_TO_GROW = 3  # least values of a grid that grows: one or two have no inside


def screened(course: Course) -> Strategy[list[Contender]]:
    """The candidates of the race, ordered by label and rate."""
    spaces = course.question.spaces
    single = [space.at(space.rates[0]) for space in spaces if space.rates is not None and len(space.rates) == 1]
    plain = [candidate for candidate in single if not candidate.space.others]
    several = [space for space in spaces if space not in [candidate.space for candidate in plain]]
    yield from _rates(course, several)
    for space in several:
        for axis in space.others:
            yield from _along(course, space, axis)
    if course.early:
        best = course.best_rates([c for space in several for c in course.tried(space)])[:2]
        return _in_order([*plain, *best])
    halves = yield from _halved(course, several)
    halves += yield from _refined(course, halves)
    chosen = course.best_rates(halves)
    while beyond := (yield from _beyond(course, chosen)):
        yield from screen(course, beyond, TUNING_SEEDS)
        halves += [c for c in beyond if course.merit(c) > -math.inf]
        chosen = course.best_rates(halves)
    chosen = sorted(chosen, key=lambda c: -course.merit(c))
    going_on = yield from _carried(course, "race", RACED)
    return _in_order([*plain, *chosen[:going_on]])


def searched(course: Course) -> Strategy[list[Contender]]:
    """The candidates of the race, of points drawn at random."""
    groups: dict[str, list[Space]] = {}
    for space in course.question.spaces:
        groups.setdefault(space.name, []).append(space)
    drawn = [points(spaces, course.question.search, course.question.trials) for spaces in groups.values()]
    kept = drawn
    if course.question.any_length and course.question.steps >= HALF:
        kept = yield from _shortened(course, drawn)
    yield from screen(course, [c for own in kept for c in own] + course.sampled, TUNING_SEEDS[:1])
    followed = []
    for own in drawn:
        tried = sorted((c for c in own if c in course.trials and course.merit(c) > -math.inf), key=lambda c: -course.merit(c))
        followed += tried[: max(len(own) // FOLLOWED_POINTS, SURVIVORS)]
    yield from screen(course, followed, TUNING_SEEDS)
    order = sorted((c for c in followed if course.merit(c) > -math.inf), key=lambda c: -course.merit(c))
    firsts = [c for c in order if [one.space.name for one in order[: order.index(c)]].count(c.space.name) < SURVIVORS]
    margin = course.question.margin_of([course.merit(order[0])]) if order else 0.0
    chosen = [c for c in order if c in firsts or course.merit(c) >= course.merit(order[0]) - margin]
    going_on = yield from _carried(course, "race", RACED)
    return _in_order(chosen[:going_on])


def _shortened(course: Course, drawn: Sequence[Sequence[Candidate]]) -> Strategy[list[list[Candidate]]]:
    """Train all points for half of the steps; return those of each optimizer that go on, and sample a few of the others."""
    every = [c for own in drawn for c in own]
    jobs = [Job(c, TUNING_SEEDS[0], c.steps(course.question.steps // HALF)) for c in every]
    try:
        outcomes: Sequence[Outcome | None] = yield from wanted(jobs, why=course.words)
    except StoppedError as stop:
        course.short = {c: outcome for c, outcome in zip(every, stop.outcomes, strict=True) if outcome is not None}
        raise
    course.short = {c: outcome for c, outcome in zip(every, outcomes, strict=True) if outcome is not None}
    kept = [sorted(own, key=lambda c: -course.short_merit(c))[: max(len(own) // KEPT, SURVIVORS)] for own in drawn]
    going_on = {c for own in kept for c in own}
    course.sampled = sample([c for c in every if c not in going_on], SAMPLED)
    return kept


def _in_order(candidates: Sequence[Candidate]) -> list[Contender]:
    return [Contender(c) for c in sorted(candidates, key=lambda c: (c.label, c.lr, c.order))]


def screen(course: Course, candidates: Sequence[Candidate], seeds: Sequence[int]) -> Strategy[None]:
    """Run the candidates on those of the seeds that they have not run on."""
    missing = [(c, seed) for c in candidates for seed in seeds if seed not in course.trials.get(c, ())]
    if not missing:
        return
    try:
        outcomes = yield from wanted((_job(course, c, seed) for c, seed in missing), why=course.words)
    except StoppedError as stop:
        _record(course, missing, stop.outcomes)
        raise
    _record(course, missing, outcomes)


def _record(course: Course, ran: Sequence[tuple[Candidate, int]], outcomes: Sequence[Outcome | None]) -> None:
    for (candidate, seed), outcome in zip(ran, outcomes, strict=True):
        if outcome is not None:
            course.screened(candidate, seed, outcome)


def _job(course: Course, candidate: Candidate, seed: int) -> Job:
    """A screening run; a shortened one ends at the first evaluation after the share `EARLY` of its steps."""
    length = candidate.steps(course.question.steps)
    until = min(k for k in marks(length) if k >= EARLY * length) if course.early else 0
    return Job(candidate, seed, length, until)


def _rates(course: Course, spaces: Sequence[Space]) -> Strategy[None]:
    """Run every rate on the first seed. Searched grids grow together while a best rate is at an edge."""
    trials = course.question.trials
    searched = [space for space in spaces if space.rates is None]
    grids = [space.rate.first(trials) for space in searched]
    first = [c for space in spaces for c in _candidates(space, space.rates or space.rate.values(space.rate.first(trials)))]
    yield from screen(course, first, TUNING_SEEDS[:1])
    while searched:
        best = [_best(course, space, grid) for space, grid in zip(searched, grids, strict=True)]
        grown = grown_together(searched, grids, best, trials + MOST_GROWN) if course.grows else None
        if grown is None:
            grown = grown_together(searched, grids, best, trials + MOST_GROWN_IN_TIME)
            if grown is None or not (yield from _grows(course, grown, len(grids[0]))):
                return
        grids = grown
        more = [c for space, grid in zip(searched, grids, strict=True) for c in _candidates(space, space.rate.values(grid))]
        yield from screen(course, more, TUNING_SEEDS[:1])


def _candidates(space: Space, rates: Sequence[float]) -> list[Candidate]:
    return [space.at(lr) for lr in rates]


def _best(course: Course, space: Space, grid: range) -> int:
    """The index of the best rate of a grid; the middle if all rates are equally good, as by a measure of memory."""
    merits = {k: course.merit(space.at(space.rate.value(k))) for k in grid}
    alike = len({*merits.values()}) == 1 and merits[grid[0]] > -math.inf
    return grid[len(grid) // 2] if alike else max(grid, key=lambda k: merits[k])


def grown_together(spaces: Sequence[Space], grids: Sequence[range], best: Sequence[int], most: int) -> list[range] | None:
    """All grids extended if the best index of any is at its edge; None if none is, or they would exceed `most` values."""
    inside = all(grid[0] < k < grid[-1] for grid, k in zip(grids, best, strict=True))
    if inside or len(grids[0]) + spaces[0].rate.growth > most:
        return None
    grown = [grow(space.rate, grid, k) for space, grid, k in zip(spaces, grids, best, strict=True)]
    return None if grown == [*grids] else grown


def _along(course: Course, space: Space, axis: Axis) -> Strategy[None]:
    """Run the values of an axis on the first seed, around the space's best candidate so far; the grid grows at its edges."""
    centre = max(course.tried(space), key=course.merit)
    grid = axis.first(course.question.trials)
    while True:
        values = axis.values(grid)
        yield from screen(course, [centre.moved(axis.name, value) for value in values], TUNING_SEEDS[:1])
        best = max(grid, key=lambda k: course.merit(centre.moved(axis.name, axis.value(k))))
        grown = grow(axis, grid, best)
        if grid[0] < best < grid[-1] or len(grown) > course.question.trials + MOST_GROWN or grown == grid:
            return
        if not (yield from _grows(course, [grown], len(grid))):
            return
        grid = grown


def _halved(course: Course, spaces: Sequence[Space]) -> Strategy[list[Candidate]]:
    """Run the better half of each space's candidates on the other screening seeds, and return them."""
    tried = max((len(course.tried(space)) for space in spaces), default=1)
    leading = sorted(spaces, key=lambda space: -max(map(course.merit, course.tried(space))))
    halves: list[Candidate] = []
    going_on = yield from _carried(course, "screening", 2 * followed(tried) + st.LEAST_PAIRS)
    for space in leading[:going_on]:
        candidates = sorted(course.tried(space), key=course.merit, reverse=True)
        halves += [c for c in candidates[: followed(len(candidates))] if course.merit(c) > -math.inf]
    yield from screen(course, halves, TUNING_SEEDS[1:])
    return halves


def _refined(course: Course, screened: Sequence[Candidate]) -> Strategy[list[Candidate]]:
    """The refined leaders, each better on the screening seeds than the candidate that it came from."""
    found = []
    for place, leader in enumerate(leaders(course, screened)):
        best, moves = leader, [*changes(leader)]
        for turn in range(ROUNDS):
            allowed = yield from _allowed(course, f"{leader} {turn}")
            if allowed < (len(moves) if place else len(moves) // 2):
                break
            better = yield from _changed(course, best, moves, allowed)
            if better is best:
                break
            best = better
        if best is not leader:
            found.append(best)
    return found


def _allowed(course: Course, stage: str) -> Strategy[int]:
    """How many runs there is time for in a round of a refinement."""
    if course.question.budget is None:
        return sys.maxsize
    return int((yield Refined(course.question, stage)))


def _changed(course: Course, best: Candidate, moves: Sequence[Change], allowed: int) -> Strategy[Candidate]:
    """The best candidate after one more change, or the one before if none is better, with about `allowed` runs.

    All changes are tried on few seeds, and those that did best there on more.
    """
    tried = [move for move in (apply(best, move) for move in moves) if move is not None and move != best][:allowed]
    seeds = TUNING_SEEDS[: 1 if allowed < 2 * len(TUNING_SEEDS) * len(tried) else None]
    yield from screen(course, tried, seeds)
    kept = [best, *sorted(tried, key=lambda c: -course.merit_on(c, seeds))[:FOLLOWED]]
    spent = len(seeds) * len(tried)
    for more in (TUNING_SEEDS, REFINING_SEEDS):
        cost = len(kept) * (len(more) - len(seeds))
        if spent + cost <= allowed:
            yield from screen(course, kept, more)
            seeds, spent = more, spent + cost
    return max(kept, key=lambda c: course.merit_on(c, seeds))


def _beyond(course: Course, chosen: Sequence[Candidate]) -> Strategy[list[Candidate]]:
    """Candidates beyond the edge of a grid, where a space's best rate is at the edge and within the margin of the leader.

    Only the first such space is extended, and only while half of the budget is left; otherwise the list is empty.
    """
    best: dict[Space, Candidate] = {}
    for candidate in sorted(chosen, key=lambda c: -course.merit(c)):
        best.setdefault(candidate.space, candidate)
    leader = max(map(course.merit, best.values()), default=0.0)
    near = [c for c in best.values() if course.merit(c) >= leader - course.question.margin_of([leader])]
    for candidate in near:
        axis = candidate.space.rate
        rates = sorted(c.lr for c in course.tried(candidate.space) if c.settings == candidate.settings)
        if axis.typed is not None or candidate.lr not in (rates[0], rates[-1]):
            continue
        edge = axis.index(candidate.lr)
        below = range(edge - axis.growth, edge)
        grid = axis.within(below if candidate.lr == rates[0] else range(edge + 1, edge + 1 + axis.growth))
        if grid and len(rates) < MOST_GROWN_IN_TIME and (yield from _grows(course, [grid], len(rates))):
            return [dataclasses.replace(candidate, lr=axis.value(k)) for k in grid]
    return []


def _grows(course: Course, grids: Sequence[range], tried: int) -> Strategy[bool]:
    """Whether grids with `tried` values may grow: always without a budget, unless they are too short to have an inside."""
    if tried < LEAST_TO_GROW:
        return False
    if course.question.budget is None:
        return True
    growth = course.question.spaces[0].rate.growth
    return bool((yield Grows(course.question, tuple(grids), growth * len(grids), course.early)))


def _carried(course: Course, stage: str, each: int) -> Strategy[int]:
    """How many candidates advance to a stage of `each` runs per candidate."""
    if course.question.budget is None:
        return sys.maxsize
    return int((yield Carried(course.question, stage, each)))
