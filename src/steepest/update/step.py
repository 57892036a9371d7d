"""One update: the passes over memory that a traced rule needs, by an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..rules.symbols import Symbol
from .noise import draw
from .numbers import Known, numeric
from .torch_class.dtensor import summed
from .work import Column, Stack, Work, is_memory

if TYPE_CHECKING:
    from .engines.protocol import Engine

Ask = Callable[[], Sequence[Tensor]]  # evaluates the gradients at the current parameters of a work


class Leave(BaseException):
    """Raised by `ask` to end a step at the point whose gradients were requested, with the parameters there."""


def advance(work: Work, engine: Engine, ask: Ask | None = None) -> None:
    """Update all tensors in place, in as many passes over memory as the rule needs.

    Every pass computes what it needs from p, g and the old state; only the last one writes. `ask()` evaluates the
    gradients at the current parameters, for rules that need them at other points than p.
    """
    graph, known = work.graph, work.known()
    work.scratch.pop("values", None)  # of a step that was interrupted
    if graph.noises:
        draw(work)
    for stage in range(graph.stages) if graph.reductions or graph.points else ():
        ready = [x for x in graph.reductions if x.args[0].stage == stage]
        if ready:
            sums = engine.reduce(work, ready, known)
            sums = summed(sums, work.shards) if work.shards else sums
            known.device = sums.device if isinstance(sums, Tensor) else None
            for i, x in enumerate(ready):
                assert x.reduction
                known.values[x] = work.combine(x.reduction, sums[:, i])
        for point, answer in zip(graph.points, graph.gradients, strict=True):
            if point.stage == stage:
                assert ask is not None
                work.tensors[answer.name] = _gradients_at(work, engine, point, known, ask)
    engine.write(work, graph.tensors, known)
    if graph.scalars:
        if "scalars" not in work.scratch:
            work.scratch["scalars"] = numeric(list(graph.scalars.values()))
        work.numbers.update(zip(graph.scalars, work.scratch["scalars"](known), strict=True))


@torch.no_grad()
def _gradients_at(work: Work, engine: Engine, point: Symbol, known: Known, ask: Ask) -> Column:
    """The gradients at a point of the rule's choice; the parameters are restored."""
    column = work.tensors["p"]
    if "before" not in work.scratch:
        work.scratch["before"] = [torch.empty_like(p) for p in column.tensors]
    _copy(column.tensors, work.scratch["before"])
    engine.write(work, {"p": point}, known)
    try:
        gradients = [_like(g, p) for g, p in zip(ask(), column.tensors, strict=True)]
    except Leave:
        raise
    except BaseException:
        _copy(work.scratch["before"], column.tensors)
        raise
    _copy(work.scratch["before"], column.tensors)
    return Stack(gradients, column.rows) if isinstance(column, Stack) else Column(gradients)


def _copy(sources: Sequence[Tensor], places: Sequence[Tensor]) -> None:
    for source, place in zip(sources, places, strict=True):
        place.copy_(source)


def _like(g: Tensor, p: Tensor) -> Tensor:
    """A gradient in memory of its parameter's dtype and layout: itself, or a copy."""
    fits = is_memory(g) and g.dtype is p.dtype and g.stride() == p.stride()
    return g if fits or not is_memory(p) else torch.empty_like(p).copy_(g)
