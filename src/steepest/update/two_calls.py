"""A step in two calls, for rules that ask for a second gradient; and a second pass that leaves no trace in the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .layout import AskAt, Layout
from .passes import Leave
from .state import Group

Began = list[tuple[Tensor, Tensor, Tensor | None]]  # each parameter, its value and its first gradient


@torch.no_grad()
def begin(layout: Layout, groups: Sequence[Group]) -> Began:
    """Run a step until it asks, and leave the parameters there; what it began from. The count of steps stays as it was."""
    began = [(p, p.detach().clone(), p.grad) for group in groups for p in group["params"]]
    ages = [None if part.steps is None else part.steps.copy() for part in layout.parts]

    def leave(_: Sequence[Tensor]) -> list[Tensor]:
        raise Leave

    with contextlib.suppress(Leave):
        layout.run(leave)
    for part, steps in zip(layout.parts, ages, strict=True):
        if part.steps is not None:
            part.steps[...] = steps  # the memory of the state
    for p, _, _ in began:
        p.grad = None
    return began


@torch.no_grad()
def go_back(began: Began) -> AskAt:
    """Put parameters and first gradients back; what answers with the second ones, which were there."""
    second = {p: p.grad for p, _, _ in began}
    for p, value, gradient in began:
        p.copy_(value)
        p.grad = gradient

    def answer(params: Sequence[Tensor]) -> list[Tensor]:
        there = [(p, second[p]) for p in params]
        return [torch.zeros_like(p) if g is None else g for p, g in there]

    return answer


@contextlib.contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Inside, layers that keep running statistics, such as BatchNorm, use those of their batch and keep none.

    For the second pass of a rule that makes two: the statistics are then of the first, where the parameters are.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> with still(model):
    ...     _ = model(torch.ones(4, 2))
    >>> model[1].running_mean.tolist()
    [0.0, 0.0]
    """
    norms: list[Any] = [m for m in model.modules() if getattr(m, "running_mean", None) is not None and m.training]
    before = [(m, m.momentum, m.num_batches_tracked) for m in norms]
    for m in norms:
        m.momentum = 0.0
        m.num_batches_tracked = None
    try:
        yield
    finally:
        for m, momentum, tracked in before:
            m.momentum, m.num_batches_tracked = momentum, tracked
