"""The slides' pictures, drawn from recorded runs: validation loss and accuracy by epoch, a figure for each few blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from steepest.report.palette import COLOURS, DASHES

from . import Row
from .labels import at_ends
from .slides import COLLAPSES, COUNTED, PRINTED, Config, collapsed, seeds_of
from .training import images

EPOCHS = np.arange(1, 11)
QUANTITIES = ("validation loss", "accuracy")
GREY = "#777777"
Labels = dict[str, tuple[float, str]]


def beside(rows: Sequence[Row], runs: Mapping[str, str], title: str) -> Figure:
    """Printed values as dots, ours as a line in its interval: a row of panels for each block of `runs`, label to title."""
    figure, words = Figure(figsize=(9.6, 2.5 * len(runs) + 0.8), layout="constrained"), []
    for pair, (run, name) in zip(figure.subplots(len(runs), 2, sharex=True, squeeze=False), runs.items(), strict=True):
        for axes, quantity in zip(pair, QUANTITIES, strict=True):
            x, printed, ours, low, high = _values(rows, run, quantity)
            again = _values(rows, f"{run} again", quantity)[:2]
            axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="95 % of a run")
            axes.plot(x, ours, color=COLOURS[0], label="ours, mean of ten starts")
            axes.plot(x, printed, "o", color="#000000", markerfacecolor="none", label="printed")
            if again.size:
                axes.plot(*again, "x", color="#000000", label="printed again")
            shown = np.concatenate([printed, ours, *again[1:]])  # not the interval, which would flatten them
            margin = 0.06 * np.ptp(shown)
            axes.set_ylim(shown.min() - margin, shown.max() + margin)
            axes.set_title(f"{name}: {quantity}{', %' * (quantity == 'accuracy')}", loc="left", fontsize="medium")
            axes.grid(alpha=0.25)
        words.append(f"{name} ends at {ours[-1]:.2f} %, printed {printed[-1]:.2f} %")
    figure.suptitle(title, x=0.01, ha="left")
    figure.supxlabel("epoch", fontsize="small")
    handles = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.axes[0].legend(handles.values(), handles.keys(), frameon=False, fontsize="small", loc="upper right")
    figure.set_gid(f"{title}. Ours as lines and the printed ones as dots: {'; '.join(words)}.")
    return figure


def _values(rows: Sequence[Row], run: str, quantity: str) -> np.ndarray:
    """Of a block: (5, epochs), which are the epoch, printed, ours, and its interval; of no block, nothing."""
    found, points = {row.quantity: row for row in rows}, []
    for epoch in EPOCHS:
        row = found.get(f"{run}, epoch {epoch}: {quantity}")
        if row and isinstance(row.printed, float) and isinstance(row.ours, float):
            points.append((float(epoch), row.printed, row.ours, *map(float, str(row.tolerance).split(" to "))))
    return np.array(points).T


def stuck() -> Figure:
    """RMSprop at 0.01: what the slides print, the starts that collapse, and how every start fares."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.1, 0.9))
    seeds = seeds_of(COLLAPSES, COUNTED)
    dead = np.array([history for history in seeds if collapsed(history) and len(history) == len(EPOCHS)])
    printed = np.array([PRINTED[2][1].split(), PRINTED[2][2].split()], float) / [[1], [100]]
    for axes, column, dots in zip((left, middle), np.moveaxis(dead, 2, 0), printed, strict=True):
        axes.plot(EPOCHS, column.T, color=COLOURS[1], alpha=0.7, linewidth=1.2)
        axes.plot(EPOCHS, dots, "o", color="#000000", markerfacecolor="none")
        axes.set_xlabel("epoch")
    left.axhline(np.log(10), color=GREY, linewidth=0.8)
    left.ticklabel_format(useOffset=False)
    at_ends(left, {"ln 10": (float(np.log(10)), GREY)})
    shares = np.bincount(images(flat=False).test_y.numpy()) / 100
    middle.set_ylim(shares.min() - 0.3, shares.max() + 0.3)
    labels: Labels = {f"all {digit}: {share:.2f}": (float(share), GREY) for digit, share in enumerate(shares)}
    for share in shares:
        middle.axhline(share, color=GREY, linewidth=0.5, alpha=0.6)
    at_ends(middle, labels, gap=0.06)
    after = sorted((history[0][1], collapsed(history)) for history in seeds)
    for rank, (accuracy, lost) in enumerate(after, 1):
        right.plot(accuracy, rank, "o", color=COLOURS[1] if lost else COLOURS[0])
    right.set_xlim(0, 100)
    right.set_yticks(range(5, len(after) + 1, 5))
    right.set_xlabel("accuracy, %")
    titles = ("validation loss", "accuracy, %: the share of one digit", f"{len(after)} starts after one epoch")
    for axes, title in zip((left, middle, right), titles, strict=True):
        axes.set_title(title, loc="left", fontsize="medium")
    figure.suptitle(f"RMSprop at 0.01: {len(dead)} of {len(after)} starts collapse as printed (dots)", x=0.01, ha="left")
    figure.set_gid(
        f"RMSprop at 0.01 on the slides' network, {len(dead)} of {len(after)} starts collapse. Their losses stay near ln 10, "
        f"as printed, and their accuracy is the share of the one digit that they say of every image; the best of the other "
        f"starts has {after[-1][0]:.1f} % after an epoch."
    )
    return figure


