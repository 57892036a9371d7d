"""Compute the answer from the course of a study, with pure functions of the runs that ended."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..training.recorder import Outcome
from . import bounds, sentences
from . import statistics as st
from .answer import (
    Answer,
    AxisRange,
    Cheaper,
    Collapse,
    Longer,
    Mean,
    Measured,
    Named,
    Place,
    Possible,
    Rejected,
)
from .bounds import Standing
from .budget import LONGER
from .course import Contender, Course
from .measures import MEASURES, METRIC, Measure
from .race import LONGER_SEEDS
from .scalars import finite
from .space import RATE, Candidate


def conclude(course: Course, repeats: bool | None = None) -> Answer:
    """The answer of a study. `repeats`: whether two runs with one seed agree, None if not tested."""
    question, now, pick = course.question, course.now, course.pick
    margin, possible = course.margin(), course.possible()
    bound = finite(float(now.bound[now.pick])) if now and pick and len(course.contenders) > 1 else None
    new_data, by_examples = _on_new_examples(course, bound) if bound is not None and not question.seeds else (None, 0.0)
    limit = course.stopped
    if limit == "margin" and by_examples > 0.5 and (new_data or 0.0) > margin:
        limit = "examples"
    runs = runs_to_margin(now, margin) if now and limit == "time" else None
    outcomes = pick.outcomes if pick else []
    seen, racing = sum(map(course.collapsed, outcomes)), {one.candidate for one in course.contenders}
    open_ = {one for one, _ in possible}
    made = Answer(
        pick=named(pick.candidate) if pick else None,
        hyper={k: v for k, v in pick.candidate.rule.hyper.items() if k != RATE} if pick else {},
        bound=bound,
        bound_new_data=new_data,
        confidence=1 - st.ALPHA,
        compared=len(course.contenders) if bound is not None else max(len(course.trials), len(course.contenders)),
        possible=[_possible(one, ahead) for one, ahead in sorted(possible, key=lambda pair: -pair[1])],
        ruled_out=[named(one.candidate) for k in course.others() if (one := course.contenders[k]) not in open_],
        rejected=_rejected(course),
        not_followed=len(set(course.trials) - racing) if now and not question.seeds else 0,
        limit=limit,
        margin=margin,
        seconds_to_margin=None if runs is None else float(runs * course.seconds_per_run()),
        collapse=Collapse(
            seen=seen, of=len(outcomes), at_most=bounds.most_collapses(seen, len(outcomes)) if outcomes else None
        ),
        beside=_beside(course, pick),
        figure=_figure(course, pick),
        question=course.number,
        raced=not question.seeds,
        unit=question.scale.unit,
        steps=question.steps,
        places=_places(course),
        looks=course.looks,
        fidelity=_fidelity(course, pick),
        screened=_screened_at(course, pick),
        repeats=repeats,
        axes=_axes(course, pick) if pick else [],
        cheaper=_cheaper(course, pick, margin),
        longer=_longer(course),
        saturated=question.scale.in_points and max(map(course.mean, course.contenders), default=-math.inf) >= 100 - 1e-9,
        examples=question.scale.examples,
        typed=all(space.rates is not None for space in question.spaces),
        lost=_lost(course),
    )
    return dataclasses.replace(made, sentence=sentences.sentence(made), details=sentences.details(made))


def named(candidate: Candidate) -> Named:
    """The name of a candidate."""
    return Named(**_names(candidate))


def _names(candidate: Candidate) -> dict[str, Any]:
    space = candidate.space
    names: dict[str, Any] = {"name": space.name, "schedule": space.schedule, "lr": candidate.lr, "label": space.label}
    return names | {"settings": dict(candidate.settings)}


def _possible(one: Contender, ahead: float) -> Possible:
    return Possible(**_names(one.candidate), ahead_at_most=finite(ahead))


def _on_new_examples(course: Course, bound: float) -> tuple[float | None, float]:
    """The bound on new examples, None if single examples were not recorded, and the examples' share of its variance."""
    results, now, others = _results(course), course.now, course.others()
    if results is None or now is None:
        return None, 0.0
    look = max(len(bounds.looks(int(now.seeds[now.pick]))) - 1, 0)
    level = course.question.alpha * bounds.spent(look) / max(len(others), 1)
    ahead = bounds.on_new_examples(results, now.pick, level)
    new_data = max(float(ahead.max()), bound) if np.isfinite(ahead).all() else None
    close = max(others, key=lambda k: now.ahead[k, now.pick])
    n = min(len(results[close]), len(results[now.pick]))
    return new_data, bounds.share_of_examples(results[close][:n] - results[now.pick][:n]) if n > 1 else 0.0


