"""torch's containers of an optimizer: groups, and the state of each parameter as checkpoints have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

Group = dict[str, Any]  # torch's: parameters, their hyperparameters, and the state that they share
Store = dict[str, Any]  # the state of one parameter, by the keys of checkpoints
Loss = Any  # what a closure returns: as a rule a tensor of one number
Closure = Callable[[], Loss]  # computes the loss and its gradients


def counter(value: Any) -> Tensor:
    """A number of the state as a 0-dim tensor, in float32 at least: 16 bits count to 256 or 2,048, and NumPy has no bfloat16.

    A checkpoint that was cast, or the default dtype, may have less. It is real even under FakeTensorMode, where a fake one
    could not be read.
    """
    dtype = value.dtype if isinstance(value, Tensor) else torch.get_default_dtype()
    with no_dispatch():
        return torch.as_tensor(value, dtype=torch.promote_types(dtype, torch.float32))
