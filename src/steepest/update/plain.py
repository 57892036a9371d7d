"""The plain engine: a traced rule run by torch's own operations, on any dtype and device. The oracle for every faster engine.

bfloat16 and float16 parameters are computed in float32.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..rules import Rule
from ..rules.symbols import NUMBERS, Symbol
from ..rules.trace import Graph
from .passes import Column, Known, Numbers, Work, advance


def _bounded(with_number: Callable[[Tensor, Any], Tensor], of_two: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The larger or smaller of two, either of which may be a number."""

    def call(x: Any, y: Any) -> Tensor:
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            return of_two(x, y)
        tensor, number = (x, y) if isinstance(x, Tensor) else (y, x)
        return with_number(tensor, number) if number == number else torch.full_like(tensor, number)

    return call


def _where(c: Any, x: Any, y: Any) -> Any:
    if not isinstance(c, Tensor):
        return x if c else y
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = torch.full_like(c, x, dtype=torch.float64)  # two bare numbers would come out in the default dtype, perhaps less
    return torch.where(c, x, y)


def _orthogonal(x: Tensor, a: float, b: float, c: float, eps: float, steps: int, precise: int) -> Tensor:
    """Newton-Schulz iterations towards the nearest orthogonal matrix, in the order of operations of torch.optim.Muon."""
    if not x.numel():
        return x
    flat = x.reshape(len(x), -1)
    tall = flat.shape[0] > flat.shape[1]
    y = (flat.T if tall else flat).to(x.dtype if precise else torch.bfloat16)
    y = y / y.norm().clamp(min=eps)
    for _ in range(steps):
        gram = y @ y.T
        y = torch.addmm(y, torch.addmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return (y.T if tall else y).reshape(x.shape).to(x.dtype)


TENSORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "neg": operator.neg,
    "abs": torch.abs,
    "sqrt": torch.sqrt,
    "cbrt": lambda x: x.sign() * x.abs().pow(1 / 3),
    "sign": torch.sign,
    "maximum": _bounded(lambda x, y: x.clamp(min=y), torch.maximum),
    "minimum": _bounded(lambda x, y: x.clamp(max=y), torch.minimum),
    "gt": operator.gt,
    "lt": operator.lt,
    "ge": operator.ge,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
    "where": _where,
    "row mean": lambda x: x.mean(-1, keepdim=True),
    "column mean": lambda x: x.mean(-2, keepdim=True),
    "rows": lambda x: float(x.shape[0]),
    "columns": lambda x: float(math.prod(x.shape[1:])),
    "epsilon": lambda x: torch.finfo(x.dtype).eps,
    "orthogonal": _orthogonal,
}


def evaluate(x: Any, known: dict[Symbol, Any], leaf: Callable[[Symbol], Any] | None = None) -> Any:
    """The value of a symbol. `known` holds leaves and reductions, and keeps what is computed; `leaf` gives tensors."""
    if not isinstance(x, Symbol):
        return x
    if x not in known:
        if x.args:
            values = [evaluate(a, known, leaf) for a in x.args]
            known[x] = (TENSORS if any(isinstance(v, Tensor) for v in values) else NUMBERS)[x.op](*values)
        else:
            assert leaf is not None
            known[x] = leaf(x)
    return known[x]


class Plain:
    """The passes of an update by torch operations."""

    name = "plain"
    reads_memory = False
    wave = 1  # it keeps between passes what it computed of a tensor

    def takes(self, graph: Graph, tensors: Sequence[Tensor]) -> Hashable:
        """Any tensors together."""
        return "any"

    @torch.no_grad()
    def reduce(self, work: Work, symbols: Sequence[Symbol], known: Known) -> Numbers:
        """For each tensor, the sum (or sum of squares) of each symbol's argument over its elements: (tensors, symbols)."""
        sums = np.zeros((len(work), len(symbols)))
        for i in range(len(work)):
            found = _evaluate(work, i, [x.args[0] for x in symbols], known)
            sums[i] = [float(x.reduction.term(v).sum()) for x, v in zip(symbols, found, strict=True) if x.reduction]
        return sums

    @torch.no_grad()
    def write(self, work: Work, targets: Mapping[str, Any], known: Known) -> None:
        """Write each target, by letter, to p or state."""
        for i in range(len(work)):
            places = [work.tensors[letter][i] for letter in targets]
            written = {place.data_ptr() for place in places}
            found = [
                value.clone() if isinstance(value, Tensor) and value.data_ptr() in written else value
                for value in _evaluate(work, i, list(targets.values()), known)
            ]  # a rule may return what it was given, under another letter
            for place, value in zip(places, found, strict=True):
                place.copy_(value) if isinstance(value, Tensor) else place.fill_(value)
        work.scratch.pop("values", None)


def _evaluate(work: Work, i: int, targets: list[Any], known: Known) -> list[Any]:
    """The values of targets for tensor i; 16-bit tensors count in float32."""

    def leaf(x: Symbol) -> Tensor:
        tensor = work.tensors[x.name][i].detach()
        return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()

    own = known.of(i)
    if len(work) == 1 and not work.graph.points:  # what a pass has computed serves the next: nothing is written in between
        own = work.scratch["values"] = {**work.scratch.get("values", {}), **own}
    return [evaluate(x, own, leaf) for x in targets]


def step(
    rule: Rule, p: Tensor, g: Tensor, t: int, state: Mapping[str, Any], hyper: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Any]]:
    """One update of one tensor: the new parameter and state. Writes to no argument.

    `t` counts from 1; `hyper` holds every hyperparameter (`rule.settings()`).
    """
    work = of_one(
        rule, p.detach().clone(), g, t, {k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()}, hyper
    )
    advance(work, Plain())
    new = {k: work.numbers[k] if k in work.numbers else work.tensors[k][0] for k in state}
    return work.tensors["p"][0], new


def of_one(rule: Rule, p: Tensor, g: Tensor, t: int, state: Mapping[str, Any], hyper: Mapping[str, Any]) -> Work:
    """The work of updating one tensor, in place."""
    tensors = {"p": p, "g": g, **{k: v for k, v in state.items() if isinstance(v, Tensor)}}
    numbers = {"t": float(t), **hyper, **{k: v for k, v in state.items() if not isinstance(v, Tensor)}}
    return Work(rule.graph(hyper), {k: Column([v]) for k, v in tensors.items()}, numbers)
