"""Surfaces: a formula in one line; value, gradient, Hessian and LaTeX follow from it."""

from __future__ import annotations

import ast
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from sympy import Expr, Symbol, cos, exp, pi, sqrt

from ..errors import SteepestError, unknown

Array = NDArray[np.float64]
Point = tuple[float, ...]

FUNCTIONS: dict[str, Any] = {
    name: getattr(sympy, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "sinh", "cosh", "tanh", "atan")
} | {"abs": sympy.Abs}
CONSTANTS = {"pi": sympy.pi, "e": sympy.E}
LONGEST = 500  # characters of a formula


@dataclass(frozen=True, eq=False)
class Surface:
    """A function of a few coordinates to go down on.

    `domain` holds (low, high) of each coordinate; `minima` the known least points; `kinks` points where the gradient is not
    defined and taken to be 0; `start` where descent starts unless told otherwise; `rates` rates for optimizers by name,
    "" for all others, where a search for the best makes no sense because nothing bounds the surface below.
    """

    name: str
    expression: Expr
    variables: tuple[Symbol, ...]
    domain: tuple[tuple[float, float], ...]
    start: Point
    minima: tuple[Point, ...] = ()
    kinks: tuple[Point, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    about: str = ""

    @property
    def dims(self) -> int:
        """The number of coordinates."""
        return len(self.variables)

    @property
    def formula(self) -> str:
        """The formula as Python writes it."""
        return str(self.expression)

    @functools.cached_property
    def gradient_expressions(self) -> tuple[Expr, ...]:
        """The formulas of the partial derivatives."""
        return tuple(sympy.diff(self.expression, v) for v in self.variables)

    @functools.cached_property
    def hessian_expressions(self) -> tuple[tuple[Expr, ...], ...]:
        """The formulas of the second derivatives; at the tip of an absolute value, those beside it."""
        rows = ([sympy.diff(g, v) for v in self.variables] for g in self.gradient_expressions)
        return tuple(tuple(h.replace(sympy.DiracDelta, lambda *_: sympy.Integer(0)) for h in row) for row in rows)

    @functools.cached_property
    def _functions(self) -> tuple[Callable[..., Any], ...]:
        made = (self.expression, list(self.gradient_expressions), [h for row in self.hessian_expressions for h in row])
        return tuple(sympy.lambdify(self.variables, one, modules="numpy", cse=True) for one in made)

    def _at(self, which: int, points: ArrayLike, shape: tuple[int, ...]) -> Array:
        at = np.asarray(points, float)
        if at.shape[-1] != self.dims:
            raise SteepestError(f"A point of {self.name} has {self.dims} coordinates; got shape {at.shape}.")
        with np.errstate(all="ignore"):
            found = self._functions[which](*np.moveaxis(at, -1, 0))
            parts = found if isinstance(found, list) else [found]
            full = [np.broadcast_to(np.asarray(part, float), at.shape[:-1]) for part in parts]
        answer = np.stack(full, -1) if shape else full[0]
        for kink in self.kinks if which == 1 else ():
            answer = np.where((at == np.array(kink)).all(-1)[..., None], 0.0, answer)
        return np.array(answer.reshape((*at.shape[:-1], *shape)))

    def value(self, points: ArrayLike) -> Array:
        """The height at points (..., dims)."""
        return self._at(0, points, ())

    def gradient(self, points: ArrayLike) -> Array:
        """The gradient at points (..., dims), of the same shape."""
        return self._at(1, points, (self.dims,))

    def hessian(self, points: ArrayLike) -> Array:
        """The Hessian at points (..., dims): (..., dims, dims)."""
        return self._at(2, points, (self.dims, self.dims))

    def latex(self) -> str:
        """The formula in LaTeX."""
        return str(sympy.latex(self.expression))


SURFACES: dict[str, Callable[..., Surface]] = {}


def _surface(write: Callable[..., Surface]) -> Callable[..., Surface]:
    SURFACES[write.__name__] = write
    return write


def _variables(dims: int, least: int = 1) -> tuple[Symbol, ...]:
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < least:
        raise SteepestError(f"dims is {dims!r}; expected a whole number, {least} or more.")
    names = "x y z" if dims <= 3 else " ".join(f"x{i + 1}" for i in range(dims))
    return tuple(sympy.symbols(names, real=True))[:dims] if dims > 1 else (sympy.Symbol("x", real=True),)


def _box(dims: int, low: float, high: float) -> tuple[tuple[float, float], ...]:
    return ((low, high),) * dims


@_surface
def bowl(dims: int = 2) -> Surface:
    """The sum of squares: every direction curves alike."""
    v = _variables(dims)
    start = (-1.5, 1.0, *[1.0] * dims)[:dims]
    return Surface("bowl", sum(x**2 for x in v), v, _box(dims, -2, 2), start, ((0.0,) * dims,))


@_surface
def valley(condition: float = 50.0) -> Surface:
    """(x^2 + condition * y^2) / 2: the largest curvature is `condition` times the smallest."""
    if isinstance(condition, bool) or not isinstance(condition, int | float) or not 1 <= condition < math.inf:
        raise SteepestError(f"condition is {condition!r}; expected a number of at least 1.")
    x, y = _variables(2)
    return Surface("valley", (x**2 + condition * y**2) / 2, (x, y), ((-5, 5), (-2, 2)), (-4.5, 1.2), ((0.0, 0.0),))


@_surface
def rosenbrock(dims: int = 2) -> Surface:
    """A curved valley with a flat floor. Rosenbrock 1960."""
    v = _variables(dims, 2)
    f = sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(v))
    domain = ((-2.0, 2.0), (-1.0, 3.0)) if dims == 2 else _box(dims, -2, 2)
    return Surface("rosenbrock", f, v, domain, (-1.2, 1.0, *[1.0] * dims)[:dims], ((1.0,) * dims,))


