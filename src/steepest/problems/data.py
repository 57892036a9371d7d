"""The data of a problem: examples as tensors, read once, checked, and given out in batches by index."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate

from ..errors import SteepestError

Batch = tuple[tuple[Tensor, ...], Tensor]  # inputs, target; each (batch, ...)

LARGEST_IN_MEMORY = 4 * 2**30  # bytes; a larger map-style dataset is read batch by batch
PROBE = 256  # examples, evenly spread, read twice, to see whether a dataset gives the same example each time


def raw(t: Tensor) -> memoryview:
    """The bytes of a tensor."""
    return memoryview(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())  # type: ignore[arg-type]


class Examples:
    """Examples in memory: inputs and target, each a tensor (examples, ...)."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, index: Tensor | slice) -> Batch:
        """Inputs and target of these examples, as copies: a model may write to its input."""
        *inputs, target = (t[index].clone() if isinstance(index, slice) else t[index] for t in self.tensors)
        return tuple(inputs), target

    def to(self, device: str) -> Examples:
        """The same examples on a device."""
        return Examples(tuple(t.to(device) for t in self.tensors))

    def digest(self) -> str:
        """Hash of every byte of the data, with shapes and dtypes."""
        h = hashlib.sha256()
        for t in self.tensors:
            h.update(f"{tuple(t.shape)} {t.dtype}".encode())
            h.update(raw(t))
        return h.hexdigest()


class Streamed(Examples):
    """Examples read from a map-style dataset batch by batch: random augmentation, or more than fits in memory."""

    def __init__(self, dataset: Any, dtype: torch.dtype, device: str = "cpu") -> None:
        self.dataset, self.dtype, self.device = dataset, dtype, device

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, index: Tensor | slice) -> Batch:
        chosen = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        tensors = _collate([self.dataset[i] for i in chosen], self.dtype)
        *inputs, target = (t.to(self.device) for t in tensors)
        return tuple(inputs), target

    def to(self, device: str) -> Streamed:
        return Streamed(self.dataset, self.dtype, device)

    def digest(self) -> str:
        """Hash of the number of examples and of the first few; the rest is read only while training."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            inputs, target = self.batch(slice(0, 8))
        return Examples((*inputs, target)).digest() + f" of {len(self)}"


def read(source: Any, dtype: torch.dtype, what: str) -> Examples:
    """Examples from `(inputs, target)` tensors or arrays, or from a map-style dataset of `(input, target)` pairs.

    Floating-point data take the problem's `dtype`, integer targets become int64. `what` names the data in errors.
    SteepestError where the data are empty, of unequal length or not finite.
    """
    if isinstance(source, Examples):
        return source
    if isinstance(source, TensorDataset):
        source = source.tensors
    if isinstance(source, tuple | list) and len(source) >= 2 and all(isinstance(t, Tensor | np.ndarray) for t in source):
        tensors = [torch.as_tensor(t) for t in source]
        if any(t.ndim == 0 for t in tensors):
            raise SteepestError(f"The {what} data hold a single number; expected tensors with one row for each example.")
        examples = Examples(_cast(tensors, dtype))
        if len({len(t) for t in examples.tensors}) > 1:
            lengths = " and ".join(str(len(t)) for t in examples.tensors)
            raise SteepestError(f"The {what} data have {lengths} rows; inputs and target need the same number.")
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        examples = _read_dataset(source, dtype, what)
    else:
        raise SteepestError(
            f"The {what} data are {type(source).__name__}; expected (inputs, target) tensors or a map-style dataset."
        )
    if len(examples) == 0:
        raise SteepestError(f"The {what} data are empty; at least one example is needed.")
    if not isinstance(examples, Streamed):
        _check_finite(examples, what)
    return examples


def _read_dataset(dataset: Dataset[Any], dtype: torch.dtype, what: str) -> Examples:
    count = len(dataset)  # type: ignore[arg-type]
    if count == 0:
        return Examples((torch.empty(0), torch.empty(0)))
    probe = range(0, count, -(-count // PROBE))
    once, again = (_collate([dataset[i] for i in probe], dtype, what) for _ in range(2))
    same = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(once, again, strict=True))
    _check_finite(Examples(once), what)
    size = sum(t.numel() * t.element_size() for t in once) / len(probe) * count
    if not same or size > LARGEST_IN_MEMORY:
        return Streamed(dataset, dtype)
    return Examples(_collate([dataset[i] for i in range(count)], dtype, what))


def _collate(items: list[Any], dtype: torch.dtype, what: str = "training") -> tuple[Tensor, ...]:
    batch = default_collate(items)
    if not isinstance(batch, tuple | list) or len(batch) < 2 or not all(isinstance(t, Tensor) for t in batch):
        raise SteepestError(f"An example of the {what} data is not a pair (input, target) of tensors or numbers.")
    return _cast(list(batch), dtype)


def _cast(tensors: list[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    cast = [t.to(dtype) if t.is_floating_point() else t for t in tensors]
    if not cast[-1].is_floating_point():
        cast[-1] = cast[-1].long()
    return tuple(cast)


def _check_finite(examples: Examples, what: str) -> None:
    for t in examples.tensors:
        if t.is_floating_point() and not (finite := torch.isfinite(t)).all():
            rows = (~finite).flatten(1).any(1) if t.ndim > 1 else ~finite
            raise SteepestError(
                f"The {what} data hold NaN or infinity in {int(rows.sum())} of {len(t)} examples "
                f"(the first is example {int(rows.nonzero()[0])}); remove or fill them first."
            )
