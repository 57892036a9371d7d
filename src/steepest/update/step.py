"""One update: the passes over memory that a traced rule needs, by an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..rules.symbols import NOISES, Symbol
from .numbers import Known, Numbers, numeric
from .torch_class.dtensor import here, is_split, laid_as, shape_of, summed
from .work import Column, Stack, Work, is_memory

if TYPE_CHECKING:
    from .engines.choose import Engine

Ask = Callable[[], Sequence[Tensor]]  # evaluates the gradients at the current parameters of a work


class Leave(BaseException):
    """Raised by `ask` to end a step at the point whose gradients were requested, with the parameters there."""


def advance(work: Work, engine: Engine, ask: Ask | None = None) -> None:
    """Update all tensors in place, in as many passes over memory as the rule needs.

    Every pass computes what it needs from p, g and the old state; only the last one writes. `ask()` evaluates the
    gradients at the current parameters, for rules that need them at other points than p.
    """
    graph, known = work.graph, work.known()
    work.scratch.pop("values", None)  # left by an interrupted step
    if graph.noises:
        _draw(work)
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
    """Evaluate the gradients at a point that the rule requests; the parameters are restored."""
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
    """The gradient in its parameter's dtype and layout, copied if needed."""
    fits = is_memory(g) and g.dtype is p.dtype and g.stride() == p.stride()
    return g if fits or not is_memory(p) else torch.empty_like(p).copy_(g)


def _draw(work: Work) -> None:
    """Draw the noise of this step into columns of the work."""
    t, ps = work.numbers["t"], work.tensors["p"]
    for op, letter in {x.op: x.name for x in work.graph.noises}.items():
        drawn = []
        for i in range(len(work)):
            age = t[i] if isinstance(t, np.ndarray) else t
            key = work.keys[i] if work.keys else 0
            place = work.places[i] if work.places else i
            p = ps[i].detach()
            entire = work.shards[i] if work.shards else p
            values = torch.from_numpy(_noise(op, key, place, int(age), shape_of(entire))).to(p.device, p.dtype)
            # a DTensor among the work's own tensors is gathered to be updated, so its noise is whole
            drawn.append(values if is_split(p) else torch.empty_like(p).copy_(here(laid_as(values, entire))))
        work.tensors[letter] = Column(drawn)


def _noise(op: str, key: int, place: int, step: int, shape: tuple[int, ...]) -> Numbers:
    """Standard normal numbers, or random signs, by counter: equal arguments give equal numbers, whatever was drawn before."""
    philox = np.random.Philox(key=[key % 2**64, 2 * place + (op == NOISES[1])], counter=[0, 0, 0, step])
    generator = np.random.Generator(philox)
    drawn = generator.standard_normal(shape) if op == NOISES[0] else 2.0 * generator.integers(0, 2, shape) - 1.0
    return np.asarray(drawn, float)