def _sgd(rate: float, **more: float | bool) -> Config:
    return ("SGD", {"lr": rate, **more})


def rates_and_momentum() -> Figure:
    """SGD at three rates; and at one of them, with and without momentum."""
    rates = {f"rate {rate:g}": _sgd(rate) for rate in (0.005, 0.01, 0.04)}
    momentum = {"momentum 0": _sgd(0.005), "momentum 0.5": _sgd(0.005, momentum=0.5)}
    figure, panels, words = _grid({"SGD": rates, "SGD at 0.005": momentum}, log=("SGD", "SGD at 0.005"))
    (twice,) = seeds_of(_sgd(0.01), 1)
    for axes, values in zip(panels[1], np.array(twice).T, strict=True):
        axes.plot(EPOCHS, values, "o", color=GREY, markersize=4, markerfacecolor="none")
    panels[1][0].text(0.98, 0.95, "dots: rate 0.01, momentum 0", transform=panels[1][0].transAxes, ha="right", va="top",
                      color=GREY, fontsize="small")  # fmt: skip
    figure.suptitle("SGD: a larger rate is faster, and momentum 0.5 does what twice the rate does", x=0.01, ha="left")
    figure.set_gid(f"SGD by rate and momentum, validation loss and accuracy by epoch, one start each. {words}.")
    return figure


def nesterov() -> Figure:
    """Momentum with and without Nesterov from one start: their losses, and the differences on axes of their own."""
    plain, ahead = (np.array(seeds_of(_sgd(0.001, momentum=0.5, **more), 1)[0]) for more in ({}, {"nesterov": True}))
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(EPOCHS, plain[:, 0], color=COLOURS[0], linewidth=4, alpha=0.4, label="momentum 0.5")
    left.plot(EPOCHS, ahead[:, 0], color=COLOURS[1], linewidth=1.2, label="Nesterov's")
    left.set_yscale("log")
    left.set_title("validation loss: one line", loc="left", fontsize="medium")
    left.legend(frameon=False)
    gaps = ahead - plain
    for axes, values, title in (
        (middle, gaps[:, 0], "difference in loss"),
        (right, gaps[:, 1], "difference in accuracy, points"),
    ):
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.vlines(EPOCHS, 0, values, color=COLOURS[1])
        axes.plot(EPOCHS, values, "o", color=COLOURS[1])
        axes.set_ylim(-1.15 * abs(values).max(), 1.15 * abs(values).max())
        axes.set_title(title, loc="left", fontsize="medium")
    for axes in (left, middle, right):
        axes.grid(alpha=0.25)
    figure.supxlabel("epoch", fontsize="small")
    ends = [history[-1][1] for history in seeds_of(_sgd(0.001, momentum=0.5))]
    luck = f"{len(ends)} starts of momentum alone end up to {max(ends) - min(ends):.2f} points apart"
    figure.suptitle("SGD at 0.001 with momentum 0.5: Nesterov's minus momentum's, from one start", x=0.01, ha="left")
    figure.set_gid(
        f"Nesterov's momentum and momentum alone at 0.001, from one start. From the second epoch on they differ by at most "
        f"{abs(gaps[1:, 0]).max():.4f} in loss and {abs(gaps[1:, 1]).max():.2f} points in accuracy; {luck}."
    )
    return figure


