"""Bounded scalars of the data of a study: what a store may hold, and what is raised for anything else."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Annotated, Any

import msgspec

LARGEST = 1.7976931348623157e308  # of floats that are finite
MOST = 2**63 - 1  # of whole numbers
MOST_STEPS = 10**12
DIGITS = 6  # of numbers that are only drawn

Name = Annotated[str, msgspec.Meta(max_length=2_000)]
Words = Annotated[str, msgspec.Meta(max_length=20_000)]
# An integer in place of a real number stays one, so that what is read back is what was written.
Real = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)] | Annotated[int, msgspec.Meta(gt=0, le=MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Steps = Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS)]
Step = Annotated[int, msgspec.Meta(ge=0, le=MOST_STEPS)]
Scalar = str | int | float | bool | None
Setting = Scalar | list[Scalar] | dict[str, Scalar]


class UnfitError(ValueError):
    """Data that were read back are not what is written there."""


def plain(data: Any, *without: str) -> dict[str, Any]:
    """The fields of a dataclass, but for some."""
    return {f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.name not in without}


def explained(data: dict[str, Any], why: str) -> dict[str, Any]:
    """The data as they are, with a status where something in them is not known."""
    return data | {"status": why} if None in data.values() else data


def finite(x: float) -> float | None:
    """The number, or None where it is infinite or NaN."""
    return x if math.isfinite(x) else None


def grow(steps: list[int]) -> bool:
    """Whether each is larger than the one before."""
    return all(a < b for a, b in itertools.pairwise(steps))


def expect(holds: bool, fault: str) -> None:
    """Raise UnfitError with a fault unless it holds."""
    if not holds:
        raise UnfitError(fault)
