"""The documents' pictures: what they draw, drawn with our own rules, and what they print beside ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

from steepest import optim, surfaces
from steepest.paths.descent import Descent, descend
from steepest.problems.seeds import seeded
from steepest.report.palette import COLOURS
from steepest.report.surface import pictures
from steepest.rules import RACE, get

from . import Row, annealed, batches, blocks, collapse, curves, drawn, training, tutorial, variants

SLACK = 0.01  # beside a line that does not move
NAMED = ("step", "multi_step", "exponential", "inverse_time", "cosine", "one_cycle", "cyclic")


def of(number: str, rows: Sequence[Row]) -> Iterator[tuple[str, Figure]]:
    """The pictures of a document, each with its name; `rows` are the rows of its table."""
    for name, draw in _DRAWN[number]:
        yield name, draw([row for row in rows if row.source == number])


def names() -> Iterator[tuple[str, str]]:
    """Every picture, as its document and its name."""
    for number, drawn_ones in _DRAWN.items():
        yield from ((number, name) for name, _ in drawn_ones)


def beside(rows: Sequence[Row], pattern: str, across: int, axis: str, unit: str, title: str) -> Figure:
    """What is printed as dots, ours as a line in its interval: a panel for each `run`, along each `x`, of rows that match."""
    runs: dict[str, list[tuple[float, ...]]] = {}
    for row in rows:
        match = re.fullmatch(pattern, row.quantity)
        if match and isinstance(row.printed, float | int) and isinstance(row.ours, float | int):
            low, _, high = str(row.tolerance).partition(" to ")
            interval = (float(low), float(high)) if high else (row.ours, row.ours)
            runs.setdefault(match["run"], []).append((int(match["x"]), row.printed, row.ours, *interval))
    down = -(-len(runs) // across)
    figure = Figure(figsize=(max(3.2 * across, 6.4), 2.3 * down + 0.8), layout="constrained")
    words = []
    for axes, (run, points) in zip(figure.subplots(down, across, squeeze=False).flat, runs.items(), strict=False):
        x, printed, ours, least, most = (np.array(values) for values in zip(*points, strict=True))
        axes.fill_between(x, least, most, color=COLOURS[0], alpha=0.2, linewidth=0, label="95 % of a run")
        axes.plot(x, ours, color=COLOURS[0], label="ours")
        axes.plot(x, printed, "o", color="#000000", markersize=4, markerfacecolor="none", label="printed")
        bottom, top = min(*printed, *ours), max(*printed, *ours)
        axes.set_ylim(bottom - 0.08 * (top - bottom) - SLACK, top + 0.08 * (top - bottom) + SLACK)
        axes.set_title(run, loc="left", fontsize="small")
        axes.grid(alpha=0.25)
        words.append(f"{run}: ends at {ours[-1]:.4g}, printed {printed[-1]:.4g}")
    for axes in figure.axes[len(runs) :]:
        axes.axis("off")
    figure.suptitle(title, x=0.01, ha="left")
    figure.supxlabel(axis, fontsize="small")
    figure.supylabel(unit, fontsize="small")
    figure.axes[0].legend(frameon=False, fontsize="small")
    figure.set_gid(f"{unit} by {axis}, ours as a line and the printed ones as dots. {'; '.join(words)}.")
    return figure


def _race(name: str, steps: int, tuned: bool = False) -> Figure:
    """A map for each of the race's optimizers, where paths would hide one another on one; of where they go, if they stay."""
    surface = surfaces.get(name)
    descent = descend(surface, [get(rule) for rule in RACE], surface.start, steps, {} if tuned else None)
    if any(path.leaves(surface.domain) is not None for path in descent.paths):
        return pictures.panels(descent)
    return pictures.panels(replace(descent, surface=replace(surface, domain=_around(descent))))


