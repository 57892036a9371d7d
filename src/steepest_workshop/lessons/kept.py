"""Results of trainings that take hours, kept in the package, each with a digest of what made it.

`python -m steepest_workshop.lessons.slides` trains what is missing or was made otherwise; a stopped run goes on where it was.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import os
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

FOLDER = Path(__file__).parent.parent / "recorded"


def digest(*parts: object) -> str:
    """A short hash of what makes a result: functions, classes and modules by their code, settings, digests of rules."""
    parts = tuple(code(part) if isinstance(part, FunctionType | ModuleType | type) else part for part in parts)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def code(part: FunctionType | ModuleType | type) -> str:
    """The source of a function, class or module without comments and docstrings, which make no other result."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.unparse(tree)


def load(name: str) -> dict[str, dict[str, Any]]:
    """Every result of a file by its key: {"digest": what made it, "value": it}; none where there is no file."""
    path = FOLDER / f"{name}.json"
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.lru_cache
def _read(path: Path, changed: int) -> dict[str, dict[str, Any]]:
    """A file as it was when it last changed: it is asked for row by row."""
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def value(name: str, key: str, wanted: str) -> Any:
    """A result, None where it is missing or something else made it."""
    one = load(name).get(key)
    return one["value"] if one and one["digest"] == wanted else None


def keep(name: str, results: Mapping[str, tuple[str, Any]]) -> None:
    """Add results (key: digest and value) to a file, which is whole at every moment."""
    _write(name, load(name) | {key: {"digest": made, "value": found} for key, (made, found) in results.items()})


def drop(name: str, stale: Callable[[str], bool]) -> None:
    """Take results that belong to nothing any more out of a file."""
    everything = load(name)
    if any(map(stale, everything)):
        _write(name, {key: one for key, one in everything.items() if not stale(key)})


def _write(name: str, everything: Mapping[str, Any]) -> None:
    path = FOLDER / f"{name}.json"
    lines = [f"{json.dumps(key)}: {json.dumps(everything[key])}" for key in sorted(everything)]
    part = path.with_suffix(".part")
    part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    os.replace(part, path)
