"""How state begins: for the tensor of one parameter, and for the stacked tensors of many runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..rules import Rule
from ..rules.definition import Hyper, State
from .passes import Index, Number, Value

Group = dict[str, Any]  # torch's: parameters, their hyperparameters, and the state that they share
Store = dict[str, Any]  # the state of one parameter, by the keys of checkpoints
Loss = Any  # what a closure returns: as a rule a tensor of one number
Closure = Callable[[], Loss]  # computes the loss and its gradients


def initial_state(rule: Rule, p: Tensor, g: Tensor, hyper: Hyper, dtype: torch.dtype | None = None) -> dict[str, Value]:
    """The rule's state before step 1 for one parameter, by letter: tensors like p (of `dtype`, if given), or numbers."""
    return {letter: _begin(state, p, g, hyper, dtype) for letter, state in rule.live_state(hyper).items()}


def _begin(state: State, p: Tensor, g: Tensor, hyper: Hyper, dtype: torch.dtype | None) -> Value:
    if state.copies:
        return torch.empty_like(p, dtype=dtype).copy_((p if state.copies == "p" else g).detach())
    start = float(state.number(hyper))
    if state.is_scalar:
        return start
    if state.shape:
        line = p.detach().narrow(-1 if state.shape == "row" else -2, 0, 1)
        return torch.full_like(line, start, dtype=dtype, memory_format=torch.contiguous_format)
    return torch.full_like(p, start, dtype=dtype)


def begin_runs(state: State, p: Tensor, g: Tensor, runs: Index, numbers: Mapping[str, Number]) -> Tensor:
    """A piece of state before the first step, for some runs of stacked tensors: (runs, *shape)."""
    if state.copies:
        return (p if state.copies == "p" else g)[torch.from_numpy(runs).to(p.device)].clone()
    starts = np.broadcast_to(state.number(numbers), len(runs)).astype(float)
    column = torch.as_tensor(starts, dtype=p.dtype, device=p.device).reshape(-1, *[1] * (p.ndim - 1))
    shape = list(p.shape[1:])
    if state.shape:
        shape[-1 if state.shape == "row" else -2] = 1
    return column.expand(len(runs), *shape).clone()
