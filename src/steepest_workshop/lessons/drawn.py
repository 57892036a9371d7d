"""Pictures of what the documents explain: shapes of functions, points of rest, Nesterov's step, averages that begin at zero."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from steepest import optim, schedules, surfaces
from steepest.paths.loop import formula_of, trajectory
from steepest.problems.seeds import seeded
from steepest.report.palette import COLOURS, DASHES
from steepest.rules import get

from . import training
from .ideas import CONSTANT
from .labels import at_ends

BLUE, RED, GREEN, PINK = COLOURS[:4]


def shapes() -> Figure:
    """One optimum, and a local next to a global one; a convex function and a concave one."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    single, several, left, right = figure.subplots(1, 4)
    bends = _unimodal(single)
    lows = _multimodal(several)
    x = np.linspace(-1.5, 1.5, 300)
    for axes, title, side in ((left, "convex: no chord is below f", 1), (right, "concave: no chord is above f", -1)):
        axes.plot(x, side * x**2, color=BLUE)
        a, b = -1.1, 0.8
        axes.plot([a, b], [side * a**2, side * b**2], "o--", color=RED)
        axes.set_title(title, loc="left", fontsize="medium")
    _bare(*figure.axes)
    figure.set_gid(
        f"A unimodal function, 1 - exp(-x^2): one minimum, though it bends down beyond {bends:.3f}. A multimodal one, "
        f"x^4 - 3 x^2 + x: {lows}. A convex function and a concave one with a chord each."
    )
    return figure


def _unimodal(axes: Axes) -> float:
    """Draw a function with one optimum that is not convex; the point beyond which it bends down."""
    surface, x = surfaces.get("1 - exp(-x**2)"), np.linspace(-2.6, 2.6, 1001)
    height, curvature = surface.value(x[:, None]), np.array([surface.hessian((at,))[0, 0] for at in x])
    down = curvature < 0
    axes.plot(x, height, color=BLUE)
    axes.plot(x, np.where(down, height, np.nan), color=RED, linestyle="--", linewidth=2.5)
    (low,) = x[1:-1][(np.diff(height)[:-1] < 0) & (np.diff(height)[1:] >= 0)]  # there is one
    axes.plot(low, surface.value((low,)), "o", color=GREEN, markersize=9)
    axes.annotate("the only minimum", (low, 0), (0, -16), textcoords="offset points", ha="center", fontsize="small")
    axes.text(low, 0.95, "dashed:\nbends down", ha="center", va="top", color=RED, fontsize="small")
    axes.set_ylim(-0.25, 1.1)
    axes.set_title("unimodal, not convex", loc="left", fontsize="medium")
    return float(x[~down].max())


def _multimodal(axes: Axes) -> str:
    """Draw a function with a local and a global minimum; where they are."""
    two, x = surfaces.get("x**4 - 3*x**2 + x"), np.linspace(-1.9, 1.75, 300)
    axes.plot(x, two.value(x[:, None]), color=BLUE)
    low = [float(root.real) for root in np.roots([4, 0, -6, 1]) if abs(root.imag) < 1e-9]
    kinds = {min(low): ("global minimum", "o", GREEN), max(low): ("local minimum", "s", PINK)}
    for at, (name, marker, colour) in kinds.items():
        height = float(two.value((at,)))
        axes.plot(at, height, marker, color=colour, markersize=9)
        axes.annotate(name, (at, height), (0, -16), textcoords="offset points", ha="center", fontsize="small")
    axes.set_ylim(-4.6, 3)
    axes.set_title("multimodal: the start decides", loc="left", fontsize="medium")
    return ", ".join(f"{name} at {at:.3f}" for at, (name, _, _) in kinds.items())


