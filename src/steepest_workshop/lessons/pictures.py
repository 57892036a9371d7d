"""The documents' pictures: what they draw, drawn with our own rules, and what they print beside ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import torch
from matplotlib.figure import Figure

from steepest import optim, surfaces
from steepest.paths.descent import descend
from steepest.problems.problem import seeded
from steepest.report.palette import COLOURS
from steepest.report.surface import pictures
from steepest.rules import RACE, get

from . import Row, batches, curves, drawn, slides, training, tutorial, variants

NAMED = ("step", "multi_step", "exponential", "inverse_time", "cosine", "one_cycle", "cyclic")


def of(number: str, rows: Sequence[Row]) -> Iterator[tuple[str, Figure]]:
    """The pictures of a document, each with its name; `rows` are the rows of its table."""
    for name, draw in _DRAWN[number]:
        yield name, draw([row for row in rows if row.source == number])


def beside(rows: Sequence[Row], pattern: str, across: int, axis: str, unit: str) -> Figure:
    """What is printed as dots, ours as a line: a panel for each `run`, along each `x`, of quantities that match."""
    runs: dict[str, list[tuple[int, float, float]]] = {}
    for row in rows:
        match = re.fullmatch(pattern, row.quantity)
        if match and isinstance(row.printed, float | int) and isinstance(row.ours, float | int):
            runs.setdefault(match["run"], []).append((int(match["x"]), row.printed, row.ours))
    down = -(-len(runs) // across)
    figure = Figure(figsize=(3.2 * across, 2.3 * down + 0.5), layout="constrained")
    words = []
    for axes, (run, points) in zip(figure.subplots(down, across, squeeze=False).flat, runs.items(), strict=False):
        x, printed, ours = zip(*points, strict=True)
        axes.plot(x, ours, color=COLOURS[0], label="ours")
        axes.plot(x, printed, "o", color="#000000", markersize=4, markerfacecolor="none", label="printed")
        low, high = min(*printed, *ours), max(*printed, *ours)
        axes.set_ylim(low - 0.08 * (high - low) - 0.05, high + 0.08 * (high - low) + 0.05)
        axes.set_title(run, loc="left", fontsize="small")
        axes.grid(alpha=0.25)
        words.append(f"{run}: ends at {ours[-1]:.4g}, printed {printed[-1]:.4g}")
    for axes in figure.axes[len(runs) :]:
        axes.axis("off")
    figure.supxlabel(axis, fontsize="small")
    figure.supylabel(unit, fontsize="small")
    figure.axes[0].legend(frameon=False, fontsize="small")
    figure.set_gid(f"{unit} by {axis}, ours as a line and the printed ones as dots. {'; '.join(words)}.")
    return figure


def _race(name: str, steps: int, tuned: bool = False) -> Figure:
    surface = surfaces.get(name)
    return pictures.contour(descend(surface, [get(rule) for rule in RACE], surface.start, steps, {} if tuned else None))


def _prediction() -> Figure:
    """An image and what the network says of it after 500 steps."""
    data = training.images(mean=0.5, deviation=0.5)
    with seeded(0):
        model = training.mlp(variants.SIZES)
        training.train(model, optim.Adam(model.parameters()), data, 64, 500, 500, lambda step, loss: None)
    four = int(torch.nonzero(data.test_y == 4)[0])
    return variants.prediction(model, four)


_Draw = Callable[[Sequence[Row]], Figure]


def _lined(pattern: str, across: int, axis: str, unit: str) -> _Draw:
    return lambda rows: beside(rows, pattern, across, axis, unit)


_DRAWN: dict[str, tuple[tuple[str, _Draw], ...]] = {
    "000": (
        ("accuracies", _lined(r"(?P<run>.+), accuracy after (?P<x>\d+) iterations", 3, "iteration", "accuracy, %")),
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
        ("curves", lambda rows: curves.picture()),
        ("contours", lambda rows: _race("beale", 300, tuned=True)),
    ),
    "002": (
        ("saddle", lambda rows: _race("saddle", 200)),
        ("valley", lambda rows: _race("valley", 60)),
        ("lambda", lambda rows: drawn.falling()),
        ("regularized", lambda rows: drawn.regularized()),
    ),
    "003": (
        ("epochs", _lined(r"(?P<run>.+), epoch (?P<x>\d+): accuracy", 5, "epoch", "accuracy, %")),
        ("courses", lambda rows: slides.drawn_courses()),
        ("collapse", lambda rows: slides.collapse()),
    ),
    "004": (
        ("exponents", lambda rows: variants.bars()),
        ("losses", _lined(r"(?P<run>mean training loss) of epoch (?P<x>\d+), .+", 1, "epoch", "loss")),
        ("digits", lambda rows: variants.digits()),
        ("prediction", lambda rows: _prediction()),
    ),
}  # fmt: skip
