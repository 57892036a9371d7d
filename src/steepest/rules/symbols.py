"""Symbols, the values with which a rule is traced: numbers that change from step to step, and tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

from .words import WORDS


class RefusedError(TypeError):
    """Raised for an operation that rules may not use; tracing adds the rule's name and line."""


# Tensors that the engine draws at each step from the run's key: standard normal, and -1 or 1 with equal probability.
NOISES = ("normal", "random sign")


# Called for each new symbol while a rule is traced: the frame of the rule's function is then on the stack.
watching: ContextVar[Callable[[], None] | None] = ContextVar("watching", default=None)

# Attributes of tensors that would change or read a shape.
SHAPES = (
    *("shape", "size", "dim", "ndim", "numel", "sum"),
    *("view", "reshape", "flatten", "unsqueeze", "T", "t", "transpose"),
)


@dataclass(frozen=True)
class Reduction:
    """A reduction to a number: the "sum", "mean", or sum of "squares", over a "tensor" or the "model"."""

    kind: str
    over: str

    def __str__(self) -> str:
        return f"{'sum of squares' if self.kind == 'squares' else self.kind} over {self.over}"

    def term(self, x: Any) -> Any:
        """The term that an element adds to the sum."""
        return x * x if self.kind == "squares" else x

    def of(self, total: Any, count: Any) -> Any:
        """The result, from the sum of the terms and their count."""
        return total / count if self.kind == "mean" else total


def _with_right(op: str) -> Any:
    """A method that applies an operation to a symbol and the operand to the right of it."""
    return lambda self, x: apply(op, self, x)


def _with_left(op: str) -> Any:
    """A method that applies an operation to the operand to the left of a symbol, and the symbol."""
    return lambda self, x: apply(op, x, self)


