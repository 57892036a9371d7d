"""The three pictures of a study as matplotlib figures, for papers and notebooks."""

from __future__ import annotations

from matplotlib.figure import Figure

from ...studies.running import Result
from . import series


def figures(result: Result) -> dict[str, Figure]:
    """The figures by name: "ranking", "sensitivity", "curves"."""
    return {"ranking": ranking(result), "sensitivity": sensitivity(result), "curves": curves(result)}


def ranking(result: Result) -> Figure:
    """Every seed's value, and the mean with its 95 % interval, best on top."""
    rows = series.ranking(result)
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(rows):
        axes.plot(row.values, [y] * len(row.values), "o", color=row.style.colour, alpha=0.3, markersize=5, markeredgewidth=0)
        if row.mean is not None:
            axes.plot([row.mean], [y], "o", color=row.style.colour, markersize=8)
        if row.mean is not None and row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], color=row.style.colour, linewidth=2.5, solid_capstyle="butt")
        if row.diverged:
            axes.annotate(f"{row.diverged} diverged", (1, y), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(series.metric_label(result, result.design.split))
    axes.set_title(f"{result.design.problem.name}: mean, 95 % interval and every seed", loc="left")
    _plain(axes)
    return figure


def sensitivity(result: Result) -> Figure:
    """Validation metric against the rate; diverged runs stand as crosses on a rail beyond the worst value."""
    sweeps, axis = series.sweeps(result)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for s in sweeps:
        axes.plot(
            [x for x, _ in s.points],
            [y for _, y in s.points],
            "o",
            color=s.style.colour,
            alpha=0.3,
            markersize=4,
            markeredgewidth=0,
        )
        axes.plot(s.rates, s.means, color=s.style.colour, linestyle=s.style.dash, linewidth=2, label=s.label)
        axes.plot([x for x, m in zip(s.rates, s.means, strict=True) if x == s.chosen],
                  [m for x, m in zip(s.rates, s.means, strict=True) if x == s.chosen],
                  "D", color=s.style.colour, markersize=8, markeredgecolor="white")  # fmt: skip
        if s.diverged:
            axes.plot([x for x, _, _ in s.diverged], [s.rail] * len(s.diverged), "x", color=s.style.colour, markersize=7)
            axes.axhline(s.rail, color=s.style.colour, linewidth=0.8, alpha=0.4, zorder=0)
    if any(s.diverged for s in sweeps):
        axes.annotate("diverged", (0.01, sweeps[0].rail), xycoords=("axes fraction", "data"), va="bottom", color="#555555")
    axes.set_xscale("log")
    axes.set_yscale("log" if axis.log else "linear")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(axis.label)
    axes.set_title("Sensitivity to the rate; diamonds mark the rates chosen", loc="left")
    axes.legend(frameon=False, fontsize="small")
    _plain(axes)
    return figure


def curves(result: Result) -> Figure:
    """Validation metric against the step: mean thick, its standard error as a band, every seed thin."""
    made, axis = series.curves(result)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for c in made:
        for steps, values in c.seeds:
            axes.plot(steps, values, color=c.style.colour, linewidth=0.6, alpha=0.3)
        if c.se is not None:
            low = [m - s for m, s in zip(c.mean, c.se, strict=True)]
            high = [m + s for m, s in zip(c.mean, c.se, strict=True)]
            axes.fill_between(c.steps, low, high, color=c.style.colour, alpha=0.2, linewidth=0)
        axes.plot(c.steps, c.mean, color=c.style.colour, linestyle=c.style.dash, linewidth=2.2, label=c.label)
    axes.set_yscale("log" if axis.log else "linear")
    if axis.view:
        axes.set_ylim(axis.view)
    axes.set_xlabel("step")
    axes.set_ylabel(axis.label)
    axes.set_title("Learning curves: mean ± standard error, and every seed", loc="left")
    axes.legend(frameon=False, fontsize="small")
    _plain(axes)
    return figure


def _plain(axes: object) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)  # type: ignore[attr-defined]
    axes.grid(alpha=0.25)  # type: ignore[attr-defined]
