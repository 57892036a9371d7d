"""What an engine is. A new one is a file beside `plain` and a line in `engines.ENGINES`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from ..rules.symbols import Expr, Symbol
from ..rules.trace import Graph

if TYPE_CHECKING:
    from .passes import Known, Numbers, Work


class Engine(Protocol):
    """Updates the tensors of a work, in place, in the passes over memory that a traced rule needs.

    `reads_memory` says that it goes by addresses, which a step must then find unchanged. `wave` is how many elements it takes
    before the second pass of a rule with norms over tensors: as many as stay in the cache, or 1 for tensor by tensor.
    """

    name: str
    reads_memory: bool
    wave: int

    def takes(self, graph: Graph, tensors: Sequence[Tensor]) -> Hashable:
        """Whether it can update a parameter: its p, g and state tensors, in this order. None where it cannot, else what its
        tensors must have in common with others to be updated in one work.
        """

    def reduce(self, work: Work, symbols: Sequence[Symbol], known: Known) -> Numbers:
        """For each tensor, the sum of each reduction's terms over its elements: (tensors, symbols)."""

    def write(self, work: Work, targets: Mapping[str, Expr], known: Known) -> None:
        """Write each target, by letter, to p or state."""
