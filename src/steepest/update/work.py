"""The tensors that one graph updates together, as columns of one letter each."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..rules.symbols import Reduction
from ..rules.trace import Graph
from .numbers import Index, Known, Number, Numbers, Sums
from .torch_class.dtensor import shape_of

ORDINARY = frozenset({torch.Tensor, torch.nn.Parameter})  # subclasses of these may wrap memory that is elsewhere


def is_memory(t: Tensor) -> bool:
    """Whether a tensor's elements are plain floats in this process's memory: no shard, wrapper or negated view."""
    if type(t) not in ORDINARY and type(t).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return False
    if not t.is_cpu or t.layout is not torch.strided or t.is_neg():
        return False
    return t.data_ptr() != 0 or t.numel() == 0


class Column:
    """One letter of a rule for every tensor of a `Work`: its p, its g, or a piece of state."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, i: int) -> Tensor:
        return self.tensors[i]

    @property
    def first(self) -> Tensor:
        """The first tensor, whose dtype and device all share."""
        return self.tensors[0]

    @functools.cached_property
    def addresses(self) -> Index:
        """The address of each tensor, (tensors,)."""
        return np.array([t.data_ptr() for t in self.tensors], np.int64)


class Stack(Column):
    """A column of rows of stacked tensors, each (runs, *shape): all rows of the first tensor, then of the second, ..."""

    def __init__(self, tensors: Sequence[Tensor], rows: Index | None = None) -> None:
        super().__init__(tensors)
        self.rows = np.arange(len(tensors[0])) if rows is None else rows

    def __len__(self) -> int:
        return len(self.tensors) * len(self.rows)

    def __getitem__(self, i: int) -> Tensor:
        return self.tensors[i // len(self.rows)][self.rows[i % len(self.rows)]]

    @functools.cached_property
    def addresses(self) -> Index:
        """The address of each row, (tensors * rows,)."""
        starts = [t.data_ptr() + t.stride(0) * t.element_size() * self.rows for t in self.tensors]
        return np.concatenate(starts).astype(np.int64)


@dataclass
class Work:
    """Tensors to be updated together, in place, by one graph.

    `tensors` has a column for each letter that is a tensor. `numbers` has t (steps from 1), the hyperparameters and the
    scalar state; `apart` says that some differ from tensor to tensor. `runs` is the run of each tensor, where there are
    several; `shards` the DTensor parameters of which the tensors are the local shards. For noise, `keys` has the seed of
    each tensor's run and `places` the tensor's number in its model. `scratch` is an engine's cache between steps.
    """

    graph: Graph
    tensors: dict[str, Column]
    numbers: dict[str, Number] = field(default_factory=dict)
    apart: bool = False
    runs: Index | None = None
    shards: Sequence[Tensor] = ()
    keys: Sequence[int] | None = None
    places: Sequence[int] | None = None
    scratch: dict[Hashable, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tensors["p"])

    @functools.cached_property
    def sizes(self) -> Index:
        """The number of elements of each tensor."""
        p = self.tensors["p"]
        if isinstance(p, Stack):
            return np.repeat([t[0].numel() for t in p.tensors], len(p.rows))
        return np.array([t.numel() for t in p.tensors], np.int64)

    @functools.cached_property
    def counts(self) -> Numbers:
        """The number of elements of each tensor; of a shard, those of the whole."""
        return np.array([math.prod(shape_of(p)) for p in self.shards], float) if self.shards else self.sizes.astype(float)

    @functools.cached_property
    def _shared(self) -> Known:
        """The numbers that all tensors share; cached, since a small step takes as long as making them."""
        return Known({}, 1)

    @functools.cached_property
    def _reduced_apart(self) -> bool:
        """Whether some reduction differs from tensor to tensor."""
        overs = {x.reduction.over for x in self.graph.reductions if x.reduction}
        return "tensor" in overs or (bool(overs) and self.runs is not None)

    def known(self) -> Known:
        """The numbers of this step: one for each tensor where some differ, or where a reduction will."""
        graph, numbers = self.graph, self.numbers
        if not (self.apart or graph.reductions):
            known = self._shared
            for name, x in graph.numbers.items():
                known.values[x] = numbers[name]
            return known
        rows = len(self) if self.apart or self._reduced_apart else 1
        known = Known({x: numbers[name] for name, x in graph.numbers.items()}, rows)
        if known.rows == 1:
            known.values = {x: float(v[0]) if isinstance(v, np.ndarray) else v for x, v in known.values.items()}
        return known

    def combine(self, reduction: Reduction, sums: Sums) -> Number:
        """A reduction's value from its sum over each tensor, (tensors,); on a device it stays there.

        One number, or one for each tensor where it is taken over the tensor, or over the tensors of its run.
        """
        counts = self.counts
        if reduction.over == "model":
            if self.runs is None:
                return _one(reduction.of(sums.sum(), max(counts.sum(), 1.0)))
            sums = _by_run(self.runs, sums)
            counts = _by_run(self.runs, counts)
        counts = np.maximum(counts, 1)
        values = reduction.of(sums, counts if isinstance(sums, np.ndarray) else sums.new_tensor(counts))
        return values if len(self) > 1 else _one(values[0])


def _one(x: Any) -> Number:
    """One number: a Python float, or a 0-dim tensor as it is."""
    return x if isinstance(x, Tensor) else float(x)


def _by_run(runs: Index, sums: Any) -> Any:
    """For each tensor, the sum over all tensors of its run."""
    if isinstance(sums, np.ndarray):
        return np.bincount(runs, sums)[runs]
    index = torch.from_numpy(runs).to(sums.device)
    return sums.new_zeros(int(runs.max()) + 1).index_add(0, index, sums)[index]
