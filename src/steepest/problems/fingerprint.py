"""The check and the fingerprint of a problem: one step of work that finds mistakes early and notices edits later."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor, nn

from ..errors import SteepestError
from .data import Examples, Streamed, raw
from .problem import Problem, seeded


def fingerprint(problem: Problem, device: str = "cpu") -> str:
    """Hash of seed 0's initial weights, the data, the first batch's loss and gradient, and the first value of the metric.

    An edit anywhere in the user's code that changes what is trained changes it. SteepestError where the problem cannot
    be trained: labels out of range, a loss that is not one finite number, nothing to train.
    """
    h = hashlib.sha256(repr((problem.batch_size, problem.direction, problem.metric_name, problem.shuffle)).encode())
    with seeded(0):
        model = problem.start(0, device)
        for split in (problem.train, problem.valid, problem.test):
            if split is not None:
                _check_labels(problem, model, split)
                h.update(split.digest().encode())
        batch = problem.train.batch(slice(0, problem.batch_size))
        loss = problem.batch_loss(model, batch)
        if not math.isfinite(loss.item()):
            raise SteepestError(
                f"Problem '{problem.name}': the loss at the start is {loss.item()}; expected a finite number. "
                "Look at the data's scale and the initial weights."
            )
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained or not loss.requires_grad:
            raise SteepestError(f"Problem '{problem.name}': the loss depends on no trainable parameter of the model.")
        gradient = torch.autograd.grad(loss, trained, allow_unused=True)
        first = problem.evaluate(model, problem.valid)
    for tensor in (*model.state_dict().values(), *gradient):
        if isinstance(tensor, Tensor):
            h.update(raw(tensor))
    h.update(repr((loss.item(), first)).encode())
    return h.hexdigest()


@torch.no_grad()
def _check_labels(problem: Problem, model: nn.Module, data: Examples) -> None:
    """Refuse integer targets that the model has no output for, where the loss refuses them too."""
    if isinstance(data, Streamed):
        return
    (*inputs, target) = data.tensors
    if target.is_floating_point():
        return
    try:
        output = model(*(t[:2] for t in inputs))
    except Exception:
        return  # training's first batch gives the sentence for this
    if not isinstance(output, Tensor) or output.ndim != target.ndim + 1:
        return
    classes = output.shape[1]
    outside = ((target < 0) | (target >= classes)).nonzero()
    if len(outside) == 0:
        return
    row = int(outside[0, 0])
    one = slice(row, row + 1)
    try:
        problem.loss(model(*(t[one] for t in inputs)), target[one])
    except (IndexError, RuntimeError):
        raise SteepestError(
            f"Problem '{problem.name}': example {row} has label {int(target[tuple(outside[0])])}, but the model has "
            f"{classes} outputs, so labels run from 0 to {classes - 1}."
        ) from None
