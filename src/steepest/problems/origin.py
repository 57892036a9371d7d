"""Where an object comes from: the user's files or a library, and its attributes, read without calling the user's code."""

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
MAKERS = {"collections", "dataclasses", "enum", "namedtuple", "reprlib", "typing"}  # modules that give methods to classes


@functools.cache
def in_library(file: str) -> bool:
    """Whether a file is Python's, an installed package's or Steepest's."""
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parents[1])]
    known = {Path(place) for folder in folders for place in (os.path.abspath(folder), os.path.realpath(folder))}
    around = {*Path(os.path.abspath(file)).parents, *Path(os.path.realpath(file)).parents}
    return not known.isdisjoint(around) or any(folder.name in ("site-packages", "dist-packages") for folder in around)


def is_own_module(module: ModuleType) -> bool:
    """Whether a module is the user's: its file, or for what a package holds the package's, is in no library."""
    name = str(dictionary(module).get("__name__"))
    space = dictionary(sys.modules.get(name.partition(".")[0]) if "." in name else module)
    file = space.get("__file__") or next(iter(space.get("__path__") or ()), None)
    return not in_library(file) if isinstance(file, str) else name.partition(".")[0] not in sys.stdlib_module_names


def is_own_code(code: CodeType) -> bool:
    """Whether a function is the user's, by its file; code that was made without one is taken to be."""
    return not code.co_filename.startswith("<frozen") and not in_library(code.co_filename)


def is_own_class(cls: type) -> bool:
    """Whether a class is the user's, by the module that has it.

    A module's name alone proves little: a file that was run as "random" is in no module, and another has its name.
    """
    module = sys.modules.get(cls.__module__)
    known = lookup(cls.__module__, cls.__qualname__) is cls or "." in cls.__module__
    return not is_c(cls) and (module is None or is_own_module(module) or not known)


def is_c(cls: type) -> bool:
    """Whether a class is written in C: an object of it may hold what Python cannot see."""
    return cls.__flags__ & 0x300 != 0x200  # can be changed, and was made as the program ran


def lookup(module: Any, name: str) -> Any:
    """What a dotted name stands for in a module, without calling anything; None where nothing does."""
    x: Any = sys.modules.get(module)
    for part in name.split("."):
        x = (variables_of(x) if issubclass(type(x), type) else dictionary(x)).get(part)
    return x


@functools.cache
def version(top: str) -> str:
    """Version of the library with this top-level module; none for Python's own, as a problem is the same on each Python."""
    if not top or top in sys.stdlib_module_names:
        return ""
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(top, [])
    return " ".join(importlib.metadata.version(name) for name in sorted(set(names)))


def file_of(name: str) -> tuple[Path | None, str]:
    """The file of a module, found without loading it or what it is in, and its package.

    No file: a name in a module, a folder, built in, or nothing.
    """
    spec, places = None, None
    for full in itertools.accumulate(name.split("."), "{}.{}".format):
        specs = (finder.find_spec(full, places) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
        places = [*(spec.submodule_search_locations or ())] if spec else []
    return (Path(spec.origin or ""), spec.parent or "") if spec and spec.has_location else (None, "")


# Attributes, read without calling anything of the user's


def dictionary(x: Any) -> dict[Any, Any]:
    """An object's own dictionary, empty where it has none."""
    found = object.__getattribute__(x, "__dict__") if type(x).__dictoffset__ else None
    return found if type(found) is dict else {}


def variables_of(cls: type) -> Mapping[str, Any]:
    """What a class itself defines."""
    return cast(Mapping[str, Any], type.__getattribute__(cls, "__dict__"))


def state_of(x: Any) -> dict[str, Any]:
    """The attributes of an object, in its dictionary and slots; torch.compile's are left out, as they hold identities."""
    state = {k: v for k, v in dictionary(x).items() if type(k) is str and not k.startswith("_torchdynamo")}
    for name in copyreg._slotnames(type(x)):  # type: ignore[attr-defined]
        with contextlib.suppress(AttributeError):  # not set
            state[name] = object.__getattribute__(x, name)
    return state


def counts(name: str, x: Any) -> bool:
    """Whether an attribute of a class is the user's: no bookkeeping, no method that Python's library made for the class."""
    x = x.__func__ if type(x) in (staticmethod, classmethod) else x
    if type(x) is FunctionType:
        code, maker = x.__code__, str(x.__globals__.get("__name__"))
        generated = code.co_qualname.startswith("__create_fn__.") or maker.startswith("namedtuple_")
        ours = is_own_code(code) or maker not in MAKERS
        return ours and not (generated and code.co_filename == "<string>") and name != "__annotate_func__"
    return callable(x) if name.startswith("__") else name != "_abc_impl"
