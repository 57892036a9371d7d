"""The answer of a race: what to pick, how much one could lose by it, and what would make it surer. Data, then sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..training.recorder import Outcome
from . import bounds
from .bounds import Standing
from .design import Candidate
from .statistics import ALPHA, mean_se


@dataclass(eq=False)
class Contender:
    """A candidate at one rate, and its runs on seeds 0, 1, 2, ..."""

    candidate: Candidate
    lr: float
    outcomes: list[Outcome] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.candidate.label} at {self.lr:g}"

    def named(self) -> dict[str, Any]:
        """Its name, schedule and rate, as JSON has them."""
        return {"name": self.candidate.rule.name, "schedule": self.candidate.schedule, "lr": self.lr}


@dataclass(frozen=True)
class Figure:
    """A mean over seeds that nothing was chosen by."""

    mean: float
    se: float | None
    n: int
    split: str


@dataclass(frozen=True)
class Place:
    """How one that ran on common seeds stands: "pick", "possible" or "ruled out".

    It is at least and at most so far behind the best, in the metric's units; None where nothing bounds it.
    """

    contender: Contender
    standing: str
    at_least: float
    at_most: float | None


@dataclass(frozen=True)
class Look:
    """What was known at a time of a race: after so many runs and seconds of training, the pick, its bound, everyone's seeds."""

    runs: int
    seconds: float
    pick: str
    bound: float | None
    seeds: dict[str, int]


@dataclass(frozen=True)
class Measure:
    """Another measure than the metric: who is best by it, with its mean, and the pick's mean."""

    what: str
    best: Contender
    value: float
    own: float

    def __str__(self) -> str:
        value, own = (f"{x:,}" if isinstance(x, int) else f"{x:.4g}" for x in (self.value, self.own))
        return f"{self.what} {self.best} ({value}; the pick {own})"


@dataclass(frozen=True)
class Longer:
    """What runs of several times the steps came to: by how much the pick is ahead of `other` on so many seeds.

    `ahead` is the difference of the means in the metric's units, more being better for the pick; None where a run collapsed.
    """

    other: Contender
    steps: int
    seeds: int
    ahead: float | None

    def words(self, unit: str) -> str:
        """The sentence of it."""
        if self.ahead is None:
            return f"At {self.steps} steps a run of the first two collapsed."
        word = "is still ahead of" if self.ahead >= 0 else "falls behind"
        return f"At {self.steps} steps it {word} {self.other} (by {abs(self.ahead):.2g}{unit}, {self.seeds} seeds)."

    def to_dict(self) -> dict[str, Any]:
        """The data as JSON has them."""
        data = {**self.other.named(), "steps": self.steps, "seeds": self.seeds, "ahead": self.ahead}
        return _explained(data, "a run of the first two collapsed")


