"""The layout of an optimizer's step: what lies where, found once and kept as long as it holds.

A step then reads the gradients, checks that nothing else has moved, and runs. Whatever changed (a parameter without a
gradient, a loaded checkpoint, another layout, a hyperparameter that keeps other state) makes a new layout.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..rules import Rule
from ..rules.trace import Graph
from .engine import Engine
from .engines import PLAIN, choose
from .passes import Column, Work, advance, is_memory

TENSORS = {Tensor}
_bytes = attrgetter("nbytes")
SPENT = Column([])  # stands in place of the gradients between steps


class Part:
    """Tensors of one graph that the same engine updates, from one group or several."""

    def __init__(
        self, rule: Rule, graph: Graph, engine: Engine, members: list[tuple[int, Tensor]], groups: Any, state: Any
    ) -> None:
        self.rule, self.engine, self.groups = rule, engine, groups
        self.params = [p for _, p in members]
        stores = self.stores = [state[p] for p in self.params]
        self.of_group = [i for i, _ in members]
        self.used, self.member = np.unique(self.of_group, return_inverse=True)  # groups, and which of them each tensor is in
        self.contiguous = all(p.is_contiguous() for p in self.params)
        self.strides = [p.stride() for p in self.params]
        self.steps = self._joined("step").numpy() if graph.counts else None
        self.scalars = {}  # numbers kept for each parameter: one tensor for all, of which the state has views
        self.shared = []  # numbers kept in the group
        self.keys = {letter: rule.keys.get(letter, letter) for letter in (*rule.state,)}
        for letter in graph.scalars:
            if rule.state[letter].per_group:
                self.shared.append(letter)
            else:
                self.scalars[letter] = self._joined(self.keys[letter])
        columns = {"p": Column(self.params), "g": Column([p.grad for p in self.params])}  # type: ignore[misc]
        for letter in graph.tensors:
            if letter != "p":
                columns[letter] = Column([store[self.keys[letter]] for store in self.stores])
        self.work = Work(graph, columns)
        names = [self.keys[letter] for letter in graph.outputs if letter != "p" and letter not in self.shared]
        names += ["step"] if graph.counts else []
        self.holders, self.names = [*stores] * len(names), [name for name in names for _ in stores]
        self.objects = [store[name] for store, name in zip(self.holders, self.names, strict=True)]
        self.tensors = [t for letter, column in columns.items() if letter != "g" for t in column.tensors]
        if engine.reads_memory:
            self.places = [*map(Tensor.data_ptr, self.tensors)]
            grads = columns["g"].tensors
            self.bytes = [g.nbytes for g in grads]
            self.empty = self.bytes.count(0)
            self.free = {g.dtype for g in grads} if any(_may_differ(p) for p in self.params) else set()
            self.single = [i for i, g in enumerate(grads) if g.numel() == 1]  # a negated view of more has other strides
        self.grad_places: list[int] = []
        self.grad_addresses = np.empty(0, np.int64)
        self.hypers: list[dict[str, Any]] = []
        self.alike = False

    def _joined(self, key: str) -> Tensor:
        """Make the numbers under this key, one for each parameter, views of one tensor."""
        values = [torch.as_tensor(store[key]).detach().cpu() for store in self.stores]
        joined = torch.stack([v.reshape(()) for v in values])
        for i, store in enumerate(self.stores):
            store[key] = joined[i]
        return joined

    def holds(self) -> bool:
        """Whether everything but the gradients is what it was; takes up this step's gradients.

        Whoever steps a thousand small tensors waits for this: a call for each tensor costs 0.06 us, and a step 0.5.
        """
        grads: list[Any] = [p.grad for p in self.params]
        if not all(map(is_, map(dict.get, self.holders, self.names), self.objects)):
            return False
        column = Column(grads)
        if self.engine.reads_memory:
            try:
                places = [*map(Tensor.data_ptr, grads)]
                if not self._fit(grads, places) or [*map(Tensor.data_ptr, self.tensors)] != self.places:
                    return False
            except (RuntimeError, TypeError):  # a gradient that has no memory of its own, such as a sparse one; or none
                return False
            if places != self.grad_places:
                self.grad_places, self.grad_addresses = places, np.array(places, np.int64)
            column.addresses = self.grad_addresses  # the same array where they lie as they lay: the kernel need not read it
        elif any(g is None or g.is_sparse or g.is_complex() for g in grads):
            return False
        self.work.tensors["g"] = column
        return True

    def _fit(self, grads: list[Tensor], places: list[int]) -> bool:
        """Whether these gradients lie in memory as the first ones did: as many bytes, of the same types and order.

        torch lets no gradient have another dtype than its parameter, unless `grad_dtype` says so: then it is looked at.
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

    def run(self, hypers: list[dict[str, Any]], ask: Callable[[Work], list[Tensor]]) -> None:
        """Take one step with each group's hyperparameters."""
        work = self.work
        if work.graph.noises:
            work.keys = [self.groups[i].get("seed", 0) for i in self.of_group]
        if self.steps is None:
            ages: list[float] = [0.0]  # which the rule does not read
        else:
            self.steps += 1
            ages = self.steps.tolist()
        same = hypers is self.hypers and self.alike and not self.scalars and len(set(ages)) == 1
        if same and len(self.used) == 1:
            group = self.groups[self.used[0]]
            work.numbers["t"] = ages[0]
            for letter in self.shared:
                work.numbers[letter] = group[self.keys[letter]]
            advance(work, self.engine, ask)
            for letter in self.shared:
                group[self.keys[letter]] = work.numbers[letter]
        else:
            self.number(hypers, ages)
            advance(work, self.engine, ask)
            self.remember()
        work.tensors["g"] = SPENT  # so that a gradient set to None is freed
        torch.autograd.graph.increment_version(self.params)

    def number(self, hypers: list[dict[str, Any]], ages: list[float]) -> None:
        """Lay out the numbers of this step: one set for each group where its tensors are of one age, else for each tensor."""
        work, graph = self.work, self.work.graph
        columns = {"t": ages, **{letter: joined.tolist() for letter, joined in self.scalars.items()}}
        own = [hypers[i] for i in self.used]
        one, alike = len(own) == 1, all(len(set(column)) == 1 for column in columns.values())
        numbers: dict[str, Any] = {k: column[0] if alike else np.array(column) for k, column in columns.items()}
        for k in graph.numbers:
            if k not in numbers:
                shared = k in self.shared
                values = [self.groups[i][self.keys[k]] for i in self.used] if shared else [h[k] for h in own]
                numbers[k] = values[0] if one else np.array(values, float)[slice(None) if alike else self.member]
        if alike:
            work.sets, work.which = len(own), None if one else self.member
        else:
            work.sets, work.which = len(self.params), np.arange(len(self.params))
        self.hypers, self.alike = hypers, alike
        work.numbers = numbers

    def remember(self) -> None:
        """Put the state that is numbers where checkpoints have it; tensors were written in place."""
        work = self.work
        for letter in self.shared:
            new = np.broadcast_to(work.numbers[letter], work.sets)
            for nth, i in enumerate(self.used):
                self.groups[i][self.keys[letter]] = float(new[nth if self.alike else int(np.argmax(self.member == nth))])
        for letter, joined in self.scalars.items():
            value = work.numbers[letter]
            if isinstance(value, np.ndarray):
                joined.copy_(torch.from_numpy(value if work.which is None else value[work.which]))
            else:
                joined.fill_(value)


