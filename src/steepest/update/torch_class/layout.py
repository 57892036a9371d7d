"""The layout of an optimizer's step: which engine updates which tensors. It is made once and reused until something changes.

A step reads the gradients, checks that nothing else has changed, and runs. Any change (a parameter without a gradient, a loaded
checkpoint, other strides, a hyperparameter that needs other state) makes a new layout.
"""

from __future__ import annotations

from collections.abc import Hashable
from operator import is_

import numpy as np

from ...errors import SteepestError
from ...rules import Rule
from ...rules.definition import Hyper, Present, Shape
from ...rules.trace import Graph
from ..engines.choose import PLAIN, Engine, choose
from ..engines.fused import EXACT
from .dtensor import gradient, here
from .part import AskAt, Members, Part, Rows, States
from .stores import Group


class Layout:
    """The parts of a step: tensors that share a graph and an engine. A rule that looks over the model has one part."""

    def __init__(self, rule: Rule, groups: list[Group], hypers: list[Hyper], state: States) -> None:
        self.rule, self.hypers = rule, hypers
        self.shapes = [{rule.present(tuple(p.shape)): tuple(p.shape) for p in group["params"]} for group in groups]
        self.graphs = self._graphs(groups, hypers)
        self.groups, self.state = groups, state
        self.exact = [group.get("exact") for group in groups]
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
                    pieces = [state[p][key] for key in keys]
                    if p.grad.is_sparse and not (hypers[i].get("momentum") or hypers[i].get("weight_decay")):
                        rows.append(Rows(rule, graph, EXACT if group.get("exact") else PLAIN, [(i, p)], groups, state))
                        continue
                    tensors = [here(p), gradient(p), *map(here, pieces)] if graph.elementwise else [p, p.grad, *pieces]
                    engine, shared = (EXACT, None) if group.get("exact") else choose(graph, tensors)
                    members_of.setdefault((graph, engine, shared), []).append((i, p))
        if len(members_of) > 1 and any(graph.reach == "model" for graph, _, _ in members_of):
            if len({graph for graph, _, _ in members_of}) > 1:
                raise differs(rule)
            engine = EXACT if any(engine is EXACT for _, engine, _ in members_of) else PLAIN  # either takes any tensor
            members_of = {
                (next(iter(members_of))[0], engine, None): [member for members in members_of.values() for member in members]
            }
        self.parts = rows
        for (graph, engine, _), members in members_of.items():
            for wave in _waves(members, engine.wave) if graph.reach == "tensor" else [members]:
                part = Part(rule, graph, engine, wave, groups, state)
                part.work.places = [places[p] for _, p in wave]
                self.parts.append(part)
        self.leaders: list[tuple[Group, Part, int]] = []  # the first tensor of each group writes the group's numbers
        for group in groups:
            first = next((p for p in group["params"] if p.grad is not None), None)
            for part in self.parts:
                own = [nth for nth, p in enumerate(part.params) if p is first and part.shared]
                self.leaders += [(group, part, nth) for nth in own]
        self.owners, self.stores = [*state], [*state.values()]
        self.has_state = any(part.objects for part in self.parts)  # state at all

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

    def is_current(self, groups: list[Group], hypers: list[Hyper], state: States) -> bool:
        """Whether this is the layout of this step too; takes the step's gradients into the parts."""
        if groups is not self.groups or state is not self.state or len(groups) != len(self.lists):
            return False
        for group, (params, before) in zip(groups, self.lists, strict=True):
            if group["params"] is not params or len(params) != len(before) or not all(map(is_, params, before)):
                return False
        if self.has_state and not (len(state) == len(self.owners) and all(map(is_, state, self.owners))):
            return False
        if self.has_state and not all(map(is_, state.values(), self.stores)):
            return False
        if not all(map(is_, hypers, self.hypers)):
            if self._graphs(groups, hypers) != self.graphs or [group.get("exact") for group in groups] != self.exact:
                return False
            self.hypers = hypers
        if self.idle and any(p.grad is not None for p in self.idle):
            return False
        for k, part in enumerate(self.parts):
            if not part.is_current():
                (p, *_) = part.params
                if not isinstance(part, Rows) or p.grad is None or not p.grad.is_sparse:
                    return False
                self.parts[k] = Rows(*part.made_of)
        return True

    def run(self, ask: AskAt) -> None:
        """Take one step."""
        for part in self.parts:
            part.run(self.hypers, ask)
        for group, part, nth in self.leaders:  # after all parts have read them
            for letter in part.shared:
                new = part.work.numbers[letter]
                group[self.rule.key(letter)] = float(new[nth] if np.ndim(new) else new)  # type: ignore[index]


def differs(rule: Rule) -> SteepestError:
    """The error where a rule that looks over the model has another graph for matrices than for vectors."""
    return SteepestError(
        f"{rule.name} needs sums over the whole model, but its steps differ for matrices and vectors; give each kind an "
        "optimizer of its own, and clip by torch.nn.utils.clip_grad_norm_."
    )


def _waves(members: Members, most: int) -> list[Members]:
    """The tensors in lists of about `most` elements; a larger tensor is alone in its list."""
    waves: list[Members] = [[]]
    filled = 0
    for member in members:
        size = member[1].numel()
        if waves[-1] and filled + size > most:
            waves.append([])
            filled = 0
        waves[-1].append(member)
        filled += size
    return waves
