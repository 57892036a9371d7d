"""Data of a study made safe to show, since a store may come from someone else."""

from __future__ import annotations

from typing import TypeVar, cast

from ..escapes import LINES, every

T = TypeVar("T")
LARGEST = 1e100  # of numbers that are drawn: axes that reach further overflow


def safe(data: T) -> T:
    """A copy in which control characters of every string are escaped and every float is of a size that can be drawn.

    The copy is not checked again, so an escaped string may be longer than a store allows.
    """
    return cast(T, every(data, LINES, LARGEST))
