"""Pictures of what the documents explain: shapes of functions, points of rest, Nesterov's step, averages that begin at zero."""

from __future__ import annotations

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

BLUE, RED, GREEN, PINK = COLOURS[:4]


def shapes() -> Figure:
    """Convex, concave, and one with a local and a global minimum."""
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    x = np.linspace(-1.5, 1.5, 300)
    for axes, f, title, side in (
        (left, x**2, "convex: no chord lies below", 1),
        (middle, -(x**2), "concave: none lies above", -1),
    ):
        axes.plot(x, f, color=BLUE, label="f")
        a, b = -1.1, 0.8
        axes.plot([a, b], [side * a**2, side * b**2], "o--", color=RED, label="chord")
        axes.set_title(title, loc="left", fontsize="medium")
        axes.legend(frameon=False, fontsize="small")
    two = surfaces.get("x**4 - 3*x**2 + x")
    x = np.linspace(-1.9, 1.75, 300)
    right.plot(x, two.value(x[:, None]), color=BLUE)
    low = [float(root.real) for root in np.roots([4, 0, -6, 1]) if abs(root.imag) < 1e-9]
    kinds = {min(low): ("global minimum", "o", GREEN), max(low): ("local minimum", "s", PINK)}
    for at, (name, marker, colour) in kinds.items():
        height = float(two.value((at,)))
        right.plot(at, height, marker, color=colour, markersize=9)
        right.annotate(name, (at, height), (0, -16), textcoords="offset points", ha="center", fontsize="small")
    right.set_ylim(-4.6, 3)
    right.set_title("multimodal: where one starts decides", loc="left", fontsize="medium")
    _bare(left, middle, right)
    lows = ", ".join(f"{name} at {at:.3f}" for at, (name, _, _) in kinds.items())
    figure.set_gid(f"A convex function, a concave one, and x^4 - 3 x^2 + x with its {lows}.")
    return figure


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


def regularized() -> Figure:
    """What dropout leaves of a layer, what BatchNorm makes of channels, and losses with and without."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
    with seeded(0):
        mask = nn.Dropout(0.5)(torch.ones(12, 16)).numpy()
        images = 3 + 2 * torch.randn(64, 4, 8, 8) * torch.arange(1, 5).view(1, 4, 1, 1)
        out = nn.BatchNorm2d(4)(images).detach()
    left.imshow(mask, cmap="Blues", vmin=0, vmax=2.6)
    left.set_xlabel("unit")
    left.set_ylabel("example")
    left.set_title(f"dropout: {(mask == 0).mean():.0%} left out", loc="left", fontsize="medium")
    for k, (values, colour, label) in enumerate(((images, "#999999", "before"), (out, BLUE, "after"))):
        middle.bar(np.arange(4) + 0.4 * k - 0.2, values.std((0, 2, 3)).numpy(), 0.38, color=colour, label=label)
    middle.set_xticks(range(4))
    middle.set_xlabel("channel")
    middle.set_ylabel("standard deviation")
    middle.set_title("BatchNorm: one scale", loc="left", fontsize="medium")
    middle.legend(frameon=False, fontsize="small")
    words = []
    layers = {"neither": nn.Identity(), "dropout": nn.Dropout(0.5), "BatchNorm": nn.BatchNorm1d(100)}
    for i, (name, more) in enumerate(layers.items()):
        losses = _course(more)
        right.plot(range(300, 3001, 300), losses, color=COLOURS[i], linestyle=DASHES[i], label=name)
        words.append(f"{name} {losses[-1]:.3f}")
    right.set_xlabel("step of momentum on MNIST")
    right.set_ylabel("test loss")
    right.set_title("losses with and without", loc="left", fontsize="medium")
    right.grid(alpha=0.25)
    right.legend(frameon=False, fontsize="small")
    figure.set_gid(
        f"Dropout's mask of 12 examples and 16 units; channels before and after BatchNorm; losses: {', '.join(words)}."
    )
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


def _bare(*panels: Axes) -> None:
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
