"""The layout of an optimizer's step: what lies where, found once and kept as long as it holds.

A step then reads the gradients, checks that nothing else has moved, and runs. Whatever changed (a parameter without a
gradient, a loaded checkpoint, another layout, a hyperparameter that keeps other state) makes a new layout.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping, Sequence
from operator import attrgetter, is_
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from ...errors import SteepestError
from ...rules import Rule
from ...rules.definition import Hyper, Shape
from ...rules.trace import Graph
from ..engines.choose import PLAIN, choose
from ..engines.protocol import Engine
from ..numbers import Number, Numbers
from ..step import advance
from ..work import Column, Work, is_memory
from .dtensor import gradient, here, is_split, is_viewed
from .stores import Group, Store, counter

TENSORS = {Tensor}
AskAt = Callable[[Sequence[Tensor]], Sequence[Tensor]]  # gives the gradients of these parameters where they now stand
States = MutableMapping[Tensor, Store]  # of an optimizer
_bytes = attrgetter("nbytes")
Members = list[tuple[int, Tensor]]  # parameters, each with the number of its group
Present = tuple[bool, ...]  # of each piece of state, whether it exists for a parameter
SPENT = Column([])  # stands in place of the gradients between steps


class Part:
    """Tensors of one graph that the same engine updates, from one group or several."""

    def __init__(self, rule: Rule, graph: Graph, engine: Engine, members: Members, groups: list[Group], state: States) -> None:
        self.rule, self.engine, self.groups = rule, engine, groups
        self.params = [p for _, p in members]
        self.viewed = graph.elementwise and any(map(is_viewed, self.params))
        split = graph.elementwise and any(map(is_split, self.params))
        stores = self.stores = [state.get(p, {}) for p in self.params]  # none is made for rules that keep no state
        self.of_group = [i for i, _ in members]  # the group of each tensor
        self.firsts = {i: nth for nth, (i, _) in reversed([*enumerate(members)])}  # the first tensor of each group
        self.leads = dict(self.firsts)  # of those, the ones whose numbers are the group's
        self.steps = self._joined("step") if graph.counts else None
        self.scalars = {}  # numbers kept for each parameter: one array for all, of which the state has views
        self.shared = []  # numbers kept in the group
        self.keys = {letter: rule.key(letter) for letter in rule.state}
        for letter in graph.scalars:
            if rule.state[letter].per_group:
                self.shared.append(letter)
            else:
                self.scalars[letter] = self._joined(self.keys[letter])
        kept = {k: [store[self.keys[k]] for store in stores] for k in graph.tensors if k != "p"}
        # as the user has them: what is updated is `tensors`
        self.entire = [*self.params, *(t for tensors in kept.values() for t in tensors)]
        columns = {k: Column(self._own(tensors)) for k, tensors in {"p": self.params, **kept}.items()}
        columns["g"] = Column(self._gradients([p.grad for p in self.params]))
        self.work = Work(graph, columns, shards=self.params if split else ())
        self.contiguous = all(p.is_contiguous() for p in columns["p"].tensors)
        self.strides = [p.stride() for p in columns["p"].tensors]
        self.turnable = [p for p in self.params if sum(n > 1 for n in p.shape) > 1]
        self.turnable_strides = [p.stride() for p in self.turnable]
        names = [self.keys[letter] for letter in graph.outputs if letter != "p" and letter not in self.shared]
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
        """Make the numbers under this key, one for each parameter, views of one array."""
        values = [counter(store[key]) for store in self.stores]
        with no_dispatch():
            joined = torch.stack([v.detach().cpu().reshape(()) for v in values])
            for i, store in enumerate(self.stores):
                store[key] = joined[i]
            return joined.numpy()

    def _own(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Parameters or state as they are updated, in place."""
        return [here(t) for t in tensors] if self.viewed else tensors

    def _gradients(self, grads: list[Any]) -> Sequence[Tensor]:
        """Gradients as the update reads them."""
        return [*map(gradient, self.params, grads)] if self.viewed else grads

    def holds(self) -> bool:
        """Whether everything but the gradients is what it was; takes up this step's gradients.

        Whoever steps a thousand small tensors waits for this: a call for each tensor costs 0.06 us, and a step 0.5.
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
                if not self._lie_as_before():
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

    def _lie_as_before(self) -> bool:
        """Whether the parameters that could lie in another order at the same place, as `p.data = p.data.t()`, do not."""
        if self.contiguous:
            return False not in map(Tensor.is_contiguous, self.turnable)
        return [p.stride() for p in self.turnable] == self.turnable_strides

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
                work.numbers[letter] = self.groups[self.of_group[0]][self.keys[letter]]
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
        """Find the numbers of this step: one for all tensors where they agree, else one for each."""
        columns = {"t": ages, **{letter: joined.tolist() for letter, joined in self.scalars.items()}}
        numbers: dict[str, Number] = {k: x[0] if len(set(x)) == 1 else np.array(x) for k, x in columns.items()}
        for k in self.work.graph.numbers:
            if k not in numbers:
                of_groups = {i: self.groups[i][self.keys[k]] if k in self.shared else hypers[i][k] for i in self.firsts}
                values = [*of_groups.values()]
                alike = len(values) == 1 or len(set(values)) == 1
                numbers[k] = values[0] if alike else np.array([of_groups[i] for i in self.of_group], float)
        self.work.numbers, self.work.apart = numbers, any(isinstance(x, np.ndarray) for x in numbers.values())
        self.hypers = hypers

    def remember(self) -> None:
        """Put the numbers of each parameter where checkpoints have them; tensors were written in place."""
        for letter, joined in self.scalars.items():
            new = self.work.numbers[letter]
            joined[...] = new

    def share(self) -> None:
        """Put the numbers of the groups that this part leads where checkpoints have them, after all parts have read them."""
        for letter in self.shared:
            new = self.work.numbers[letter]
            for i, first in self.leads.items():
                self.groups[i][self.keys[letter]] = float(new[first] if np.ndim(new) else new)  # type: ignore[index]


class Rows(Part):
    """The rows of one parameter that its sparse gradient names, where a step without gradient would leave the others.

    Other rows come with the next gradient: it serves for one step, and is made anew.
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

    def holds(self) -> bool:
        return False

    def remember(self) -> None:
        super().remember()
        for t, rows in zip(self.entire, self.tensors, strict=True):
            here(t.detach())[self.named] = rows


