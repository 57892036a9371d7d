"""Parts of a step: tensors that share a graph and an engine, with checks that only their gradients have changed."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from operator import attrgetter, is_
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from ...rules import Rule
from ...rules.definition import Hyper
from ...rules.trace import Graph
from ..engines.choose import Engine
from ..numbers import Number, Numbers
from ..step import advance
from ..work import Column, Work, is_memory
from .dtensor import gradient, here, is_split, is_viewed
from .stores import Group, Store, counter

TENSORS = {Tensor}
AskAt = Callable[[Sequence[Tensor]], Sequence[Tensor]]  # evaluates the gradients of these parameters at their current values
States = MutableMapping[Tensor, Store]  # of an optimizer
_bytes = attrgetter("nbytes")
Members = list[tuple[int, Tensor]]  # parameters, each with the number of its group
SPENT = Column([])  # in place of the gradients between steps


class Part:
    """Tensors of one graph that one engine updates, from one group or several."""

    def __init__(self, rule: Rule, graph: Graph, engine: Engine, members: Members, groups: list[Group], state: States) -> None:
        self.rule, self.engine, self.groups = rule, engine, groups
        self.params = [p for _, p in members]
        self.viewed = graph.elementwise and any(map(is_viewed, self.params))
        split = graph.elementwise and any(map(is_split, self.params))
        stores = self.stores = [state.get(p, {}) for p in self.params]  # none is made for rules without state
        self.of_group = [i for i, _ in members]  # the group of each tensor
        self.firsts = {i: nth for nth, (i, _) in reversed([*enumerate(members)])}  # the first tensor of each group
        self.steps = self._joined("step") if graph.counts else None
        self.scalars = {}  # state of one number for each parameter: one array for all, of which the stores have views
        self.shared = []  # state of one number for the group
        for letter in graph.scalars:
            if rule.state[letter].per_group:
                self.shared.append(letter)
            else:
                self.scalars[letter] = self._joined(self.rule.key(letter))
        pieces = {k: [store[self.rule.key(k)] for store in stores] for k in graph.tensors if k != "p"}
        # the tensors of the user; `tensors` has the local or dense ones that are updated
        self.entire = [*self.params, *(t for tensors in pieces.values() for t in tensors)]
        columns = {k: Column(self._own(tensors)) for k, tensors in {"p": self.params, **pieces}.items()}
        columns["g"] = Column(self._gradients([p.grad for p in self.params]))
        self.work = Work(graph, columns, shards=self.params if split else ())
        self.contiguous = all(p.is_contiguous() for p in columns["p"].tensors)
        self.strides = [p.stride() for p in columns["p"].tensors]
        self.turnable = [p for p in self.params if sum(n > 1 for n in p.shape) > 1]
        self.turnable_strides = [p.stride() for p in self.turnable]
        names = [self.rule.key(letter) for letter in graph.outputs if letter != "p" and letter not in self.shared]
        names += ["step"] if graph.counts else []
        self.holders, self.names = [*stores] * len(names), [name for name in names for _ in stores]
        self.objects = [store[name] for store, name in zip(self.holders, self.names, strict=True)]
        self.tensors = [t for letter, column in columns.items() if letter != "g" for t in column.tensors]
        if engine.reads_memory or self.viewed:
            self.places, self.orders = [*map(Tensor.data_ptr, self.tensors)], [t.stride() for t in self.tensors]
        if engine.reads_memory:
            grads = columns["g"].tensors
            self.bytes = [g.nbytes for g in grads]
            self.empty = self.bytes.count(0)
            self.free = {g.dtype for g in grads} if any(_may_differ(p) for p in self.params) else set()
            self.single = [i for i, g in enumerate(grads) if g.numel() == 1]  # a negated view of more has other strides
        self.grad_places: list[int] = []
        self.grad_addresses = np.empty(0, np.int64)
        self.hypers: list[Hyper] = []

    def _joined(self, key: str) -> Numbers:
        """Make the numbers under this key views of one array, (parameters,)."""
        values = [counter(store[key]) for store in self.stores]
        with no_dispatch():
            joined = torch.stack([v.detach().cpu().reshape(()) for v in values])
            for i, store in enumerate(self.stores):
                store[key] = joined[i]
            return joined.numpy()

    def _own(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Parameters or state as the tensors that are updated in place."""
        return [here(t) for t in tensors] if self.viewed else tensors

    def _gradients(self, grads: list[Any]) -> Sequence[Tensor]:
        """Gradients as the update reads them."""
        return [*map(gradient, self.params, grads)] if self.viewed else grads

    def is_current(self) -> bool:
        """Whether everything but the gradients is as before; takes this step's gradients into the work.

        It bounds the speed with a thousand small tensors: a call for each tensor costs 0.06 us, and a step of it 0.5.
        """
        grads: list[Any] = [p.grad for p in self.params]
        if not all(map(is_, map(dict.get, self.holders, self.names), self.objects)):
            return False
        if self.viewed:
            if any(g is None for g in grads):
                return False
            own = [*map(here, self.entire)]
            if [t.data_ptr() for t in own] != self.places or [t.stride() for t in own] != self.orders:
                return False
            grads = self._gradients(grads)  # type: ignore[assignment]
        column = Column(grads)
        if self.engine.reads_memory:
            try:
                places = [*map(Tensor.data_ptr, grads)]
                if not self._fit(grads, places) or [*map(Tensor.data_ptr, self.tensors)] != self.places:
                    return False
                if not self._same_strides():
                    return False
            except (RuntimeError, TypeError):  # a gradient that has no memory of its own, such as a sparse one; or none
                return False
            if places != self.grad_places:
                self.grad_places, self.grad_addresses = places, np.array(places, np.int64)
            column.addresses = self.grad_addresses  # the same object where nothing moved: the kernel skips it
        elif any(g is None or g.is_sparse or g.is_complex() for g in grads):
            return False
        self.work.tensors["g"] = column
        return True

    def _same_strides(self) -> bool:
        """Whether no parameter has other strides at the same address, as after `p.data = p.data.t()`."""
        if self.contiguous:
            return False not in map(Tensor.is_contiguous, self.turnable)
        return [p.stride() for p in self.turnable] == self.turnable_strides

    def _fit(self, grads: list[Tensor], places: list[int]) -> bool:
        """Whether these gradients have the sizes, types and strides of the first ones.

        torch lets no gradient have another dtype than its parameter, unless `grad_dtype` says so: only then it is checked.
        """
        if [*map(_bytes, grads)] != self.bytes or places.count(0) != self.empty:
            return False
        if {*map(type, grads)} != TENSORS and not all(map(is_memory, grads)):
            return False
        if self.free and {g.dtype for g in grads} != self.free:
            return False
        if self.contiguous:
            return False not in map(Tensor.is_contiguous, grads) and not any(grads[i].is_neg() for i in self.single)
        return [g.stride() for g in grads] == self.strides and True not in map(Tensor.is_neg, grads)

    def run(self, hypers: list[Hyper], ask: AskAt) -> None:
        """Take one step with each group's hyperparameters."""
        work = self.work
        if work.graph.noises:
            work.keys = [self.groups[i].get("seed", 0) for i in self.of_group]
        if self.steps is None:
            ages: list[float] = [0.0]  # which the rule does not read
        else:
            self.steps += 1
            ages = self.steps.tolist()
        same = hypers is self.hypers and not (self.scalars or work.apart) and len(set(ages)) == 1
        if same and not (self.shared and len(self.firsts) > 1):
            work.numbers["t"] = ages[0]
            for letter in self.shared:
                work.numbers[letter] = self.groups[self.of_group[0]][self.rule.key(letter)]
        else:
            self.number(hypers, ages)
        try:
            advance(work, self.engine, lambda: self._gradients([*ask(self.params)]))
        except BaseException:  # of the closure that gives a second gradient
            if self.steps is not None:
                self.steps -= 1
            raise
        self.remember()
        work.tensors["g"] = SPENT  # so that a gradient set to None is freed
        torch.autograd.graph.increment_version(self.params)

    def number(self, hypers: list[Hyper], ages: list[float]) -> None:
        """Set the numbers of this step: one for all tensors where they are equal, else one for each."""
        columns = {"t": ages, **{letter: joined.tolist() for letter, joined in self.scalars.items()}}
        numbers: dict[str, Number] = {k: x[0] if len(set(x)) == 1 else np.array(x) for k, x in columns.items()}
        for k in self.work.graph.numbers:
            if k not in numbers:
                of_groups = {i: self.groups[i][self.rule.key(k)] if k in self.shared else hypers[i][k] for i in self.firsts}
                values = [*of_groups.values()]
                alike = len(values) == 1 or len(set(values)) == 1
                numbers[k] = values[0] if alike else np.array([of_groups[i] for i in self.of_group], float)
        self.work.numbers, self.work.apart = numbers, any(isinstance(x, np.ndarray) for x in numbers.values())
        self.hypers = hypers

    def remember(self) -> None:
        """Write the numbers of each parameter to its store; tensors were written in place."""
        for letter, joined in self.scalars.items():
            new = self.work.numbers[letter]
            joined[...] = new.cpu() if isinstance(new, Tensor) else new


def _may_differ(p: Tensor) -> bool:
    """Whether the gradient of a parameter may be of another dtype. 16 bits are two dtypes that convert as one."""
    return p.element_size() == 2 or getattr(p, "grad_dtype", p.dtype) is not p.dtype


class Rows(Part):
    """Updates the rows of one parameter that its sparse gradient names; rows without a gradient do not change.

    Valid for one step, because the next gradient names other rows.
    """

    def __init__(self, rule: Rule, graph: Graph, engine: Engine, members: Members, groups: list[Group], state: States) -> None:
        (_, p), *_ = members
        assert p.grad is not None
        self.sparse = p.grad.coalesce()
        self.named = tuple(self.sparse.indices())  # the index of the rows, or of single elements
        self.made_of = rule, graph, engine, members, groups, state
        super().__init__(rule, graph, engine, members, groups, state)

    def _own(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return [here(t).detach()[self.named] for t in tensors]

    def _gradients(self, grads: list[Any]) -> Sequence[Tensor]:
        return [here(self.sparse.values().resolve_conj())]

    def is_current(self) -> bool:
        return False

    def remember(self) -> None:
        super().remember()
        for t, rows in zip(self.entire, self.tensors, strict=True):
            here(t.detach())[self.named] = rows