def rests() -> Figure:
    """A minimum, a maximum and a saddle in space, with the eigenvalues of the Hessian that tell them apart."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    x, y = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 40))
    words = []
    for k, (name, formula) in enumerate((("minimum", "x**2 + y**2"), ("maximum", "-x**2 - y**2"), ("saddle", "x**2 - y**2"))):
        surface = surfaces.get(formula)
        axes: Any = figure.add_subplot(1, 3, k + 1, projection="3d")
        heights = surface.value(np.stack([x, y], -1))
        axes.plot_surface(x, y, heights, cmap="viridis", alpha=0.8, linewidth=0, antialiased=False)
        axes.plot(0, 0, float(surface.value((0.0, 0.0))), "o", color=RED, markersize=8, zorder=9)
        values = ", ".join(f"{value:g}" for value in np.linalg.eigvalsh(surface.hessian((0.0, 0.0)))[::-1])
        axes.set_title(f"{name}: eigenvalues {values}", fontsize="medium")
        axes.set_box_aspect((1, 1, 0.6))
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_ticklabels([])
        words.append(f"{name} of {formula}, eigenvalues {values}")
    figure.set_gid(f"Points whose gradient is 0: {'; '.join(words)}.")
    return figure


def ahead() -> Figure:
    """The vectors of a step of momentum and of Nesterov's, from the same point with the same velocity."""
    surface, p, v, lr, momentum = surfaces.get("valley(condition=8)"), np.array([-3.2, 1.1]), np.array([1.0, -0.75]), 0.1, 0.9
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    words = []
    for axes, name, at in zip(figure.subplots(1, 2, sharey=True), ("momentum", "Nesterov"), (p, p + momentum * v), strict=True):
        x, y = np.meshgrid(np.linspace(-4, -1, 80), np.linspace(-1, 1.6, 80))
        axes.contour(x, y, surface.value(np.stack([x, y], -1)), levels=14, colors="#999999", linewidths=0.6)
        push, slope = momentum * v, -lr * surface.gradient(at)
        end = p + push + slope
        for begin, arrow, colour, label in (
            (p, push, BLUE, "0.9 of the last step"),
            (
                at if name == "Nesterov" else p + push,
                slope,
                GREEN,
                f"gradient {'after' if name == 'Nesterov' else 'before'} it",
            ),
            (p, end - p, RED, "the step"),
        ):
            style = {"color": colour, "width": 0.012, "angles": "xy", "scale_units": "xy", "scale": 1, "label": label}
            axes.quiver(*begin, *arrow, **style)
        axes.plot(*p, "o", color="#000000")
        axes.set_title(f"{name}: where the gradient is taken", loc="left", fontsize="medium")
        axes.legend(facecolor="white", edgecolor="none", framealpha=1, fontsize="small", loc="lower right")
        axes.set_aspect("equal")
        words.append(f"{name} ends at ({end[0]:.2f}, {end[1]:.2f}), height {float(surface.value(end)):.2f}")
    _bare(*figure.axes)
    figure.set_gid(f"One step from (-3.2, 1.1) in a valley, with the same last step: {'; '.join(words)}.")
    return figure


