"""Updates of the rows that a sparse gradient names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...rules import Rule
from ...rules.trace import Graph
from ..engines.protocol import Engine
from .dtensor import here
from .part import Members, Part, States
from .stores import Group


class Rows(Part):
    """The rows of one parameter that its sparse gradient names, for rules that leave rows without gradient as they are.

    It is for one step: the next gradient names other rows.
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
