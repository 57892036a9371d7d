"""A surface as typed: a name, a name with arguments, or a formula, which is read and never run."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import sympy

from ..errors import SteepestError, unknown
from .named import SURFACES
from .surface import Surface, box

FUNCTIONS: dict[str, Any] = {
    name: getattr(sympy, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "sinh", "cosh", "tanh", "atan")
} | {"abs": sympy.Abs}
CONSTANTS = {"pi": sympy.pi, "e": sympy.E}
LONGEST = 500  # characters of a formula
MOST_PARTS = 200_000  # of its second derivatives, written out: sympy takes six seconds for them on one core
DEEPEST = 40  # parentheses inside one another: sympy's own recursion ends at some 60


def get(text: str, **arguments: Any) -> Surface:
    """A surface by its name, its name with arguments ("valley(condition=100)"), or a formula ("x**2 + 3*sin(y)**2")."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _refused(text, "it cannot be read") from None
    named = {}
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in SURFACES and not tree.args:
        named, tree = {k.arg: _literal(text, k.value) for k in tree.keywords}, tree.func
    if isinstance(tree, ast.Name) and tree.id in SURFACES:
        try:
            return SURFACES[tree.id](**{str(k): v for k, v in named.items()}, **arguments)
        except TypeError as error:
            said = str(error).split(") ", 1)[-1]
            raise SteepestError(f"Surface '{text}' {said.replace('got an ', 'has no such argument: ')}.") from None
    if isinstance(tree, ast.Name) and len(tree.id) > 2:
        raise unknown("surface", tree.id, SURFACES, hint='A formula of your own is written such as "x**2 + 3*sin(y)**2".')
    return parse(text)


def _literal(text: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _refused(text, f"'{ast.unparse(node)}' is not a number") from None


def _refused(text: str, why: str) -> SteepestError:
    shown = text if len(text) <= 60 else text[:57] + "..."
    words = ", ".join([*FUNCTIONS, *CONSTANTS])
    return SteepestError(
        f"The formula '{shown}' is refused: {why}. Write numbers, x, y, z or x1, x2, ..., + - * / **, parentheses, and {words}."
    )


def parse(text: str) -> Surface:
    """A surface from a formula. It is read node by node against a list of what is allowed, and never run as Python."""
    if len(text) > LONGEST:
        raise _refused(text, f"it has {len(text)} characters, and {LONGEST} are the most")
    try:
        expression = _read(text, ast.parse(text.strip(), mode="eval").body)
    except SteepestError:
        raise
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError, OverflowError, ZeroDivisionError):
        raise _refused(text, "it cannot be read") from None
    symbols = sorted(expression.free_symbols, key=lambda s: (len(s.name), s.name))
    if not symbols:
        raise _refused(text, "it has no coordinates")
    numbered = [s for s in symbols if s.name[1:]]
    if numbered:
        if len(numbered) < len(symbols):
            raise _refused(text, f"it mixes {symbols[0].name} with {numbered[0].name}")
        count = max(int(s.name[1:]) for s in numbered)
        if not 1 <= count <= 50:
            raise _refused(text, f"coordinates run from x1 to x50 at most, and it has {numbered[-1].name}")
        symbols = [sympy.Symbol(f"x{i + 1}", real=True) for i in range(count)]
    elif symbols[-1].name in ("y", "z"):
        symbols = [sympy.Symbol(name, real=True) for name in "xyz"[: 2 if symbols[-1].name == "y" else 3]]
    dims = len(symbols)
    parts, depth = _size(expression, {})[2:]
    if parts > MOST_PARTS:
        raise _refused(text, f"its second derivatives would have {parts:,} parts, and {MOST_PARTS:,} are the most")
    if depth > DEEPEST:
        raise _refused(text, f"it is {depth} parts deep, and {DEEPEST} are the most")
    if expression.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
        raise _refused(text, "it is not a real number anywhere")
    return Surface(text.strip(), expression, tuple(symbols), box(dims, -3, 3), (-2.0, 1.5, *[1.5] * dims)[:dims], about="yours")


def _size(e: sympy.Basic, known: dict[sympy.Basic, tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """About how many parts an expression, its derivative and its second derivative have, and how deep it is."""
    if e in known:
        return known[e]
    inner = [_size(part, known) for part in e.args]
    size, depth = 1 + sum(part[0] for part in inner), 1 + max((part[3] for part in inner), default=0)
    moving = [part for part in inner if part[1]]
    if not e.args:
        first, second = int(e.is_Symbol), 0
    elif e.is_Add:
        first, second = sum(part[1] for part in moving), sum(part[2] for part in moving)
    elif e.is_Mul:  # every factor differentiated among the others, and every two of them
        first = sum(part[1] + size for part in moving)
        pairs = 2 * (len(moving) - 1) * sum(part[1] for part in moving) + len(moving) * (len(moving) - 1) * size
        second = sum(part[2] + size for part in moving) + pairs
    else:
        first = sum(part[1] + size for part in moving)
        second = sum(part[2] + 2 * part[1] + 2 * size for part in moving)
    known[e] = size, first, second, depth
    return known[e]


_OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def _read(text: str, node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if abs(node.value) > 1e12:
            raise _refused(text, f"the number {node.value:.3g} is larger than 1e12")
        return sympy.Integer(node.value) if isinstance(node.value, int) else sympy.Float(node.value)
    if isinstance(node, ast.Name):
        name = node.id
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in ("x", "y", "z") or (name[0] == "x" and name[1:].isascii() and name[1:].isdigit() and name[1] != "0"):
            return sympy.Symbol(name, real=True)
        raise _refused(text, f"'{name}' is not known")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _read(text, node.operand)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_read(text, node.left), _read(text, node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, power = _read(text, node.left), _read(text, node.right)
        if power.is_number and abs(float(power)) > 100:
            raise _refused(text, f"the power {power} is larger than 100")
        return sympy.Float(float(base) ** float(power)) if base.is_number and power.is_number else base**power
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        if len(node.args) == 1 and not node.keywords:
            return FUNCTIONS[node.func.id](_read(text, node.args[0]))
        raise _refused(text, f"{node.func.id} takes one number")
    raise _refused(text, f"'{ast.unparse(node)[:40]}' is not allowed")
