"""What a study comes to: rates that were tried, candidates that were confirmed, and all of it."""

from __future__ import annotations

import dataclasses
import functools
import math
import platform
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
    def diverged(self) -> int:
        """How many runs diverged."""
        return sum(v is None for v in self.values)

    def rank(self, direction: str) -> tuple[int, float, float, float]:
        """Sorts best first: fewest diverged, best mean metric, least mean loss, smallest rate."""
        kept = [(o.valid, o.loss) for o in self.outcomes if o.valid is not None and o.loss is not None]
        if not kept:
            return self.diverged, 0.0, 0.0, self.lr
        metric, loss = np.mean(kept, axis=0).tolist()
        return self.diverged, metric if direction == "min" else -metric, loss, self.lr


@dataclasses.dataclass
class Entry:
    """One candidate's part of a study: its sweep, the rate chosen, and the confirming runs in the order of the seeds."""

    candidate: Candidate
    trials: list[Trial]
    lr: float
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


@dataclasses.dataclass
class Result:
    """A study that ended: entries best first, verdicts on all pairs, and how it came about."""

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
