"""Digest of the user's code: an edit changes it; a reformat, a move or a rename of the file does not.

All reachable objects are written breadth first. Each object is numbered at its first visit, so that shared and cyclic ones
are written once.
"""

from __future__ import annotations

import ast
import contextlib
import copyreg
import dis
import enum
import functools
import hashlib
import linecache
import logging
import pickle
import random
import weakref
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from . import origin
from .examples import raw
from .syntax import dump, find, imports, nested_codes, parsed, parts_of, written

STEPS = 2  # steps of a path that are named in a message
GLOBAL, CLOSURE, ATTRIBUTE = "global", "closure variable", "attribute"
READS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}


def digest(things: Mapping[str, Any], keep: Collection[Any] = ()) -> tuple[str, list[str]]:
    """Hex digest of the user's code in `things`, and the names of objects that could not be digested.

    things: functions, classes, modules and other objects, by their purpose, such as "loss".
    keep: objects digested by their type only, compared by identity, such as data that are digested elsewhere.

    A function is digested by its syntax tree without comments and docstrings, and the defaults, closure variables and globals
    that it reads; a class by its bases and attributes; an object by its class and attributes. A library's functions and
    classes are digested by their names and the library's version, its objects by their class and what pickle would store.
    No code of the user's is called. The digest is the same in every process and on Python 3.11 and later; only functions
    without a source file are digested by bytecode, which differs between Pythons.

    >>> digest({"loss": lambda output, target: (output - target) ** 2})[1]
    []
    """
    walk = Walk({id(x) for x in keep})
    for name in sorted(things):
        walk.path = (name,)
        walk.emit("thing", name)
        walk.put(things[name])
    walk.run()
    return walk.hash.hexdigest(), sorted(walk.missing)


class Walk:
    """A walk over all reachable objects: the digest so far, the numbers of visited objects, and the queue."""

    def __init__(self, keep: set[int], within: Walk | None = None) -> None:
        self.keep, self.within = keep, within  # within: the walk that reached a set, if this one digests an element
        self.hash = hashlib.sha256()
        self.numbers: dict[int, int] = within.numbers.copy() if within else {}  # by identity
        self.found: list[tuple[Any, tuple[str, ...]]] = []  # with their paths; stored, so that no identity is reused
        self.path: tuple[str, ...] = within.path if within else ()
        self.missing: set[str] = within.missing if within else set()
        self.imports: set[str] = set()

    def emit(self, *parts: str | bytes | memoryview) -> None:
        """Write parts, each after its length, so that different lists of parts differ."""
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            self.hash.update(b"%d:" % len(data))
            self.hash.update(data)

    def put(self, x: Any, step: str = "") -> None:
        """Write a plain value, or the number of an object, whose contents follow later; `step` is how it was reached."""
        if id(x) in self.keep:
            self.emit("kept")
            self.put(type(x))
        elif (value := written(x)) is not None:
            self.emit(value)
        else:
            if id(x) not in self.numbers:
                self.numbers[id(x)] = len(self.numbers)
                thing, *steps = self.path
                self.found.append((x, (thing, *[*steps, step][-STEPS:]) if step else self.path))
            self.emit(f"#{self.numbers[id(x)]}")

    def named(self, items: Iterable[tuple[str, Any]], what: str) -> None:
        """Write objects sorted by name."""
        for name, x in sorted(items, key=lambda item: item[0]):
            self.emit(what, name)
            self.put(x, f"the {what} `{name}`")

    def run(self) -> None:
        """Write the contents of the objects in the queue, which grows meanwhile."""
        for x, path in self.found:
            self.path = path
            form = next((FORMS[kind] for kind in type(x).__mro__ if kind in FORMS), _object)
            self.emit(form.__name__)
            form(self, x)

    def whole(self, element: Any) -> bytes:
        """The digest of one element of a set."""
        self.put(element, "an element")
        self.run()
        return self.hash.digest()

    def attributes(self, x: Any, base: type | None = None) -> None:
        """Write the class and attributes of an object, unless its type is `base`."""
        if type(x) is not base:
            self.put(type(x))
            self.named(origin.state_of(x).items(), ATTRIBUTE)

    def library(self, module: Any, name: str) -> None:
        """Write a library's definition without its submodule, which may differ between versions."""
        top = str(module or "").partition(".")[0]
        self.emit("library", top.lstrip("_"), name, origin.version(top))

    def unknown(self, x: Any) -> None:
        """Record that an object cannot be digested, and write its type."""
        thing, *steps = self.path
        kind_name = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
        self.missing.add(f"{thing}: {' of '.join(reversed(steps)) or 'itself'} ({kind_name})")
        self.emit("unknown")
        self.put(type(x))

    def imported(self, tree: ast.AST, package: str) -> None:
        """Write the modules that a tree imports, recursively: imports of a function are in no namespace."""
        for name in sorted(imports(tree, package) - self.imports):
            self.imports.add(name)
            file, parent = origin.file_of(name)
            if file and origin.in_library(str(file)):
                self.library(name, name)
            elif file and file.is_file() and (source := parsed(file.read_bytes())):
                self.emit(name, dump(source[0]))
                self.imported(source[0], parent)
            elif file:
                self.missing.add(f"{self.path[0]}: the import `{name}`")


