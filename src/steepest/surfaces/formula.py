"""Parse a surface: a name, a name with arguments, or a formula, which is never evaluated as Python."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from ..errors import SteepestError, unknown
from .named import SURFACES
from .surface import Surface, box


def _absolute(u: Any) -> Any:
    """The absolute value; sympy's own derivative for an argument that may be complex grows without end."""
    return sympy.Abs(u) if u.is_extended_real else sympy.sqrt(u**2)


FUNCTIONS: dict[str, Any] = {
    name: getattr(sympy, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "sinh", "cosh", "tanh", "atan")
} | {"abs": _absolute}
CONSTANTS = {"pi": sympy.pi, "e": sympy.E}
LARGEST = 1e12  # number in a formula
LONGEST = 500  # characters of a formula
MOST_PARTS = 70_000  # parts of the written-out derivatives: such a surface takes six seconds in all on one core
DEEPEST = 40  # nested parentheses; sympy's recursion fails at about 60


def get(text: str, **arguments: Any) -> Surface:
    """Find or parse a surface: a name, a name with arguments ("valley(condition=100)"), or a formula ("x**2 + 3*sin(y)**2")."""
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
    """Parse a formula node by node, accepting only listed operations; it is never evaluated as Python."""
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
    size = _size(expression, {})
    if size.parts > MOST_PARTS:
        raise _refused(text, f"its second derivatives would have {size.parts:,} parts, and {MOST_PARTS:,} are the most")
    if size.depth > DEEPEST:
        raise _refused(text, f"it is {size.depth} parts deep, and {DEEPEST} are the most")
    if expression.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
        raise _refused(text, "it is not a real number anywhere")
    return Surface(text.strip(), expression, tuple(symbols), box(dims, -3, 3), (-2.0, 1.5, *[1.5] * dims)[:dims], about="yours")


@dataclass(frozen=True)
class _Size:
    """Estimated numbers of parts of an expression and of its first and second derivatives, written out; and its depth."""

    own: int
    first: Mapping[sympy.Basic, int]  # by coordinate, if the expression contains it
    second: Mapping[tuple[sympy.Basic, sympy.Basic], int]
    depth: int

    @property
    def parts(self) -> int:
        """The total number of parts."""
        return self.own + sum(self.first.values()) + sum(self.second.values())


def _size(e: sympy.Basic, known: dict[sympy.Basic, _Size]) -> _Size:
    """The size of an expression, without computing derivatives."""
    if e not in known:
        inner = [_size(part, known) for part in e.args]
        own, depth = 1 + sum(part.own for part in inner), 1 + max((part.depth for part in inner), default=0)
        if e.is_Symbol:
            first, second = {e: 1}, {}
        elif e.is_Add:
            first, second = _summed(part.first for part in inner), _summed(part.second for part in inner)
        else:
            made = own + (len(inner) ** 2 // 2 if e.is_Mul else 0)  # sympy multiplies the factors one by one
            first = _summed({s: count + made for s, count in part.first.items()} for part in inner)
            second = {(s, t): sum(_twice(inner, made, s, t, e.is_Mul)) for s in first for t in first}
        known[e] = _Size(own, first, second, depth)
    return known[e]


def _twice(inner: list[_Size], made: int, s: sympy.Basic, t: sympy.Basic, is_product: bool) -> Iterator[int]:
    """Yield the number of parts of each term in the second derivative of a product or a function."""
    by_s, by_t = ([part.first for part in inner if at in part.first] for at in (s, t))
    for part in inner:
        both = s in part.first and t in part.first
        if is_product:  # every factor differentiated twice among the others, or this one by s and another by t
            others = len(by_t) - (t in part.first), len(by_s) - (s in part.first)
            yield part.second.get((s, t), 0) + made * both
            yield others[0] * (part.first.get(s, 0) + made * (s in part.first)) + others[1] * part.first.get(t, 0)
        elif both:
            yield part.second.get((s, t), 0) + part.first[s] + part.first[t] + 2 * made
        else:  # a power with one coordinate in its base and the other in its exponent
            yield part.first.get(s, 0) + part.first.get(t, 0) + made


def _summed(counts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    """Add counters key by key."""
    total: Counter[Any] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


_OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def _read(text: str, node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if abs(node.value) > LARGEST:
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
        return _small(text, _OPERATIONS[type(node.op)](_read(text, node.left), _read(text, node.right)))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, power = _read(text, node.left), _read(text, node.right)
        if power.is_number and abs(float(power)) > 100:
            raise _refused(text, f"the power {power} is larger than 100")
        return sympy.Float(float(base) ** float(power)) if base.is_number and power.is_number else base**power
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        if len(node.args) == 1 and not node.keywords:
            return _small(text, FUNCTIONS[node.func.id](_read(text, node.args[0])))
        raise _refused(text, f"{node.func.id} takes one number")
    raise _refused(text, f"'{ast.unparse(node)[:40]}' is not allowed")


def _small(text: str, made: Any) -> Any:
    """Return a parsed part; SteepestError for a number that takes long to evaluate, such as the sine of exp(exp(30))."""
    if made.is_number and not made.is_Float and not made.is_Rational and made.is_finite is not False:
        size = abs(complex(made))
        if size > LARGEST:
            raise _refused(text, f"the number {size:.3g} is larger than 1e12")
    return made
