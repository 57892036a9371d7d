"""The design of a study: which optimizers, schedules, rates and seeds, at equal work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .. import rules
from .. import schedules as multipliers
from ..errors import SteepestError
from ..problems.problem import Problem
from ..rules import Rule
from ..schedules import Schedule
from .rates import Rates, rates_of

GROWTH, MOST_GROWN = 2, 6  # rates added when a best rate lies on an edge, and the most added in all
MOST_GROWN_IN_TIME = 18  # added while half of a race's budget is left: six decades more
TUNING_SEEDS = (1_000_000, 1_000_001, 1_000_002)  # far from the confirmation seeds 0, 1, 2, ...


@dataclass(frozen=True)
class Candidate:
    """One optimizer under one schedule. `rates` are the user's, or None: search a grid."""

    rule: Rule
    multiplier: Schedule
    label: str
    rates: tuple[float, ...] | None

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        return self.multiplier.name

    def steps(self, evaluations: int) -> int:
        """The steps that take this many gradients: equal work for a rule that takes several a step."""
        return max(1, evaluations // self.rule.evaluations)


@dataclass(frozen=True)
class Design:
    """What a study will do. `seeds` are those of the equal protocol, 0 for a race; `margin` is None for the default.

    `plan` is how runs are trained (`training.ways`), `memory` the bytes that those trained at once may take.
    `typed_optimizers` says that the optimizers were named by the user, and not taken by default. `engine` is "local", or
    "ray" to train on the cluster at `address` (None: one that is begun here). `share` (i, n) trains only the i-th of n parts of
    what is missing, and then ends.
    """

    problem: Problem
    candidates: tuple[Candidate, ...]
    seeds: int
    steps: int
    trials: int
    margin: float | None
    device: str
    plan: str = "auto"
    memory: int | None = None
    typed_optimizers: bool = True
    engine: str = "local"
    address: str | None = None
    share: tuple[int, int] = (1, 1)

    @property
    def split(self) -> str:
        """The data that confirm: "test" where the problem has them, else "validation"."""
        return "test" if self.problem.test is not None else "validation"


def candidates(optimizers: Sequence[str | Rule], schedules: Sequence[str | Schedule], rates: Rates) -> tuple[Candidate, ...]:
    """Every optimizer under every schedule, with its rates. SteepestError for an unknown name, a doubled one, a bad rate."""
    chosen = [rules.get(name) for name in optimizers]
    courses = [multipliers.get(schedule) for schedule in schedules]
    for what, names in (("optimizer", [r.name for r in chosen]), ("schedule", [c.name for c in courses])):
        if not names:
            raise SteepestError(f"No {what} was given; name at least one.")
        doubled = next((n for n in names if names.count(n) > 1), None)
        if doubled:
            raise SteepestError(f"The {what} '{doubled}' was given twice; name each once.")
    rates_by_name = rates_of(rates, [r.name for r in chosen])
    made = []
    for rule in chosen:
        for course in courses:
            label = rule.name if len(courses) == 1 else f"{rule.name}+{course.name}"
            made.append(Candidate(rule, course, label, rates_by_name.get(rule.name)))
    return tuple(made)


def rate(k: int) -> float:
    """Rate k of the log grid, three a decade, to two digits: 10 ** (k / 3)."""
    return float(f"{10 ** (k / 3):.1e}")


def first_grid(rule: Rule, trials: int) -> range:
    """Indices into the log grid: `trials` of them around the rule's own centre."""
    centre = round(3 * math.log10(rule.rate))
    return range(centre - trials // 2, centre - trials // 2 + trials)


def grow(grids: list[range], best: list[int], trials: int, most: int = MOST_GROWN) -> list[range] | None:
    """Every grid longer by GROWTH rates if any best index lies on an edge, toward that edge or to both sides; else None.

    None too where the cap is reached: `trials` + `most` rates.
    """
    edges = [_edge(grid, b) for grid, b in zip(grids, best, strict=True)]
    if not any(edges) or len(grids[0]) + GROWTH > trials + most:
        return None
    half = GROWTH // 2
    return [
        range(grid.start - (GROWTH, half, 0)[edge + 1], grid.stop + (0, half, GROWTH)[edge + 1])
        for grid, edge in zip(grids, edges, strict=True)
    ]


def _edge(grid: range, best: int) -> int:
    """-1 on the low edge, 1 on the high one, 0 inside."""
    return -1 if best == grid[0] else int(best == grid[-1])
