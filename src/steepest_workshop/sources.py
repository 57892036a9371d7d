"""Where replayed studies draw their runs from: recorded tables, recorded worlds, and simulated ones, all with a known truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from steepest.study.question import Scale
from steepest.study.table import Table, arms

from . import tables
from .worlds import WORLDS, Drawn, World

Array = NDArray[np.float64]

MARGIN = 0.5  # of simulated races, in standard deviations of a run
CLEAR = 4.0  # standard errors of a comparison by which longer simulated runs differ, so that their order is clear


class Source(Protocol):
    """Runs with a known truth; `draw` makes a study of them, with this many seeds for its race."""

    name: str

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn: ...


class Classic:
    """A recorded table without examples: digits, diabetes or mnist."""

    def __init__(self, name: str) -> None:
        self.name, self.recorded = name, tables.load(name)
        values = self.recorded.sign * self.recorded.values
        lost = np.isnan(values)
        means = np.where(lost.all(1), -np.inf, np.where(lost, 0.0, values).sum(1) / np.maximum((~lost).sum(1), 1))
        names = list(self.recorded.table.rows)
        self.here, self.lost = dict(zip(names, means, strict=True)), dict(zip(names, lost.mean(1), strict=True))

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        """Draw seeds with replacement."""
        table = self.recorded.table
        columns = rng.integers(0, self.recorded.values.shape[1], 3 + seeds + table.fresh)
        return Drawn(table.drawn(columns), self.recorded.scale, self.here, self.lost)


@dataclasses.dataclass
class Simulated:
    """Candidates with normal effects of seeds and examples, crossed; `means` are true, in standard deviations of a run."""

    name: str
    means: Array
    of_examples: float = 1.0  # standard deviation of an example's effect on one candidate
    validation: int = 100
    longer: Array | None = None  # true means in longer runs, where all spread by 1

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        """Draw new seeds and new examples."""
        count, runs = len(self.means), seeds + 5
        by_seed, by_example = rng.standard_normal((count, runs, 1)), rng.standard_normal((count, 1, self.validation))
        rest = rng.standard_normal((count, runs, self.validation))
        examples = self.means[:, None, None] + by_seed + self.of_examples * (by_example + rest)
        names = [(f"{k:03}", 1.0) for k in range(count)]
        here = self.means + self.of_examples * by_example.mean((1, 2))
        made = arms(examples.mean(2), 5)
        unused = np.zeros((count, 3, self.validation))
        after = None if self.longer is None else self.longer[:, None] + rng.standard_normal((count, 5))
        rates = [(1.0,)] * count
        table = Table(made.spaces, rates, made.recorded, 5, examples=np.concatenate([unused, examples], 1), longer=after)
        scale = Scale("value", "max", examples=self.validation)
        none = dict.fromkeys(names, 0.0)
        new = dict(zip(names, self.means.tolist(), strict=True))
        later = None if self.longer is None else dict(zip(names, self.longer.tolist(), strict=True))
        return Drawn(table, scale, dict(zip(names, here.tolist(), strict=True)), none, new, later, margin=MARGIN)


@dataclasses.dataclass
class Hurried:
    """A world whose races have a budget of few runs, from one that shortens screening runs to one that ends the race early."""

    world: World
    name: str
    runs: tuple[int, ...] = (8, 14, 22, 40, 90)

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        """Draw as the world does, and the number of runs that the budget has time for."""
        return self.world.draw(rng, seeds)._replace(longer=None, runs=int(rng.choice(self.runs)))


STEPS = np.arange(6.0)
SOURCES: dict[str, Callable[[], Source]] = {
    **{name: lambda name=name: Classic(name) for name in ("digits", "diabetes", "mnist")},  # type: ignore[misc]
    **{name: lambda name=name: World(name) for name in WORLDS},  # type: ignore[misc]
    "tuning, hurried": lambda: Hurried(World("tuning"), "tuning, hurried"),
    "symbols, hurried": lambda: Hurried(World("symbols"), "symbols, hurried"),
    "ladder": lambda: Simulated("ladder", -0.3 * STEPS, longer=-CLEAR * math.sqrt(2 / 5) * STEPS),
    "equal": lambda: Simulated("equal", np.zeros(6), of_examples=3.0, longer=np.zeros(6)),
}
NULL = ("equal",)  # tables on which nothing is better, so that only guarded claims are judged
