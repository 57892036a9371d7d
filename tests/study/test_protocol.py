"""The protocol: strategies are pure functions of the history. One suite that every strategy must pass."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from steepest.study import protocol
from steepest.study.budget import TUNING_SEEDS, Clock, Costs
from steepest.study.conclude import conclude
from steepest.study.equal import equal
from steepest.study.protocol import AFTER, RACE, Asking, Decision, History, Job, Stop
from steepest.study.race import FRESH_SEEDS, race
from steepest.study.table import UNTIMED, replay
from tests.study.tables import LOSS, POINTS, asked, made

CASES = {
    "race": (race, {}),
    "race under a budget": (race, {"budget": 300.0}),
    "race to a loss": (race, {"scale": LOSS}),
    "equal seeds": (equal, {"seeds": 6}),
}


def walked(strategy, question, table, clock=UNTIMED):
    """Yield every step of a strategy until it stops, with the history before it."""
    clock = dataclasses.replace(clock, left=1000.0, run=0.1, costs={s.label: (1.0, 8) for s in question.spaces})
    outcomes = {}
    history, asking = History(outcomes), Asking(strategy(question))
    steps = []
    while not isinstance(step := asking.ask(history), Stop):
        steps.append((step, dict(outcomes), dict(history.decisions), dict(history.over)))
        if isinstance(step, Decision):
            history.decisions[step] = step.decide(clock)
        else:
            found = {job: table.get(job) for job in step.jobs}
            outcomes |= {job: o for job, o in found.items() if o is not None}
            if None in found.values():
                history.over[step.phase] = False
    return steps, step.result


@pytest.fixture(params=CASES)
def case(request):
    strategy, fields = CASES[request.param]
    table = made()
    return strategy, asked(table, **({"scale": POINTS} | fields)), table


def test_what_is_asked_depends_on_the_history_alone(case):
    """A strategy restarted on a history requests the same as the one in progress, so it stores nothing else."""
    strategy, question, table = case
    steps, _ = walked(strategy, question, table)
    assert len(steps) > 3
    for step, outcomes, decisions, over in steps:
        anew = protocol.ask(strategy(question), History(outcomes, decisions, over))
        assert type(anew) is type(step)
        assert (anew.jobs if hasattr(step, "jobs") else anew) == (step.jobs if hasattr(step, "jobs") else step)


def test_no_run_is_asked_for_twice_and_none_outside_the_spaces(case):
    strategy, question, table = case
    steps, course = walked(strategy, question, table)
    jobs = [job for step, *_ in steps if not isinstance(step, Decision) for job in step.jobs]
    assert len(jobs) == len(set(jobs)) > 20
    assert {job.candidate.space for job in jobs} <= set(question.spaces)
    assert course.now is not None


def test_screening_race_and_fresh_seeds_are_apart(case):
    strategy, question, table = case
    steps, _ = walked(strategy, question, table)
    seeds = {job.seed for step, *_ in steps if not isinstance(step, Decision) for job in step.jobs}
    assert seeds - set(TUNING_SEEDS) - set(FRESH_SEEDS) == set(range(len(seeds - set(TUNING_SEEDS) - set(FRESH_SEEDS))))
    assert set(TUNING_SEEDS) <= seeds


def test_where_nothing_is_known_when_the_clock_ends_nothing_is_picked(case):
    strategy, question, _ = case
    if strategy is equal:  # which no clock ends
        strategy, question = race, dataclasses.replace(question, seeds=0)
    clock = Clock(left=1000.0, run=0.1, costs={s.label: (1.0, 8) for s in question.spaces})
    history, asking = History({}, over={RACE: False, AFTER: False}), Asking(strategy(question))
    while not isinstance(step := asking.ask(history), Stop):
        history.decisions[step] = step.decide(clock)
    found = conclude(step.result)
    assert found.pick is None
    assert found.sentence.startswith("Nothing was tried")


@given(after=some.integers(1, 400))
def test_a_race_that_was_stopped_goes_on_where_it_was(after):
    """Its requests after so many runs are those of the whole race."""
    table = made(columns=60)
    question = asked(table, margin=1.0)
    steps, whole = walked(race, question, table)
    order = list(dict.fromkeys(job for step, *_ in steps if not isinstance(step, Decision) for job in step.jobs))
    known = {job: table.get(job) for job in order[:after] if table.get(job) is not None}
    costs = {s.label: (1.0, 8) for s in question.spaces}
    history, asking = History(known), Asking(race(question))
    while not isinstance(step := asking.ask(history), Stop):
        if isinstance(step, Decision):
            history.decisions[step] = step.decide(dataclasses.replace(UNTIMED, left=1000.0, costs=costs))
            continue
        for job in step.jobs:
            outcome = table.get(job)
            if outcome is None:
                history.over[step.phase] = False
                break
            known[job] = outcome
    assert conclude(step.result) == conclude(whole)


def test_a_question_of_several_seeds_asks_for_as_many_of_each():
    table = made("sgd,adam,adamw")
    course = replay(asked(table, seeds=7), table, strategy=equal)
    assert course.seeds == (7, 7, 7)
    assert course.costs


def test_decisions_are_data(case):
    """Each decision can be stored under its spec, and decided from a clock alone."""
    strategy, question, table = case
    for step, *_ in walked(strategy, question, table)[0]:
        if isinstance(step, Decision) and not isinstance(step, Costs):
            assert step == dataclasses.replace(step)
            assert hash(step) == hash(dataclasses.replace(step))
            assert step.decide(dataclasses.replace(UNTIMED, left=50.0, run=0.1, pace=2.0)) is not None


def test_a_job_is_known_by_its_candidate_and_seed():
    table = made()
    one, other = table.spaces[0].at(0.1), table.spaces[0].at(0.1)
    assert one == other
    assert Job(one, 0, 10) == Job(other, 0, 10)
    assert len({Job(one, 0, 10), Job(other, 0, 10), Job(one, 1, 10), Job(one, 0, 10, test=True)}) == 3


def test_the_bound_of_a_replay_is_that_of_its_values():
    table = made(columns=40)
    course = replay(asked(table, margin=0.3), table)
    pick = course.contenders[course.now.pick]
    row = table.recorded[table.rows[pick.candidate.label, pick.lr]]
    np.testing.assert_array_equal(pick.values, row[3 : 3 + len(pick.values)])
    assert math.isfinite(course.now.bound[course.now.pick])
