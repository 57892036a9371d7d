"""The registered engines, and which of them updates what."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from torch import Tensor

from ...rules.trace import Graph
from .plain import Plain
from .protocol import Engine

PLAIN = Plain()
_engines: list[Engine] = [PLAIN]  # the first that takes the tensors updates them; the last takes any


def register(engine: Engine) -> Callable[[], None]:
    """Put an engine before those registered so far; call what is returned to take it out again."""
    _engines.insert(0, engine)
    return lambda: _engines.remove(engine)


def choose(graph: Graph, tensors: Sequence[Tensor]) -> tuple[Engine, Hashable]:
    """The engine of a parameter's tensors (p, g, state), and what they must have in common with others of one work."""
    for engine in _engines:
        shared = engine.takes(graph, tensors)
        if shared is not None:
            return engine, shared
    raise AssertionError("the last engine takes any tensors")
