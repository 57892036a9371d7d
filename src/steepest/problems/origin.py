"""The origin of an object, the user's files or a library, and its attributes, read without calling the user's code."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import importlib.metadata
import itertools
import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

PLACES = {"__file__", "__name__", "__doc__", "__builtins__", "__cached__", "__loader__", "__package__", "__path__", "__spec__"}
MAKERS = {"collections", "dataclasses", "enum", "namedtuple", "reprlib", "typing"}  # modules that generate methods of classes


@functools.cache
def in_library(file: str) -> bool:
    """Whether a file is Python's, an installed package's or Steepest's."""
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parents[1])]
    known = {Path(place) for folder in folders for place in (os.path.abspath(folder), os.path.realpath(folder))}
    around = {*Path(os.path.abspath(file)).parents, *Path(os.path.realpath(file)).parents}
    return not known.isdisjoint(around) or any(folder.name in ("site-packages", "dist-packages") for folder in around)


def is_own_module(module: ModuleType) -> bool:
    """Whether a module is the user's: its file, or for a submodule its package's, is in no library."""
    name = str(dictionary(module).get("__name__"))
    space = dictionary(sys.modules.get(name.partition(".")[0]) if "." in name else module)
    file = space.get("__file__") or next(iter(space.get("__path__") or ()), None)
    return not in_library(file) if isinstance(file, str) else name.partition(".")[0] not in sys.stdlib_module_names


def is_own_code(code: CodeType) -> bool:
    """Whether a function is the user's, by its file; code without a file is assumed to be."""
    return not code.co_filename.startswith("<frozen") and not in_library(code.co_filename)


def is_own_class(cls: type) -> bool:
    """Whether a class is the user's, by its module.

    The module's name alone is not enough: a file that is run as "random" is not the module of that name.
    """
    module = sys.modules.get(cls.__module__)
    known = lookup(cls.__module__, cls.__qualname__) is cls or "." in cls.__module__
    return not is_c(cls) and (module is None or is_own_module(module) or not known)


def is_c(cls: type) -> bool:
    """Whether a class is written in C: its objects may have contents that Python cannot see."""
    return cls.__flags__ & 0x300 != 0x200  # flags: mutable, allocated at run time


def lookup(module: Any, name: str) -> Any:
    """Look up a dotted name in a module, without calling anything; None if it is not there."""
    x: Any = sys.modules.get(module)
    for part in name.split("."):
        x = (variables_of(x) if issubclass(type(x), type) else dictionary(x)).get(part)
    return x


def is_library_name(x: Any) -> bool:
    """Whether a function is a library's under its own name, and not one of the user's that a library's decorator wrapped."""
    module = sys.modules.get(x.__module__)
    return module is not None and not is_own_module(module) and lookup(x.__module__, x.__qualname__) is x


@functools.cache
def version(top: str) -> str:
    """Version of the library with this top-level module; empty for Python's own, so that keys do not depend on Python."""
    if not top or top in sys.stdlib_module_names:
        return ""
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(top, [])
    return " ".join(importlib.metadata.version(name) for name in sorted(set(names)))


def file_of(name: str) -> tuple[Path | None, str]:
    """The file of a module, found without importing it or its parents, and its package.

    None for a name inside a module, a folder, a built-in module, or an unknown name.
    """
    spec, places = None, None
    for full in itertools.accumulate(name.split("."), "{}.{}".format):
        specs = (finder.find_spec(full, places) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
        places = [*(spec.submodule_search_locations or ())] if spec else []
    return (Path(spec.origin or ""), spec.parent or "") if spec and spec.has_location else (None, "")


# Attributes, read without calling anything of the user's


def dictionary(x: Any) -> dict[Any, Any]:
    """An object's own dictionary, or an empty one."""
    found = object.__getattribute__(x, "__dict__") if type(x).__dictoffset__ else None
    return found if type(found) is dict else {}


def variables_of(cls: type) -> Mapping[str, Any]:
    """The definitions of a class itself, without its bases."""
    return cast(Mapping[str, Any], type.__getattribute__(cls, "__dict__"))


def state_of(x: Any) -> dict[str, Any]:
    """The attributes of an object, in its dictionary and slots, without torch.compile's, which contain identities."""
    state = {k: v for k, v in dictionary(x).items() if type(k) is str and not k.startswith("_torchdynamo")}
    for name in copyreg._slotnames(type(x)):  # type: ignore[attr-defined]
        with contextlib.suppress(AttributeError):  # not set
            state[name] = object.__getattribute__(x, name)
    return state


def counts(name: str, x: Any) -> bool:
    """Whether an attribute of a class is the user's: no bookkeeping, and no method generated by Python's library."""
    x = x.__func__ if type(x) in (staticmethod, classmethod) else x
    if type(x) is FunctionType:
        code, maker = x.__code__, str(x.__globals__.get("__name__"))
        generated = code.co_qualname.startswith("__create_fn__.") or maker.startswith("namedtuple_")
        ours = is_own_code(code) or maker not in MAKERS
        return ours and not (generated and code.co_filename == "<string>") and name != "__annotate_func__"
    return callable(x) if name.startswith("__") else name != "_abc_impl"
