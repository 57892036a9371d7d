"""A study as plain data, all that its pictures and its page show: made from a result, kept in the store, read back from there.

It is the dictionary of `compare --json`, and beside it what only a report needs. Nothing here asks for torch or the problem.
"""

from __future__ import annotations

from typing import Any

from ...studies.answers import Place
from ...studies.results import Entry, Result, Trial
from ...training.recorder import Curve
from . import summary

Shown = dict[str, Any]
DIGITS = 6  # of numbers that are only drawn
MOST_POINTS = 100  # of a schedule


def shown(result: Result, command: str) -> Shown:
    """A result as data; `command` is what made it."""
    problem, design, answer = result.design.problem, result.design, result.answer
    assert answer
    data = summary.as_dict(result)
    courses = sorted({e.candidate.schedule for e in result.entries})
    for row, entry in zip(data["optimizers"], result.entries, strict=True):
        row |= _more(entry, courses, result)
    return data | {
        "about": problem.about,
        "batches": str(problem.drawing),
        "in_points": problem.in_points,
        "split": result.split,
        "raced": answer.raced,
        "details": answer.details(),
        "unit": answer.unit,
        "places": [_place(place) for place in answer.places],
        "looks": [{**vars(look), "seconds": _short(look.seconds)} for look in answer.looks],
        "table": summary.cells(result),
        "pairs": [[v.verdict, v.sentence, _sign_flip(v)] for v in result.verdicts],
        "code": summary.code(result.chosen, design.steps) if answer.pick else "",
        "protocol": summary.protocol(result),
        "ran": f"{result.trained + result.stored} runs of {answer.seen}",
        "command": command,
    }


def _more(entry: Entry, courses: list[str], result: Result) -> dict[str, Any]:
    c, own = entry.candidate, entry.candidate.steps(result.design.steps)
    sign = -1.0 if result.design.problem.direction == "max" else 1.0
    curve = entry.outcomes[0].curve if entry.outcomes else None  # of seed 0, which a schedule may have read
    marks = zip(curve.steps[1:], curve.metric[1:], strict=True) if curve else ()
    seen = [(step, sign * value) for step, value in marks if value is not None]
    at = sorted({round(k * (own - 1) / MOST_POINTS) for k in range(MOST_POINTS + 1)})
    return {
        "label": c.label,
        "variant": courses.index(c.schedule),
        "evaluations": c.rule.evaluations,
        "length": own,
        "multipliers": [[k, _short(c.multiplier(k, own, [better for step, better in seen if step <= k]))] for k in at],
        "runs": [_run(outcome.curve, outcome.diverged_at) for outcome in entry.outcomes],
        "trials": [_trial(trial) for trial in entry.trials],
    }


def _run(curve: Curve, diverged_at: int | None) -> dict[str, Any]:
    numbers = {key: [x if x is None else _short(x) for x in getattr(curve, key)] for key in ("train", "valid", "metric")}
    return {"steps": curve.steps, **numbers, "diverged_at": diverged_at}


def _trial(trial: Trial) -> dict[str, Any]:
    seen = [o.curve.steps[-1] for o in trial.outcomes if o.diverged_at is None and o.curve.steps]
    ends = {"diverged_at": [o.diverged_at for o in trial.outcomes], "seen": max(seen, default=None)}
    return {"lr": trial.lr, "values": trial.values, **ends}


def _place(place: Place) -> dict[str, Any]:
    one = place.contender
    values = [o.valid for o in one.outcomes if o.valid is not None]
    return {
        "label": str(one),
        **one.named(),
        "standing": place.standing,
        "at_least": place.at_least,
        "at_most": place.at_most,
        "n": len(one.outcomes),
        "mean": sum(values) / len(values) if values else None,
    }


def _short(x: float) -> float:
    return float(f"{x:.{DIGITS}g}")


def _sign_flip(verdict: Any) -> str:
    p, least = verdict.sign_flip
    return f"Sign-flip permutation p = {p:.2g} (least possible {least:.2g})."
