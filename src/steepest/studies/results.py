"""What a study comes to: rates that were tried, candidates that were confirmed, and all of it."""

from __future__ import annotations

import dataclasses
import functools
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch

from ..training.recorder import Outcome
from . import statistics as st
from .answers import Answer
from .design import Candidate, Design
from .verdicts import Verdict


@dataclasses.dataclass
class Trial:
    """One rate, tried on the tuning seeds (or, where no rate was searched, on the confirmation seeds)."""

    lr: float
    outcomes: list[Outcome]

    @property
    def values(self) -> list[float | None]:
        """The metric on validation data, None where a run diverged."""
        return [o.valid for o in self.outcomes]

    @property
    def lost(self) -> int:
        """How many runs have no value: they diverged, crashed, or have no finite metric."""
        return sum(v is None for v in self.values)

    @property
    def diverged(self) -> int:
        """How many runs diverged or crashed."""
        return sum(o.status in ("diverged", "failed") for o in self.outcomes)

    def rank(self, direction: str) -> tuple[int, float, float, float]:
        """Sorts best first: fewest without a value, best mean metric, least mean loss, smallest rate."""
        kept = [(o.valid, math.inf if o.loss is None else o.loss) for o in self.outcomes if o.valid is not None]
        if not kept:
            return self.lost, 0.0, 0.0, self.lr
        metric, loss = np.mean(kept, axis=0).tolist()
        return self.lost, metric if direction == "min" else -metric, loss, self.lr


@dataclasses.dataclass
class Entry:
    """One candidate's part of a study: its sweep, the rate chosen, and the confirming runs in the order of the seeds.

    `lr` is None where nothing was tried.
    """

    candidate: Candidate
    trials: list[Trial]
    lr: float | None
    at_edge: bool
    outcomes: list[Outcome]
    split: str
    seconds_per_step: float
    state_bytes: int

    @property
    def values(self) -> list[float | None]:
        """The metric that confirms, None where a run diverged."""
        return [o.test if self.split == "test" else o.valid for o in self.outcomes]

    def summary(self) -> tuple[float | None, float | None, int]:
        """Mean, standard error and count of the values of runs that did not diverge; None where there is none."""
        mean, se, n = st.mean_se([math.nan if v is None else v for v in self.values])
        return *(x.item() if math.isfinite(x) else None for x in (mean, se)), int(n)  # type: ignore[return-value]

    @property
    def rate(self) -> float:
        """The rate of an entry that was tried."""
        assert self.lr is not None
        return self.lr

    @property
    def screened(self) -> Trial | None:
        """The trial of its rate; None where that was not tried."""
        return next((t for t in self.trials if t.lr == self.lr and t.outcomes), None)

    def fidelity(self, steps: int) -> float | None:
        """The share of its steps at which it was seen: 1, or less where it ran in shortened runs alone; None if never."""
        trial = self.screened
        return fidelity_of(self.outcomes or (trial.outcomes if trial else []), self.candidate.steps(steps))


def fidelity_of(outcomes: Sequence[Outcome], steps: int) -> float | None:
    """The share of so many steps that the longest of these runs made, or was to make where it diverged; None without runs."""
    if not outcomes:
        return None
    ended = [o.curve.steps[-1] for o in outcomes if o.diverged_at is None and o.curve.steps]
    return max(ended) / steps if ended else 1.0


def reasons(outcomes: Sequence[Outcome]) -> str:
    """How many of some runs have no value, by kind: "2 of 6 runs diverged"; empty where all have one."""
    words = {"diverged": "runs diverged", "failed": "runs crashed", "no metric": "runs ended without a finite metric"}
    counts = {kind: sum(o.status == kind for o in outcomes) for kind in words}
    return "; ".join(f"{count} of {len(outcomes)} {words[kind]}" for kind, count in counts.items() if count)


def first_why(outcomes: Sequence[Outcome]) -> str:
    """What was not finite in the first run that has no value."""
    return next((o.why for o in outcomes if o.why), "")


@dataclasses.dataclass
class Result:
    """A study that ended: entries best first, verdicts on all pairs, and how it was made.

    `stored` runs were in the store, from the first of `days` to the last.
    """

    design: Design
    entries: list[Entry]
    verdicts: list[Verdict]
    look: int
    alpha: float
    trained: int
    stored: int
    seconds: float
    notes: list[str]
    versions: dict[str, str]
    plan: str = ""
    answer: Answer | None = None
    days: tuple[str, str] | None = None

    @property
    def chosen(self) -> Entry:
        """The entry of the answer's pick; the first where nothing was picked."""
        picked = (entry for entry in self.entries if self.answer and self.answer.is_pick(entry))
        return next(picked, self.entries[0])

    @property
    def split(self) -> str:
        """The data that its values are of: "test" or "validation"."""
        return self.entries[0].split


@functools.cache
def versions() -> dict[str, str]:
    """The versions a result depends on."""
    return {
        "steepest": version("steepest"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