class Layout:
    """The parts of a step: tensors that share a graph and an engine. All that a rule looks over in the model is one part."""

    def __init__(self, rule: Rule, groups: list[Group], hypers: list[Hyper], state: States) -> None:
        self.rule, self.hypers = rule, hypers
        self.shapes = [{rule.present(tuple(p.shape)): tuple(p.shape) for p in group["params"]} for group in groups]
        self.graphs = self._graphs(groups, hypers)
        self.groups, self.state = groups, state
        self.lists = [(group["params"], [*group["params"]]) for group in groups]
        self.idle = [p for group in groups for p in group["params"] if p.grad is None]
        members_of: dict[tuple[Graph, Engine, Hashable], Members] = {}
        rows: list[Part] = []
        places = {p: place for place, p in enumerate(p for group in groups for p in group["params"])}
        for i, (group, graphs) in enumerate(zip(groups, self.graphs, strict=True)):
            for p in group["params"]:
                if p.grad is not None:
                    graph = graphs[rule.present(tuple(p.shape))]
                    keys = [rule.key(letter) for letter in graph.tensors if letter != "p"]
                    kept = [state[p][key] for key in keys]
                    if p.grad.is_sparse and not (hypers[i].get("momentum") or hypers[i].get("weight_decay")):
                        rows.append(Rows(rule, graph, PLAIN, [(i, p)], groups, state))
                        continue
                    tensors = [here(p), gradient(p), *map(here, kept)] if graph.elementwise else [p, p.grad, *kept]
                    engine, shared = choose(graph, tensors)
                    members_of.setdefault((graph, engine, shared), []).append((i, p))
        if len(members_of) > 1 and any(graph.reach == "model" for graph, _, _ in members_of):
            if len({graph for graph, _, _ in members_of}) > 1:
                raise differs(rule)
            members_of = {
                (next(iter(members_of))[0], PLAIN, None): [member for members in members_of.values() for member in members]
            }
        self.parts = rows
        for (graph, engine, _), members in members_of.items():
            for wave in _waves(members, engine.wave) if graph.reach == "tensor" else [members]:
                part = Part(rule, graph, engine, wave, groups, state)
                part.work.places = [places[p] for _, p in wave]
                self.parts.append(part)
        self.leaders = _lead(self.parts, groups)
        self.owners, self.stores = [*state], [*state.values()]
        self.keeps = any(part.objects for part in self.parts)  # state at all

    def _graphs(self, groups: list[Group], hypers: list[Hyper]) -> list[dict[Present, Graph]]:
        """The graphs of each group, by which state exists; the same for all where the rule looks over the model."""

        def each(shapes: dict[Present, Shape], hyper: Hyper, maximize: bool) -> dict[Present, Graph]:
            return {present: self.rule.graph(hyper, maximize, shape) for present, shape in shapes.items()}

        flags = [group["maximize"] for group in groups]
        graphs = [each(*own) for own in zip(self.shapes, hypers, flags, strict=True)]
        if len(groups) > 1 and any(graph.reach == "model" for own in graphs for graph in own.values()):
            merged = {k: next((h[k] for h in hypers if h[k]), v) for k, v in hypers[0].items()}
            graphs = [each(shapes, merged, flags[0]) for shapes in self.shapes]
        return graphs

    def holds(self, groups: list[Group], hypers: list[Hyper], state: States) -> bool:
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
            if self._graphs(groups, hypers) != self.graphs:
                return False
            self.hypers = hypers
        if self.idle and any(p.grad is not None for p in self.idle):
            return False
        for k, part in enumerate(self.parts):
            if not part.holds():
                (p, *_) = part.params
                if not isinstance(part, Rows) or p.grad is None or not p.grad.is_sparse:
                    return False
                self.parts[k] = Rows(*part.made_of)
        return True

    def run(self, ask: AskAt) -> None:
        """Take one step."""
        for part in self.parts:
            part.run(self.hypers, ask)
        for part in self.leaders:
            part.share()


