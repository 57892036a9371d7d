"""The laboratory trains the runs that a protocol requests, stores each when it ends, tracks time, and shows progress.

All else is decided elsewhere: `race` and `equal` request runs, `budget` decides what fits the time, `conclude` interprets
the outcomes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Mapping
from typing import Any

from ..errors import SteepestError
from ..problems import IDENTITY
from ..training import checkpoints
from ..training.executors.protocol import Executor
from ..training.processes import OutOfTimeError
from ..training.protocol import Training
from ..training.recorder import Outcome
from ..training.stacked import Run
from ..training.timing import threads
from ..training.versions import versions
from ..training.ways import Plan
from . import bounds, budget, notes
from . import statistics as st
from .budget import AFTER as AFTER_SECONDS
from .budget import RESERVE, Begun, Clock, Costs, Ended, Fit, Fits, Later, Number, Steps
from .conclude import conclude
from .course import Course
from .equal import equal
from .keys import Keys
from .machine import Machine, Progress, first_runs
from .protocol import AFTER, RACE, Asking, Decision, History, Job, Stop, Wanted
from .question import Question
from .race import race
from .result import Entry, Result, entries
from .store import Store, key_of
from .store.runs import as_loaded
from .verdicts import Side, Verdict, judge_all

SAME = 1e-4  # relative tolerance between first reports of the same code, which other numbers of threads may round differently
FEW = 60  # if fewer runs fit the budget, the ways to train are not timed


class ShareDoneError(Exception):
    """Raised when this slice of the missing runs is trained and the next step depends on `left` runs of other slices."""

    def __init__(self, trained: int, left: int) -> None:
        super().__init__(trained, left)
        self.trained, self.left = trained, left


class RestartError(Exception):
    """Raised to restart the protocol: the race that the store records as ended is not the one that its runs yield."""


class Runs(Mapping[Job, Outcome]):
    """The outcomes of runs, loaded from the store on first access."""

    def __init__(self, store: Store, keys: Keys, progress: Progress) -> None:
        self.store, self.named_by, self.progress = store, keys, progress
        self.outcomes: dict[Job, Outcome] = {}
        self.stored = 0
        self.days: list[str] = []  # dates on which stored runs ended

    def get(self, job: Job, default: Any = None) -> Any:
        """The outcome of a run, or the default if it has not ended."""
        if job not in self.outcomes:
            spec = self.named_by.job(job)
            outcome = self.store.run(spec)
            if outcome is None:
                return default
            self.outcomes[job] = outcome
            self.stored += 1
            self.days.append(self.store.day(spec))
            self.progress.expect(gradients(job))
            self.progress.done(gradients(job))
        return self.outcomes[job]

    def __getitem__(self, job: Job) -> Outcome:
        outcome: Outcome | None = self.get(job)
        if outcome is None:
            raise KeyError(job)
        return outcome

    def __iter__(self) -> Any:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)


def gradients(job: Job) -> int:
    """The number of gradient evaluations of a run."""
    return (job.until or job.length) * job.candidate.rule.evaluations


class Lab:
    """One study. `began` is the start of its budget on `time.perf_counter`; `goes_on` continues a race that had ended."""

    def __init__(
        self,
        training: Training,
        question: Question,
        store: Store,
        progress: Progress,
        executor: Executor,
        *,
        plan: str = "auto",
        memory: int | None = None,
        began: float | None = None,
        goes_on: bool = False,
    ) -> None:
        self.training, self.question, self.store, self.progress = training, question, store, progress
        self.executor, self.plan_name, self.memory = executor, plan, memory
        self.changed_unseen = False
        self.goes_on, self.reads_only, self.phase = goes_on, False, "" if question.seeds else RACE
        identity = training.identify()
        self.keys, self.undigested = Keys(self._seen_again(identity.key), training.where), identity.undigested
        self.machine = Machine(training, self.keys, store, progress)
        self.runs = Runs(store, self.keys, progress)
        self.plan: Plan | None = None
        self.trained, self.seconds = 0, 0.0
        self.ended: int | None = None  # number of runs when this race ended, from the store
        self.began = began = time.perf_counter() if began is None else began
        self.began_after = 0.0  # seconds of starting and checks, before the first run
        limited = question.budget is not None and not question.seeds
        self.end = began + (question.budget or 0.0) if limited else math.inf
        self.deadline = self.end - RESERVE * (question.budget or 0.0) - AFTER_SECONDS

    def _seen_again(self, key: str) -> str:
        """The key of what is trained, or another one if its first reports are not those that the store has for this key.

        Then something changed that the key does not include, so that stored runs must not be used.
        """
        reports = [float(f"{value:.6g}") if math.isfinite(value) else None for value in self.training.first_reports()]
        spec = {"fingerprint": key, "device": self.training.where}
        if not reports:
            return key
        self.store.remember("first reports", spec, reports)
        known = self.store.recall("first reports", spec)
        pairs = [*zip(known, reports, strict=False)]
        if all(a == b or (a and b and math.isclose(a, b, rel_tol=SAME)) for a, b in pairs):
            return key
        self.changed_unseen = True
        return IDENTITY + hashlib.sha256(repr((key, reports)).encode()).hexdigest()

    def run(self) -> Result:
        """Run the study and return its result."""
        count = self.machine.operations()
        with contextlib.nullcontext() if count is None else threads(count):
            repeats = self.machine.repeats(self.question)
            self.began_after = time.perf_counter() - self.began
            course = self._course()
            result = self._result(course, repeats)
        if not self.question.seeds and self._is_whole and not course.interrupted and not self.reads_only:
            self.store.remember("finished", self._state(course.question, course.seeds), len(self.runs))
        return result

    @property
    def _is_whole(self) -> bool:
        """Whether this process trains all runs, not a slice of them."""
        return self.executor.share == (1, 1)

    def _course(self) -> Course:
        """Train and decide what the protocol requests, until it stops."""
        strategy, question, history = equal if self.question.seeds else race, self.question, History(self.runs)
        asking = Asking(strategy(question))
        while True:
            try:
                step = asking.ask(history)
                if isinstance(step, Stop):
                    return step.result
                if isinstance(step, Decision):
                    history.decisions[step] = self._decide(step)
                else:
                    self._train(step, history)
            except KeyboardInterrupt:
                if not (self._is_whole and self.phase):
                    raise
                history.over[self.phase] = True
                asking = Asking(strategy(question))
            except RestartError:
                history.over.clear()
                asking = Asking(strategy(question))

    def _decide(self, step: Decision) -> Any:
        """A decision that depends on time: load it from the store, else make and store it."""
        if isinstance(step, Begun):
            return self._begin(step.question)
        if isinstance(step, Ended):
            return self._end(step)
        if isinstance(step, Number):
            return self.store.question(self.training.facts.name, self.keys.study(step.question))
        if isinstance(step, Costs):
            return self.machine.costs(step.question.spaces)
        spec = step.spec(self.keys.study(step.question))
        kept = self.store.recall(step.name, spec)
        if kept is None:
            kept = step.decide(self._clock(step))
            if isinstance(step, Fit):
                kept = *kept, self.plan.name if self.plan else None
            self.store.remember(step.name, spec, kept)
        if isinstance(step, Steps):
            self.question = dataclasses.replace(step.question, steps=kept)
        return self._fits(step, kept) if isinstance(step, Fit) else kept

    def _fits(self, step: Fit, kept: Any) -> Fits:
        """Load from a stored decision what fits the budget, and set the plan to train by."""
        *fits, way = kept
        chosen = Fits(*fits)
        if self.plan is None and way is not None and self.plan_name in ("auto", "show"):
            self.plan = self.training.named_plan(way, "as this study was begun")
        if not {*chosen.labels} <= {space.label for space in step.question.spaces}:
            raise self.store.damaged("The fact 'fit' of this study")
        return chosen

    def _begin(self, question: Question) -> float:
        """The alpha of this question. A race that had ended is only read from the store, unless it is continued."""
        race = {"race": self.keys.study(question)}
        self.ended = self.store.recall("ended", race) or self.store.recall("finished", race)  # the latter of earlier versions
        self.reads_only = self.ended is not None and not self.goes_on
        self.progress.plan(int(1.5 * budget.least_runs(question.spaces, question.trials)) * question.steps)
        return st.alpha_at_look(self.store.share(*self.keys.family(question)))

    def _end(self, step: Ended) -> bool:
        """Store that the race has ended, before training anything that depends on it."""
        if self.reads_only and len(self.runs) < (self.ended or 0):  # it was another version's race
            self.reads_only = False
            raise RestartError
        if not self.reads_only and self._is_whole:
            self.store.remember("ended", {"race": self.keys.study(step.question)}, len(self.runs))
        self.phase, self.deadline = AFTER, self.end
        state = self._state(step.question, step.seeds)
        self.reads_only = not self.goes_on and self.store.recall("finished", state) is not None
        return True

    def _state(self, question: Question, seeds: tuple[int, ...]) -> dict[str, Any]:
        """The key of a race at its end: its study, and the number of seeds of each contender."""
        return {"race": self.keys.study(question), "seeds": [*seeds]}

    def _clock(self, step: Decision) -> Clock:
        """The measured times for a decision."""
        workers = self.executor.at_once(self.training)
        clock = Clock(
            left=self.deadline - time.perf_counter(),
            begun=time.perf_counter() - self.end + (self.question.budget or 0.0),
            pace=self.trained / self.seconds if self.trained and self.seconds else None,
            workers=workers,
            local=(local := self.training.workers),
            parallel=workers if workers > local or self.plan is None else self.plan.workers,
            chunked=self.plan is not None and self.plan.chunk > 1,
            reads_only=self.reads_only,
        )
        if isinstance(step, Fit):
            run = self._run_seconds(step.question)
            return dataclasses.replace(clock, run=run, left=self.deadline - time.perf_counter())
        if isinstance(step, Later):
            return dataclasses.replace(clock, known=all(job in self.runs for job in step.jobs))
        if isinstance(step, Steps):
            costs = dict(self.machine.costs(step.question.spaces))
            for label, (seconds, state) in costs.items():
                costs[label] = (seconds or self.machine.timed(step.question)[0], state)
            return dataclasses.replace(clock, costs=costs, evaluations=self.training.evaluations())
        return clock

    def _run_seconds(self, question: Question) -> float:
        """An estimate of the seconds of a run; it also chooses the way to train."""
        self.progress.say("timing a step")
        workers, (step, evaluation) = self.executor.at_once(self.training), self.machine.timed(question)
        alone = (step * question.steps + evaluation) / workers
        if (self.deadline - time.perf_counter()) / alone < FEW:  # timing the other ways would take as long as several runs
            is_open = self.plan_name in ("auto", "show")
            self.plan = self.training.first_plan(workers) if is_open else self._plan([])
            return alone
        if self.plan is None:
            self.plan = self._plan(first_runs(question))
        together = self.plan.ms / 1e3 * question.steps + evaluation / self.plan.workers
        together *= self.training.workers / workers
        return min(alone, together) if self.plan.ms else alone

    def _plan(self, runs: list[Run]) -> Plan:
        """The way to train: the one requested, else the one stored with this study, else the fastest here."""
        if self.plan_name not in ("auto", "show"):
            return self.training.fitted(self.training.named_plan(self.plan_name), self.memory)
        spec = {"study": self.keys.study(self.question), "plan": self.memory or 0}
        known = self.store.recall("way", spec)
        if known is not None:
            return self.training.named_plan(known, "as this study was begun")
        self.progress.say("choosing how to train")
        chosen = self.training.choose(runs, self.memory)
        self.store.remember("way", spec, chosen.name)
        return chosen

    def _train(self, wanted: Wanted, history: History) -> None:
        """Train the missing runs. Chunks are formed from all runs, so that a resumed study has the same chunks."""
        jobs = wanted.jobs
        if self.reads_only:
            history.over[wanted.phase] = False
            return
        known = [i for i, job in enumerate(jobs) if job in self.runs.outcomes]  # all were looked up in the store
        runs = [_run(job) for job in jobs]
        if self.plan is None:
            self.plan = self._plan(runs)
        missing = [job for job in jobs if job not in self.runs.outcomes]
        self.progress.expect(sum(map(gradients, missing)))
        self.progress.say(f"{len(missing)} runs, {self.plan.name}{'; ' + why if (why := wanted.why()) else ''}")
        specs = [self.keys.job(job) for job in jobs]
        slots = checkpoints.beside(self.store.path, [key_of(spec) for spec in specs], self.plan.name)
        began = time.perf_counter()
        try:
            for i, outcome in self.executor.train_all(
                self.training, runs, self.plan, on_step=self._tick, known=known, slots=slots
            ):
                if jobs[i] not in self.runs.outcomes:
                    self._keep(jobs[i], specs[i], outcome)
        except OutOfTimeError:
            history.over[wanted.phase] = False
            return
        finally:
            for code, sentence in self.training.notices().items():
                kept = [self.keys.fingerprint, sentence, code]
                self.store.remember("notice", self.keys.problem() | {"code": code}, kept)
            self.seconds += time.perf_counter() - began
        left = sum(job not in self.runs.outcomes for job in jobs)
        if left:
            raise ShareDoneError(self.trained, left)

    def _tick(self, steps: int) -> None:
        """Callback for steps done; raises OutOfTimeError when the time is up."""
        self.progress.done(steps)
        if time.perf_counter() > self.deadline:
            raise OutOfTimeError

    def _keep(self, job: Job, spec: dict[str, Any], outcome: Outcome) -> None:
        """Store the outcome of a run."""
        names = {k: spec[k] for k in ("schedule", "lr", "seed", "steps")}
        self.store.add_run(spec, {"problem": self.training.facts.name, "optimizer": job.candidate.rule.name, **names}, outcome)
        self.runs.outcomes[job] = as_loaded(outcome)
        self.trained += 1

    def _result(self, course: Course, repeats: bool | None) -> Result:
        course.costs = self.machine.costs(course.question.spaces)  # some are known only after the runs
        made = conclude(course, repeats)
        rows = entries(course, made)
        look, alpha = 0, st.alpha_at_look(1)
        if not self.question.seeds:
            most = max(course.seeds, default=0)
            alpha = course.question.alpha * bounds.spent(max(len(bounds.looks(most)) - 1, 0))
        elif self.question.seeds >= st.LEAST_PAIRS:  # with fewer there is no verdict, and so no look
            look, alpha = self.store.look(self.keys.study(course.question), self.question.seeds, st.alpha_at_look)
        said = notes.notes(self, course, rows, repeats)
        return Result(
            self.training,
            course.question,
            self.training.device,
            made,
            rows,
            self._verdicts(course, rows, look, alpha),
            look,
            alpha,
            self.trained,
            self.runs.stored,
            self.seconds,
            said,
            versions(),
            f"{self.plan}{self.executor.describe(self.training)}" if self.plan else "nothing to train",
            (min(self.runs.days), max(self.runs.days)) if self.runs.days else None,
        )

    def _verdicts(self, course: Course, rows: list[Entry], look: int, alpha: float) -> list[Verdict]:
        """The verdicts on all pairs."""
        question = course.question
        sides = [Side(e.candidate.label, e.values, e.seconds_per_step * e.candidate.steps(question.steps)) for e in rows]
        return judge_all(
            [side for side in sides if side.values],
            direction=question.scale.direction,
            in_points=question.scale.in_points,
            margin=question.margin if question.seeds else course.margin(),
            alpha=alpha,
            next_alpha=st.alpha_at_look(look + 1) if question.seeds else alpha,
        )

    def first_known(self) -> str:
        """The fingerprint first stored under this problem's name; fingerprints in an older format are ignored."""
        return notes.first_known(self.store, self.training.facts.name, self.keys)

    def check_fingerprint(self) -> None:
        """Raise SteepestError if the store has another problem under this name, whose runs must not be shared."""
        if self.first_known() != self.keys.fingerprint:
            raise SteepestError(
                f"{self.training.facts.name} is not the problem that the store knows by this name: its file was edited, or "
                "this processor rounds differently. Run all slices on processors of one kind, or give a new --store."
            )


def _run(job: Job) -> Run:
    """The run of a job, for an executor."""
    c = job.candidate
    return Run(c.rule, c.lr, job.seed, job.length, c.multiplier, job.test, job.examples, until=job.until, config=c.config)
