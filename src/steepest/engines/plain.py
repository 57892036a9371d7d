"""The plain engine: a traced rule run by torch's own operations, on any dtype and device. The oracle for every faster engine.

bfloat16 and float16 parameters are computed in float32.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..rules import Rule
from ..rules.symbols import NUMBERS, Symbol
from ..rules.trace import Graph


def _with_tensors(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """A function of two tensors, for a tensor and a number too."""

    def call(x: Any, y: Any) -> Tensor:
        like = x if isinstance(x, Tensor) else y
        return function(*(v if isinstance(v, Tensor) else torch.full_like(like, v) for v in (x, y)))

    return call


def _where(c: Any, x: Any, y: Any) -> Any:
    if not isinstance(c, Tensor):
        return x if c else y
    # Two bare numbers would come out in the default dtype, which may be less than the tensors'.
    return torch.where(
        c, *(v if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float64, device=c.device) for v in (x, y))
    )


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
    "maximum": _with_tensors(torch.maximum),
    "minimum": _with_tensors(torch.minimum),
    "gt": operator.gt,
    "lt": operator.lt,
    "ge": operator.ge,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
    "where": _where,
}


@dataclass
class Item:
    """One tensor to be updated, in place: the parameter, its gradient and state, and what its rule's numbers depend on.

    `t` counts the tensor's steps from 1. Items of one `model` are reduced together where a rule looks over the model. `g` is
    the loss's gradient times `sign`, which is -1 where the loss is made large.
    """

    p: Tensor
    g: Tensor
    t: int
    state: dict[str, Any]
    hyper: Mapping[str, Any]
    model: int = 0
    sign: int = 1
    gradients: list[Tensor] = field(default_factory=list)

    def numbers(self, graph: Graph) -> dict[Symbol, Any]:
        """The values of the graph's leaves that are numbers."""
        known: dict[str, Any] = {"t": float(self.t), **self.hyper, **self.state}
        return {x: known[name] for name, x in graph.inputs.items() if not x.tensor}

    def tensor(self, graph: Graph, x: Symbol) -> Tensor:
        """The tensor that stands for a leaf."""
        if x.op == "gradient":
            return self.gradients[[id(y) for y in graph.gradients].index(id(x))]
        return {"p": self.p, "g": self.g}.get(x.name) if x.name in ("p", "g") else self.state[x.name]  # type: ignore[return-value]


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

    def reduce(
        self, graph: Graph, symbols: list[Symbol], items: list[Item], known: list[dict[Symbol, Any]]
    ) -> list[list[float]]:
        """For each item, the sum (or sum of squares) of each symbol's argument over its elements."""
        sums = []
        for item, values in zip(items, known, strict=True):
            found = self._evaluate(graph, [x.args[0] for x in symbols], item, values)
            sums.append(
                [
                    float((v * v if "squares" in x.op else v).sum(dtype=torch.float64))
                    for x, v in zip(symbols, found, strict=True)
                ]
            )
        return sums

    def write(self, graph: Graph, targets: dict[str, Any], items: list[Item], known: list[dict[Symbol, Any]]) -> None:
        """Write each target, by letter, to the item's p or state."""
        for item, values in zip(items, known, strict=True):
            found = self._evaluate(graph, list(targets.values()), item, values)
            for letter, value in zip(targets, found, strict=True):
                place = item.p if letter == "p" else item.state[letter]
                place.copy_(value) if isinstance(value, Tensor) else place.fill_(value)

    def _evaluate(self, graph: Graph, targets: list[Any], item: Item, values: dict[Symbol, Any]) -> list[Any]:
        def leaf(x: Symbol) -> Tensor:
            tensor = item.tensor(graph, x)
            return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()

        own = dict(values)  # tensors are not kept from pass to pass
        return [evaluate(x, own, leaf) for x in targets]


def advance(graph: Graph, items: list[Item], engine: Any, ask: Callable[[list[Item]], list[Tensor]] | None = None) -> None:
    """One update of all items, in place, in as many passes over memory as the rule needs.

    Every pass computes what it needs from p, g and the old state; only the last one writes. `ask(items)` gives the
    gradients where the parameters now stand, for rules that ask for them elsewhere.
    """
    reductions = graph.reductions
    known = _numbers(graph, items, apart=bool(reductions))
    for stage in range(graph.stages):
        ready = [x for x in reductions if x.args[0].stage == stage]
        if ready:
            sums = engine.reduce(graph, ready, items, known)
            for i, x in enumerate(ready):
                for values, value in zip(known, _combine(x.op, [s[i] for s in sums], items), strict=True):
                    values[x] = value
        for point in (x for x in graph.points if x.stage == stage):
            assert ask is not None
            kept = [item.p.detach().clone() for item in items]
            engine.write(graph, {"p": point}, items, known)
            for item, gradient, p in zip(items, ask(items), kept, strict=True):
                item.gradients.append(gradient)
                item.p.copy_(p)
    tensors = {k: x for k, x in graph.outputs.items() if k == "p" or graph.inputs[k].tensor}
    numbers = [{k: evaluate(x, v) for k, x in graph.outputs.items() if k not in tensors} for v in known]
    engine.write(graph, tensors, items, known)
    for item, new in zip(items, numbers, strict=True):
        item.state.update(new)


def _numbers(graph: Graph, items: list[Item], *, apart: bool) -> list[dict[Symbol, Any]]:
    """The numbers of each item's leaves; items alike in all of them share one dictionary, unless kept apart."""
    shared: dict[Any, dict[Symbol, Any]] = {}
    letters = [k for k, x in graph.inputs.items() if not x.tensor and k in graph.outputs]
    known = []
    for item in items:
        key = id(item.hyper), item.t, *(item.state[k] for k in letters)
        if key not in shared:
            shared[key] = item.numbers(graph)
        known.append(dict(shared[key]) if apart else shared[key])
    return known


def _combine(op: str, sums: list[float], items: list[Item]) -> list[float]:
    """From sums over each item to the reduction's value for each: over its own elements, or over those of its model."""
    if op.endswith("tensor"):
        counts = [item.p.numel() for item in items]
    else:
        totals: dict[int, list[float]] = {}
        for item, s in zip(items, sums, strict=True):
            total = totals.setdefault(item.model, [0.0, 0.0])
            total[0] += s
            total[1] += item.p.numel()
        sums = [totals[item.model][0] for item in items]
        counts = [int(totals[item.model][1]) for item in items]
    return [s / n if n else 0.0 for s, n in zip(sums, counts, strict=True)] if op.startswith("mean") else sums


def initial_state(rule: Rule, p: Tensor, g: Tensor, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The rule's state before step 1 for one parameter, by letter: tensors like p, or numbers."""
    state: dict[str, Any] = {}
    for letter, kind in rule.live_state(hyper).items():
        if kind.start in ("copy of p", "copy of g"):
            state[letter] = (p if kind.start == "copy of p" else g).detach().clone()
            continue
        start = float(hyper[kind.start] if isinstance(kind.start, str) else kind.start)
        state[letter] = start if kind.is_scalar else torch.full_like(p, start, memory_format=torch.preserve_format)
    return state


def step(
    rule: Rule, p: Tensor, g: Tensor, t: int, state: Mapping[str, Any], hyper: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Any]]:
    """One update of one tensor: the new parameter and state. Writes to no argument.

    `t` counts from 1; `hyper` holds every hyperparameter (`rule.settings()`).
    """
    copies = {k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()}
    item = Item(p.detach().clone(), g, t, copies, hyper)
    advance(rule.graph(hyper), [item], Plain())
    return item.p, item.state
