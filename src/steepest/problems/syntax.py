"""Source code of functions: syntax trees as text without comments and positions, plain values, and imports."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import itertools
import warnings
from collections.abc import Iterator
from types import CodeType
from typing import Any

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Source = tuple[ast.Module, list[Definition], list[tuple[int, Any]]]  # tree, functions, and their compiled code by first line

PLAIN = {str, bytes, int, float, complex, bool, type(None), type(...), type(NotImplemented)}


def written(x: Any, nested: int = 4) -> bytes | None:
    """A plain value as bytes, the same for equal values on every Python; None for any other object.

    Containers of plain values are plain up to a depth of `nested`; deeper ones would be read repeatedly.
    """
    kind = type(x)
    if kind in PLAIN:
        return (hex(x) if kind is int else ascii(x)).encode()  # hex, as Python converts at most 4300 decimal digits
    if kind not in (list, tuple, dict, set, frozenset) or not nested:
        return None
    items = [*x, *x.values()] if kind is dict else [*x]
    ordered = kind not in (set, frozenset)
    if ordered and PLAIN.issuperset(map(type, items)):
        with contextlib.suppress(ValueError):  # an int of too many digits
            return ascii(x).encode()
    parts = [part for item in items if (part := written(item, nested - 1)) is not None]
    if len(parts) < len(items):
        return None
    parts = [b"%d:%b" % (len(part), part) for part in (parts if ordered else sorted(parts))]
    return kind.__name__.encode() + b" ".join(parts)


def dump(root: ast.AST) -> str:
    """A syntax tree as text that is the same on every Python: no positions, comments, docstrings or type comments."""
    words: list[str] = []
    waiting: list[Any] = [root]  # a stack, as expressions may exceed Python's recursion limit
    while waiting:
        x = waiting.pop()
        if isinstance(x, list):
            items = [item for item in x if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
            words.append(f"list {len(items)}")
            waiting += reversed(items)
        elif isinstance(x, ast.AST):  # newer Pythons have more fields, so empty ones are omitted
            fields = {k: v for k, v in ast.iter_fields(x) if k not in ("ctx", "kind") and v is not None and v != []}
            if isinstance(x, ast.JoinedStr):  # letter by letter, as Pythons split its text differently
                parts: list[Any] = [part.value if isinstance(part, ast.Constant) else [part] for part in x.values]
                fields = {"values": [*itertools.chain(*parts)]}
            words.append(f"{type(x).__name__} {' '.join(fields)}")
            waiting += reversed(fields.values())
        else:
            words.append((written(x) or b"").hex())
    return "\n".join(words)


@functools.lru_cache(maxsize=64)
def parsed(text: str | bytes) -> Source | None:
    """The syntax tree of a source text, its functions, and their compiled code; None if it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            module = compile(tree, "<source>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)  # for notebooks
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    functions = [node for node in ast.walk(tree) if isinstance(node, Definition)]
    return tree, functions, [(code.co_firstlineno, parts_of(code)) for code in nested_codes(module)]


def find(code: CodeType, text: str) -> Definition | None:
    """The syntax tree of a code object in a source text; None if no function there compiles to it, as after an edit."""
    _, functions, codes = parsed(text) or (None, [], [])
    if (code.co_firstlineno, parts_of(code)) not in codes:
        return None
    found = [node for node in functions if _is_of(node, code)]
    return max(found, key=lambda node: (node.lineno, node.col_offset), default=None)  # the innermost lambda


def _is_of(node: Definition, code: CodeType) -> bool:
    """Whether a function begins on the code's line and, as there may be several lambdas, contains all of its positions."""
    if not isinstance(node, ast.Lambda):
        first = min(part.lineno for part in (node, *node.decorator_list))
        return (first, node.name) == (code.co_firstlineno, code.co_name)
    if (node.lineno, "<lambda>") != (code.co_firstlineno, code.co_name):
        return False
    begin, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
    places = [((a, c), (b, d)) for a, b, c, d in code.co_positions() if None not in (a, b, c, d) and (a, c) != (b, d)]
    return bool(places) and all(begin <= first and last <= end for first, last in places)


def parts_of(code: CodeType) -> list[Any]:
    """The instructions, names, lines and constants of a code object and those inside it, without run-time counters."""
    parts: list[Any] = []
    for each in nested_codes(code):
        parts += [each.co_name, each.co_code, each.co_names, each.co_varnames, each.co_freevars, each.co_linetable]
        parts += [x for x in each.co_consts if not isinstance(x, CodeType)]
    return parts


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and all those inside it."""
    waiting = [code]
    while waiting:
        yield (code := waiting.pop())
        waiting += [x for x in code.co_consts if isinstance(x, CodeType)]


def imports(tree: ast.AST, package: str) -> set[str]:
    """Full names of the modules that a tree imports, and those that `from package import name` may mean."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # above the top package, or in none
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names
