"""Data of a study made safe to show, since a store may come from someone else."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, cast

from ..escapes import LINES, plain

T = TypeVar("T")
LARGEST = 1e100  # of numbers that are drawn: axes that reach further overflow


def safe(data: T) -> T:
    """A copy in which control characters of every string are escaped and every float is of a size that can be drawn.

    The copy is not checked again, so an escaped string may be longer than a store allows.
    """
    return cast(T, _safe(data))


def _safe(data: object) -> object:
    if isinstance(data, str):
        return plain(data, LINES)
    if isinstance(data, float):
        return min(max(data, -LARGEST), LARGEST)
    if isinstance(data, list):
        return [_safe(value) for value in data]
    if isinstance(data, tuple):
        return tuple(_safe(value) for value in data)
    if isinstance(data, dict):
        return {_safe(key): _safe(value) for key, value in data.items()}
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return type(data)(**{field.name: _safe(getattr(data, field.name)) for field in dataclasses.fields(data)})
    return data
