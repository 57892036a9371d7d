"""The training by a user's own function: each run calls it in a process, and its first reports are checked beforehand."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from ... import rules, schedules
from ...errors import SteepestError
from ...prints import Silence
from ...problems import IDENTITY
from ...problems.fingerprint import Identity
from ...rules.foreign import Maker, Parts
from .. import ways
from ..apart import Apart
from ..checkpoints import Slot, Slots, nowhere
from ..protocol import Facts, Searched
from ..recorder import Curve, Outcome
from ..single import ignore
from ..stacked import Run
from ..ways import Plan
from .client import Pool
from .definition import Loop, Source
from .running import Asked, Failed, Ran, train
from .watching import RaisedError

FIRST = 20  # reports of a run at the defaults, by which it is checked
SHARE = 0.05  # of the budget, for repeating them
BROKEN = 3  # runs that raise before the first one ends, after which the function itself is assumed to be wrong
MOST_ROUNDED = 1e-6  # relative difference of reports that repeat


class LoopTraining(Apart):
    """The training by a loop; `workers` runs train at the same time, each in a process of its own."""

    def __init__(
        self,
        loop: Loop,
        *,
        device: str = "cpu",
        workers: int | None = None,
        exact: bool = False,
        scheduled: bool = True,
        budget: float | None = None,
    ) -> None:
        self.loop, self.device, self.exact, self.scheduled = loop, device, exact, scheduled
        self.budget = math.inf if budget is None else budget
        gpus = torch.cuda.device_count() if device == "cuda" else 0
        self.workers = workers or (max(gpus, 1) if gpus else ways.workers_on("cpu"))
        threads = max(ways.workers_on("cpu") // self.workers, 1)
        places = [{"CUDA_VISIBLE_DEVICES": str(i % gpus)} for i in range(self.workers)] if gpus else None
        self.pool = Pool(Source.of(loop), self.workers, threads, device, places)
        self._notices: dict[str, str] = {}
        self._raised: list[str] = []
        self._succeeded = False
        self._lengths: set[int] = set()
        self._costs: dict[str, list[tuple[float, int]]] = {}
        try:
            self._first, self._again, self._other = self._tried()
        except BaseException:
            self.pool.close()
            raise
        self.facts = Facts(
            name=loop.name,
            metric=loop.metric,
            direction=loop.direction,
            steps=loop.steps or self._first.length,
            about=loop.about,
            may_test=True,
        )
        self.searched = Searched(config=loop.config, any_length=loop.steps is not None, parts=tuple(self._first.names))

    @property
    def where(self) -> str:
        """The device, and whether updates are exact."""
        return f"{self.device}, exact" if self.exact else self.device

    def _tried(self) -> tuple[Ran, Ran | None, Ran | None]:
        """The first reports of seed 0 at the defaults, the same again, and those of seed 1.

        The last two are left out if they would take more than a share of the budget. Raises SteepestError for a loop that
        cannot be compared.
        """
        first = self._probe(0, quiet=False)
        if 2 * first.outcome.seconds > SHARE * self.budget:
            return first, None, None
        return first, self._probe(0), self._probe(1)

    def _probe(self, seed: int, quiet: bool = True) -> Ran:
        """The first reports of a run at the defaults."""
        schedule = schedules.get("cosine" if self.scheduled else "constant")
        asked = Asked(
            rules.get("adam"),
            1e-3,
            seed,
            self.loop.steps or 0,
            schedule,
            config=self.loop.defaults,
            device=self.device,
            probe=FIRST,
            exact=self.exact,
        )
        ran = self.pool.one(asked, quiet=quiet)
        if isinstance(ran, Failed):
            raise SteepestError(f"{self.loop.name}: {ran.why}")
        self._notices |= ran.notices
        return ran

    def identify(self) -> Identity:
        """The key of the function, of what it reads, and of the files named as its data."""
        key, undigested = self.loop.digest()
        return Identity(IDENTITY + hashlib.sha256(key.encode()).hexdigest(), tuple(undigested))

    def repeats(self, run: Run, other: Run, steps: int) -> bool | None:
        """Whether the first reports of one seed repeat; None if there was no time to see it."""
        if self._again is None or self._other is None:
            return None
        if _alike(self._first, self._other) and self._first.reports:
            self._notices["seed"] = (
                f"{self.loop.name} reports the same numbers for two seeds: it seems to set its own seed. Then all seeds are "
                "one, and intervals are too narrow; use run.seed instead."
            )
        return _alike(self._first, self._again)

    def time(self, run: Run, most: float) -> tuple[float, float]:
        """Seconds of one step, and those before the first one."""
        return max(self._first.seconds_per_step, 1e-9), self._first.started

    def evaluations(self) -> float:
        """Seconds of a run before its first step."""
        return self._first.started

    def costs(self, makers: Sequence[Maker]) -> list[tuple[float, int] | None]:
        """The median seconds of a step and bytes of state in the runs so far."""
        return [self._cost(maker) for maker in makers]

    def _cost(self, maker: Maker) -> tuple[float, int] | None:
        seen = self._costs.get(_kind(maker))
        if not seen:
            return None
        return statistics.median(seconds for seconds, _ in seen), max(state for _, state in seen)

    def train_all(
        self,
        runs: Sequence[Run],
        plan: Plan,
        *,
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train each run in a process, and yield its outcome as it ends. SteepestError for a loop that cannot be compared."""
        left = [i for i in range(len(runs)) if i not in known]
        asked = [asked_of(runs[i], self.device, self.facts.steps, self.loop, self.exact) for i in left]
        for k, ran in self.pool.run_all(asked, on_step or ignore, plan.workers):
            yield left[k], self._outcome(ran, runs[left[k]])

    def _outcome(self, ran: Ran | Failed, run: Run) -> Outcome:
        """The outcome of a run, of which the study has seen what it says of the loop."""
        if isinstance(ran, Failed):
            return self._failed(ran, run)
        self._succeeded = self._succeeded or ran.outcome.valid is not None
        self._notices |= {code: sentence for code, sentence in ran.notices.items() if code not in self._notices}
        if ran.seconds_per_step > 0:
            self._costs.setdefault(_kind(run.rule), []).append((ran.seconds_per_step, ran.state_bytes))
        examples = ran.outcome.examples
        if examples is None:
            return ran.outcome
        self._lengths.add(len(examples))
        if len(self._lengths) > 1:
            self._notices["length"] = (
                f"{self.loop.name} returned values for {' and '.join(map(str, sorted(self._lengths)))} validation examples; "
                "without one value for each of the same examples in every run there is no bound on new examples."
            )
        return ran.outcome

    def _failed(self, ran: Failed, run: Run) -> Outcome:
        """The outcome of a run that raised or whose process died. SteepestError if no run has ended well before."""
        if ran.kind == "refused":
            raise SteepestError(f"{self.loop.name}: {ran.why}")
        self._raised.append(ran.why)
        if len(self._raised) >= BROKEN and not self._succeeded:
            raise SteepestError(f"{self.loop.name} failed in its first {len(self._raised)} runs: {ran.why}")
        if ran.kind == "raised":
            return Outcome(Curve(), None, None, None, max(ran.step, 1), 0.0, why=ran.why)
        return Outcome(Curve(), None, None, None, None, 0.0, failed=True, why=ran.why)

    def notices(self) -> Mapping[str, str]:
        """What was seen of the loop while it trained."""
        return self._notices

    def sent(self) -> SentLoop:
        """The loop, for a cluster."""
        return SentLoop(self.loop, self.device, self.facts.steps, self.exact)

    def first_reports(self) -> Sequence[float]:
        """The first reports of seed 0 at the defaults; none if they do not repeat."""
        if self._again is None or not _alike(self._first, self._again):
            return ()
        return self._first.reports

    def close(self) -> None:
        """End the processes."""
        self.pool.close()


