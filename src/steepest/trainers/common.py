"""What both callbacks do: evaluate where the rule says, take SAM's second gradient, measure the updates."""

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

Batch = Any  # what a trainer gives its step
PREFIX = "steepest/"


class Attendant:
    """What stands between a trainer and one optimizer, of ours or any other.

    `loss_of(batch)` is the loss as the trainer takes it, or None; `backward(loss)` adds its gradients; `refreshes` says that
    passes of `loss_of` may give BatchNorm new statistics. Kept are the batches whose gradients are being added up, for a rule
    that asks for a second gradient, and the last ones, for the statistics.
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
        rule = optimizer.rule if isinstance(optimizer, RuleOptimizer) else None
        self.asks = rule is not None and bool(rule.oracle)
        self.has_view = rule is not None and bool(rule.view) and not rule.twin
        self.of_step: list[Batch] = []
        self.last: deque[Batch] = deque(maxlen=REFRESH if refreshes and self.has_view and normalizes(model) else 0)
        self.modes: dict[nn.Module, bool] = {}  # of the model's parts, as they train
        self.put_back: Callable[[], None] | None = None
        self.wanted = False  # a measure of the next step
        self.measured: dict[str, float] = {}
        self.before: list[Tensor] = []
        self.hooks = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]

    def close(self) -> None:
        """Leave the optimizer, and the model as it now is."""
        for hook in self.hooks:
            hook.remove()
        self.of_step.clear()
        self.last.clear()
        self.put_back = None

    def take(self, batch: Batch) -> None:
        """A batch of training comes: what is trained is in place."""
        if self.has_view:
            assert isinstance(self.optimizer, RuleOptimizer)
            self.optimizer.train()
        if self.put_back is not None:
            self.put_back()
            self.put_back = None
        if self.asks:
            self.of_step.append(batch)
        self.last.append(batch)
        if self.last:
            self.modes = {m: m.training for m in self.model.modules()}

    def show(self) -> None:
        """Put the rule's view in place, with BatchNorm's statistics of there, to evaluate or save."""
        if not self.has_view or self.put_back is not None:
            return
        assert isinstance(self.optimizer, RuleOptimizer)
        self.optimizer.eval()
        norms = [m for m in normalizes(self.model) if self.modes.get(m)]  # those that are frozen stay
        if self.last and norms:
            modes = {m: m.training for m in self.model.modules()}
            _set(self.modes)
            try:
                with torch.random.fork_rng():
                    self.put_back = refresh(norms, self._pass)
            finally:
                _set(modes)

    def ask(self) -> None:
        """Before a step, its gradients being there: those where the rule asks for them, of the same batches."""
        if not self.asks:
            return
        assert isinstance(self.optimizer, RuleOptimizer)
        self._before()  # from here the parameters stand elsewhere
        self.optimizer.first_step()
        try:
            with torch.enable_grad(), still(self.model):
                for batch in self.of_step:
                    loss = self.loss_of(batch)
                    if loss is not None:
                        self.backward(loss)
        except BaseException:
            self.optimizer.cancel_first_step()
            raise
        finally:
            self.of_step.clear()

    def give_up(self) -> None:
        """Training ends by an exception: nothing is left half done."""
        if isinstance(self.optimizer, RuleOptimizer):
            self.optimizer.cancel_first_step()
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
    """The length of all of them, one after the other; of split ones over the mesh."""
    squares = [float(whole((t.abs().double() ** 2).sum())) for t in tensors]
    return float(sum(squares) ** 0.5)
