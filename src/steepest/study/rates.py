"""Parse the learning rates that a user typed. It imports nothing heavy, so a mistake is reported before torch is loaded."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence

from .. import grammar, rules
from ..errors import SteepestError, unknown
from ..rules import Rule

Rates = str | float | Sequence[float] | Mapping[str, float | Sequence[float]] | Mapping[Rule, float | Sequence[float]] | None


def rates_of(rates: Rates, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The typed rates by optimizer; optimizers whose rate is searched are left out."""
    if rates is None or (isinstance(rates, str) and rates == "auto"):
        return {}
    if isinstance(rates, str):
        return rates_of(grammar.rates(rates), names)
    if isinstance(rates, Mapping):
        return {_known(name, names): checked(values) for name, values in rates.items()}
    return dict.fromkeys(names, checked(rates))


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


def checked(values: float | Sequence[float]) -> tuple[float, ...]:
    """Rates in ascending order. Raises SteepestError unless all are finite numbers above 0."""
    values = values.tolist() if hasattr(values, "tolist") else values
    values = values if isinstance(values, Sequence) else (values,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise SteepestError(f"The learning rate is {value!r}; expected a finite number above 0.")
    if not values:
        raise SteepestError("No learning rate was given; expected at least one, such as 0.01.")
    return tuple(sorted({float(v) for v in values}))
