"""Pinned digests of the built-in rules: stores identify runs by them, so a digest may change only on purpose."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from steepest.errors import SteepestError, listed, unknown
from steepest.rules import RULES
from steepest.rules.digest import MARK

FILE = Path(__file__).parent / "recorded" / "digests.json"


def current() -> dict[str, str]:
    """The current digests of the built-in rules, by name."""
    return {name: rule.digest.removeprefix(MARK)[:16] for name, rule in RULES.items() if rule.is_ours}


def pinned(file: Path = FILE) -> dict[str, str]:
    """The pinned digests, by name."""
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return known


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The pinned rules whose digest has changed, or that no longer exist."""
    return [name for name, digest in before.items() if now.get(name) != digest]


def pin(change: Collection[str] = (), file: Path = FILE) -> None:
    """Pin the current digests of new rules and of the rules in `change`.

    Raises SteepestError, and writes nothing, if the digest of a rule outside `change` differs from the pinned one.
    """
    before, now = pinned(file), current()
    for name in change:
        if name not in before:
            raise unknown("pinned rule", name, before)
    others = [name for name in changed(before, now) if name not in change]
    if others:
        raise SteepestError(
            f"The digest changed of {listed(others)}: every store would train these rules again. Undo the change, or if it is"
            " intended, run:",
            f"steepest conformance {' '.join(f'--change {name}' for name in others)}",
        )
    lines = [f"{json.dumps(name)}: {json.dumps(digest)}" for name, digest in now.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
