"""The plain engine: a rule run by torch's own operations, on any dtype and device. The oracle for every faster engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..rules import Rule


def initial_state(rule: Rule, p: Tensor, hyper: Mapping[str, Any]) -> dict[str, Tensor]:
    """The rule's state before step 1 for one parameter, by letter; each tensor has the parameter's shape and dtype."""
    return {
        letter: torch.full_like(p, 0.0 if state.fill is None else hyper[state.fill], memory_format=torch.preserve_format)
        for letter, state in rule.live_state(hyper).items()
    }


def step(
    rule: Rule, p: Tensor, g: Tensor, t: int, state: Mapping[str, Tensor], hyper: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Tensor]]:
    """One update: parameter, gradient and state of one tensor to the new parameter and state. Writes to no argument.

    `t` counts from 1; `hyper` holds every hyperparameter (`rule.settings()`).
    """
    new, *values = rule.step(p, g, t, *(state.get(letter) for letter in rule.state), **hyper)
    return new, {letter: value for letter, value in zip(rule.state, values, strict=True) if value is not None}
