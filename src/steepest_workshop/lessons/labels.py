"""Labels next to the ends of lines, in their colours, instead of a legend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

GAP = 0.085  # least distance of two labels, as a share of the axis

Array = NDArray[np.float64]


def at_ends(axes: Axes, labels: Mapping[str, tuple[float, str]], gap: float = GAP) -> None:
    """Write each label to the right of the axes, at its height and in its colour. Call it when the limits are set."""
    axes.autoscale_view()  # matplotlib computes limits late
    from_data = axes.transData + axes.transAxes.inverted()
    heights = np.array([from_data.transform((1.0, height))[1] for height, _ in labels.values()])
    for (text, (_, colour)), height in zip(labels.items(), apart(heights.clip(0.02, 0.98), gap), strict=True):
        axes.text(1.02, height, text, transform=axes.transAxes, color=colour, fontsize="small", va="center")


def apart(heights: Array, gap: float) -> Array:
    """Heights moved as little as possible (least squares), so that any two differ by at least `gap`; their order stays."""
    order, steps = np.argsort(heights, kind="stable"), gap * np.arange(len(heights))
    found = np.empty(len(heights))
    found[order] = isotonic_regression(heights[order] - steps).x + steps
    return found
