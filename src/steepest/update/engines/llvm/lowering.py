"""The operations of a traced pass in LLVM's language."""

from __future__ import annotations

from ....rules.symbols import Expr, Symbol, apply
from ....rules.words import WORDS
from .powers import Value, constant, cube_root, double, power

STORED = {"float": "float", "double": "double", "bfloat": "i16"}  # the type in memory: bfloat16 is a float's upper half


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
        self.slots: list[str] = []  # the letters that are read or written
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
        return constant(self.type, float(x))

    def of(self, x: Expr) -> Value:
        """The value of a symbol or number, for Python's operators."""
        return Value(self, self.type, self.value(x))

    def call(self, name: str, *args: str) -> str:
        """Call an intrinsic on values of the type."""
        full = f"llvm.{name}.{'f32' if self.type == 'float' else 'f64'}"
        self.declared.add(f"declare {self.type} @{full}({', '.join([self.type] * len(args))})")
        return self.add(f"call {self.type} @{full}({', '.join(f'{self.type} {a}' for a in args)})")

    def value(self, x: Expr) -> str:
        """The value of a symbol or number as the type; conditions become 0 or 1."""
        if not isinstance(x, Symbol):
            return self.constant(x)
        name = self.emit(x)
        if self.inline(x):
            return self.add(f"uitofp i1 {name} to {self.type}")
        return name

    def wide(self, x: Expr) -> Value:
        """A number of the step as a double, before it is rounded to the type."""
        if not isinstance(x, Symbol):
            return Value(self, "double", double(float(x)))
        return Value(self, "double", self.emit(x).replace("%n", "%w") if self.type == "float" else self.emit(x))

    def condition(self, x: Expr) -> str:
        """The value of a symbol as a truth."""
        if isinstance(x, Symbol) and self.inline(x):
            return self.emit(x)
        return self.of(x).compare("une", 0.0)

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
                self.values[x] = self.load(self.written.get(x, x.name))
            else:
                self.values[x] = self._compute(x)
        return self.values[x]

    def _place(self, letter: str) -> str:
        """The address of this element of a letter."""
        if letter not in self.slots:
            self.slots.append(letter)
        return self.add(f"getelementptr {STORED[self.stored[letter]]}, ptr %a{self.slots.index(letter)}, i64 %i")

    def load(self, letter: str) -> str:
        """Load an element of a letter in the type computed in."""
        place, stored = self._place(letter), STORED[self.stored[letter]]
        value = Value(self, stored, self.add(f"load {stored}, ptr {place}"))
        if stored == "i16":
            value = (value.cast("zext", "i32") << 16).cast("bitcast", "float")
        return value.to(self.type).name

    def store(self, letter: str, value: Value) -> None:
        """Store an element of a letter; to bfloat16 it is rounded to the nearest, ties to even."""
        stored = STORED[self.stored[letter]]
        if stored == "i16":
            short = value.to("float")  # as torch rounds it, twice
            bits = short.cast("bitcast", "i32")
            rounded = bits + (((bits >> 16) & 1) + 32767)
            rounded = rounded.where(short.compare("uno", 0.0), 0x7FC0 << 16)
            value = (rounded >> 16).cast("trunc", "i16")
        else:
            value = value.to(stored)
        self.lines.append(f"  store {stored} {value.name}, ptr {self._place(letter)}")

    def _compute(self, x: Symbol) -> str:
        form = WORDS[x.op].llvm
        assert form, x.op
        return str(form(self, x))

    def instruction(self, name: str, *args: Expr) -> str:
        """An instruction on values of the type."""
        return self.add(f"{name} {self.type} {', '.join([self.value(a) for a in args])}")

    def chosen(self, x: Symbol) -> str:
        """`where(c, a, b)`."""
        condition, a, b = x.args
        return self.of(b).where(self.condition(condition), self.of(a)).name

    def raised(self, x: Symbol) -> str:
        """`power(a, b)`."""
        if not self.vector:
            return self.call("pow", *map(self.value, x.args))
        return power(self.of(x.args[0]), self.wide(x.args[1])).name

    def divided(self, x: Symbol) -> str:
        """`a / b`; by a number it is one division a step, not one an element, and by a power a product."""
        over, under = x.args
        is_tensor = isinstance(under, Symbol) and under.tensor
        if self.vector and is_tensor and under.op == "pow":
            base, exponent = under.args
            inverse = power(self.of(base), self.wide(apply("neg", exponent)))
            return (self.of(over) * inverse).name
        if self.vector and not is_tensor:
            return self.instruction("fmul contract", over, self.reciprocal(under))
        return self.instruction("fdiv contract", over, under)

    def epsilon(self, x: Symbol) -> str:
        """The distance from 1 to the next number in the type of x: a leaf's is that in memory."""
        type_ = self.type if x.args[0].args else self.stored.get(x.args[0].name, self.type)
        return double({"bfloat": 2.0**-7, "float": 2.0**-23, "double": 2.0**-52}[type_])

    def cube_root(self, x: Symbol) -> str:
        """`cbrt(a)`."""
        return cube_root(self.of(x.args[0])).name

    def sign(self, x: Symbol) -> str:
        """-1, 0 or 1."""
        value = self.of(x.args[0])
        negative = self.of(0.0).where(value.compare("olt", 0.0), -1.0)
        return negative.where(value.compare("ogt", 0.0), 1.0).name
