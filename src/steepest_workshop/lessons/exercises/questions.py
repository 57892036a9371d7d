"""Exercises in which a learner predicts an outcome, which is then computed, or makes an optimizer of torch's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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

ROUNDED = 1e-8  # of weights, after a rate that is a tensor of float32; a weight decay of 1e-5 moves them further


class Found(NamedTuple):
    """The right answer, what happened in numbers, and what is said of each wrong answer, which gives nothing away."""

    right: str
    words: str
    wrong: Mapping[str, str]


def _asked(name: str, task: str, choices: Sequence[str], hints: tuple[str, str, str], right: str, decide: Any) -> Exercise:
    """A question with a few answers; the run decides, and `right` is what it decides."""

    def judge(outcome: Outcome) -> Answer:
        mine = outcome.texts["answer"]
        given = mine.strip().lower().replace(",", "").removesuffix(".0")
        if given not in choices:
            return Answer(False, f"Given {mine!r}; expected one of {', '.join(choices)}.")
        found = decided()
        if given == found.right:
            return Answer(True, f"Right. {found.words}")
        return Answer(False, f"Not {given}: {found.wrong[given]}.")

    decided = functools.cache(decide)
    asked = f"{task} Answer with one of {', '.join(choices)}."
    return Exercise(name, asked, hints, repr(right), lambda: Trial("answer", ()), judge)


def _paths(surface: str, steps: int, lrs: dict[str, float] | None = None, names: Sequence[str] = RACE) -> dict[str, Any]:
    where = surfaces.get(surface)
    descent = descend(where, [get(name) for name in names], where.start, steps, lrs)
    return {path.name: path for path in descent.paths}


def _saddle() -> Found:
    domain = surfaces.get("saddle").domain
    out = {name: path.leaves(domain) or 201 for name, path in _paths("saddle", 200).items()}
    steps = ", ".join(f"{name} {step}" for name, step in sorted(out.items(), key=lambda x: x[1]))
    wrong = {name: f"it leaves at step {step}, and another one sooner" for name, step in out.items()}
    return Found(min(out, key=lambda name: out[name]), f"Steps at which they leave: {steps}.", wrong)


def _valley() -> Found:
    paths = _paths("valley", 60, {})
    lengths = {name: float(np.linalg.norm(np.diff(path.points, axis=0), axis=1).sum()) for name, path in paths.items()}
    words = ", ".join(f"{name} {length:.1f}" for name, length in lengths.items())
    wrong = {name: f"its path is {length:.1f} long, and another one is longer" for name, length in lengths.items()}
    return Found(max(lengths, key=lambda name: lengths[name]), f"Lengths of the paths in 60 steps: {words}.", wrong)


def _too_large() -> Found:
    surface = surfaces.get("x**2")  # curvature 2
    ends = {
        lr: float(descend(surface, [get("gd")], (1.0,), 50, {"gd": lr}).paths[0].values[-1]) for lr in (0.5, 0.99, 1.0, 1.01)
    }
    words = "Heights after 50 steps from 1: " + ", ".join(f"{value:.3g} at {lr:g}" for lr, value in ends.items()) + "."
    wrong = {lr: f"there a step multiplies x by {1 - 2 * float(lr):g}, and it shrinks" for lr in ("0.1", "0.5")}
    wrong["2"] = "there a step multiplies x by -3; is that the smallest rate at which it grows?"
    return Found("1", f"{words} The bound is 2 / curvature = 2 / 2 = 1.", wrong)


def _first_step() -> Found:
    path = _paths("1000*x**2 + y**2", 1, {"adam": 0.01}, ("adam",))["adam"]
    moved = np.abs(np.diff(path.points, axis=0))[0]
    words = f"It moves x by {moved[0]:.4g} and y by {moved[1]:.4g}, at a rate of 0.01: the gradient's size cancels."
    wrong = "the gradient in x is 1,000 times that in y; what does Adam divide it by?"
    return Found("as far", words, {"further": wrong, "less far": wrong})


def _updates() -> Found:
    wrong = {
        "10": "that is one step an epoch, in batches of all images",
        "600": "that many make up one epoch",
        "600000": "that is one step an image, in batches of 1",
    }
    return Found("6000", "60,000 / 100 is 600 steps an epoch, and there are ten epochs.", wrong)


def _nearest() -> Found:
    left = {str(size): float(batches.ends(size, seeds=20).mean()) for size in batches.SIZES}
    words = ", ".join(f"{value:.1e} with {size}" for size, value in left.items())
    wrong = {size: f"it ends {value:.1e} above the least loss, and another size ends lower" for size, value in left.items()}
    return Found(min(left, key=lambda size: left[size]), f"Above the least loss: {words}.", wrong)


def _steps_of_adagrad() -> Found:
    steps = np.abs(np.diff(trajectory(get("adagrad"), CONSTANT, (0.0,), 100, lr=1.0)[0][:, 0]))
    words = f"Under a gradient that is always 1 the steps are {steps[0]:.3g}, {steps[3]:.3g} and, at step 100, {steps[-1]:.3g}"
    wrong = {
        "as long": "the sum of squares grows with every step, and the gradient does not",
        "a hundredth": "the sum has grown a hundredfold, but is it the sum that divides the gradient?",
    }
    return Found("a tenth", f"{words}: 1 / sqrt(t).", wrong)


def _steady() -> Found:
    steps = np.abs(np.diff(trajectory(get("sgd"), CONSTANT, (0.0,), 30, lr=0.005, momentum=0.5)[0][:, 0]))
    words = f"On a slope of 1 its steps are {steps[0]:.3g}, {steps[1]:.3g}, {steps[2]:.4g}, and at last {steps[-1]:.3g}"
    wrong = {
        "0.0025": "momentum adds earlier steps to a step; it does not shorten it",
        "0.005": "that is its first step, before there is a velocity",
        "0.05": "so far it goes with momentum 0.9",
    }
    return Found("0.01", f"{words}: 0.005 / (1 - 0.5).", wrong)


def _optimizer(
    name: str, task: str, hints: tuple[str, str, str], solution: str, right: Callable[[Any], torch.optim.Optimizer]
) -> Exercise:
    """`optimizer =`, as a function of the parameters; the optimizer that it returns must step as the right one does."""

    def judge(outcome: Outcome) -> Answer:
        best = run(right, _layer())
        named, theirs = outcome.texts["class"], best.texts["class"]
        for step, (mine, wanted) in enumerate(zip(outcome.arrays, best.arrays, strict=True), 1):
            away = float(np.abs(mine - wanted).max())
            if not away <= ROUNDED:
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
        "`optimizer_sgd(params)` returns SGD with a learning rate of 0.1.",
        (
            "Torch has a class for it, in `torch.optim`; ours is in `steepest.optim`.",
            "The class is called `SGD`. It takes the parameters first.",
            "The learning rate is its argument `lr`; momentum is 0 unless you set it.",
        ),
        "def optimizer_sgd(params):\n    return torch.optim.SGD(params, lr=0.1)",
        lambda params: optim.SGD(params, lr=0.1),
    ),
    _optimizer(
        "optimizer_momentum",
        "`optimizer_momentum(params)` returns SGD with a learning rate of 0.1 and momentum 0.9.",
        (
            "Momentum is no class of its own.",
            "It is a setting of the class that you used for SGD.",
            "Two settings, `lr` and `momentum`; leave `dampening` at 0.",
        ),
        "def optimizer_momentum(params):\n    return torch.optim.SGD(params, lr=0.1, momentum=0.9)",
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
    ),
    _optimizer(
        "optimizer_nesterov",
        "`optimizer_nesterov(params)` returns Nesterov's momentum 0.9 at a learning rate of 0.1.",
        (
            "It is a setting of the class for SGD, beside momentum.",
            "It is either on or off, and off unless you set it.",
            "Set `lr` and `momentum`, and `nesterov` to True.",
        ),
        "def optimizer_nesterov(params):\n    return torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True)",
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    ),
    _optimizer(
        "optimizer_adam",
        "`optimizer_adam(params)` returns Adam with a learning rate of 0.001 and the paper's betas.",
        (
            "Torch has a class for it. Not `AdamW`: that one also decays the weights.",
            "The document sets no betas: the class has the paper's.",
            "Torch's `lr` is the paper's too; see what it is in `help(torch.optim.Adam)`.",
        ),
        "def optimizer_adam(params):\n    return torch.optim.Adam(params, lr=0.001)",
        lambda params: optim.Adam(params, lr=0.001),
    ),
    _asked(
        "saddle",
        "From just beside the ridge of a saddle, who leaves first? The rates are 0.02 for SGD, momentum, Nesterov and RMSprop, "
        "0.05 for Adagrad and Adam.",
        RACE,
        (
            "The gradient along the way out is tiny at first.",
            "Whoever divides by the gradient's size does not notice that.",
            "Of those, who soon forgets the large gradients, and who sums or averages them for long?",
        ),
        "rmsprop",
        _saddle,
    ),
    _asked(
        "valley",
        "In the valley at tuned rates, whose path is longest in 60 steps?",
        RACE,
        (
            "Whoever keeps speed overshoots, and swings from side to side.",
            "Whoever divides by the gradient's size needs no swing to move along the floor.",
            "Two of them keep a velocity. One looks where it will be carried, and turns back sooner.",
        ),
        "momentum",
        _valley,
    ),
    _asked(
        "too_large",
        "Descent on x ** 2, whose curvature is 2: above which rate does it grow?",
        ("0.1", "0.5", "1", "2"),
        (
            "The gradient is 2 x. What does a step make of x?",
            "It multiplies x by a factor that depends on the rate alone.",
            "The factor is 1 - 2 * rate. Between which two numbers does it shrink x?",
        ),
        "1",
        _too_large,
    ),
    _asked(
        "first_step",
        "On 1000 x ** 2 + y ** 2 from (1, 1), how far does Adam's first step move x beside y?",
        ("further", "as far", "less far"),
        (
            "At step 1 both averages have seen one gradient only.",
            "Corrected for their start at 0, they are g and g squared.",
            "Divide the one by the root of the other: what is left of g?",
        ),
        "as far",
        _first_step,
    ),
    _asked(
        "updates",
        "60,000 images, batches of 100, ten epochs: how many steps?",
        ("10", "600", "6000", "600000"),
        (
            "A step uses one batch.",
            "An epoch uses every image once.",
            "How many batches are the images, and how many times are they all used?",
        ),
        "6000",
        _updates,
    ),
    _asked(
        "batch_size",
        "Least squares on 569 tumours, twenty epochs, each at its best rate: which batch size ends nearest?",
        ("569", "57", "10", "1"),
        (
            "All of the data make one step an epoch: twenty in all.",
            "Smaller batches make more steps, each of them rougher.",
            "The best rate is smaller where steps are rougher, which averages the roughness over many steps.",
        ),
        "1",
        _nearest,
    ),
    _asked(
        "adagrad_later",
        "Under a gradient that stays the same, how long is Adagrad's step 100 beside its first?",
        ("as long", "a tenth", "a hundredth"),
        (
            "The sum of squares grows by the same amount at every step.",
            "So it is proportional to t.",
            "The gradient is divided by the root of the sum. What is the root at t = 100, beside that at t = 1?",
        ),
        "a tenth",
        _steps_of_adagrad,
    ),
    _asked(
        "steady",
        "Momentum 0.5 at a rate of 0.005, on a slope that stays the same: at which rate are plain descent's steps as "
        "long as its steps are in the end?",
        ("0.0025", "0.005", "0.01", "0.05"),
        (
            "Write the velocity as v = 0.5 v + 0.005 g, and g does not change.",
            "In the end v does not change either.",
            "Solve v = 0.5 v + 0.005 g for v.",
        ),
        "0.01",
        _steady,
    ),
)
