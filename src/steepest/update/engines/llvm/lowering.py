"""From a traced pass to LLVM's language: one loop over memory, in place, and a table of the tensors it runs over."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from ....rules.symbols import Expr, Symbol, apply
from ....rules.words import WORDS

# Cube root: divide the exponent by 3 in the bits, then Halley's iteration. Magic number, integer type, iterations.
_CBRT = {"float": (709_958_130, "i32", 2), "double": (0x2A9F_7893_782D_A1CE, "i64", 3)}
INFINITY = "0x7FF0000000000000"
# log2(1 + x) / x for 1 + x from sqrt(1/2) to sqrt(2): a polynomial, through Chebyshev's points; its error is 2e-9.
_LOG = list(
    np.polynomial.chebyshev.Chebyshev.interpolate(
        lambda x: np.log2(1 + x) / x, 10, domain=[math.sqrt(0.5) - 1, math.sqrt(2) - 1]
    ).convert(kind=np.polynomial.Polynomial)
)


def _double(x: float) -> str:
    """A double as LLVM writes it."""
    return "0x" + struct.pack(">d", x).hex().upper()


class Body:
    """The body of a kernel's loop, in LLVM's language, for the symbols of one pass.

    `vector` says that the loop runs over elements, so that powers must be written out for LLVM to take several at once.
    """

    vector = True

    def __init__(self, type_: str, written: dict[Symbol, str] | None = None, stored: dict[str, str] | None = None) -> None:
        self.type, self.lines = type_, list[str]()
        self.stored = stored or {}  # the type in memory of each letter
        self.written = written or {}  # what an earlier pass has written, and under which letter
        self.values: dict[Symbol, str] = {}
        self.loads: list[str] = []
        self.numbers: list[Symbol] = []
        self.declared: set[str] = set()
        self.reciprocals: dict[Symbol, Expr] = {}

    def add(self, text: str) -> str:
        """Append an instruction; the name of its result."""
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def constant(self, x: float) -> str:
        """A number as LLVM writes it: the bits of a double, rounded to the type first."""
        value = float(np.float32(x)) if self.type == "float" else float(x)
        return _double(value)

    def call(self, name: str, *args: str) -> str:
        """Call an intrinsic on values of the type."""
        full = f"llvm.{name}.{'f32' if self.type == 'float' else 'f64'}"
        self.declared.add(f"declare {self.type} @{full}({', '.join([self.type] * len(args))})")
        return self.add(f"call {self.type} @{full}({', '.join(f'{self.type} {a}' for a in args)})")

    def value(self, x: Expr) -> str:
        """The value of a symbol or number as the type; conditions become 0 or 1."""
        if not isinstance(x, Symbol):
            return self.constant(float(x))
        name = self.emit(x)
        if self.inline(x):
            return self.add(f"uitofp i1 {name} to {self.type}")
        return name

    def wide(self, x: Expr) -> str:
        """A number of the step as a double, before it is rounded to the type."""
        if not isinstance(x, Symbol):
            return _double(float(x))
        return self.emit(x).replace("%n", "%w") if self.type == "float" else self.emit(x)

    def condition(self, x: Expr) -> str:
        """The value of a symbol as a truth."""
        if isinstance(x, Symbol) and self.inline(x):
            return self.emit(x)
        return self.add(f"fcmp une {self.type} {self.value(x)}, 0.0")

    def reciprocal(self, x: Expr) -> Expr:
        """1 / x for a number."""
        if not isinstance(x, Symbol):
            return 1.0 / x
        if x not in self.reciprocals:
            self.reciprocals[x] = apply("div", 1.0, x)
        return self.reciprocals[x]

    def inline(self, x: Expr) -> bool:
        """Whether this symbol is computed here as a truth."""
        return isinstance(x, Symbol) and x.tensor and x.op in WORDS and WORDS[x.op].is_condition

    def emit(self, x: Symbol) -> str:
        """The name of a symbol's value; numbers of the step and leaves are arguments of the kernel."""
        if x not in self.values:
            if not x.tensor:
                self.values[x] = f"%n{len(self.numbers)}"
                self.numbers.append(x)
            elif not x.args or x in self.written:
                self.values[x] = f"%x{len(self.loads)}"
                self.loads.append(self.written.get(x, x.name))
            else:
                self.values[x] = self._compute(x)
        return self.values[x]

    def _compute(self, x: Symbol) -> str:
        form = WORDS[x.op].llvm
        assert form, x.op
        return str(form(self, x))

    def instruction(self, name: str, *args: Expr) -> str:
        """An instruction on values of the type."""
        return self.add(f"{name} {self.type} {', '.join([self.value(a) for a in args])}")

    def chosen(self, x: Symbol) -> str:
        """`where(c, a, b)`."""
        c = self.condition(x.args[0])
        a, b = (self.value(a) for a in x.args[1:])
        return self.add(f"select i1 {c}, {self.type} {a}, {self.type} {b}")

    def raised(self, x: Symbol) -> str:
        """`power(a, b)`."""
        if not self.vector:
            return self.call("pow", *map(self.value, x.args))
        power = self._power if self.type == "double" else self._short_power
        return power(self.value(x.args[0]), self.wide(x.args[1]))

    def divided(self, x: Symbol) -> str:
        """`a / b`; by a number it is one division a step, not one an element, and by a power a product."""
        over, under = x.args
        is_tensor = isinstance(under, Symbol) and under.tensor
        if self.vector and is_tensor and under.op == "pow":
            power = self._power if self.type == "double" else self._short_power
            base, exponent = under.args
            inverse = power(self.value(base), self.wide(apply("neg", exponent)))
            return self.add(f"fmul {self.type} {self.value(over)}, {inverse}")
        if self.vector and not is_tensor:
            return self.instruction("fmul contract", over, self.reciprocal(under))
        return self.instruction("fdiv contract", over, under)

    def epsilon(self, x: Symbol) -> str:
        """The distance from 1 to the next number in the type of x: a leaf's is that in memory."""
        type_ = self.type if x.args[0].args else self.stored.get(x.args[0].name, self.type)
        return _double({"bfloat": 2.0**-7, "float": 2.0**-23, "double": 2.0**-52}[type_])

    def sign(self, x: Symbol) -> str:
        """-1, 0 or 1."""
        t, value = self.type, self.value(x.args[0])
        below = self.add(f"fcmp olt {t} {value}, 0.0")
        above = self.add(f"fcmp ogt {t} {value}, 0.0")
        lower = self.add(f"select i1 {below}, {t} -1.0, {t} 0.0")
        return self.add(f"select i1 {above}, {t} 1.0, {t} {lower}")

    def _power(self, x: str, y: str) -> str:
        """x ** y for x >= 0 and a double y, as 2 ** (y log2 x): bits for the exponents, series for the fractions."""

        def series(u: str, terms: list[float]) -> str:
            total = _double(terms[-1])
            for term in reversed(terms[:-1]):
                scaled = self.add(f"fmul contract double {total}, {u}")
                total = self.add(f"fadd contract double {scaled}, {_double(term)}")
            return total

        bits = self.add(f"bitcast double {x} to i64")
        exponent = self.add(f"lshr i64 {bits}, 52")
        exponent = self.add(f"or i64 {exponent}, {0x4330 << 48}")
        exponent = self.add(f"bitcast i64 {exponent} to double")
        exponent = self.add(f"fsub double {exponent}, {_double(2.0**52 + 1023)}")
        fraction = self.add(f"and i64 {bits}, {(1 << 52) - 1}")
        fraction = self.add(f"or i64 {fraction}, {0x3FF << 52}")
        fraction = self.add(f"bitcast i64 {fraction} to double")
        above = self.add(f"fcmp ogt double {fraction}, {_double(math.sqrt(2))}")
        halved = self.add(f"fmul double {fraction}, 0.5")
        raised = self.add(f"fadd double {exponent}, 1.0")
        fraction = self.add(f"select i1 {above}, double {halved}, double {fraction}")
        exponent = self.add(f"select i1 {above}, double {raised}, double {exponent}")
        over, under = self.add(f"fsub double {fraction}, 1.0"), self.add(f"fadd double {fraction}, 1.0")
        s = self.add(f"fdiv double {over}, {under}")
        square = self.add(f"fmul double {s}, {s}")
        tail = series(square, [2 / math.log(2) / (2 * k + 1) for k in range(12)])
        log = self.add(f"fmul double {s}, {tail}")
        log = self.add(f"fadd double {exponent}, {log}")
        product = self.add(f"fmul double {y}, {log}")
        shifted = self.add(f"fadd double {product}, {_double(1.5 * 2.0**52)}")  # its last bits are the nearest integer
        most = _double(1.5 * 2.0**52 + 1023)  # the largest exponent there is; the series bears the half more
        high = self.add(f"fcmp ogt double {shifted}, {most}")
        shifted = self.add(f"select i1 {high}, double {most}, double {shifted}")
        whole = self.add(f"fsub double {shifted}, {_double(1.5 * 2.0**52)}")
        rest = self.add(f"fsub double {product}, {whole}")
        power = series(rest, [math.log(2) ** k / math.factorial(k) for k in range(14)])
        integer = self.add(f"bitcast double {shifted} to i64")
        integer = self.add(f"add i64 {integer}, 1023")
        integer = self.add(f"shl i64 {integer}, 52")
        scale = self.add(f"bitcast i64 {integer} to double")
        power = self.add(f"fmul double {power}, {scale}")
        power = self._replaced(power, f"fcmp oge double {product}, 1024.0", INFINITY)
        power = self._replaced(power, f"fcmp ole double {product}, -1022.0", "0.0")
        return self._at_the_ends(power, x, y, f"fcmp olt double {x}, 0x0010000000000000")

    def _replaced(self, value: str, test: str, instead: str) -> str:
        """A value, or where the test holds another."""
        return self.add(f"select i1 {self.add(test)}, {self.type} {instead}, {self.type} {value}")

    def _at_the_ends(self, power: str, x: str, y: str, is_zero: str) -> str:
        """A power x ** y, put right where x is 0, infinite, below 0 or NaN."""
        t, grows, falls = self.type, f"fcmp ogt double {y}, 0.0", f"fcmp olt double {y}, 0.0"
        at_zero = self._replaced(self._replaced("1.0", falls, INFINITY), grows, "0.0")
        at_infinity = self._replaced(self._replaced("1.0", falls, "0.0"), grows, INFINITY)
        power = self._replaced(power, is_zero, at_zero)
        power = self._replaced(power, f"fcmp oeq {t} {x}, {INFINITY}", at_infinity)
        return self._replaced(power, f"fcmp ult {t} {x}, 0.0", "0x7FF8000000000000")

    def _short_power(self, x: str, y: str) -> str:
        """x ** y in float32 for x >= 0 and a double y: as `_power`, with y in two floats so that no bit of y log2 x is lost."""

        def f(number: float) -> str:
            return _double(float(np.float32(number)))

        def series(u: str, terms: list[float]) -> str:
            total = f(terms[-1])
            for term in reversed(terms[:-1]):
                total = self.call("fma", total, u, f(term))
            return total

        high = self.add(f"fptrunc double {y} to float")
        back = self.add(f"fpext float {high} to double")
        left = self.add(f"fsub double {y}, {back}")
        low = self.add(f"fptrunc double {left} to float")
        tiny = self.add(f"fcmp olt float {x}, {_double(2.0**-126)}")
        raised = self.add(f"fmul float {x}, {f(2.0**24)}")
        scaled = self.add(f"select i1 {tiny}, float {raised}, float {x}")
        bits = self.add(f"bitcast float {scaled} to i32")
        shifted = self.add(f"sub i32 {bits}, {0x3F3504F3}")  # the square root of a half: fractions from there to twice that
        exponent = self.add(f"ashr i32 {shifted}, 23")
        whole = self.add(f"shl i32 {exponent}, 23")
        bits = self.add(f"sub i32 {bits}, {whole}")
        fraction = self.add(f"bitcast i32 {bits} to float")
        e = self.add(f"sitofp i32 {exponent} to float")
        less = self.add(f"fsub float {e}, 24.0")
        e = self.add(f"select i1 {tiny}, float {less}, float {e}")
        over = self.add(f"fsub float {fraction}, 1.0")
        log = self.add(f"fmul float {over}, {series(over, _LOG)}")
        product = self.add(f"fmul float {high}, {e}")
        minus = self.add(f"fneg float {product}")
        lost = self.call("fma", high, e, minus)
        lost = self.call("fma", low, e, lost)
        near = self.call("rint", product)
        rest = self.add(f"fsub float {product}, {near}")
        rest = self.add(f"fadd float {rest}, {lost}")
        rest = self.call("fma", high, log, rest)
        far = self.call("rint", rest)
        rest = self.add(f"fsub float {rest}, {far}")
        near = self.add(f"fadd float {near}, {far}")
        power = series(rest, [math.log(2) ** k / math.factorial(k) for k in range(8)])
        least = self.call("maxnum", near, f(-250.0))
        bound = self.call("minnum", least, f(254.0))
        n = self.add(f"fptosi float {bound} to i32")
        half = self.add(f"ashr i32 {n}, 1")
        for part in (half, self.add(f"sub i32 {n}, {half}")):  # two factors, so that the ends of the range come out right
            biased = self.add(f"add i32 {part}, 127")
            placed = self.add(f"shl i32 {biased}, 23")
            factor = self.add(f"bitcast i32 {placed} to float")
            power = self.add(f"fmul float {power}, {factor}")
        return self._at_the_ends(power, x, y, f"fcmp oeq float {x}, 0.0")

    def cube_root(self, symbol: Symbol) -> str:
        """The cube root: bits for a start, then Halley's iteration."""
        t, x = self.type, self.value(symbol.args[0])
        magic, integer, iterations = _CBRT[t]
        a = self.call("fabs", x)
        bits = self.add(f"bitcast {t} {a} to {integer}")
        third = self.add(f"udiv {integer} {bits}, 3")
        shifted = self.add(f"add {integer} {third}, {magic}")
        y = self.add(f"bitcast {integer} {shifted} to {t}")
        for _ in range(iterations):  # y <- y (y^3 + 2a) / (2 y^3 + a), as y - y (y^3 - a) / (2 y^3 + a)
            square = self.add(f"fmul {t} {y}, {y}")
            cube = self.add(f"fmul {t} {square}, {y}")
            over = self.add(f"fsub {t} {cube}, {a}")
            under = self.add(f"fadd {t} {cube}, {cube}")
            under = self.add(f"fadd {t} {under}, {a}")
            ratio = self.add(f"fdiv {t} {over}, {under}")
            move = self.add(f"fmul {t} {y}, {ratio}")
            y = self.add(f"fsub {t} {y}, {move}")
        least, most = "0x3810000000000000" if t == "float" else "0x0010000000000000", "0x7FF0000000000000"
        usual = self.add(f"fcmp oge {t} {a}, {least}")  # zeros and subnormals give zero, infinity and NaN themselves
        small = self.add(f"fmul {t} {a}, 0.0")
        small = self.add(f"select i1 {usual}, {t} {y}, {t} {small}")
        whole = self.add(f"fcmp one {t} {a}, {most}")
        root = self.add(f"select i1 {whole}, {t} {small}, {t} {a}")
        return self.call("copysign", root, x)


