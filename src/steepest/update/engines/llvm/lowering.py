"""The operations of a traced pass in LLVM's language."""

from __future__ import annotations

import numpy as np

from ....rules.symbols import Expr, Symbol, apply
from ....rules.words import WORDS
from .powers import cube_root, double, power


class Body:
    """The body of a kernel's loop, in LLVM's language, for the symbols of one pass.

    `vector` says that the loop runs over elements, so that powers must be written out for LLVM to take several at once.
    """

    vector = True

    def __init__(self, type_: str, written: dict[Symbol, str] | None = None, stored: dict[str, str] | None = None) -> None:
        self.type, self.lines = type_, list[str]()
        self.stored = stored or {}  # the type in memory of each letter
        self.written = written or {}  # the letter of each symbol that an earlier pass has written
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
        return double(value)

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
            return double(float(x))
        return self.emit(x).replace("%n", "%w") if self.type == "float" else self.emit(x)

    def condition(self, x: Expr) -> str:
        """The value of a symbol as a truth."""
        if isinstance(x, Symbol) and self.inline(x):
            return self.emit(x)
        return self.add(f"fcmp une {self.type} {self.value(x)}, 0.0")

    def reciprocal(self, x: Expr) -> Expr:
        """1 / x for a number, once for all divisions by it."""
        if not isinstance(x, Symbol):
            return 1.0 / x
        if x not in self.reciprocals:
            self.reciprocals[x] = apply("div", 1.0, x)
        return self.reciprocals[x]

    def inline(self, x: Expr) -> bool:
        """Whether this symbol is a comparison of tensors, which has LLVM's type of truths."""
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
        return power(self, self.value(x.args[0]), self.wide(x.args[1]))

    def divided(self, x: Symbol) -> str:
        """`a / b`; by a number it is one division a step, not one an element, and by a power a product."""
        over, under = x.args
        is_tensor = isinstance(under, Symbol) and under.tensor
        if self.vector and is_tensor and under.op == "pow":
            base, exponent = under.args
            inverse = power(self, self.value(base), self.wide(apply("neg", exponent)))
            return self.add(f"fmul {self.type} {self.value(over)}, {inverse}")
        if self.vector and not is_tensor:
            return self.instruction("fmul contract", over, self.reciprocal(under))
        return self.instruction("fdiv contract", over, under)

    def epsilon(self, x: Symbol) -> str:
        """The distance from 1 to the next number in the type of x: a leaf's is that in memory."""
        type_ = self.type if x.args[0].args else self.stored.get(x.args[0].name, self.type)
        return double({"bfloat": 2.0**-7, "float": 2.0**-23, "double": 2.0**-52}[type_])

    def cube_root(self, x: Symbol) -> str:
        """`cbrt(a)`."""
        return cube_root(self, self.value(x.args[0]))

    def sign(self, x: Symbol) -> str:
        """-1, 0 or 1."""
        t, value = self.type, self.value(x.args[0])
        below = self.add(f"fcmp olt {t} {value}, 0.0")
        above = self.add(f"fcmp ogt {t} {value}, 0.0")
        lower = self.add(f"select i1 {below}, {t} -1.0, {t} 0.0")
        return self.add(f"select i1 {above}, {t} 1.0, {t} {lower}")
