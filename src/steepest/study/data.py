"""The typed, versioned data of a study, which the store saves and from which answers and reports are made.

All numbers and texts are bounded, and checked when they are read (`store.gate`), as a store may come from someone else. Fields
with a default were added after version 0. `as_json` is the output of `--json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from .answer import Answer
from .recorded import Recorded, check_recorded
from .scalars import Amount, Count, Name, Positive, Real, Scalar, Setting, Step, Steps, Words, expect, grow
from .verdicts import Verdict

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The learning curve of a run. The training loss at a point is the mean since the previous point."""

    steps: list[Step]
    train: list[Real | None]
    valid: list[Real | None]
    metric: list[Real | None]
    diverged_at: Step | None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A learning rate of the sweep: the values of its runs, None for a run without one, and the steps at which runs diverged.

    `settings` are its values on the other axes. `seen` is the length of its longest run. `why` says what was not finite in the
    first run without a value.
    """

    lr: Positive
    values: list[Real | None]
    diverged: Count
    diverged_at: list[Step | None]
    seen: Step | None = None
    settings: dict[str, Scalar] = field(default_factory=dict)
    status: Words = ""
    why: Words = ""

    def as_json(self) -> dict[str, Any]:
        """The trial for JSON."""
        data: dict[str, Any] = {"lr": self.lr, "values": self.values, "diverged": self.diverged}
        data |= {"settings": self.settings} if self.settings else {}
        return data | ({"status": self.status, "why": self.why} if self.status else {})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A space of a study, represented by its best candidate, with its sweep and its runs on the compared seeds.

    `multipliers` are the schedule's (step, multiplier) pairs, `length` the steps of a run, `evaluations` the gradients of a
    step, `variant` the index of the schedule. `lr` is None if nothing was tried. `space` is the label of its space, where the
    candidate's schedule was changed.
    """

    name: Name
    schedule: Name
    label: Name
    space: Name = ""
    lr: Positive | None
    settings: dict[str, Scalar] = field(default_factory=dict)
    hyper: dict[str, Setting]
    lr_at_edge: bool
    seeds: list[Count]
    values: list[Real | None]
    mean: Real | None
    se: Real | None
    diverged: Count
    seconds_per_step: Amount
    state_bytes: Count
    loss: Real | None = None
    fidelity: Real | None = None
    status: Words = ""
    why: Words = ""
    variant: Count
    evaluations: Steps
    length: Steps
    multipliers: Annotated[list[tuple[Step, Real]], msgspec.Meta(min_length=1)]
    runs: list[Curve]
    trials: list[Trial]

    @property
    def n(self) -> int:
        """The number of its runs with a value."""
        return sum(value is not None for value in self.values)

    def as_json(self) -> dict[str, Any]:
        """The entry for JSON."""
        data: dict[str, Any] = {name: getattr(self, name) for name in ENTERED}
        data |= {"settings": self.settings} if self.settings else {}
        data |= {"fidelity": self.fidelity} if self.fidelity is not None else {}
        data |= {name: value for name in ("status", "why") if (value := getattr(self, name))}
        return data | {"sweep": [trial.as_json() for trial in self.trials]}


ENTERED = (  # fields of an entry that go into JSON unchanged
    "name",
    "schedule",
    "lr",
    "hyper",
    "lr_at_edge",
    "seeds",
    "values",
    "mean",
    "se",
    "diverged",
    "seconds_per_step",
    "state_bytes",
    "loss",
)


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The data of a completed study. `ran` describes its runs, `table` is a heading and rows of text.

    `metric` is the name of what was compared: the problem's metric, or a measure that replaced it (`is_measure`).
    """

    version: Count = 0
    problem: Name
    about: Words
    metric: Name
    direction: Literal["min", "max"]
    is_measure: bool = False
    in_points: bool
    split: Name
    steps: Steps
    device: Name
    versions: dict[str, Name]
    answer: Answer
    batch_size: Setting = None
    batches: Words = ""
    optimizers: Annotated[list[Entry], msgspec.Meta(min_length=1, max_length=1_000)]
    verdicts: list[Verdict]
    optimum: tuple[Real, Words] | None
    notes: list[Words]
    table: tuple[list[Words], list[list[Words]]]
    code: Words
    protocol: Words
    ran: Name
    command: Words
    recorded: Recorded | None = None

    def as_json(self) -> dict[str, Any]:
        """The output of `compare --json`. NaN and infinity become null, with the reason in "status"."""
        data = {name: getattr(self, name) for name in SHOWN}
        data["answer"] = self.answer.to_dict()
        data["optimizers"] = [entry.as_json() for entry in self.optimizers]
        data["verdicts"] = [verdict.as_json() for verdict in self.verdicts]
        return data


SHOWN = ("problem", "metric", "direction", "steps", "device", "versions", "batch_size", "optimum", "notes")


def check(study: StudyData) -> None:
    """Raise UnfitError if lists that belong together differ in length, or the data contradict themselves."""
    for entry in study.optimizers:
        expect(len(entry.values) == len(entry.seeds), "values and seeds differ in number")
        expect(entry.lr is not None or not (entry.values or entry.runs), "it has values at no rate")
        for trial in entry.trials:
            expect(len(trial.values) == len(trial.diverged_at), "values and seeds of a rate differ in number")
        for run in entry.runs:
            lengths = {len(run.steps), len(run.train), len(run.valid), len(run.metric)}
            expect(len(lengths) == 1, "a curve has columns of several lengths")
            expect(grow(run.steps), "the steps of a curve do not grow")
    if study.recorded:
        check_recorded(study.recorded)
