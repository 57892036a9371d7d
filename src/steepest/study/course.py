"""The course of a study: candidates screened, contenders, and standings. Pure functions of runs that have ended."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..training.recorder import Outcome
from .answer import Look
from .bounds import Array, Standing, standing
from .measures import Cost
from .question import Question
from .scalars import DIGITS, finite
from .space import Candidate, Space
from .statistics import LEAST_PAIRS

TINY = 1e-9  # leads up to this are rounding


@dataclass(eq=False)
class Contender:
    """A candidate in the race, and its runs on seeds 0, 1, 2, ...

    `values` are the results of its runs, larger being better, NaN for a collapsed run; `collapses` counts the latter.
    """

    candidate: Candidate
    outcomes: list[Outcome] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    collapses: int = 0

    @property
    def lr(self) -> float:
        """Its learning rate."""
        return self.candidate.lr

    def __str__(self) -> str:
        return str(self.candidate)


@dataclass(eq=False)
class Course:
    """The runs and standings that a strategy has collected. `trials` has the screening runs by candidate and seed.

    `short` has the runs of half the steps of a search, `sampled` the candidates that it dropped and yet trained for all steps.
    `early`: screening runs are shortened; `fits` is a sentence on what was left out to fit the budget. Runs after the race:
    `figure`, the pick on fresh seeds; `nearby`, rates next to the pick's, on seeds of the race in order; `longer`, the first
    two at more steps, in turn.
    """

    question: Question
    trials: dict[Candidate, dict[int, Outcome]] = field(default_factory=dict)
    contenders: list[Contender] = field(default_factory=list)
    now: Standing | None = None
    looks: list[Look] = field(default_factory=list)
    short: dict[Candidate, Outcome] = field(default_factory=dict)
    sampled: list[Candidate] = field(default_factory=list)
    early: bool = False
    grows: bool = True
    fits: str = ""
    stopped: str = ""
    interrupted: bool = False
    parallel: int = 1  # runs that train at once
    number: int = 1  # of this question among all asked of the store
    costs: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    figure: list[Outcome] = field(default_factory=list)
    nearby: dict[Candidate, list[Outcome]] = field(default_factory=dict)
    longer: tuple[Contender, list[Outcome]] | None = None
    merits: dict[Candidate, tuple[int, float]] = field(default_factory=dict)  # with the number of runs that each is the mean of
    standings: list[Standing] = field(default_factory=list)
    ran: int = 0
    seconds: float = 0.0
    split: str = "validation"
    bounds: dict[Any, Any] = field(default_factory=dict)  # of earlier looks

    def tried(self, space: Space) -> list[Candidate]:
        """The screened candidates of a space, in the order of screening."""
        return [candidate for candidate in self.trials if candidate.space is space]

    def cost(self, candidate: Candidate) -> Cost:
        """The cost of a candidate's steps."""
        if not self.costs:
            return Cost(0.0, 0, candidate.steps(self.question.steps))
        whole = [self.costs[space.label][0] * space.steps(self.question.steps) for space in self.question.spaces]
        return Cost(*self.costs[candidate.space.label], candidate.steps(self.question.steps), min(whole))

    def value(self, candidate: Candidate, outcome: Outcome) -> float | None:
        """The value of a run, or None."""
        return self.question.scale.value(outcome, self.split, self.cost(candidate))

    def validation(self, candidate: Candidate, outcome: Outcome) -> float | None:
        """The value of a run on validation data, or None."""
        return self.question.scale.value(outcome, cost=self.cost(candidate))

    def merit(self, candidate: Candidate) -> float:
        """The mean over the screening seeds, larger being better; minus infinity if a run has no value."""
        count, merit = self.merits.get(candidate, (0, 0.0))
        if count != len(self.trials[candidate]):
            outcomes = self.trials[candidate].values()
            values = [v for outcome in outcomes if (v := self.validation(candidate, outcome)) is not None]
            merit = self.question.scale.sign * sum(values) / len(values) if len(values) == len(outcomes) else -math.inf
            self.merits[candidate] = len(outcomes), merit
        return merit

    def short_merit(self, candidate: Candidate) -> float:
        """The value of the run of half the steps, larger being better; minus infinity without one."""
        outcome = self.short.get(candidate)
        value = None if outcome is None else self.validation(candidate, outcome)
        return -math.inf if value is None else self.question.scale.sign * value

    def merit_on(self, candidate: Candidate, seeds: Sequence[int]) -> float:
        """The mean over these screening seeds, larger being better; minus infinity if a run has no value or is missing."""
        own = self.trials.get(candidate, {})
        values = [self.validation(candidate, own[seed]) for seed in seeds if seed in own]
        there = [value for value in values if value is not None]
        return self.question.scale.sign * sum(there) / len(there) if len(there) == len(seeds) else -math.inf

    def best_rates(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidate with the best merit in each space, then all others within the margin of the best."""
        if not candidates:
            return []
        merits = {candidate: self.merit(candidate) for candidate in candidates}
        leader = max(merits.values())
        margin = self.question.margin_of([leader])
        order = sorted((c for c in candidates if merits[c] > -math.inf), key=lambda c: -merits[c])
        firsts = {c.space: c for c in reversed(order)}
        chosen = [c for c in order if firsts[c.space] is c or merits[c] >= leader - margin]
        return sorted(chosen, key=lambda c: firsts[c.space] is not c) if len(chosen) > 1 else order[:2]

    def values_of(self, candidate: Candidate, outcomes: Iterable[Outcome]) -> list[float]:
        """The results of runs, larger being better; NaN for a collapsed one."""
        sign, results = self.question.scale.sign, []
        for outcome in outcomes:
            value = None if self.collapsed(outcome) else self.value(candidate, outcome)
            results.append(math.nan if value is None else sign * value)
        return results

    def add(self, one: Contender, outcomes: Iterable[Outcome]) -> None:
        """Add the next runs of a contender."""
        for outcome in outcomes:
            one.outcomes.append(outcome)
            one.values += self.values_of(one.candidate, [outcome])
            one.collapses += self.collapsed(outcome)
            self.ran += 1
            self.seconds += outcome.seconds

    def screened(self, candidate: Candidate, seed: int, outcome: Outcome) -> None:
        """Add a screening run."""
        self.trials.setdefault(candidate, {})[seed] = outcome
        self.ran += 1
        self.seconds += outcome.seconds

    def collapsed(self, outcome: Outcome) -> bool:
        """Whether a run diverged, or ended no better than it started by the problem's metric."""
        if outcome.valid is None:
            return True
        curve = outcome.curve
        start = curve.metric[0] if curve.steps and curve.steps[0] == 0 else None  # a loop may not say how it began
        sign = self.question.scale.metric_sign
        return start is not None and sign * outcome.valid <= sign * start

    def is_rejected(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether at least half of these runs collapsed."""
        return bool(outcomes) and 2 * sum(map(self.collapsed, outcomes)) >= len(outcomes)

    def mean(self, one: Contender) -> float:
        """The mean of a contender's runs that did not collapse; minus infinity if there are none."""
        values = [v for v in one.values if math.isfinite(v)]
        return float(np.mean(values)) if values else -math.inf

    def margin(self) -> float:
        """The current margin; the default depends on the values of the pick."""
        if self.now is None:
            return self.question.margin_of([])
        return self.question.margin_of(self.contenders[self.now.pick].values)

    def look(self) -> Standing:
        """Compute the standing of the contenders from their runs so far, and record it."""
        self.now = now = self._stand()
        self.standings.append(now)
        self.looks.append(
            Look(
                runs=self.ran,
                seconds=float(f"{self.seconds:.{DIGITS}g}"),
                pick=str(self.contenders[now.pick]),
                bound=finite(float(now.bound[now.pick])),
                seeds={str(one): len(one.outcomes) for one in self.contenders},
            )
        )
        return now

    def values(self) -> Array:
        """The values of the contenders' runs, (contenders, seeds); NaN for a collapsed or missing run."""
        values = np.full((len(self.contenders), max(self.seeds)), np.nan)
        for row, one in zip(values, self.contenders, strict=True):
            row[: len(one.values)] = one.values
        return values

    def _stand(self) -> Standing:
        values = self.values()
        seeds = [len(one.outcomes) for one in self.contenders]
        if sorted(seeds)[-2:][0] < LEAST_PAIRS:  # too few for a bound: compare what all share
            seeds = [min(n, min(filter(None, seeds))) for n in seeds]
        best = values[int(np.argmax(np.where(np.isnan(values), -math.inf, values).mean(1)))]
        return standing(
            values,
            seeds,
            example=self.question.scale.example,
            alpha=self.question.alpha,
            margin=self.question.margin_of(best.tolist()),
            disfavoured=[k for k, one in enumerate(self.contenders) if one.collapses],
            excluded=[k for k, one in enumerate(self.contenders) if one.outcomes and 2 * one.collapses >= len(one.outcomes)],
            rates=[((one.candidate.space, one.candidate.settings), one.lr) for one in self.contenders],
            earlier=self.bounds,
        )

    def ended(self) -> Iterator[Outcome]:
        """All runs of screening and race."""
        for outcomes in self.trials.values():
            yield from outcomes.values()
        for one in self.contenders:
            yield from one.outcomes

    def best_of_few(self) -> Contender | None:
        """The best screened candidate, for a study without a race; None if all failed."""
        tried = [c for space in self.question.spaces for c in self.tried(space) if self.trials[c]]
        sound = [c for c in tried if not self.is_rejected([*self.trials[c].values()]) and self.merit(c) > -math.inf]
        if not sound:
            return None
        most = max(len(self.trials[c]) for c in sound)
        return Contender(max((c for c in sound if len(self.trials[c]) == most), key=self.merit))

    def words(self) -> str:
        """The current leader, for the progress display."""
        if self.now is not None:
            return f"{self.contenders[self.now.pick]}, at most {self.now.bound[self.now.pick]:.3g} behind"
        leader = self.best_of_few()
        return f"{leader} leads" if leader else ""

    def seconds_per_run(self) -> float:
        """The mean seconds that a run adds to the race: those of a run, divided by the number that train in parallel."""
        seconds = [o.seconds for one in self.contenders for o in one.outcomes]
        return float(np.mean(seconds)) / self.parallel if seconds else 0.0

    @property
    def seeds(self) -> tuple[int, ...]:
        """The number of seeds that each contender has run on."""
        return tuple(len(one.outcomes) for one in self.contenders)

    @property
    def pick(self) -> Contender | None:
        """The leading contender, else the best screened candidate; None if it is rejected."""
        pick = self.contenders[self.now.pick] if self.now else self.best_of_few()
        return None if pick is None or self.is_rejected(pick.outcomes) else pick

    def rival(self) -> Contender | None:
        """The contender with the best mean, other than the pick and those rejected; None if there is none."""
        others = [one for k in self.others() if not self.is_rejected((one := self.contenders[k]).outcomes)]
        return max((one for one in others if math.isfinite(self.mean(one))), key=self.mean, default=None)

    def next_to(self, candidate: Candidate, direction: int) -> Candidate | None:
        """The candidate at the next higher (1) or lower (-1) rate, typed or of the grid; None if there is none."""
        axis = candidate.space.rate
        at = axis.index(candidate.lr)
        rates = axis.typed or axis.values(axis.within(range(at - 1, at + 2)))
        beyond = [lr for lr in rates if direction * (lr - candidate.lr) > 0]
        return dataclasses.replace(candidate, lr=min(beyond, key=lambda lr: abs(lr - candidate.lr))) if beyond else None

    def runs_on(self, candidate: Candidate) -> list[Outcome]:
        """The runs of a candidate on the seeds of the race, in order, if it is a contender or was run next to the pick."""
        raced = next((one.outcomes for one in self.contenders if one.candidate == candidate), [])
        return max(raced, self.nearby.get(candidate, []), key=len)

    def others(self) -> list[int]:
        """The indices of the contenders other than the pick."""
        return [k for k in range(len(self.contenders)) if self.now and k != self.now.pick]

    def possible(self) -> list[tuple[Contender, float]]:
        """The contenders that could still be better than the pick, with upper bounds on how far ahead."""
        now = self.now
        if now is None:
            return []
        open_ = [k for k in self.others() if now.possible[k] and now.ahead[k, now.pick] > TINY]
        return [(self.contenders[k], float(now.ahead[k, now.pick])) for k in open_]
