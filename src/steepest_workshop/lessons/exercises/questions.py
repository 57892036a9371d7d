"""Exercises in which a learner says beforehand what will happen, or names an optimizer; the run is made then."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from steepest import optim, surfaces
from steepest.paths.descent import descend
from steepest.paths.loop import trajectory
from steepest.rules import RACE, get

from .. import batches
from ..ideas import CONSTANT
from .engine import Answer, Exercise
from .trials import Outcome, Trial, run

Found = tuple[str, str]  # the right answer, and what happened in numbers


def _asked(name: str, task: str, choices: Sequence[str], hints: tuple[str, str, str], decide: Callable[[], Found]) -> Exercise:
    """A question with a few answers; the run decides."""

    def judge(outcome: Outcome) -> Answer:
        mine = outcome.texts["answer"]
        given = mine.strip().lower().replace(",", "").removesuffix(".0")
        if given not in choices:
            return Answer(False, f"Given {mine!r}; expected one of {', '.join(choices)}.")
        right, words = decided()
        return Answer(given == right, f"{'Right' if given == right else f'Not {given}: {right}'}. {words}")

    decided = functools.cache(decide)
    asked = f"{task} Answer with one of {', '.join(choices)}."
    return Exercise(name, asked, hints, f"# {hints[-1]}", lambda: Trial("answer", ()), judge)


def _paths(surface: str, steps: int, lrs: dict[str, float] | None = None, names: Sequence[str] = RACE) -> dict[str, Any]:
    where = surfaces.get(surface)
    descent = descend(where, [get(name) for name in names], where.start, steps, lrs)
    return {path.name: path for path in descent.paths}


def _saddle() -> Found:
    domain = surfaces.get("saddle").domain
    out = {name: path.leaves(domain) or 201 for name, path in _paths("saddle", 200).items()}
    first = min(out, key=lambda name: out[name])
    return first, "Steps at which they leave: " + ", ".join(
        f"{name} {step}" for name, step in sorted(out.items(), key=lambda x: x[1])
    ) + "."


def _valley() -> Found:
    paths = _paths("valley", 60, {})
    lengths = {name: float(np.linalg.norm(np.diff(path.points, axis=0), axis=1).sum()) for name, path in paths.items()}
    longest = max(lengths, key=lambda name: lengths[name])
    return longest, "Lengths of their ways in 60 steps: " + ", ".join(
        f"{name} {length:.1f}" for name, length in lengths.items()
    ) + "."


def _too_large() -> Found:
    surface = surfaces.get("x**2")  # curvature 2
    ends = {
        lr: float(descend(surface, [get("gd")], (1.0,), 50, {"gd": lr}).paths[0].values[-1]) for lr in (0.5, 0.99, 1.0, 1.01)
    }
    words = "Heights after 50 steps from 1: " + ", ".join(f"{value:.3g} at {lr:g}" for lr, value in ends.items()) + "."
    return "1", f"{words} The bound is 2 / curvature = 2 / 2 = 1."


def _first_step() -> Found:
    path = _paths("1000*x**2 + y**2", 1, {"adam": 0.01}, ("adam",))["adam"]
    moved = np.abs(np.diff(path.points, axis=0))[0]
    return (
        "as far",
        f"The first step moves x by {moved[0]:.4g} and y by {moved[1]:.4g}, at a rate of 0.01: the gradient's size cancels.",
    )


def _updates() -> Found:
    return "6000", "60,000 / 100 is 600 updates an epoch, and there are ten epochs."


def _nearest() -> Found:
    left = {size: float(batches.ends(size, seeds=20).mean()) for size in batches.SIZES}
    words = ", ".join(f"{value:.1e} with {size}" for size, value in left.items())
    return str(min(left, key=lambda size: left[size])), f"Above the least loss: {words}."


def _steps_of_adagrad() -> Found:
    steps = np.abs(np.diff(trajectory(get("adagrad"), CONSTANT, (0.0,), 100, lr=1.0)[0][:, 0]))
    words = f"Under a gradient that is always 1 the steps are {steps[0]:.3g}, {steps[3]:.3g} and, at step 100, {steps[-1]:.3g}"
    return "a tenth", f"{words}: 1 / sqrt(t)."


def _optimizer(
    name: str, task: str, hints: tuple[str, str, str], solution: str, right: Callable[[Any], torch.optim.Optimizer]
) -> Exercise:
    """`optimizer =`: a function of parameters; what it gives must step as the right one does."""

    def judge(outcome: Outcome) -> Answer:
        best = run(right, _layer())
        named, theirs = outcome.texts["class"], best.texts["class"]
        for step, (mine, wanted) in enumerate(zip(outcome.arrays, best.arrays, strict=True), 1):
            away = float(np.abs(mine - wanted).max())
            if not away <= 1e-7:  # torch keeps some of its state in float32
                options = {k: v for k, v in outcome.texts.items() if k != "class" and v != best.texts.get(k, v)}
                told = f"Step {step}: its weights are {away:.2g} from the right ones"
                kinds = [f"it is {named}"] if named != theirs else []
                return Answer(False, f"{'; '.join([told, *kinds, *(f'{k} is {v}' for k, v in options.items())])}.")
        return Answer(True, f"Right: {named} steps as it must.")

    return Exercise(name, task, hints, solution, _layer, judge)


def _layer() -> Trial:
    """A linear layer and five batches, on which optimizers are compared."""
    first, then = (torch.Generator().manual_seed(0) for _ in range(2))  # not torch's own: a grader has many threads
    layer = [torch.empty(shape).uniform_(-0.5, 0.5, generator=first) for shape in ((3, 4), (3,))]
    batches = torch.stack([torch.randn(8, 4, generator=then) for _ in range(5)])
    return Trial("optimizer", tuple(each.double().numpy() for each in (*layer, batches)))


QUESTIONS = (
    _optimizer(
        "optimizer_sgd",
        "`mine(params)` gives SGD with a rate of 0.1.",
        ("torch.optim or steepest.optim.", "SGD takes the parameters and lr.", "optim.SGD(params, lr=0.1)"),
        "lambda params: torch.optim.SGD(params, lr=0.1)",
        lambda params: optim.SGD(params, lr=0.1),
    ),
    _optimizer(
        "optimizer_momentum",
        "`mine(params)` gives SGD with a rate of 0.1 and momentum 0.9.",
        ("The same class as for SGD.", "It has an argument momentum.", "optim.SGD(params, lr=0.1, momentum=0.9)"),
        "lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9)",
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
    ),
    _optimizer(
        "optimizer_nesterov",
        "`mine(params)` gives Nesterov's momentum 0.9 at a rate of 0.1.",
        ("Still SGD.", "momentum=0.9 and one word more.", "optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True)"),
        "lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True)",
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    ),
    _optimizer(
        "optimizer_adam",
        "`mine(params)` gives Adam at its usual rate, 0.001.",
        ("torch's defaults are the paper's.", "lr=0.001 is the default.", "optim.Adam(params)"),
        "lambda params: torch.optim.Adam(params, lr=0.001)",
        lambda params: optim.Adam(params, lr=0.001),
    ),
    _asked(
        "saddle",
        "From just beside the ridge of a saddle, who leaves first, at 0.02 for SGD, momentum, Nesterov and RMSprop, 0.05 for "
        "Adagrad and Adam?",
        RACE,
        (
            "The gradient along the way out is tiny at first.",
            "Who divides by the gradient's size does not feel that.",
            "It is the one that soon forgets earlier large gradients.",
        ),
        _saddle,
    ),
    _asked(
        "valley",
        "In the valley at tuned rates, whose path is longest in 60 steps?",
        RACE,
        (
            "Whoever keeps speed overshoots.",
            "Who looks ahead turns back earlier, and who divides by the gradient's size needs no swing.",
            "It is heavy and does not look ahead.",
        ),
        _valley,
    ),
    _asked(
        "too_large",
        "Descent on x ** 2, of curvature 2: above which rate does it grow?",
        ("0.1", "0.5", "1", "2"),
        ("A step multiplies x by 1 - 2 * rate.", "It shrinks while that is between -1 and 1.", "2 over the curvature."),
        _too_large,
    ),
    _asked(
        "first_step",
        "On 1000 x ** 2 + y ** 2 from (1, 1), how far does Adam's first step move x beside y?",
        ("further", "as far", "less far"),
        ("m_hat is g at step 1, v_hat is g squared.", "Divide one by the other's root.", "Only the sign is left."),
        _first_step,
    ),
    _asked(
        "updates",
        "60,000 images, batches of 100, ten epochs: how many updates?",
        ("10", "600", "6000", "600000"),
        ("An epoch sees each image once.", "60,000 / 100 batches an epoch.", "times ten"),
        _updates,
    ),
    _asked(
        "batch_size",
        "Least squares on 569 tumours, twenty passes, each at its best rate: which ends nearest, batches of how many?",
        ("569", "57", "10", "1"),
        (
            "All of the data make one step a pass.",
            "Small batches make many rough steps.",
            "The rougher the step, the smaller its best rate; but there are so many.",
        ),
        _nearest,
    ),
    _asked(
        "adagrad_later",
        "Under a gradient that stays the same, how long is Adagrad's step 100 beside its first?",
        ("as long", "a tenth", "a hundredth"),
        ("The sum of squares grows by the same each step.", "The step is over its root.", "1 / sqrt(100)"),
        _steps_of_adagrad,
    ),
)
