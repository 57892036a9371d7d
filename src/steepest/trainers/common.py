"""What both callbacks do: evaluate where the rule says, take SAM's second gradient, measure the updates."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..training.norms import REFRESH, normalizes, refreshed
from ..update.optimizer import RuleOptimizer
from ..update.two_calls import still
from ..update.views import whole

Batch = Any  # what a trainer gives its step
PREFIX = "steepest/"


class Company:
    """An optimizer of ours, or any other, in the company of a trainer.

    `again(batch)` is the loss of a batch as the trainer takes it, `backward(loss)` adds its gradients. `batches` are those
    whose gradients are being added up, `seen` the last ones that BatchNorm's statistics can be made of anew.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        again: Callable[[Batch], Tensor],
        backward: Callable[[Tensor], None],
    ) -> None:
        self.optimizer, self.model, self.again, self.backward = optimizer, model, again, backward
        rule = optimizer.rule if isinstance(optimizer, RuleOptimizer) else None
        self.asks = rule is not None and bool(rule.oracle)
        self.has_view = rule is not None and bool(rule.view) and not rule.twin
        self.batches: list[Batch] = []
        self.seen: deque[Batch] = deque(maxlen=REFRESH if self.has_view and normalizes(model) else 0)
        self.shown = contextlib.ExitStack()
        self.at_view = False
        self.wanted = False  # a measure of the next step
        self.measured: dict[str, float] = {}
        self.before: list[Tensor] = []
        self.hooks = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]

    def close(self) -> None:
        """Leave the optimizer."""
        for hook in self.hooks:
            hook.remove()

    def take(self, batch: Batch) -> None:
        """A batch of training comes."""
        self.train()
        if self.asks:
            self.batches.append(batch)
        self.seen.append(batch)

    def show(self) -> None:
        """Put the rule's view in place, with BatchNorm's statistics of there, to evaluate or save."""
        if not self.has_view or self.at_view:
            return
        assert isinstance(self.optimizer, RuleOptimizer)
        self.at_view = True
        self.optimizer.eval()
        if self.seen:
            modes = [(m, m.training) for m in self.model.modules()]
            with torch.random.fork_rng():
                self.shown.enter_context(refreshed(self.model, self._pass))
            for m, training in modes:
                m.training = training

    def _pass(self) -> None:
        for batch in self.seen:
            self.again(batch)

    def train(self) -> None:
        """Put what is trained back."""
        if self.at_view:
            assert isinstance(self.optimizer, RuleOptimizer)
            self.at_view = False
            self.optimizer.train()
            self.shown.close()

    def ask(self) -> None:
        """Before a step, its gradients being there: those where the rule asks for them, of the same batches."""
        if not self.asks:
            return
        assert isinstance(self.optimizer, RuleOptimizer)
        self.optimizer.first_step()
        with torch.enable_grad(), still(self.model):
            for batch in self.batches:
                self.backward(self.again(batch))
        self.batches.clear()

    def _before(self, *_: Any) -> None:
        if self.wanted:
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


def _norm(tensors: list[Tensor]) -> float:
    """The length of all of them, one after the other; of split ones over the mesh."""
    squares = [float((whole(t.abs()).double() ** 2).sum()) for t in tensors]
    return float(sum(squares) ** 0.5)