def _around(descent: Descent) -> tuple[tuple[float, float], ...]:
    """The part of a surface that the paths and the least point lie in, with a margin."""
    points = np.concatenate([path.points for path in descent.paths] + [np.array([m]) for m in descent.surface.minima])
    low, high = points.min(0), points.max(0)
    margin = 0.08 * (high - low)
    return tuple(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def _prediction() -> Figure:
    """An image and what the network says of it after 500 steps."""
    data = training.images(mean=0.5, deviation=0.5)
    with seeded(0):
        model = training.mlp(variants.SIZES)
        training.train(model, optim.Adam(model.parameters()), data, 64, 500, 500, lambda step, loss: None)
    four = int(torch.nonzero(data.test_y == 4)[0])
    return variants.prediction(model, four)


_Draw = Callable[[Sequence[Row]], Figure]


def _lined(pattern: str, across: int, axis: str, unit: str, title: str) -> _Draw:
    return lambda rows: beside(rows, pattern, across, axis, unit, title)


def _blocks(title: str, runs: dict[str, str]) -> _Draw:
    return lambda rows: blocks.beside(rows, runs, title)


# labels of printed blocks, and how a picture calls them
SGD = {f"SGD(lr={rate}, momentum=0.5)": f"SGD, rate {rate}" for rate in ("0.0005", "0.001")}
ADAM = {f"Adam(lr={rate})": f"Adam, rate {rate}" for rate in ("0.00025", "0.0005", "0.001")}
RMSPROP = {"RMSprop(lr=1e-05)": "RMSprop, rate 0.00001"} | {
    f"RMSprop(lr={rate})": f"RMSprop, rate {rate}" for rate in ("0.00025", "0.001")
}
ACCURACIES = r"(?P<run>.+), accuracy after (?P<x>\d+) iterations", 3, "iteration", "accuracy, %"
LOSSES = r"(?P<run>mean training loss) of epoch (?P<x>\d+): .+", 1, "epoch", "loss"
_DRAWN: dict[str, tuple[tuple[str, _Draw], ...]] = {
    "000": (
        ("accuracies", _lined(*ACCURACIES, "MNIST, 784-100-10: what is printed, and ours")),
    ),
    "001": (
        ("fit", lambda rows: tutorial.fit()),
        ("batches", lambda rows: batches.paths()),
        ("shapes", lambda rows: drawn.shapes()),
        ("rests", lambda rows: drawn.rests()),
        ("ahead", lambda rows: drawn.ahead()),
        ("begun", lambda rows: drawn.begun()),
        ("decays", lambda rows: drawn.decays()),
        ("schedules", lambda rows: drawn.multiples(NAMED)),
        ("rates", lambda rows: drawn.rates()),
        ("narrow", lambda rows: annealed.narrow()),
        ("milestones", lambda rows: annealed.milestones()),
        ("curves", lambda rows: curves.picture()),
        ("contours", lambda rows: _race("beale", 300, tuned=True)),
    ),
    "002": (
        ("saddle", lambda rows: _race("saddle", 200)),
        ("valley", lambda rows: _race("valley", 60)),
        ("lambda", lambda rows: drawn.falling()),
        ("dropout", lambda rows: drawn.dropout()),
        ("regularized", lambda rows: drawn.regularized()),
    ),
    "003": (
        ("epochs", _blocks("SGD with momentum 0.5 on a small convolutional network", SGD)),
        ("epochs-adam", _blocks("Adam on a small convolutional network", ADAM)),
        ("epochs-rmsprop", _blocks("RMSprop on a small convolutional network", RMSPROP)),
        ("epochs-stuck", lambda rows: blocks.stuck()),
        ("courses", lambda rows: blocks.rates_and_momentum()),
        ("courses-nesterov", lambda rows: blocks.nesterov()),
        ("courses-adam", lambda rows: blocks.betas()),
        ("courses-adadelta", lambda rows: blocks.adadelta()),
        ("collapse", lambda rows: collapse.collapse()),
    ),
    "004": (
        ("exponents", lambda rows: variants.bars()),
        ("lowest", lambda rows: variants.lowest()),
        ("losses", _lined(*LOSSES, "MNIST, 784-128-64-10 under Adam")),
        ("digit", lambda rows: drawn.digit()),
        ("digits", lambda rows: variants.digits()),
        ("prediction", lambda rows: _prediction()),
    ),
}  # fmt: skip
