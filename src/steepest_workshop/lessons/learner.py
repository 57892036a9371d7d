"""What a learner writes, put to use: her step trains a network and walks a surface, and her curve is drawn beside torch's.

Step functions are those of the exercises: `step(w, g, t, state)` returns the new w at a rate of 0.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from steepest.report.palette import COLOURS, DASHES
from steepest.surfaces.surface import Surface

Array = NDArray[np.float64]
RATE = 0.1  # of every step in the exercises
YOURS = "yours"  # how the name of a learner's curve begins


class Mine(torch.optim.Optimizer):
    """A learner's step as an optimizer: `Mine(model.parameters(), adam, lr=0.001)`.

    The step is computed in float64, and its move multiplied by lr / 0.1, since it is written for a rate of 0.1.
    Each parameter has its own `state` and count `t`.
    """

    def __init__(self, params: Any, move: Callable[..., Any], lr: float = RATE) -> None:
        super().__init__(params, {"lr": lr})
        self.move = move

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of every parameter that has a gradient; returns the loss of `closure`, if given."""
        loss = torch.enable_grad()(closure)() if closure else None
        for group in self.param_groups:
            for p in [p for p in group["params"] if p.grad is not None]:
                own = self.state[p]
                own["t"] = own.get("t", 0) + 1
                w, g = (x.detach().double().numpy().copy() for x in (p, p.grad))
                moved = np.asarray(self.move(w.copy(), g, own["t"], own.setdefault("state", {}))) - w
                p += torch.as_tensor(group["lr"] / RATE * moved)
        return loss


def walked(step: Callable[..., Any], surface: Surface, steps: int, lr: float = RATE, sloped: bool = False) -> Array:
    """The points (steps + 1, 2) of a learner's step on a surface from its start.

    `sloped`: the step takes a function of w in place of a gradient, as Nesterov's does. That function is multiplied by
    lr / 0.1, not the move: the move also says where the gradient is taken.
    """
    w, state = np.array(surface.start, float), dict[str, Any]()
    points = [w]
    for t in range(1, steps + 1):
        if sloped:
            w = np.asarray(step(w.copy(), lambda at: lr / RATE * surface.gradient(at), t, state))
        else:
            w = w + lr / RATE * (np.asarray(step(w.copy(), surface.gradient(w), t, state)) - w)
        points.append(w)
    return np.array(points)


def lines(
    curves: Mapping[str, ArrayLike], x: Iterable[float], xlabel: str, ylabel: str, title: str = "", stairs: bool = False
) -> Figure:
    """Curves over x; those whose name begins with "yours" as black marks, which leave the line below them visible.

    `stairs`: a value lasts until the next one, as a rate does, instead of being joined to it by a slope.
    """
    figure, at = Figure(figsize=(7.5, 3.6), layout="constrained"), list(x)
    axes = figure.subplots()
    for (name, values), look in zip(curves.items(), _looks(curves, len(at)), strict=True):
        axes.plot(at, np.asarray(values), label=name, drawstyle="steps-post" if stairs else "default", **look)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    ends = "; ".join(f"{name} ends at {float(np.asarray(values)[-1]):.4g}" for name, values in curves.items())
    figure.set_gid(f"{ylabel} by {xlabel}: {ends}.")
    return figure


def paths(surface: Surface, points: Mapping[str, Array], box: Sequence[float], title: str = "") -> Figure:
    """Paths over a surface's contours in `box` (left, right, bottom, top); names that begin with "yours" as black marks."""
    figure = Figure(figsize=(7.5, 3.9), layout="constrained")
    axes = figure.subplots()
    left, right, bottom, top = box
    x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
    heights = surface.value(np.stack([x, y], -1))
    axes.contour(x, y, heights, levels=np.quantile(heights, np.linspace(0, 1, 18)[1:-1] ** 2), colors="#bbbbbb", linewidths=0.7)
    for (name, path), look in zip(points.items(), _looks(points, max(map(len, points.values()))), strict=True):
        axes.plot(*path.T, label=name, **look)
    axes.plot(*surface.start, "s", color="#000000", markersize=5)
    axes.set(xlim=(left, right), ylim=(bottom, top), title=title)
    axes.legend(frameon=True, edgecolor="none", framealpha=0.9)
    ends = "; ".join(f"{name} ends at ({path[-1][0]:.3f}, {path[-1][1]:.3f})" for name, path in points.items())
    figure.set_gid(f"Paths on contours: {ends}.")
    return figure


def _looks(names: Iterable[str], count: int) -> Iterator[dict[str, Any]]:
    """How curves of so many points are drawn: each in the next colour and dash, or, if it is a learner's, in black marks."""
    looks, marks = zip(COLOURS, DASHES, strict=False), itertools.cycle("osD^v")
    for name in names:
        if name.startswith(YOURS):
            style = {"linestyle": "none", "marker": next(marks), "markerfacecolor": "none", "markevery": max(1, count // 25)}
            yield {"color": "#000000", **style}
        else:
            colour, dash = next(looks)
            yield {"color": colour, "linestyle": dash, "linewidth": 1.6}
