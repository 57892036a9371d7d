"""A callback for Lightning: `Trainer(callbacks=[SteepestCallback()])`, of `lightning` or of `pytorch_lightning`."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import SteepestError
from .common import Attendant, Batch

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError:
        raise SteepestError("Lightning is not installed; run `pip install lightning`.") from None


class SteepestCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Supports steepest's optimizers in a trainer, and logs the sizes of their steps.

    - Validation, and checkpoints written then or at the end of an epoch, use the rule's view, such as Schedule-Free's x or an
      average, and BatchNorm's statistics of the last 16 batches at that point; training continues from the trained
      parameters, also after a resume. Metrics that the training step updates count these passes, and SAM's second ones, too.
    - SAM, and any rule with a second gradient, gets it from all batches of an accumulated step; BatchNorm's statistics are
      those of the first pass.
    - Every `log_every_n_steps` of the trainer, `steepest/update_to_weight` is the norm of an update divided by that of the
      weights, `steepest/effective_rate` by that of the gradient. These work with any optimizer; `log=False` omits them.

    For modules with automatic optimization; one with manual optimization calls `first_step` and `second_step` itself.
    """

    def __init__(self, log: bool = True) -> None:
        super().__init__()
        self.log = log
        self.attendants: list[Attendant] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach to each optimizer of the trainer."""
        numbered = len(inspect.signature(pl_module.training_step).parameters) > 1

        def loss_of(batch: Batch) -> Tensor | None:
            with _mute(pl_module):
                output = trainer.strategy.training_step(*(batch if numbered else batch[:1]))
            loss: Tensor | None = output["loss"] if isinstance(output, Mapping) else output
            return None if loss is None else loss / trainer.accumulate_grad_batches

        def backward(loss: Tensor) -> None:
            trainer.strategy.backward(loss, None)

        self.attendants = []
        for optimizer in trainer.optimizers:
            refreshes = pl_module.automatic_optimization and not any(a.view for a in self.attendants)
            self.attendants.append(Attendant(optimizer, pl_module, loss_of, backward, refreshes))
        if any(a.oracle for a in self.attendants):
            if not pl_module.automatic_optimization:
                raise SteepestError("The module optimizes manually; call first_step and second_step, without this callback.")
            if getattr(trainer.precision_plugin, "scaler", None) is not None:
                raise SteepestError("A rule with a second gradient does not support a loss scaler; train in bf16 or float32.")

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a new accumulated step, as the trainer does."""
        for attendant in self.attendants:
            attendant.of_step.clear()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Prepare for a training batch."""
        step = trainer.global_step // max(len(self.attendants), 1) + 1
        for attendant in self.attendants:
            attendant.wanted = self.log and step % trainer.log_every_n_steps == 0
            attendant.take((batch, batch_idx))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Replace the gradients, before they are clipped, by the rule's second ones."""
        for attendant in self.attendants:
            if attendant.optimizer is getattr(optimizer, "optimizer", optimizer):
                attendant.ask()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Log the measurements of the step."""
        for k, attendant in enumerate(self.attendants):
            suffix = f"_{k}" if len(self.attendants) > 1 else ""
            pl_module.log_dict({name + suffix: x for name, x in attendant.measured.items()}, on_step=True, on_epoch=False)
            attendant.measured = {}

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Evaluate at the rule's view."""
        for attendant in self.attendants:
            attendant.show()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the rule's view."""
        self.on_validation_start(trainer, pl_module)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the model at the rule's view."""
        for attendant in self.attendants:
            attendant.show()
            attendant.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Cancel an interrupted step."""
        for attendant in self.attendants:
            attendant.give_up()


@contextlib.contextmanager
def _mute(module: Any) -> Any:
    """Disable the module's own logging, since it has logged the batch already."""
    module.log = module.log_dict = lambda *_, **__: None
    try:
        yield
    finally:
        del module.log, module.log_dict
