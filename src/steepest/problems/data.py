"""The data of a problem: examples as tensors, read once, checked, and given out in batches by index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, default_collate

from ..errors import SteepestError

Batch = tuple[tuple[Tensor, ...], Tensor]  # inputs, target; each (batch, ...)

LARGEST_IN_MEMORY = 4 * 2**30  # bytes; a larger map-style dataset is read batch by batch
PROBE = 256  # examples, evenly spread, read twice, to see whether a dataset gives the same example each time


def raw(t: Tensor) -> memoryview:
    """The bytes of a tensor."""
    return memoryview(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())  # type: ignore[arg-type]


class Examples:
    """Examples in memory: inputs and target, each a tensor (examples, ...).

    `names` are those of the inputs where they came as a dict: the model takes them by keyword.
    """

    reads_ahead = False  # whether workers of the data's own read batches before they are wanted

    def __init__(self, tensors: tuple[Tensor, ...], names: tuple[str, ...] = ()) -> None:
        self.tensors, self.names = tensors, names

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, index: Tensor | slice) -> Batch:
        """Inputs and target of these examples, the index's shape in front; copies, as a model may write to its input."""

        def taken(t: Tensor) -> Tensor:
            if isinstance(index, slice):
                return t[index].clone()
            rows = t.index_select(0, index.flatten().to(t.device))  # thrice as fast as t[index]
            return rows.view(*index.shape, *t.shape[1:])

        *inputs, target = map(taken, self.tensors)
        return tuple(inputs), target

    def batches(self, orders: Iterator[Tensor], seed: int) -> Iterator[Batch]:
        """A batch for each set of indices; `seed` is that of workers, where the data have them."""
        for index in orders:
            yield self.batch(index)

    def to(self, device: str) -> Examples:
        """The same examples on a device."""
        return Examples(tuple(t.to(device) for t in self.tensors), self.names)

    def digest(self) -> str:
        """Hash of every byte of the data, with shapes, dtypes and names."""
        h = hashlib.sha256(repr(self.names).encode() if self.names else b"")
        for t in self.tensors:
            h.update(f"{tuple(t.shape)} {t.dtype}".encode())
            h.update(raw(t))
        return h.hexdigest()


