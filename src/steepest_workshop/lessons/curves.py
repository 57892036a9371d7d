"""A residual network of 20 layers on the part of CIFAR-10 that is here: four schedules, three starts, epoch by epoch.

`python -m steepest_workshop.lessons.curves FOLDER` trains what is not yet kept, about an hour and a half on two cores. A
checkpoint is written to the folder after every epoch; a stopped run goes on from there, to the same numbers.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
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
from steepest.rules import get
from steepest.training.ways import workers_on

from . import Row, claim, kept, spread
from .labels import at_ends
from .training import drawn, measured

FILE = "curves"
SCHEDULES = ("constant", "cosine", "exponential_steps", "multi_step(milestones=(0.5, 0.75))")
STARTS, EPOCHS, IMAGES = 3, 30, 10_000
RATE, MOMENTUM, DECAY, BATCH = 0.1, 0.9, 1e-4, 128  # He et al. 2016, section 4.2
History = list[tuple[float, float]]  # mean training loss and test accuracy of each epoch


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
    schedule: str,
    start: int,
    data: Sets,
    checkpoint: Path,
    epochs: int = EPOCHS,
    network: Callable[[], nn.Module] | None = None,
) -> History:
    """Train by momentum, from the checkpoint where there is one, which is written after every epoch."""
    with seeded(start):
        model = (network or cifar10.resnet20)().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
        each = -(-len(data.x) // BATCH)
        rates = RATE * np.array(schedules.get(schedule).values(epochs * each))
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


def made_by(schedule: str, start: int) -> str:
    """The digest of what a run comes from."""
    settings = (schedule, start, EPOCHS, RATE, MOMENTUM, DECAY, BATCH, get("sgd").digest)
    return kept.digest(cifar10.resnet20, cifar10.Block, train, settings)


def _job(folder: Path, k: int, start: int) -> History:
    torch.set_num_threads(1)
    return train(
        SCHEDULES[k], start, sets(cifar10.cifar10_resnet20()), folder / f"{k}-{start}-{made_by(SCHEDULES[k], start)}.pt"
    )


def record(folder: Path, say: Callable[[str], None] = print) -> None:
    """Train every schedule from every start that is not kept, and keep it; a core trains one at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(k, start) for start in range(STARTS) for k in range(len(SCHEDULES))]
    jobs = [job for job in jobs if kept.value(FILE, _key(*job), made_by(SCHEDULES[job[0]], job[1])) is None]
    with ProcessPoolExecutor(workers_on("cpu"), mp_context=multiprocessing.get_context("spawn")) as pool:
        for (k, start), history in zip(jobs, pool.map(_job, [folder] * len(jobs), *zip(*jobs, strict=True)), strict=True):
            kept.keep(FILE, {_key(k, start): (made_by(SCHEDULES[k], start), history)})
            say(f"{_key(k, start)}: {history[-1][1]:.2f} %")


def _key(k: int, start: int) -> str:
    return f"{SCHEDULES[k]}, start {start}"


def histories() -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """What is kept of each schedule: (starts, epochs, training loss and test accuracy); only schedules with every start."""
    found = {}
    for schedule in SCHEDULES:
        runs = [kept.value(FILE, f"{schedule}, start {start}", made_by(schedule, start)) for start in range(STARTS)]
        if all(run is not None for run in runs):
            found[schedule] = np.array(runs, float)
    return found


def rows() -> Iterator[Row]:
    """How the schedules end beside one another; what is not kept is said."""
    found = histories()
    sentence = "schedules on a residual network, epoch by epoch"
    if len(found) < 2:
        words = "no curves are kept; `python -m steepest_workshop.lessons.curves FOLDER` trains them in an hour and a half"
        yield claim("001", sentence, words, None, "not trained")
        return
    ends = {name: values[:, -1, 1] for name, values in found.items()}
    parts = [f"{name} {values.mean():.1f} %" for name, values in ends.items()]
    for name in list(ends)[1:]:
        mean, half = spread(ends[name] - ends["constant"], 0.05 / (len(ends) - 1))
        parts.append(f"{name} leads a constant rate by {mean:+.1f} +- {half:.1f}")
    words = (
        f"{IMAGES:,} images, {EPOCHS} epochs, {STARTS} starts, accuracy on 1,000 (one image is 0.1 points): {'; '.join(parts)}"
    )
    yield claim("001", sentence, words, None, "10,000 images and three starts tell only large differences")


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
            labels[name.partition("(")[0]] = (float(column[:, -1].mean()), COLOURS[i])
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
