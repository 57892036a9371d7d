"""What an engine updates: columns of tensors and a step's numbers, and the passes over them that a traced rule needs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..rules.symbols import NOISES, Reduction, Symbol
from ..rules.trace import Graph
from ..rules.words import WORDS
from .views import here, is_split, laid_as, shape_of, summed

if TYPE_CHECKING:
    from .engine import Engine

Numbers = NDArray[np.float64]
Index = NDArray[np.int64]
Number = float | Numbers  # of a step: one for all tensors of a work, or (tensors,), one for each
Value = Tensor | float  # of a symbol, or of a piece of state
Ask = Callable[[], Sequence[Tensor]]  # gives the gradients where the parameters of a work now stand

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
    state that is numbers; `apart` says that some differ from tensor to tensor. `runs` is the run of each tensor, where there
    are several; `shards` the parameters whose parts the tensors are, where they are split over processes. For noise, `keys`
    has the key of each tensor's run and `places` the tensor's number in its model.
    """

    graph: Graph
    tensors: dict[str, Column]
    numbers: dict[str, Number] = field(default_factory=dict)
    apart: bool = False
    runs: Index | None = None
    shards: Sequence[Tensor] = ()
    keys: Sequence[int] | None = None
    places: Sequence[int] | None = None
    scratch: dict[Hashable, Any] = field(default_factory=dict)  # an engine's tables, kept from step to step

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
        """The number of elements of each tensor, of a shard those of the whole."""
        return np.array([math.prod(shape_of(p)) for p in self.shards], float) if self.shards else self.sizes.astype(float)

    @functools.cached_property
    def _shared(self) -> Known:
        """The numbers of a step that all tensors share; made once, since a small step takes as long as this."""
        return Known({}, 1)

    @functools.cached_property
    def _reduced_apart(self) -> bool:
        """Whether some reduction will differ from tensor to tensor."""
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

    def combine(self, reduction: Reduction, sums: Numbers) -> Number:
        """From sums over each tensor to a reduction's value: over the tensor itself, or over the tensors of its run."""
        counts = self.counts
        if reduction.over == "model":
            if self.runs is None:
                return float(reduction.of(sums.sum(), max(counts.sum(), 1.0)))
            of_runs = np.bincount(self.runs, sums), np.bincount(self.runs, counts)
            sums, counts = of_runs[0][self.runs], of_runs[1][self.runs]  # type: ignore[assignment]
        values: Numbers = reduction.of(sums, np.maximum(counts, 1))
        return values if len(self) > 1 else float(values[0])

    def draw(self) -> None:
        """Make the noise of this step: the same for the same key, place and step, whatever else is in the work."""
        t, ps = self.numbers["t"], self.tensors["p"]
        for op, letter in {x.op: x.name for x in self.graph.noises}.items():
            drawn = []
            for i in range(len(self)):
                age = t[i] if isinstance(t, np.ndarray) else t
                key, place = self.keys[i] if self.keys else 0, self.places[i] if self.places else i
                p = ps[i].detach()
                entire = self.shards[i] if self.shards else p
                values = torch.from_numpy(noise(op, key, place, int(age), shape_of(entire))).to(p.device, p.dtype)
                # one that is split here is gathered to be updated
                drawn.append(values if is_split(p) else torch.empty_like(p).copy_(here(laid_as(values, entire))))
            self.tensors[letter] = Column(drawn)


@dataclass
class Known:
    """The numbers of a step known so far; `rows` is 1 where all tensors share them, else the number of tensors."""

    values: dict[Symbol, Number]
    rows: int

    def of(self, i: int) -> dict[Symbol, Value]:
        """The numbers of tensor i."""
        return {x: float(v[i]) if isinstance(v, np.ndarray) else v for x, v in self.values.items()}


def numeric(targets: Sequence[Symbol | float]) -> Callable[[Known], list[Number]]:
    """A function of what is known that computes numbers (no tensors): Python's floats, or float64 arrays of all rows."""
    names: dict[Symbol, str] = {}
    lines: list[str] = []
    space: dict[str, Symbol | float] = {}

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
    text = "\n".join(["def compute(known):", *lines, answer])
    compute: list[Callable[[dict[Symbol, Number]], list[Number]]] = []
    numbers = {op: word.number for op, word in WORDS.items()}
    arrays = {op: getattr(np, word.array) if isinstance(word.array, str) else word.array for op, word in WORDS.items()}
    for operations in (numbers, arrays):
        names_of: dict[str, Any] = {**space, **operations}
        exec(text, names_of)
        compute.append(names_of["compute"])
    on_floats, on_arrays = compute

    def call(known: Known) -> list[Number]:
        if known.rows == 1:
            return on_floats(known.values)
        with np.errstate(all="ignore"):
            return on_arrays(known.values)

    return call


def noise(op: str, key: int, place: int, step: int, shape: tuple[int, ...]) -> Numbers:
    """Standard normal numbers, or random signs, that depend on nothing but the arguments."""
    philox = np.random.Philox(key=[key % 2**64, 2 * place + (op == NOISES[1])], counter=[0, 0, 0, step])
    generator = np.random.Generator(philox)
    drawn = generator.standard_normal(shape) if op == NOISES[0] else 2.0 * generator.integers(0, 2, shape) - 1.0
    return np.asarray(drawn, float)


class Leave(BaseException):
    """Raised by what is asked for gradients at a point, to leave the parameters there."""


def advance(work: Work, engine: Engine, ask: Ask | None = None) -> None:
    """One update of all tensors, in place, in as many passes over memory as the rule needs.

    Every pass computes what it needs from p, g and the old state; only the last one writes. `ask()` gives the
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
            sums = summed(sums, work.shards) if work.shards else sums
            for i, x in enumerate(ready):
                assert x.reduction
                known.values[x] = work.combine(x.reduction, sums[:, i])
        for point, answer in zip(graph.points, graph.gradients, strict=True):
            if point.stage == stage:
                assert ask is not None
                work.tensors[answer.name] = _elsewhere(work, engine, point, known, ask)
    engine.write(work, graph.tensors, known)
    if graph.scalars:
        if "scalars" not in work.scratch:
            work.scratch["scalars"] = numeric(list(graph.scalars.values()))
        work.numbers.update(zip(graph.scalars, work.scratch["scalars"](known), strict=True))


@torch.no_grad()
def _elsewhere(work: Work, engine: Engine, point: Symbol, known: Known, ask: Ask) -> Column:
    """The gradients at a point of the rule's choice; the parameters are put back."""
    ps = work.tensors["p"].tensors
    if "kept" not in work.scratch:
        work.scratch["kept"] = [torch.empty_like(p) for p in ps]
    for kept, p in zip(work.scratch["kept"], ps, strict=True):
        kept.copy_(p)

    def put_back() -> None:
        for kept, p in zip(work.scratch["kept"], ps, strict=True):
            p.copy_(kept)

    engine.write(work, {"p": point}, known)
    try:
        gradients = [_like(g, p) for g, p in zip(ask(), ps, strict=True)]
    except Leave:
        raise
    except BaseException:
        put_back()
        raise
    put_back()
    column = work.tensors["p"]
    return Stack(gradients, column.rows) if isinstance(column, Stack) else Column(gradients)


def _like(g: Tensor, p: Tensor) -> Tensor:
    """A gradient as memory of its parameter's type and layout: as it is, if it is that."""
    fits = is_memory(g) and g.dtype is p.dtype and g.stride() == p.stride()
    return g if fits or not is_memory(p) else torch.empty_like(p).copy_(g)
