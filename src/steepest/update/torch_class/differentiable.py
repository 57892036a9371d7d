"""Steps that autograd can differentiate with respect to parameters, gradients, state and hyperparameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...rules import Rule
from ...rules.definition import Hyper
from ...rules.symbols import Symbol
from ..numbers import Value, evaluate
from .stores import Group, Store, counter


def step(rule: Rule, p: Tensor, group: Group, store: Store, hyper: Hyper, tensors: Hyper) -> None:
    """One update of one parameter, in place, as autograd records it; for elementwise rules, as in torch.

    `tensors` has the hyperparameters that are tensors, which take the place of their numbers.
    """
    graph = rule.graph(hyper, group["maximize"], tuple(p.shape))
    if graph.counts:
        with torch.no_grad():
            store["step"] = counter(store["step"]) + 1
    keys = {letter: rule.key(letter) for letter in graph.outputs if letter != "p"}
    values: dict[str, Any] = {"p": _apart(p), "g": _apart(p.grad), "t": float(store.get("step", 0.0)), **hyper, **tensors}
    for letter, key in keys.items():
        number = rule.state[letter].is_scalar and not store[key].requires_grad
        values[letter] = store[key].item() if number else _apart(store[key])
    known: dict[Symbol, Value] = {x: values[name] for name, x in graph.inputs.items() if name in values}
    new = {letter: evaluate(x, known) for letter, x in graph.outputs.items()}
    for letter, value in new.items():
        place = p if letter == "p" else store[keys[letter]]
        if place.is_complex():
            assert isinstance(value, Tensor)
            value = torch.view_as_complex(value)
        place.copy_(value) if isinstance(value, Tensor) else place.fill_(value)


def _apart(t: Any) -> Any:
    """A copy of a tensor as real numbers, so that the update may write to the tensor."""
    return torch.view_as_real(t.clone()) if t.is_complex() else t.clone()
