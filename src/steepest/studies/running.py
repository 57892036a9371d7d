"""Running a study: tune every optimizer at equal work, confirm on fresh seeds, judge. Every run is kept as it ends."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from ..errors import SteepestError, listed
from ..problems.fingerprint import identify
from ..training import checkpoints, ways
from ..training.processes import OutOfTimeError
from ..training.recorder import POINTS, Outcome, marks
from ..training.repeats import STEPS, repeats
from ..training.stacked import Run
from ..training.timing import operations, threads, time_evaluations, time_steps
from ..training.ways import Plan
from . import design as designs
from . import statistics as st
from .design import TUNING_SEEDS, Candidate, Design
from .ray import Cluster
from .results import Entry, Result, Trial, versions
from .store import Store, key_of, packed, unpacked
from .verdicts import Side, judge_all

REPEATED, LEAST_REPEATED = 0.03, 3  # of the budget, to see whether runs repeat, and the fewest steps that show it
EARLY = 0.25  # of its steps, after which a run of a slow model ends that only tells rates apart
Wanted = tuple[Candidate, float, int]  # a candidate, its rate, a seed


class Progress(Protocol):
    """What a study tells whoever watches: steps of training in all, about, and for sure; steps done, and what is going on."""

    def plan(self, steps: int) -> None: ...

    def expect(self, steps: int) -> None: ...

    def done(self, steps: int) -> None: ...

    def say(self, what: str) -> None: ...


class ShareDoneError(Exception):
    """This share of the missing runs is trained, and so many are left to others, on which what comes next depends."""

    def __init__(self, trained: int, left: int) -> None:
        super().__init__(trained, left)
        self.trained, self.left = trained, left


class Laboratory:
    """One study under way: knows the design and the store, trains what is missing."""

    def __init__(self, design: Design, store: Store, progress: Progress, budget: float | None = None) -> None:
        self.store, self.progress = store, progress
        self.design = dataclasses.replace(design, problem=design.problem.on(design.device))
        self.trained = self.stored = 0
        self.days: list[str] = []  # on which stored runs ended
        self.repeats: bool | None = None
        self._timed: tuple[float, float] | None = None
        self.seconds = 0.0
        self.trials: dict[tuple[str, float], Trial] = {}
        identity = identify(self.design.problem, design.device)
        self.fingerprint, self.undigested = identity.key, identity.undigested
        self.budget = budget
        self.timings: dict[str, tuple[float, int]] = {}
        self.plan: Plan | None = None
        self.deadline, self.reads_only = math.inf, False
        self.cluster = Cluster(self.design.address) if design.engine == "ray" else None
        self.train_all = self.cluster.train_all if self.cluster else ways.train_all
        self.sign = 1.0 if design.problem.direction == "max" else -1.0

    def run(self) -> Result:
        """The whole protocol."""
        spec = {"fingerprint": self.fingerprint, "device": self.design.device}
        count = self.store.recall("operations", spec)  # counting them imports a large part of torch
        if count is None:
            count = operations(self.design.problem, self.design.device)
            self.store.remember("operations", spec, count)
        with threads(count):
            self.repeats = self._repeat()
            return self._run()

    def _repeat(self) -> bool | None:
        """Whether runs repeat at one seed: tried once, in at most `REPEATED` of the budget; None where that is too short."""
        spec = {"fingerprint": self.fingerprint, "device": self.design.device}
        known = self.store.recall("repeats", spec)
        if known is None:
            steps = self._steps_to_repeat(spec)
            if steps < LEAST_REPEATED:
                return None
            self.progress.say("whether training repeats")
            run, other = (self._first_run(c, seed) for seed, c in enumerate((self.design.candidates * 2)[:2]))
            known = repeats(self.design.problem, run, other, steps, self.design.device)
            self.store.remember("repeats", spec, known)
        return bool(known)

    def _steps_to_repeat(self, spec: dict[str, Any]) -> int:
        """How many steps of a run are trained again within the budget; decided once for a budget, and stored."""
        if self.budget is None:
            return STEPS
        spec = spec | {"budget": self.budget}
        kept = self.store.recall("steps to repeat", spec)
        if kept is None:
            step, evaluation = self.timed()
            kept = max(min(STEPS, int((REPEATED * self.budget / 3 - 2 * evaluation) / step)), 0)
            self.store.remember("steps to repeat", spec, kept)
        return int(kept)

    def _first_run(self, candidate: Candidate, seed: int) -> Run:
        """A run of a candidate at its least rate, or in the middle of its grid."""
        rates = candidate.rates or (designs.rate(designs.first_grid(candidate.rule, 1)[0]),)
        return Run(candidate.rule, rates[0], seed, self.design.steps, candidate.multiplier)

    def timed(self) -> tuple[float, float]:
        """Seconds of a step of the first candidate and of one evaluation, on one thread; timed once."""
        if self._timed is None:
            problem, device = self.design.problem, self.design.device
            before = torch.get_num_threads()
            torch.set_num_threads(1)  # as in each of several processes; threads wait for each other where other programs run
            try:
                rule = self.design.candidates[0].rule
                step = time_steps(problem, [rule], device, rounds=1, slice_seconds=0.1)[0][0]
                self._timed = step, time_evaluations(problem, device) / (POINTS + 1)
            finally:
                torch.set_num_threads(before)
        return self._timed

    def _run(self) -> Result:
        self.time_all()
        if self.budget is not None:
            self.design = dataclasses.replace(self.design, steps=self._affordable_steps(self.budget))
        design = self.design
        tuned = self._tune()
        chosen = [(c, self._best(trials).lr) for c, trials, _ in tuned]
        confirmed = self._on_seeds(chosen, range(design.seeds), test=True)
        entries = []
        for (candidate, trials, at_edge), outcomes in zip(tuned, confirmed, strict=True):
            lr = self._best(trials).lr
            if not trials[0].outcomes:
                trials = [Trial(lr, outcomes)]
            timing = self.timings[candidate.label]
            entries.append(Entry(candidate, trials, lr, at_edge, outcomes, design.split, *timing))
        entries.sort(key=self._order)
        if design.seeds < st.LEAST_PAIRS:  # too few for any verdict, so nothing is looked at
            look, alpha = 0, st.alpha_at_look(1)
        else:
            look, alpha = self.store.look(self._study(), design.seeds, st.alpha_at_look)
        sides = [Side(e.candidate.label, e.values, e.seconds_per_step * e.candidate.steps(design.steps)) for e in entries]
        verdicts = judge_all(
            sides,
            direction=design.problem.direction,
            in_points=design.problem.in_points,
            margin=design.margin,
            alpha=alpha,
            next_alpha=st.alpha_at_look(look + 1),
        )
        return Result(
            design,
            entries,
            verdicts,
            look,
            alpha,
            self.trained,
            self.stored,
            self.seconds,
            self._notes(entries),
            versions(),
            self._how(),
            days=self._days(),
        )

    def _days(self) -> tuple[str, str] | None:
        """The first and the last day on which stored runs ended."""
        return (min(self.days), max(self.days)) if self.days else None

    def _tune(self) -> list[tuple[Candidate, list[Trial], bool]]:
        """Every candidate with its trials; grids grow together until no best rate lies on an edge, or to the cap."""
        design = self.design
        searched = [c for c in design.candidates if c.rates is None]
        grids = [designs.first_grid(c.rule, design.trials) for c in searched]
        while True:
            self._try([(c, designs.rate(k)) for c, g in zip(searched, grids, strict=True) for k in g])
            swept = [[self.trials[c.label, designs.rate(k)] for k in g] for c, g in zip(searched, grids, strict=True)]
            best = [grid[trials.index(self._best(trials))] for grid, trials in zip(grids, swept, strict=True)]
            grown = designs.grow(grids, best, design.trials) if grids else None
            if grown is None:
                break
            grids = grown
        edges = [k in (grid[0], grid[-1]) for k, grid in zip(best, grids, strict=True)]
        tuned = {c.label: (c, trials, edge) for c, trials, edge in zip(searched, swept, edges, strict=True)}
        several = [c for c in design.candidates if c.rates is not None and len(c.rates) > 1]
        self._try([(c, lr) for c in several for lr in c.rates or ()])
        for c in design.candidates:
            if c.rates is not None and len(c.rates) == 1:
                tuned[c.label] = (c, [Trial(c.rates[0], [])], False)
            elif c.rates is not None:
                trials = [self.trials[c.label, lr] for lr in c.rates]
                tuned[c.label] = (c, trials, self._best(trials).lr in (c.rates[0], c.rates[-1]))
        return [tuned[c.label] for c in design.candidates]

    def _best(self, trials: list[Trial]) -> Trial:
        return min(trials, key=lambda trial: trial.rank(self.design.problem.direction))

    def _order(self, entry: Entry) -> tuple[bool, int, float, str]:
        """Best first: fewest diverged, then the mean; last those of which nothing is known."""
        mean, sign = entry.summary()[0], -1 if self.design.problem.direction == "max" else 1
        return (mean is None, sum(v is None for v in entry.values), sign * (mean or 0.0), entry.candidate.label)

    def _try(self, pairs: list[tuple[Candidate, float]]) -> None:
        """Try rates on the tuning seeds; those tried before are known."""
        new = [(c, lr) for c, lr in pairs if (c.label, lr) not in self.trials]
        for (c, lr), outcomes in zip(new, self._on_seeds(new, TUNING_SEEDS), strict=True):
            self.trials[c.label, lr] = Trial(lr, outcomes)

    def _on_seeds(self, pairs: list[tuple[Candidate, float]], seeds: Sequence[int], test: bool = False) -> list[list[Outcome]]:
        """The runs of each pair of candidate and rate, in the order of the seeds."""
        outcomes = self.train([(c, lr, seed) for c, lr in pairs for seed in seeds], test=test)
        return [outcomes[k * len(seeds) : (k + 1) * len(seeds)] for k in range(len(pairs))]

    def train(self, wanted: list[Wanted], **how: Any) -> list[Outcome]:
        """These runs, in this order: from the store, or trained and kept; `how` is as `_runs` takes it.

        Chunks are laid out from all of them and trained whole, so that a study that was stopped repeats itself. Raises
        OutOfTimeError where the deadline passes, or where nothing is to be trained and a run is not in the store.
        """
        design = self.design
        runs, specs = self._runs(wanted, **how)
        gradients = [run.length * run.rule.evaluations for run in runs]
        self.progress.expect(sum(gradients))
        outcomes = {i: known for i, spec in enumerate(specs) if (known := self.store.run(spec)) is not None}
        self.stored += len(outcomes)
        self.days += [self.store.day(specs[i]) for i in outcomes]
        self.progress.done(sum(gradients[i] for i in outcomes))
        if len(outcomes) < len(wanted):
            if self.reads_only:
                raise OutOfTimeError
            if self.plan is None:
                self.plan = self._plan(runs)
            began, stored = time.perf_counter(), frozenset(outcomes)
            own = self._own(len(wanted))
            self.progress.say(f"{len([i for i in own if i not in stored])} runs, {self.plan.name}")
            slots = checkpoints.beside(self.store.path, [key_of(specs[i]) for i in own], self.plan.name)
            ended = self.train_all(
                design.problem,
                [runs[i] for i in own],
                self.plan,
                device=design.device,
                on_step=self._tick,
                known=[k for k, i in enumerate(own) if i in stored],
                slots=slots,
            )
            try:
                for k, outcome in ended:
                    i = own[k]
                    if i not in stored:
                        self._keep(wanted[i][0], specs[i], outcome)
                        outcomes[i] = dataclasses.replace(outcome, examples=unpacked(packed(outcome.examples)))  # as read again
            finally:
                self.seconds += time.perf_counter() - began
            if len(outcomes) < len(wanted):
                raise ShareDoneError(self.trained, len(wanted) - len(outcomes))
        return [outcomes[i] for i in range(len(wanted))]

    def _own(self, count: int) -> list[int]:
        """The runs to lay out here, of so many: all, or this share, which is the same however many are in the store."""
        which, of = self.design.share
        return [*range(count)][which - 1 :: of]

    def known(self, wanted: list[Wanted], **how: Any) -> list[Outcome | None]:
        """These runs as they are in the store, None where they are not."""
        return [self.store.run(spec) for spec in self._runs(wanted, **how)[1]]

    def _runs(
        self, wanted: list[Wanted], *, test: bool = False, examples: bool = False, early: bool = False, steps: int | None = None
    ) -> tuple[list[Run], list[dict[str, Any]]]:
        """The runs that are wanted, and what makes each itself.

        One that keeps results of examples reads no test data, and is another; one that is `early` ends after a share of its
        steps.
        """
        runs, specs = [], []
        for c, lr, seed in wanted:
            length = c.steps(steps or self.design.steps)
            until = min(k for k in marks(length) if k >= EARLY * length) if early else 0
            runs.append(Run(c.rule, lr, seed, length, c.multiplier, test, examples, until=until))
            more = ({"examples": 1} if examples else {}) | ({"until": until} if until else {})
            specs.append(self._spec(c, lr=lr, seed=seed, steps=length, schedule=c.schedule, **more))
        return runs, specs

    def _tick(self, steps: int) -> None:
        """Steps of training are done; OutOfTimeError where there is no time for more."""
        self.progress.done(steps)
        if time.perf_counter() > self.deadline:
            raise OutOfTimeError

    def _keep(self, candidate: Candidate, spec: dict[str, Any], outcome: Outcome) -> None:
        """Put a run that ended in the store."""
        names = {k: spec[k] for k in ("schedule", "lr", "seed", "steps")}
        self.store.add_run(spec, {"problem": self.design.problem.name, "optimizer": candidate.rule.name, **names}, outcome)
        self.trained += 1

    def _plan(self, runs: list[Run]) -> Plan:
        """The way to train: as asked, as this study was begun, or the fastest here."""
        if self.design.plan not in ("auto", "show"):
            return ways.fitted(ways.named(self.design.plan), self.design.problem, self.design.memory, self.design.device)
        spec = {"study": self._study(), "plan": self.design.memory or 0}
        known = self.store.recall("way", spec)
        if known is not None:
            return ways.named(known, "as this study was begun")
        self.progress.say("choosing how to train")
        chosen = ways.choose(self.design.problem, runs, memory=self.design.memory, device=self.design.device)
        self.store.remember("way", spec, chosen.name)
        return chosen

    def _spec(self, candidate: Candidate, **more: Any) -> dict[str, Any]:
        """What makes a run this run: any difference here is another run."""
        rule = candidate.rule
        hyper = {k: v for k, v in rule.settings().items() if k != "lr"}
        kept = {k: v for k, v in versions().items() if k != "python"}
        return {
            "fingerprint": self.fingerprint,
            "rule": rule.digest,
            "hyper": hyper,
            "device": self.design.device,
            "versions": kept,
            **more,
        }

    def _study(self) -> str:
        """The identity of this study for its looks: everything but the number of seeds."""
        design = self.design
        specs = [self._spec(c, schedule=c.schedule, rates=c.rates, steps=design.steps) for c in design.candidates]
        trials = design.trials if any(c.rates is None for c in design.candidates) else 0
        return key_of({"candidates": sorted(key_of(spec) for spec in specs), "trials": trials})

    def time_all(self) -> dict[str, tuple[float, int]]:
        """Seconds per step and bytes of state of each candidate, by label; timed once for all that the store does not know."""
        if not self.timings:
            specs = {c.label: self._spec(c, threads=torch.get_num_threads(), timing=1) for c in self.design.candidates}
            missing = [c for c in self.design.candidates if self.store.recall("timing", specs[c.label]) is None]
            if missing:
                self.progress.say("timing one step of each")
                rules = list({c.rule: None for c in missing})
                timed = dict(zip(rules, time_steps(self.design.problem, rules, self.design.device, rounds=3), strict=True))
                for c in missing:
                    self.store.remember("timing", specs[c.label], timed[c.rule])
            self.timings = {label: tuple(self.store.recall("timing", spec)) for label, spec in specs.items()}
        return self.timings

    def _affordable_steps(self, seconds: float) -> int:
        """The steps at which the study, one growth of its grids included, takes about this long; kept, so that it stays."""
        design = self.design
        spec = {"study": self._study(), "budget": seconds}
        known = self.store.recall("steps", spec)
        if known is not None:
            return int(known)
        work, runs = 0.0, 0  # seconds for one step of every run
        for c in design.candidates:
            rates = design.trials + designs.GROWTH if c.rates is None else len(c.rates) if len(c.rates) > 1 else 0
            own = rates * len(TUNING_SEEDS) + design.seeds
            runs, work = runs + own, work + own * self.timings[c.label][0]
        side_by_side = self._workers() / ways.workers_on(design.device)  # as a cluster trains
        steps = int((0.9 * seconds * side_by_side - runs * time_evaluations(design.problem, design.device)) / work)
        if steps < 20:
            raise SteepestError(
                f"A budget of {seconds:g} s gives each of {runs} runs under 20 steps; give more time or ask for less."
            )
        self.store.remember("steps", spec, steps)
        return steps

    def _how(self) -> str:
        """How runs were trained, in words."""
        cluster = f", {self.cluster.at_once(self.design.device)} at once on a Ray cluster" if self.cluster else ""
        return f"{self.plan}{cluster}" if self.plan else "nothing to train"

    def _workers(self) -> int:
        """How many runs, or chunks of them, train at once, here and in other shares."""
        device = self.design.device
        here = self.cluster.at_once(device) if self.cluster else ways.workers_on(device)
        return self.design.share[1] * here

    def _first_known(self) -> str:
        """The fingerprint that the store first saw under this problem's name; one of an earlier version's form is no other."""
        named, known = {"problem": self.design.problem.name, "device": self.design.device}, ""
        for what in ("fingerprint", "identity"):
            self.store.remember(what, named, self.fingerprint)
            known = str(self.store.recall(what, named))
            if not re.fullmatch("[0-9a-f]{64}", known):
                break
        return known

    def check_fingerprint(self) -> None:
        """Refuse to share the runs of another problem: SteepestError where the store knows this one otherwise."""
        if self._first_known() != self.fingerprint:
            raise SteepestError(
                f"{self.design.problem.name} is not the problem that the store knows by this name: its file was edited, or "
                "this processor computes it to other last digits. Run slices on processors of one kind, or give a new --store."
            )

    def _notes(self, entries: list[Entry]) -> list[str]:
        """What a reader must know besides the numbers."""
        self.store.guard()
        design, notes = self.design, [*self.store.notes]
        unfit = checkpoints.set_aside(self.store.path)
        if unfit:
            files = f"{unfit} files" if unfit > 1 else "A file"
            notes.append(
                f"{files} of runs under way in {checkpoints.folder_of(self.store.path).name} did not fit, so these runs began "
                f"anew; what ends in {checkpoints.ASIDE} may be deleted."
            )
        if design.problem.same_start:
            notes.append("A module was given, not a function: every seed starts from the same weights.")
        if self._first_known() != self.fingerprint:
            notes.append(
                f"{design.problem.name} is not what it was when this store first saw it (its data, first weights or code), so "
                "runs from then are not used. Where nothing was edited, something in it is random: seed it."
            )
        if self.undigested:
            notes.append(
                f"An edit of these would not be noticed, and runs from before it used: {listed(self.undigested)}. After one, "
                "give a new --store."
            )
        older = self.store.unmatched(design.problem.name)
        if older:
            notes.append(
                f"{older} runs of {design.problem.name} in the store are of an earlier version, which did not know problems or "
                "rules by their code: they are kept, but cannot be matched, and were not used."
            )
        tried = {e.candidate.label: len(e.trials) for e in entries}
        if len(set(tried.values())) > 1 and all(e.candidate.rates is None for e in entries):
            least = min(tried.values())
            grown = ", ".join(f"{label} {n}" for label, n in tried.items() if n > least)
            notes.append(
                f"Grids were grown where a best rate lay on their edge: rates tried of {grown}, of each other {least}."
            )
        elif len(set(tried.values())) > 1:
            work = ", ".join(f"{label} {n}" for label, n in tried.items())
            notes.append(f"The optimizers were not tuned with equal work (rates tried: {work}).")
        for rule in {e.candidate.rule.name: e.candidate.rule for e in entries}.values():
            if rule.evaluations > 1:
                steps = design.steps // rule.evaluations
                notes.append(f"{rule.name} takes {rule.evaluations} gradients a step, so it makes {steps} steps: equal work.")
        failed = [f"{e.candidate.label} at {t.lr:g}" for e in entries for t in e.trials if any(o.failed for o in t.outcomes)]
        failed += [f"{e.candidate.label} at {e.lr:g}" for e in entries if any(o.failed for o in e.outcomes)]
        if failed:
            runs = ", ".join(dict.fromkeys(failed))
            notes.append(f"Runs that crashed their process three times, or its node, count as diverged: {runs}.")
        unmeasured = [o for e in entries for o in (*e.outcomes, *(o for t in e.trials for o in t.outcomes))]
        unmeasured = [o for o in unmeasured if o.status == "no metric"]
        if unmeasured:
            runs = f"{len(unmeasured)} runs" if len(unmeasured) > 1 else "1 run"
            notes.append(f"{runs} trained to the end and have no value: {unmeasured[0].why}.")
        if self.repeats is False:
            notes.append(
                "Runs do not repeat: the first steps of one seed, trained again, gave other losses. A loss, metric or model of "
                "yours keeps a memory between runs, or draws numbers that are not seeded, so equal seeds are no fair pairs."
            )
        for e in entries:
            if e.at_edge and e.lr is not None:
                notes.append(
                    f"The best rate of {e.candidate.label}, {e.lr:g}, is the last of those tried: a better may lie beyond."
                )
        alike = [e for e in entries if len(e.values) > 1 and len(set(e.values)) == 1 and e.values[0] is not None]
        if len(alike) == len(entries):
            notes.append("Every seed gave the same value: this problem has no randomness, so its intervals have no width.")
        return notes