# How each kind of object is written


def _function(walk: Walk, f: FunctionType) -> None:
    while "hooked" in f.__dict__ and isinstance(inner := f.__dict__.get("__wrapped__"), FunctionType):
        f = inner  # torch wraps the step of an optimizer's class when it makes the first instance
    code, variables, closure = f.__code__, f.__globals__, {}
    for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not assigned yet
            closure[name] = cell.cell_contents
    if not origin.is_own_code(code):
        walk.library(variables.get("__name__"), code.co_qualname)
        if not origin.is_library_name(f):  # made by a function of the library, perhaps of user code
            walk.named(closure.items(), CLOSURE)
            walk.put(origin.dictionary(f).get("__wrapped__"))
        return
    linecache.checkcache(code.co_filename)
    node = find(code, "".join(linecache.getlines(code.co_filename, variables)))
    if node is None:
        walk.put(parts_of(code))
    else:
        walk.emit(dump(node))
        walk.imported(node, variables.get("__package__") or "")
    walk.named(origin.state_of(f).items(), ATTRIBUTE)
    walk.put(f.__defaults__, "the defaults")
    walk.put(f.__kwdefaults__, "the defaults")
    walk.named(closure.items(), CLOSURE)
    names = {k: v for k, v in variables.items() if k not in closure and k not in origin.PLACES}
    walk.named(_read(code, names).items(), GLOBAL)


def _read(code: CodeType, names: Mapping[str, Any]) -> dict[str, Any]:
    """The globals that a function reads: attributes of the user's modules, else the name before the first dot."""
    found: dict[str, Any] = {}
    x: Any = None
    for each in nested_codes(code):
        name, x = "", None
        for instruction in dis.get_instructions(each):
            if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and ModuleType in type(x).__mro__ and origin.is_own_module(x):
                name, x = f"{name}.{instruction.argval}", origin.dictionary(x).get(instruction.argval)
            elif instruction.opname != "EXTENDED_ARG":
                found[name] = x
                known = instruction.opname in READS and instruction.argval in names
                name, x = (instruction.argval, names[instruction.argval]) if known else ("", None)
    return found


def _class(walk: Walk, cls: type) -> None:
    variables = origin.variables_of(cls)
    if not origin.is_own_class(cls):
        walk.library(cls.__module__, cls.__qualname__)
        if not origin.is_c(cls) and origin.lookup(cls.__module__, cls.__qualname__) is not cls:
            walk.put(cls.__bases__)  # made by a function of the library, perhaps of user code
        return
    walk.emit(cls.__name__)
    walk.put(cls.__bases__)
    walk.put(type(cls))
    own = {k: v for k, v in variables.items() if origin.counts(k, v)}
    if enum.Enum in cls.__mro__:
        own = {k: v for k, v in own.items() if type(v) in (FunctionType, staticmethod, classmethod, property)}
    walk.put(variables.get("_member_map_"))
    fields = variables.get("__dataclass_fields__", {})
    walk.put([(name, field.default, field.default_factory) for name, field in fields.items()])
    walk.named(own.items(), ATTRIBUTE)


