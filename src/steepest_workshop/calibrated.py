"""Rows of the calibration: shares with a verdict, and figures without."""

from __future__ import annotations

from typing import Any

import numpy as np

Row = dict[str, Any]


def words(row: Row) -> str:
    """Format a row as a line of text."""
    if "kind" in row:
        said, false = row["said"], row["false"]
        judged = "" if row["holds"] is None else "holds: " if row["holds"] else "DOES NOT HOLD: "
        share = f"false in {100 * false / said:.1f} % of these (at most {100 * row['limit']:.1f} %)" if said else "never said"
        return f"{100 * said / row['races']:6.2f} % of races  ({judged}{share})  {row['table']}: {row['kind']}"
    if "figure" in row:
        return f"{row['figure']:8.4g} {row['unit']}: {row['what']}"
    if row["holds"] is None:
        said = "beyond the promise"
    else:
        said = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %: {'holds' if row['holds'] else 'DOES NOT HOLD'}"
    return f"{100 * row['share']:6.2f} %  ({said})  {row['what']}"


def verdict(what: str, share: float, low: float, high: float, studies: int | None = None) -> Row:
    """A share with a verdict; with `studies`, three Monte-Carlo standard errors of the bounds are allowed."""
    below, above = (3 * float(np.sqrt(p * (1 - p) / studies)) if studies else 0.0 for p in (low, high))
    return {"what": what, "share": share, "low": low, "high": high, "holds": bool(low - below <= share <= high + above)}


def figure(what: str, value: float, unit: str) -> Row:
    """A number without a verdict."""
    return {"what": what, "figure": float(value), "unit": unit, "holds": None}
