"""Comparisons of optimizers by their test accuracies, with more seeds where two are undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steepest import schedules
from steepest.api import Study
from steepest.problems.problem import Problem
from steepest.study.verdicts import ACCURACY_MARGIN
from steepest.training import ways
from steepest.training.stacked import Run

from . import Row, claim, spread

UNDECIDED = "undecided: it needs more seeds"
LOOKS = 4  # of a comparison: with 20, 40, 80 and 160 seeds
Values = Mapping[str, "np.ndarray[Any, np.dtype[np.float64]]"]  # test accuracies of a candidate, seed by seed


def accuracies(study: Study) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """The test accuracies of each candidate by its label, seed by seed."""
    return {entry.candidate.label: np.array(entry.values, float) for entry in study.result.entries}


def trained(problem: Problem, runs: Sequence[Run], *shape: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Test accuracies of runs, in this shape; nan where one diverged."""
    results = dict(ways.train_all(problem, runs, ways.choose(problem, runs)))
    return np.array([results[i].test for i in range(len(runs))], float).reshape(shape)


def settled(problem: Problem, study: Study, pairs: Sequence[tuple[str, str]], asked: int) -> Values:
    """The accuracies of a study; candidates of pairs that are undecided have twice as many seeds, up to LOOKS times.

    The rates stay as they were chosen. A comparison that is looked at LOOKS times must be as sure as if it were so many.
    """
    values, entries = accuracies(study), {entry.candidate.label: entry for entry in study.result.entries}
    steps = problem.steps or 1000
    for _ in range(LOOKS - 1):
        undecided = {label for pair in pairs if against(values, *pair, asked * LOOKS)[0] is None for label in pair}
        runs = []
        for label in sorted(undecided):
            candidate, lr, count = entries[label].candidate, entries[label].candidate.lr, len(values[label])
            schedule = schedules.get(candidate.schedule)
            more = range(count, 2 * count)
            runs += [Run(candidate.rule, lr, k, steps, schedule=schedule, test=True) for k in more]
        if not runs:
            break
        tested = trained(problem, runs, len(undecided), -1)
        values |= {label: np.append(values[label], row) for label, row in zip(sorted(undecided), tested, strict=True)}
    return values


def against(values: Values, a: str, b: str, asked: int = 1) -> tuple[float | None, str]:
    """1 where a is better than b, -1 where worse, 0 where they are tied, None where that is undecided; and in words.

    A comparison planned beforehand, on the seeds that both have, by the paired interval at 95 %, or at more where several are
    `asked` at once.
    """
    count = min(len(values[a]), len(values[b]))
    mean, half = spread(values[a][:count] - values[b][:count], 0.05 / asked)
    tied = abs(mean) + half <= ACCURACY_MARGIN
    lead = 0.0 if tied else 1.0 if mean > half else -1.0 if mean < -half else None
    relation = {0.0: "tied with", 1.0: "better than", -1.0: "worse than", None: "undecided against"}[lead]
    return lead, f"{relation} {b} ({mean:+.2f} +- {half:.2f} points, {count} seeds)"


def scores(study: Study) -> str:
    """Mean and standard error of each candidate, best first."""
    entries = ((entry.candidate.label, entry.summary()) for entry in study.result.entries)
    return ", ".join(f"{label} {mean or np.nan:.2f} +- {se or np.nan:.2f}" for label, (mean, se, _) in entries)


def as_good(source: str, printed: str, words: str, lead: float | None) -> Row:
    """A claim that something is at least as good as another."""
    return claim(source, printed, words, None if lead is None else lead >= 0, UNDECIDED)