@_surface
def beale() -> Surface:
    """Flat corners around one minimum. Beale 1958."""
    x, y = _variables(2)
    terms = ((sympy.Rational(3, 2), 1), (sympy.Rational(9, 4), 2), (sympy.Rational(21, 8), 3))
    f = sum((a - x + x * y**k) ** 2 for a, k in terms)
    return Surface("beale", f, (x, y), _box(2, -4.5, 4.5), (1.0, 1.5), ((3.0, 0.5),))


@_surface
def himmelblau() -> Surface:
    """Four minima of equal height. Himmelblau 1972."""
    x, y = _variables(2)
    minima = ((3.0, 2.0), (-2.805118086952745, 3.131312518250573), (-3.779310253377747, -3.283185991286170))
    f = (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2
    return Surface("himmelblau", f, (x, y), _box(2, -5, 5), (-0.5, -1.0), (*minima, (3.584428340330492, -1.848126526964404)))


@_surface
def booth() -> Surface:
    """A tilted bowl."""
    x, y = _variables(2)
    return Surface("booth", (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2, (x, y), _box(2, -10, 10), (-8.0, -6.0), ((1.0, 3.0),))


@_surface
def rastrigin(dims: int = 2) -> Surface:
    """A bowl with a grid of dents. Rastrigin 1974."""
    v = _variables(dims)
    f = 10 * dims + sum(x**2 - 10 * cos(2 * pi * x) for x in v)
    return Surface("rastrigin", f, v, _box(dims, -5.12, 5.12), (-3.2, 2.7, *[2.7] * dims)[:dims], ((0.0,) * dims,))


@_surface
def ackley(dims: int = 2) -> Surface:
    """A flat field with dents around a funnel, whose tip has no gradient. Ackley 1987."""
    v = _variables(dims)
    far, waves = sqrt(sum(x**2 for x in v) / dims), sum(cos(2 * pi * x) for x in v) / dims
    f = -20 * exp(-far / 5) - exp(waves) + sympy.E + 20
    origin = (0.0,) * dims
    return Surface("ackley", f, v, _box(dims, -5, 5), (-2.2, 1.7, *[1.7] * dims)[:dims], (origin,), (origin,))


@_surface
def styblinski_tang(dims: int = 2) -> Surface:
    """Two valleys in each direction, one deeper. Styblinski & Tang 1990."""
    v = _variables(dims)
    f = sum(x**4 - 16 * x**2 + 5 * x for x in v) / 2
    return Surface(
        "styblinski_tang", f, v, _box(dims, -5, 5), (0.3, 1.0, *[1.0] * dims)[:dims], ((-2.903534027771177,) * dims,)
    )


@_surface
def six_hump_camel() -> Surface:
    """Six minima, two of them least. Dixon & Szego 1978."""
    x, y = _variables(2)
    f = (4 - sympy.Rational(21, 10) * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2
    low = (0.08984201310031806, -0.7126564030207396)
    minima = (low, (-low[0], -low[1]))
    return Surface("six_hump_camel", f, (x, y), ((-2.2, 2.2), (-1.3, 1.3)), (-1.9, 0.25), minima)


@_surface
def saddle() -> Surface:
    """x^2 - y^2: down without end along y, from y = 0 nowhere."""
    x, y = _variables(2)
    rates = {"": 0.02, "adagrad": 0.05, "adam": 0.05, "adadelta": 0.5}
    return Surface("saddle", x**2 - y**2, (x, y), _box(2, -1.5, 1.5), (1.0, 1e-3), rates=rates)


@_surface
def monkey_saddle() -> Surface:
    """x^3 - 3 x y^2: three ways down, and a Hessian that is zero between them."""
    x, y = _variables(2)
    return Surface("monkey_saddle", x**3 - 3 * x * y**2, (x, y), _box(2, -1.5, 1.5), (0.8, 0.05), rates={"": 0.03})


@_surface
def plateau() -> Surface:
    """1 - exp(-(x^2 + y^2) / 2): a hole in a field that is almost flat further out."""
    x, y = _variables(2)
    return Surface("plateau", 1 - exp(-(x**2 + y**2) / 2), (x, y), _box(2, -4, 4), (-3.0, 2.0), ((0.0, 0.0),))


@_surface
def schwarz() -> Surface:
    """x y (x^2 - y^2) / (x^2 + y^2): at the origin its mixed second derivatives differ, for they are not continuous there."""
    x, y = _variables(2)
    f = x * y * (x**2 - y**2) / (x**2 + y**2)
    return Surface("schwarz", f, (x, y), _box(2, -1.5, 1.5), (1.0, 0.2), kinks=((0.0, 0.0),), rates={"": 0.03})


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
        f"The formula '{shown}' is refused: {why}. Write numbers, coordinates x, y, z or x1, x2, ..., + - * / **, "
        f"parentheses, and {words}."
    )


def parse(text: str) -> Surface:
    """A surface from a formula. It is read node by node against a list of what is allowed, and never run as Python."""
    if len(text) > LONGEST:
        raise _refused(text, f"it has {len(text)} characters, and {LONGEST} are the most")
    try:
        expression = _read(text, ast.parse(text.strip(), mode="eval").body)
    except SteepestError:
        raise
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError, ZeroDivisionError):
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
    if expression.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
        raise _refused(text, "it is not a real number anywhere")
    return Surface(
        text.strip(), expression, tuple(symbols), _box(dims, -3, 3), (-2.0, 1.5, *[1.5] * dims)[:dims], about="yours"
    )


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


def points_of(given: Sequence[float] | str, dims: int) -> Point:
    """A point as numbers, or as typed: "1,1e-3"; SteepestError unless it has so many finite coordinates."""
    try:
        at = tuple(float(part) for part in (given.split(",") if isinstance(given, str) else given))
    except (TypeError, ValueError):
        raise SteepestError(f"The point is {given!r}; expected {dims} numbers, such as --start=1,1e-3.") from None
    if len(at) != dims or not all(map(math.isfinite, at)):
        raise SteepestError(f"The point {given!r} has {len(at)} coordinates; expected {dims} finite numbers.")
    return at
