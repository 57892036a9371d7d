"""A callback for Lightning: `Trainer(callbacks=[SteepestCallback()])`, of `lightning` or of `pytorch_lightning`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import SteepestError
from .common import Batch, Company

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError:
        raise SteepestError("There is no Lightning; install it by `pip install lightning`.") from None


class SteepestCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Does what an optimizer of steepest asks of its trainer, and logs how far its steps go.

    - Validation, tests and checkpoints see the rule's view, such as Schedule-Free's x or an average, and BatchNorm's statistics
      of there, made of the last 16 batches; training goes on from what is trained, also after a resume.
    - SAM, and any rule that asks for a second gradient, gets it from all batches of an accumulated step, with BatchNorm's
      statistics left as the first pass had them.
    - Every `log_every_n_steps` of the trainer, `steepest/update_to_weight` is the length of an update by that of the weights,
      `steepest/effective_rate` by that of the gradient. These work with any optimizer; `log=False` leaves them out.

    For modules with automatic optimization; one that steps by hand calls `first_step` and `second_step` itself.
    """

    def __init__(self, log: bool = True) -> None:
        super().__init__()
        self.log = log
        self.companies: list[Company] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Join each optimizer of the trainer."""

        def again(batch: Batch) -> Tensor:
            with _mute(pl_module):
                output = trainer.strategy.training_step(*batch)
            loss: Tensor = (output["loss"] if isinstance(output, Mapping) else output) / trainer.accumulate_grad_batches
            return loss

        self.companies = [
            Company(o, pl_module, again, lambda loss: trainer.strategy.backward(loss, None)) for o in trainer.optimizers
        ]
        if any(c.asks for c in self.companies) and not pl_module.automatic_optimization:
            raise SteepestError("The module steps by hand; call first_step and second_step there, and leave this callback out.")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Train where the rule trains."""
        due = self.log and (trainer.global_step + 1) % trainer.log_every_n_steps == 0
        for company in self.companies:
            company.wanted = due
            company.take((batch, batch_idx))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """The gradients are there, not yet clipped: those where the rule asks for them take their place."""
        for company in self.companies:
            if company.optimizer is getattr(optimizer, "optimizer", optimizer):
                company.ask()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Log what was measured."""
        for k, company in enumerate(self.companies):
            suffix = f"_{k}" if len(self.companies) > 1 else ""
            pl_module.log_dict({name + suffix: x for name, x in company.measured.items()}, on_step=True, on_epoch=False)
            company.measured = {}

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Evaluate where the rule says."""
        for company in self.companies:
            company.show()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save what is evaluated."""
        self.on_validation_start(trainer, pl_module)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the model as it is to be used."""
        for company in self.companies:
            company.show()
            company.close()


@contextlib.contextmanager
def _mute(module: Any) -> Any:
    """Inside, a module's own logging is not heard: what it says of a batch it has said."""
    module.log = module.log_dict = lambda *_, **__: None
    try:
        yield
    finally:
        del module.log, module.log_dict
