"""The data of a problem: examples in memory, read batch by batch, or a stream of batches."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from ..errors import SteepestError
from .drawing import Drawing
from .parts import parted
from .seeds import Generators, mixed, seeded
from .trees import Tree, leaves, mapped, size_of

Batch = tuple[tuple[Any, ...], Tree]  # inputs and target, each (batch, ...); a target may be a tuple, list or dict of tensors

EVALUATING = 0  # the seed of what evaluation data draw at random: each evaluation sees the same


def raw(t: Tensor) -> memoryview:
    """The bytes of a tensor."""
    return memoryview(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())  # type: ignore[arg-type]


class Examples:
    """Examples in memory: inputs, each a tensor (examples, ...), and the target, a tensor or a tuple, list or dict of them.

    `names` are those of the inputs where they came as a dict: the model takes them by keyword. `label` is the target's name
    there. `drawing` is how a DataLoader that they came in draws batches, None without one.
    """

    in_memory, is_stream = True, False

    def __init__(
        self,
        tensors: Sequence[Tensor],
        names: tuple[str, ...] = (),
        *,
        target: Tree = None,
        label: str = "",
        drawing: Drawing | None = None,
    ) -> None:
        self.inputs = tuple(tensors if target is not None else tensors[:-1])
        self.target: Tree = tensors[-1] if target is None else target
        self.names, self.label, self.drawing = names, label, drawing

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs and target, one after the other."""
        return (*self.inputs, *leaves(self.target))

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, index: Tensor | slice) -> Batch:
        """Inputs and target of these examples, the index's shape in front; copies, as a model may write to its input."""

        def taken(t: Tensor) -> Tensor:
            if isinstance(index, slice):
                return t[index].clone()
            rows = t.index_select(0, index.flatten().to(t.device))  # thrice as fast as t[index]
            return rows.view(*index.shape, *t.shape[1:])

        return tuple(map(taken, self.inputs)), mapped(taken, self.target)

    def chunks(self, most: int) -> Iterator[Batch]:
        """All examples in order, at most so many at a time."""
        for begin in range(0, len(self), most):
            yield self.batch(slice(begin, begin + most))

    def batches(self, indices: Iterator[Tensor], seed: int, after: int = 0) -> Iterator[Batch]:
        """A batch for each set of indices, without the first `after`."""
        for index in itertools.islice(indices, after, None):
            yield self.batch(index)

    def to(self, device: str) -> Examples:
        """The same examples on a device."""
        moved = copy.copy(self)
        moved.inputs, moved.target = _on(device, (self.inputs, self.target))
        return moved

    def digest(self) -> str:
        """Hash of every byte of the data, with shapes, dtypes and names."""
        h = hashlib.sha256(repr(self.names).encode() if self.names else b"")
        for t in self.tensors:
            h.update(f"{tuple(t.shape)} {t.dtype}".encode())
            h.update(raw(t))
        return h.hexdigest()


class Unread(Examples):
    """Examples that are read while training."""

    in_memory = False
    dtype: torch.dtype
    device: str

    def _batch(self, batch: Any) -> Batch:
        parts = parted(batch, "training").cast(self.dtype)
        return _on(self.device, (parts.inputs, parts.target))

    def to(self, device: str) -> Unread:
        moved = copy.copy(self)
        moved.device = device
        return moved


class Streamed(Unread):
    """Examples read from a map-style dataset batch by batch: random augmentation, a collate function, or more than memory.

    Where they came in a DataLoader, its collate function makes each batch, and as many workers read ahead. What batch k draws
    at random depends on the run's seed and k alone. `order` are the batches of an evaluation, where a loader gave them.
    """

    def __init__(
        self,
        dataset: Any,
        dtype: torch.dtype,
        loader: DataLoader[Any] | None = None,
        device: str = "cpu",
        drawing: Drawing | None = None,
        order: list[list[int]] | None = None,
    ) -> None:
        self.dataset, self.dtype, self.loader, self.device = dataset, dtype, loader, device
        self.drawing, self.order = drawing, order
        self.workers = loader.num_workers if loader is not None else 0
        with seeded(EVALUATING):
            first = parted(self._collated(order[0] if order else [0]), "training")
        self.names, self.label = first.names, first.label

    def __len__(self) -> int:
        return len(self.dataset)

    def _collated(self, chosen: Sequence[int]) -> Any:
        items = items_of(self.dataset, chosen)
        return self.loader.collate_fn(items) if self.loader else default_collate(items)

    def batch(self, index: Tensor | slice) -> Batch:
        chosen = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        return self._batch(self._collated([*chosen]))

    def chunks(self, most: int) -> Iterator[Batch]:
        order = self.order or [[*range(k, min(k + most, len(self)))] for k in range(0, len(self), most)]
        for k, chosen in enumerate(order):
            with seeded(mixed(EVALUATING, k)):
                batch = self._collated(chosen)
            yield self._batch(batch)

    def batches(self, indices: Iterator[Tensor], seed: int, after: int = 0) -> Iterator[Batch]:
        if self.workers:
            yield from map(self._batch, itertools.islice(self._ahead(indices, seed), after, None))
            return
        for k, index in enumerate(itertools.islice(indices, after, None), start=after):
            with seeded(mixed(seed, k)):
                batch = self._collated(index.tolist())
            yield self._batch(batch)

    def _ahead(self, indices: Iterator[Tensor], seed: int) -> Iterator[Any]:
        """Batches that workers read ahead, as the user's own loader has them."""
        loader: Any = self.loader
        ahead = DataLoader(
            self.dataset,
            batch_sampler=(index.tolist() for index in indices),
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            prefetch_factor=loader.prefetch_factor,
            generator=torch.Generator().manual_seed(seed),
        )
        return iter(ahead)

    def digest(self) -> str:
        """Hash of the number of examples and of the first few; the rest is read only while training."""
        with seeded(EVALUATING):
            batch = self._collated([*range(min(8, len(self)))])
        return _digest_of(self._batch(batch)) + f" of {len(self)}"


