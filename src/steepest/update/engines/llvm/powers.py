"""Powers and cube roots in LLVM's language, written out so that LLVM vectorizes them."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .lowering import Body

# Cube root: divide the exponent by 3 in the bits, then Halley's iteration. Magic number, integer type, iterations.
_CBRT = {"float": (709_958_130, "i32", 2), "double": (0x2A9F_7893_782D_A1CE, "i64", 3)}
INFINITY = "0x7FF0000000000000"
# log2(1 + x) / x for 1 + x from sqrt(1/2) to sqrt(2): a polynomial, through Chebyshev's points; its error is 2e-9.
_LOG = list(
    np.polynomial.chebyshev.Chebyshev.interpolate(
        lambda x: np.log2(1 + x) / x, 10, domain=[math.sqrt(0.5) - 1, math.sqrt(2) - 1]
    ).convert(kind=np.polynomial.Polynomial)
)


def double(x: float) -> str:
    """A double as LLVM writes it."""
    return "0x" + struct.pack(">d", x).hex().upper()


def power(body: Body, x: str, y: str) -> str:
    """x ** y for x >= 0 and a double y."""
    return _power(body, x, y) if body.type == "double" else _short_power(body, x, y)


def _power(body: Body, x: str, y: str) -> str:
    """x ** y for x >= 0 and a double y, as 2 ** (y log2 x): bits for the exponents, series for the fractions."""

    def series(u: str, terms: list[float]) -> str:
        total = double(terms[-1])
        for term in reversed(terms[:-1]):
            scaled = body.add(f"fmul contract double {total}, {u}")
            total = body.add(f"fadd contract double {scaled}, {double(term)}")
        return total

    bits = body.add(f"bitcast double {x} to i64")
    exponent = body.add(f"lshr i64 {bits}, 52")
    exponent = body.add(f"or i64 {exponent}, {0x4330 << 48}")
    exponent = body.add(f"bitcast i64 {exponent} to double")
    exponent = body.add(f"fsub double {exponent}, {double(2.0**52 + 1023)}")
    fraction = body.add(f"and i64 {bits}, {(1 << 52) - 1}")
    fraction = body.add(f"or i64 {fraction}, {0x3FF << 52}")
    fraction = body.add(f"bitcast i64 {fraction} to double")
    above = body.add(f"fcmp ogt double {fraction}, {double(math.sqrt(2))}")
    halved = body.add(f"fmul double {fraction}, 0.5")
    raised = body.add(f"fadd double {exponent}, 1.0")
    fraction = body.add(f"select i1 {above}, double {halved}, double {fraction}")
    exponent = body.add(f"select i1 {above}, double {raised}, double {exponent}")
    over, under = body.add(f"fsub double {fraction}, 1.0"), body.add(f"fadd double {fraction}, 1.0")
    s = body.add(f"fdiv double {over}, {under}")
    square = body.add(f"fmul double {s}, {s}")
    tail = series(square, [2 / math.log(2) / (2 * k + 1) for k in range(12)])
    log = body.add(f"fmul double {s}, {tail}")
    log = body.add(f"fadd double {exponent}, {log}")
    product = body.add(f"fmul double {y}, {log}")
    shifted = body.add(f"fadd double {product}, {double(1.5 * 2.0**52)}")  # its last bits are the nearest integer
    most = double(1.5 * 2.0**52 + 1023)  # the largest exponent there is; the series bears the half more
    high = body.add(f"fcmp ogt double {shifted}, {most}")
    shifted = body.add(f"select i1 {high}, double {most}, double {shifted}")
    whole = body.add(f"fsub double {shifted}, {double(1.5 * 2.0**52)}")
    rest = body.add(f"fsub double {product}, {whole}")
    power = series(rest, [math.log(2) ** k / math.factorial(k) for k in range(14)])
    integer = body.add(f"bitcast double {shifted} to i64")
    integer = body.add(f"add i64 {integer}, 1023")
    integer = body.add(f"shl i64 {integer}, 52")
    scale = body.add(f"bitcast i64 {integer} to double")
    power = body.add(f"fmul double {power}, {scale}")
    power = _replaced(body, power, f"fcmp oge double {product}, 1024.0", INFINITY)
    power = _replaced(body, power, f"fcmp ole double {product}, -1022.0", "0.0")
    return _at_the_ends(body, power, x, y, f"fcmp olt double {x}, 0x0010000000000000")


def _replaced(body: Body, value: str, test: str, instead: str) -> str:
    """A value, or where the test is true another."""
    return body.add(f"select i1 {body.add(test)}, {body.type} {instead}, {body.type} {value}")


def _at_the_ends(body: Body, power: str, x: str, y: str, is_zero: str) -> str:
    """A power x ** y, corrected where x is 0, infinite, below 0 or NaN."""
    t, grows, falls = body.type, f"fcmp ogt double {y}, 0.0", f"fcmp olt double {y}, 0.0"
    at_zero = _replaced(body, _replaced(body, "1.0", falls, INFINITY), grows, "0.0")
    at_infinity = _replaced(body, _replaced(body, "1.0", falls, "0.0"), grows, INFINITY)
    power = _replaced(body, power, is_zero, at_zero)
    power = _replaced(body, power, f"fcmp oeq {t} {x}, {INFINITY}", at_infinity)
    return _replaced(body, power, f"fcmp ult {t} {x}, 0.0", "0x7FF8000000000000")


def _short_power(body: Body, x: str, y: str) -> str:
    """x ** y in float32 for x >= 0 and a double y: as `_power`, with y in two floats so that no bit of y log2 x is lost."""

    def f(number: float) -> str:
        return double(float(np.float32(number)))

    def series(u: str, terms: list[float]) -> str:
        total = f(terms[-1])
        for term in reversed(terms[:-1]):
            total = body.call("fma", total, u, f(term))
        return total

    high = body.add(f"fptrunc double {y} to float")
    back = body.add(f"fpext float {high} to double")
    left = body.add(f"fsub double {y}, {back}")
    low = body.add(f"fptrunc double {left} to float")
    tiny = body.add(f"fcmp olt float {x}, {double(2.0**-126)}")
    raised = body.add(f"fmul float {x}, {f(2.0**24)}")
    scaled = body.add(f"select i1 {tiny}, float {raised}, float {x}")
    bits = body.add(f"bitcast float {scaled} to i32")
    shifted = body.add(f"sub i32 {bits}, {0x3F3504F3}")  # the square root of a half: fractions from there to twice that
    exponent = body.add(f"ashr i32 {shifted}, 23")
    whole = body.add(f"shl i32 {exponent}, 23")
    bits = body.add(f"sub i32 {bits}, {whole}")
    fraction = body.add(f"bitcast i32 {bits} to float")
    e = body.add(f"sitofp i32 {exponent} to float")
    less = body.add(f"fsub float {e}, 24.0")
    e = body.add(f"select i1 {tiny}, float {less}, float {e}")
    over = body.add(f"fsub float {fraction}, 1.0")
    log = body.add(f"fmul float {over}, {series(over, _LOG)}")
    product = body.add(f"fmul float {high}, {e}")
    minus = body.add(f"fneg float {product}")
    lost = body.call("fma", high, e, minus)
    lost = body.call("fma", low, e, lost)
    near = body.call("rint", product)
    rest = body.add(f"fsub float {product}, {near}")
    rest = body.add(f"fadd float {rest}, {lost}")
    rest = body.call("fma", high, log, rest)
    far = body.call("rint", rest)
    rest = body.add(f"fsub float {rest}, {far}")
    near = body.add(f"fadd float {near}, {far}")
    power = series(rest, [math.log(2) ** k / math.factorial(k) for k in range(8)])
    least = body.call("maxnum", near, f(-250.0))
    bound = body.call("minnum", least, f(254.0))
    n = body.add(f"fptosi float {bound} to i32")
    half = body.add(f"ashr i32 {n}, 1")
    for part in (half, body.add(f"sub i32 {n}, {half}")):  # two factors, so that the ends of the range come out right
        biased = body.add(f"add i32 {part}, 127")
        placed = body.add(f"shl i32 {biased}, 23")
        factor = body.add(f"bitcast i32 {placed} to float")
        power = body.add(f"fmul float {power}, {factor}")
    return _at_the_ends(body, power, x, y, f"fcmp oeq float {x}, 0.0")


def cube_root(body: Body, x: str) -> str:
    """The cube root: bits for a start, then Halley's iteration."""
    t = body.type
    magic, integer, iterations = _CBRT[t]
    a = body.call("fabs", x)
    bits = body.add(f"bitcast {t} {a} to {integer}")
    third = body.add(f"udiv {integer} {bits}, 3")
    shifted = body.add(f"add {integer} {third}, {magic}")
    y = body.add(f"bitcast {integer} {shifted} to {t}")
    for _ in range(iterations):  # y <- y (y^3 + 2a) / (2 y^3 + a), as y - y (y^3 - a) / (2 y^3 + a)
        square = body.add(f"fmul {t} {y}, {y}")
        cube = body.add(f"fmul {t} {square}, {y}")
        over = body.add(f"fsub {t} {cube}, {a}")
        under = body.add(f"fadd {t} {cube}, {cube}")
        under = body.add(f"fadd {t} {under}, {a}")
        ratio = body.add(f"fdiv {t} {over}, {under}")
        move = body.add(f"fmul {t} {y}, {ratio}")
        y = body.add(f"fsub {t} {y}, {move}")
    least, most = "0x3810000000000000" if t == "float" else "0x0010000000000000", "0x7FF0000000000000"
    usual = body.add(f"fcmp oge {t} {a}, {least}")  # zeros and subnormals give zero, infinity and NaN themselves
    small = body.add(f"fmul {t} {a}, 0.0")
    small = body.add(f"select i1 {usual}, {t} {y}, {t} {small}")
    whole = body.add(f"fcmp one {t} {a}, {most}")
    root = body.add(f"select i1 {whole}, {t} {small}, {t} {a}")
    return body.call("copysign", root, x)
