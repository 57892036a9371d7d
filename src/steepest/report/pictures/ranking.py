"""The means of a study, best on top."""

from __future__ import annotations

from ...study import statistics as st
from ...study.data import Entry, StudyData
from ..picture import Mark, Panel, Picture, Series
from ..registry import picture
from .parts import MOST_ROWS, amount, metric, style_of, view


@picture("ranking", order=2)
def ranking(study: StudyData) -> Picture | None:
    """The mean of each optimizer with its 95 % interval, and every seed; best on top."""
    rows = [row for row in study.optimizers if row.values]
    series, notes, table = [], list[tuple[float, str]](), []
    for place, row in enumerate(rows):
        one, interval = _series(study, row, float(place))
        lost = row.values.count(None)
        table.append([row.label, amount(row.lr, 6), amount(row.mean, 5), *interval, str(row.n), str(lost)])
        if place < MOST_ROWS:
            series.append(one)
            notes += [(float(place), f"{lost} of {len(row.values)} diverged")] if lost else []
    known = [(row.mean, row.label) for row in rows if row.mean is not None]
    best = (max if study.direction == "max" else min)(known, key=lambda one: one[0], default=None)
    title = f"{best[1]} has the best mean {study.split} {study.metric}" if best else "No run ended"
    caption = "Mean, its 95 % interval and every seed. Means of few seeds are partly luck: read the bounds first."
    heading = ["optimizer", "rate", "mean", "low", "high", "n", "diverged"]
    labels = [row.label for row in rows[:MOST_ROWS]]
    panel = Panel(series, metric(study, study.split), rows=labels, view_x=view(series), notes=notes)
    return Picture(title, caption, [panel], (heading, table), legend=False)


def _series(study: StudyData, row: Entry, at: float) -> tuple[Series, list[str]]:
    """The marks of an optimizer at its height, and the interval of its mean in words, empty for a single seed."""
    values = [v for v in row.values if v is not None]
    mean, se, n = st.mean_se(values)
    low, high = (x.item() for x in st.interval(mean, se, n, 0.05))
    marks = [Mark("dots", values, [at] * len(values), words=[f"{row.label}, a seed: {v:.5g}" for v in values])]
    if n > 1:
        marks.append(Mark("bar", [low], [at], [high]))
    if n:
        marks.append(Mark("mean", [mean.item()], [at], words=[f"{row.label}: mean {mean:.5g} of {n}"]))
    return Series(row.label, style_of(study, row), marks), [f"{low:.5g}", f"{high:.5g}"] if n > 1 else ["", ""]
