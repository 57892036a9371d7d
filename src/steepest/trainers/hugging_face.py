"""A callback for Hugging Face's Trainer: `trainer.add_callback(SteepestCallback(trainer))`."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from ..errors import SteepestError
from .common import Batch, Company

try:
    from transformers import TrainerCallback
except ImportError:
    raise SteepestError("There is no transformers; install it by `pip install transformers accelerate`.") from None


class SteepestCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Does what an optimizer of steepest asks of its trainer, and logs how far its steps go.

    - Evaluation and checkpoints see the rule's view, such as Schedule-Free's x or an average, and BatchNorm's statistics of
      there, made of the last 16 batches; training goes on from what is trained, also after a resume.
    - SAM, and any rule that asks for a second gradient, gets it from all batches of an accumulated step, clipped as the first,
      with BatchNorm's statistics left as the first pass had them.
    - Whenever the trainer logs, `steepest/update_to_weight` is the length of an update by that of the weights,
      `steepest/effective_rate` by that of the gradient. These work with any optimizer; `log=False` leaves them out.
    """

    def __init__(self, trainer: Any, log: bool = True) -> None:
        self.trainer, self.log = trainer, log
        self.company: Company | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Join the trainer's optimizer, and hear of its batches."""
        trainer = self.trainer
        step = type(trainer).training_step

        def again(batch: Batch) -> Tensor:
            if torch.is_grad_enabled():
                return step(trainer, *batch)  # type: ignore[no-any-return]  # calls backward itself
            model, inputs, *_ = batch
            with trainer.compute_loss_context_manager():
                return trainer.compute_loss(model, trainer._prepare_inputs(inputs))  # type: ignore[no-any-return]

        @functools.wraps(step)
        def training_step(model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
            assert self.company is not None
            self.company.take((model, dict(inputs), num_items_in_batch))
            return step(trainer, model, inputs, num_items_in_batch)  # type: ignore[no-any-return]

        optimizer = trainer.optimizer
        self.company = Company(getattr(optimizer, "optimizer", optimizer), trainer.model, again, lambda loss: None)
        trainer.training_step = training_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Whether the step that begins will be told of."""
        assert self.company is not None
        every = state.logging_steps
        self.company.wanted = self.log and (every <= 1 or (state.global_step + 1) % every == 0)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The gradients are there, clipped: those where the rule asks for them take their place."""
        assert self.company is not None
        if self.company.asks:
            self.company.ask()
            if args.max_grad_norm:
                self.trainer.accelerator.clip_grad_norm_(self.trainer.model.parameters(), args.max_grad_norm)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log what was measured, and evaluate and save where the rule says."""
        assert self.company is not None
        if control.should_log and self.company.measured:
            self.trainer.log(self.company.measured)
        self.company.measured = {}
        if control.should_evaluate or control.should_save:
            self.company.show()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate and save where the rule says."""
        assert self.company is not None
        if control.should_evaluate or control.should_save:
            self.company.show()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model as it is to be used, and the trainer as it was."""
        assert self.company is not None
        self.company.show()
        self.company.close()
        del self.trainer.training_step