class Streamed(Examples):
    """Examples read from a map-style dataset batch by batch: random augmentation, or more than fits in memory.

    Where they came in a DataLoader, its way to collate is kept, and as many workers read ahead.
    """

    def __init__(self, dataset: Any, dtype: torch.dtype, loader: DataLoader[Any] | None = None, device: str = "cpu") -> None:
        self.dataset, self.dtype, self.loader, self.device = dataset, dtype, loader, device
        self.reads_ahead = loader is not None and loader.num_workers > 0
        self.names = self._flat(self._collated([dataset[0]]))[1]

    def __len__(self) -> int:
        return len(self.dataset)

    def _collated(self, items: list[Any]) -> Any:
        return self.loader.collate_fn(items) if self.loader else default_collate(items)

    def _flat(self, batch: Any) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
        tensors, names = _flat(batch, "training")
        return _cast(tensors, self.dtype), names

    def _batch(self, batch: Any) -> Batch:
        *inputs, target = (t.to(self.device) for t in self._flat(batch)[0])
        return tuple(inputs), target

    def batch(self, index: Tensor | slice) -> Batch:
        chosen = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        return self._batch(self._collated([self.dataset[i] for i in chosen]))

    def batches(self, orders: Iterator[Tensor], seed: int) -> Iterator[Batch]:
        if self.loader is None or not self.reads_ahead:
            yield from super().batches(orders, seed)
            return
        ahead = DataLoader(
            self.dataset,
            batch_sampler=(index.tolist() for index in orders),
            collate_fn=self.loader.collate_fn,
            num_workers=self.loader.num_workers,
            worker_init_fn=self.loader.worker_init_fn,
            multiprocessing_context=self.loader.multiprocessing_context,
            generator=torch.Generator().manual_seed(seed),
        )
        for batch in ahead:
            yield self._batch(batch)

    def to(self, device: str) -> Streamed:
        return Streamed(self.dataset, self.dtype, self.loader, device)

    def digest(self) -> str:
        """Hash of the number of examples and of the first few; the rest is read only while training."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            inputs, target = self.batch(slice(0, 8))
        return Examples((*inputs, target)).digest() + f" of {len(self)}"


def read(source: Any, dtype: torch.dtype, what: str) -> Examples:
    """Examples from `(inputs, target)` tensors or arrays, a map-style dataset of such pairs, or a DataLoader of one.

    Inputs are a tensor, several, or a dict of them by the model's keywords. Of a DataLoader the dataset, the way to
    collate and the workers are used; order and batch size are the problem's. Floating-point data take the problem's
    `dtype`, integer targets become int64. `what` names the data in errors. SteepestError where the data are empty, of
    unequal length or not finite.
    """
    if isinstance(source, Examples):
        return source
    loader = source if isinstance(source, DataLoader) else None
    source = source if loader is None else loader.dataset
    if isinstance(source, TensorDataset) and loader is None:
        source = source.tensors
    pair = list(source) if isinstance(source, tuple | list) and len(source) >= 2 else []
    parts = [t for part in pair for t in (part.values() if isinstance(part, Mapping) else [part])]
    if parts and all(isinstance(t, Tensor | np.ndarray) for t in parts):
        tensors, names = _flat([_tensors(part) for part in pair], what)
        if any(t.ndim == 0 for t in tensors):
            raise SteepestError(f"The {what} data hold a single number; expected tensors with one row for each example.")
        examples = Examples(_cast(tensors, dtype), names)
        if len({len(t) for t in examples.tensors}) > 1:
            lengths = " and ".join(str(len(t)) for t in examples.tensors)
            raise SteepestError(f"The {what} data have {lengths} rows; inputs and target need the same number.")
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, Mapping):
        examples = _read_dataset(source, dtype, what, loader)
    else:
        raise SteepestError(
            f"The {what} data are {type(source).__name__}; expected (inputs, target) tensors or a map-style dataset."
        )
    if len(examples) == 0:
        raise SteepestError(f"The {what} data are empty; at least one example is needed.")
    if not isinstance(examples, Streamed):
        _check_finite(examples, what)
    return examples


def _tensors(part: Any) -> Any:
    return {k: torch.as_tensor(v) for k, v in part.items()} if isinstance(part, Mapping) else torch.as_tensor(part)


def _read_dataset(dataset: Any, dtype: torch.dtype, what: str, loader: DataLoader[Any] | None) -> Examples:
    count, collate = len(dataset), loader.collate_fn if loader else default_collate
    if count == 0:
        return Examples((torch.empty(0), torch.empty(0)))

    def some(chosen: range) -> Examples:
        tensors, names = _flat(collate([dataset[i] for i in chosen]), what)
        return Examples(_cast(tensors, dtype), names)

    probe = range(0, count, -(-count // PROBE))
    once, again = some(probe), some(probe)
    same = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(once.tensors, again.tensors, strict=True))
    _check_finite(once, what)
    size = sum(t.numel() * t.element_size() for t in once.tensors) / len(probe) * count
    return some(range(count)) if same and size <= LARGEST_IN_MEMORY else Streamed(dataset, dtype, loader)


def _flat(batch: Any, what: str) -> tuple[list[Tensor], tuple[str, ...]]:
    """Inputs and target of a batch as tensors, and the names of the inputs where they are a dict."""
    pair = list(batch) if isinstance(batch, tuple | list) else []
    names: tuple[str, ...] = ()
    if len(pair) == 2 and isinstance(pair[0], Mapping):
        names = tuple(map(str, pair[0]))
        pair = [*pair[0].values(), pair[1]]
    if len(pair) < 2 or not all(isinstance(t, Tensor) for t in pair):
        raise SteepestError(
            f"An example of the {what} data is not a pair (input, target) of tensors or numbers; inputs may be a dict."
        )
    return pair, names


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