def _module(walk: Walk, module: ModuleType) -> None:
    space = origin.dictionary(module)
    if not origin.is_own_module(module):
        walk.library(space.get("__name__"), str(space.get("__name__")))
    else:
        walk.named([(k, v) for k, v in space.items() if k not in origin.PLACES], GLOBAL)


def _tensor(walk: Walk, x: Tensor) -> None:
    walk.attributes(x, Tensor)
    if is_lazy(x):
        walk.emit(type(x).__name__)
        return
    with torch._C.DisableTorchFunctionSubclass():
        walk.emit(f"{tuple(x.shape)} {x.dtype} {x.requires_grad}")
        try:
            walk.emit(raw(x))
        except (RuntimeError, TypeError, NotImplementedError):  # sparse, quantized, without contents
            walk.unknown(x)


def _neural_module(walk: Walk, x: nn.Module) -> None:
    state = origin.state_of(x)
    hooks = {k: [*v.values()] for k, v in state.items() if "_hooks" in k and dict in type(v).__mro__}  # keys count up
    walk.put(type(x))
    walk.named({**state, **hooks}.items(), ATTRIBUTE)


def _items(walk: Walk, x: Any) -> None:
    """Items of a list or tuple in order; elements of a set each by itself, numbered as if it were the first."""
    base: Any = next(kind for kind in type(x).__mro__ if kind in (list, tuple, set, frozenset))
    walk.attributes(x, base)
    walk.emit(str(base.__len__(x)))
    if base in (list, tuple):
        for item in base.__iter__(x):
            walk.put(item, "an item")
    elif walk.within:
        walk.unknown(x)
    else:
        walk.emit(*sorted(Walk(walk.keep, walk).whole(item) for item in base.__iter__(x)))


def _mapping(walk: Walk, x: Any) -> None:
    walk.attributes(x, dict)
    walk.emit(str(dict.__len__(x)))
    for key, value in dict.items(x):
        walk.put(key, "a key")
        walk.put(value, f"the value of {key!r}" if type(key) is str else "a value")


def _with(*names: str) -> Callable[[Walk, Any], None]:
    """The form of an object that is digested by some of its attributes."""

    def attributes(walk: Walk, x: Any) -> None:
        walk.put(type(x))
        walk.named([(name, getattr(x, name)) for name in names], ATTRIBUTE)

    return attributes


def _object(walk: Walk, x: Any) -> None:
    """Other objects: the user's by class and attributes, if these are all; a library's by what pickle would store."""
    kind, parts = type(x), None
    if not origin.is_own_class(kind):
        if not issubclass(kind, Iterator):  # its position in the data is no code
            with contextlib.suppress(Exception):  # a library may raise anything for objects that cannot be pickled
                parts = copyreg.dispatch_table.get(kind, lambda x: x.__reduce_ex__(5))(x)  # type: ignore[no-untyped-call]
    elif not any(origin.is_c(k) and k.__basicsize__ > object.__basicsize__ for k in kind.__mro__):
        walk.attributes(x)
        return
    if parts is None:
        walk.unknown(x)
    elif isinstance(parts, str):  # a global name
        walk.library(getattr(x, "__module__", None), parts)
    else:
        walk.put(kind)
        for part in parts:
            walk.put([*part] if issubclass(type(part), Iterator) else part)


FORMS: dict[type, Callable[[Walk, Any], None]] = {
    FunctionType: _function,
    type: _class,
    ModuleType: _module,
    Tensor: _tensor,
    nn.Module: _neural_module,
    enum.Enum: _with("_value_"),
    **dict.fromkeys((list, tuple, set, frozenset), _items),
    dict: _mapping,
    pickle.PickleBuffer: lambda walk, x: walk.emit(x.raw()),
    defaultdict: _object,
    MethodType: _with("__func__", "__self__"),
    property: _with("fget", "fset", "fdel"),
    **dict.fromkeys((staticmethod, classmethod, functools._lru_cache_wrapper), _with("__wrapped__")),
    functools.cached_property: _with("func"),
    **dict.fromkeys(
        (PurePath, logging.Logger, weakref.ref, weakref.WeakKeyDictionary), _with()
    ),  # without effect on what is computed
    **dict.fromkeys((torch.Generator, np.random.Generator, np.random.RandomState, random.Random), _with()),
}
