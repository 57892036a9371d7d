"""Steps in two calls, for rules with a second gradient, and a context that freezes running statistics."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SteepestError
from ..step import Leave
from .dtensor import here
from .layout import Layout
from .part import AskAt
from .stores import Group

SCALED = 4.0  # second gradients that were never unscaled count as scaled if this many times longer than the first


@dataclasses.dataclass
class Began:
    """A step between its two calls: where it started, and one parameter's second gradient as backward() left it."""

    there: list[tuple[Tensor, Tensor, Tensor | None]]  # each parameter, its value and its first gradient
    versions: list[int] = dataclasses.field(default_factory=list)  # of the parameters, as the first step left them
    watched: Tensor | None = None
    left: Tensor | None = None
    hook: Any = None

    def watch(self) -> None:
        """Record the gradient that backward() leaves in the smallest parameter, to see later whether it was unscaled."""
        leaves = [p for p, _, g in self.there if g is not None and p.requires_grad and p.is_leaf]
        if leaves:
            self.watched = min(leaves, key=Tensor.numel)
            self.hook = self.watched.register_post_accumulate_grad_hook(self._note)  # type: ignore[no-untyped-call]

    def _note(self, p: Tensor) -> None:
        self.left = None if p.grad is None else p.grad.detach().clone()

    def forget_written(self) -> None:
        """Drop the parameters that were written to since the first step, so that they are not restored."""
        self.there = [own for own, v in zip(self.there, self.versions, strict=True) if own[0]._version == v]
        self.versions = [p._version for p, _, _ in self.there]

    def scaled(self) -> bool:
        """Whether the second gradients are still multiplied by a GradScaler's factor: never unscaled, and far longer."""
        p = self.watched
        if p is None or p.grad is None or self.left is None or not torch.equal(p.grad, self.left):
            return False
        first, second = (_length(g) for g in ([g for _, _, g in self.there], [p.grad for p, _, _ in self.there]))
        return second > SCALED * first


def _length(gradients: Sequence[Tensor | None]) -> float:
    squares = [float(here(g).detach().abs().double().square().sum()) for g in gradients if g is not None]
    return math.sqrt(sum(squares))


@torch.no_grad()
def begin(layout: Layout, groups: Sequence[Group]) -> Began:
    """Run a step until it needs the second gradient, and leave the parameters there. The count of steps is restored."""
    began = Began([(p, p.detach().clone(), p.grad) for group in groups for p in group["params"]])
    ages = [None if part.steps is None else part.steps.copy() for part in layout.parts]

    def leave(_: Sequence[Tensor]) -> list[Tensor]:
        raise Leave

    with contextlib.suppress(Leave):
        layout.run(leave)
    for part, steps in zip(layout.parts, ages, strict=True):
        if part.steps is not None:
            part.steps[...] = steps  # the memory of the state
    for p, _, _ in began.there:
        p.grad = None
    began.versions = [p._version for p, _, _ in began.there]
    began.watch()
    return began


@torch.no_grad()
def go_back(began: Began, gradients: bool = True) -> AskAt:
    """Restore the parameters, and with `gradients` their first gradients; returns a function that gives the second ones."""
    if began.hook is not None:
        began.hook.remove()
    second = {p: p.grad for p, _, _ in began.there}
    for p, value, gradient in began.there:
        p.copy_(value)
        if gradients:
            p.grad = gradient

    def answer(params: Sequence[Tensor]) -> list[Tensor]:
        there = [(p, second[p]) for p in params]
        return [torch.zeros_like(p) if g is None else g for p, g in there]

    return answer


@torch.no_grad()
def scaled_by(began: Began, optimizer: Any) -> bool:
    """Unscale the second gradients where a GradScaler steps the optimizer; whether they are finite.

    Raises SteepestError where it has unscaled the first ones and takes the second ones for unscaled too.
    """
    found, scale = getattr(optimizer, "found_inf", None), getattr(optimizer, "grad_scale", None)
    if found is None:
        return True  # no scaler
    if bool(found):
        return False
    if scale is None and began.scaled():
        raise SteepestError(
            "GradScaler.unscale_ came before first_step, and the second gradients are still scaled, which the scaler does not "
            "know; leave it out, or call scaler.update() after first_step."
        )
    for p, _, _ in began.there:
        if scale is not None and p.grad is not None:
            p.grad.mul_((1 / scale.double()).float().to(p.grad.device))
    return True


@contextlib.contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Context in which layers with running statistics, such as BatchNorm, use those of their batch and do not update them.

    For the second pass of a rule that makes two: the statistics are then of the first, at the parameters themselves.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> with still(model):
    ...     _ = model(torch.ones(4, 2))
    >>> model[1].running_mean.tolist()
    [0.0, 0.0]
    """
    norms: list[Any] = [m for m in model.modules() if getattr(m, "running_mean", None) is not None and m.training]
    saved = [(x, x.clone()) for m in norms for x in (m.running_mean, m.running_var, m.num_batches_tracked) if x is not None]
    try:
        yield
    finally:
        for x, before in saved:
            x.data.copy_(before)  # not x.copy_: a backward pass that is still to come checks its version
