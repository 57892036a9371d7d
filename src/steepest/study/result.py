"""The result of a completed study, before `summary` turns it into the data of reports and JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ..training.protocol import Training
from ..training.recorder import Outcome
from . import statistics as st
from .answer import Answer
from .conclude import fidelity_of
from .course import Course
from .question import Question
from .space import Candidate, Space
from .verdicts import Verdict

Number = float | None


@dataclasses.dataclass
class Trial:
    """A candidate and its runs on the screening or tuning seeds; `values` are their values on validation data."""

    candidate: Candidate
    outcomes: list[Outcome]
    values: list[Number]

    @property
    def lr(self) -> float:
        """Its learning rate."""
        return self.candidate.lr

    @property
    def diverged(self) -> int:
        """The number of runs that diverged or crashed."""
        return count_diverged(self.outcomes)


@dataclasses.dataclass
class Entry:
    """A space, represented by its best candidate: its trials, and the candidate's runs in the order of the compared seeds.

    `tried` is False if no run of the space has ended; its candidate then has no meaning. `values` are the compared values.
    """

    candidate: Candidate
    trials: list[Trial]
    tried: bool
    at_edge: bool
    outcomes: list[Outcome]
    values: list[Number]
    split: str
    seconds_per_step: float
    state_bytes: int

    @property
    def lr(self) -> float | None:
        """Its learning rate; None if nothing was tried."""
        return self.candidate.lr if self.tried else None

    def summary(self) -> tuple[Number, Number, int]:
        """Mean, standard error and count of the values that are not None; mean and error may be None."""
        mean, se, n = st.mean_se([math.nan if v is None else v for v in self.values])
        return *(x.item() if math.isfinite(x) else None for x in (mean, se)), int(n)  # type: ignore[return-value]

    @property
    def screened(self) -> Trial | None:
        """The trial of its candidate; None if that was not screened."""
        return next((t for t in self.trials if t.candidate == self.candidate and t.outcomes), None)

    def fidelity(self, steps: int) -> float | None:
        """The share of a full run after which it was evaluated: below 1 if it ran only in shortened runs; None if never."""
        trial = self.screened
        return fidelity_of(self.outcomes or (trial.outcomes if trial else []), self.candidate.steps(steps))


def count_diverged(outcomes: Sequence[Outcome]) -> int:
    """The number of runs that diverged or crashed."""
    return sum(o.status in ("diverged", "failed") for o in outcomes)


@dataclasses.dataclass
class Result:
    """The result of a completed study: entries, best first, verdicts on all pairs, and how it was made.

    `look` is the number of this look at a study of equal seeds, 0 for a race; `alpha` is what its verdicts spend. Training
    `trained` runs took `seconds`; `stored` runs were loaded, with `days` their first and last date.
    """

    training: Training
    question: Question
    device: str
    answer: Answer
    entries: list[Entry]
    verdicts: list[Verdict]
    look: int
    alpha: float
    trained: int
    stored: int
    seconds: float
    notes: list[str]
    versions: dict[str, str]
    plan: str
    days: tuple[str, str] | None

    @property
    def chosen(self) -> Entry:
        """The entry of the answer's pick, or the first entry if nothing was picked."""
        pick = self.answer.pick
        return next((e for e in self.entries if pick and e.candidate.label == pick.label), self.entries[0])

    @property
    def split(self) -> str:
        """The data on which values are measured: "test" or "validation"."""
        return self.entries[0].split


def entries(course: Course, answer: Answer) -> list[Entry]:
    """One entry per space, with its best candidate and its trials; best first, and in a race the pick first."""
    made = [_entry(course, answer, space) for space in course.question.spaces]
    sign = course.question.scale.sign
    pick = answer.pick.label if answer.pick and answer.raced else None

    def order(entry: Entry) -> tuple[bool, bool, int, float, str]:
        """Sort key, best first: the pick, fewest runs without a value, the mean; entries without any value are last."""
        mean, label = entry.summary()[0], entry.candidate.label
        return label != pick, mean is None, entry.values.count(None), -sign * (mean or 0.0), label

    return sorted(made, key=order)


def _entry(course: Course, answer: Answer, space: Space) -> Entry:
    own = [one for one in course.contenders if one.candidate.space is space and one.outcomes]
    own.sort(key=lambda one: (-len(one.outcomes), -course.mean(one)))
    best = next((one for one in own if one is course.pick and answer.pick), own[0] if own else None)
    tried = sorted(course.tried(space), key=lambda c: c.order)
    candidate = best.candidate if best else max(tried, key=course.merit, default=None)

    def trial(c: Candidate, runs: list[Outcome]) -> Trial:
        return Trial(c, runs, [course.validation(c, o) for o in runs])

    trials = [trial(c, [*course.trials[c].values()]) for c in tried]
    outcomes = best.outcomes if best else []
    chosen = candidate or space.at(space.rate.centre)
    rates = sorted({trial.lr for trial in trials})
    return Entry(
        chosen,
        trials or ([trial(chosen, outcomes)] if candidate else []),
        candidate is not None,
        answer.edge if best and best is course.pick and answer.pick else len(rates) > 1 and chosen.lr in (rates[0], rates[-1]),
        outcomes,
        [course.value(chosen, outcome) for outcome in outcomes],
        course.split,
        *course.costs[space.label],
    )