# How an element lies in memory: its type there, and its bytes. bfloat16 is the upper half of a float.
STORED = {"float": ("float", 4), "double": ("double", 8), "bfloat": ("i16", 2)}


def source(
    type_: str, targets: Mapping[str, Expr], sums: Sequence[Symbol], stored: dict[str, str], written: dict[Symbol, str]
) -> tuple[str, Body, list[str]]:
    """A pass in LLVM's language, computed in `type_`; `stored` has the type in memory of each letter, `written`
    the symbols that an earlier pass has written under their letters.

    Sums are taken in `type_` over a row, which is short for that reason (see `kernel.SHORT`), and in double over the rows.

    `part` runs a part of the table's rows, `team` is what each thread of a team calls to take its parts. Both get a block
    of addresses and counts (see `kernel.Table`). Returns the text, the body and the letter of each slot.
    """
    body = Body(type_, written, stored)
    stores = {letter: body.value(x) for letter, x in targets.items()}
    terms = []
    for x in sums:
        value = body.value(x.args[0])
        squares = x.reduction is not None and x.reduction.kind == "squares"
        terms.append(body.add(f"fmul {type_} {value}, {value}") if squares else value)
    slots = list(body.loads)
    slots += [letter for letter in stores if letter not in slots]
    dtypes = [stored[letter] for letter in slots]
    pointers = "".join(f"ptr noalias %a{i}, " for i in range(len(slots)))
    lines = [
        *sorted(body.declared),
        f"define internal void @row({pointers}i64 %n, ptr noalias %s, ptr noalias %r) noinline {{",
        "entry:",
    ]
    for i in range(len(body.numbers)):
        lines.append(f"  %q{i} = getelementptr double, ptr %s, i64 {i}")
        if type_ == "float":
            lines += [f"  %w{i} = load double, ptr %q{i}", f"  %n{i} = fptrunc double %w{i} to float"]
        else:
            lines.append(f"  %n{i} = load double, ptr %q{i}")
    lines += ["  %some = icmp sgt i64 %n, 0", "  br i1 %some, label %loop, label %done", "loop:"]
    lines.append("  %i = phi i64 [0, %entry], [%next, %loop]")
    lines += [f"  %sum{i} = phi {type_} [0.0, %entry], [%new{i}, %loop]" for i in range(len(terms))]
    for i, dtype in enumerate(dtypes):
        lines.append(f"  %e{i} = getelementptr {STORED[dtype][0]}, ptr %a{i}, i64 %i")
    for i in range(len(body.loads)):
        lines += _read(i, dtypes[i], type_)
    lines += body.lines
    for letter, value in stores.items():
        lines += _write(slots.index(letter), stored[letter], type_, value)
    lines += [f"  %new{i} = fadd reassoc {type_} %sum{i}, {term}" for i, term in enumerate(terms)]
    lines += [
        "  %next = add nuw nsw i64 %i, 1",
        "  %end = icmp eq i64 %next, %n",
        "  br i1 %end, label %done, label %loop",
        "done:",
    ]
    for i in range(len(terms)):
        lines.append(f"  %final{i} = phi {type_} [0.0, %entry], [%new{i}, %loop]")
    for i in range(len(terms)):
        wide = f"%final{i}"
        if type_ == "float":
            wide = f"%wide{i}"
            lines.append(f"  {wide} = fpext float %final{i} to double")
        lines += [f"  %o{i} = getelementptr double, ptr %r, i64 {i}", f"  store double {wide}, ptr %o{i}"]
    lines += ["  ret void", "}", *_table(dtypes, len(body.numbers), len(terms)), *_team()]
    return "\n".join(lines) + "\n", body, slots


