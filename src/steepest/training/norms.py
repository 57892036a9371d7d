"""BatchNorm's running statistics where a rule evaluates elsewhere than it trains: new ones, of there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

REFRESH = 16  # batches that give them


def normalizes(model: nn.Module) -> list[nn.Module]:
    """The layers that keep running statistics of what they see in training."""
    return [m for m in model.modules() if getattr(m, "running_mean", None) is not None]


@contextlib.contextmanager
def refreshed(model: nn.Module, run: Callable[[], None]) -> Iterator[None]:
    """Inside, the statistics are means over what `run` passes through the model; those of training are put back afterwards.

    The model is left in training mode, and with it the modes of its parts.
    """
    norms: list[Any] = normalizes(model)
    kept = [(m.momentum, {k: v.clone() for k, v in m.named_buffers(recurse=False)}) for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the mean of all batches
    model.train()
    with torch.no_grad():
        run()
    try:
        yield
    finally:
        for m, (momentum, buffers) in zip(norms, kept, strict=True):
            m.momentum = momentum
            for k, v in buffers.items():
                getattr(m, k).copy_(v)
