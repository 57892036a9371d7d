"""Examples: inputs and targets as tensors, and the functions that read a user's batch or data set into them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ..errors import SteepestError, listed, text_of
from .drawing import Drawing
from .trees import Tree, leaves, mapped, size_of

Batch = tuple[tuple[Any, ...], Tree]  # inputs and target, each (batch, ...); a target may be a tuple, list or dict of tensors

LABELS = ("labels", "label", "targets", "target", "y")  # names of the target in a dict, in the order in which they are tried


@dataclass(eq=False)
class Examples:
    """Examples in memory: inputs, each a tensor (examples, ...), and the target, a tensor or a tuple, list or dict of them.

    names: of the inputs if they came in a dict; the model then takes them as keyword arguments.
    label: the target's name in that dict.
    drawing: how the DataLoader of the examples draws batches; None without a DataLoader.
    """

    inputs: tuple[Any, ...]
    target: Tree
    names: tuple[str, ...] = ()
    label: str = ""
    drawing: Drawing | None = None

    in_memory, is_stream = True, False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of inputs and target."""
        return (*self.inputs, *leaves(self.target))

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, index: Tensor | slice) -> Batch:
        """Inputs and target of these examples, with the index's shape first; copies, as a model may write to its input."""

        def select(t: Tensor) -> Tensor:
            if isinstance(index, slice):
                return t[index].clone()
            rows = t.index_select(0, index.flatten().to(t.device))  # three times as fast as t[index]
            return rows.view(*index.shape, *t.shape[1:])

        return tuple(map(select, self.inputs)), mapped(select, self.target)

    def chunks(self, most: int) -> Iterator[Batch]:
        """All examples in order, in batches of at most `most`."""
        for begin in range(0, len(self), most):
            yield self.batch(slice(begin, begin + most))

    def batches(self, indices: Iterator[Tensor], seed: int, after: int = 0) -> Iterator[Batch]:
        """A batch for each set of indices, without the first `after`."""
        for index in itertools.islice(indices, after, None):
            yield self.batch(index)

    def to(self, device: str) -> Self:
        """The same examples on a device."""
        inputs = tuple(t.to(device) for t in self.inputs)
        return replace(self, inputs=inputs, target=mapped(lambda t: t.to(device), self.target))

    def cast(self, dtype: torch.dtype) -> Examples:
        """Floating-point data in `dtype`, integer targets as int64."""

        def real(t: Any) -> Any:
            return t.to(dtype) if isinstance(t, PackedSequence) or t.is_floating_point() else t

        def target(t: Tensor) -> Tensor:
            return t.to(dtype) if t.is_floating_point() else t if t.is_complex() else t.long()

        return replace(self, inputs=tuple(map(real, self.inputs)), target=mapped(target, self.target))

    def digest(self) -> str:
        """Hash of every byte of the data, with shapes, dtypes and names."""
        return digest_of(self.tensors, self.names)


def digest_of(tensors: Iterable[Tensor], names: tuple[str, ...] = ()) -> str:
    """Hash of every byte of these tensors, with shapes and dtypes."""
    h = hashlib.sha256(repr(names).encode() if names else b"")
    for t in tensors:
        h.update(f"{tuple(t.shape)} {t.dtype}".encode())
        h.update(raw(t))
    return h.hexdigest()


def raw(t: Tensor) -> memoryview:
    """The bytes of a tensor."""
    return memoryview(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())  # type: ignore[arg-type]


def parse(batch: Any, what: str) -> Examples:
    """Read a batch, a pair or a dict with labels, as inputs and target. `what` names the data in errors.

    Raises SteepestError for a batch without a target, or with contents that are not numbers.
    """
    if isinstance(batch, Mapping):
        return _from_dict(batch, what)
    pair = list(batch) if isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence) else []
    if len(pair) < 2:
        raise SteepestError(
            f"An example of the {what} data is neither a pair (input, target) of tensors or numbers nor a dict with "
            f"'{LABELS[0]}'; the input may be a dict, the target a tuple or a dict."
        )
    inputs, last = pair[:-1], pair[-1]
    rows = len(inputs[0]) if hasattr(inputs[0], "__len__") and getattr(inputs[0], "ndim", 1) > 0 else 0
    target = column(last, f"the target of the {what} data") if _is_rows(last, rows) else _target(last, what)
    if len(pair) == 2 and isinstance(inputs[0], Mapping):
        named = _columns(inputs[0], what)
        return Examples(tuple(named.values()), target, tuple(named))
    return Examples(tuple(t for part in inputs for t in _inputs(part, what, size_of(target))), target)


