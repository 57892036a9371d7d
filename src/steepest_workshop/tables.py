"""Recorded runs for replays of the race; `python -m steepest_workshop.tables [NAME ...]` records them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from torch import nn

from steepest import problems, rules, schedules
from steepest.problems.problem import Problem
from steepest.study import space as designs
from steepest.study.axes import LEARNING_RATE
from steepest.study.question import Scale
from steepest.study.race import FRESH_SEEDS
from steepest.study.table import Table
from steepest.training import ways
from steepest.training.stacked import Run

HERE = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Recorded:
    """Validation values of shape (candidates, seeds), NaN for diverged runs; `names` are optimizer, schedule and rate.

    `sign` is 1 if larger values are better, else -1; `example` is the weight of one example in the metric, 0 for a loss.
    """

    names: list[tuple[str, str, float]]
    values: NDArray[np.float64]
    sign: float
    example: float

    @property
    def scale(self) -> Scale:
        """The scale on which its runs are compared."""
        direction = "max" if self.sign > 0 else "min"
        return Scale("metric", direction, self.example > 0, round(100 / self.example) if self.example else 0)

    @functools.cached_property
    def table(self) -> Table:
        """The table for replays: a space for each optimizer and schedule, limited to the recorded rates."""
        pairs = list(dict.fromkeys(name[:2] for name in self.names))
        spaces = designs.spaces([*dict.fromkeys(o for o, _ in pairs)], [*dict.fromkeys(s for _, s in pairs)], None)
        rates = [[lr for o, s, lr in self.names if (o, s) == (space.name, space.schedule)] for space in spaces]
        return Table(spaces, rates, self.values, fresh=len(FRESH_SEEDS))

    @functools.cached_property
    def group(self) -> NDArray[np.int64]:
        """For each candidate, the index of its pair of optimizer and schedule."""
        pairs = [name[:2] for name in self.names]
        order = sorted(set(pairs))
        return np.array([order.index(pair) for pair in pairs])


def diabetes() -> Problem:
    """A 10-16-1 ReLU network on scikit-learn's diabetes data: standardised, squared error, 89 validation examples."""
    data = load_diabetes()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / data.data.std(0), ((data.target - data.target.mean()) / data.target.std())[order, None]
    return Problem(
        name="diabetes",
        model=lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1)),
        loss=nn.MSELoss(),
        train=(x[:264], y[:264]),
        valid=(x[264:353], y[264:353]),
        test=(x[353:], y[353:]),
        batch_size=32,
        steps=300,
    )


# name: problem, steps, optimizers, rates of each in the grid, seeds
RECORDED: dict[str, tuple[Callable[[], Problem], int, tuple[str, ...], int, int]] = {
    "digits": (lambda: problems.get("digits"), 500, rules.CLASSICS, 9, 100),
    "diabetes": (diabetes, 300, rules.CLASSICS, 9, 100),
    "mnist": (lambda: problems.get("mnist-mlp"), 300, ("momentum", "rmsprop", "adam", "adamw"), 3, 60),
}


def record(name: str, progress: Callable[[str], None]) -> None:
    """Train every candidate of a table on every seed, and save the final validation values."""
    make, steps, optimizers, trials, seeds = RECORDED[name]
    problem = make()
    names, runs = [], []
    for optimizer in optimizers:
        rule = rules.get(optimizer)
        for schedule in ("constant", "cosine"):
            axis = replace(LEARNING_RATE, centre=rule.rate)
            for lr in axis.values(axis.first(trials)):
                names.append((optimizer, schedule, lr))
                runs += [Run(rule, lr, seed, steps, schedules.get(schedule)) for seed in range(seeds)]
    values = np.full(len(runs), np.nan)
    for done, (i, outcome) in enumerate(ways.train_all(problem, runs, ways.named("many:64"))):
        values[i] = np.nan if outcome.valid is None else outcome.valid
        if done % 500 == 0:
            progress(f"{name}: {done} of {len(runs)} runs")
    example = 100 / len(problem.valid) if problem.in_points else 0.0
    np.savez_compressed(
        HERE / f"{name}.npz",
        names=np.array([f"{o} {s} {lr!r}" for o, s, lr in names]),
        values=values.reshape(len(names), seeds).astype(np.float32),
        sign=1.0 if problem.direction == "max" else -1.0,
        example=example,
    )


def load(name: str) -> Recorded:
    """Load a recorded table."""
    with np.load(HERE / f"{name}.npz") as file:
        parts = [line.split() for line in file["names"].tolist()]
        names = [(optimizer, schedule, float(lr)) for optimizer, schedule, lr in parts]
        return Recorded(names, file["values"].astype(float), float(file["sign"]), float(file["example"]))


def main(chosen: Iterable[str]) -> None:
    """Record the named tables, or all."""
    for name in chosen or RECORDED:
        record(name, print)


if __name__ == "__main__":
    main(sys.argv[1:])
