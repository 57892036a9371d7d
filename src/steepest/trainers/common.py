"""Shared by both callbacks: evaluate at the rule's view, compute the second gradient for SAM, measure updates."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..training.norms import REFRESH, normalizes, refresh
from ..update.torch_class.dtensor import whole
from ..update.torch_class.optimizer import RuleOptimizer
from ..update.torch_class.two_calls import still

Batch = Any  # the arguments of a trainer's training step
PREFIX = "steepest/"


class Attendant:
    """Connects a trainer with one optimizer, steepest's or any other.

    `loss_of(batch)` is the trainer's loss, or None; `backward(loss)` accumulates its gradients; `refreshes` allows passes of
    `loss_of` to recompute BatchNorm's statistics. The batches of an accumulated step are stored for a second gradient, and
    the most recent batches for the statistics.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        loss_of: Callable[[Batch], Tensor | None],
        backward: Callable[[Tensor], None],
        refreshes: bool = True,
    ) -> None:
        self.optimizer, self.model, self.loss_of, self.backward = optimizer, model, loss_of, backward
        own = optimizer if isinstance(optimizer, RuleOptimizer) else None
        self.oracle = own if own and own.rule.oracle else None  # the optimizer, if its rule takes a second gradient
        self.view = own if own and own.rule.view and not own.rule.twin else None  # if its rule evaluates at another point
        self.of_step: list[Batch] = []
        self.last: deque[Batch] = deque(maxlen=REFRESH if refreshes and self.view and normalizes(model) else 0)
        self.modes: dict[nn.Module, bool] = {}  # the training mode of each module
        self.put_back: Callable[[], None] | None = None
        self.wanted = False  # whether to measure the next step
        self.measured: dict[str, float] = {}
        self.before: list[Tensor] = []
        self.hooks = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]

    def close(self) -> None:
        """Remove the hooks from the optimizer."""
        for hook in self.hooks:
            hook.remove()
        self.of_step.clear()
        self.last.clear()
        self.put_back = None

    def take(self, batch: Batch) -> None:
        """Prepare for a training batch: restore the trained parameters and statistics, and store the batch."""
        if self.view:
            self.view.train()
        if self.put_back is not None:
            self.put_back()
            self.put_back = None
        if self.oracle:
            self.of_step.append(batch)
        self.last.append(batch)
        if self.last:
            self.modes = {m: m.training for m in self.model.modules()}

    def show(self) -> None:
        """Switch to the rule's view, with BatchNorm's statistics recomputed there, to evaluate or save."""
        if not self.view or self.put_back is not None:
            return
        self.view.eval()
        norms = [m for m in normalizes(self.model) if self.modes.get(m)]  # frozen layers are left alone
        if self.last and norms:
            modes = {m: m.training for m in self.model.modules()}
            _set(self.modes)
            try:
                with torch.random.fork_rng():
                    self.put_back = refresh(norms, self._pass)
            finally:
                _set(modes)

    def ask(self) -> None:
        """Before a step: replace the gradients by the rule's second ones, of the same batches."""
        if not self.oracle:
            return
        self._before()  # before the parameters are moved
        self.oracle.first_step()
        try:
            with torch.enable_grad(), still(self.model):
                for batch in self.of_step:
                    loss = self.loss_of(batch)
                    if loss is not None:
                        self.backward(loss)
        except BaseException:
            self.oracle.cancel_first_step()
            raise
        finally:
            self.of_step.clear()

    def give_up(self) -> None:
        """Cancel a step that an exception has interrupted, and remove the hooks."""
        if self.oracle:
            self.oracle.cancel_first_step()
        self.close()

    def _pass(self) -> None:
        for batch in self.last:
            self.loss_of(batch)

    def _before(self, *_: Any) -> None:
        if self.wanted and not self.before:
            self.before = [p.detach().clone() for p in self._params()]

    @torch.no_grad()
    def _after(self, *_: Any) -> None:
        if self.before:
            moved = _norm([p - was for p, was in zip(self._params(), self.before, strict=True)])
            slope = _norm([p.grad for p in self._params() if p.grad is not None])
            ratios = {"effective_rate": moved / max(slope, 1e-300)}
            ratios["update_to_weight"] = moved / max(_norm(self.before), 1e-300)
            self.measured, self.before, self.wanted = {PREFIX + k: x for k, x in ratios.items()}, [], False

    def _params(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def _set(modes: dict[nn.Module, bool]) -> None:
    for m, training in modes.items():
        m.training = training


def _norm(tensors: list[Tensor]) -> float:
    """The norm of all tensors together; DTensors are summed over the mesh."""
    squares = [float(whole((t.abs().double() ** 2).sum())) for t in tensors]
    return float(sum(squares) ** 0.5)
