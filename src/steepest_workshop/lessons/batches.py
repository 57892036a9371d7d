"""Batch, mini-batch and stochastic descent on least squares: what a batch costs, and what it buys.

The data are the tutorial's (T. Daniel, Tutorial 03): perimeter from radius and area of 569 tumours. The loss is the mean
squared error; its surface over the two weights is a bowl.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from steepest.paths.loop import trajectory
from steepest.problems.built_in.breast_cancer import measures, solve
from steepest.report.palette import COLOURS, DASHES
from steepest.rules import get

from .noisy_regression import powered

Array = NDArray[np.float64]
SIZES = (569, 57, 10, 1)


class Data(NamedTuple):
    """Examples (569, 2), labels (569,), the exact solution (2,), and its loss."""

    x: Array
    y: Array
    exact: Array
    least: float


def data(standardised: bool = True, outliers: float = 0.0, seed: int = 0) -> Data:
    """The features as they are, centred, or standardised; `outliers` is the share of labels moved far up.

    The exact solution and its loss are always those of the clean labels.
    """
    table = measures() - measures().mean(0)
    table[:, 2] /= table[:, 2].std()
    x, y = (table[:, :2] / table[:, :2].std(0) if standardised else table[:, :2]), table[:, 2].copy()
    exact = solve(x, y)
    least = float(np.mean((x @ exact - y) ** 2))
    rng = np.random.default_rng(seed)
    hit = rng.choice(len(y), round(outliers * len(y)), replace=False)
    y[hit] += 10 * rng.exponential(size=len(hit))
    return Data(x, y, exact, least)


def order(count: int, size: int, epochs: int, seed: int = 0) -> NDArray[np.int64]:
    """The rows of each update: every epoch in a new order, in full batches of `size`."""
    rng = np.random.default_rng(seed)
    whole = count // size
    return np.concatenate([rng.permutation(count)[: whole * size].reshape(whole, size) for _ in range(epochs)])


def descend(regression: Data, size: int, epochs: int, lr: float | Array, momentum: float = 0.0, seed: int = 0) -> Array:
    """The weights after each update, (updates + 1, 2), from (0, 0). `lr` is one rate, or one an update."""
    batches = order(len(regression.x), size, epochs, seed)
    rule = get("momentum" if momentum else "gd")
    more: dict[str, Any] = {"momentum": momentum} if momentum else {}
    table = np.column_stack([regression.x, regression.y])
    start, steps = np.zeros(2), len(batches)
    return trajectory(rule, powered(2.0, 2), start, steps, lr=lr, data=table, batches=batches, **more)[0]


def excess(regression: Data, w: Array) -> Array:
    """The loss of weights (..., 2) above the least, on clean labels: the exact quadratic, without rounding's noise."""
    h = regression.x.T @ regression.x / len(regression.x)
    return np.asarray(np.einsum("...i,ij,...j->...", w - regression.exact, h, w - regression.exact))


