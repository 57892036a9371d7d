"""What an engine updates: columns of tensors and sets of numbers, and the passes over them that a traced rule needs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..rules.symbols import NOISES, Reduction, Symbol
from ..rules.trace import Graph
from ..rules.words import WORDS

if TYPE_CHECKING:
    from .engine import Engine

Numbers = NDArray[np.float64]
Index = NDArray[np.int64]


ORDINARY = frozenset({torch.Tensor, torch.nn.Parameter})  # subclasses of these may stand for memory that lies elsewhere


def is_memory(t: torch.Tensor) -> bool:
    """Whether a tensor's elements are floats in this process's memory, as they are: no shard, wrapper or negated view."""
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
        """A tensor that has the dtype of all."""
        return self.tensors[0]

    @functools.cached_property
    def addresses(self) -> Index:
        """Where each tensor lies in memory."""
        return np.array([t.data_ptr() for t in self.tensors], np.int64)


class Stack(Column):
    """A column whose tensors are rows of stacked tensors, each (runs, *shape): all its rows of the first, of the second, ..."""

    def __init__(self, tensors: Sequence[Tensor], rows: Index | None = None) -> None:
        super().__init__(tensors)
        self.rows = np.arange(len(tensors[0])) if rows is None else rows

    def __len__(self) -> int:
        return len(self.tensors) * len(self.rows)

    def __getitem__(self, i: int) -> Tensor:
        return self.tensors[i // len(self.rows)][self.rows[i % len(self.rows)]]

    @functools.cached_property
    def addresses(self) -> Index:
        """Where each row lies in memory."""
        starts = [t.data_ptr() + t.stride(0) * t.element_size() * self.rows for t in self.tensors]
        return np.concatenate(starts).astype(np.int64)


@dataclass
class Work:
    """Tensors to be updated together, in place, by one graph.

    `tensors` has a column for each letter that is a tensor. `numbers` has t (steps from 1), the hyperparameters and the
    state that is numbers: each one float, or (sets,) floats; `which` says the set of each tensor, `models` the model of
    each tensor, where there are several. For noise, `keys` has the key of each tensor's run and `places` the tensor's number
    in its model.
    """

    graph: Graph
    tensors: dict[str, Column]
    numbers: dict[str, Any] = field(default_factory=dict)
    sets: int = 1
    which: Index | None = None
    models: Index | None = None
    keys: Sequence[int] | None = None
    places: Sequence[int] | None = None
    scratch: dict[Any, Any] = field(default_factory=dict)  # an engine's tables, kept from step to step

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
    def _leaves(self) -> list[tuple[str, Symbol]]:
        return [*self.graph.numbers.items()]

    @functools.cached_property
    def _one(self) -> Known:
        """The numbers of a step that has one set of them; made once, since a small step takes as long as this."""
        return Known({}, 1, None, False)

    def known(self) -> Known:
        """The numbers of this step; a row for each tensor where a reduction will differ from tensor to tensor."""
        graph, rows, which = self.graph, self.sets, self.which
        if which is None and rows == 1 and not graph.reductions:
            known, numbers = self._one, self.numbers
            for name, x in self._leaves:
                known.values[x] = numbers[name]
            return known
        own = graph.reach == "tensor" or self.models is not None or self.sets > 1
        spread = bool(graph.reductions) and own and len(self) > 0
        values: dict[Symbol, Any] = {x: self.numbers[name] for name, x in graph.numbers.items()}
        if spread:
            place = np.zeros(len(self), np.int64) if which is None else which
            values = {x: v[place] if isinstance(v, np.ndarray) else v for x, v in values.items()}
            rows, which = len(self), np.arange(len(self))
        if rows == 1:
            values = {x: float(v[0]) if isinstance(v, np.ndarray) else v for x, v in values.items()}
        return Known(values, rows, which, spread)

    def combine(self, reduction: Reduction, sums: Numbers, spread: bool) -> Any:
        """From sums over each tensor to a reduction's value: over the tensor itself, or over the tensors of its model."""
        counts: Any = self.sizes
        if reduction.over == "model":
            if self.models is None:
                sums, counts = np.full(len(self), sums.sum()), np.full(len(self), counts.sum())
            else:
                sums, counts = (np.bincount(self.models, x)[self.models] for x in (sums, counts))  # type: ignore[assignment]
        found = reduction.of(sums, np.maximum(counts, 1))
        return found if spread and len(self) > 1 else float(found[0])

    def draw(self) -> None:
        """Make the noise of this step: the same for the same key, place and step, whatever else is in the work."""
        t, ps = self.numbers["t"], self.tensors["p"]
        for op in {x.op: x.name for x in self.graph.noises}.items():
            drawn = []
            for i in range(len(self)):
                age = t if not isinstance(t, np.ndarray) else t[0 if self.which is None else self.which[i]]
                key, place = self.keys[i] if self.keys else 0, self.places[i] if self.places else i
                values = noise(op[0], key, place, int(age), tuple(ps[i].shape))
                drawn.append(_laid_like(torch.from_numpy(values), ps[i].detach()))
            self.tensors[op[1]] = Column(drawn)

    def keep(self, new: dict[str, Any], known: Known) -> None:
        """Keep what the state that is numbers became."""
        for letter, value in new.items():
            if known.spread and self.which is not None and isinstance(value, np.ndarray):
                value = value[np.unique(self.which, return_index=True)[1]]
            self.numbers[letter] = value


