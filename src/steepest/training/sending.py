"""Pickle a user's objects for another process, with the code of modules that only this process has."""

from __future__ import annotations

import contextlib
import functools
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

INSTALLED = ("site-packages", "dist-packages")


def is_users(name: str, module: Any) -> bool:
    """Whether a module is neither installed nor steepest's: other processes do not have it."""
    path = getattr(module, "__file__", None)
    if not path or getattr(module, "__name__", "") != name or name == "__main__":
        return False
    return name.partition(".")[0] not in ("steepest", "steepest_workshop") and not _is_installed(str(path))


@functools.cache
def _is_installed(path: str) -> bool:
    """Whether a file belongs to a library, or is no file."""
    file = Path(path)
    return not file.is_absolute() or bool({*INSTALLED} & {*file.parts}) or any(map(file.is_relative_to, _libraries()))


@functools.cache
def _libraries() -> tuple[str, ...]:
    return tuple(sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib"))


def users_modules() -> list[ModuleType]:
    """The modules of the user's that are imported here."""
    return [module for name, module in [*sys.modules.items()] if is_users(name, module)]


def pickled(thing: Any) -> bytes:
    """Pickle an object with the functions and classes of the user's modules by value.

    Raises whatever the object's own pickling raises.
    """
    import cloudpickle

    with _by_value(cloudpickle):
        return bytes(cloudpickle.dumps(thing))


@contextlib.contextmanager
def _by_value(cloudpickle: Any) -> Iterator[None]:
    """Within the context, the user's modules are pickled by value."""
    known = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in users_modules() if module.__name__ not in known]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)