def _read(i: int, dtype: str, type_: str) -> list[str]:
    """Load an element of slot i as the type computed in."""
    if dtype == type_:
        return [f"  %x{i} = load {type_}, ptr %e{i}"]
    if dtype == "bfloat":
        short = [f"  %xs{i} = load i16, ptr %e{i}", f"  %xi{i} = zext i16 %xs{i} to i32", f"  %xh{i} = shl i32 %xi{i}, 16"]
        if type_ == "float":
            return [*short, f"  %x{i} = bitcast i32 %xh{i} to float"]
        return [*short, f"  %xf{i} = bitcast i32 %xh{i} to float", f"  %x{i} = fpext float %xf{i} to double"]
    how = "fpext" if dtype == "float" else "fptrunc"
    return [f"  %xs{i} = load {dtype}, ptr %e{i}", f"  %x{i} = {how} {dtype} %xs{i} to {type_}"]


def _write(i: int, dtype: str, type_: str, value: str) -> list[str]:
    """Store an element of slot i; to bfloat16 it is rounded to the nearest, ties to even."""
    if dtype == type_:
        return [f"  store {type_} {value}, ptr %e{i}"]
    if dtype == "bfloat":
        narrowed = [f"  %yf{i} = fptrunc double {value} to float"] if type_ == "double" else []  # as torch rounds it, twice
        value = f"%yf{i}" if narrowed else value
        return [
            *narrowed,
            f"  %yb{i} = bitcast float {value} to i32",
            f"  %yu{i} = lshr i32 %yb{i}, 16",
            f"  %yl{i} = and i32 %yu{i}, 1",
            f"  %yh{i} = add i32 %yl{i}, 32767",
            f"  %yr{i} = add i32 %yb{i}, %yh{i}",
            f"  %yn{i} = fcmp uno float {value}, 0.0",
            f"  %yq{i} = select i1 %yn{i}, i32 {0x7FC0 << 16}, i32 %yr{i}",
            f"  %yt{i} = lshr i32 %yq{i}, 16",
            f"  %ys{i} = trunc i32 %yt{i} to i16",
            f"  store i16 %ys{i}, ptr %e{i}",
        ]
    how = "fptrunc" if type_ == "double" else "fpext"
    return [f"  %ys{i} = {how} {type_} {value} to {dtype}", f"  store {dtype} %ys{i}, ptr %e{i}"]


