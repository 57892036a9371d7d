"""A batch, or a whole data set, in its parts: inputs and target as tensors, from what people call a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ..errors import SteepestError, listed, text_of
from .trees import Tree, mapped, size_of

LABELS = ("labels", "label", "targets", "target", "y")  # what dicts call the target, in the order in which they are looked for


class Parts:
    """Inputs, by name where they came in a dict, and target; `label` is the target's name where all came in one dict."""

    def __init__(self, inputs: Sequence[Any], target: Tree, names: Sequence[str] = (), label: str = "") -> None:
        self.inputs, self.target, self.names, self.label = tuple(inputs), target, tuple(names), label

    def cast(self, dtype: torch.dtype) -> Parts:
        """Floating-point data in `dtype`, whole-number targets as int64."""

        def real(t: Any) -> Any:
            return t.to(dtype) if isinstance(t, PackedSequence) or t.is_floating_point() else t

        def wanted(t: Tensor) -> Tensor:
            return t.to(dtype) if t.is_floating_point() else t if t.is_complex() else t.long()

        return Parts([real(t) for t in self.inputs], mapped(wanted, self.target), self.names, self.label)


def parted(batch: Any, what: str) -> Parts:
    """A pair, or a dict with labels, as inputs and target. `what` names the data in errors.

    SteepestError for what has no target, or holds what is no number.
    """
    if isinstance(batch, Mapping):
        return _from_dict(batch, what)
    pair = list(batch) if isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence) else []
    if len(pair) < 2:
        raise SteepestError(
            f"An example of the {what} data is not a pair (input, target) of tensors or numbers, nor a dict with "
            f"'{LABELS[0]}'; inputs may be a dict, targets several."
        )
    inputs, last = pair[:-1], pair[-1]
    rows = len(inputs[0]) if hasattr(inputs[0], "__len__") and getattr(inputs[0], "ndim", 1) > 0 else 0
    target = column(last, f"the target of the {what} data") if _is_rows(last, rows) else _target(last, what)
    if len(pair) == 2 and isinstance(inputs[0], Mapping):
        named = _columns(inputs[0], what)
        return Parts([*named.values()], target, [*named])
    return Parts([t for part in inputs for t in _inputs(part, what, size_of(target))], target)


def _from_dict(batch: Mapping[Any, Any], what: str) -> Parts:
    """A dict as data sets of Hugging Face have it: the labels are the target, the rest the inputs by name."""
    label = next((key for key in LABELS if key in batch), None)
    if label is None or len(batch) < 2:
        raise SteepestError(
            f"An example of the {what} data is a dict of {listed([*map(str, batch)])}; expected inputs and a target, which is "
            f"called {' or '.join(LABELS)}."
        )
    named = _columns(batch, what)
    return Parts([*named.values()], _target(batch[label], what), [*named], label)


def _columns(named: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """The entries of a dict as tensors; those that are None are left out."""
    return {str(k): column(v, f"'{k}' in the {what} data", table=True) for k, v in named.items() if v is not None}


def _inputs(part: Any, what: str, rows: int) -> list[Any]:
    """One part of the inputs as tensors: several where it is a tuple or list of tensors, unless these are its rows."""
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
    """Whether a list holds an array for each of so many examples, and is not several columns."""
    return isinstance(part, list) and len(part) == rows and all(_is_array(one) and len(one) != rows for one in part)


def _is_array(x: Any) -> bool:
    return isinstance(x, Tensor | np.ndarray | PackedSequence) and getattr(x, "ndim", 1) > 0


def is_frame(x: Any) -> bool:
    """Whether it is a table or a column of pandas, which need not be imported for that."""
    return type(x).__module__.partition(".")[0] == "pandas" and hasattr(x, "to_numpy")


def column(x: Any, what: str, *, table: bool = False) -> Any:
    """Numbers as a tensor; `table` for inputs, where a table of pandas becomes floating-point. SteepestError for others."""
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
        raise SteepestError(f"{_upper(what)} is {kind}; expected numbers: encode it as whole numbers first.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _of_frame(x: Any, what: str, table: bool) -> Tensor:
    """A table of pandas, (examples, columns), or a column, (examples,)."""
    if getattr(x, "ndim", 1) == 1:
        return column(x.to_numpy(), f"{what} (column {x.name!r})")  # type: ignore[no-any-return]
    texts = [str(name) for name, kind in zip(x.columns, x.dtypes, strict=True) if getattr(kind, "kind", "O") not in "biufc"]
    if texts:
        raise SteepestError(f"{_upper(what)} has columns that are no numbers: {listed(texts)}; encode or leave them out first.")
    values = column(x.to_numpy(), what)
    if table:
        return values.double()  # type: ignore[no-any-return]
    return values[:, 0] if values.shape[1] == 1 and not values.is_floating_point() else values  # type: ignore[no-any-return]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
