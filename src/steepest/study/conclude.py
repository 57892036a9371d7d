"""Compute the answer from the course of a study, with pure functions of the runs that ended."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

import numpy as np

from ..training.recorder import Outcome
from . import bounds, claims, fresh, luck, nearby, sentences
from . import statistics as st
from .answer import Against, Answer, Cheaper, Collapse, Longer, Measured, Named, Place, Possible, Rejected, Remaining, Screened
from .budget import LONGER
from .course import Contender, Course
from .measures import MEASURES, METRIC, Measure
from .scalars import finite
from .space import Candidate

MOSTLY = 0.75  # share of examples in the square of a half-width from which they limit it: more seeds would take an eighth off
CLOSE = 2.0  # margins by which the mean of a candidate is so far behind that it is not listed as possibly better


def conclude(course: Course, repeats: bool | None = None) -> Answer:
    """The answer of a study. `repeats`: whether two runs with one seed agree, None if not tested."""
    question, now, pick = course.question, course.now, course.pick
    margin, possible = course.margin(), course.possible()
    sound = [one for one in course.contenders if one is pick or not course.is_rejected(one.outcomes)]
    bound = finite(float(now.bound[now.pick])) if now and pick and len(sound) > 1 else None
    new = fresh.new_examples(course) if bound is not None and not question.seeds else fresh.NewExamples(None)
    new_data = None if new.bound is None else max(new.bound, bound or 0.0)
    limit = course.stopped
    if limit == "margin" and new.share > MOSTLY and (new_data or 0.0) > margin:
        limit = "examples"
    outcomes = pick.outcomes if pick else []
    seen, racing = sum(map(course.collapsed, outcomes)), {one.candidate for one in course.contenders}
    open_ = {one for one, _ in possible}
    remaining = _remaining(course, margin) if limit == "time" and not question.seeds else None
    cheaper = _cheaper(course, pick, margin)
    made = Answer(
        pick=named(pick.candidate) if pick else None,
        hyper=pick.candidate.hyper if pick else {},
        bound=bound,
        bound_new_data=new_data,
        confidence=1 - st.ALPHA,
        compared=len(sound) if bound is not None else max(len(course.trials), len(course.contenders)),
        possible=[_possible(course, one, ahead) for one, ahead in sorted(possible, key=lambda pair: -course.mean(pair[0]))],
        ruled_out=[named(one.candidate) for one in _ruled_out(course, open_)],
        rejected=_rejected(course),
        not_followed=len({*course.trials, *course.short} - racing) if now and not question.seeds else 0,
        limit=limit,
        margin=margin,
        seconds_to_margin=_middle(remaining),
        collapse=Collapse(
            seen=seen, of=len(outcomes), at_most=_most_collapses(course, seen, len(outcomes)) if outcomes else None
        ),
        beside=_beside(course, pick),
        figure=fresh.figure(course, pick),
        question=course.number,
        raced=not question.seeds,
        unit=question.scale.unit,
        steps=pick.candidate.steps(question.steps) if pick else question.steps,
        places=_places(course) if bound is not None or len(course.contenders) == 1 else [],
        looks=course.looks,
        fidelity=_fidelity(course, pick),
        screened=_screened_at(course, pick),
        repeats=repeats,
        axes=nearby.axes(course, pick, margin) if pick else [],
        rows=_rows(course, pick, cheaper),
        better=nearby.better(course, pick) if pick else None,
        second=_second(course, pick) if pick and bound is None else None,
        unraced=_unraced(course) if now and not question.seeds else [],
        cliff=nearby.cliff(course, pick, margin),
        remaining=remaining,
        cheaper=cheaper[1] if cheaper else None,
        longer=_longer(course),
        saturated=question.scale.in_points and max(map(course.mean, course.contenders), default=-math.inf) >= 100 - 1e-9,
        examples=question.scale.examples,
        typed=all(space.rates is not None for space in question.spaces),
        lost=_lost(course),
        searched=luck.searched(course),
    )
    return sentences.worded(made)


def _ruled_out(course: Course, possible: Collection[Contender]) -> list[Contender]:
    """The contenders that are not the best, without those that collapsed too often to be compared."""
    others = [course.contenders[k] for k in course.others()]
    return [one for one in others if one not in possible and not course.is_rejected(one.outcomes)]


def named(candidate: Candidate) -> Named:
    """The name of a candidate."""
    return Named(**candidate.names)


def _possible(course: Course, one: Contender, ahead: float) -> Possible:
    pick = course.pick
    gap = claims.paired(pick.values, one.values, st.ALPHA).mean if pick else 0.0
    return Possible(**one.candidate.names, ahead_at_most=finite(ahead), is_close=not gap >= CLOSE * course.margin())


def _most_collapses(course: Course, seen: int, of: int) -> float:
    """An upper limit of the pick's collapse rate. The pick may be chosen for few collapses, so it holds for all contenders."""
    return bounds.most_collapses(seen, of, st.ALPHA / max(len(course.contenders), 1))


def _rejected(course: Course) -> list[Rejected]:
    """Candidates at least half of whose runs diverged or learned nothing."""
    rejected = []
    for space in course.question.spaces:
        racing = {one.candidate: one for one in course.contenders if one.candidate.space is space}
        for candidate in sorted({*course.tried(space), *racing}, key=lambda c: (c.lr, c.order)):
            outcomes = [*course.trials.get(candidate, {}).values()]
            outcomes += racing[candidate].outcomes if candidate in racing else []
            bad = sum(map(course.collapsed, outcomes))
            if outcomes and 2 * bad >= len(outcomes):
                rejected.append(Rejected(**candidate.names, collapsed=bad, of=len(outcomes)))
    return rejected


