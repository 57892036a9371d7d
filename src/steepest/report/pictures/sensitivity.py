"""How the metric depends on the learning rate, and on every other axis searched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...study.data import Entry, StudyData, Trial
from ...study.scalars import in_words
from ..palette import DASHES
from ..picture import Guide, Mark, Panel, Picture, Point, Series, Table
from ..registry import picture
from .parts import SEEN, amount, mean, metric, style_by_schedule

RATE = "lr"


@picture("sensitivity", order=4)
def sensitivity(study: StudyData) -> Picture | None:
    """Validation metric against the learning rate, a panel for each optimizer with a line for each schedule.

    Each further axis searched has a panel too. Diverged runs are on a rail beyond the range; means out of range are arrows at
    its edge.
    """
    tried = [row for row in study.optimizers if any(trial.values for trial in row.trials)]
    if all(len(row.trials) < 2 for row in tried):
        return None
    names = [*dict.fromkeys(row.name for row in tried)]
    tried.sort(key=lambda row: names.index(row.name))
    frame = _frame(study, tried)
    bound = study.recorded.bound if study.recorded else None
    panels = []
    for axis in (RATE, *_numeric(tried)):
        for name in names:
            rows = [row for row in tried if row.name == name and any(axis in _point(trial) for trial in row.trials)]
            guides = [Guide("x", bound, "2/λ")] if bound and (name, axis) == ("sgd", RATE) else []
            panels += [_panel(study, rows, axis, frame, guides)] if rows else []
    courses = sorted({row.schedule for row in tried})
    drawn = ", ".join(f"{DASHES[k % len(DASHES)]} {course}" for k, course in enumerate(courses))
    caption = (
        f"{metric(study, 'validation').capitalize()} against the learning rate, means over seeds: {drawn}. A diamond is the "
        "chosen rate, a cross a rate with diverged runs, a triangle at the edge a mean out of range."
        f"{_further(tried)}{_shortened(tried)}"
    )
    if bound:
        caption += " Beyond 2/λ (λ: largest Hessian eigenvalue at the start) plain gradient descent is unstable."
    return Picture("Sensitivity to the learning rate", caption, panels, _table(tried), columns=2, legend=False)


def _searched(tried: Sequence[Entry]) -> list[str]:
    """The names of the axes searched, other than the learning rate."""
    return [*dict.fromkeys(name for row in tried for trial in row.trials for name in trial.settings)]


def _numeric(tried: Sequence[Entry]) -> list[str]:
    """The names of the searched axes with numbers, which can be drawn."""
    points = [trial.settings for row in tried for trial in row.trials]
    return [name for name in _searched(tried) if all(_is_number(point[name]) for point in points if name in point)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Frame:
    """The metric's range in every panel: `edge` is the worst mean that is shown, `rail` the height of diverged runs."""

    is_max: bool
    is_log: bool
    edge: float
    rail: float
    view: tuple[float, float]

    def shows(self, value: float) -> bool:
        """Whether a mean is in range."""
        return value >= self.edge if self.is_max else value <= self.edge


def _frame(study: StudyData, tried: Sequence[Entry]) -> Frame:
    """A range of some margins that includes the best mean of every optimizer."""
    means: dict[str, list[float]] = {}
    for row in tried:
        known = (mean(trial.values) for trial in row.trials)
        means.setdefault(row.name, []).extend(value for value in known if value is not None)
    every = [value for own in means.values() for value in own]
    more = study.direction == "max"
    good, bad = (max, min) if more else (min, max)
    best, worst = (good(every), bad(every)) if every else (0.0, 1.0)
    log = not more and best > 0 and worst > 20 * best
    far = bad((good(own) for own in means.values() if own), default=best)
    span = max(SEEN * (study.answer.margin or 0.0), abs(best) / 50, 1.5 * abs(best - far)) or 1.0
    span = min(span, abs(best - worst) or span)
    if log:
        edge = max(20 * best, 2 * far)
        rail, ahead = 1.5 * edge, best / 1.3
        bottom = 1.4 * rail
    else:
        down = -span if more else span
        edge, ahead = best + down, best - 0.1 * down
        rail = edge + 0.12 * down
        bottom = rail + 0.1 * down
    return Frame(more, log, edge, rail, (min(bottom, ahead), max(bottom, ahead)))