def _lead(parts: list[Part], groups: list[Group]) -> list[Part]:
    """Leave each group's numbers to the part that has the first of its tensors; the parts that write some."""
    firsts = [next((p for p in group["params"] if p.grad is not None), None) for group in groups]
    for part in parts:
        part.leads = {i: nth for i, nth in part.firsts.items() if part.params[nth] is firsts[i]}
    return [part for part in parts if part.shared and part.leads]


def differs(rule: Rule) -> SteepestError:
    """What is said where a rule that looks over the model has another graph for matrices than for vectors."""
    return SteepestError(
        f"{rule.name} looks over the whole model, and takes other steps for matrices than for vectors; give the two an "
        "optimizer each, and clip by torch.nn.utils.clip_grad_norm_."
    )


def _may_differ(p: Tensor) -> bool:
    """Whether the gradient of a parameter may be of another dtype. 16 bits are two dtypes that convert as one."""
    return p.element_size() == 2 or getattr(p, "grad_dtype", p.dtype) is not p.dtype


def _waves(members: list[tuple[int, Tensor]], most: int) -> list[list[tuple[int, Tensor]]]:
    """The tensors in stretches of about `most` elements; a larger tensor stands alone."""
    waves: list[list[tuple[int, Tensor]]] = [[]]
    filled = 0
    for member in members:
        size = member[1].numel()
        if waves[-1] and filled + size > most:
            waves.append([])
            filled = 0
        waves[-1].append(member)
        filled += size
    return waves
