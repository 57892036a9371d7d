"""Commands and functions that other installed packages provide by entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from .errors import SteepestError, text_of

COMMANDS, FUNCTIONS = "steepest.commands", "steepest.functions"  # groups of entry points
# Commands of steepest_workshop, for the error without it.
WORKSHOP = ("bench", "conformance", "lessons", "reproduce", "selftest")


def names(group: str) -> list[str]:
    """The names in a group of entry points, sorted; nothing is imported."""
    return sorted(entry_points(group=group).names)


def load(group: str, name: str, called: str) -> Any:
    """Import the object of an entry point; SteepestError if there is none or its import fails.

    `called` is the name that the user typed, for the error.
    """
    reason = "no installed package provides it"
    for entry in entry_points(group=group, name=name):
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            reason = text_of(error)
    raise SteepestError(
        f"{called} is not available: {reason}. It is part of steepest_workshop; reinstall steepest, which includes it:",
        "pip install --force-reinstall steepest",
    )
