"""Recompute BatchNorm's running statistics for rules that evaluate other weights than they train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

REFRESH = 16  # batches over which new statistics are averaged


def normalizes(model: nn.Module) -> list[nn.Module]:
    """The layers with running statistics."""
    return [m for m in model.modules() if getattr(m, "running_mean", None) is not None]


def refresh(norms: Sequence[Any], run: Callable[[], None]) -> Callable[[], None]:
    """Set these layers' statistics to means over the forward passes of `run`; return a function that restores the old ones."""
    kept = [(m, m.momentum, {k: v.clone() for k, v in m.named_buffers(recurse=False)}) for m in norms]

    def put_back() -> None:
        for m, _, buffers in kept:
            for k, v in buffers.items():
                getattr(m, k).copy_(v)

    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the mean of all batches
    try:
        with torch.no_grad():
            run()
    except BaseException:
        put_back()
        raise
    finally:
        for m, momentum, _ in kept:
            m.momentum = momentum
    return put_back
