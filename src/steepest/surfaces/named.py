"""The named surfaces: formula, domain, start and known minima of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import sympy
from sympy import Symbol, cos, exp, pi, sqrt

from ..checks import whole
from ..errors import SteepestError
from .surface import Surface, box

MOST_DIMS = 100  # at this size sympy takes a second for the second derivatives
SURFACES: dict[str, Callable[..., Surface]] = {}
x, y = sympy.symbols("x y", real=True)


def _surface(write: Callable[..., Surface]) -> Callable[..., Surface]:
    SURFACES[write.__name__] = write
    return write


def _variables(dims: int, least: int = 1) -> tuple[Symbol, ...]:
    if whole("dims", dims, least) > MOST_DIMS:
        raise SteepestError(f"dims is {dims}; expected at most {MOST_DIMS}.")
    names = "x y z" if dims <= 3 else " ".join(f"x{i + 1}" for i in range(dims))
    return tuple(sympy.symbols(names, real=True))[:dims] if dims > 1 else (sympy.Symbol("x", real=True),)


@_surface
def bowl(dims: int = 2) -> Surface:
    """The sum of squares: every direction curves alike."""
    v = _variables(dims)
    start = (-1.5, 1.0, *[1.0] * dims)[:dims]
    return Surface("bowl", sum(x**2 for x in v), v, box(dims, -2, 2), start, ((0.0,) * dims,))


@_surface
def valley(condition: float = 50.0) -> Surface:
    """(x^2 + condition * y^2) / 2: the largest curvature is `condition` times the smallest."""
    if isinstance(condition, bool) or not isinstance(condition, int | float) or not 1 <= condition < math.inf:
        raise SteepestError(f"condition is {condition!r}; expected a number of at least 1.")
    return Surface("valley", (x**2 + condition * y**2) / 2, (x, y), ((-5, 5), (-2, 2)), (-4.5, 1.2), ((0.0, 0.0),))


@_surface
def rosenbrock(dims: int = 2) -> Surface:
    """A curved valley with a flat floor. Rosenbrock 1960."""
    v = _variables(dims, 2)
    f = sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(v))
    domain = ((-2.0, 2.0), (-1.0, 3.0)) if dims == 2 else box(dims, -2, 2)
    return Surface("rosenbrock", f, v, domain, (-1.2, 1.0, *[1.0] * dims)[:dims], ((1.0,) * dims,))


@_surface
def beale() -> Surface:
    """Flat corners around one minimum. Beale 1958."""
    terms = ((sympy.Rational(3, 2), 1), (sympy.Rational(9, 4), 2), (sympy.Rational(21, 8), 3))
    f = sum((a - x + x * y**k) ** 2 for a, k in terms)
    return Surface("beale", f, (x, y), box(2, -4.5, 4.5), (1.0, 1.5), ((3.0, 0.5),))


@_surface
def himmelblau() -> Surface:
    """Four minima of equal height. Himmelblau 1972."""
    minima = ((3.0, 2.0), (-2.805118086952745, 3.131312518250573), (-3.779310253377747, -3.283185991286170))
    f = (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2
    return Surface("himmelblau", f, (x, y), box(2, -5, 5), (-0.5, -1.0), (*minima, (3.584428340330492, -1.848126526964404)))


@_surface
def booth() -> Surface:
    """A tilted bowl."""
    return Surface("booth", (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2, (x, y), box(2, -10, 10), (-8.0, -6.0), ((1.0, 3.0),))


@_surface
def rastrigin(dims: int = 2) -> Surface:
    """A bowl with a grid of dents. Rastrigin 1974."""
    v = _variables(dims)
    f = 10 * dims + sum(x**2 - 10 * cos(2 * pi * x) for x in v)
    return Surface("rastrigin", f, v, box(dims, -5.12, 5.12), (-3.2, 2.7, *[2.7] * dims)[:dims], ((0.0,) * dims,))


@_surface
def ackley(dims: int = 2) -> Surface:
    """A flat field with dents around a funnel, whose tip has no gradient. Ackley 1987."""
    v = _variables(dims)
    far, waves = sqrt(sum(x**2 for x in v) / dims), sum(cos(2 * pi * x) for x in v) / dims
    f = -20 * exp(-far / 5) - exp(waves) + sympy.E + 20
    origin = (0.0,) * dims
    return Surface("ackley", f, v, box(dims, -5, 5), (-2.2, 1.7, *[1.7] * dims)[:dims], (origin,), (origin,))


@_surface
def styblinski_tang(dims: int = 2) -> Surface:
    """Two valleys in each direction, one deeper. Styblinski & Tang 1990."""
    v = _variables(dims)
    f = sum(x**4 - 16 * x**2 + 5 * x for x in v) / 2
    return Surface("styblinski_tang", f, v, box(dims, -5, 5), (0.3, 1.0, *[1.0] * dims)[:dims], ((-2.903534027771177,) * dims,))


@_surface
def six_hump_camel() -> Surface:
    """Six minima, two of them least. Dixon & Szego 1978."""
    f = (4 - sympy.Rational(21, 10) * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2
    low = (0.08984201310031806, -0.7126564030207396)
    minima = (low, (-low[0], -low[1]))
    return Surface("six_hump_camel", f, (x, y), ((-2.2, 2.2), (-1.3, 1.3)), (-1.9, 0.25), minima)


@_surface
def saddle() -> Surface:
    """x^2 - y^2: down without end along y, from y = 0 nowhere."""
    rates = {"": 0.02, "adagrad": 0.05, "adam": 0.05, "adadelta": 0.5}
    return Surface("saddle", x**2 - y**2, (x, y), box(2, -1.5, 1.5), (1.0, 1e-3), rates=rates)


@_surface
def monkey_saddle() -> Surface:
    """x^3 - 3 x y^2: three ways down, and a Hessian that is zero between them."""
    return Surface("monkey_saddle", x**3 - 3 * x * y**2, (x, y), box(2, -1.5, 1.5), (0.8, 0.05), rates={"": 0.03})


@_surface
def plateau() -> Surface:
    """1 - exp(-(x^2 + y^2) / 2): a hole in a field that is almost flat further out."""
    return Surface("plateau", 1 - exp(-(x**2 + y**2) / 2), (x, y), box(2, -4, 4), (-3.0, 2.0), ((0.0, 0.0),))


@_surface
def schwarz() -> Surface:
    """x y (x^2 - y^2) / (x^2 + y^2): at the origin its mixed second derivatives differ, for they are not continuous there."""
    f = x * y * (x**2 - y**2) / (x**2 + y**2)
    return Surface("schwarz", f, (x, y), box(2, -1.5, 1.5), (1.0, 0.2), kinks=((0.0, 0.0),), rates={"": 0.03})
