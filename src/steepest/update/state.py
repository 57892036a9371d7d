"""Initial state of a parameter."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import SteepestError
from ..rules import Rule
from ..rules.definition import Hyper, State
from .numbers import Value


def initial_state(rule: Rule, p: Tensor, g: Tensor, hyper: Hyper, dtype: torch.dtype | None = None) -> dict[str, Value]:
    """The rule's state before step 1 for one parameter, by letter: tensors like p (of `dtype`, unless None), or numbers."""
    live = rule.live_state(hyper, tuple(p.shape))
    return {letter: _begin(state, p, g, hyper, dtype) for letter, state in live.items()}


def dtype_of(state: State, p: Tensor, dtype: torch.dtype | None) -> torch.dtype | None:
    """The dtype of a piece of state where `dtype` is requested; None for the parameter's."""
    return torch.promote_types(dtype or p.dtype, torch.float32) if state.precise else dtype


def _begin(state: State, p: Tensor, g: Tensor, hyper: Hyper, dtype: torch.dtype | None) -> Value:
    dtype = dtype.to_complex() if dtype is not None and p.is_complex() else dtype
    dtype = dtype_of(state, p, dtype)
    if state.copies:
        return torch.empty_like(p, dtype=dtype).copy_((p if state.copies == "p" else g).detach())
    start = float(state.number(hyper))
    if state.is_scalar:
        return start
    shape = tuple(p.shape)
    if state.shape:
        shape = state.shape(shape) or ()
    if state.begin:
        begun: Tensor = state.begin(p.detach(), g.detach(), shape)
        if begun.shape != shape:
            raise SteepestError(f"{state.begins} makes state of shape {tuple(begun.shape)}; expected {shape}.")
        return begun
    fill = complex(start, start) if p.is_complex() else start
    if shape == p.shape:
        return torch.full_like(p, fill, dtype=dtype)
    return p.detach().new_full(shape, fill, dtype=dtype)
