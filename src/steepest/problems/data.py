"""Data sets that are read batch by batch during training, and evaluation batches of unequal shapes."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from ..errors import SteepestError
from .drawing import Drawing
from .examples import Batch as Batch
from .examples import Examples as Examples
from .examples import digest_of, parse
from .seeds import Generators, mixed, seeded
from .trees import equal, leaves, size_of

EVALUATING = 0  # the seed for random draws in evaluation data, so that all evaluations see the same data


class Unread(Examples):
    """Examples that are read during training."""

    in_memory = False
    dtype: torch.dtype
    device = "cpu"

    def _batch(self, batch: Any) -> Batch:
        examples = parse(batch, "training").cast(self.dtype).to(self.device)
        return examples.inputs, examples.target

    def to(self, device: str) -> Self:
        moved = copy.copy(self)
        moved.device = device
        return moved


class Streamed(Unread):
    """A map-style dataset read batch by batch: for random augmentation, a collate function, or data larger than memory.

    The collate function and workers are those of `loader`, if any. The random draws of batch k depend only on the run's seed
    and k. `order` has the indices of the evaluation batches, if a loader determines them.
    """

    def __init__(
        self,
        dataset: Any,
        dtype: torch.dtype,
        loader: DataLoader[Any] | None = None,
        order: list[list[int]] | None = None,
    ) -> None:
        self.dataset, self.dtype, self.loader, self.order = dataset, dtype, loader, order
        self.collate = default_collate if loader is None else loader.collate_fn
        with seeded(EVALUATING):
            first = parse(self._collated(order[0] if order else [0]), "training")
        self.names, self.label = first.names, first.label

    def __len__(self) -> int:
        return len(self.dataset)

    def _collated(self, chosen: Sequence[int]) -> Any:
        return self.collate(items_of(self.dataset, chosen))

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
        if self.loader is not None and self.loader.num_workers:
            yield from map(self._batch, itertools.islice(self._ahead(self.loader, indices, seed), after, None))
            return
        for k, index in enumerate(itertools.islice(indices, after, None), start=after):
            with seeded(mixed(seed, k)):
                batch = self._collated(index.tolist())
            yield self._batch(batch)

    def _ahead(self, loader: DataLoader[Any], indices: Iterator[Tensor], seed: int) -> Iterator[Any]:
        """Batches prefetched by as many workers as the user's loader has."""
        ahead = copy.copy(loader)
        batches = (index.tolist() for index in indices)
        vars(ahead).update(batch_sampler=batches, generator=torch.Generator().manual_seed(seed))
        return iter(ahead)

    def digest(self) -> str:
        """Hash of the number of examples and of the first few; the rest is read only while training."""
        with seeded(EVALUATING):
            batch = self._collated([*range(min(8, len(self)))])
        return digest_of(leaves(self._batch(batch))) + f" of {len(self)}"


class Stream(Unread):
    """Training batches of a DataLoader that is iterated anew in each epoch of each run, such as one of an IterableDataset."""

    is_stream = True

    def __init__(self, loader: DataLoader[Any], dtype: torch.dtype) -> None:
        self.loader, self.dtype = loader, dtype
        first, again = (self._first() for _ in range(2))
        if not equal(first.tensors, again.tensors):
            raise SteepestError(
                "The training data are a stream that does not repeat: restarted from the same seed, it yields another first "
                "batch. Runs with one seed must see the same batches: let __iter__ restart, and draw from the generators of "
                "torch, numpy or random."
            )
        self.names, self.label = first.names, first.label
        size = size_of(first.tensors) if loader.batch_size is None else loader.batch_size
        self.drawing = Drawing(size or 1, False, loader.drop_last, name=type(loader.dataset).__name__)

    def _first(self) -> Examples:
        return parse(next(self._epochs(EVALUATING)), "training").cast(self.dtype)

    def _epochs(self, seed: int) -> Iterator[Any]:
        """The loader's batches, epoch after epoch, from one seed."""
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
                    f"The training data are a stream that yielded nothing in epoch {epoch + 1}; every epoch of every run "
                    "restarts it, so __iter__ must begin at the start."
                )

    def __len__(self) -> int:
        """The number of examples in an epoch. Raises TypeError if the loader has no length."""
        return len(self.loader) * (self.drawing or Drawing()).batch_size

    def batches(self, indices: Iterator[Tensor], seed: int, after: int = 0) -> Iterator[Batch]:
        return map(self._batch, itertools.islice(self._epochs(seed), after, None))

    def digest(self) -> str:
        """Hash of the first batch; the rest is read only while training."""
        return digest_of(leaves(self._first().tensors)) + " of a stream"


class Ready(Examples):
    """Evaluation batches as they were read, which cannot be joined: sequences padded to another length in each."""

    in_memory = False

    def __init__(self, parts: list[Examples]) -> None:
        self.parts, self.names, self.label, self.drawing = parts, parts[0].names, parts[0].label, None

    def __len__(self) -> int:
        return sum(size_of(part.target) for part in self.parts)

    def chunks(self, most: int) -> Iterator[Batch]:
        for part in self.parts:
            yield part.inputs, part.target

    def batch(self, index: Tensor | slice) -> Batch:
        return next(self.chunks(0))

    def to(self, device: str) -> Self:
        moved = copy.copy(self)
        moved.parts = [part.to(device) for part in self.parts]
        return moved

    def digest(self) -> str:
        return hashlib.sha256("".join(digest_of(leaves(batch)) for batch in self.chunks(0)).encode()).hexdigest()


def items_of(dataset: Any, chosen: Sequence[int]) -> list[Any]:
    """Some examples of a map-style dataset, read in one call if it has `__getitems__`, as torch's loaders do."""
    several = getattr(dataset, "__getitems__", None)
    return list(several([*chosen])) if several else [dataset[i] for i in chosen]