@dataclass
class Known:
    """The numbers known so far: each a float, or (rows,) floats; `which` says the row of each tensor."""

    values: dict[Symbol, Any]
    rows: int
    which: Index | None
    spread: bool

    def of(self, i: int) -> dict[Symbol, Any]:
        """The numbers of tensor i."""
        row = 0 if self.which is None else self.which[i]
        return {x: float(v[row]) if isinstance(v, np.ndarray) else v for x, v in self.values.items()}


def _laid_like(values: Tensor, like: Tensor) -> Tensor:
    """The values with the dtype and layout of a tensor; of a sharded one, this process's shard of them."""
    if hasattr(like, "placements"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(like, DTensor)
        return distribute_tensor(values.to(like.dtype), like.device_mesh, like.placements, src_data_rank=None)
    return torch.empty_like(like).copy_(values)


def numeric(targets: Sequence[Any]) -> Callable[[Known], list[Any]]:
    """A function of what is known that computes numbers (no tensors): Python's floats, or float64 arrays of all rows."""
    names: dict[Symbol, str] = {}
    lines: list[str] = []
    space: dict[str, Any] = {}

    def name(x: Any) -> str:
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
    text = "\n".join(["def compute(known):", *lines, answer])
    compute = []
    numbers = {op: word.number for op, word in WORDS.items()}
    arrays = {op: getattr(np, word.array) if isinstance(word.array, str) else word.array for op, word in WORDS.items()}
    for operations in (numbers, arrays):
        room = {**space, **operations}
        exec(text, room)
        compute.append(room["compute"])
    on_floats, on_arrays = compute

    def call(known: Known) -> list[Any]:
        if known.rows == 1:
            return on_floats(known.values)  # type: ignore[no-any-return]
        with np.errstate(all="ignore"):
            return on_arrays(known.values)  # type: ignore[no-any-return]

    return call


def noise(op: str, key: int, place: int, step: int, shape: tuple[int, ...]) -> Numbers:
    """Standard normal numbers, or random signs, that depend on nothing but the arguments."""
    philox = np.random.Philox(key=[key % 2**64, 2 * place + (op == NOISES[1])], counter=[0, 0, 0, step])
    generator = np.random.Generator(philox)
    drawn = generator.standard_normal(shape) if op == NOISES[0] else 2.0 * generator.integers(0, 2, shape) - 1.0
    return np.asarray(drawn, float)


def advance(work: Work, engine: Engine, ask: Callable[[Work], Sequence[Tensor]] | None = None) -> None:
    """One update of all tensors, in place, in as many passes over memory as the rule needs.

    Every pass computes what it needs from p, g and the old state; only the last one writes. `ask(work)` gives the
    gradients where the parameters now stand, for rules that ask for them elsewhere.
    """
    graph, known = work.graph, work.known()
    work.scratch.pop("values", None)  # of a step that was interrupted
    if graph.noises:
        work.draw()
    for stage in range(graph.stages) if graph.reductions or graph.points else ():
        ready = [x for x in graph.reductions if x.args[0].stage == stage]
        if ready:
            sums = engine.reduce(work, ready, known)
            for i, x in enumerate(ready):
                assert x.reduction
                known.values[x] = work.combine(x.reduction, sums[:, i], known.spread)
        for point, answer in zip(graph.points, graph.gradients, strict=True):
            if point.stage == stage:
                assert ask is not None
                work.tensors[answer.name] = _elsewhere(work, engine, point, known, ask)
    engine.write(work, graph.tensors, known)
    if graph.scalars:
        if "scalars" not in work.scratch:
            work.scratch["scalars"] = numeric(list(graph.scalars.values()))
        work.keep(dict(zip(graph.scalars, work.scratch["scalars"](known), strict=True)), known)


@torch.no_grad()
def _elsewhere(work: Work, engine: Engine, point: Any, known: Known, ask: Callable[[Work], Sequence[Tensor]]) -> Column:
    """The gradients at a point of the rule's choice; the parameters are put back."""
    ps = work.tensors["p"].tensors
    if "kept" not in work.scratch:
        work.scratch["kept"] = [torch.empty_like(p) for p in ps]
    for kept, p in zip(work.scratch["kept"], ps, strict=True):
        kept.copy_(p)
    engine.write(work, {"p": point}, known)
    found = [_like(g, p) for g, p in zip(ask(work), ps, strict=True)]
    for kept, p in zip(work.scratch["kept"], ps, strict=True):
        p.copy_(kept)
    column = work.tensors["p"]
    return Stack(found, column.rows) if isinstance(column, Stack) else Column(found)


def _like(g: Tensor, p: Tensor) -> Tensor:
    """A gradient as memory of its parameter's type and layout: as it is, if it is that."""
    fits = is_memory(g) and g.dtype is p.dtype and g.stride() == p.stride()
    return g if fits or not is_memory(p) else torch.empty_like(p).copy_(g)
