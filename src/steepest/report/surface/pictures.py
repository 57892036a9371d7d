"""Pictures for teaching, as matplotlib figures: paths on a surface, heights, optimizer internals, rates and schedules.

`save` writes PNG, SVG or PDF with alternative text; `animate` writes a GIF and a poster of its last frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...checks import replacing, writable
from ...errors import SteepestError
from ...paths.descent import GRID, Descent, Path, descend
from ...rules import Rule
from ...schedules import Schedule
from ...surfaces import Point, Surface
from ..figures import plain
from ..palette import COLOURS, DASHES, Style, style

Array = NDArray[np.float64]
FORMATS = (".png", ".svg", ".pdf")
FRAMES = 60  # at most, in an animation


def save(figure: Figure, path: File) -> None:
    """Write a figure with its alternative text (`figure.gid`). Raises SteepestError for another format or a missing folder."""
    words, suffix = figure.get_gid() or "", path.suffix.lower()
    if suffix not in FORMATS:
        raise SteepestError(f"The picture {path} would be a '{suffix}' file; expected one of {', '.join(FORMATS)}.")
    writable("picture", path, "paths.png")
    described = {".png": {"Description": words}, ".svg": {"Description": words, "Date": None}, ".pdf": {"Subject": words}}
    with replacing("picture", path) as part:
        figure.savefig(part, dpi=150, metadata=described[suffix])


def _label(path: Path, surface: Surface | None = None) -> str:
    left = path.leaves(surface.domain) if surface else None
    return f"{path.name}, rate {path.lr:g}" + (f", out at step {left}" if left is not None else "")


def _words(descent: Descent) -> str:
    """Alternative text of a picture of paths."""
    surface = descent.surface
    ends = []
    for path in descent.paths:
        left, last = path.leaves(surface.domain), path.values[np.isfinite(path.values)][-1]
        end = f"leaves the frame at step {left}" if left is not None else f"ends at height {last:.3g}"
        ends.append(f"{_label(path)}, {end}")
    start = ", ".join(f"{x:g}" for x in descent.start)
    lead = f"{len(descent.paths)} paths on {surface.name} from ({start}), {descent.steps} gradients each"
    return f"{lead}: {'; '.join(ends)}."


def _plane(surface: Surface) -> tuple[Array, Array, Array]:
    if surface.dims != 2:
        raise SteepestError(f"{surface.name} has {surface.dims} coordinates; a map needs 2. Draw its heights instead.")
    (x0, x1), (y0, y1) = surface.domain
    x, y = np.meshgrid(np.linspace(x0, x1, 240), np.linspace(y0, y1, 240))
    return x, y, surface.value(np.stack([x, y], -1))


def _contour(axes: Axes, surface: Surface) -> None:
    """Draw contours at quantiles of the height, so that flat parts show too, and the known minima as stars."""
    x, y, z = _plane(surface)
    levels = np.unique(np.quantile(z[np.isfinite(z)], np.linspace(0, 1, 26)[1:-1] ** 1.6))
    axes.contourf(x, y, z, levels=[z.min() - 1, *levels, z.max() + 1], cmap="Greys", alpha=0.35)
    axes.contour(x, y, z, levels=levels, colors="#888888", linewidths=0.5, alpha=0.8)
    for i, minimum in enumerate(surface.minima):
        axes.plot(
            *minimum, "*", color="#000000", markersize=13, markeredgecolor="white", zorder=5, label=None if i else "minimum"
        )
    axes.set(xlim=surface.domain[0], ylim=surface.domain[1])
    axes.set(xlabel=str(surface.variables[0]), ylabel=str(surface.variables[1]))


def _draw(axes: Axes, path: Path, surface: Surface, look: Style, upto: int | None = None) -> None:
    """Draw a path up to a step; a path that leaves the frame ends in a cross labelled with that step."""
    left, last = path.leaves(surface.domain), len(path.points) - 1 if upto is None else min(upto, len(path.points) - 1)
    shown = last if left is None else min(last, left)
    points = path.points[: shown + 1]
    many = shown <= 60
    axes.plot(
        *points.T, color=look.colour, linestyle=look.dash, linewidth=1.9, label=_label(path, surface),
        marker="o" if many else None, markersize=3, zorder=3,
    )  # fmt: skip
    if left is not None and last >= left:
        low, high = np.array(surface.domain, float).T
        inside = points[-2]
        toward = points[-1] - inside if np.isfinite(points[-1]).all() else np.zeros_like(inside)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(toward > 0, (high - inside) / toward, np.where(toward < 0, (low - inside) / toward, np.inf))
        edge = inside + toward * min(float(np.nanmin(reach)), 1.0) if np.isfinite(reach).any() else inside
        axes.plot(*edge, "X", color=look.colour, markersize=9, markeredgecolor="white", zorder=6, clip_on=False)
        near = [np.abs((np.array(text.xy) - edge) / (high - low)).max() < 0.08 for text in axes.texts if hasattr(text, "xy")]
        if not any(near):  # where crosses crowd, only the legend names the step
            centre = (low + high) / 2
            across, up = ("left" if edge[0] < centre[0] else "right"), ("bottom" if edge[1] < centre[1] else "top")
            offset = 8 if across == "left" else -8, 4 if up == "bottom" else -4
            axes.annotate(f"step {left}", edge, offset, textcoords="offset points", fontsize=8, ha=across, va=up)
    else:
        axes.plot(*points[-1], "o", color=look.colour, markersize=7, markeredgecolor="white", zorder=4)


def _map(axes: Axes, surface: Surface, paths: Sequence[Path], start: Point, size: float, label: str | None = None) -> None:
    """Draw paths on a contour map of the surface, and their start as a white dot."""
    _contour(axes, surface)
    for path in paths:
        _draw(axes, path, surface, style(path.name))
    axes.plot(*start, "o", color="white", markeredgecolor="#000000", markersize=size, zorder=7, label=label)


def _title(descent: Descent) -> str:
    return f"{descent.surface.name}: {descent.steps} gradients each"


def _legend(figure: Figure, *handles: Any) -> None:
    figure.legend(*handles, loc="outside right upper", frameon=False, fontsize="small")


def level_lines(surface: Surface) -> Figure:
    """A contour map of a surface."""
    figure = Figure(figsize=(5.8, 4.4), layout="constrained", gid=f"Level lines of {surface.name}: {surface.formula}")
    _contour(figure.subplots(), surface)
    return figure


def contour(descent: Descent) -> Figure:
    """The paths on a contour map, with the start, the known minima, and where a path leaves the frame."""
    figure = Figure(figsize=(7.6, 5.2), layout="constrained", gid=_words(descent))
    axes = figure.subplots()
    _map(axes, descent.surface, descent.paths, descent.start, 9, "start")
    axes.set_title(_title(descent), loc="left")
    _legend(figure)
    return figure


def surface3d(descent: Descent) -> Figure:
    """The paths on the surface in three dimensions."""
    surface = descent.surface
    x, y, z = _plane(surface)
    figure = Figure(figsize=(8, 5.6), layout="constrained", gid=_words(descent))
    axes: Any = figure.add_subplot(projection="3d")
    floor, steep = float(z.min()), bool(np.ptp(z) > 30 * np.median(z - z.min()) or np.ptp(z) > 1000)

    def height(values: Array) -> Array:
        return np.log10(1 + np.maximum(values - floor, 0)) if steep else values

    # a coarser grid would show a narrow valley's floor as jagged
    axes.plot_surface(x, y, height(z), cmap="Greys_r", alpha=0.7, linewidth=0, rstride=1, cstride=1, antialiased=False)
    for path in descent.paths:
        look = style(path.name)
        left = path.leaves(surface.domain)
        points, values = path.points[:left], path.values[:left]
        label = _label(path, surface)
        axes.plot(*points.T, height(values), color=look.colour, linestyle=look.dash, linewidth=2.4, label=label, zorder=10)
        if left is not None and len(points):
            axes.plot(*points[-1:].T, height(values[-1:]), "X", color=look.colour, markersize=8, zorder=11)
    for i, minimum in enumerate(surface.minima):
        at = height(surface.value([minimum]))
        axes.plot(*np.array([minimum]).T, at, "*", color="#000000", markersize=12, label=None if i else "minimum", zorder=12)
    start = height(surface.value([descent.start]))
    axes.plot(*np.array([descent.start]).T, start, "o", color="white", markeredgecolor="#000000", label="start", zorder=12)
    axes.set(xlabel=str(surface.variables[0]), ylabel=str(surface.variables[1]))
    axes.set_zlabel("log10(1 + height)" if steep else "height")
    axes.view_init(elev=42, azim=-62 if surface.minima else 52)
    axes.computed_zorder = False
    axes.set_title(_title(descent), loc="left")
    _legend(figure)
    return figure


def panels(descent: Descent) -> Figure:
    """A contour map for each optimizer with its rate, at equal work."""
    count = len(descent.paths)
    across = min(count, 4 if count > 6 else 3)
    down = -(-count // across)
    figure = Figure(figsize=(3.0 * across, 2.8 * down + 0.4), layout="constrained", gid=_words(descent))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes, path in zip(grid.flat, descent.paths, strict=False):
        _map(axes, descent.surface, [path], descent.start, 6)
        how = "best of a grid" if path.tuned else "given"
        axes.set_title(f"{path.name}: rate {path.lr:g} ({how})", fontsize=9, loc="left")
        axes.label_outer()
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    figure.suptitle(_title(descent), x=0.01, ha="left")
    return figure


def heights(descent: Descent) -> Figure:
    """The height of each path against the number of gradients."""
    figure = Figure(figsize=(7.6, 4.4), layout="constrained", gid=_words(descent))
    axes = figure.subplots()
    floor = min((float(descent.surface.value(m)) for m in descent.surface.minima), default=None)
    for path in descent.paths:
        look = style(path.name)
        shown = path.values if floor is None else np.maximum(path.values - floor, 1e-16)
        work = path.rule.evaluations * np.arange(len(shown))
        axes.plot(work, shown, color=look.colour, linestyle=look.dash, linewidth=1.9, label=_label(path))
        if path.diverged_at is not None and path.diverged_at > 0:
            axes.plot(work[path.diverged_at - 1], shown[path.diverged_at - 1], "X", color=look.colour, markersize=9)
    axes.set_yscale("log" if floor is not None else "linear")
    axes.set(xlabel="gradients", ylabel="height above the minimum" if floor is not None else "height")
    plain(axes)
    axes.set_title(descent.surface.name, loc="left")
    _legend(figure)
    return figure


def rates(surface: Surface, rule: Rule, start: Point, steps: int) -> Figure:
    """One optimizer at three rates: a tenth of the grid's best, the best, and the next larger one that ends above the start."""

    def at(lr: float) -> Descent:
        return descend(surface, [rule], start, steps, {rule.name: lr})

    best, floor = descend(surface, [rule], start, steps, {}).paths[0].lr, float(surface.value(start))
    large = next((lr for lr in GRID if lr > best and not at(lr).paths[0].values[-1] < floor), 10 * best)
    figure = Figure(figsize=(11, 3.7), layout="constrained")
    words = []
    shown = {"too small": best / 10, "right": best, "too large": large}
    for axes, (what, lr) in zip(figure.subplots(1, 3), shown.items(), strict=True):
        descent = at(lr)
        _map(axes, surface, descent.paths, start, 7)
        axes.set_title(f"{what}: rate {lr:.2g}", loc="left")
        words.append(_words(descent))
    figure.set_gid(" ".join(words))
    figure.suptitle(f"{rule.name} on {surface.name}, {steps} steps", x=0.01, ha="left")
    return figure


