"""The training loss on a plane, with the paths of the first two optimizers."""

from __future__ import annotations

import numpy as np

from ...study.data import StudyData
from ..palette import DASHES, Style, style
from ..picture import Mark, Panel, Picture, Series
from ..registry import picture


@picture("landscape", order=9, needs="recorded")
def landscape(study: StudyData) -> Picture | None:
    """The training loss on the plane through the start and two solutions, with the paths projected onto it."""
    plane = study.recorded and study.recorded.landscape
    if not plane or not study.recorded:
        return None
    insides = study.recorded.insides
    series, table = [], []
    for k, (one, path, apart, share) in enumerate(zip(insides, plane.paths, plane.apart, plane.shown, strict=True)):
        points = [(x, y, f"{one.label}, point {i}") for i, (x, y) in enumerate(path)]
        off = [point for point, is_off in zip(points, apart, strict=True) if is_off]
        marks = [Mark.at("line", points), Mark.at("mean", points[-1:]), Mark.at("dots", points), Mark.at("hollow", off)]
        series.append(Series(one.label, Style(style(one.name).colour, DASHES[k]), marks))
        counts = [f"{100 * share:.0f} %", str(len(points)), str(len(off))]
        table.append([one.label, *counts, *(f"{at:.4g}" for at in path[-1])])
    heights = np.log10(np.maximum(np.array(plane.losses, float), 1e-12)).tolist()
    frame = (plane.x[0], plane.x[-1], plane.y[0], plane.y[-1])
    shares = " and ".join(f"{100 * s:.0f} % of {one.label}'s" for s, one in zip(plane.shown, insides, strict=True))
    caption = (
        "Training loss (log scale, lighter is lower) on the plane through the common start and both ends. The paths are "
        "projected onto it; a hollow point marks a loss on the path that differs from the loss on the plane by a tenth or more "
        "of the range shown."
    )
    panel = Panel(series, "towards the end of the first path", "orthogonal direction", image=(heights, frame))
    heading = ["optimizer", "motion in the plane", "points", "hollow", "end, x", "end, y"]
    title = f"The plane through the start and two solutions shows {shares} motion"
    return Picture(title, caption, [panel], (heading, table))
