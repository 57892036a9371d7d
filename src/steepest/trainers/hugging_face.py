"""A callback for Hugging Face's Trainer: `trainer.add_callback(SteepestCallback(trainer))`."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from ..errors import SteepestError
from .common import Attendant, Batch

try:
    from transformers import TrainerCallback
except ImportError:
    raise SteepestError("transformers is not installed; run `pip install transformers accelerate`.") from None


class SteepestCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Supports steepest's optimizers in a trainer, and logs the sizes of their steps.

    - Evaluation and checkpoints use the rule's view, such as Schedule-Free's x or an average, and BatchNorm's statistics of
      the last 16 batches at that point; training continues from the trained parameters, also after a resume.
    - SAM, and any rule with a second gradient, gets it from all batches of an accumulated step, clipped as the first;
      BatchNorm's statistics are those of the first pass.
    - Whenever the trainer logs, `steepest/update_to_weight` is the norm of an update divided by that of the weights,
      `steepest/effective_rate` by that of the gradient. These work with any optimizer; `log=False` omits them.
    """

    def __init__(self, trainer: Any, log: bool = True) -> None:
        self.trainer, self.log = trainer, log
        self.attendant: Attendant

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attach to the trainer's optimizer and to its training step, to see the batches."""
        trainer = self.trainer
        trainer.__dict__.pop("training_step", None)  # left over if an earlier training raised
        step = type(trainer).training_step

        def loss_of(batch: Batch) -> Tensor:
            if torch.is_grad_enabled():
                return step(trainer, *batch)  # type: ignore[no-any-return]  # calls backward itself
            model, inputs, *_ = batch
            with trainer.compute_loss_context_manager():
                return trainer.compute_loss(model, trainer._prepare_inputs(inputs))  # type: ignore[no-any-return]

        @functools.wraps(step)
        def training_step(model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
            self.attendant.take((model, dict(inputs), num_items_in_batch))
            return step(trainer, model, inputs, num_items_in_batch)  # type: ignore[no-any-return]

        optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        self.attendant = Attendant(optimizer, trainer.model, loss_of, lambda loss: None)
        if self.attendant.oracle and getattr(trainer.accelerator, "scaler", None) is not None:
            raise SteepestError("A rule with a second gradient does not support a loss scaler; train in bf16 or float32.")
        trainer.training_step = training_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the step if it will be logged."""
        every = state.logging_steps
        self.attendant.wanted = self.log and (every <= 1 or (state.global_step + 1) % every == 0)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Replace the clipped gradients by the rule's second ones."""
        if self.attendant.oracle:
            self.attendant.ask()
            if args.max_grad_norm:
                self.trainer.accelerator.clip_grad_norm_(self.trainer.model.parameters(), args.max_grad_norm)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the measurements, and evaluate and save at the rule's view."""
        if control.should_log and self.attendant.measured:
            self.trainer.log(self.attendant.measured)
            control.should_log = True  # log() has reset it, and the trainer's own numbers are still to be logged
        self.attendant.measured = {}
        if control.should_evaluate or control.should_save:
            self.attendant.show()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate and save at the rule's view."""
        if control.should_evaluate or control.should_save:
            self.attendant.show()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model at the rule's view, and restore the trainer's training step."""
        self.attendant.show()
        self.attendant.close()
        del self.trainer.training_step
