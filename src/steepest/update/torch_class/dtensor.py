"""What an update runs on where a parameter is not one dense real tensor of this process.

Of a DTensor, as FSDP2 and tensor parallelism lay it out, a rule that works element by element updates what lies here, and its
sums go over the mesh; one that looks at rows and columns updates the whole, gathered for one update on every process alike.
Complex numbers are updated as their real and imaginary parts, as torch does it. Of a sparse gradient's parameter, the rows that
it names. torch.distributed is loaded only by who uses it.
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
    """Whether a tensor is a DTensor, of which this process may hold a part."""
    return hasattr(t, "device_mesh") and hasattr(t, "placements")


def fake_mode(t: Tensor) -> AbstractContextManager[Any] | None:
    """The mode of a tensor that has a shape and no numbers (FakeTensorMode); None of any other."""
    mode: AbstractContextManager[Any] | None = getattr(t, "fake_mode", None)
    return mode


def is_viewed(p: Tensor) -> bool:
    """Whether something else stands for a parameter, or for its gradient, in an update."""
    return is_split(p) or p.is_complex() or (p.grad is not None and p.grad.is_sparse)


def here(t: Tensor) -> Tensor:
    """What this process holds of a tensor, as real numbers (*shape, 2) if it is complex."""
    if is_split(t):
        own: Any = t._local_tensor  # to_local() makes a new view of a parameter every time
        t = own.wait() if hasattr(own, "wait") else own
    return torch.view_as_real(t.detach()) if t.is_complex() else t


def gradient(p: Tensor, g: Tensor | None = None) -> Tensor:
    """A gradient as the update of its parameter reads it: dense, laid as the parameter is, real."""
    g = p.grad if g is None else g
    assert g is not None
    own = here(laid_as(g.to_dense() if g.is_sparse else g, p).resolve_conj())
    if is_split(p) and own.stride() != here(p).stride():  # every process must take the same engine
        own = torch.empty_like(here(p).detach()).copy_(own)
    return own


def laid_as(t: Tensor, like: Tensor) -> Tensor:
    """A tensor split as another is. A whole one must be the same on every process."""
    if not is_split(like) or (is_split(t) and (t.device_mesh, t.placements) == (like.device_mesh, like.placements)):
        return t
    if is_split(t):
        return t.redistribute(like.device_mesh, like.placements)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(t.detach(), like.device_mesh, like.placements, src_data_rank=None)


def whole(t: Tensor) -> Tensor:
    """All of a tensor, on every process that holds a part of it."""
    return t.full_tensor() if is_split(t) else t


def shape_of(t: Tensor) -> tuple[int, ...]:
    """The shape of what is updated of all of a tensor."""
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