class Layout:
    """The parts of a step: tensors that share a graph and an engine. All that a rule looks over in the model is one part."""

    def __init__(self, rule: Rule, groups: list[dict[str, Any]], hypers: list[dict[str, Any]], state: Any) -> None:
        self.rule, self.hypers, self.graphs = rule, hypers, _graphs(rule, groups, hypers)
        self.groups, self.state = groups, state
        self.lists = [(group["params"], [*group["params"]]) for group in groups]
        self.idle = [p for group in groups for p in group["params"] if p.grad is None]
        found: dict[Any, list[tuple[int, Tensor]]] = {}
        places = {p: place for place, p in enumerate(p for group in groups for p in group["params"])}
        for i, (group, graphs) in enumerate(zip(groups, self.graphs, strict=True)):
            for p in group["params"]:
                if p.grad is not None:
                    graph = graphs[p.ndim >= 2]
                    keys = [rule.keys.get(letter, letter) for letter in graph.tensors if letter != "p"]
                    engine, kind = choose(graph, [p, p.grad, *(state[p][key] for key in keys)])
                    found.setdefault((graph, engine, kind), []).append((i, p))
        if len(found) > 1 and any(graph.reach == "model" for graph, _, _ in found):
            found = {(next(iter(found))[0], PLAIN, None): [member for members in found.values() for member in members]}
        self.parts = []
        for (graph, engine, _), members in found.items():
            for wave in _waves(members, engine.wave) if graph.reach == "tensor" else [members]:
                part = Part(rule, graph, engine, wave, groups, state)
                part.work.places = [places[p] for _, p in wave]
                self.parts.append(part)
        self.owners, self.stores = [*state], [*state.values()]
        self.keeps = any(part.objects for part in self.parts)  # state at all

    def holds(self, groups: list[dict[str, Any]], hypers: list[dict[str, Any]], state: Any) -> bool:
        """Whether this is the layout of this step too, whatever was changed from outside; takes up the step's gradients."""
        if groups is not self.groups or state is not self.state or len(groups) != len(self.lists):
            return False
        for group, (params, kept) in zip(groups, self.lists, strict=True):
            if group["params"] is not params or len(params) != len(kept) or not all(map(is_, params, kept)):
                return False
        if self.keeps and not (len(state) == len(self.owners) and all(map(is_, state, self.owners))):
            return False
        if self.keeps and not all(map(is_, state.values(), self.stores)):
            return False
        if not all(map(is_, hypers, self.hypers)):
            if _graphs(self.rule, groups, hypers) != self.graphs:
                return False
            self.hypers = hypers
        if self.idle and any(p.grad is not None for p in self.idle):
            return False
        for part in self.parts:  # noqa: SIM110 - a generator costs as much as a small part's check
            if not part.holds():
                return False
        return True

    def run(self, ask: Callable[[Work], list[Tensor]]) -> None:
        """Take one step."""
        for part in self.parts:
            part.run(self.hypers, ask)