class Symbol:
    """A node of a traced rule: a `tensor` with one element for each of the parameter's, or one number.

    `flag` is the truth value of a hyperparameter in this trace, `asked` whether an `if` has used it, `stage` the number of
    passes over memory before the node can be computed.
    """

    __slots__ = ("args", "asked", "flag", "name", "op", "reduction", "stage", "tensor")
    __array_ufunc__ = None  # so that NumPy's functions raise instead of looping

    def __init__(self, op: str, args: tuple[Any, ...] = (), *, tensor: bool = False, name: str = "", flag: bool | None = None):
        self.op, self.args, self.tensor, self.name, self.flag, self.asked = op, args, tensor, name, flag, False
        self.reduction: Reduction | None = None
        self.stage: int = max((a.stage for a in args if isinstance(a, Symbol)), default=0)
        watch = watching.get()
        if watch is not None:
            watch()

    __hash__ = object.__hash__

    __add__, __radd__ = _with_right("add"), _with_left("add")
    __sub__, __rsub__ = _with_right("sub"), _with_left("sub")
    __mul__, __rmul__ = _with_right("mul"), _with_left("mul")
    __truediv__, __rtruediv__ = _with_right("div"), _with_left("div")
    __gt__, __lt__ = _with_right("gt"), _with_right("lt")
    __ge__, __le__ = _with_right("ge"), _with_right("le")
    __eq__, __ne__ = _with_right("eq"), _with_right("ne")

    def __pow__(self, x: Any) -> Any:
        if self.tensor:
            if isinstance(x, int) and not isinstance(x, bool) and x in (2, 3):
                return self * self if x == 2 else self * self * self
            raise RefusedError("raises a tensor to a power; write x * x, sqrt(x), cbrt(x) or power(x, y)")
        return apply("pow", self, x)

    def __rpow__(self, x: Any) -> Any:
        if self.tensor:
            raise RefusedError("has a tensor as exponent, which no engine supports")
        return apply("pow", x, self)

    def __neg__(self) -> Any:
        return apply("neg", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return apply("abs", self)

    def __bool__(self) -> bool:
        if self.flag is not None:
            self.asked = True
            return self.flag
        kind = "a tensor" if self.tensor else "a number that changes from step to step"
        raise RefusedError(f"decides by Python's if, and, or, not, min or max on {kind}; write where(condition, x, y)")

    def _in_place(self, *_: object) -> NoReturn:
        raise RefusedError("writes in place; a rule makes new values, such as m = m + g, and returns them")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __setitem__ = _in_place

    def _shape(self, *_: object) -> NoReturn:
        raise RefusedError("changes or reads a shape; a rule works element by element, and norm or mean look further")

    __getitem__ = __iter__ = __len__ = __matmul__ = __rmatmul__ = _shape

    def _number(self) -> NoReturn:
        raise RefusedError("hands a symbol to a function outside the vocabulary; use sqrt, cbrt, where, maximum, ...")

    __float__ = __int__ = __index__ = __complex__ = _number

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.endswith("_"):
            self._in_place()
        if name in SHAPES:
            self._shape()
        raise RefusedError(f"uses the method .{name}; a rule is written with the vocabulary: sqrt, cbrt, where, maximum, ...")

    def __repr__(self) -> str:
        return self.name or f"{self.op}({', '.join(map(repr, self.args))})"


VALUE = "its value"


def _comparison(test: Callable[[Any, Any], bool]) -> Any:
    """A method that compares a static with a value, and records it."""
    return lambda self, other: bool(test(self._value, self._compared(other)))


class Static:
    """A bool, int or str hyperparameter during tracing: it may be compared, but not computed with.

    `asked` lists the values that it was compared with; None means its truth value, VALUE the value itself.
    """

    def __init__(self, name: str, value: Any) -> None:
        self._name, self._value = name, value
        self.asked: list[Any] = []

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        self.asked.append(None)
        return bool(self._value)

    def _compared(self, other: Any) -> Any:
        """Record a comparison; between two statics, the values of both are recorded."""
        if isinstance(other, Static):
            self.asked.append(VALUE)
            return other.value
        self.asked.append(other)
        return other

    __eq__, __lt__, __gt__ = _comparison(operator.eq), _comparison(operator.lt), _comparison(operator.gt)

    def _refuse(self, *_: object) -> NoReturn:
        kind = type(self._value).__name__
        raise RefusedError(
            f"computes with {self._name}, which is static because its default is a {kind}: ask it in an if, "
            "or give it a float for a default"
        )

    @property
    def value(self) -> Any:
        """The value, for the functions of the vocabulary that take a static."""
        self.asked.append(VALUE)
        return self._value

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __pow__ = __rpow__ = __neg__ = __abs__ = __float__ = __int__ = __index__ = _refuse


Expr = Symbol | float  # a value in a traced rule: a node, or a number known during tracing


def apply(op: str, *args: Any) -> Any:
    """Apply an operation: numbers are computed immediately, symbols give a new node. RefusedError for anything else."""
    for x in args:
        if isinstance(x, Static):
            x._refuse()
        if not isinstance(x, Symbol | int | float):
            raise RefusedError(f"computes with a {type(x).__name__}; a rule has numbers, hyperparameters, state, p and g")
    if not any(isinstance(x, Symbol) for x in args):
        number = WORDS[op].number
        if number is None:
            raise RefusedError(f"takes the {op} of a number; expected a tensor")
        return number(*args)
    if op in ("mul", "div") and _is_one(args[1]):
        return args[0]
    if op == "mul" and _is_one(args[0]):
        return args[1]
    return Symbol(op, args, tensor=any(isinstance(x, Symbol) and x.tensor for x in args))


def _is_one(x: Any) -> bool:
    return not isinstance(x, Symbol) and x == 1


def reduce(kind: str, x: Any, over: str) -> Symbol:
    """Reduce a tensor, or all tensors of the model, to a number, which is available one pass later."""
    if not (isinstance(x, Symbol) and x.tensor):
        raise RefusedError(f"takes the {kind} of something other than a tensor")
    if over not in ("tensor", "model"):
        raise RefusedError(f"takes the {kind} over {over!r}; expected 'tensor' or 'model'")
    made = Symbol("reduce", (x,))
    made.reduction = Reduction(kind, over)
    made.stage = x.stage + 1
    return made
