"""The numbers of a step: those known so far, and what is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..rules.symbols import Expr, Symbol
from ..rules.words import WORDS, Form

Numbers = NDArray[np.float64]
Index = NDArray[np.int64]
Sums = Numbers | Tensor  # of reductions: NumPy's from the CPU; from a device tensors, which stay there
Number = float | Numbers | Tensor  # one for all tensors of a work, or (tensors,), one for each; a tensor is on the device
Value = Tensor | float  # of a symbol, or of a piece of state


@dataclass
class Known:
    """The numbers of a step known so far; `rows` is 1 where all tensors share them, else the number of tensors.

    `device` is where the values of reductions are tensors; None where all values are NumPy's and Python's.
    """

    values: dict[Symbol, Number]
    rows: int
    device: torch.device | None = None

    def of(self, i: int) -> dict[Symbol, Value]:
        """The numbers of tensor i."""
        return {x: _row(v, i) for x, v in self.values.items()}


def _row(v: Number, i: int) -> Value:
    if isinstance(v, np.ndarray):
        return float(v[i])
    return v[i] if isinstance(v, Tensor) and v.ndim else v


class Call(NamedTuple):
    """A form that computes a symbol, and its arguments."""

    form: Form
    args: tuple[Expr, ...]


def evaluate(
    x: Expr,
    known: dict[Symbol, Any],
    leaf: Callable[[Symbol], Tensor] | None = None,
    call: Callable[[Symbol], Call | None] = lambda x: None,
) -> Any:
    """The value of a symbol: a tensor, an array or a number.

    `known` has leaves and reductions, and caches what is computed; `leaf` gives tensors. `call` gives another way to compute a
    symbol than its own operation, or None.
    """
    if not isinstance(x, Symbol):
        return x
    if x not in known:
        if x.args:
            other = call(x)
            values = [evaluate(a, known, leaf, call) for a in (other.args if other else x.args)]
            known[x] = (other.form if other else _form(x.op, {*map(type, values)}))(*values)
        else:
            assert leaf is not None
            known[x] = leaf(x)
    return known[x]


def _form(op: str, types: set[type]) -> Form:
    """The form of an operation for arguments of these types."""
    word = WORDS[op]
    if word.number is None or any(issubclass(t, Tensor) for t in types):
        return word.tensor
    if np.ndarray not in types:
        return word.number
    return getattr(np, word.array) if isinstance(word.array, str) else word.array  # type: ignore[return-value]


def numeric(targets: Sequence[Symbol | float]) -> Callable[[Known], list[Number]]:
    """A function of the known numbers that computes others: Python floats, float64 arrays of all rows, or device tensors.

    On the host they are compiled to Python, for numbers and for arrays: a small step takes as long as walking its symbols.
    """
    names: dict[Symbol, str] = {}
    lines: list[str] = []
    space: dict[str, Any] = {}

    def name(x: Symbol | float) -> str:
        if not isinstance(x, Symbol):
            space[f"c{len(space)}"] = x
            return f"c{len(space) - 1}"
        if x not in names:
            if x.args and not x.reduction:
                text = f"{x.op}({', '.join(name(a) for a in x.args)})"
            else:
                space[f"s{len(space)}"] = x
                text = f"known[s{len(space) - 1}]"
            names[x] = f"n{len(names)}"
            lines.append(f"    {names[x]} = {text}")
        return names[x]

    answer = f"    return [{', '.join([name(x) for x in targets])}]"
    text, compiled = "\n".join(["def compute(known):", *lines, answer]), []
    numbers = {op: word.number for op, word in WORDS.items()}
    arrays = {op: getattr(np, word.array) if isinstance(word.array, str) else word.array for op, word in WORDS.items()}
    for operations in (numbers, arrays):
        names_of: dict[str, Any] = space | operations
        exec(text, names_of)
        compiled.append(names_of["compute"])

    def call(known: Known) -> list[Number]:
        if known.device is None and known.rows == 1:
            return compiled[0](known.values)  # type: ignore[no-any-return]
        with np.errstate(all="ignore"):
            if known.device is None:
                return compiled[1](known.values)  # type: ignore[no-any-return]
            there = {
                x: torch.from_numpy(v).to(known.device) if isinstance(v, np.ndarray) else v for x, v in known.values.items()
            }
            return [evaluate(x, there) for x in targets]

    return call
