"""What is said of candidates that ran on common seeds: how they stand, and the answer with all that stands beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..training.processes import OutOfTimeError
from ..training.recorder import Outcome
from . import bounds
from . import statistics as st
from .answers import Answer, Contender, Longer, Look, Measure, Place, figure_of, finite, runs_to_margin
from .bounds import Standing, standing
from .design import Candidate, Design
from .results import fidelity_of, first_why, reasons
from .running import Laboratory, Progress, Wanted
from .store import Store

FRESH_SEEDS = range(2_000_000, 2_000_005)  # of the pick, for the figure that nothing was chosen by
LONGER = 5  # times the steps, at which the first two are looked at again
TINY = 1e-9  # ahead, is nothing but rounding


class Judged(Laboratory):
    """Contenders and what they came to. `began` is when the budget began, `goes_on` says that a finished race goes on."""

    def __init__(
        self, design: Design, store: Store, progress: Progress, budget: float | None, began: float | None, goes_on: bool
    ) -> None:
        super().__init__(design, store, progress, budget)
        self.began, self.goes_on, self.alpha = began, goes_on, st.alpha_at_look(1)
        self.contenders: list[Contender] = []
        self.now: Standing | None = None
        self.looks: list[Look] = []
        self.screened: set[tuple[str, float, int]] = set()
        self.grows, self.early, self.fits, self.interrupted = True, False, "", False
        self.end = math.inf

    def _tried(self, candidate: Candidate) -> list[float]:
        return [lr for label, lr in self.trials if label == candidate.label]

    def _merit(self, candidate: Candidate, lr: float) -> float:
        """The mean metric on the screening seeds, more being better; what has no value once is behind all others."""
        trial = self.trials[candidate.label, lr]
        if trial.lost:
            return -math.inf
        return self.sign * float(np.mean([v for v in trial.values if v is not None]))

    def stand(self) -> Standing:
        """The standing of the contenders on the validation values that they have."""
        most = max(len(one.outcomes) for one in self.contenders)
        values = np.full((len(self.contenders), most), np.nan)
        for k, one in enumerate(self.contenders):
            values[k, : len(one.outcomes)] = [self._value(o) for o in one.outcomes]
        collapsed = [k for k, one in enumerate(self.contenders) if any(map(self.collapsed, one.outcomes))]
        seeds = [len(one.outcomes) for one in self.contenders]
        best = values[int(np.argmax([np.nan_to_num(row, nan=-math.inf).mean() for row in values]))]
        margin = self._margin(best.tolist())
        excluded = [k for k, one in enumerate(self.contenders) if self.is_rejected(one.outcomes)]
        return standing(
            values,
            seeds,
            example=self.example(),
            alpha=self.alpha,
            margin=margin,
            disfavoured=collapsed,
            excluded=excluded,
        )

    def look(self) -> None:
        """Judge the contenders, and remember when that was."""
        self.now = now = self.stand()
        ended = [o for trial in self.trials.values() for o in trial.outcomes]
        ended += [o for one in self.contenders for o in one.outcomes]
        pick, seeds = self.contenders[now.pick], {str(one): len(one.outcomes) for one in self.contenders}
        bound = finite(float(now.bound[now.pick]))
        self.looks.append(Look(len(ended), sum(o.seconds for o in ended), str(pick), bound, seeds))

    def _places(self) -> list[Place]:
        """How the contenders stand, the nearest to the best first."""
        if self.now is None:
            return []
        now, places = self.now, []
        for k, one in enumerate(self.contenders):
            word = "pick" if k == now.pick else "possible" if now.possible[k] else "ruled out"
            behind = max(0.0, -float(now.ahead[k].min()))  # behind that one at least, and so behind the best
            places.append(Place(one, word, behind, finite(float(now.bound[k]))))
        return sorted(places, key=lambda place: (place.standing != "pick", place.at_most is None, place.at_most or 0.0))

    def _value(self, outcome: Outcome) -> float:
        judged = outcome.test if self.design.seeds and self.design.split == "test" else outcome.valid
        return math.nan if judged is None or self.collapsed(outcome) else self.sign * judged

    def collapsed(self, outcome: Outcome) -> bool:
        """Whether a run diverged, or ended no better than it began."""
        if outcome.valid is None:
            return True
        start = outcome.curve.metric[0] if outcome.curve.metric else None
        return start is not None and self.sign * outcome.valid <= self.sign * start

    def is_rejected(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether half of some runs or more collapsed."""
        return bool(outcomes) and 2 * sum(map(self.collapsed, outcomes)) >= len(outcomes)

    def example(self) -> float:
        """What one validation example counts in the metric; 0 where it is no count."""
        problem = self.design.problem
        return 100 / len(problem.valid) if problem.in_points else 0.0

    def _margin(self, values: Sequence[float]) -> float:
        """The margin asked for; by default 0.5 points, or 1 % of the mean of these values, which are the best's."""
        if self.design.margin is not None:
            return self.design.margin
        if self.design.problem.in_points:
            return 0.5
        there = [v for v in values if math.isfinite(v)]
        return 0.01 * abs(float(np.mean(there))) if there else 0.0

    def margin(self) -> float:
        """The margin now."""
        if self.now is None:
            return self._margin([])
        return self._margin([self._value(o) for o in self.contenders[self.now.pick].outcomes])

    def _answer(self, stopped: str) -> Answer:
        """Everything that is said of the pick."""
        problem, now = self.design.problem, self.now
        pick = self.contenders[now.pick] if now else self._best_of_few()
        if pick is not None and self.is_rejected(pick.outcomes):
            pick = None
        margin = self.margin()
        bound = float(now.bound[now.pick]) if now and pick and len(self.contenders) > 1 else None
        bound = bound if bound is not None and math.isfinite(bound) else None
        others = [k for k in range(len(self.contenders)) if now and k != now.pick]
        open_ = [k for k in others if now and now.possible[k] and now.ahead[k, now.pick] > TINY]
        possible = [(self.contenders[k], float(now.ahead[k, now.pick])) for k in open_ if now]
        results = self._results() if now and bound is not None and not self.design.seeds else None
        new_data, by_examples = None, 0.0
        if now and results:
            level = self.alpha * bounds.spent(max(len(bounds.looks(int(now.seeds[now.pick]))) - 1, 0)) / max(len(others), 1)
            ahead = bounds.on_new_examples(results, now.pick, level)
            new_data = max(float(ahead.max()), bound or 0.0) if np.isfinite(ahead).all() else None
            close = max(others, key=lambda k: now.ahead[k, now.pick])
            n = min(len(results[close]), len(results[now.pick]))
            by_examples = bounds.share_of_examples(results[close][:n] - results[now.pick][:n]) if n > 1 else 0.0
        limit = "examples" if stopped == "margin" and by_examples > 0.5 and (new_data or 0.0) > margin else stopped
        runs = runs_to_margin(now, margin) if now and limit == "time" else None
        outcomes = pick.outcomes if pick else []
        racing = {(one.candidate.label, one.lr) for one in self.contenders}
        best = max((self._mean(one) for one in self.contenders), default=-math.inf)
        return Answer(
            pick=pick,
            bound=bound,
            bound_new_data=new_data,
            compared=len(self.contenders) if bound is not None else max(len(self.trials), len(self.contenders)),
            possible=sorted(possible, key=lambda pair: -pair[1]),
            ruled_out=[self.contenders[k] for k in others if k not in open_],
            rejected=self._rejected(),
            not_followed=0 if self.design.seeds else len(set(self.trials) - racing),
            limit=limit,
            margin=margin,
            unit=self._unit(),
            examples=len(problem.valid),
            seconds_to_margin=None if runs is None else runs * self._seconds_per_run(),
            collapse=(sum(map(self.collapsed, outcomes)), len(outcomes)),
            figure=self._figure(pick),
            edge=self._at_edge(pick),
            fidelity=self._fidelity(pick),
            repeats=self.repeats,
            lost=self._lost(),
            screened=self._screened_at(pick),
            cheaper=self._cheaper(pick, margin),
            beside=self._beside(pick),
            places=self._places(),
            looks=self.looks,
            typed=all(c.rates is not None for c in self.design.candidates),
            steps=self.design.steps,
            longer=self._longer(pick, possible) if stopped == "margin" and not self.design.seeds else None,
            question=self.store.question(problem.name, self._study()),
            raced=not self.design.seeds,
            saturated=problem.in_points and best >= 100 - 1e-9,
        )

    def _best_of_few(self) -> Contender | None:
        """The best rate tried, where nothing raced."""
        tried = [(c, lr) for c in self.design.candidates for lr in self._tried(c) if self.trials[c.label, lr].outcomes]
        sound = [(c, lr) for c, lr in tried if not self.is_rejected(self.trials[c.label, lr].outcomes)]
        fine = [pair for pair in sound if self._merit(*pair) > -math.inf]
        if not fine:
            return None
        most = max(len(self.trials[c.label, lr].outcomes) for c, lr in fine)
        return Contender(
            *max((p for p in fine if len(self.trials[p[0].label, p[1]].outcomes) == most), key=lambda p: self._merit(*p))
        )

    def _results(self) -> list[np.ndarray] | None:
        """The results of single examples of every contender's runs, (seeds, examples), more being better; None without them."""
        tables = []
        for one in self.contenders:
            each = [o.examples for o in one.outcomes]
            if not each or any(x is None for x in each):
                return None
            tables.append(self.sign * np.array(each, float))
        widths = {table.shape[1] for table in tables}
        return tables if len(widths) == 1 and widths.pop() > 1 else None  # one example says nothing of new ones

    def _rejected(self) -> list[tuple[Contender, int, int]]:
        """What diverged or learned nothing in half of its runs or more, with how many."""
        rejected = []
        for c in self.design.candidates:
            for lr in sorted({*self._tried(c), *(one.lr for one in self.contenders if one.candidate is c)}):
                racing = [o for one in self.contenders if one.candidate is c and one.lr == lr for o in one.outcomes]
                trial = self.trials.get((c.label, lr))
                outcomes = [*(trial.outcomes if trial else []), *racing]
                bad = sum(map(self.collapsed, outcomes))
                if outcomes and 2 * bad >= len(outcomes):
                    rejected.append((Contender(c, lr), bad, len(outcomes)))
        return rejected

    def _seconds_per_run(self) -> float:
        """Seconds that a run took, trained beside others where it was."""
        outcomes = [o for one in self.contenders for o in one.outcomes]
        return float(np.mean([o.seconds for o in outcomes])) if outcomes else 0.0

    def _figure(self, pick: Contender | None) -> Any:
        """The pick's metric on fresh seeds: on test data, or where there are none on the validation data again."""
        if pick is None:
            return None
        split = self.design.split
        outcomes = list(pick.outcomes) if self.design.seeds else []
        if not self.design.seeds and not self.interrupted:
            wanted = [(pick.candidate, pick.lr, seed) for seed in FRESH_SEEDS]
            try:
                outcomes = self.train(wanted, test=split == "test")
            except (OutOfTimeError, KeyboardInterrupt) as stop:
                self.interrupted = isinstance(stop, KeyboardInterrupt)
                outcomes = [o for o in self.known(wanted, test=split == "test") if o]
        values = [o.test if split == "test" else o.valid for o in outcomes]
        return figure_of([v for v in values if v is not None], split)

    def _at_edge(self, pick: Contender | None) -> bool:
        """Whether the pick's rate is the first or last of those that were tried."""
        rates = sorted({pick.lr, *self._tried(pick.candidate)}) if pick else []
        return pick is not None and len(rates) > 1 and pick.lr in (rates[0], rates[-1])

    def _fidelity(self, pick: Contender | None) -> float | None:
        """The share of its steps at which the pick was compared; None without one."""
        if pick is None or not pick.outcomes:
            return self._screened_at(pick)
        return fidelity_of(pick.outcomes, pick.candidate.steps(self.design.steps))

    def _screened_at(self, pick: Contender | None) -> float | None:
        """The share of its steps after which the pick's screening runs ended; None where it was not screened."""
        trial = self.trials.get((pick.candidate.label, pick.lr)) if pick else None
        return fidelity_of(trial.outcomes, pick.candidate.steps(self.design.steps)) if trial and pick else None

    def _lost(self) -> str:
        """Why runs have no value, where one of them says so: what was not finite, and where."""
        outcomes = [o for trial in self.trials.values() for o in trial.outcomes]
        outcomes += [o for one in self.contenders for o in one.outcomes]
        said = "; ".join(filter(None, (reasons(outcomes), first_why(outcomes))))
        return said if outcomes and all(o.valid is None for o in outcomes) else ""

    def _cheaper(self, pick: Contender | None, margin: float) -> Any:
        """A contender with less state than the pick, that is at most four margins behind the best; the nearest such."""
        if pick is None or self.now is None:
            return None
        timings = self.time_all()
        own = timings[pick.candidate.label][1]
        cheap = [k for k, one in enumerate(self.contenders) if timings[one.candidate.label][1] < own]
        near = [k for k in cheap if self.now.bound[k] <= 4 * margin]
        if not near:
            return None
        k = min(near, key=lambda k: (timings[self.contenders[k].candidate.label][1], self.now.bound[k]))  # type: ignore[union-attr]
        state = timings[self.contenders[k].candidate.label][1]
        return self.contenders[k], float(self.now.bound[k]), state / own

    def _beside(self, pick: Contender | None) -> list[Measure]:
        """Who is better than the pick by validation loss, by the metric after as many seconds, and by memory: means alone."""
        ran = [one for one in self.contenders if all(o.valid is not None for o in one.outcomes) and one.outcomes]
        if pick is None or pick not in ran:
            return []
        timings = self.time_all()
        whole = {one: timings[one.candidate.label][0] * one.candidate.steps(self.design.steps) for one in ran}
        least = min(whole.values())

        def after(one: Contender) -> float:
            at = least / whole[one] * one.candidate.steps(self.design.steps)
            seen = [np.array(o.curve.metric, float) for o in one.outcomes]
            means = -self.sign * np.mean([np.interp(at, o.curve.steps, y) for o, y in zip(one.outcomes, seen, strict=True)])
            return float(means) if math.isfinite(means) else math.inf

        measures: dict[str, Callable[[Contender], float]] = {
            "least validation loss": lambda one: float(np.mean([math.inf if o.loss is None else o.loss for o in one.outcomes])),
            f"best after {least:.2g} s of training, when the fastest ends,": after,
            "fewest bytes of state": lambda one: timings[one.candidate.label][1],
        }
        beside = []
        for k, (what, of) in enumerate(measures.items()):
            best = min(ran, key=of)
            if of(best) < of(pick) and (k or self.design.problem.metric is not None):
                beside.append(Measure(what, best, abs(of(best)), abs(of(pick))))
        return beside

    def _longer(self, pick: Contender | None, possible: list[tuple[Contender, float]]) -> Longer | None:
        """What the first two come to at several times the steps, where time is left for that."""
        other = max(possible, key=lambda pair: pair[1], default=(None, 0.0))[0]
        if pick is None or other is None or self.interrupted:
            return None
        seeds, steps = range(3), LONGER * self.design.steps
        wanted = [(one.candidate, one.lr, seed) for one in (pick, other) for seed in seeds]
        if not self._goes_longer(wanted, steps):
            return None
        try:
            outcomes = self.train(wanted, steps=steps)
        except (OutOfTimeError, KeyboardInterrupt) as stop:
            self.interrupted = isinstance(stop, KeyboardInterrupt)
            return None
        values = np.array([self._value(o) for o in outcomes]).reshape(2, -1)
        gap = float((values[0] - values[1]).mean())
        return Longer(other, steps, len(seeds), finite(gap))

    def _goes_longer(self, wanted: Sequence[Wanted], steps: int) -> bool:
        """Whether time is left for these longer runs; decided once for a state of the race, and stored."""
        spec = self._state()
        kept = self.store.recall("later", spec)
        if kept is None:
            left = math.inf if self.budget is None else self.end - time.perf_counter()
            stored = None not in self.known([*wanted], steps=steps)
            kept = stored or (not self.reads_only and left >= 1.5 * LONGER * len(wanted) * self._seconds_per_run())
            self.store.remember("later", spec, kept)
        return bool(kept)

    def _state(self) -> dict[str, Any]:
        """What names this race as far as it went: its study, and the seeds of each contender."""
        return {"race": self._study(), "seeds": [len(one.outcomes) for one in self.contenders]}

    def _unit(self) -> str:
        """What an amount of the metric is followed by."""
        return " points" if self.design.problem.in_points else f" in {self.design.problem.metric_name}"

    def _mean(self, one: Contender) -> float:
        values = [v for o in one.outcomes if math.isfinite(v := self._value(o))]
        return float(np.mean(values)) if values else -math.inf