def _places(course: Course) -> list[Place]:
    """The standings of the contenders: the pick first, then by their upper bounds."""
    now, places = course.now, []
    if now is None:
        return []
    for k, one in enumerate(course.contenders):
        if k != now.pick and course.is_rejected(one.outcomes):
            continue  # not compared
        word = "pick" if k == now.pick else "possible" if now.possible[k] else "ruled out"
        behind = max(0.0, -float(now.ahead[k].min()))  # also a lower bound on how far behind the best it is
        values = [v for o in one.outcomes if (v := course.validation(one.candidate, o)) is not None]
        places.append(
            Place(
                **one.candidate.names,
                standing=word,  # type: ignore[arg-type]
                at_least=behind,
                at_most=finite(float(now.bound[k])),
                n=len(one.outcomes),
                mean=sum(values) / len(values) if values else None,
            )
        )
    return sorted(places, key=lambda place: (place.standing != "pick", place.at_most is None, place.at_most or 0.0))


def _remaining(course: Course, margin: float) -> Remaining | None:
    """The runs and seconds until the race reaches its margin."""
    now, question = course.now, course.question
    if now is None:
        return None
    runs = claims.runs_to_margin(now, course.values(), margin, question.alpha, question.scale.example)
    if runs is None:
        return None
    each = course.seconds_per_run()
    return Remaining(
        least=runs.least,
        most=runs.most,
        seconds_least=runs.least * each,
        seconds_most=None if runs.most is None else runs.most * each,
    )


def _middle(remaining: Remaining | None) -> float | None:
    """The geometric mean of the range of seconds."""
    if remaining is None or remaining.seconds_most is None:
        return None
    return math.sqrt(remaining.seconds_least * remaining.seconds_most)


def _rows(course: Course, pick: Contender | None, cheaper: tuple[Contender, Cheaper] | None) -> list[Against]:
    """The pick, its rival and a cheaper contender."""
    now, rival = course.now, course.rival()
    if pick is None or now is None or pick not in course.contenders:
        return []
    named_so = {"pick": pick, "rival": rival, "cheaper": cheaper[0] if cheaper and cheaper[0] is not rival else None}
    both = bounds.tightest(course.values(), now.seeds, course.question.alpha / 2, course.question.scale.example)  # two-sided
    rows = []
    for role, one in named_so.items():
        if one is None:
            continue
        k, p, cost = course.contenders.index(one), now.pick, course.cost(one.candidate)
        gap = claims.paired(pick.values, one.values, st.ALPHA)
        mean = course.mean(one) if math.isnan(gap.mean) else course.mean(pick) - gap.mean  # of the same seeds
        rows.append(
            Against(
                **one.candidate.names,
                role=role,  # type: ignore[arg-type]
                mean=course.question.scale.sign * mean + 0.0 if math.isfinite(mean) else None,  # not -0
                ahead=finite(gap.mean),
                low=finite(0.0 - float(both[k, p])),
                high=finite(float(both[p, k])),
                seeds=gap.n,
                seconds_per_step=cost.seconds,
                state=cost.state_bytes,
            )
        )
    return rows


def _second(course: Course, pick: Contender) -> Screened | None:
    """The next best of screening, if no contender but the pick has runs in the race."""
    own = course.trials.get(pick.candidate, {})
    others = [c for c, runs in course.trials.items() if c != pick.candidate and runs.keys() & own.keys()]
    second = max(others, key=course.merit, default=None)
    if course.rival() or second is None or course.merit(second) == -math.inf:
        return None
    shared = sorted(own.keys() & course.trials[second].keys())
    one, two = (course.values_of(c, [course.trials[c][seed] for seed in shared]) for c in (pick.candidate, second))
    gap = claims.paired(one, two, st.ALPHA)
    return None if math.isnan(gap.mean) else Screened(**second.names, ahead=gap.mean, seeds=gap.n)


def _unraced(course: Course) -> list[str]:
    """The labels of the spaces of which no candidate raced, though some run of theirs ended well."""
    if course.question.search:
        return []  # its survivors were chosen by their values, not for lack of time
    raced = {one.candidate.space for one in course.contenders}
    left = [space for space in course.question.spaces if space not in raced]
    return [space.label for space in left if any(course.merit(c) > -math.inf for c in course.tried(space))]


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


def _cheaper(course: Course, pick: Contender | None, margin: float) -> tuple[Contender, Cheaper] | None:
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
    names = course.contenders[k].candidate.names
    return course.contenders[k], Cheaper(**names, at_most=float(now.bound[k]), state=state(k) / own)


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
            beside.append(Measured(**best.candidate.names, measure=words, value=other, pick=own))
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
    """The results of the pick and its rival at several times the steps."""
    if course.longer is None or course.pick is None:
        return None
    other, outcomes = course.longer
    pairs = len(outcomes) // 2
    if not pairs:
        return None
    one, two = (course.values_of(c.candidate, outcomes[k : 2 * pairs : 2]) for k, c in enumerate((course.pick, other)))
    lost = any(map(math.isnan, (*one, *two)))
    gap = claims.paired(one, two, claims.ORDER_LEVEL)
    few = lost or pairs < st.LEAST_PAIRS
    return Longer(
        **other.candidate.names,
        steps=course.pick.candidate.steps(LONGER * course.question.steps),
        seeds=pairs,
        ahead=None if lost else finite(gap.mean),
        low=None if few else finite(gap.low),
        high=None if few else finite(gap.high),
    )