def _results(course: Course) -> list[np.ndarray] | None:
    """The metric of each example in each contender's runs, (seeds, examples), larger being better; None if not recorded."""
    if course.question.scale.measure:
        return None
    tables = []
    for one in course.contenders:
        each = [o.examples for o in one.outcomes]
        if not each or any(x is None for x in each):
            return None
        tables.append(course.question.scale.sign * np.array(each, float))
    widths = {table.shape[1] for table in tables}
    return tables if len(widths) == 1 and widths.pop() > 1 else None  # one example allows no bound on new ones


def _rejected(course: Course) -> list[Rejected]:
    """Candidates at least half of whose runs diverged or learned nothing."""
    rejected = []
    for space in course.question.spaces:
        racing = {one.candidate: one for one in course.contenders if one.candidate.space is space}
        for candidate in sorted({*course.tried(space), *racing}, key=lambda c: (c.lr, c.settings)):
            outcomes = [*course.trials.get(candidate, {}).values()]
            outcomes += racing[candidate].outcomes if candidate in racing else []
            bad = sum(map(course.collapsed, outcomes))
            if outcomes and 2 * bad >= len(outcomes):
                rejected.append(Rejected(**_names(candidate), collapsed=bad, of=len(outcomes)))
    return rejected


def _figure(course: Course, pick: Contender | None) -> Mean | None:
    """The mean of the pick on fresh seeds; None if there are none."""
    if pick is None:
        return None
    split = course.question.scale.split
    values = [course.question.scale.value(o, split, course.cost(pick.candidate)) for o in course.figure]
    mean, se, n = st.mean_se([v for v in values if v is not None])
    return Mean(mean=mean.item(), se=se.item() if n > 1 else None, n=int(n), split=split) if n else None


def _places(course: Course) -> list[Place]:
    """The standings of the contenders: the pick first, then by their upper bounds."""
    now, places = course.now, []
    if now is None:
        return []
    for k, one in enumerate(course.contenders):
        word = "pick" if k == now.pick else "possible" if now.possible[k] else "ruled out"
        behind = max(0.0, -float(now.ahead[k].min()))  # also a lower bound on how far behind the best it is
        values = [v for o in one.outcomes if (v := course.validation(one.candidate, o)) is not None]
        places.append(
            Place(
                **_names(one.candidate),
                standing=word,  # type: ignore[arg-type]
                at_least=behind,
                at_most=finite(float(now.bound[k])),
                n=len(one.outcomes),
                mean=sum(values) / len(values) if values else None,
            )
        )
    return sorted(places, key=lambda place: (place.standing != "pick", place.at_most is None, place.at_most or 0.0))


def _axes(course: Course, pick: Contender) -> list[AxisRange]:
    """The values tried on each axis, and whether the pick is at their edge."""
    ranges, candidate = [], pick.candidate
    for axis in candidate.space.axes:
        at = candidate.lr if axis.name == RATE else dict(candidate.settings)[axis.name]
        along = [candidate, *course.tried(candidate.space)]
        tried = sorted({c.lr if axis.name == RATE else dict(c.settings)[axis.name] for c in along})
        edge = len(tried) > 1 and at in (tried[0], tried[-1]) and not (axis.zero and at == 0)
        ranges.append(AxisRange(name=axis.name, edge=edge, tried=[*tried]))
    return ranges


def fidelity_of(outcomes: Sequence[Outcome], steps: int) -> float | None:
    """The longest of these runs as a share of `steps`; 1 if all diverged, None without runs."""
    if not outcomes:
        return None
    ended = [o.curve.steps[-1] for o in outcomes if o.diverged_at is None and o.curve.steps]
    return max(ended) / steps if ended else 1.0


def _fidelity(course: Course, pick: Contender | None) -> float | None:
    """The share of a full run after which the pick was compared; None without a pick."""
    if pick is None or not pick.outcomes:
        return _screened_at(course, pick)
    return fidelity_of(pick.outcomes, pick.candidate.steps(course.question.steps))


def _screened_at(course: Course, pick: Contender | None) -> float | None:
    """The share of a full run after which the pick's screening runs ended; None if it was not screened."""
    outcomes = course.trials.get(pick.candidate) if pick else None
    return fidelity_of([*outcomes.values()], pick.candidate.steps(course.question.steps)) if pick and outcomes else None


def _lost(course: Course) -> str:
    """Why no run has a value: how many diverged or crashed, and what was not finite in the first; empty if a run has one."""
    outcomes = [*course.ended()]
    if not outcomes or any(o.valid is not None for o in outcomes):
        return ""
    return "; ".join(filter(None, (reasons(outcomes), first_why(outcomes))))