def cost(examples: int = 100, epochs: int = 10) -> list[dict[str, Any]]:
    """The tutorial's cost table, by counting: updates of so many epochs for batches of all, a tenth, and one."""
    return [
        {"method": name, "m": size, "updates": len(order(examples, size, epochs))}
        for name, size in (("batch", examples), ("mini-batch", examples // 10), ("stochastic", 1))
    ]


def qualities(epochs: int = 20) -> list[dict[str, Any]]:
    """Accuracy, speed, memory and online use, measured at equal epochs, each batch size at the best rate of a grid."""
    regression, rows = data(), []
    for size in SIZES:
        lr, mean, se = best(regression, size, epochs)
        began = time.perf_counter()
        path = descend(regression, size, epochs, lr)
        seconds = (time.perf_counter() - began) / (len(path) - 1)
        near = excess(regression, path) <= 0.01 * excess(regression, path[0])
        reached = int(near.argmax()) if near.any() else None
        rows.append(
            {
                "m": size,
                "rate": lr,
                "excess": mean,
                "se": se,
                "examples to 1 %": None if reached is None else reached * size,
                "ns an update": 1e9 * seconds,
                "bytes held": _memory(regression, size),
                "updates of half": sum(1 for _ in _arriving(regression, size, len(regression.x) // 2)),
            }
        )
    return rows


def _arriving(regression: Data, size: int, count: int) -> Iterator[Array]:
    """The weights after each update while `count` examples arrive one by one: an update as soon as a batch is complete."""
    w, batch = np.zeros(2), list[int]()
    for k in range(count):
        batch.append(k)
        if len(batch) == size:
            x, y = regression.x[batch], regression.y[batch]
            w = w - 0.01 * 2 * x.T @ (x @ w - y) / size
            batch.clear()
            yield w


def _memory(regression: Data, size: int) -> int:
    """The most bytes that NumPy has allocated at once to take a batch and compute its gradient."""
    rows, w = order(len(regression.x), size, 1)[0], np.zeros(2)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    x, y = regression.x[rows], regression.y[rows]
    x.T @ (x @ w - y)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most - before


def best(regression: Data, size: int, epochs: int, momentum: float = 0.0, seeds: int = 10) -> tuple[float, float, float]:
    """The rate of a grid that ends lowest on average, with that mean excess and its standard error over seeds."""
    rates = [float(f"{10 ** (k / 6):.2g}") for k in range(-30, 4)]
    ended = [[_end(regression, size, epochs, lr, momentum, seed) for seed in range(seeds)] for lr in rates]
    means = [float(np.mean(values)) for values in ended]
    at = int(np.argmin(means))
    return rates[at], means[at], float(np.std(ended[at], ddof=1) / np.sqrt(seeds))


def ends(size: int, epochs: int = 20, seeds: int = 100) -> Array:
    """Excess losses (seeds,) after so many epochs at the best rate, from orders of the data that did not choose it."""
    regression = data()
    lr = best(regression, size, epochs)[0]
    return np.array([_end(regression, size, epochs, lr, 0.0, seed) for seed in range(1000, 1000 + seeds)])


def _end(regression: Data, size: int, epochs: int, lr: float, momentum: float, seed: int) -> float:
    with np.errstate(all="ignore"):
        last = float(excess(regression, descend(regression, size, epochs, lr, momentum, seed)[-1]))
    return last if np.isfinite(last) else np.inf


def largest_rates(epochs: int = 20, momentum: float = 0.0) -> list[dict[str, Any]]:
    """For each batch size the largest rate of a fine grid after which the loss is below a tenth of its start, every seed."""
    regression, rows = data(), []
    start = float(excess(regression, np.zeros(2)))
    for size in SIZES:
        largest = 0.0
        for lr in 10 ** (np.arange(-40, 11) / 10):
            if max(_end(regression, size, epochs, float(lr), momentum, seed) for seed in range(5)) < 0.1 * start:
                largest = float(lr)
        rows.append({"m": size, "momentum": momentum, "largest rate": largest})
    return rows


def scaling(steps: int = 2000) -> list[dict[str, Any]]:
    """Raw against standardised features: the largest curvature, the condition number, the rate it allows, and what is reached.

    The closed form gives the same fit to both.
    """
    rows = []
    for name in ("raw", "standardised"):
        regression = data(standardised=name == "standardised")
        w = np.linalg.eigvalsh(2 * regression.x.T @ regression.x / len(regression.x))
        lr = 1.9 / w[-1]
        path = descend(regression, len(regression.x), steps, float(lr))
        share = float(excess(regression, path[-1]) / excess(regression, path[0]))
        rows.append(
            {"features": name, "condition": float(w[-1] / w[0]), "rate": float(lr), "left": share, "exact": regression.least}
        )
    return rows


def outliers(share: float = 0.02, epochs: int = 20) -> list[dict[str, Any]]:
    """What outliers among the labels do to the clean excess loss: at the end and at worst in the last epoch, over ten seeds."""
    clean, hit, rows = data(), data(outliers=share), []
    for size in (569, 10, 1):
        lr = best(clean, size, epochs)[0]
        ends, worst = [], []
        for seed in range(10):
            path = descend(hit, size, epochs, lr, seed=seed)
            late = excess(clean, path[-(len(path) // epochs) :])
            ends.append(float(late[-1]))
            worst.append(float(late.max()))
        rows.append({"m": size, "rate": lr, "excess": float(np.mean(ends)), "worst": float(np.mean(worst))})
    return rows


def paths(epochs: int = 6) -> Figure:
    """The paths of the three kinds of descent on the loss over the two weights."""
    regression = data()
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    a, b = np.meshgrid(np.linspace(-0.15, 1.1, 200), np.linspace(-0.25, 1.0, 200))
    height = excess(regression, np.stack([a, b], -1))
    axes.contour(a, b, height, levels=np.quantile(height, np.linspace(0, 1, 22)[1:-1] ** 2), colors="#999999", linewidths=0.6)
    words = []
    for i, (name, size, lr) in enumerate((("stochastic", 1, 0.03), ("mini-batch", 10, 0.1), ("batch", 569, 0.2))):
        passes = epochs if size < 569 else 57 * epochs  # as many updates as of mini-batches
        path = descend(regression, size, passes, lr)
        size_words = f"{size} example{'s' * (size > 1)} an update"
        label = f"{name}: {size_words}, rate {lr:g}, {len(path) - 1:,} updates in {passes} passes"
        axes.plot(
            *path.T, color=COLOURS[i], linestyle=DASHES[0], linewidth=(0.5, 0.9, 2.0)[i], label=label, alpha=(0.6, 0.9, 1)[i]
        )
        words.append(f"{label}, ends {excess(regression, path[-1]):.2g} above the least loss")
    axes.plot(*regression.exact, "*", color="#000000", markersize=14, markeredgecolor="white", label="exact solution", zorder=5)
    axes.set_xlabel("weight of the radius")
    axes.set_ylabel("weight of the area")
    axes.set_title("Least squares: three sizes of batch", loc="left")
    figure.legend(loc="outside lower center", frameon=False, fontsize="small")
    figure.set_gid(f"Paths over two weights. {'; '.join(words)}.")
    return figure


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""

    def shown(value: Any) -> str:
        if value is None or isinstance(value, bool):
            return {None: "-", True: "yes", False: "no"}[value]
        return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(shown(v) for v in row.values()) + " |" for row in rows)])
