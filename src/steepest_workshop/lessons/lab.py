"""Document 002: races in a valley and on a saddle, a rate of 100 times 0.65 to the epoch, Adam then SGD, BatchNorm."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from steepest import rules, schedules, surfaces
from steepest.api import compare
from steepest.paths.descent import descend
from steepest.training.stacked import Run

from . import Row, agreed, claim, close_to, spread, sweeps
from .compared import trained
from .training import document, mlp

SOURCE = "002"


def rows(tier: str, say: Callable[[str], None]) -> Iterator[Row]:
    """LambdaLR's rates, the races in numbers, the statistics of BatchNorm; then Adam followed by SGD on MNIST."""
    say("002: schedules and races")
    ours = schedules.exponential(gamma=0.65)
    for epoch in range(10):
        words = f"LambdaLR, rate in epoch {epoch}"
        yield close_to(SOURCE, words, 100 * 0.65**epoch, 100 * ours(epoch, 10), 1e-11, power="echo")
    yield from _races()
    yield from _normalization()
    if tier != "quick":
        yield from sweeps.of_lab(say)
        yield from _ends(say)
        yield from _regularized(say)


def _races() -> Iterator[Row]:
    saddle = surfaces.get("saddle")
    path = descend(saddle, [rules.get("momentum")], saddle.start, 50).paths[0]
    speed = np.linalg.norm(np.diff(path.points, axis=0), axis=1)[30:]
    sentence = f"its steps grow one after another, from {speed[0]:.2g} at step 30 to {speed[-1]:.2g} at step 50"
    yield claim(SOURCE, "SGD with momentum speeds up more and more", sentence, bool((np.diff(speed) > 0).all()))


def _normalization() -> Iterator[Row]:
    """BatchNorm normalises over N, H and W, and not over C."""
    x = 3 + 2 * torch.randn(8, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    y = nn.BatchNorm2d(5)(x).detach()
    over = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    largest = float((y - over).abs().max())
    words = f"its output differs by at most {largest:.1g} from x less its mean over N, H and W, over the root of that variance"
    yield claim(SOURCE, "BatchNorm normalises over N, H and W, and not over C", words, largest < 1e-5)


def _ends(say: Callable[[str], None]) -> Iterator[Row]:
    """Adam, SGD and momentum at equal tuning, after few steps and after many."""
    ahead, parts = {}, []
    for steps in (200, 6000):
        say(f"002: Adam and SGD after {steps:,} steps")
        study = compare(document(), "adam,sgd,momentum", schedules="constant", steps=steps, seeds=10, store=":memory:")
        accuracies = {e.candidate.rule.name: np.array(e.values, float) for e in study.result.entries}
        parts.append(f"after {steps:,} steps Adam {accuracies['adam'].mean():.2f} %")
        for name in ("sgd", "momentum"):
            mean, half = spread(accuracies["adam"] - accuracies[name])
            ahead[steps, name] = 1 if mean > half else -1 if mean < -half else 0
            parts.append(f"{name} {accuracies[name].mean():.2f} % (Adam's lead {mean:+.2f} +- {half:.2f})")
    words = f"at tuned rates, ten seeds: {', '.join(parts)}"
    behind = [name for name in ("sgd", "momentum") if ahead[200, name] > 0]
    otherwise = f"depends: faster than {', '.join(behind)} only"
    yield claim(SOURCE, "Adam converges fast", words, agreed(ahead[200, name] > 0 for name in ("sgd", "momentum")), otherwise)
    better = [name for name in ("sgd", "momentum") if ahead[6000, name] < 0]
    holds = agreed(ahead[6000, name] < 0 for name in ("sgd", "momentum"))
    yield claim(SOURCE, "SGD ends better, but takes longer", words, holds, f"depends: {', '.join(better)} does")


def _regularized(say: Callable[[str], None]) -> Iterator[Row]:
    """Networks with Dropout, with BatchNorm, with both, with neither."""
    say("002: Dropout and BatchNorm")
    problem, parts, gains = document(), [], {}

    def network(drop: bool, norm: bool) -> nn.Module:
        first, act, last = mlp((784, 100, 10))
        return nn.Sequential(first, *([nn.BatchNorm1d(100)] if norm else []), act, *([nn.Dropout(0.5)] if drop else []), last)

    tested = {}
    variants = (("neither", False, False), ("dropout", True, False), ("BatchNorm", False, True), ("both", True, True))
    for name, drop, norm in variants:
        own = dataclasses.replace(problem, name=f"mnist-{name}", model=functools.partial(network, drop, norm))
        runs = [Run(rules.get("momentum"), 0.1, seed, 2000, test=True) for seed in range(10)]
        tested[name] = trained(own, runs, len(runs))
        gains[name] = spread(tested[name] - tested["neither"], 0.05 / 2)
        parts.append(f"{name} {tested[name].mean():.2f} % (gain {gains[name][0]:+.2f} +- {gains[name][1]:.2f})")
    better = {name: gains[name][0] > gains[name][1] for name in ("dropout", "BatchNorm")}
    words = f"2,000 steps of momentum, ten seeds: {', '.join(parts)}"
    which = " and ".join(name for name, gained in better.items() if gained)
    yield claim(SOURCE, "Dropout and BatchNorm help a network", words, agreed(better.values()), f"depends: {which} does")
