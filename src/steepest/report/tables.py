"""A study as a pandas table, and as a table for a paper in Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..study import statistics as st
from ..study.data import Entry, StudyData
from ..study.scalars import in_words

if TYPE_CHECKING:
    import pandas

COLUMNS = ("schedule", "lr", "mean", "se", "n", "diverged", "seconds_per_step", "state_bytes")


def table(study: StudyData) -> pandas.DataFrame:
    """One row for each optimizer, best first, with a column for each further axis that was searched."""
    import pandas  # slow to import

    searched = dict.fromkeys(name for row in study.optimizers for name in row.settings)
    rows = [
        {"name": row.name}
        | {name: getattr(row, name) for name in COLUMNS}
        | {name: row.settings.get(name) for name in searched}
        for row in study.optimizers
    ]
    return pandas.DataFrame(rows, columns=["name", *COLUMNS, *searched]).set_index("name")


HEADING = ("optimizer", "schedule", "learning rate", "mean", "95 % interval", "n", "tuning")
SPECIAL = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def markdown(study: StudyData) -> str:
    """A table for a paper in Markdown: means over seeds with intervals, and how each optimizer was tuned."""
    rows = [[cell.replace("|", r"\|") for cell in row] for row in (HEADING, *map(_for_paper, _raced(study)))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADING))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:], "", _caption(study)])


def latex(study: StudyData) -> str:
    """The same table in LaTeX, with booktabs."""
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in map(_for_paper, _raced(study))]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            r"\caption{" + _escaped(_caption(study)) + "}",
            r"\begin{tabular}{lllrrrl}",
            r"\toprule",
            " & ".join(map(_escaped, HEADING)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _raced(study: StudyData) -> Sequence[Entry]:
    """The rows with runs on the compared seeds; all if there are none."""
    return [row for row in study.optimizers if row.values] or study.optimizers


def _for_paper(row: Entry) -> list[str]:
    """The cells of one optimizer."""
    values = [value for value in row.values if value is not None]
    interval = ""
    if row.mean is not None and row.se is not None and len(values) > 1:
        low, high = st.interval(row.mean, row.se, len(values), st.ALPHA)
        interval = f"{float(low):.5g} to {float(high):.5g}"
    lost = f", {row.diverged} diverged" if row.diverged else ""
    settings = "".join(f", {name} {in_words(value)}" for name, value in row.settings.items())
    return [
        row.name,
        row.schedule,
        "" if row.lr is None else f"{row.lr:g}{settings}",
        "" if row.mean is None else f"{row.mean:.5g}",
        interval,
        f"{len(values)}{lost}",
        _tuning(row),
    ]


def _tuning(row: Entry) -> str:
    """How the rate was chosen."""
    if len(row.trials) < 2:
        return "rate as given"
    rates = sorted({trial.lr for trial in row.trials})
    most = max(len(trial.values) for trial in row.trials)
    edge = ", best at the edge" if row.lr_at_edge else ""
    seeds = "a seed each" if most == 1 else f"up to {most} seeds"
    return f"best of {len(row.trials)}, rates {rates[0]:g} to {rates[-1]:g}, {seeds}{edge}"


def _caption(study: StudyData) -> str:
    direction = "higher" if study.direction == "max" else "lower"
    return (
        f"{study.split.capitalize()} {study.metric} on {study.problem} after {study.steps:,} steps ({direction} is better), "
        "means over n shared seeds. Rates were chosen on other seeds, by one rule for all. " + study.answer.sentence
    )


def _escaped(text: str) -> str:
    """A text for LaTeX."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)
