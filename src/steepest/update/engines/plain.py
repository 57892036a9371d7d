"""The plain engine: a traced rule run by torch's own operations, on any dtype and device. The oracle of every faster engine.

bfloat16 and float16 tensors are computed in float32. On other devices than the CPU a step copies nothing to the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...rules import Rule
from ...rules.definition import Hyper
from ...rules.symbols import Expr, Symbol
from ...rules.trace import Graph
from ..numbers import Call, Known, Sums, Value, evaluate
from ..torch_class.dtensor import fake_mode, here, laid_as, whole
from ..work import Column, Work


class Plain:
    """The passes of an update by torch operations."""

    name = "plain"
    reads_memory = False
    wave = 1  # a tensor at a time, whose values are cached between passes

    def call(self, x: Symbol) -> Call | None:
        """Another way to compute a symbol than its own operation; none here."""
        return None

    def takes(self, graph: Graph, tensors: Sequence[Tensor]) -> Hashable:
        """Any tensors together."""
        return "any"

    @torch.no_grad()
    def reduce(self, work: Work, symbols: Sequence[Symbol], known: Known) -> Sums:
        """The sum of each reduction's terms over the elements of each tensor, (tensors, symbols)."""
        terms = [x.args[0] for x in symbols]
        p = work.tensors["p"].first
        if fake_mode(p):
            return np.full((len(work), len(symbols)), np.nan)  # never read
        if reads_back(p):
            sums = np.zeros((len(work), len(symbols)))
            for i in range(len(work)):
                sums[i] = [*map(float, _sums(symbols, self._evaluate(work, i, terms, known)))]
            return sums
        rows = [torch.stack(_sums(symbols, self._evaluate(work, i, terms, known))) for i in range(len(work))]
        return torch.stack([row.to(p.device) for row in rows])

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
                    for value in self._evaluate(work, i, list(targets.values()), known)
                ]  # a rule may return one letter under another
                for place, value in zip(places, values, strict=True):
                    here(place).copy_(here(laid_as(value, place))) if isinstance(value, Tensor) else here(place).fill_(value)
        work.scratch.pop("values", None)

    def _evaluate(self, work: Work, i: int, targets: list[Expr], known: Known) -> list[Value]:
        """The values of targets for tensor i; 16-bit tensors count in float32."""

        def leaf(x: Symbol) -> Tensor:
            tensor = whole(work.tensors[x.name][i].detach())
            return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()

        own = known.of(i)
        for x in work.graph.epsilons:
            own[x] = torch.finfo(work.tensors[x.args[0].name][i].dtype).eps
        if len(work) == 1 and not work.graph.points:  # the next pass reuses these values: nothing is written in between
            own = work.scratch["values"] = {**work.scratch.get("values", {}), **own}
        return [evaluate(x, own, leaf, self.call) for x in targets]


def reads_back(p: Tensor) -> bool:
    """Whether the host reads sums over this tensor: on the CPU only, where it does not wait."""
    return p.is_cpu


def _sums(symbols: Sequence[Symbol], values: Sequence[Value]) -> list[Tensor]:
    """The sum of each reduction's terms over one tensor: 0-dim, in float64 where the device has it."""
    sums = [x.reduction.term(v).sum() for x, v in zip(symbols, values, strict=True) if x.reduction]
    return [x if x.device.type == "mps" else x.double() for x in sums]


def of_one(rule: Rule, p: Tensor, g: Tensor, t: int, state: Mapping[str, Value], hyper: Hyper) -> Work:
    """The work of updating one tensor, in place."""
    tensors = {"p": p, "g": g, **{k: v for k, v in state.items() if isinstance(v, Tensor)}}
    numbers = {"t": float(t), **hyper, **{k: v for k, v in state.items() if not isinstance(v, Tensor)}}
    return Work(rule.graph(hyper, shape=tuple(p.shape)), {k: Column([v]) for k, v in tensors.items()}, numbers)