def _may_differ(p: Tensor) -> bool:
    """Whether the gradient of a parameter may be of another dtype. 16 bits are two dtypes that convert as one."""
    return p.element_size() == 2 or getattr(p, "grad_dtype", p.dtype) is not p.dtype


def _graphs(rule: Rule, groups: list[dict[str, Any]], hypers: list[dict[str, Any]]) -> list[tuple[Graph, Graph]]:
    """The graphs of each group, for vectors and for matrices; the same for all where the rule looks over the model."""

    def both(hyper: dict[str, Any], maximize: bool) -> tuple[Graph, Graph]:
        return rule.graph(rule.of(hyper, 1), maximize), rule.graph(rule.of(hyper, 2), maximize)

    graphs = [both(hyper, group["maximize"]) for hyper, group in zip(hypers, groups, strict=True)]
    if len(groups) > 1 and any(graph.reach == "model" for pair in graphs for graph in pair):
        merged = {k: next((h[k] for h in hypers if h[k]), v) for k, v in hypers[0].items()}
        graphs = [both(merged, groups[0]["maximize"])] * len(groups)
    return graphs


def _waves(members: list[tuple[int, Tensor]], most: int) -> list[list[tuple[int, Tensor]]]:
    """The tensors in stretches of about `most` elements; a larger tensor stands alone."""
    waves: list[list[tuple[int, Tensor]]] = [[]]
    held = 0
    for member in members:
        size = member[1].numel()
        if waves[-1] and held + size > most:
            waves.append([])
            held = 0
        waves[-1].append(member)
        held += size
    return waves