@dataclass(frozen=True)
class Answer:
    """What is known when a race stops. Bounds are in the metric's units, None where nothing bounds.

    `bound` is how much better than the pick any other of the `compared` could be, with `confidence`, on these validation
    examples; `bound_new_data` on new ones. `possible` may still be the best, each with how far ahead it could be; `rejected`
    diverged or collapsed. `limit` says what limits the answer: "margin", "time" or "examples". `edge`: the pick's rate is the
    first or last of those tried. `fidelity` is the share of its steps at which the pick was compared. `repeats`: whether runs
    repeat at one seed, None where that was not tried. `lost` says why no run has a value, where none has.
    """

    pick: Contender | None
    bound: float | None
    bound_new_data: float | None
    compared: int
    possible: list[tuple[Contender, float]]
    ruled_out: list[Contender]
    rejected: list[tuple[Contender, int, int]]
    not_followed: int
    limit: str
    margin: float
    unit: str
    examples: int
    seconds_to_margin: float | None
    collapse: tuple[int, int]
    figure: Figure | None
    edge: bool
    fidelity: float | None
    repeats: bool | None
    lost: str
    cheaper: tuple[Contender, float, float] | None  # how far behind at most, and its share of the pick's state
    beside: list[Measure]
    places: list[Place]
    looks: list[Look]
    typed: bool
    steps: int
    longer: Longer | None
    question: int
    saturated: bool
    raced: bool
    confidence: float = 1 - ALPHA
    screened: float | None = None  # the share of its steps after which the pick's screening runs ended

    def is_pick(self, entry: Any) -> bool:
        """Whether a study's entry is the pick's."""
        return self.pick is not None and entry.candidate is self.pick.candidate

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON has it."""
        pick, figure, (seen, of) = self.pick, self.figure, self.collapse
        most = bounds.most_collapses(seen, of) if of else None
        shown = figure and _explained({"mean": figure.mean, "se": figure.se, "n": figure.n}, "one run has no standard error")
        data: dict[str, Any] = {
            "optimizer": pick and pick.candidate.rule.name,
            "schedule": pick and pick.candidate.schedule,
            "lr": pick and pick.lr,
            "hyper": {k: v for k, v in pick.candidate.rule.hyper.items() if k != "lr"} if pick else {},
            "bound": self.bound,
            "bound_new_data": self.bound_new_data,
            "confidence": self.confidence,
            "compared": self.compared,
            "possible": [_explained({**one.named(), "ahead_at_most": finite(x)}, "too few seeds") for one, x in self.possible],
            "ruled_out": [one.named() for one in self.ruled_out],
            "rejected": [{**one.named(), "collapsed": k, "of": n} for one, k, n in self.rejected],
            "not_followed": self.not_followed,
            "limit": self.limit,
            "margin": self.margin,
            "seconds_to_margin": self.seconds_to_margin,
            "collapse": _explained({"seen": seen, "of": of, "at_most": most}, "no run"),
            "cheaper": self._cheaper(),
            "longer": self.longer and self.longer.to_dict(),
            "saturated": self.saturated,
            "beside": [{"measure": m.what, **m.best.named(), "value": m.value, "pick": m.own} for m in self.beside],
            "test": shown if figure and figure.split == "test" else None,
            "fresh": shown if figure and figure.split != "test" else None,
            "fidelity": self.fidelity,
            "repeats": self.repeats,
            "axes": [self._axis()] if pick else [],
            "question": self.question,
            "sentence": self.sentence,
        }
        whys = []
        if self.pick is None:
            whys.append(self.sentence)
        elif self.bound is None:
            whys.append("under five shared seeds, or nothing to compare with: no bound")
        elif self.bound_new_data is None:
            whys.append("no bound on new examples: that wants a race, by a metric that is a mean over examples")
        if self.repeats is None:
            whys.append("whether runs repeat at one seed was not tried: that would take over 3 % of the budget")
        return data | ({"status": "; ".join(whys)} if whys else {})

    def _axis(self) -> dict[str, Any]:
        """The rate as an axis: the range near the pick that costs little is not known, and why."""
        unknown = dict.fromkeys(("low", "high", "cost_under"))
        return {"name": "lr", **unknown, "edge": self.edge, "status": "one seed cannot bound what rates near the pick's cost"}

    def _cheaper(self) -> dict[str, Any] | None:
        """A candidate with less state that is near the best, as JSON has it."""
        if self.cheaper is None:
            return None
        one, behind, share = self.cheaper
        return {**one.named(), "at_most": behind, "state": share}

    def __str__(self) -> str:
        return "\n".join([self.sentence, *self.details()])

    @property
    def sentence(self) -> str:
        """What to pick and how much one could lose by it."""
        if self.pick is None and not self.compared:
            return "Nothing was tried: the time was spent before the first run ended; give a longer --budget."
        if self.pick is None:
            return self._nothing()
        course = "" if self.pick.candidate.schedule == "constant" else f" with {self.pick.candidate.schedule}"
        edge = f", the best rate {'given, the first or last' if self.typed else 'tried, at the edge of its grid'}"
        lead = f"Use {self.pick.candidate.rule.name}{course} at {self.pick.lr:g}{edge if self.edge else ''}."
        if self.bound is None:
            tried = f" It did best of the {self.compared} tried" if self.compared > 1 else " Nothing else was tried"
            short = f", in runs that ended after {self.seen}" if self.is_short else ""
            if not self.is_short and self.screened is not None and self.screened < 1:
                short = f", told apart in runs that ended after {round(self.screened * self.steps)} of {self.steps} steps"
            return f"{lead}{tried}{short}, on too few seeds to say how much better another could be."
        rates = " at the rates given" if self.typed else ""
        here = f"on these {self.examples} validation examples ({100 * self.confidence:.0f} %)"
        others = self.compared - 1
        if self.bound == 0:
            none = "The other one" if others == 1 else f"None of the other {others}"
            line = f" {none} compared{rates} is {'not ' if others == 1 else ''}better {here}"
        else:
            line = f" No other of the {self.compared} compared{rates} is better by more than {self._by(self.bound)} {here}"
        if self.bound_new_data is not None:
            new = f"by more than {self._by(self.bound_new_data)}" if self.bound_new_data else "none either"
            line += f"; on new examples, {new}"
        return f"{lead}{line}."

    def _nothing(self) -> str:
        """Why nothing can be picked."""
        if "finite metric" in self.lost:
            return f"Nothing can be picked: {self.lost}. Mend the metric, or give one that is finite."
        if "crashed" in self.lost:
            return f"Nothing can be picked: {self.lost}. See what ends the process: memory, or a library that crashes."
        why = f" ({self.lost})" if self.lost else ""
        return f"Nothing can be picked: every run diverged or ended no better than it began{why}; try smaller rates."

    @property
    def is_short(self) -> bool:
        """Whether the pick was compared in shortened runs alone."""
        return self.fidelity is not None and self.fidelity < 1

    @property
    def seen(self) -> str:
        """The steps at which the pick was compared: "500 steps", or "125 of 500 steps"."""
        if not self.is_short:
            return f"{self.steps} steps"
        return f"{round((self.fidelity or 0) * self.steps)} of {self.steps} steps"

    def _by(self, amount: float) -> str:
        return f"{amount:.2g}{self.unit}"

    def details(self) -> list[str]:
        """What else a user would ask, a line each."""
        lines = []
        if self.figure:
            spread = f" ± {self.figure.se:.2g}" if self.figure.se else ""
            data = "test data" if self.figure.split == "test" else "the same validation examples"
            seeds = "fresh seeds" if self.raced else "the seeds compared"
            whole = f", {self.steps} steps" if self.is_short else ""
            lines.append(f"On {data}, {seeds}{whole}: {self.figure.mean:.5g}{spread} (n = {self.figure.n}).")
        if self.saturated:
            lines.append("Saturated: the best reach the end of the scale, where nothing tells them apart.")
        if self.possible:
            shown = [f"{one} (by at most {self._by(ahead)})" for one, ahead in self.possible[:6] if math.isfinite(ahead)]
            more = f", and {len(self.possible) - 6} more" if len(self.possible) > 6 else ""
            lines.append(f"Could still be better: {', '.join(shown)}{more}." if shown else "")
        if self.ruled_out:
            open_ = {one.candidate.label for one in (self.pick, *(one for one, _ in self.possible)) if one}
            names = [str(one) for one in self.ruled_out if one.candidate.label not in open_]
            lines.append(f"Not the best, at these rates: {', '.join(names)}." if names else "")
        if self.rejected:
            words = ", ".join(self._rejected())
            lines.append(f"Rejected, since half of their runs or more diverged or learned nothing: {words}.")
        if self.not_followed:
            lines.append(f"Not followed further, since they began worse on one to three seeds: {self.not_followed}.")
        seen, of = self.collapse
        if of:
            lines.append(f"Collapsed runs of the pick: {seen} of {of} (up to {100 * bounds.most_collapses(seen, of):.2g} %).")
        if self.cheaper:
            one, behind, share = self.cheaper
            why = f"with {100 * share:.0f} % of the state" if share else "and keeps no state"
            lines.append(f"Cheaper: {one}, at most {self._by(behind)} behind the best, {why}.")
        if self.beside:
            lines.append(f"By other measures: {', '.join(map(str, self.beside))}.")
        lines.append(self._limits())
        lines.append(f"All this for {self.seen}.{' ' + self.longer.words(self.unit) if self.longer else ''}")
        if self.question > 1:
            lines.append(f"This is question {self.question} asked of this store about this problem.")
        return [line for line in lines if line]

    def _rejected(self) -> Iterator[str]:
        """Of each candidate the rates rejected: from one on above those that raced, up to one below them."""
        raced = {place.contender.candidate.label: place.contender.lr for place in self.places}
        rates: dict[str, list[float]] = {}
        for one, _, _ in self.rejected:
            rates.setdefault(one.candidate.label, []).append(one.lr)
        for label, lost in rates.items():
            high = [lr for lr in lost if lr > raced.get(label, 0.0)]
            low = [lr for lr in lost if lr not in high]
            parts = [f"from {min(high):g}"] if high else []
            yield f"{label} {' and '.join([*([f'up to {max(low):g}'] if low else []), *parts])}"

    def _limits(self) -> str:
        if self.bound is None:
            return ""
        if self.limit == "examples":
            return "What limits this is the number of validation examples: more seeds would tell no more about new ones."
        if self.limit == "margin":
            return f"It ended because the bound is within the margin of {self._by(self.margin)}."
        if self.seconds_to_margin is None:
            return f"It ended because the time was spent; the margin is {self._by(self.margin)}."
        return f"About {self.seconds_to_margin:.0f} s more would bring the bound to the margin of {self._by(self.margin)}."


def figure_of(values: list[float], split: str) -> Figure | None:
    """Mean and standard error of values; None where there are none."""
    mean, se, n = mean_se(values)
    return Figure(mean.item(), se.item() if n > 1 else None, int(n), split) if n else None


def _explained(data: dict[str, Any], why: str) -> dict[str, Any]:
    """The data as they are, with a status where something in them is not known."""
    return data | {"status": why} if None in data.values() else data


def finite(x: float) -> float | None:
    """The number, or None where it is infinite or none."""
    return x if math.isfinite(x) else None


def runs_to_margin(now: Standing, margin: float) -> float | None:
    """About how many runs more bring the bound within the margin: intervals narrow as one over the root of the seeds."""
    runs = 0.0
    for c in np.flatnonzero(now.possible & (now.ahead[:, now.pick] > margin)).tolist():
        if c == now.pick:
            continue
        ahead, back = now.ahead[c, now.pick], now.ahead[now.pick, c]
        if not (math.isfinite(ahead) and math.isfinite(back)):
            return None
        mean, half = (ahead - back) / 2, (ahead + back) / 2
        if mean >= margin:
            return None
        seeds = int(min(now.seeds[c], now.seeds[now.pick]))
        runs = max(runs, 0.0) + seeds * ((half / (margin - mean)) ** 2 - 1)
    return max(runs, 0.0)
