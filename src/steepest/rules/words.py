"""The operations of rules: one table with all forms of each, read by all code that runs or prints a rule.

Forms use methods of their arguments, so that this module imports neither NumPy nor torch.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Form = Callable[..., Any]


@dataclass(frozen=True)
class Word:
    """The forms of an operation.

    number: for Python floats, following IEEE 754: division by zero and roots of negatives do not raise.
    array: for float64 arrays with one element for each set of numbers; the name of a NumPy function, or a form.
    tensor: for torch tensors; all arguments but one may be numbers.
    llvm: `llvm(body, symbol)` emits it in a loop over elements; None for operations on rows and columns.
    latex: `latex(show, *arguments)`: the text and its precedence (0 comparison, 1 sum, 2 product, 3 power, 4 brackets).
    javascript: the same in JavaScript (0 choice, 1 comparison, 2 sum, 3 product, 4 sign, 5 power, 6 brackets), or the name of
        a function; None for operations on rows and columns.
    """

    number: Form | None
    array: Form | str | None
    tensor: Form
    llvm: Form | None
    latex: Form
    javascript: Form | str | None = None
    is_condition: bool = False


def _divide(x: float, y: float) -> float:
    if y:
        return x / y
    return math.nan if x == 0 or math.isnan(x) or math.isnan(y) else math.copysign(math.inf, x) * math.copysign(1.0, y)


def _power(x: float, y: float) -> float:
    try:
        power = x**y
    except (ZeroDivisionError, OverflowError):
        return math.inf
    return math.nan if isinstance(power, complex) else power


def _of_two(choose: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda x, y: math.nan if math.isnan(x) or math.isnan(y) else choose(x, y)


def is_number(x: Any) -> bool:
    """Whether an argument of a tensor form is a Python number."""
    return isinstance(x, int | float)


def _bounded(with_number: Form, of_two: Form) -> Form:
    """Make the form of maximum or minimum, one argument of which may be a number."""

    def call(x: Any, y: Any) -> Any:
        if not is_number(x) and not is_number(y):
            return of_two(x, y)
        tensor, number = (y, x) if is_number(x) else (x, y)
        return with_number(tensor, number) if number == number else tensor.new_full(tensor.shape, number)

    return call


def _where(c: Any, x: Any, y: Any) -> Any:
    if isinstance(c, bool | int | float):
        return x if c else y
    c = c.bool()
    if is_number(x) and is_number(y):
        x = c.double().fill_(x)  # two numbers would give the default dtype, which may be less precise
    return x.where(c, y) if not is_number(x) else y.where(~c, x)


def _orthogonal(x: Any, a: float, b: float, c: float, eps: float, steps: int, precise: int) -> Any:
    """Newton-Schulz iterations towards the nearest orthogonal matrix, in the order of operations of torch.optim.Muon."""
    if not x.numel():
        return x
    flat = x.reshape(len(x), -1)
    tall = flat.shape[0] > flat.shape[1]
    y = flat.T if tall else flat
    y = y if precise else y.bfloat16()
    y = y / y.norm().clamp(min=eps)
    for _ in range(steps):
        gram = y @ y.T
        y = y.addmm(gram.addmm(gram, gram, beta=b, alpha=c), y, beta=a)
    return (y.T if tall else y).reshape(x.shape).to(x.dtype)


def _epsilon(x: Any) -> float:
    one = x.new_ones(())
    return float(one.nextafter(one + one) - one)


def _infix(sign: str, own: int, right: int) -> Form:
    return lambda show, a, b: (f"{show(a, own or 1)} {sign} {show(b, right)}", own)


def _binary(sign: str, own: int) -> Form:
    """A binary operator of JavaScript, left-associative as in Python."""
    return lambda show, a, b: (f"{show(a, own)} {sign} {show(b, own + 1)}", own)


def _product(show: Form, a: Any, b: Any) -> tuple[str, int]:
    return (f"{show(a, 4)}^2", 3) if show(a, 4) == show(b, 4) else (rf"{show(a, 2)} \, {show(b, 2)}", 2)


def _cases(show: Form, c: Any, x: Any, y: Any) -> tuple[str, int]:
    return rf"\begin{{cases}} {show(x)} & {show(c)} \\ {show(y)} & \text{{else}} \end{{cases}}", 4


def _called(name: str) -> Form:
    return lambda show, *a: (rf"\operatorname{{{name}}}\left({', '.join(map(show, a))}\right)", 4)


def _arithmetic(name: str) -> Form:
    return lambda body, x: body.instruction(f"{name} contract", *x.args)


def _intrinsic(name: str) -> Form:
    return lambda body, x: body.call(name, *map(body.value, x.args))


def _comparison(form: Form, test: str, sign: str, script: str) -> Word:
    llvm = lambda body, x: body.instruction(f"fcmp {test}", *x.args)  # noqa: E731
    return Word(form, form, form, llvm, _infix(sign, 0, 1), _binary(script, 1), is_condition=True)


def _matrix(form: Form, name: str) -> Word:
    return Word(None, None, form, None, _called(name))


WORDS: dict[str, Word] = {
    "add": Word(operator.add, operator.add, operator.add, _arithmetic("fadd"), _infix("+", 1, 1), _binary("+", 2)),
    "sub": Word(operator.sub, operator.sub, operator.sub, _arithmetic("fsub"), _infix("-", 1, 2), _binary("-", 2)),
    "mul": Word(operator.mul, operator.mul, operator.mul, _arithmetic("fmul"), _product, _binary("*", 3)),
    "div": Word(
        _divide, "divide", operator.truediv, lambda body, x: body.divided(x),
        lambda show, a, b: (rf"\frac{{{show(a)}}}{{{show(b)}}}", 3), _binary("/", 3),
    ),
    "pow": Word(
        _power, "power", operator.pow, lambda body, x: body.raised(x), lambda show, a, b: (f"{show(a, 4)}^{{{show(b)}}}", 3),
        lambda show, a, b: (f"{show(a, 6)} ** {show(b, 4)}", 5),
    ),
    "neg": Word(
        operator.neg, operator.neg, operator.neg, lambda body, x: body.instruction("fneg", *x.args),
        lambda show, a: (f"-{show(a, 2)}", 1), lambda show, a: (f"-{show(a, 6)}", 4),
    ),
    "abs": Word(abs, abs, abs, _intrinsic("fabs"), lambda show, a: (rf"\left|{show(a)}\right|", 4), "Math.abs"),
    "sqrt": Word(
        lambda x: math.sqrt(x) if x >= 0 else math.nan, "sqrt", lambda x: x.sqrt(), _intrinsic("sqrt"),
        lambda show, a: (rf"\sqrt{{{show(a)}}}", 4), "Math.sqrt",
    ),
    "cbrt": Word(
        math.cbrt, "cbrt", lambda x: x.sign() * x.abs().pow(1 / 3), lambda body, x: body.cube_root(x), _called("cbrt"),
        "Math.cbrt",
    ),
    "sign": Word(
        lambda x: float((x > 0) - (x < 0)), lambda x: (x > 0) * 1.0 - (x < 0), lambda x: x.sign(), lambda body, x: body.sign(x),
        _called("sign"), "sign",
    ),
    "maximum": Word(
        _of_two(max), "maximum", _bounded(lambda x, y: x.clamp(min=y), lambda x, y: x.maximum(y)), _intrinsic("maximum"),
        _called("max"), "Math.max",
    ),
    "minimum": Word(
        _of_two(min), "minimum", _bounded(lambda x, y: x.clamp(max=y), lambda x, y: x.minimum(y)), _intrinsic("minimum"),
        _called("min"), "Math.min",
    ),
    "gt": _comparison(operator.gt, "ogt", ">", ">"),
    "lt": _comparison(operator.lt, "olt", "<", "<"),
    "ge": _comparison(operator.ge, "oge", r"\ge", ">="),
    "le": _comparison(operator.le, "ole", r"\le", "<="),
    "eq": _comparison(operator.eq, "oeq", "=", "==="),
    "ne": _comparison(operator.ne, "une", r"\ne", "!=="),
    "where": Word(
        lambda c, x, y: x if c else y, "where", _where, lambda body, x: body.chosen(x), _cases,
        lambda show, c, x, y: (f"{show(c, 1)} ? {show(x, 1)} : {show(y, 1)}", 0),
    ),
    "epsilon": Word(
        None, None, _epsilon, lambda body, x: body.epsilon(x), _called("ulp"), lambda show, x: ("Number.EPSILON", 6)
    ),
    "row mean": _matrix(lambda x: x.mean(-1, keepdim=True), "rowmean"),
    "column mean": _matrix(lambda x: x.mean(-2, keepdim=True), "colmean"),
    "rows": _matrix(lambda x: float(x.shape[0]), "rows"),
    "columns": _matrix(lambda x: float(math.prod(x.shape[1:])), "columns"),
    "orthogonal": _matrix(_orthogonal, "NewtonSchulz"),
}  # fmt: skip
