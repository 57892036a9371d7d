"""Pictures of why rates are decayed: a narrow minimum that only small rates reach, and milestones on least squares."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from steepest import schedules, surfaces
from steepest.paths.loop import formula_of, trajectory
from steepest.report.palette import COLOURS
from steepest.rules import get

from . import batches
from .labels import at_ends

WELL, FORMULA = 2.0, "x**2/10 - 1.2*exp(-25*(x - 2)**2)"  # a narrow, deep minimum near x = 2, on the side of a wide bowl
STEPS = 400
MILESTONES: dict[str, tuple[float, ...]] = {
    "no milestone": (),
    "1 milestone": (0.5,),
    "2 milestones": (0.4, 0.7),
    "3 milestones": (0.3, 0.55, 0.8),
}
RATE, SIZE, PASSES, ORDERS = 0.03, 1, 30, 20


def narrow() -> Figure:
    """A narrow, deep minimum next to a wide one, descent from its edge at two rates, and which rates stay in it."""
    surface = surfaces.get(FORMULA)
    low = float(trajectory(get("gd"), formula_of(surface), (WELL,), STEPS, lr=0.005)[0][-1, 0])
    curvatures = {at: float(surface.hessian((at,))[0, 0]) for at in (0.0, low)}
    limit = 2 / curvatures[low]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    *panels, right = figure.subplots(1, 3)
    x = np.linspace(-3.6, 3.6, 1200)
    for axes, factor, colour in zip(panels, (0.8, 4.0), COLOURS, strict=False):
        points, heights = trajectory(get("gd"), formula_of(surface), (low + 0.1,), STEPS, lr=factor * limit)
        axes.plot(x, surface.value(x[:, None]), color="#999999", linewidth=1)
        axes.plot(points[:, 0], heights, "o-", color=colour, markersize=3.5, linewidth=0.8)
        axes.plot(points[-1, 0], heights[-1], "*", color="#000000", markersize=13, zorder=5)
        ends = "settles" if abs(points[-1, 0] - low) < 0.01 else "is thrown out"
        axes.set_title(f"rate {factor * limit:.3f}: {ends}", loc="left", fontsize="medium")
        axes.text(0, -0.12, f"wide:\ncurvature {curvatures[0.0]:.1f}", ha="center", va="top", fontsize="small")
        axes.text(
            low - 0.3, float(surface.value((low,))), f"narrow:\ncurvature {curvatures[low]:.0f}", ha="right", fontsize="small"
        )
    rates, starts = limit * np.geomspace(0.1, 10, 61), low + np.linspace(-0.15, 0.15, 31)
    ended = [[trajectory(get("gd"), formula_of(surface), (at,), STEPS, lr=lr)[1][-50:] for at in starts] for lr in rates]
    heights = np.mean(ended, (1, 2))
    right.semilogx(rates, heights, color=COLOURS[2])
    right.axvline(limit, color="#777777", linewidth=0.8)
    right.text(0.9 * limit, -0.1, "2 / curvature", color="#555555", fontsize="small", ha="right")
    right.set_xlabel("rate")
    right.set_title("height after starts in the narrow one", loc="left", fontsize="medium")
    right.grid(alpha=0.25)
    out = rates[heights > -0.05][0]
    figure.set_gid(
        f"A wide minimum of curvature {curvatures[0.0]:.1f} and a deeper, narrow one of curvature {curvatures[low]:.0f}. "
        f"Descent settles in the narrow one at rates below 2 / curvature, {limit:.3f}; above it swings there, and from "
        f"{out:.2g} on it is thrown out into the wide one."
    )
    return figure


def milestones() -> Figure:
    """Rates with no, one, two and three milestones, and how far from the least loss single examples end under each."""
    regression, words = batches.data(), []
    count = len(regression.x) * PASSES
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends: tuple[dict[str, tuple[float, str]], ...] = ({}, {})
    for (label, shares), colour in zip(MILESTONES.items(), COLOURS, strict=False):
        schedule = schedules.get(f"multi_step(milestones={shares})") if shares else schedules.get("constant")
        rates = RATE * np.array(schedule.values(count))
        paths = [batches.descend(regression, SIZE, PASSES, rates, seed=seed)[1:] for seed in range(ORDERS)]
        losses = np.mean([batches.excess(regression, path) for path in paths], 0).reshape(PASSES, -1).mean(1)
        left.plot(np.arange(count) / len(regression.x), rates, color=colour)
        right.plot(np.arange(1, PASSES + 1), losses, color=colour)
        ends[0][label], ends[1][label] = (float(rates[-1]), colour), (float(losses[-1]), colour)
        words.append(f"{label} {losses[-1]:.2g}")
    for axes, labels, title in zip((left, right), ends, ("rate", "loss above the least"), strict=True):
        axes.set_yscale("log")
        axes.set_xlabel("pass over the tumours")
        axes.set_title(title, loc="left", fontsize="medium")
        axes.grid(alpha=0.25)
        at_ends(axes, labels)
    figure.set_gid(
        f"Least squares by single examples, whose rate is divided by ten at each milestone. Loss above the least in the last "
        f"of {PASSES} passes, mean of {ORDERS} orders: {'; '.join(words)}."
    )
    return figure