def _from_dict(batch: Mapping[Any, Any], what: str) -> Examples:
    """Read a dict, as in data sets of Hugging Face: the labels are the target, the rest are the named inputs."""
    label = next((key for key in LABELS if key in batch), None)
    if label is None or len(batch) < 2:
        raise SteepestError(
            f"An example of the {what} data is a dict of {listed([*map(str, batch)])}; expected inputs and a target named "
            f"{' or '.join(LABELS)}."
        )
    named = _columns(batch, what)
    return Examples(tuple(named.values()), _target(batch[label], what), tuple(named), label)


def _columns(named: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """The entries of a dict as tensors, without those that are None."""
    return {str(k): column(v, f"'{k}' in the {what} data", table=True) for k, v in named.items() if v is not None}


def _inputs(part: Any, what: str, rows: int) -> list[Any]:
    """One part of the inputs as tensors: several for a tuple or list of tensors, unless these are its rows."""
    several = isinstance(part, tuple | list) and not isinstance(part, PackedSequence) and any(map(_is_array, part))
    if several and not _is_rows(part, rows):
        return [t for one in part for t in _inputs(one, what, rows)]
    return [column(part, f"an input in the {what} data", table=True)]


def _target(part: Any, what: str) -> Tree:
    """A target: a tensor, or a tuple, list or dict of tensors."""
    if isinstance(part, Mapping):
        return {key: _target(one, what) for key, one in part.items()}
    if isinstance(part, tuple | list) and any(_is_array(one) or isinstance(one, Mapping) for one in part):
        return type(part)(_target(one, what) for one in part)
    return column(part, f"the target of the {what} data")


def _is_rows(part: Any, rows: int) -> bool:
    """Whether a list has an array for each of `rows` examples, and is not several columns."""
    return isinstance(part, list) and len(part) == rows and all(_is_array(one) and len(one) != rows for one in part)


def _is_array(x: Any) -> bool:
    return isinstance(x, Tensor | np.ndarray | PackedSequence) and getattr(x, "ndim", 1) > 0


def is_frame(x: Any) -> bool:
    """Whether an object is a table or a column of pandas, without importing pandas."""
    return type(x).__module__.partition(".")[0] == "pandas" and hasattr(x, "to_numpy")


def column(x: Any, what: str, *, table: bool = False) -> Any:
    """Convert numbers to a tensor; with `table`, a pandas table to floating point. Raises SteepestError for other objects."""
    if isinstance(x, Tensor | PackedSequence):
        return x
    if is_frame(x):
        return _of_frame(x, what, table)
    try:
        array = np.asarray([np.asarray(one) for one in x] if isinstance(x, list | tuple) else x)
    except (TypeError, ValueError) as error:
        raise SteepestError(
            f"{_upper(what)} cannot be one array: {text_of(error)}. Pad sequences, or give a collate_fn."
        ) from None
    if array.dtype.kind not in "biufc":
        kind = "text" if array.dtype.kind in "US" else f"{array.dtype} objects"
        raise SteepestError(f"{_upper(what)} is {kind}; expected numbers: encode it as integers first.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _of_frame(x: Any, what: str, table: bool) -> Tensor:
    """A pandas table, (examples, columns), or column, (examples,), as a tensor."""
    if getattr(x, "ndim", 1) == 1:
        return column(x.to_numpy(), f"{what} (column {x.name!r})")  # type: ignore[no-any-return]
    texts = [str(name) for name, kind in zip(x.columns, x.dtypes, strict=True) if getattr(kind, "kind", "O") not in "biufc"]
    if texts:
        raise SteepestError(f"{_upper(what)} has columns that are not numbers: {listed(texts)}; encode or drop them first.")
    values = column(x.to_numpy(), what)
    if table:
        return values.double()  # type: ignore[no-any-return]
    return values[:, 0] if values.shape[1] == 1 and not values.is_floating_point() else values  # type: ignore[no-any-return]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
