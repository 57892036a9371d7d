"""What an engine is, the registered engines, and which of them updates what.

A new engine is a file that ends with `register(...)`; one in this folder is imported automatically.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from ...rules.symbols import Expr, Symbol
from ...rules.trace import Graph
from .plain import Plain

if TYPE_CHECKING:
    from ..numbers import Known, Sums
    from ..work import Work


class Engine(Protocol):
    """Updates the tensors of a work, in place, in the passes over memory that a traced rule needs.

    `reads_memory`: it caches addresses, so every step checks that they have not changed. `wave` is the number of
    elements that a rule with norms over tensors updates together: as many as fit the cache, or 1 for one tensor at a time.
    """

    name: str
    reads_memory: bool
    wave: int

    def takes(self, graph: Graph, tensors: Sequence[Tensor]) -> Hashable:
        """A key for a parameter's tensors (p, g, state, in this order); tensors with equal keys are updated together.

        None where the engine cannot update them.
        """

    def reduce(self, work: Work, symbols: Sequence[Symbol], known: Known) -> Sums:
        """The sum of each reduction's terms over the elements of each tensor, (tensors, symbols).

        A NumPy array where the tensors are on the CPU; else a tensor on their device, so that no step waits for it.
        """

    def write(self, work: Work, targets: Mapping[str, Expr], known: Known) -> None:
        """Write each target, by letter, to p or state."""


PLAIN = Plain()
_engines: list[Engine] = [PLAIN]  # the first that accepts the tensors updates them; the last accepts any


def register(engine: Engine) -> Callable[[], None]:
    """Register an engine in front of the others; the returned function unregisters it."""
    _engines.insert(0, engine)
    return lambda: _engines.remove(engine)


def choose(graph: Graph, tensors: Sequence[Tensor]) -> tuple[Engine, Hashable]:
    """The engine for a parameter's tensors (p, g, state), and the key that tensors of one work share."""
    for engine in _engines:
        shared = engine.takes(graph, tensors)
        if shared is not None:
            return engine, shared
    raise AssertionError("the last engine takes any tensors")
