"""A residual network of 20 layers on the part of CIFAR-10 that is here: schedules and optimizers from three starts each.

`python -m steepest_workshop.lessons.curves FOLDER` trains what is not yet recorded: an hour on two cores for the optimizers and
as long for the schedules. A checkpoint is written after every epoch; a stopped run resumes from there, to the same numbers.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from steepest import optim, schedules
from steepest.problems.built_in import cifar10
from steepest.problems.problem import Problem
from steepest.problems.seeds import seeded
from steepest.report.palette import COLOURS, DASHES
from steepest.training.ways import workers_on
from steepest.update.torch_class.signature import by_class_name

from . import Row, claim, decided, kept, spread
from .labels import at_ends
from .training import drawn, measured

SOURCE, FILE = "001", "curves"
HOW = "no curves are recorded; `python -m steepest_workshop.lessons.curves FOLDER` trains them"
UNTOLD = "undecided: 10,000 images and three starts tell only large differences"
SCHEDULES = ("constant", "cosine", "exponential_steps", "multi_step(milestones=(0.5, 0.75))")
STARTS, EPOCHS, IMAGES = 3, 30, 10_000
RATE, MOMENTUM, DECAY, BATCH = 0.1, 0.9, 1e-4, 128  # He et al. 2016, section 4.2
# Three optimizers of the tutorial's table of ResNet-18, with the rates that are tried: the two best of it, and the worst.
OPTIMIZERS: dict[str, tuple[float, ...]] = {"Adan": (0.001, 0.003, 0.01), "SGD": (0.03, 0.1, 0.3), "Adam": (0.001, 0.003, 0.01)}
SHORT, LONG, TRIAL = 4, 20, 100  # epochs of a trial and of a comparison of optimizers, and the start of the trials
History = list[tuple[float, float]]  # mean training loss and test accuracy of each epoch


class Course(NamedTuple):
    """A training: a class of `steepest.optim` at a rate, a schedule, its epochs, and its start."""

    optimizer: str
    lr: float
    schedule: str
    epochs: int
    start: int

    @property
    def key(self) -> str:
        """The training in the file of curves."""
        named = self.schedule if self.optimizer == "SGD" and self.epochs == EPOCHS else f"{self.optimizer} at {self.lr:g}"
        return f"{named}, start {self.start}" if self.epochs != SHORT else f"{named}, {SHORT} epochs"

    @property
    def made_by(self) -> str:
        """The digest of what it comes from."""
        rule = by_class_name()[self.optimizer].digest
        return kept.digest(cifar10.resnet20, cifar10.Block, train, Course.make, tuple(self), MOMENTUM, DECAY, BATCH, rule)

    def make(self, params: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimizer, with one weight decay for all, as each class has it."""
        more = {"momentum": MOMENTUM} if self.optimizer == "SGD" else {}
        optimizer: torch.optim.Optimizer = getattr(optim, self.optimizer)(params, lr=self.lr, weight_decay=DECAY, **more)
        return optimizer


Curves = np.ndarray[Any, np.dtype[np.float64]]


class Sets(NamedTuple):
    """Images and labels to train on and to test on."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def sets(problem: Problem) -> Sets:
    """All of a problem's images: those kept for validation are trained on too, for no rate is chosen here."""
    parts = [part.batch(slice(0, len(part))) for part in (problem.train, problem.valid) if part is not None]
    assert problem.test is not None
    (test_x,), test_y = problem.test.batch(slice(0, len(problem.test)))
    x = torch.cat([x for (x,), _ in parts]).contiguous(memory_format=torch.channels_last)
    return Sets(x, torch.cat([y for _, y in parts]), test_x, test_y)


