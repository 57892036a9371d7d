"""What document 001 says in words of schedules, weight decay, epsilon and length, put to networks on MNIST."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from steepest import schedules
from steepest.api import compare
from steepest.problems.problem import Problem
from steepest.rules import get
from steepest.training.stacked import Run

from . import ON_EDGE, Row, claim, decided, edge, spread, sweeps
from .compared import LOOKS, UNDECIDED, against, as_good, scores, settled, trained
from .training import document

Array = NDArray[np.float64]
SEEDS = 20  # of trainings


def on_mnist(say: Callable[[str], None]) -> Iterator[Row]:
    """The claims that need a network: how to decay, what needs no schedule, how much weight decay, which epsilon."""
    say("001: schedules on MNIST at equal tuning")
    free = ("exponential(k=0.003)", "inverse_time(k=0.005)", "constant")
    chosen = ("step(gamma=0.3)", "cosine", *free)
    problem = document()
    study = compare(problem, "momentum", schedules=chosen, seeds=SEEDS, store=":memory:")
    study_rate = next(entry.candidate.lr for entry in study.result.entries if entry.candidate.label == "momentum+cosine")
    words = f"momentum on MNIST, 1,000 steps, {SEEDS} seeds, per cent: {scores(study)}"
    pairs = [(f"momentum+{name}", f"momentum+{other}") for name in chosen[:2] for other in free]
    values, asked = settled(problem, study, pairs, len(pairs)), len(pairs) * LOOKS
    leads = [against(values, *pair, asked)[0] for pair in pairs[:2]]
    holds = True if set(leads) == {1.0} else False if set(leads) <= {0.0, -1.0} else None
    reason = f"its reason is that its numbers are easier to read; {words}"
    yield claim("001", "step decay is slightly preferable to exponential and 1/t decay", reason, holds, UNDECIDED)
    leads = [against(values, *pair, asked)[0] for pair in pairs]
    printed = "schedules that depend on the last step (cosine, step) outperform those that do not"
    holds = True if set(leads) == {1.0} else False if set(leads) <= {0.0, -1.0} else None
    yield claim("001", printed, words, holds, "depends on which, or undecided")
    say("001: Schedule-Free AdamW, and AdamW with a cosine")
    study = compare(problem, "adamw,schedule_free_adamw", schedules="constant,cosine", seeds=SEEDS, store=":memory:")
    pair = ("schedule_free_adamw+constant", "adamw+cosine")
    lead, words = against(settled(problem, study, [pair], 1), *pair, LOOKS)
    words = f"1,000 steps, per cent: {scores(study)}; Schedule-Free at a constant rate is {words}"
    yield as_good("001", "Schedule-Free AdamW needs no schedule", words, lead)
    yield _decay(say)
    say("001: AdamW and Adam with L2, rate by decay")
    yield _decoupled()
    yield _longer(problem, study_rate, say)
    yield from sweeps.on_networks(say)


def _decay(say: Callable[[str], None]) -> Row:
    """MADGRAD, momentum and Adam on few images, where weight decay matters."""
    say("001: MADGRAD and weight decay")
    names = ("madgrad", "momentum", "adam")
    tuned = compare(few(), names, schedules="constant", store=":memory:", seeds=5).result.entries
    rates = {entry.candidate.rule.name: entry.candidate.lr for entry in tuned}
    made = {name: [(get(name), rates[name], {"weight_decay": decay}) for decay in DECAYS] for name in names}
    table = sweeps.swept(few, made, starts=SEEDS)
    parts, gains, inner = [], {}, True
    for name, values in table.items():
        top = int(values.mean(1).argmax())
        gains[name], inner = values[top] - values[0], inner and top + 1 < len(DECAYS)
        mean, half = spread(gains[name], 0.05 / len(DECAYS)) if top else (0.0, 0.0)
        parts.append(f"{name} {values[0].mean():.2f} % without, best at {DECAYS[top]:g} (gain {mean:+.2f} +- {half:.2f})")
    more = [spread(gains[name] - gains["madgrad"], 0.05 / 2) for name in names[1:]]
    words = f"1,000 images, 1,000 steps, {SEEDS} seeds: {'; '.join(parts)}; decay gains more than with MADGRAD by "
    words += ", ".join(f"{name} {mean:+.2f} +- {half:.2f}" for name, (mean, half) in zip(names[1:], more, strict=True))
    holds = decided(more) if inner else None
    return claim("001", "MADGRAD needs less weight decay, often none", words, holds, UNDECIDED if inner else ON_EDGE)


@functools.cache
def rate_by_decay(keep: bool = False) -> dict[str, Array]:
    """Test accuracies on few images (rates, decays, seeds): Adam with the decay in its gradient, and AdamW."""
    found = {}
    for name, decays in GRID_DECAYS.items():
        rows = {
            f"{name} at {lr:g}": [(get(name), lr, {"weight_decay": d / (lr if name == "adamw" else 1)}) for d in decays]
            for lr in GRID_RATES
        }
        found[name] = np.array([*sweeps.swept(few, rows, starts=GRID_SEEDS, keep=keep).values()])
    return found


def few() -> Problem:
    """MNIST with 1,000 training images, where weight decay matters."""
    whole = document()
    (x,), y = whole.train.batch(slice(0, 1000))
    return dataclasses.replace(whole, name="mnist-few", train=(x, y))


def _decoupled() -> Row:
    """AdamW's decay beside L2 in Adam's gradient, each at its best rate and decay, which other starts have chosen."""
    found, parts, best, inner = rate_by_decay(), [], {}, True
    for name, values in found.items():
        means = np.nan_to_num(values[..., :GRID_CHOOSING].mean(2), nan=0.0)
        i, j = np.unravel_index(int(means.argmax()), means.shape)
        best[name] = np.nan_to_num(values[i, j, GRID_CHOOSING:], nan=0.0)
        inner &= not edge(int(i), len(GRID_RATES)) and int(j) + 1 < len(GRID_DECAYS[name])  # no decay is no edge
        parts.append(f"{name} {best[name].mean():.2f} % at rate {GRID_RATES[i]:g} and decay {GRID_DECAYS[name][j]:g}")
    gain = spread(best["adamw"] - best["adam"])
    words = f"1,000 images, 1,000 steps, {GRID_SEEDS} seeds; AdamW's decay is that of a step: {'; '.join(parts)}; "
    words += f"AdamW gains {gain[0]:+.2f} +- {gain[1]:.2f}"
    holds = decided([gain]) if inner else None
    return claim("001", "for weight decay use AdamW, which mends Adam", words, holds, UNDECIDED if inner else ON_EDGE)


def _longer(problem: Problem, lr: float, say: Callable[[str], None]) -> Row:
    """The same decay stretched over longer runs."""
    say("001: slower and longer")
    tested = {}
    for steps in LENGTHS:
        runs = [Run(get("momentum"), lr, k, steps, schedule=schedules.cosine(), test=True) for k in range(SEEDS)]
        tested[steps] = trained(problem, runs, SEEDS)
    gains = [spread(tested[b] - tested[a], 0.05 / (len(LENGTHS) - 1)) for a, b in itertools.pairwise(LENGTHS)]
    words = f"momentum with a cosine at {lr:.2g}, {SEEDS} seeds: "
    words += ", ".join(f"{values.mean():.2f} % after {steps:,} steps" for steps, values in tested.items())
    words += f"; each doubling gains {', '.join(f'{mean:+.2f} +- {half:.2f}' for mean, half in gains)}"
    holds = decided(gains)
    return claim("001", "a slower decay and longer training do better", words, holds, "depends on the length")


LENGTHS = (500, 1000, 2000, 4000)
GRID_RATES, GRID_SEEDS, GRID_CHOOSING = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1), 9, 3
GRID_DECAYS = {"adam": (0.0, 1e-4, 1e-3, 1e-2, 1e-1), "adamw": (0.0, 1e-5, 1e-4, 1e-3, 1e-2)}  # in the gradient; of a step
DECAYS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
