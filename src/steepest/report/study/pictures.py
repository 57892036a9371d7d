"""What each picture of a study shows: the ranking, the sensitivity to the rate, the learning curves."""

from __future__ import annotations

import math

import numpy as np

from ...studies import statistics as st
from ...studies.running import Entry, Result
from ..palette import Style, style
from ..picture import Form, Mark, Picture, Series

LEAST_FOR_BAND = 3  # seeds


def pictures(result: Result) -> dict[str, Picture]:
    """The pictures by name: "ranking", "sensitivity", "curves"; the last only where something raced."""
    made = {"ranking": ranking(result), "sensitivity": sensitivity(result), "curves": curves(result)}
    return {name: picture for name, picture in made.items() if picture.series}


def ranking(result: Result) -> Picture:
    """Every seed's value, and the mean with its 95 % interval, best on top."""
    made, notes = [], list[tuple[float, str]]()
    for row, entry in enumerate(result.entries):
        values = [v for v in entry.values if v is not None]
        mean, se, n = st.mean_se(values)
        low, high = (x.item() for x in st.interval(mean, se, n, 0.05))
        label = entry.candidate.label
        marks = [Mark("dots", values, [float(row)] * len(values), words=[f"{label}: {v:.4f}" for v in values])]
        if n > 1:
            marks.append(Mark("bar", [low], [float(row)], [high]))
        if n:
            marks.append(Mark("mean", [mean.item()], [float(row)], words=[f"{label}: mean {mean:.4f}"]))
        if len(values) < len(entry.values):
            notes.append((float(row), f"{len(entry.values) - len(values)} diverged"))
        made.append(Series(label, _style(result, entry), marks))
    label = _metric(result, result.split)
    rows = [entry.candidate.label for entry in result.entries]
    caption = "Mean, 95 % interval and every seed, best on top."
    return Picture("Ranking", caption, label, "", made, rows=rows, notes=notes)


def sensitivity(result: Result) -> Picture:
    """Validation metric against the rate: mean over seeds at each rate, and every seed.

    Diverged runs stand on a rail of each optimizer's own beyond the worst value, so that none hides another's.
    """
    values = [v for entry in result.entries for t in entry.trials for v in t.values if v is not None]
    log = _is_wide(values, result)
    rails = _rails(values, log, result.design.problem.direction, len(result.entries))
    made, notes = [], list[tuple[float, str]]()
    for entry, rail in zip(result.entries, rails, strict=True):
        label = entry.candidate.label
        values_at = {t.lr: [v for v in t.values if v is not None] for t in entry.trials}
        means = {lr: float(np.mean(kept)) for lr, kept in values_at.items() if kept}
        every = [(lr, v) for lr, kept in values_at.items() for v in kept]
        chosen = [(lr, mean) for lr, mean in means.items() if lr == entry.lr]
        marks = [_at("line", label, [*means.items()]), _at("dots", label, every), _at("diamond", label, chosen)]
        lost = [t for t in entry.trials if t.diverged]
        if lost:
            words = [f"{label} at {t.lr:g}: {t.diverged} of {len(t.values)} diverged" for t in lost]
            marks += [Mark("rail", [], [rail]), Mark("cross", [t.lr for t in lost], [rail] * len(lost), words=words)]
            notes = [(rails[0], "diverged")]
        made.append(Series(label, _style(result, entry), marks))
    caption = "Mean and every seed, on validation data. Diamonds: the rates chosen. Crosses on the rails: diverged runs."
    label = _metric(result, "validation")
    return Picture("Sensitivity to the rate", caption, "learning rate", label, made, log_x=True, log_y=log, notes=notes)


def curves(result: Result) -> Picture:
    """Validation metric against the step: mean, standard error and every seed. A mean stops where its first seed stopped."""
    made = []
    for entry in result.entries:
        if not entry.outcomes:
            continue
        each = entry.candidate.rule.evaluations  # so that equal work stands at equal places
        seeds = [o.curve for o in entry.outcomes]
        shortest = min((seed.steps for seed in seeds), key=len)
        common = [float(each * step) for step in shortest]
        table = np.array([seed.metric[: len(common)] for seed in seeds])
        mean = table.mean(0)
        x = [float(each * step) for seed in seeds for step in (*seed.steps, math.nan)]
        marks = [Mark("thin", x, [v for seed in seeds for v in (*seed.metric, math.nan)])]
        if len(seeds) >= LEAST_FOR_BAND:
            se = table.std(0, ddof=1) / math.sqrt(len(seeds))
            marks.append(Mark("band", common, (mean - se).tolist(), (mean + se).tolist()))
        marks.append(_at("line", entry.candidate.label, [*zip(common, mean.tolist(), strict=True)]))
        made.append(Series(entry.candidate.label, _style(result, entry), marks))
    log = _is_wide([v for entry in result.entries for o in entry.outcomes for v in o.curve.metric], result)
    view = None if log else _view([line.y for series in made if (line := series.mark("line"))])
    caption = "Mean ± standard error thick, every seed thin; a mean stops where a seed stopped."
    return Picture("Learning curves", caption, "step", _metric(result, "validation"), made, log_y=log, view=view)


def _at(form: Form, label: str, points: list[tuple[float, float]]) -> Mark:
    """A mark at points, each with its words."""
    return Mark(form, [x for x, _ in points], [y for _, y in points], words=[f"{label} at {x:g}: {y:.4f}" for x, y in points])


def _style(result: Result, entry: Entry) -> Style:
    schedules = sorted({e.candidate.schedule for e in result.entries})
    return style(entry.candidate.rule.name, schedules.index(entry.candidate.schedule))


def _metric(result: Result, split: str) -> str:
    """The words for the metric on an axis, such as "test accuracy (%)"."""
    problem = result.design.problem
    return f"{split} {problem.metric_name}" + (" (%)" if problem.in_points else "")


def _is_wide(values: list[float], result: Result) -> bool:
    """Whether values that are to be small span so much that they are drawn on a logarithmic axis."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    return result.design.problem.direction == "min" and low > 0 and high > 20 * low


def _view(means: list[list[float]]) -> tuple[float, float]:
    """The range where the means lie after their first fifth: what happens there is what a comparison asks about."""
    late = [v for mean in means for v in mean[len(mean) // 5 :]] or [0.0]
    pad = (max(late) - min(late) or abs(max(late)) or 1.0) / 10
    return min(late) - pad, max(late) + pad


def _rails(values: list[float], log: bool, direction: str, count: int) -> list[float]:
    """Places beyond the worst value: the first a twelfth of the axis away, the next ones a thirtieth further each."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    shares = [1 / 12 + i / 30 for i in range(count)]
    if log:
        return [float(high * (high / low) ** share) for share in shares]
    span = high - low or abs(high) or 1.0
    return [high + span * share if direction == "min" else low - span * share for share in shares]