def reasons(outcomes: Sequence[Outcome]) -> str:
    """How many of these runs have no value, by kind: "2 of 6 runs diverged"; empty if all have one."""
    words = {"diverged": "runs diverged", "failed": "runs crashed", "no metric": "runs ended without a finite metric"}
    counts = {kind: sum(o.status == kind for o in outcomes) for kind in words}
    return "; ".join(f"{count} of {len(outcomes)} {words[kind]}" for kind, count in counts.items() if count)


def first_why(outcomes: Sequence[Outcome]) -> str:
    """The reason why the first run without a value has none."""
    return next((o.why for o in outcomes if o.why), "")


def _cheaper(course: Course, pick: Contender | None, margin: float) -> Cheaper | None:
    """The contender with the smallest state below the pick's, if it is at most four margins behind the best."""
    now = course.now
    if pick is None or now is None:
        return None

    def state(k: int) -> int:
        return course.cost(course.contenders[k].candidate).state_bytes

    own = course.cost(pick.candidate).state_bytes
    near = [k for k in range(len(course.contenders)) if state(k) < own and now.bound[k] <= 4 * margin]
    if not near:
        return None
    k = min(near, key=lambda k: (state(k), now.bound[k]))
    names = _names(course.contenders[k].candidate)
    return Cheaper(**names, at_most=float(now.bound[k]), state=state(k) / own)


def _beside(course: Course, pick: Contender | None) -> list[Measured]:
    """The best contender by each other measure, by its mean, if it beats the pick."""
    ran = [one for one in course.contenders if all(o.valid is not None for o in one.outcomes) and one.outcomes]
    if pick is None or pick not in ran:
        return []
    scale, fastest, beside = course.question.scale, min(_whole(course, one) for one in ran), []
    for measure in MEASURES.values():
        if not measure.beside or (measure.name == "validation loss" and scale.is_loss):
            continue
        direction = scale.direction if measure.direction == METRIC else measure.direction
        sign = -1.0 if direction == "max" else 1.0
        means = {one: _mean(course, measure, one, fastest) for one in ran}
        values = {one: math.inf if mean is None else sign * mean for one, mean in means.items()}
        best = min(ran, key=lambda one: values[one])
        if values[best] < values[pick]:
            words = measure.beside.format(seconds=fastest)
            own, other = (abs(int(v)) if measure.whole else abs(v) for v in (values[pick], values[best]))
            beside.append(Measured(**_names(best.candidate), measure=words, value=other, pick=own))
    return beside


def _whole(course: Course, one: Contender) -> float:
    """Seconds of a full run of a contender."""
    cost = course.cost(one.candidate)
    return cost.seconds * cost.steps


def _mean(course: Course, measure: Measure, one: Contender, fastest: float) -> float | None:
    """The mean of a measure over a contender's runs; None if a run has no value."""
    cost = dataclasses.replace(course.cost(one.candidate), fastest=fastest)
    values = [measure.of(outcome, cost) for outcome in one.outcomes]
    there = [v for v in values if v is not None]
    return float(np.mean(there)) if len(there) == len(values) else None


def _longer(course: Course) -> Longer | None:
    """The results of the first two at several times the steps."""
    if course.longer is None or course.pick is None:
        return None
    other, outcomes = course.longer
    runs = [Contender(one.candidate) for one in (course.pick, other)]
    for k, one in enumerate(runs):
        course.add(one, outcomes[k * len(LONGER_SEEDS) : (k + 1) * len(LONGER_SEEDS)])
    first, second = (np.array(one.values) for one in runs)
    steps, ahead = LONGER * course.question.steps, finite(float((first - second).mean()))
    return Longer(**_names(other.candidate), steps=steps, seeds=len(LONGER_SEEDS), ahead=ahead)


def runs_to_margin(now: Standing, margin: float) -> float | None:
    """An estimate of the runs until the bound is within the margin, as intervals shrink with the root of the seeds."""
    runs = 0.0
    for c in np.flatnonzero(now.possible & (now.ahead[:, now.pick] > margin)).tolist():
        if c == now.pick:
            continue
        ahead, back = now.ahead[c, now.pick], now.ahead[now.pick, c]
        if not (math.isfinite(ahead) and math.isfinite(back)):
            return None
        mean, half = (ahead - back) / 2, (ahead + back) / 2
        if mean >= margin:
            return None
        seeds = int(min(now.seeds[c], now.seeds[now.pick]))
        runs = max(runs, 0.0) + seeds * ((half / (margin - mean)) ** 2 - 1)
    return max(runs, 0.0)
