"""The recorded accuracy of each rule by rate, on digits and MNIST, with three seeds at every rate of a grid.

`python -m steepest_workshop.site.sensitivity` trains missing curves: five minutes on two cores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steepest import problems
from steepest.rules import RULES, Rule
from steepest.study.axes import LEARNING_RATE
from steepest.training import ways
from steepest.training.stacked import Run

from ..lessons import kept

FILE = "sensitivity"
STEPS = {"digits": 500, "mnist-mlp": 1000}
NEAR = 1.0  # points: a rate this close to the best counts as good
SEEDS, RATES = 3, 13  # rates of a log grid, three a decade, around the rule's own


def rates(rule: Rule) -> list[float]:
    """The rates at which a rule is trained."""
    axis = dataclasses.replace(LEARNING_RATE, centre=rule.rate)
    return [*axis.values(axis.first(RATES))]


def made_by(name: str, rule: Rule) -> str:
    """The digest that identifies a curve: the problem, its steps, the seeds, the rates, the rule."""
    return kept.digest(name, STEPS[name], SEEDS, rates(rule), rule.digest)


def record(say: Callable[[str], None] = print) -> None:
    """Train and save the curves that are missing."""
    for name in STEPS:
        problem = problems.get(name)
        for rule in RULES.values():
            if kept.value(FILE, f"{name}, {rule.name}", made_by(name, rule)) is not None:
                continue
            runs = [Run(rule, lr, seed, STEPS[name]) for lr in rates(rule) for seed in range(SEEDS)]
            results = dict(ways.train_all(problem, runs, ways.choose(problem, runs)))
            found = [[results[SEEDS * i + seed].valid for seed in range(SEEDS)] for i in range(len(rates(rule)))]
            kept.keep(FILE, {f"{name}, {rule.name}": (made_by(name, rule), found)})
            say(f"{name}, {rule.name}: {np.nanmax(np.array(found, float)):.2f} %")


def curve(name: str, rule: Rule) -> NDArray[Any] | None:
    """Validation accuracies of shape (rates, seeds), NaN for diverged runs; None if the curve is not recorded."""
    found = kept.value(FILE, f"{name}, {rule.name}", made_by(name, rule))
    return None if found is None else np.array(found, float)


class Facts(NamedTuple):
    """A rule's best rate and accuracy on a problem, and how many decades of rates are within `NEAR` points of it."""

    lr: float
    accuracy: float
    decades: float


def facts(name: str, rule: Rule) -> Facts | None:
    """The facts of a recorded curve; None if it is not recorded."""
    found = curve(name, rule)
    if found is None:
        return None
    means = np.nan_to_num(found, nan=0.0).mean(1)
    return Facts(rates(rule)[int(means.argmax())], float(means.max()), float((means > means.max() - NEAR).sum() / 3))


if __name__ == "__main__":
    record()
