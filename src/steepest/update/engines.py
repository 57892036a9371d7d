"""The engines there are, and which of them updates what."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

from ..rules.trace import Graph
from .engine import Engine
from .kernel import Kernel
from .plain import Plain

PLAIN = Plain()
ENGINES: tuple[Engine, ...] = (Kernel(), PLAIN)  # the first that takes the work does it; the last takes any


def choose(graph: Graph, tensors: Sequence[Tensor]) -> tuple[Engine, Hashable]:
    """The engine of a parameter's tensors (p, g, state), and what they must have in common with others of one work."""
    for engine in ENGINES:
        shared = engine.takes(graph, tensors)
        if shared is not None:
            return engine, shared
    raise AssertionError("the last engine takes any tensors")
