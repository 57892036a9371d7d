"""Read the data of a problem: tensors, arrays, tables, data sets and loaders."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from ..errors import SteepestError, text_of
from .data import Ready, Stream, Streamed, items_of
from .drawing import drawing_of, once_each
from .examples import Examples, is_frame, parse
from .trees import alike, can_join, equal, joined, size_of

LARGEST_IN_MEMORY = 4 * 2**30  # bytes; a larger map-style dataset is read batch by batch
PROBE = 256  # evenly spread examples that are read twice, to detect random draws in a dataset
MOST_EVALUATED = 1_000_000  # examples of a stream for evaluation; a longer one is assumed to have no end


def read(source: Any, dtype: torch.dtype, what: str) -> Examples:
    """Read the training, validation or test data of a problem; `what` names them in errors.

    `(inputs, target)` of tensors, arrays, lists or pandas tables, a dict of columns with labels, a map-style dataset of pairs
    or dicts, a DataLoader of one, or an IterableDataset in a DataLoader. Floating-point data are cast to the problem's
    `dtype`, integer targets to int64. Raises SteepestError for data that are empty, of unequal length or not finite, and for
    an evaluation loader that repeats or omits examples.
    """
    if isinstance(source, Examples):
        return source
    has_rows = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if isinstance(source, DataLoader):
        examples = _read_loader(source, dtype, what)
    elif isinstance(source, TensorDataset) or _are_columns(source):
        examples = _in_memory(source.tensors if isinstance(source, TensorDataset) else source, dtype, what)
    elif has_rows and not isinstance(source, Mapping) and not is_frame(source):
        examples = _read_dataset(source, dtype, what)
    else:
        raise SteepestError(
            f"The {what} data are {type(source).__name__}; expected (inputs, target) of tensors, arrays, lists or tables, a "
            "map-style dataset of pairs, or a DataLoader."
        )
    if not examples.is_stream and len(examples) == 0:
        raise _empty(what)
    if examples.in_memory:
        _check_finite(examples, what)
    return examples


def _are_columns(source: Any) -> bool:
    """Whether a source is columns (inputs, target), each with a row for every example, and not a dataset of examples."""
    if isinstance(source, Mapping):
        return all(map(_is_column, source.values()))
    if not isinstance(source, tuple | list) or len(source) < 2 or all(isinstance(part, Mapping) for part in source):
        return False
    if all(_is_column(part) for part in source):
        lists = [part for part in source if isinstance(part, list)]
        return isinstance(source, tuple) or not lists or (len(source) == 2 and len(lists[0]) > 2)
    columns = sum(map(_is_column, source))
    return isinstance(source, tuple) and columns > 0 and columns + sum(map(_is_several, source)) == len(source)


def _is_column(part: Any) -> bool:
    if isinstance(part, Mapping):
        return bool(part) and all(isinstance(one, Tensor | np.ndarray | list) or is_frame(one) for one in part.values())
    return isinstance(part, Tensor | np.ndarray | list) or is_frame(part)


def _is_several(part: Any) -> bool:
    return isinstance(part, tuple) and bool(part) and all(isinstance(one, Tensor | np.ndarray) and one.ndim for one in part)


def _empty(what: str) -> SteepestError:
    return SteepestError(f"The {what} data are empty; at least one example is needed.")


def _in_memory(columns: Any, dtype: torch.dtype, what: str) -> Examples:
    """Columns as examples. Raises SteepestError if they have no rows, or unequal numbers of rows."""
    examples = parse(columns, what).cast(dtype)
    if any(t.ndim == 0 for t in examples.tensors):
        raise SteepestError(f"The {what} data contain a single number; expected tensors with one row for each example.")
    lengths = [len(t) for t in examples.tensors]
    if len(set(lengths)) > 1:
        raise SteepestError(
            f"The {what} data have {' and '.join(map(str, lengths))} rows; inputs and target need the same number."
        )
    return examples


def _read_loader(loader: DataLoader[Any], dtype: torch.dtype, what: str) -> Examples:
    """Read a DataLoader: its dataset, collate function, sampler, batch size and workers are all used."""
    training, dataset = what == "training", loader.dataset
    own_way = type(loader).__iter__ is not DataLoader.__iter__ or (loader.batch_size is None and loader.batch_sampler is None)
    if isinstance(dataset, IterableDataset) or own_way:
        return Stream(loader, dtype) if training else _read_stream(loader, dtype, what)
    if len(dataset) == 0:  # type: ignore[arg-type]
        raise _empty(what)
    drawing = drawing_of(loader)
    if training and drawing is None:
        return Stream(loader, dtype)
    order = None if training else once_each(loader, what)
    if loader.collate_fn is default_collate:
        examples = _read_dataset(dataset, dtype, what, loader, order)
    else:
        examples = Streamed(dataset, dtype, loader, order)
    examples.drawing = drawing
    return examples


def _read_dataset(
    dataset: Any, dtype: torch.dtype, what: str, loader: DataLoader[Any] | None = None, order: list[list[int]] | None = None
) -> Examples:
    """Read a map-style dataset into memory if it repeats its examples and fits; else it is read batch by batch."""
    count = len(dataset)
    if count == 0:
        raise _empty(what)

    def some(chosen: range) -> Examples:
        return parse(_collated(dataset, chosen, what), what).cast(dtype)

    probe = range(0, count, -(-count // PROBE))
    once, again = some(probe), some(probe)
    _check_finite(once, what)
    size = sum(t.numel() * t.element_size() for t in once.tensors) / len(probe) * count
    if equal(once.tensors, again.tensors) and size <= LARGEST_IN_MEMORY:
        return some(range(count))
    return Streamed(dataset, dtype, loader, order)


def _collated(dataset: Any, chosen: range, what: str) -> Any:
    """Some examples as one batch. Raises SteepestError if their shapes differ."""
    items = [_plain(item) for item in items_of(dataset, chosen)]
    try:
        return default_collate(items)
    except (RuntimeError, TypeError) as error:
        raise SteepestError(
            f"The {what} examples cannot be one batch ({text_of(error)[:120]}); give a DataLoader with a "
            "collate_fn that pads or packs them."
        ) from error


def _plain(item: Any) -> Any:
    """An example with its lists of numbers as tensors: default_collate would make a tensor of each position."""
    if isinstance(item, Mapping):
        return {key: torch.as_tensor(part) if isinstance(part, list) and part else part for key, part in item.items()}
    return item


def _read_stream(loader: DataLoader[Any], dtype: torch.dtype, what: str) -> Examples:
    """Read a stream for evaluation, once; its batches are joined if possible."""
    parts: list[Examples] = []
    count = 0
    for batch in itertools.islice(loader, MOST_EVALUATED):
        parts.append(parse(batch, what).cast(dtype))
        count += size_of(parts[-1].target)
        if count > MOST_EVALUATED:
            raise SteepestError(
                f"The {what} data are a stream of over {MOST_EVALUATED:,} examples, perhaps infinite; give a finite one."
            )
    if not parts:
        raise _empty(what)
    pairs = [(part.inputs, part.target) for part in parts]
    if all(can_join(pair, size_of(pair)) and alike(pair, pairs[0]) for pair in pairs):
        inputs, target = joined(pairs)
        return replace(parts[0], inputs=inputs, target=target)
    return Ready(parts)


def _check_finite(examples: Examples, what: str) -> None:
    for t in examples.tensors:
        if t.is_floating_point() and not (finite := torch.isfinite(t)).all():
            rows = (~finite).flatten(1).any(1) if t.ndim > 1 else ~finite
            raise SteepestError(
                f"The {what} data contain NaN or infinity in {int(rows.sum())} of {len(t)} examples "
                f"(the first is example {int(rows.nonzero()[0])}); remove or fill them first."
            )
