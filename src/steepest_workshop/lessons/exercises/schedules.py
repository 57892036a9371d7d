"""Exercises in which a learner writes a schedule: the multiplier of the learning rate, or the rate, by step or epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .values import exercise


def inverse_time(t: int, k: float) -> float:
    return 1 / (1 + k * t)


def cosine(t: int, n: int, least: float) -> float:
    return least + (1 - least) / 2 * (1 + np.cos(np.pi * t / n))


def step_decay(epoch: int) -> float:
    return 0.5 ** (epoch // 5)


def multi_step(epoch: int) -> float:
    return 0.1 ** sum(epoch >= milestone for milestone in (50, 80, 100))


def lambda_rate(epoch: int) -> float:
    return 100 * 0.65**epoch


def plateau(accuracies: Sequence[float]) -> float:
    rate, best = 1.0, -np.inf
    for accuracy in accuracies:
        if accuracy > best:
            best = accuracy
        else:
            rate *= 0.1
    return rate


SCHEDULES = (
    exercise(
        inverse_time,
        "`inverse_time(t, k)` returns the multiplier of the rate after t steps of 1/t decay.",
        (
            "At t = 0 the multiplier is 1.",
            "The rate is eta0 over a denominator; the multiplier is that without eta0.",
            "The denominator begins at 1, and grows by k a step.",
        ),
        [(0, 0.1), (1, 0.1), (30, 0.5)],
        ("is the 1 in the denominator missing?", lambda t, k: 1 / (k * t) if t else np.inf),
        ("does t begin at 1?", lambda t, k: 1 / (1 + k * (t + 1))),
        ("is that the exponential decay?", lambda t, k: np.exp(-k * t)),
    ),
    exercise(
        cosine,
        "`cosine(t, n, least)` returns the multiplier at step t of n, from 1 at 0 down to `least` at n, along a cosine.",
        (
            "Half a wave of the cosine: from 1 at angle 0 to -1 at angle pi.",
            "Which angle belongs to step t? And how do you make a fall from 1 to -1 one from 1 to 0?",
            "With c from 1 to 0 the multiplier lies between `least`, at c = 0, and 1, at c = 1.",
        ),
        [(0, 10, 0.0), (3, 10, 0.0), (10, 10, 0.1), (7, 20, 0.2)],
        ("is `least` only added? Then it begins above 1", lambda t, n, a: a + (1 + np.cos(np.pi * t / n)) / 2),
        ("is `least` missing? It does not fall to 0", lambda t, n, a: (1 + np.cos(np.pi * t / n)) / 2),
        ("is the half missing?", lambda t, n, a: a + (1 - a) * (1 + np.cos(np.pi * t / n))),
        ("is pi missing?", lambda t, n, a: a + (1 - a) / 2 * (1 + np.cos(t / n))),
        ("is that a whole wave?", lambda t, n, a: a + (1 - a) / 2 * (1 + np.cos(2 * np.pi * t / n))),
    ),
    exercise(
        step_decay,
        "`step_decay(epoch)` returns the multiplier of a rate that is halved every 5 epochs; epochs count from 0.",
        (
            "It stays the same for five epochs: 0 to 4, 5 to 9, and so on.",
            "How often has it been halved by this epoch? A whole number.",
            "`//` divides and drops the remainder; a half to that power is the multiplier.",
        ),
        [(0,), (4,), (5,), (14,)],
        ("is it halved a little in every epoch?", lambda e: 0.5 ** (e / 5)),
        ("is it halved in every epoch?", lambda e: 0.5**e),
        ("is it halved one epoch early?", lambda e: 0.5 ** ((e + 1) // 5)),
        ("is it divided by 10?", lambda e: 0.1 ** (e // 5)),
    ),
    exercise(
        multi_step,
        "`multi_step(epoch)` returns the multiplier of MultiStepLR with milestones 50, 80, 100 and gamma 0.1.",
        (
            "The rate is multiplied by gamma once for each milestone that is reached.",
            "A milestone is reached in its own epoch, not only after it.",
            "Count with `sum`: a comparison is 1 where it is true. Gamma to that count is the multiplier.",
        ),
        [(0,), (49,), (50,), (79,), (80,), (95,), (100,)],
        ("does it drop an epoch late?", lambda e: 0.1 ** sum(e > m for m in (50, 80, 100))),
        ("is gamma 0.5?", lambda e: 0.5 ** sum(e >= m for m in (50, 80, 100))),
        ("does it drop once only?", lambda e: 0.1 ** (e >= 50)),
    ),
    exercise(
        lambda_rate,
        "`lambda_rate(epoch)` returns the rate of LambdaLR in an epoch, from an initial rate of 100, with the function "
        "0.65 ** epoch.",
        (
            "LambdaLR multiplies the initial rate, not the one of the epoch before.",
            "In epoch 0 the function is 1: what is the rate?",
            "The rate, not the multiplier, is asked for; the initial rate stands in front.",
        ),
        [(0,), (1,), (9,)],
        ("is the first rate missing?", lambda e: 0.65**e),
        (
            "is the function applied to the rate of before, again and again, from epoch 1?",
            lambda e: 100 * 0.65 ** (e * (e + 1) / 2),
        ),
        ("is it times the epoch?", lambda e: 100 * 0.65 * e),
        ("does the epoch begin at 1?", lambda e: 100 * 0.65 ** (e + 1)),
    ),
    exercise(
        plateau,
        "`plateau(accuracies)` returns the multiplier after epochs of these accuracies: it starts at 1 and falls to a tenth "
        "after each epoch that is no better than the best so far.",
        (
            "Go through the accuracies one by one, with a rate and the best so far.",
            "One bad epoch is enough (patience 0), and an equal one is bad; the best begins below everything: `-np.inf`.",
            "If an accuracy is above the best, it becomes the best; otherwise a tenth of the rate is left.",
        ),
        [([90.0, 91.0, 92.0],), ([90.0, 89.0, 91.0, 90.5],), ([90.0, 90.0],), ([90.0, 80.0, 85.0],)],
        (
            "is it compared with the epoch before, not with the best?",
            lambda a: 0.1 ** sum(b <= c for b, c in zip(a[1:], a[:-1], strict=True)),
        ),
        ("is an equal epoch taken for better?", lambda a: 0.1 ** sum(x < max(a[:i]) for i, x in enumerate(a) if i)),
        ("is it mode 'min'?", lambda a: 0.1 ** sum(x >= min(a[:i]) for i, x in enumerate(a) if i)),
    ),
)