def schedules(chosen: Sequence[Schedule], steps: int, rate: float = 1.0) -> Figure:
    """The rate at each step under several schedules; cycled momentum is shown below."""
    cycled = [s for s in chosen if s.momentum]
    figure = Figure(figsize=(7.6, 6 if cycled else 4.2), layout="constrained")
    grid = figure.subplots(2 if cycled else 1, 1, sharex=True, squeeze=False, height_ratios=[2, 1] if cycled else None)
    words = []
    for i, schedule in enumerate(chosen):
        look = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)], "linewidth": 2}
        values = rate * np.array(schedule.values(steps))
        grid[0, 0].plot(values, label=schedule.name, **look)
        words.append(f"{schedule.name} from {values[0]:.3g} to {values[-1]:.3g}, at most {values.max():.3g}")
        if schedule.momentum:
            grid[1, 0].plot(schedule.momenta(steps) or [], **look)
    grid[0, 0].set(ylabel="multiplier of the rate" if rate == 1 else "learning rate", ylim=(0, None))
    grid[-1, 0].set_xlabel("step")
    if cycled:
        grid[1, 0].set_ylabel("momentum")
    for axes in grid.flat:
        plain(axes)
    figure.legend(loc="outside lower center", frameon=False, fontsize="small", ncols=min(len(chosen), 3))
    figure.set_gid(f"Schedules over {steps} steps: {'; '.join(words)}.")
    return figure