def betas() -> Figure:
    """Adam's betas: those that learn on axes of their own, and what does not learn below."""
    learn: dict[str, Config] = {
        "0.9, 0.99 at 0.0005": ("Adam", {"lr": 0.0005, "betas": (0.9, 0.99)}),
        "0.9, 0.99 at 0.001": ("Adam", {"lr": 0.001, "betas": (0.9, 0.99)}),
        "0.01, 0.01 at 0.001": ("Adam", {"lr": 0.001, "betas": (0.01, 0.01)}),
    }
    fail: dict[str, Config] = {
        "0.99, 0.9 at 0.001": ("Adam", {"lr": 0.001, "betas": (0.99, 0.9)}),
        "0.9, 0.999 at 0.035": ("Adam", {"lr": 0.035}),
    }
    figure, _, words = _grid({"Adam, learns": learn, "Adam, does not": fail}, log=("Adam, does not",))
    figure.suptitle("Adam by its two betas and its rate", x=0.01, ha="left")
    figure.set_gid(f"Adam by betas and rate, validation loss and accuracy by epoch, one start each. {words}.")
    return figure


def adadelta() -> Figure:
    """Adadelta's rho, from two starts each: the starts differ by as much."""
    figure, _, words = _grid({"Adadelta": {f"rho {rho:g}": ("Adadelta", {"rho": rho}) for rho in (0.01, 0.9)}}, starts=2)
    figure.suptitle(
        "Adadelta: rho 0.01 and 0.9 from two starts (solid, dashed) differ no more than starts do", x=0.01, ha="left"
    )
    figure.set_gid(f"Adadelta by rho, validation loss and accuracy by epoch, two starts each. {words}.")
    return figure


def _grid(
    groups: Mapping[str, Mapping[str, Config]], starts: int = 1, log: Sequence[str] = ()
) -> tuple[Figure, np.ndarray, str]:
    """Loss and accuracy of recorded runs, a row of panels for each group; the panels, and how the runs end."""
    figure = Figure(figsize=(11, 3.1 * len(groups) + 0.4), layout="constrained")
    panels, words = figure.subplots(len(groups), 2, sharex=True, squeeze=False), []
    for pair, (group, configs) in zip(panels, groups.items(), strict=True):
        found = {name: np.array(seeds_of(config, starts)) for name, config in configs.items()}  # (starts, epochs, 2)
        for k, (axes, quantity) in enumerate(zip(pair, ("validation loss", "accuracy, %"), strict=True)):
            labels: Labels = {}
            for colour, (name, values) in zip(COLOURS, found.items(), strict=False):
                for dash, column in zip(DASHES, values[..., k], strict=False):
                    axes.plot(EPOCHS, column, color=colour, linestyle=dash)
                labels[name] = (float(np.mean([column[np.isfinite(column)][-1] for column in values[..., k]])), colour)
            axes.set_yscale("log" if group in log and not k else "linear")
            axes.set_title(f"{group}: {quantity}", loc="left", fontsize="medium")
            axes.grid(alpha=0.25)
            at_ends(axes, labels)
        for name, values in found.items():
            words.append(f"{group}, {name}, ends at {' and '.join(f'{right:.2f}' for right in values[:, -1, 1])} %")
    figure.supxlabel("epoch", fontsize="small")
    return figure, panels, "; ".join(words)