def train(
    course: Course, data: Sets, checkpoint: Path, epochs: int = 0, network: Callable[[], nn.Module] | None = None
) -> History:
    """Train from the checkpoint where there is one, which is written after every epoch."""
    epochs = epochs or course.epochs
    with seeded(course.start):
        model = (network or cifar10.resnet20)().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = course.make(model.parameters())
        each = -(-len(data.x) // BATCH)
        rates = course.lr * np.array(schedules.get(course.schedule).values(epochs * each))
        history: History = []
        if checkpoint.is_file():
            found = torch.load(checkpoint, weights_only=True)
            model.load_state_dict(found["model"])
            optimizer.load_state_dict(found["optimizer"])
            torch.set_rng_state(found["random"])
            history = [tuple(one) for one in found["history"]]
        for epoch in range(len(history), epochs):
            losses = []
            for k, index in enumerate(drawn(len(data.x), BATCH)):
                optimizer.param_groups[0]["lr"] = float(rates[epoch * each + k])
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
            history.append((float(np.mean(losses)), measured(model, data.test_x, data.test_y)[1]))
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
            torch.save(state | {"history": [list(one) for one in history]}, checkpoint.with_suffix(".part"))
            os.replace(checkpoint.with_suffix(".part"), checkpoint)
    return history


def scheduled(schedule: str, start: int) -> Course:
    """A training for the comparison of schedules."""
    return Course("SGD", RATE, schedule, EPOCHS, start)


def trials(optimizer: str) -> list[Course]:
    """The short trainings that choose an optimizer's rate."""
    return [Course(optimizer, lr, "cosine", SHORT, TRIAL) for lr in OPTIMIZERS[optimizer]]


def compared(optimizer: str) -> list[Course]:
    """The trainings for the comparison of optimizers, at the rate with the best trial; none before the trials."""
    ends = [_history(trial) for trial in trials(optimizer)]
    if not all(ends):
        return []
    lr = OPTIMIZERS[optimizer][int(np.argmax([history[-1][1] for history in ends]))]
    return [Course(optimizer, lr, "cosine", LONG, start) for start in range(STARTS)]


def _history(course: Course) -> History:
    """The recorded curve; empty where there is none of this code and these settings."""
    return kept.value(FILE, course.key, course.made_by) or []


def _job(folder: Path, course: Course) -> History:
    torch.set_num_threads(1)
    return train(course, sets(cifar10.cifar10_resnet20()), folder / f"{course.made_by}.pt")


def record(folder: Path, say: Callable[[str], None] = print) -> None:
    """Train what is not recorded, one training a core."""
    folder.mkdir(parents=True, exist_ok=True)
    _record([course for name in OPTIMIZERS for course in trials(name)], folder, say)
    _record([course for name in OPTIMIZERS for course in compared(name)], folder, say)
    _record([scheduled(schedule, start) for start in range(STARTS) for schedule in SCHEDULES], folder, say)


def _record(courses: Sequence[Course], folder: Path, say: Callable[[str], None]) -> None:
    left = [course for course in courses if not _history(course)]
    with ProcessPoolExecutor(workers_on("cpu"), mp_context=multiprocessing.get_context("spawn")) as pool:
        for course, history in zip(left, pool.map(_job, [folder] * len(left), left), strict=True):
            kept.keep(FILE, {course.key: (course.made_by, history)})
            say(f"{course.key}: {history[-1][1]:.2f} %")


def histories() -> dict[str, Curves]:
    """The recorded curves of each schedule with every start: (starts, epochs, training loss and test accuracy)."""
    return _whole({name: [scheduled(name, start) for start in range(STARTS)] for name in SCHEDULES})


def raced() -> dict[str, Curves]:
    """The recorded curves of each optimizer, as of the schedules."""
    return _whole({name: compared(name) for name in OPTIMIZERS})


def _whole(courses: Mapping[str, Sequence[Course]]) -> dict[str, Curves]:
    found = {name: [_history(course) for course in own] for name, own in courses.items()}
    return {name: np.array(runs, float) for name, runs in found.items() if runs and all(runs)}


def rows() -> Iterator[Row]:
    """The schedules beside one another, and three optimizers in the table's order."""
    yield schedules_of(histories())
    yield ordered(raced())


def schedules_of(found: Mapping[str, Curves]) -> Row:
    """Which schedules lead a constant rate."""
    sentence = "schedules on a residual network, epoch by epoch"
    if len(found) < 2 or "constant" not in found:
        return claim(SOURCE, sentence, HOW, None, "not trained")
    ends = {name: values[:, -1, 1] for name, values in found.items()}
    parts = [f"{name} {values.mean():.1f} %" for name, values in ends.items()]
    leads = {name: spread(values - ends["constant"], 0.05 / (len(ends) - 1)) for name, values in ends.items()}
    del leads["constant"]
    parts += [f"{name} leads a constant rate by {mean:+.1f} +- {half:.1f}" for name, (mean, half) in leads.items()]
    words = f"{_setting(EPOCHS)}: {'; '.join(parts)}"
    return claim(SOURCE, sentence, words, decided(leads.values()), UNTOLD)


def ordered(found: Mapping[str, Curves]) -> Row:
    """Three optimizers of the table of ResNet-18: whether they come in the printed order."""
    sentence = "the printed order of ResNet-18 on ImageNet (Adan, SGD, Adam)"
    if len(found) < len(OPTIMIZERS):
        return claim(SOURCE, sentence, HOW, None, "not trained")
    ends = {name: values[:, -1, 1] for name, values in found.items()}
    parts = [f"{name} {values.mean():.1f} % at {compared(name)[0].lr:g}" for name, values in ends.items()]
    pairs = [*itertools.combinations(OPTIMIZERS, 2)]
    leads = [spread(ends[a] - ends[b], 0.05 / len(pairs)) for a, b in pairs]
    parts += [f"{a} leads {b} by {mean:+.1f} +- {half:.1f}" for (a, b), (mean, half) in zip(pairs, leads, strict=True)]
    words = f"{_setting(LONG)}, a cosine, the rate with the best of three trials of {SHORT} epochs: {'; '.join(parts)}"
    signs = {1 if mean > half else -1 if mean < -half else 0 for mean, half in leads}
    holds = False if -1 in signs else None if 0 in signs else True  # one pair the other way round is another order
    return claim(SOURCE, sentence, words, holds, UNTOLD)


def _setting(epochs: int) -> str:
    return f"{IMAGES:,} images of CIFAR-10, {epochs} epochs, {STARTS} starts, accuracy on 1,000 (one image is 0.1 points)"


def picture() -> Figure:
    """Training loss and test accuracy by epoch of each schedule: the mean of its starts, and the range of them."""
    figure, words = Figure(figsize=(11, 4), layout="constrained"), list[str]()
    left, right = figure.subplots(1, 2)
    ends: tuple[dict[str, tuple[float, str]], ...] = ({}, {})
    for i, (name, values) in enumerate(histories().items()):
        epochs = range(1, 1 + values.shape[1])
        for axes, column, labels in zip((left, right), np.moveaxis(values, 2, 0), ends, strict=True):
            axes.plot(epochs, column.mean(0), color=COLOURS[i], linestyle=DASHES[i])
            axes.fill_between(epochs, column.min(0), column.max(0), color=COLOURS[i], alpha=0.15, linewidth=0)
            labels[name.partition("(")[0].replace("_", " ")] = (float(column[:, -1].mean()), COLOURS[i])
        words.append(f"{name} ends at a loss of {values[:, -1, 0].mean():.3g} and {values[:, -1, 1].mean():.1f} %")
    left.set_yscale("log")
    left.set_ylabel("training loss")
    right.set_ylabel("test accuracy, %")
    left.set_title(f"ResNet-20 on {IMAGES:,} images of CIFAR-10", loc="left", fontsize="medium")
    for axes, labels in zip((left, right), ends, strict=True):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        at_ends(axes, labels)
    figure.set_gid(f"Means of {STARTS} starts and their range. {'; '.join(words)}.")
    return figure


if __name__ == "__main__":
    record(Path(sys.argv[1] if len(sys.argv) > 1 else "resnet20-checkpoints"))
