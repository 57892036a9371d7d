"""Parameters that are split over processes: DTensors, as FSDP2 and tensor parallelism lay them out.

What works element by element runs on what lies here, and its sums go over the mesh; what looks at rows and columns runs on
the whole tensor, gathered for one update, on every process alike. torch.distributed is loaded only by who uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

    from .passes import Numbers


def is_split(t: Tensor) -> TypeGuard[DTensor]:
    """Whether a tensor is a DTensor, of which this process may hold a part."""
    return hasattr(t, "device_mesh") and hasattr(t, "placements")


def here(t: Tensor) -> Tensor:
    """What this process holds of a tensor; one that is no DTensor as it is."""
    if not is_split(t):
        return t
    own: Any = t._local_tensor  # to_local() makes a new view of a parameter every time
    return own.wait() if hasattr(own, "wait") else own  # type: ignore[no-any-return]


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


def summed(sums: Numbers, params: Sequence[Tensor]) -> Numbers:
    """Sums over what lies here of each parameter, (parameters, symbols), as sums over the whole: on every process the same."""
    teams: dict[tuple[Any, int], list[int]] = {}
    for i, p in enumerate(params):
        if is_split(p):
            for dim, placement in enumerate(p.placements):
                if not placement.is_replicate():
                    teams.setdefault((p.device_mesh, dim), []).append(i)
    for (mesh, dim), rows in teams.items():
        total = torch.from_numpy(sums[rows]).to(mesh.device_type)
        torch.distributed.all_reduce(total, group=mesh.get_group(dim))
        sums[rows] = total.cpu().numpy()
    return sums