class Stream(Unread):
    """Training batches as a DataLoader gives them, begun anew for each run and epoch: an IterableDataset, ready batches."""

    is_stream = True

    def __init__(self, loader: DataLoader[Any], dtype: torch.dtype, device: str = "cpu") -> None:
        self.loader, self.dtype, self.device = loader, dtype, device
        first, again = (self._first() for _ in range(2))
        if [t.shape for t in leaves(first)] != [t.shape for t in leaves(again)] or not all(
            torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(leaves(first), leaves(again), strict=True)
        ):
            raise SteepestError(
                "The training data are a stream that does not repeat: begun again from the same seed it gives another first "
                "batch. Every run must see the same batches at one seed: let __iter__ begin anew, and draw from torch, numpy "
                "or random."
            )
        parts = parted(self._raw_first(), "training")
        self.names, self.label = parts.names, parts.label
        ready = loader.batch_size is None
        size = size_of(first) if ready else loader.batch_size
        self.drawing = Drawing(size or 1, False, loader.drop_last, name=type(loader.dataset).__name__)

    def _raw_first(self) -> Any:
        return next(self._epochs(EVALUATING))

    def _first(self) -> list[Any]:
        inputs, target = self._batch(self._raw_first())
        return [*inputs, target]

    def _epochs(self, seed: int) -> Iterator[Any]:
        """What the loader gives, epoch after epoch, from one seed."""
        own, loader = Generators(seed), copy.copy(self.loader)
        for epoch in itertools.count():
            with own:
                vars(loader)["generator"] = torch.Generator().manual_seed(mixed(seed, epoch))
                if callable(getattr(loader.dataset, "set_epoch", None)):
                    loader.dataset.set_epoch(epoch)  # type: ignore[attr-defined]
                batches = iter(loader)
            given = 0
            while True:
                with own:
                    batch = next(batches, None)
                if batch is None:
                    break
                given += 1
                yield batch
            if not given:
                raise SteepestError(
                    f"The training data are a stream that gave nothing in epoch {epoch + 1}; every epoch of every run begins "
                    "it anew, so __iter__ must begin at the start."
                )

    def __len__(self) -> int:
        """The examples in an epoch; TypeError where the data do not tell."""
        return len(self.loader) * self.drawing.batch_size if self.drawing else len(self.loader)

    def batches(self, indices: Iterator[Tensor], seed: int, after: int = 0) -> Iterator[Batch]:
        return map(self._batch, itertools.islice(self._epochs(seed), after, None))

    def digest(self) -> str:
        """Hash of the first batch; the rest is read only while training."""
        return _digest_of(self._batch(self._raw_first())) + " of a stream"


class Ready(Examples):
    """Evaluation batches kept as they were read, where they cannot be joined: sequences padded to another length in each."""

    in_memory = False

    def __init__(self, batches: list[Batch], names: tuple[str, ...], label: str) -> None:
        self.kept, self.names, self.label, self.drawing = batches, names, label, None

    def __len__(self) -> int:
        return sum(size_of(target) for _, target in self.kept)

    def chunks(self, most: int) -> Iterator[Batch]:
        yield from self.kept

    def batch(self, index: Tensor | slice) -> Batch:
        return self.kept[0]

    def to(self, device: str) -> Ready:
        moved = copy.copy(self)
        moved.kept = [_on(device, batch) for batch in self.kept]
        return moved

    def digest(self) -> str:
        return hashlib.sha256("".join(map(_digest_of, self.kept)).encode()).hexdigest()


def _on(device: str, batch: Batch) -> Batch:
    inputs, target = batch
    return tuple(t.to(device) for t in inputs), mapped(lambda t: t.to(device), target)


def _digest_of(batch: Batch) -> str:
    return Examples([*leaves(batch)]).digest()


def items_of(dataset: Any, chosen: Sequence[int]) -> list[Any]:
    """Some examples of a map-style dataset, read at once where it can, as torch's loaders do."""
    several = getattr(dataset, "__getitems__", None)
    return list(several([*chosen])) if several else [dataset[i] for i in chosen]
