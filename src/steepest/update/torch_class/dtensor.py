"""Dense real local tensors for parameters that are DTensors or complex.

For a DTensor, elementwise rules update the local shard and all-reduce their sums; rules that look at rows and columns gather
the whole and update it on every process alike. Complex numbers are updated as their real and imaginary parts, as in torch.
torch.distributed is imported only where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

    from ..numbers import Sums


def is_split(t: Tensor) -> TypeGuard[DTensor]:
    """Whether a tensor is a DTensor, of which this process has a shard."""
    return hasattr(t, "device_mesh") and hasattr(t, "placements")


def fake_mode(t: Tensor) -> AbstractContextManager[Any] | None:
    """The mode of a tensor that has a shape and no numbers (FakeTensorMode); None of any other."""
    mode: AbstractContextManager[Any] | None = getattr(t, "fake_mode", None)
    return mode


def is_viewed(p: Tensor) -> bool:
    """Whether an update uses another tensor in place of a parameter or its gradient."""
    return is_split(p) or p.is_complex() or (p.grad is not None and p.grad.is_sparse)


def here(t: Tensor) -> Tensor:
    """The local shard of a tensor, as real numbers (*shape, 2) if it is complex."""
    if is_split(t):
        own: Any = t._local_tensor  # to_local() makes a new view of a parameter every time
        t = own.wait() if hasattr(own, "wait") else own
    return torch.view_as_real(t.detach()) if t.is_complex() else t


def gradient(p: Tensor, g: Tensor | None = None) -> Tensor:
    """A gradient as the update of its parameter reads it: dense, sharded as the parameter is, real."""
    g = p.grad if g is None else g
    assert g is not None
    own = here(laid_as(g.to_dense() if g.is_sparse else g, p).resolve_conj())
    if is_split(p) and own.stride() != here(p).stride():  # every process must take the same engine
        own = torch.empty_like(here(p).detach()).copy_(own)
    return own


def laid_as(t: Tensor, like: Tensor) -> Tensor:
    """Shard a tensor as another is. An unsharded one must be the same on every process."""
    if not is_split(like) or (is_split(t) and (t.device_mesh, t.placements) == (like.device_mesh, like.placements)):
        return t
    if is_split(t):
        return t.redistribute(like.device_mesh, like.placements)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(t.detach(), like.device_mesh, like.placements, src_data_rank=None)


def whole(t: Tensor) -> Tensor:
    """The whole tensor, gathered on every process that has a shard of it."""
    return t.full_tensor() if is_split(t) else t


def shape_of(t: Tensor) -> tuple[int, ...]:
    """The shape of a whole tensor as real numbers."""
    return (*t.shape, 2) if t.is_complex() else tuple(t.shape)


def summed(sums: Sums, params: Sequence[Tensor]) -> Sums:
    """Sums over the local shard of each parameter, (parameters, symbols), all-reduced to sums over the whole."""
    teams: dict[tuple[Any, int], list[int]] = {}
    for i, p in enumerate(params):
        if is_split(p):
            for dim, placement in enumerate(p.placements):
                if not placement.is_replicate():
                    teams.setdefault((p.device_mesh, dim), []).append(i)
    for (mesh, dim), rows in teams.items():
        total = torch.as_tensor(sums[rows]).to(mesh.device_type)
        torch.distributed.all_reduce(total, group=mesh.get_group(dim))
        if isinstance(sums, np.ndarray):
            sums[rows] = total.cpu().numpy()
        else:
            sums[rows] = total
    return sums
