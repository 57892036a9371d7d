"""What the pictures of a study show that was watched from inside: updates and state on the way, and the loss on a plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..palette import DASHES, Style, style
from ..picture import Form, Mark, Panel, Picture, Series

Shown = dict[str, Any]


def at_points(form: Form, points: Sequence[tuple[float, float, str]]) -> Mark:
    """A mark at points with their words."""
    return Mark(
        form, [float(x) for x, _, _ in points], [float(y) for _, y, _ in points], words=[words for _, _, words in points]
    )


def quarters(count: int) -> list[int]:
    return [0, (count - 1) // 4, (count - 1) // 2, count - 1]


def insides(data: Shown) -> Picture:
    """What was seen inside the first two runs, where they were recorded."""
    recorded = (data.get("recorded") or {}).get("insides") or []
    measures = {
        "ratio": "length of an update / weights",
        "effective": "length of an update / gradient",
        "cosine": "cosine(update, −gradient)",
        "gradient": "length of the gradient",
    }
    letters = list(dict.fromkeys(letter for one in recorded for letter in one["state"]))
    panels, table = [], []
    for key, words in [*measures.items(), *((letter, _state_words(letter)) for letter in letters)]:
        series = []
        for k, one in enumerate(recorded):
            values = one[key] if key in measures else one["state"].get(key)
            if values:
                values = [math.sqrt(v) for v in values] if key == "v" else values
                points = [
                    (step, v, f"{one['label']} at step {step}: {v:.4g}") for step, v in zip(one["steps"], values, strict=True)
                ]
                series.append(
                    Series(
                        one["label"],
                        Style(style(one["name"]).colour, DASHES[k]),
                        [at_points("line", points), at_points("spots", points)],
                    )
                )
                table.append([words, one["label"], *(f"{values[at]:.4g}" for at in quarters(len(values)))])
        log = key != "cosine" and all(v > 0 for one in series for v in one.marks[0].y)
        panels.append(Panel(series, title=words, log_y=log))
    labels = " and ".join(one["label"] for one in recorded)
    title = f"Inside {labels}, on seed 0"
    caption = "One run of each, watched: norms over the whole model, at the steps after which it was evaluated."
    heading = ["what", "optimizer", "first", "after a quarter", "half-way", "last"]
    return Picture(title, caption, panels, (heading, table), columns=2)


def _state_words(letter: str) -> str:
    return "√ of the mean v" if letter == "v" else f"root mean square of {letter}"


def landscape(data: Shown) -> Picture:
    """The training loss on the plane of the start and two solutions, with the paths that led there, projected."""
    recorded = data.get("recorded") or {}
    drawn = recorded.get("landscape")
    if not drawn:
        return Picture("", "", [], ([], []))
    series, table = [], []
    for k, (one, path, apart, shown) in enumerate(
        zip(recorded["insides"], drawn["paths"], drawn["apart"], drawn["shown"], strict=True)
    ):
        points = [(x, y, f"{one['label']}, point {i}") for i, (x, y) in enumerate(path)]
        off = [point for point, is_off in zip(points, apart, strict=True) if is_off]
        marks = [at_points("line", points), at_points("mean", points[-1:]), at_points("dots", points), at_points("hollow", off)]
        series.append(Series(one["label"], Style(style(one["name"]).colour, DASHES[k]), marks))
        table.append(
            [
                one["label"],
                f"{100 * shown:.0f} %",
                str(len(points)),
                str(len(off)),
                f"{points[-1][0]:.4g}",
                f"{points[-1][1]:.4g}",
            ]
        )
    x, y = drawn["x"], drawn["y"]
    heights = np.log10(np.maximum(np.array(drawn["losses"], float), 1e-12)).tolist()
    shares = " and ".join(
        f"{100 * s:.0f} % of {one['label']}'s" for s, one in zip(drawn["shown"], recorded["insides"], strict=True)
    )
    title = f"The plane of the start and two solutions shows {shares} motion"
    caption = (
        "Training loss (lighter is lower, logarithmic) on the plane through the common start and both ends. The paths are "
        "projected: hollow points are where the loss on the path is another than the picture shows below it, by a tenth of its "
        "span or more."
    )
    panel = Panel(series, "towards the end of the first", "across", image=(heights, (x[0], x[-1], y[0], y[-1])))
    heading = ["optimizer", "motion in the plane", "points", "hollow", "end, along", "end, across"]
    return Picture(title, caption, [panel], (heading, table))
