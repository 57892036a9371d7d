"""Bounded scalar types for the data of a study, and the error for stored data that do not fit them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from ..schedules.shape import DECAY, FLOOR, WARMUP

OF_SCHEDULES = {WARMUP, DECAY, FLOOR}  # settings that are part of a schedule's name
LARGEST = 1.7976931348623157e308  # largest finite float
MOST = 2**63 - 1  # largest integer
MOST_STEPS = 10**12
DIGITS = 6  # digits of numbers that are only plotted

Name = Annotated[str, msgspec.Meta(max_length=2_000)]
Words = Annotated[str, msgspec.Meta(max_length=20_000)]
# An integer in place of a real number stays an integer, so that data survive a round trip.
Real = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)] | Annotated[int, msgspec.Meta(gt=0, le=MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Steps = Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS)]
Step = Annotated[int, msgspec.Meta(ge=0, le=MOST_STEPS)]
Scalar = str | int | float | bool | None
Setting = Scalar | list[Scalar] | dict[str, Scalar]


class UnfitError(ValueError):
    """Stored data do not have the expected form."""


def plain(data: Any, *without: str) -> dict[str, Any]:
    """The fields of a dataclass as a dictionary, except those named."""
    return {f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.name not in without}


def explained(data: dict[str, Any], why: str) -> dict[str, Any]:
    """The data, with `why` as their "status" if a value is None."""
    return data | {"status": why} if None in data.values() else data


def in_words(value: Scalar) -> str:
    """A setting in words: a number with six digits, anything else as it is."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def named(name: str, lr: float, label: str, settings: Mapping[str, Any]) -> str:
    """A candidate in words: its label, its rate and its other settings."""
    return f"{label or name} at {lr:g}{more(settings)}"


def more(settings: Mapping[str, Any]) -> str:
    """Settings in words, without those of a schedule, whose name has them: ", weight_decay 0.1, batch_size 64"."""
    return "".join(f", {name} {in_words(value)}" for name, value in settings.items() if name not in OF_SCHEDULES)


def finite(x: float) -> float | None:
    """The number, or None if it is infinite or NaN."""
    return x if math.isfinite(x) else None


def grow(steps: list[int]) -> bool:
    """Whether the steps are strictly increasing."""
    return all(a < b for a, b in itertools.pairwise(steps))


def expect(holds: bool, fault: str) -> None:
    """Raise UnfitError with this fault unless the condition holds."""
    if not holds:
        raise UnfitError(fault)