def begun() -> Figure:
    """Adam's averages of a gradient that is 1 always, as they are and corrected."""
    insides: dict[str, Any] = {}
    trajectory(get("adam"), CONSTANT, (0.0,), 60, lr=0.01, insides=insides)
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    axes, t = figure.subplots(), np.arange(1, 61)
    axes.plot(t, np.ravel(insides["m"]), color=BLUE, label="m, beta1 = 0.9")
    axes.plot(t, np.ravel(insides["v"]), color=RED, linestyle="--", label="v, beta2 = 0.999")
    axes.plot(t, np.ravel(insides["m_hat"]), color=GREEN, linestyle="dashdot", label="both divided by 1 - beta ** t")
    axes.set_xlabel("step")
    axes.set_title("Averages that begin at 0, of a gradient that is 1", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    last = np.ravel(insides["v"])[-1]
    figure.set_gid(
        f"Averages of a constant gradient of 1: after 60 steps v is still {last:.3f}; corrected, both are 1 from the start."
    )
    return figure


def multiples(names: tuple[str, ...], steps: int = 300) -> Figure:
    """Schedules, a panel each."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    panels = figure.subplots(2, -(-len(names) // 2), sharex=True)
    words = []
    for axes, name, colour in zip(panels.flat, names, (*COLOURS, *COLOURS), strict=False):
        values = np.array(schedules.get(name).values(steps))
        axes.plot(values, color=colour, linewidth=1.8)
        axes.set_ylim(0, 1.08 * max(1.0, values.max()))
        axes.set_title(name, loc="left", fontsize="medium")
        axes.grid(alpha=0.25)
        words.append(f"{name} from {values[0]:.3g} to {values[-1]:.3g}, at most {values.max():.3g}")
    for axes in list(panels.flat)[len(names) :]:
        axes.axis("off")
    figure.supxlabel("step", fontsize="small")
    figure.supylabel("multiplier of the rate", fontsize="small")
    figure.set_gid(f"Schedules over {steps} steps: {'; '.join(words)}.")
    return figure


def falling() -> Figure:
    """LambdaLR's rate, from 100, in ten epochs."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes, rates = figure.subplots(), 100 * np.array(schedules.exponential(gamma=0.65).values(10))
    axes.plot(rates, "o-", color=BLUE)
    axes.set_xlabel("epoch")
    axes.set_ylabel("rate")
    axes.set_title("LambdaLR: 100 times 0.65 to the power of the epoch", loc="left")
    axes.grid(alpha=0.25)
    figure.set_gid(f"LambdaLR's rate by epoch, from {rates[0]:g} to {rates[-1]:.3g}.")
    return figure


def decays() -> Figure:
    """Accuracy by rate and decay, for Adam with L2 and for AdamW."""
    from .networks import GRID_DECAYS, GRID_RATES, rate_by_decay

    found, figure = rate_by_decay(), Figure(figsize=(9.6, 4), layout="constrained")
    words, high = [], max(float(np.nanmax(values.mean(2))) for values in found.values())
    titles = {"adam": "Adam, decay in the gradient (L2)", "adamw": "AdamW, decay of a step"}
    for axes, (name, values) in zip(figure.subplots(1, 2, sharey=True), found.items(), strict=True):
        means = values.mean(2)
        shown = axes.imshow(means, cmap="cividis", vmin=high - 6, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(means):
            axes.text(j, i, f"{value:.1f}", ha="center", va="center", color="#000000" if value > high - 3 else "#ffffff")
        axes.set_xticks(range(len(GRID_DECAYS[name])), [f"{decay:g}" for decay in GRID_DECAYS[name]])
        axes.set_yticks(range(len(GRID_RATES)), [f"{rate:g}" for rate in GRID_RATES])
        axes.set_xlabel("decay")
        axes.set_title(titles[name], loc="left", fontsize="medium")
        words.append(f"{titles[name]}: at best {np.nanmax(means):.2f} %")
    figure.axes[0].set_ylabel("rate")
    figure.colorbar(shown, ax=figure.axes, label="test accuracy, %")
    figure.set_gid(f"Accuracy on MNIST from 1,000 images by rate and weight decay. {'; '.join(words)}.")
    return figure


def rates() -> Figure:
    """Descent on one parabola at a rate too small, a good one, one that swings, and one that leaves."""
    surface = surfaces.get("x**2 / 2")  # curvature 1: rates above 2 leave
    figure, x, words = Figure(figsize=(9.6, 3), layout="constrained"), np.linspace(-2.3, 2.3, 200), []
    cases = (("too small", 0.05), ("good", 0.6), ("it swings", 1.8), ("it leaves", 2.15))
    for axes, (name, lr), colour in zip(figure.subplots(1, 4, sharey=True), cases, COLOURS, strict=False):
        points, heights = trajectory(get("gd"), formula_of(surface), (-1.5,), 10, lr=lr)
        axes.plot(x, x**2 / 2, color="#999999", linewidth=1)
        axes.plot(points[:, 0], heights, "o-", color=colour, markersize=4, linewidth=1)
        axes.set_xlim(-2.4, 2.4)
        axes.set_ylim(-0.1, 2.7)
        axes.set_title(f"{lr:g}: {name}", loc="left", fontsize="medium")
        words.append(f"at {lr:g}, {name}, height {heights[-1]:.2g}")
    _bare(*figure.axes)
    figure.suptitle("Ten steps of descent on a parabola of curvature 1, by the rate", x=0.01, ha="left")
    figure.set_gid(f"Ten steps from a height of {1.5**2 / 2:g} on a parabola: {'; '.join(words)}.")
    return figure


def dropout(sizes: tuple[int, ...] = (5, 6, 6, 3), share: float = 0.5) -> Figure:
    """A network, and what is left of it in two steps with dropout on its hidden layers."""
    figure, words = Figure(figsize=(11, 3.9), layout="constrained"), []
    masks = [[np.ones(size) for size in sizes]]
    with seeded(5):
        masks += [[nn.Dropout(share)(torch.ones(size)).numpy() for size in sizes] for _ in range(2)]
    for mask in masks:
        mask[0][:] = mask[-1][:] = 1  # inputs and outputs stay
    titles = ("without dropout", "a step with dropout", "the next step")
    for axes, title, mask in zip(figure.subplots(1, 3), titles, masks, strict=True):
        weights = _network(axes, mask)
        hidden = np.concatenate(mask[1:-1])
        axes.set_title(f"{title}: {int((hidden > 0).sum())} hidden units, {weights} weights", loc="left", fontsize="medium")
        words.append(f"{title}, {int((hidden > 0).sum())} of {len(hidden)} hidden units and {weights} weights")
    figure.set_gid(f"A network, and what dropout of {share:.0%} leaves of it: {'; '.join(words)}.")
    return figure


def _network(axes: Axes, mask: list[np.ndarray[Any, Any]]) -> int:
    """Draw layers of units that are left (not 0) or left out, with the weights between those left; how many these are."""
    places = [[(layer, k - (len(units) - 1) / 2) for k in range(len(units))] for layer, units in enumerate(mask)]
    count = 0
    for layer in range(len(mask) - 1):
        for i, j in itertools.product(np.flatnonzero(mask[layer]), np.flatnonzero(mask[layer + 1])):
            axes.plot(*zip(places[layer][i], places[layer + 1][j], strict=True), color="#999999", linewidth=0.7, zorder=1)
            count += 1
    for units, spots in zip(mask, places, strict=True):
        for on, spot in zip(units > 0, spots, strict=True):
            face, edge = (BLUE, BLUE) if on else ("white", "#999999")
            axes.plot(*spot, "o", markersize=15, markerfacecolor=face, markeredgecolor=edge, zorder=2)
            if not on:
                axes.plot(*spot, "x", markersize=9, color="#999999", zorder=3)
    axes.margins(0.12)
    axes.axis("off")
    return count


def regularized() -> Figure:
    """What BatchNorm makes of channels, and losses with and without BatchNorm and dropout."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    with seeded(0):
        images = 3 + 2 * torch.randn(64, 4, 8, 8) * torch.arange(1, 5).view(1, 4, 1, 1)
        out = nn.BatchNorm2d(4)(images).detach()
    for k, (values, colour, label) in enumerate(((images, "#999999", "before"), (out, BLUE, "after"))):
        left.bar(np.arange(4) + 0.4 * k - 0.2, values.std((0, 2, 3)).numpy(), 0.38, color=colour, label=label)
    left.set_xticks(range(4))
    left.set_xlabel("channel")
    left.set_ylabel("standard deviation")
    left.set_title("BatchNorm: one scale", loc="left", fontsize="medium")
    left.legend(frameon=False, fontsize="small")
    labels, words = {}, []
    layers = {"neither": nn.Identity(), "dropout": nn.Dropout(0.5), "BatchNorm": nn.BatchNorm1d(100)}
    for i, (name, more) in enumerate(layers.items()):
        losses = _course(more)
        right.plot(range(300, 3001, 300), losses, color=COLOURS[i], linestyle=DASHES[i])
        labels[name] = (losses[-1], COLOURS[i])
        words.append(f"{name} {losses[-1]:.3f}")
    right.set_xlabel("step of momentum on MNIST")
    right.set_ylabel("test loss")
    right.set_title("losses with and without", loc="left", fontsize="medium")
    right.grid(alpha=0.25)
    at_ends(right, labels)
    figure.set_gid(f"Channels before and after BatchNorm; test losses at the end: {', '.join(words)}.")
    return figure


def _course(more: nn.Module) -> list[float]:
    """Test losses of a network with this layer more, each 300 of 3,000 steps of momentum on MNIST."""
    data, losses = training.images(), list[float]()
    with seeded(0):
        first, act, last = training.mlp((784, 100, 10))
        model = nn.Sequential(first, more, act, last)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def note(step: int, loss: float) -> None:
            losses.append(training.measured(model, data.test_x, data.test_y)[0])

        training.train(model, optimizer, data, 100, 3000, 300, note)
    return losses


def digit(index: int = 0) -> Figure:
    """An image of the training data, and the pixels of its middle row as the network gets them."""
    raw, data = training.images(), training.images(mean=0.5, deviation=0.5)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(raw.x[index].view(28, 28).numpy(), cmap="gray_r")
    left.axhline(14, color=RED, linewidth=1)
    left.set_title(f"image {index}, a {int(data.y[index])}: 28 x 28 pixels", loc="left", fontsize="medium")
    row = data.x[index].view(28, 28)[14].numpy()
    right.step(range(28), row, where="mid", color=RED)
    right.set_xlabel("column")
    right.set_title("row 14: white -1, black 1", loc="left", fontsize="medium")
    right.grid(alpha=0.25)
    figure.set_gid(
        f"Image {index} of MNIST, a {int(data.y[index])}, and its row 14 with pixels scaled to [-1, 1]; of 784 pixels "
        f"{int((raw.x[index] > 0).sum())} are not white."
    )
    return figure


def _bare(*panels: Axes) -> None:
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
