"""The plain engine: a traced rule run by torch's own operations, on any dtype and device. The oracle for every faster engine.

bfloat16 and float16 parameters are computed in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..rules import Rule
from ..rules.definition import Hyper
from ..rules.symbols import Expr, Symbol
from ..rules.trace import Graph
from ..rules.words import WORDS
from .passes import Column, Known, Numbers, Value, Work, advance
from .views import fake_mode, here, laid_as, whole


def evaluate(x: Expr, known: dict[Symbol, Value], leaf: Callable[[Symbol], Tensor] | None = None) -> Value:
    """The value of a symbol. `known` holds leaves and reductions, and keeps what is computed; `leaf` gives tensors."""
    if not isinstance(x, Symbol):
        return x
    if x not in known:
        if x.args:
            values = [evaluate(a, known, leaf) for a in x.args]
            word = WORDS[x.op]
            form = word.tensor if word.number is None or any(isinstance(v, Tensor) for v in values) else word.number
            known[x] = form(*values)
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
            if fake_mode(work.tensors["p"][i]):
                sums[i] = np.nan  # which no one will read
                continue
            values = _evaluate(work, i, [x.args[0] for x in symbols], known)
            sums[i] = [float(x.reduction.term(v).sum()) for x, v in zip(symbols, values, strict=True) if x.reduction]
        return sums

    @torch.no_grad()
    def write(self, work: Work, targets: Mapping[str, Expr], known: Known) -> None:
        """Write each target, by letter, to p or state."""
        for i in range(len(work)):
            places = [work.tensors[letter][i] for letter in targets]
            mode = fake_mode(work.tensors["p"][i])
            with mode or contextlib.nullcontext():
                written = set() if mode else {here(place).data_ptr() for place in places}
                values = [
                    value.clone() if written and isinstance(value, Tensor) and value.data_ptr() in written else value
                    for value in _evaluate(work, i, list(targets.values()), known)
                ]  # a rule may return what it was given, under another letter
                for place, value in zip(places, values, strict=True):
                    here(place).copy_(here(laid_as(value, place))) if isinstance(value, Tensor) else here(place).fill_(value)
        work.scratch.pop("values", None)


def _evaluate(work: Work, i: int, targets: list[Expr], known: Known) -> list[Value]:
    """The values of targets for tensor i; 16-bit tensors count in float32."""

    def leaf(x: Symbol) -> Tensor:
        tensor = whole(work.tensors[x.name][i].detach())
        return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()

    own = known.of(i)
    for x in work.graph.epsilons:
        own[x] = torch.finfo(work.tensors[x.args[0].name][i].dtype).eps
    if len(work) == 1 and not work.graph.points:  # what a pass has computed serves the next: nothing is written in between
        own = work.scratch["values"] = {**work.scratch.get("values", {}), **own}
    return [evaluate(x, own, leaf) for x in targets]


def step(rule: Rule, p: Tensor, g: Tensor, t: int, state: Mapping[str, Value], hyper: Hyper) -> tuple[Tensor, dict[str, Value]]:
    """One update of one tensor: the new parameter and state. Writes to no argument.

    `t` counts from 1; `hyper` holds every hyperparameter (`rule.settings()`).
    """
    work = of_one(
        rule, p.detach().clone(), g, t, {k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()}, hyper
    )
    advance(work, Plain())
    new: dict[str, Value] = {k: work.tensors[k][0] if k in work.tensors else work.numbers[k] for k in state}  # type: ignore[misc]
    return work.tensors["p"][0], new


def of_one(rule: Rule, p: Tensor, g: Tensor, t: int, state: Mapping[str, Value], hyper: Hyper) -> Work:
    """The work of updating one tensor, in place."""
    tensors = {"p": p, "g": g, **{k: v for k, v in state.items() if isinstance(v, Tensor)}}
    numbers = {"t": float(t), **hyper, **{k: v for k, v in state.items() if not isinstance(v, Tensor)}}
    return Work(rule.graph(hyper), {k: Column([v]) for k, v in tensors.items()}, numbers)
