"""How each rule's accuracy hangs on its rate: digits and MNIST, three seeds at every rate of a grid, kept with digests.

`python -m steepest_workshop.site.sensitivity` trains what is not kept, five minutes on two cores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steepest import problems
from steepest.rules import RULES, Rule
from steepest.study.space import LEARNING_RATE
from steepest.training import ways
from steepest.training.stacked import Run

from ..lessons import kept

FILE = "sensitivity"
STEPS = {"digits": 500, "mnist-mlp": 1000}
NEAR = 1.0  # points: a rate within this of the best is as good for a first try
SEEDS, RATES = 3, 13  # rates of a log grid, three a decade, around the rule's own


def rates(rule: Rule) -> list[float]:
    """The rates that a rule is tried at."""
    axis = dataclasses.replace(LEARNING_RATE, centre=rule.rate)
    return [*axis.values(axis.first(RATES))]


def made_by(name: str, rule: Rule) -> str:
    """The digest of what a curve comes from."""
    return kept.digest(name, STEPS[name], SEEDS, rates(rule), rule.digest)


def record(say: Callable[[str], None] = print) -> None:
    """Train what is not kept."""
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
    """Validation accuracies (rates, seeds), nan where a run diverged; None where nothing is kept."""
    found = kept.value(FILE, f"{name}, {rule.name}", made_by(name, rule))
    return None if found is None else np.array(found, float)


class Facts(NamedTuple):
    """What is measured of a rule on a problem: the best rate and accuracy, and how many decades of rates are near the best."""

    lr: float
    accuracy: float
    decades: float


def facts(name: str, rule: Rule) -> Facts | None:
    """From the curve that is kept."""
    found = curve(name, rule)
    if found is None:
        return None
    means = np.nan_to_num(found, nan=0.0).mean(1)
    return Facts(rates(rule)[int(means.argmax())], float(means.max()), float((means > means.max() - NEAR).sum() / 3))


if __name__ == "__main__":
    record()