def _panel(study: StudyData, rows: Sequence[Entry], axis: str, frame: Frame, guides: list[Guide]) -> Panel:
    """An optimizer's means along an axis, a series for each schedule."""
    positive = [x for row in rows for trial in row.trials if (x := _at(trial, axis)) > 0]
    zero = min(positive, default=1.0) / 10  # where 0 is drawn on a log axis
    series = [_series(study, row, axis, frame, zero) for row in rows]
    lost = any(mark.x for one in series if (mark := one.mark("cross")))
    guides = guides + ([Guide("y", frame.rail, "diverged")] if lost else [])
    if any(_at(trial, axis) == 0 for row in rows for trial in row.trials):
        guides.append(Guide("x", zero, "0"))
    name = rows[0].name
    title = name if axis == RATE else f"{name.partition('(')[0]}: {axis}"
    return Panel(series, title=title, log_x=True, log_y=frame.is_log, view_y=frame.view, guides=guides)


def _point(one: Trial | Entry) -> dict[str, Any]:
    """The values of a trial, or of the chosen candidate, on all axes."""
    return {RATE: one.lr, **one.settings}


def _at(trial: Trial, axis: str) -> float:
    """The value of a trial on an axis; NaN if it has none."""
    value: Any = trial.lr if axis == RATE else trial.settings.get(axis, math.nan)
    return float(value)


def _along(row: Entry, axis: str) -> list[Trial]:
    """The most trials that differ only on this axis; in a tie, those through the chosen candidate."""

    def rest(one: Trial | Entry) -> dict[str, Any]:
        return {name: value for name, value in _point(one).items() if name != axis}

    having = [trial for trial in row.trials if axis in _point(trial)]
    lines = [[other for other in having if rest(other) == rest(trial)] for trial in having]
    longest = max(lines, key=lambda line: (len(line), rest(line[0]) == rest(row)), default=[])
    return sorted(longest, key=lambda trial: _at(trial, axis))


def _series(study: StudyData, row: Entry, axis: str, frame: Frame, zero: float) -> Series:
    line, beyond, crosses, seeds, chosen = [], [], [], list[Point](), list[Point]()
    for trial in _along(row, axis):
        at, own, n = _at(trial, axis) or zero, mean(trial.values), len(trial.values)
        words = f"{row.space or row.label} at {_at(trial, axis):g}"
        if lost := trial.values.count(None):
            crosses.append((at, frame.rail, f"{words}: {lost} of {n} diverged"))
        if own is not None and frame.shows(own):
            line.append((at, own, f"{words}: {own:.5g}"))
            seeds += [(at, v, f"{words}, a seed: {v:.5g}") for v in trial.values if v is not None and n > 1]
        elif own is not None:
            line.append((at, math.nan, ""))
            beyond.append((at, frame.edge, f"{words}: {own:.5g}, out of the frame"))
    for trial in row.trials:
        own = mean(trial.values)
        if own is not None and _point(trial) == _point(row):
            height = own if frame.shows(own) else math.nan
            chosen.append((_at(trial, axis) or zero, height, f"{row.label} at {_at(trial, axis):g}: {own:.5g}"))
    marks = [Mark.at("line", line), Mark.at("dots", seeds), Mark.at("spots", line)]
    marks += [Mark.at("below" if frame.is_max else "above", beyond), Mark.at("diamond", chosen), Mark.at("cross", crosses)]
    return Series(row.schedule, style_by_schedule(study, row), marks)


def _further(tried: Sequence[Entry]) -> str:
    """A caption sentence for a study that searched other axes too; empty otherwise."""
    names = " and ".join(_numeric(tried))
    return f" The panels of {names} vary it alone, from the best candidate of the first screening." if names else ""


def _shortened(tried: Sequence[Entry]) -> str:
    """A caption sentence for a study that screened in shortened runs; empty otherwise."""
    for row in tried:
        longest = max((trial.seen for trial in row.trials if trial.seen), default=0)
        if 0 < longest < row.length:
            return f" Rates were screened in runs of {longest} of {row.length} steps."
    return ""


def _table(tried: Sequence[Entry]) -> Table:
    searched, rows = _searched(tried), []
    for row in tried:
        for trial in row.trials:
            settings = [in_words(trial.settings[name]) if name in trial.settings else "" for name in searched]
            lost = trial.values.count(None)
            counts = [str(len(trial.values) - lost), str(lost)]
            rows.append([row.space or row.label, f"{trial.lr:g}", *settings, amount(mean(trial.values), 5), *counts])
    return ["optimizer", "rate", *searched, "mean", "n", "diverged"], rows
