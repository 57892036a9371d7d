"""The state of each parameter as checkpoints have it, in torch's containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from ...rules import Rule
from ...rules.definition import Hyper
from ...rules.trace import Graph
from ..state import dtype_of, initial_state
from .dtensor import laid_as

Group = dict[str, Any]  # torch's: parameters, their hyperparameters, and the state that they share
Store = dict[str, Any]  # the state of one parameter, by the keys of checkpoints
Loss = Any  # the result of a closure, usually a tensor of one number
Closure = Callable[[], Loss]  # computes the loss and its gradients


def counter(value: Any) -> Tensor:
    """A number of the state as a 0-dim tensor, in float32 at least: 16 bits count to 256 or 2,048, and NumPy has no bfloat16.

    A checkpoint that was cast, or the default dtype, may have less. It is real even under FakeTensorMode, where a fake one
    could not be read.
    """
    dtype = value.dtype if isinstance(value, Tensor) else torch.get_default_dtype()
    with no_dispatch():
        return torch.as_tensor(value, dtype=torch.promote_types(dtype, torch.float32))


def prepare(rule: Rule, graph: Graph, group: Group, p: Tensor, store: Store, hyper: Hyper) -> None:
    """Create missing state: for a new parameter, or for a hyperparameter that is no longer zero."""
    shape = tuple(p.shape)
    live = rule.live_state(hyper, shape)
    own = [rule.key(letter) for letter, state in live.items() if not state.per_group] + ["step"] * graph.counts
    shared = [rule.key(letter) for letter, state in live.items() if state.per_group]
    missing = any(store.get(key) is None for key in own)  # None: a buffer to come, in a checkpoint of torch's SGD
    if own and (missing or not all(map(group.__contains__, shared))):
        _begin(rule, group, p, store, hyper)
    for letter, state in live.items():
        if state.is_like_p(shape):
            store[rule.key(letter)] = laid_as(store[rule.key(letter)], p)


def _begin(rule: Rule, group: Group, p: Tensor, store: Store, hyper: Hyper) -> None:
    """Add the state that is missing, under the keys of checkpoints: numbers as 0-dim tensors."""
    g = p.grad
    assert g is not None
    g = g.to_dense() if g.is_sparse else g
    keys = [*map(rule.key, rule.state)]
    began = any(store.get(key) is not None for key in keys)  # torch's SGD counts no steps
    for key in ("step", *keys):
        if key in store and store[key] is None:
            del store[key]
            if not began:
                store.pop("step", None)  # a buffer begins at step 1
    store.setdefault("step", counter(1.0 if began else 0.0))
    for letter, value in initial_state(rule, p, -g if group["maximize"] else g, hyper, group["state_dtype"]).items():
        if rule.state[letter].per_group:
            group.setdefault(rule.key(letter), value)
        else:
            store.setdefault(rule.key(letter), value if isinstance(value, Tensor) else counter(value))


def restore_dtypes(rule: Rule, group: Group, p: Tensor, store: Store, loaded: Store) -> None:
    """Restore the precision of loaded state, which torch casts to the parameter's."""
    tensors = {rule.key(letter): state for letter, state in rule.state.items() if not state.is_scalar}
    for key, value in loaded.items():
        if isinstance(value, Tensor) and value.is_floating_point() and key != "step":
            wanted = value.dtype
            state = tensors.get(key)
            if state is not None and state.begin is None:
                wanted = dtype_of(state, p, group["state_dtype"]) or p.dtype
            if store[key].dtype is not wanted:
                store[key] = value.to(p.device, wanted, copy=True)
