"""A surface: a formula, from which value, gradient, Hessian and LaTeX are derived."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from sympy import Expr, Symbol

from ..errors import SteepestError
from ..notebook import Shown

Array = NDArray[np.float64]
Point = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Surface(Shown):
    """A function of a few coordinates to minimise.

    domain: (low, high) of each coordinate.
    start: the default start of a path.
    minima: the known global minima.
    kinks: points without a gradient, where it is defined to be 0.
    rates: learning rates by optimizer name, "" for all others, for surfaces that are unbounded below, where a search for the
        best rate makes no sense.
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
        """The formula in Python syntax, as `surfaces.get` parses it."""
        return re.sub(r"\bE\b", "e", str(self.expression)).replace("Abs(", "abs(")

    @functools.cached_property
    def gradient_expressions(self) -> tuple[Expr, ...]:
        """The formulas of the partial derivatives."""
        return tuple(sympy.diff(self.expression, v) for v in self.variables)

    @functools.cached_property
    def hessian_expressions(self) -> tuple[tuple[Expr, ...], ...]:
        """The formulas of the second derivatives; at the kink of an absolute value, those of its neighbourhood."""
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
            result = self._functions[which](*np.moveaxis(at, -1, 0))
            parts = result if isinstance(result, list) else [result]
            full = [np.broadcast_to(np.asarray(part, float), at.shape[:-1]) for part in parts]
        answer = np.stack(full, -1) if shape else full[0]
        for kink in self.kinks if which == 1 else ():
            answer = np.where((at == np.array(kink)).all(-1)[..., None], 0.0, answer)
        return np.array(answer.reshape((*at.shape[:-1], *shape)))

    def value(self, points: ArrayLike) -> Array:
        """The height at points (..., dims).

        >>> from steepest import surfaces
        >>> float(surfaces.get("x**2 + 3*y**2").value((1.0, 1.0)))
        4.0
        """
        return self._at(0, points, ())

    def gradient(self, points: ArrayLike) -> Array:
        """The gradient at points (..., dims), of the same shape.

        >>> from steepest import surfaces
        >>> surfaces.get("x**2 + 3*y**2").gradient((1.0, 1.0)).tolist()
        [2.0, 6.0]
        """
        return self._at(1, points, (self.dims,))

    def hessian(self, points: ArrayLike) -> Array:
        """The Hessian at points (..., dims): (..., dims, dims).

        >>> from steepest import surfaces
        >>> surfaces.get("x**2 + 3*y**2").hessian((1.0, 1.0)).tolist()
        [[2.0, 0.0], [0.0, 6.0]]
        """
        return self._at(2, points, (self.dims, self.dims))

    def turned(self, degrees: float) -> Surface:
        """Rotate a surface of two coordinates counter-clockwise around the centre of its domain.

        The path of plain descent rotates with it; that of a rule that scales each coordinate separately does not. The domain
        becomes a square with the length of its longer side.

        >>> from steepest import surfaces
        >>> round(float(surfaces.get("valley").turned(90).value((1.0, 0.0))), 6)
        25.0
        """
        if self.dims != 2 or not math.isfinite(degrees):
            raise SteepestError(f"{self.name} cannot be turned by {degrees}; expected a surface of 2 coordinates and a number.")
        (x, y), angle = self.variables, math.radians(degrees)
        middle = [(low + high) / 2 for low, high in self.domain]
        half = max(high - low for low, high in self.domain) / 2
        c, s = math.cos(angle), math.sin(angle)
        away = x - middle[0], y - middle[1]
        places = {x: middle[0] + c * away[0] + s * away[1], y: middle[1] - s * away[0] + c * away[1]}

        def forward(point: Point) -> Point:
            dx, dy = (at - m for at, m in zip(point, middle, strict=True))
            return middle[0] + c * dx - s * dy, middle[1] + s * dx + c * dy

        return replace(
            self,
            name=f"{self.name}.turned({degrees:g})",
            expression=self.expression.subs(places, simultaneous=True),
            domain=tuple((m - half, m + half) for m in middle),
            start=forward(self.start),
            minima=tuple(map(forward, self.minima)),
            kinks=tuple(map(forward, self.kinks)),
        )

    def latex(self) -> str:
        """The formula in LaTeX."""
        return str(sympy.latex(self.expression))


def box(dims: int, low: float, high: float) -> tuple[tuple[float, float], ...]:
    """A domain with the same bounds for every coordinate."""
    return ((low, high),) * dims


def points_of(point: Sequence[float] | str, dims: int) -> Point:
    """Convert a point, numbers or text such as "1,1e-3"; SteepestError unless it has `dims` finite coordinates."""
    try:
        at = tuple(float(part) for part in (point.split(",") if isinstance(point, str) else point))
    except (TypeError, ValueError):
        raise SteepestError(f"The point is {point!r}; expected {dims} numbers, such as --start=1,1e-3.") from None
    if len(at) != dims or not all(map(math.isfinite, at)):
        raise SteepestError(f"The point {point!r} has {len(at)} coordinates; expected {dims} finite numbers.")
    return at
