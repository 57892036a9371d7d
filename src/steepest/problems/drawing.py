"""Draw the batches of a run: the indices of their examples, in order, from one seed."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from ..errors import SteepestError
from .seeds import Generators

BLOCK = 64  # batches drawn per exchange of the global generators, which takes 50 microseconds


@dataclass(frozen=True)
class Drawing:
    """How batches are drawn.

    sampler: yields batches of indices, and replaces `shuffle`, `batch_size` and `drop_last`; `name` is its class.
    keep: objects that copies of the sampler share, such as its data set.
    """

    batch_size: int = 32
    shuffle: bool = True
    drop_last: bool = False
    sampler: Any = None
    name: str = ""
    keep: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"batch {self.batch_size} by {self.name}" if self.name else f"batch {self.batch_size}"

    def epoch(self, count: int) -> int | None:
        """The number of batches in an epoch of `count` examples; None if the sampler has no length."""
        if self.sampler is None:
            return max(count // self.batch_size, 1) if self.drop_last else -(-count // self.batch_size)
        with contextlib.suppress(Exception):  # the user's sampler need not have a length
            return len(self.sampler)
        return None

    def indices(self, count: int, seed: int) -> Iterator[Tensor]:
        """The indices of each batch, endlessly; the same for every candidate at one seed."""
        return self._plain(count, seed) if self.sampler is None else self._sampled(seed)

    def _plain(self, count: int, seed: int) -> Iterator[Tensor]:
        order, generator = torch.arange(count), torch.Generator().manual_seed(seed)
        while True:
            if self.shuffle:
                order = torch.randperm(count, generator=generator)
            for index in torch.split(order, self.batch_size):
                if len(index) == self.batch_size or not self.drop_last or count < self.batch_size:
                    yield index

    def _sampled(self, seed: int) -> Iterator[Tensor]:
        own, sampler = Generators(seed), seeded_copy(self.sampler, seed, self.keep)
        for epoch in itertools.count():
            with own:
                begin(sampler, epoch)
                batches = iter(sampler)
            drawn = 0
            while True:
                with own:
                    block = [torch.tensor([int(i) for i in batch]) for batch in itertools.islice(batches, BLOCK)]
                drawn += len(block)
                yield from block
                if len(block) < BLOCK:
                    break
            if not drawn:
                raise SteepestError(f"The sampler {self.name} yielded no batch in epoch {epoch}; it must restart each epoch.")


def seeded_copy(sampler: Any, seed: int, keep: tuple[Any, ...] = ()) -> Any:
    """A copy of a sampler with its generators seeded; a sampler that cannot be copied is returned itself."""
    memo: dict[int, Any] = {id(one): one for one in keep}
    fresh = sampler
    with contextlib.suppress(Exception):  # copying a user's sampler may raise anything
        fresh = copy.deepcopy(sampler, memo)
    inside, depth = fresh, 0
    while inside is not None and depth < 4:  # a batch sampler has a sampler inside
        if isinstance(getattr(inside, "generator", None), torch.Generator):
            inside.generator = torch.Generator().manual_seed(seed)
        if isinstance(getattr(inside, "seed", None), int) and hasattr(inside, "set_epoch"):  # torch's DistributedSampler
            inside.seed += seed
        inside, depth = getattr(inside, "sampler", None), depth + 1
    return fresh


def begin(sampler: Any, epoch: int) -> None:
    """Call a sampler's `set_epoch`, if it has one."""
    for one in (sampler, getattr(sampler, "sampler", None)):
        tell = getattr(one, "set_epoch", None)
        if callable(tell):
            tell(epoch)


def drawing_of(loader: DataLoader[Any]) -> Drawing | None:
    """How a DataLoader draws its batches; None if its sampler yields no indices."""
    batches: Any = loader.batch_sampler
    dataset = cast(Sized, loader.dataset)
    plain = type(batches) is BatchSampler
    sampler = batches.sampler if plain else loader.sampler
    size, drops = (int(batches.batch_size), bool(batches.drop_last)) if plain else (0, False)
    if plain and type(sampler) is SequentialSampler:
        return Drawing(size, False, drops)
    if plain and type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(dataset):
        return Drawing(size, True, drops)
    name = type(sampler if plain else batches).__name__
    made = Drawing(1, False, False, batches, name, (loader.dataset,))
    try:
        first = next(made.indices(0, 0))
    except (StopIteration, TypeError, ValueError):
        return None
    return replace(made, batch_size=size or max(len(first), 1), drop_last=drops)


def once_each(loader: DataLoader[Any], what: str) -> list[list[int]]:
    """The indices of each batch of a loader for evaluation. Raises SteepestError unless each example occurs exactly once."""
    count, drawing = len(cast(Sized, loader.dataset)), drawing_of(loader)
    if drawing is None:
        raise SteepestError(f"The {what} data are a DataLoader whose sampler yields no indices; give the data set itself.")
    if drawing.sampler is None:
        left = count % drawing.batch_size if drawing.drop_last else 0
        if left:
            raise SteepestError(
                f"The {what} data are a DataLoader with drop_last=True, which leaves out {left} of {count} examples; give "
                "drop_last=False, to evaluate on all of them."
            )
        return [list(range(k, min(k + drawing.batch_size, count))) for k in range(0, count, drawing.batch_size)]
    with Generators(0):
        drawn = [[int(i) for i in batch] for batch in itertools.islice(drawing.sampler, 2 * count + 1)]
    seen = [i for batch in drawn for i in batch]
    if sorted(seen) != list(range(count)):
        repeats = len(seen) - len(set(seen))
        fault = f"repeats {repeats}" if repeats else f"leaves out {count - len(set(seen))}"
        raise SteepestError(
            f"The {what} data are a DataLoader whose sampler {drawing.name} {fault} of {count} examples; each must be "
            "evaluated once: give torch.utils.data.Subset(dataset, indices) without a sampler."
        )
    return drawn
