"""A study as a pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..study.data import StudyData

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
