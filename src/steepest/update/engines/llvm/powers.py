"""Values of a kernel with Python's operators; powers and cube roots written with them, so that LLVM vectorizes them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .lowering import Body


@dataclass(frozen=True)
class Format:
    """A floating-point type: its integer, its mantissa's bits, its bias, and constants of the approximations.

    `root` has the bits of sqrt(1/2). `log` and `exp` are the numbers of terms of log2(x) for x from sqrt(1/2) to sqrt(2), and
    of 2 ** x for |x| <= 1/2. `third` starts the cube root, which takes `halley` iterations.
    """

    integer: str
    mantissa: int
    bias: int
    root: int
    log: int
    exp: int
    third: int
    halley: int


FORMATS = {
    "float": Format("i32", 23, 127, 0x3F3504F3, 6, 8, 709_958_130, 2),
    "double": Format("i64", 52, 1023, 0x3FE6A09E667F3BCD, 12, 14, 0x2A9F_7893_782D_A1CE, 3),
}


def double(x: float) -> str:
    """A double as LLVM writes it."""
    return "0x" + struct.pack(">d", x).hex().upper()


def constant(type_: str, x: float) -> str:
    """A number as LLVM writes it: an integer, or the bits of a double, rounded to the type first."""
    if type_ not in FORMATS:
        return str(x)
    return double(float(np.float32(x)) if type_ == "float" else x)


def _operator(operation: str) -> Callable[[Value, Value | float], Value]:
    """A method that applies an instruction, in its form for the type."""
    return lambda self, x: self.apply(f"f{operation}" if self.type in FORMATS else operation, x)


@dataclass(frozen=True, eq=False)
class Value:
    """A value of a kernel; each operation appends an instruction to the body. The other operand may be a Python number."""

    body: Body
    type: str
    name: str

    def apply(self, operation: str, x: Value | float) -> Value:
        """An instruction on this value and another operand of its type."""
        name = x.name if isinstance(x, Value) else constant(self.type, x)
        return Value(self.body, self.type, self.body.add(f"{operation} {self.type} {self.name}, {name}"))

    __add__, __sub__, __mul__, __truediv__ = _operator("add"), _operator("sub"), _operator("mul"), _operator("div")
    __lshift__, __rshift__, __and__, __floordiv__ = _operator("shl"), _operator("ashr"), _operator("and"), _operator("udiv")

    def compare(self, test: str, x: Value | float) -> str:
        """The truth of a comparison, such as "olt": ordered and less."""
        return self.apply(f"fcmp {test}", x).name

    def where(self, test: str, other: Value | float) -> Value:
        """This value, or where the test is true another."""
        name = other.name if isinstance(other, Value) else constant(self.type, other)
        return Value(self.body, self.type, self.body.add(f"select i1 {test}, {self.type} {name}, {self.type} {self.name}"))

    def cast(self, how: str, type_: str) -> Value:
        """The value converted by an instruction, such as "bitcast"."""
        return Value(self.body, type_, self.body.add(f"{how} {self.type} {self.name} to {type_}"))

    def to(self, type_: str) -> Value:
        """The value in another floating-point type."""
        if type_ == self.type:
            return self
        return self.cast("fpext" if type_ == "double" else "fptrunc", type_)

    def call(self, function: str, *others: Value | float) -> Value:
        """A function of LLVM's, such as "fma", of this value and others of its type."""
        names = [x.name if isinstance(x, Value) else constant(self.type, x) for x in others]
        return Value(self.body, self.type, self.body.call(function, self.name, *names))


def _series(x: Value, terms: list[float]) -> Value:
    total = x.call("fma", terms[-1], terms[-2])
    for term in reversed(terms[:-2]):
        total = total.call("fma", x, term)
    return total


def power(x: Value, y: Value) -> Value:
    """x ** y for x >= 0 and a double y, as 2 ** (y log2 x): bits for the exponents, series for the fractions.

    y is split into two values of the type of x, so that no bit of y log2 x is lost.
    """
    form = FORMATS[x.type]
    high = y.to(x.type)
    low = (y - high.to("double")).to(x.type)
    raised = form.mantissa + 1
    is_tiny = x.compare("olt", 2.0 ** (1 - form.bias))
    bits = x.where(is_tiny, x * 2.0**raised).cast("bitcast", form.integer)
    exponent = (bits - form.root) >> form.mantissa
    over = (bits - (exponent << form.mantissa)).cast("bitcast", x.type) - 1.0
    s = over / (over + 2.0)
    log = s * _series(s * s, [2 / math.log(2) / (2 * k + 1) for k in range(form.log)])
    e = exponent.cast("sitofp", x.type)
    e = e.where(is_tiny, e - float(raised))
    product = high * e
    lost = low.call("fma", e, high.call("fma", e, product * -1.0))
    near = product.call("rint")
    rest = high.call("fma", log, product - near + lost)
    far = rest.call("rint")
    power = _series(rest - far, [math.log(2) ** k / math.factorial(k) for k in range(form.exp)])
    bounded = (near + far).call("maxnum", 4.0 - 2 * form.bias).call("minnum", 2.0 * form.bias)
    n = bounded.cast("fptosi", form.integer)
    half = n >> 1
    for part in (half, n - half):  # two factors, so that the ends of the range come out right
        power = power * ((part + form.bias) << form.mantissa).cast("bitcast", x.type)
    return _with_ends(power, x, y)


def _with_ends(power: Value, x: Value, y: Value) -> Value:
    """A power x ** y, corrected where x is 0, infinite, below 0 or NaN."""
    grows, falls = y.compare("ogt", 0.0), y.compare("olt", 0.0)
    one = x.body.of(1.0)
    power = power.where(x.compare("oeq", 0.0), one.where(falls, math.inf).where(grows, 0.0))
    power = power.where(x.compare("oeq", math.inf), one.where(falls, 0.0).where(grows, math.inf))
    return power.where(x.compare("ult", 0.0), math.nan)


def cube_root(x: Value) -> Value:
    """The cube root: a third of the exponent's bits for a start, then Halley's iteration."""
    form = FORMATS[x.type]
    a = x.call("fabs")
    y = (a.cast("bitcast", form.integer) // 3 + form.third).cast("bitcast", x.type)
    for _ in range(form.halley):  # y <- y (y^3 + 2a) / (2 y^3 + a), as y - y (y^3 - a) / (2 y^3 + a)
        cube = y * y * y
        y = y - y * ((cube - a) / (cube + cube + a))
    root = y.where(a.compare("ult", 2.0 ** (1 - form.bias)), a * 0.0)  # zeros and subnormals give zero
    root = root.where(a.compare("ueq", math.inf), a)  # infinity and NaN themselves
    return root.call("copysign", x)
