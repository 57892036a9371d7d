"""A second pass over a batch that leaves no trace in the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Inside, layers that keep running statistics, such as BatchNorm, use those of their batch and keep none.

    For the second pass of a rule that makes two: the statistics are then of the first, where the parameters are.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> with still(model):
    ...     _ = model(torch.ones(4, 2))
    >>> model[1].running_mean.tolist()
    [0.0, 0.0]
    """
    norms: list[Any] = [m for m in model.modules() if getattr(m, "running_mean", None) is not None and m.training]
    before = [(m, m.momentum, m.num_batches_tracked) for m in norms]
    for m in norms:
        m.momentum = 0.0
        m.num_batches_tracked = None
    try:
        yield
    finally:
        for m, momentum, tracked in before:
            m.momentum, m.num_batches_tracked = momentum, tracked
