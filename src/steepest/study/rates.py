"""Parse the learning rates that a user typed. It imports nothing heavy, so a mistake is reported before torch is loaded."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence

from .. import rules
from ..checks import names_in
from ..errors import SteepestError, unknown
from ..rules import Rule

Rates = str | float | Sequence[float] | Mapping[str, float | Sequence[float]] | Mapping[Rule, float | Sequence[float]] | None


def rates_of(rates: Rates, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The typed rates by optimizer; optimizers whose rate is searched are left out."""
    if rates is None or (isinstance(rates, str) and rates == "auto"):
        return {}
    if isinstance(rates, str):
        return rates_of(_parse(rates), names)
    if isinstance(rates, Mapping):
        return {_known(name, names): _checked(values) for name, values in rates.items()}
    return dict.fromkeys(names, _checked(rates))


def _known(name: str | Rule, names: Sequence[str]) -> str:
    """The canonical name: adam(eps=1) is adam(eps=1.0). Raises SteepestError for an optimizer not in `names`."""
    if not isinstance(name, str):
        name = rules.get(name).name
    if name not in names and name.endswith(")"):
        with contextlib.suppress(SteepestError):
            name = rules.get(name).name
    if name not in names:
        raise unknown("optimizer in the rates:", name, names)
    return name


def _parse(text: str) -> list[float] | dict[str, list[float]]:
    """Parse "0.1,0.01", for all optimizers, or "sgd=0.1,adam=0.001", where a name may be repeated with another rate."""
    parts = names_in(text)
    if not any("=" in part for part in parts):
        return [_number(part) for part in parts]
    named: dict[str, list[float]] = {}
    for part in parts:
        name, equals, value = part.rpartition("=")
        if not equals:
            raise SteepestError(f"Rates '{text}': '{part}' names no optimizer; write either all rates as name=rate, or none.")
        named.setdefault(name.strip(), []).append(_number(value))
    return named


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SteepestError(f"The learning rate '{text}' is not a number; expected one such as 0.01.") from None


def _checked(values: float | Sequence[float]) -> tuple[float, ...]:
    values = values.tolist() if hasattr(values, "tolist") else values
    values = values if isinstance(values, Sequence) else (values,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise SteepestError(f"The learning rate is {value!r}; expected a finite number above 0.")
    if not values:
        raise SteepestError("No learning rate was given; expected at least one, such as 0.01.")
    return tuple(sorted({float(v) for v in values}))
