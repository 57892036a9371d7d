"""Make a study's data safe to show: a store may come from someone else."""

from __future__ import annotations

from typing import TypeVar, cast

from ..escapes import LINES, every

T = TypeVar("T")
LARGEST = 1e100  # largest number that is drawn; matplotlib's axes overflow beyond it


def safe(data: T) -> T:
    """A copy with the control characters of all strings escaped and all floats limited to a size that can be drawn.

    The copy is not validated again, so an escaped string may be longer than a store allows.
    """
    return cast(T, every(data, LINES, LARGEST))
