"""Memory of training and of evaluation, measured on one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .seeds import seeded
from .trees import leaves

if TYPE_CHECKING:
    from .examples import Batch
    from .problem import Problem

SMALL = 2**24  # bytes that an evaluation may always take: 16 MiB
MOST = 2048  # examples evaluated in one forward pass
HELD = 0.25  # share of a training step's memory for the outputs of an evaluation, since joining and measuring copy them


def activation_bytes(problem: Problem, model: nn.Module, batch: Batch | None = None) -> int:
    """Estimate the bytes that a training step stores for its backward pass, for one run and one batch.

    0 if they cannot be counted, such as for a model that computes gradients in its forward pass.
    """
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x.detach()  # the storage lives as long as the graph; x itself would keep its own graph alive

    try:
        with seeded(0), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            inputs, _ = problem.first_batch() if batch is None else batch
            outputs = [*leaves([problem.output(model, inputs)])]  # without the loss, which may have state
    except Exception:  # measuring must not fail for a model that trains
        return 0
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    of_loss = 2 * sum(t.numel() * t.element_size() for t in outputs)  # about, such as a softmax and its logarithm
    return sum(size for place, size in kept.items() if place not in own) + of_loss


def evaluation_room(problem: Problem, model: nn.Module) -> tuple[int, float]:
    """The number of examples in a forward pass of an evaluation, and the bytes of outputs to join.

    Both keep the peak memory of an evaluation below one and a half times a training step's: as many examples as in a batch,
    or as many as fit into `SMALL`.
    """
    if "_step_bytes" not in problem.__dict__:
        training = model.training
        model.eval()  # so that no statistics of BatchNorm change
        problem.__dict__["_step_bytes"] = float(activation_bytes(problem, model)) / problem.accumulate
        model.train(training)
    step, most = problem.__dict__["_step_bytes"], -(-problem.batch_size // problem.accumulate)
    if step > 0:
        most = max(most, min(MOST, int(SMALL * most / step)))
    return most, max(float(SMALL), HELD * step)