def insides(path: Path, surface: Surface) -> Figure:
    """Norms of gradient and averages, effective rate, and cosine of step and negative gradient along a path."""
    g = path.insides.get("g", surface.gradient(path.points[:-1]))
    moved = np.diff(path.points, axis=0)
    size = np.linalg.norm(moved, axis=1)
    steepness = np.linalg.norm(g, axis=1)
    figure = Figure(figsize=(7.6, 7), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    lines = [(steepness, "‖g‖, the gradient", COLOURS[0], "solid")]
    averages = {"m_hat": "‖m̂‖", "m": "‖m‖", "b": "‖b‖, the momentum"}
    name = next((name for name in averages if name in path.insides), None)
    if name:
        lines.append((np.linalg.norm(np.atleast_2d(path.insides[name].T).T, axis=1), averages[name], COLOURS[1], "dashed"))
    squares = {"v_hat": "√v̂", "v": "√v", "G": "√G"}
    name = next((name for name in squares if name in path.insides and path.insides[name].ndim == 2), None)
    if name:
        looks = zip(COLOURS[2:], ("dashdot", "dotted"), strict=False)
        for column, variable, look in zip(path.insides[name].T, surface.variables, looks, strict=False):
            lines.append((np.sqrt(np.abs(column)), f"{squares[name]} of {variable}", *look))
    for values, words, colour, dash in lines:
        top.semilogy(values, color=colour, linestyle=dash, linewidth=1.8, label=words)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = size / steepness
        cosine = -(moved * g).sum(1) / (size * steepness)
    middle.semilogy(effective, color=COLOURS[0], linewidth=1.8)
    middle.axhline(path.lr, color="#000000", linewidth=1, linestyle="dotted")
    middle.annotate(f"rate {path.lr:g}", (1, path.lr), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    bottom.plot(cosine, color=COLOURS[0], linewidth=1.8)
    bottom.axhline(0, color="#000000", linewidth=0.8)
    bottom.set_ylim(-1.05, 1.05)
    for axes, label in ((top, "size"), (middle, "step ÷ ‖g‖"), (bottom, "cosine of step\nand −gradient")):
        axes.set_ylabel(label)
        plain(axes)
    top.legend(frameon=False, fontsize="small", ncols=2)
    bottom.set_xlabel("step")
    top.set_title(f"{path.name} on {surface.name}, rate {path.lr:g}: its insides", loc="left")
    figure.set_gid(
        f"Insides of {_label(path)} on {surface.name} over {len(moved)} steps: the step's cosine with the negative gradient "
        f"lies between {np.nanmin(cosine):.2f} and {np.nanmax(cosine):.2f}."
    )
    return figure


def animate(descent: Descent, path: File) -> File:
    """Write an animated GIF of the paths on the map and their heights, and its last frame next to it as a PNG.

    Returns the path of the PNG.
    """
    if path.suffix.lower() != ".gif":
        raise SteepestError(f"The animation {path} would be a '{path.suffix}' file; expected .gif.")
    writable("picture", path, "paths.png")
    surface = descent.surface
    figure = Figure(figsize=(11.5, 4.4), layout="constrained", gid=_words(descent))
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _contour(left, surface)
    left.plot(*descent.start, "o", color="white", markeredgecolor="#000000", markersize=7, zorder=7)
    left.set_title(_title(descent), loc="left")
    inside = [p.values[: p.leaves(surface.domain)] for p in descent.paths]
    finite = np.concatenate([v[np.isfinite(v)] for v in inside])
    pad = 0.05 * float(np.ptp(finite)) or 1.0
    right.set(xlim=(0, descent.steps), ylim=(finite.min() - pad, finite.max() + pad), xlabel="gradients")
    right.set_title("height", loc="left")
    plain(right)
    for p in descent.paths:
        look = style(p.name)
        right.plot([], [], color=look.colour, linestyle=look.dash, linewidth=1.9, label=_label(p, surface))
    _legend(figure, *right.get_legend_handles_labels())
    fixed = {id(artist) for axes in (left, right) for artist in (*axes.lines, *axes.texts)}
    frames = np.unique(np.round(np.geomspace(1, descent.steps + 1, FRAMES)).astype(int)) - 1

    def frame(k: int) -> list[Any]:
        for axes in (left, right):
            for artist in [a for a in (*axes.lines, *axes.texts) if id(a) not in fixed]:
                artist.remove()
        for p in descent.paths:
            look = style(p.name)
            at = k // p.rule.evaluations
            _draw(left, p, surface, look, at)
            work = p.rule.evaluations * np.arange(at + 1)
            right.plot(work[: len(p.values)], p.values[: at + 1], color=look.colour, linestyle=look.dash, linewidth=1.9)
        return []

    with_pause = [*frames.tolist(), *[int(frames[-1])] * 10]
    moving = FuncAnimation(figure, frame, frames=with_pause, cache_frame_data=False, init_func=lambda: [])
    with replacing("picture", path) as part:
        moving.save(part, writer=PillowWriter(fps=12), dpi=80)
    frame(descent.steps)
    poster = path.with_suffix(".png")
    save(figure, poster)
    return poster
