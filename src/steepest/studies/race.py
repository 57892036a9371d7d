"""The race: which candidate to pick, and how far behind the best it could be, with no more runs than that takes.

Rates are screened on seeds of their own, by one rule for all optimizers; the best of each optimizer and schedule race, on
common seeds from the first, until no other could be better than the pick by more than the margin. What is trained next depends
on values only, so a race that was stopped repeats itself; the clock only stops it.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Sequence

from ..errors import SteepestError
from ..training import ways
from ..training.processes import OutOfTimeError
from ..training.recorder import POINTS, Outcome
from ..training.stacked import Run
from . import bounds
from . import design as designs
from . import statistics as st
from .answers import Answer, Contender
from .design import TUNING_SEEDS, Candidate
from .judging import Judged
from .results import Entry, Result, Trial, versions
from .running import EARLY
from .store import key_of
from .verdicts import Side, judge_all

FEW = 60  # runs that fit, below which the ways to train are not tried out
SLACK = 1.25  # times what a run takes in a short timing: long runs heat and share the machine
RESERVE, AFTER = 0.03, 2.0  # of the budget, and seconds, kept for what comes after the race
TOGETHER = 16  # runs, at least, that a race trains at once where they train in chunks
MOST_SEEDS = 2_000  # of a contender: a race without a budget that nothing ends
LEAST_TO_GROW = 3  # rates in a grid that a reduced race still grows
HOPELESS = 20  # seeds, after which no bound will come: contenders whose runs all but all collapse
SHORT = ("adamw", "momentum", "rmsprop")  # raced where there is no time for all


def _least_early(candidates: Sequence[Candidate], trials: int) -> float:
    """How many runs it takes to try every rate in a run that ends early."""
    return EARLY * sum(trials if c.rates is None else len(c.rates) for c in candidates if c.rates is None or len(c.rates) > 1)


def _least_runs(candidates: Sequence[Candidate], trials: int) -> int:
    """About how many runs screening and a first look at the race take; a race that tells something takes a little more."""
    runs = 2 * st.LEAST_PAIRS
    for c in candidates:
        tried = trials if c.rates is None else len(c.rates)
        runs += st.LEAST_PAIRS + (tried + 2 * max(tried // 2, 1) if tried > 1 else 0)
    return runs


class Race(Judged):
    """A race under way, or the protocol of equal seeds."""

    def _run(self) -> Result:
        return self._equal() if self.design.seeds else self._race()

    def _equal(self) -> Result:
        """The equal protocol, and what it answers: its candidates at the rates chosen, on as many seeds each."""
        result = super()._run()
        self.contenders = [Contender(e.candidate, e.rate, e.outcomes) for e in result.entries]
        self.look()
        assert self.now
        bound = self.now.bound[self.now.pick]
        result.answer = self._answer("margin" if bound <= self.margin() else "time")
        return result

    def _race(self) -> Result:
        began = time.perf_counter() if self.began is None else self.began
        self.end = math.inf if self.budget is None else began + self.budget
        self.deadline = math.inf if self.budget is None else self.end - RESERVE * self.budget - AFTER
        asked = self._study()
        self._fit(asked)
        self.progress.plan(int(1.5 * _least_runs(self.design.candidates, self.design.trials)) * self.design.steps)
        self.alpha = self._share()
        alone = self.design.share == (1, 1)
        stopped = self._ended(alone)
        self.deadline = self.end
        # What the clock leaves out of an answer is left out again, so a finished one is read and not trained.
        self.reads_only = not self.goes_on and self.store.recall("finished", self._state()) is not None
        result = self._result(stopped)
        if alone and not self.interrupted and not self.reads_only:
            self.store.remember("finished", self._state(), self._total_runs())
        return result

    def _ended(self, alone: bool) -> str:
        """Screen and race up to the end: that of before, where this race had ended, is reached by reading what is stored.

        The end is stored before anything is trained that depends on it.
        """
        spec = {"race": self._study()}
        ended = self.store.recall("ended", spec) or self.store.recall("finished", spec)  # the latter of earlier versions
        self.reads_only = ended is not None and not self.goes_on
        stopped = self._stopped()
        if self.reads_only and self._total_runs() < ended:  # runs that are other ones now: it was another version's race
            self.reads_only = False
            stopped = self._stopped()
        if not self.reads_only and alone:
            self.store.remember("ended", spec, self._total_runs())
        return stopped

    def _share(self) -> float:
        """The alpha of this question: 0.04 for the first about these runs, a reserved share with a candidate added later."""
        family = {"fingerprint": self.fingerprint, "steps": self.design.steps, "device": self.design.device}
        specs = [self._spec(c, schedule=c.schedule, rates=c.rates) for c in self.design.candidates]
        return st.alpha_at_look(self.store.share(key_of(family), sorted(map(key_of, specs))))

    def _stopped(self) -> str:
        """Screen and race; "margin" where the bound of the pick is within it, "time" where it was stopped before."""
        self.contenders, self.now, self.looks = [], None, []
        try:
            self.contenders = self._screened()
            return self._raced()
        except OutOfTimeError:
            pass
        except KeyboardInterrupt:
            if self.design.share != (1, 1):
                raise
            self.interrupted = True
        self._gather()
        return "time"

    def _gather(self) -> None:
        """Where no bound was reached, what contenders had run on when the time was spent: seed after seed from the first."""
        if self.now and math.isfinite(self.now.bound[self.now.pick]):
            return
        for one in self.contenders:
            seeds = range(len(one.outcomes), st.LEAST_PAIRS)
            known = self.known([(one.candidate, one.lr, seed) for seed in seeds], examples=True)
            missing = known.index(None) if None in known else len(known)
            one.outcomes += [outcome for outcome in known[:missing] if outcome]
        if any(one.outcomes for one in self.contenders):
            self.look()

    def _fit(self, asked: str) -> None:
        """Fewer candidates, then fewer rates, where the budget does not allow for all; never fewer steps.

        What fits, and the way to train, are decided once for a budget, and kept: a race that goes on is the same race.
        SteepestError where not even a few runs fit.
        """
        if self.budget is None:
            return
        spec = {"study": asked, "fit": self.budget}
        kept = self.store.recall("fit", spec)
        if kept is None:
            kept = *self._fitting(), self.plan.name if self.plan else None
            self.store.remember("fit", spec, kept)
        labels, trials, self.early, self.fits, way = kept
        if self.plan is None and way is not None and self.design.plan in ("auto", "show"):
            self.plan = ways.named(way, "as this study was begun")
        if not {*labels} <= {c.label for c in self.design.candidates}:
            raise self.store.damaged("The fact 'fit' of this study")
        chosen = tuple(c for c in self.design.candidates if c.label in labels)
        self.grows = self.early or (len(chosen) == len(self.design.candidates) and trials == self.design.trials)
        self.design = dataclasses.replace(self.design, candidates=chosen, trials=trials)

    def _fitting(self) -> tuple[list[str], int, bool, str]:
        """The labels that fit, the rates of each, whether runs that end early tell rates apart, a sentence where it is not all.

        They do where three rates of two optimizers cannot be screened otherwise.
        """
        design = self.design
        seconds = self._cost(design.candidates)
        left = self.deadline - time.perf_counter()
        runs = int(left / (SLACK * seconds))
        names = list(dict.fromkeys(c.rule.name for c in design.candidates))
        short = [name for name in SHORT if name in names]
        courses = list(dict.fromkeys(c.schedule for c in design.candidates))
        one = ["cosine"] if "cosine" in courses else courses[:1]
        shapes = [(names, courses, design.trials)]
        if not design.typed_optimizers and len(short) > 1:
            shapes += [(short, courses, design.trials), (short[:2], courses, design.trials)]
        last = shapes[-1][0]
        shapes += [(last, one, trials) for trials in (design.trials, 5, 3) if trials <= design.trials]
        for chosen, schedules, trials in shapes:
            fitting = [c for c in design.candidates if c.rule.name in chosen and c.schedule in schedules]
            if _least_runs(fitting, trials) <= runs:
                whole = len(fitting) == len(design.candidates) and trials == design.trials
                words = self._fit_words(runs, seconds, fitting, trials)
                return [c.label for c in fitting], trials, False, "" if whole else words
        labels = [c.label for c in fitting]
        for trials, seeds in ((5, st.LEAST_PAIRS), (3, 1)):  # of the two that race
            tried = _least_early(fitting, trials)
            if tried and trials <= design.trials and tried + 2 * seeds <= runs:
                return labels, trials, True, self._fit_words(runs, seconds, fitting, trials, True)
        trials = min(runs // max(len(fitting), 1), 3)
        if trials < 1 or runs < 2:
            begun = time.perf_counter() - self.end + (self.budget or 0.0)
            needed = (max(2, len(fitting)) * SLACK * seconds + begun + AFTER) / (1 - RESERVE)
            raise SteepestError(
                f"A run of {design.steps} steps takes about {seconds:.2g} s here, and a budget of {self.budget:g} s is too "
                f"short to try anything; give at least --budget {math.ceil(needed)}s, or fewer steps."
            )
        return labels, trials, False, self._fit_words(runs, seconds, fitting, trials)

    def _fit_words(self, runs: int, seconds: float, fitting: Sequence[Candidate], trials: int, early: bool = False) -> str:
        labels = ", ".join(c.label for c in fitting)
        rates = "" if all(c.rates is not None for c in fitting) else f", {trials} rate{'s' if trials > 1 else ''} each at first"
        line = f"The budget allows for about {runs} runs of {seconds:.2g} s, and so for {labels}{rates}"
        if not early:
            return f"{line}, at full length."
        apart = f"Rates are told apart in runs that end after {100 * EARLY:g} % of their steps"
        return f"{line}. {apart}; the best two race at full length."

    def _cost(self, candidates: Sequence[Candidate]) -> float:
        """About how many seconds a run takes, trained in the way that is chosen here."""
        design = self.design
        self.progress.say("timing a step")
        workers = self._workers()
        step, once = self.timed()
        evaluation = (POINTS + 1) * once
        alone = (step * design.steps + evaluation) / workers
        if (self.deadline - time.perf_counter()) / alone < FEW:  # trying the other ways would take the time of several runs
            way = "processes" if workers > 1 and design.problem.train.in_memory else "one"
            self.plan = ways.named(way, "few runs fit") if design.plan in ("auto", "show") else self._plan([])
            return alone
        runs = []
        for c in candidates:
            rates = c.rates or tuple(designs.rate(k) for k in designs.first_grid(c.rule, design.trials))
            runs += [Run(c.rule, lr, TUNING_SEEDS[0], c.steps(design.steps), c.multiplier) for lr in rates]
        if self.plan is None:
            self.plan = self._plan(runs)
        together = self.plan.ms / 1e3 * design.steps + evaluation / self.plan.workers
        together *= ways.workers_on(design.device) / workers
        return min(alone, together) if self.plan.ms else alone

    def _screened(self) -> list[Contender]:
        """The candidates that race: of each optimizer and schedule the best rate, and others within the margin of the leader.

        All rates get one seed; grids grow together where a best one lies on an edge; the better half gets two seeds more.
        """
        candidates = self.design.candidates
        single = [c for c in candidates if c.rates is not None and len(c.rates) == 1]
        several = [c for c in candidates if c not in single]
        grids = [c.rates or tuple(designs.rate(k) for k in designs.first_grid(c.rule, self.design.trials)) for c in several]
        searched = [designs.first_grid(c.rule, self.design.trials) for c in several if c.rates is None]
        first, later = TUNING_SEEDS[:1], TUNING_SEEDS[1:]
        self._screen([(c, lr) for c, grid in zip(several, grids, strict=True) for lr in grid], first)
        while searched:
            swept = self._grids(several, searched)
            best = [max(grid, key=lambda k, c=c: self._merit(c, designs.rate(k))) for c, grid in swept]  # type: ignore[misc]
            grown = designs.grow(searched, best, self.design.trials) if self.grows else None
            if grown is None:
                grown = designs.grow(searched, best, self.design.trials, designs.MOST_GROWN_IN_TIME)
                if grown is None or not self._has_time_to_grow(grown, len(searched[0])):
                    break
            searched = grown
            self._screen([(c, designs.rate(k)) for c, grid in self._grids(several, searched) for k in grid], first)
        racing = [Contender(c, c.rates[0]) for c in single if c.rates]
        if self.early:
            return self._in_order(racing, self._best_of([(c, lr) for c in several for lr in self._tried(c)])[:2])
        halves = []
        tried = max((len(self._tried(c)) for c in several), default=1)
        leading = sorted(several, key=lambda c: -max(self._merit(c, lr) for lr in self._tried(c)))
        for c in leading[: self._carried("screening", 2 * max(tried // 2, 1) + st.LEAST_PAIRS)]:
            rates = sorted(self._tried(c), key=lambda lr: self._merit(c, lr), reverse=True)
            halves += [(c, lr) for lr in rates[: max(len(rates) // 2, 1)] if self._merit(c, lr) > -math.inf]
        self._screen(halves, later)
        chosen = self._best_of(halves)
        while beyond := self._beyond(chosen):
            self._screen(beyond, TUNING_SEEDS)
            halves += [pair for pair in beyond if self._merit(*pair) > -math.inf]
            chosen = self._best_of(halves)
        chosen = sorted(chosen, key=lambda pair: -self._merit(*pair))
        return self._in_order(racing, chosen[: self._carried("race", st.LEAST_PAIRS)])

    def _beyond(self, chosen: list[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
        """The next rates beyond the edge of a grid where a candidate's best rate lies, within the margin of the leader.

        Those of the first such grid, while half of the budget is left; none where there is none.
        """
        best: dict[Candidate, float] = {}
        for candidate, lr in sorted(chosen, key=lambda pair: -self._merit(*pair)):
            best.setdefault(candidate, lr)
        leader = max((self._merit(*pair) for pair in best.items()), default=0.0)
        near = [pair for pair in best.items() if self._merit(*pair) >= leader - self._margin([leader])]
        for candidate, lr in near:
            rates = sorted(self._tried(candidate))
            if candidate.rates is not None or lr not in (rates[0], rates[-1]):
                continue
            edge = round(3 * math.log10(lr))
            grid = range(edge - designs.GROWTH, edge) if lr == rates[0] else range(edge + 1, edge + 1 + designs.GROWTH)
            if len(rates) < designs.MOST_GROWN_IN_TIME and self._has_time_to_grow([grid], len(rates)):
                return [(candidate, designs.rate(k)) for k in grid]
        return []

    def _has_time_to_grow(self, grids: Sequence[range], tried: int) -> bool:
        """Whether half of the budget is left, and the race still fits after rates of these grids; decided once, and kept.

        `tried` is how many rates there are of each: one or two have no inside that an edge could be told from.
        """
        if tried < LEAST_TO_GROW:
            return False
        if self.budget is None:
            return True
        spec = {"study": self._study(), "grown": [[grid.start, grid.stop] for grid in grids], "budget": self.budget}
        kept = self.store.recall("grows", spec)
        if kept is None:
            left = self.deadline - time.perf_counter()
            pace = self.trained / self.seconds if self.trained and self.seconds else math.inf
            needed = designs.GROWTH * len(grids) + 2 * (st.LEAST_PAIRS + len(TUNING_SEEDS))
            kept = left >= self.budget / 2 and left * pace >= needed
            self.store.remember("grows", spec, kept)
        return bool(kept)

    def _in_order(self, racing: list[Contender], chosen: list[tuple[Candidate, float]]) -> list[Contender]:
        racing = racing + [Contender(c, lr) for c, lr in chosen]
        return sorted(racing, key=lambda one: (one.candidate.label, one.lr))

    def _carried(self, stage: str, each: int) -> int:
        """How many candidates can go on at so many runs for each, as fast as runs went so far; decided once, and kept."""
        if self.budget is None:
            return sys.maxsize
        spec = {"study": self._study(), "carried": stage, "budget": self.budget}
        kept = self.store.recall("carried", spec)
        if kept is None:
            runs = (self.deadline - time.perf_counter()) * self.trained / self.seconds if self.trained else math.inf
            kept = max(int(runs / each), 2) if math.isfinite(runs) else sys.maxsize
            self.store.remember("carried", spec, kept)
        return int(kept)

    def _grids(self, several: Sequence[Candidate], searched: list[range]) -> list[tuple[Candidate, range]]:
        return list(zip([c for c in several if c.rates is None], searched, strict=True))

    def _best_of(self, halves: list[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
        """Of each candidate the best rate after screening, then whatever else is within the margin of the best of all."""
        if not halves:
            return []
        merits = {pair: self._merit(*pair) for pair in halves}
        leader = max(merits.values())
        margin = self._margin([leader])
        order = sorted((pair for pair in halves if merits[pair] > -math.inf), key=lambda pair: -merits[pair])
        firsts = {pair[0]: pair for pair in reversed(order)}  # the best of each candidate
        chosen = [pair for pair in order if firsts[pair[0]] is pair or merits[pair] >= leader - margin]
        return sorted(chosen, key=lambda pair: firsts[pair[0]] is not pair) if len(chosen) > 1 else order[:2]

    def _screen(self, pairs: list[tuple[Candidate, float]], seeds: Sequence[int]) -> None:
        """Run these on the seeds that they have not been run on."""
        missing = [(c, lr, s) for c, lr in pairs for s in seeds if (c.label, lr, s) not in self.screened]
        try:
            outcomes = self.train(missing, early=self.early)
        except (OutOfTimeError, KeyboardInterrupt):
            for one, outcome in zip(missing, self.known(missing, early=self.early), strict=True):
                if outcome:
                    self._screened_one(*one, outcome)
            raise
        for one, outcome in zip(missing, outcomes, strict=True):
            self._screened_one(*one, outcome)
        leader = self._best_of_few()
        if leader:
            self.progress.say(f"{leader} leads")

    def _screened_one(self, candidate: Candidate, lr: float, seed: int, outcome: Outcome) -> None:
        self.trials.setdefault((candidate.label, lr), Trial(lr, [])).outcomes.append(outcome)
        self.screened.add((candidate.label, lr, seed))

    def _raced(self) -> str:
        """Race until the bound of the pick is within the margin; "margin" then, "time" where nothing more can be told."""
        if not self.contenders:
            return "time"
        wanted, target = list(range(len(self.contenders))), 1 if self.early else st.LEAST_PAIRS
        while True:
            jobs = [(k, seed) for k in wanted for seed in range(len(self.contenders[k].outcomes), target)]
            runs = [(self.contenders[k].candidate, self.contenders[k].lr, seed) for k, seed in jobs]
            for (k, _), outcome in zip(jobs, self.train(runs, examples=True), strict=True):
                self.contenders[k].outcomes.append(outcome)
            self.look()
            assert self.now
            pick = self.now.pick
            self.progress.say(f"{self.contenders[pick]}, at most {self.now.bound[pick]:.3g} behind")
            chunked = self.plan is not None and self.plan.chunk > 1
            after = bounds.following(self.now, self.margin(), self._at_once(TOGETHER if chunked else 1))
            if after is None:
                return "margin"
            if target >= (MOST_SEEDS if math.isfinite(self.now.bound[pick]) else HOPELESS):
                return "time"
            wanted, target = after

    def _at_once(self, least: int) -> int:
        """Runs, at least, from this look to the next: as many as train at once on other machines. Kept for each look, so that a
        race that is asked again, or goes on elsewhere, is the same race.
        """
        assert self.now
        spec = {"race": self._study(), "seeds": self.now.seeds.tolist()}
        kept = self.store.recall("at once", spec)
        if kept is None:
            workers = self._workers()
            kept = max(least, workers if workers > ways.workers_on(self.design.device) else 1)
            self.store.remember("at once", spec, kept)
        return int(kept)

    def _total_runs(self) -> int:
        return self.trained + self.stored

    def _result(self, stopped: str) -> Result:
        """What is known, as a result: entries best first, and the answer."""
        answer = self._answer(stopped)
        design = dataclasses.replace(self.design, seeds=max((len(c.outcomes) for c in self.contenders), default=0))
        entries = self._entries(answer)
        level = self.alpha * bounds.spent(max(len(bounds.looks(design.seeds)) - 1, 0))
        timings = [e.seconds_per_step * e.candidate.steps(design.steps) for e in entries]
        sides = [Side(e.candidate.label, e.values, t) for e, t in zip(entries, timings, strict=True) if e.outcomes]
        verdicts = judge_all(
            sides,
            direction=design.problem.direction,
            in_points=design.problem.in_points,
            margin=self.margin(),
            alpha=level,
            next_alpha=level,
        )
        return Result(
            design,
            entries,
            verdicts,
            0,
            level,
            self.trained,
            self.stored,
            self.seconds,
            self._race_notes() + self._notes(entries),
            versions(),
            self._how(),
            answer,
            self._days(),
        )

    def _best_rate(self, candidate: Candidate, rates: Sequence[float]) -> float | None:
        """Of the rates that were screened the best; None where none was."""
        return max(rates, key=lambda lr: self._merit(candidate, lr), default=None)

    def _race_notes(self) -> list[str]:
        interrupted = "It was interrupted, and says what was known by then; --continue goes on."
        return [*([self.fits] if self.fits else []), *([interrupted] if self.interrupted else [])]

    def _entries(self, answer: Answer) -> list[Entry]:
        """An entry for each optimizer and schedule, at the rate that stands best, with what was tried; the pick first."""
        entries = []
        timings = self.time_all()
        for candidate in self.design.candidates:
            own = [c for c in self.contenders if c.candidate is candidate and c.outcomes]
            own.sort(key=lambda c: (-len(c.outcomes), -self._mean(c)))
            best = next((c for c in own if c is answer.pick), own[0] if own else None)
            rates = sorted(self._tried(candidate))
            trials = [self.trials[candidate.label, lr] for lr in rates]
            outcomes = best.outcomes if best else []
            lr = best.lr if best else self._best_rate(candidate, rates)
            at_edge = len(rates) > 1 and lr in (rates[0], rates[-1])
            trials = trials or ([Trial(lr, outcomes)] if lr is not None else [])
            entries.append(Entry(candidate, trials, lr, at_edge, outcomes, "validation", *timings[candidate.label]))
        entries.sort(key=lambda e: (not answer.is_pick(e), *self._order(e)))
        return entries