# What lies in the block of addresses and counts that `part` and `team` get, in this order.
BLOCK = ("cuts", "parts", "tensor", "begin", "length", "which", "numbers", "out", "thread", "threads", "pointers", "tensors")


def _field(name: str) -> list[str]:
    place = f"  %at.{name} = getelementptr i64, ptr %block, i64 {BLOCK.index(name)}"
    type_ = "i64" if name in ("parts", "tensors") else "ptr"
    return [place, f"  %{name} = load {type_}, ptr %at.{name}"]


def _table(dtypes: list[str], numbers: int, sums: int) -> list[str]:
    """`part(k, block)`: the k-th part of the table's rows, each a stretch of one tensor, with its set of numbers."""

    def item(array: str, at: str, name: str) -> list[str]:
        return [f"  %{name}.p = getelementptr i64, ptr %{array}, i64 {at}", f"  %{name} = load i64, ptr %{name}.p"]

    lines = ["define void @part(i64 %k, ptr %block) {", "entry:"]
    for name in ("cuts", "tensor", "begin", "length", "which", "numbers", "out", "pointers", "tensors"):
        lines += _field(name)
    lines += [*item("cuts", "%k", "first"), "  %after = add i64 %k, 1", *item("cuts", "%after", "last")]
    lines += ["  %some = icmp slt i64 %first, %last", "  br i1 %some, label %loop, label %done", "loop:"]
    lines += ["  %i = phi i64 [%first, %entry], [%next, %loop]"]
    for array in ("tensor", "begin", "length"):
        lines += item(array, "%i", f"row.{array}")
    lines += item("which", "%row.tensor", "set")
    for i, dtype in enumerate(dtypes):
        lines += [f"  %j{i}.0 = mul i64 %tensors, {i}", f"  %j{i} = add i64 %j{i}.0, %row.tensor"]
        lines += [f"  %b{i} = getelementptr i64, ptr %pointers, i64 %j{i}", f"  %c{i}.0 = load ptr, ptr %b{i}"]
        lines.append(f"  %c{i} = getelementptr {STORED[dtype][0]}, ptr %c{i}.0, i64 %row.begin")
    lines += [f"  %s.0 = mul i64 %set, {numbers}", "  %s = getelementptr double, ptr %numbers, i64 %s.0"]
    lines += [f"  %r.0 = mul i64 %i, {sums}", "  %r = getelementptr double, ptr %out, i64 %r.0"]
    passed = "".join(f"ptr %c{i}, " for i in range(len(dtypes)))
    lines += [f"  call void @row({passed}i64 %row.length, ptr %s, ptr %r)", "  %next = add i64 %i, 1"]
    return [*lines, "  %end = icmp eq i64 %next, %last", "  br i1 %end, label %done, label %loop", "done:", "  ret void", "}"]


def _team() -> list[str]:
    """`team(block)`: every parts-th part, from this thread's own number on; OpenMP tells the numbers."""
    lines = ["define void @team(ptr %block) {", "entry:"]
    for name in ("parts", "thread", "threads"):
        lines += _field(name)
    return [
        *lines,
        *("  %me = call i32 %thread()", "  %all = call i32 %threads()", "  %k0 = zext i32 %me to i64"),
        *("  %by = zext i32 %all to i64", "  br label %loop", "loop:", "  %k = phi i64 [%k0, %entry], [%next, %more]"),
        *("  %some = icmp slt i64 %k, %parts", "  br i1 %some, label %more, label %done", "more:"),
        *("  call void @part(i64 %k, ptr %block)", "  %next = add i64 %k, %by", "  br label %loop", "done:", "  ret void", "}"),
    ]