def _kind(maker: Maker) -> str:
    """The name of an optimizer whatever its settings, which change the cost of a step little."""
    if isinstance(maker, Parts):
        return ", ".join(f"{key}: {_kind(part)}" for key, part in maker.parts.items())
    return (maker.base or maker).name


def _alike(a: Ran, b: Ran) -> bool:
    """Whether two probes reported the same numbers, and ended with the same weights."""
    one, two = [*a.reports, a.end], [*b.reports, b.end]
    return len(one) == len(two) and all(
        x == y or math.isclose(x, y, rel_tol=MOST_ROUNDED) or (math.isnan(x) and math.isnan(y))
        for x, y in zip(one, two, strict=True)
    )


def asked_of(run: Run, device: str, usual: int, loop: Loop, exact: bool = False) -> Asked:
    """A run of a study, as the process that trains it needs it.

    At the `usual` length, a loop with epochs sets its steps itself, as they may depend on the size of a batch.
    """
    has_own = loop.steps is None and run.steps == usual
    return Asked(
        run.rule,
        run.lr,
        run.seed,
        0 if has_own else run.steps,
        run.schedule,
        until=run.until,
        config=dict(run.config),
        device=device,
        final=run.test,
        exact=exact,
    )


@dataclass(frozen=True)
class SentLoop:
    """A loop as a cluster's node receives it; its runs train in the node's worker, one after the other."""

    loop: Loop
    device: str
    usual: int
    exact: bool

    def train(self, runs: Sequence[Run], plan: Plan, slot: Slot) -> list[Outcome]:
        """Train the runs of a block, in order."""
        made: list[Outcome] = []
        for run in runs:
            try:
                with Silence():
                    made.append(train(self.loop, asked_of(run, self.device, self.usual, self.loop, self.exact)).outcome)
            except RaisedError as error:
                made.append(Outcome(Curve(), None, None, None, max(error.step, 1), 0.0, why=str(error)))
        return made
