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
    problem = problem.fresh(device)
    settings = (problem.batch_size, problem.direction, problem.metric_name, problem.shuffle, problem.drop_last)
    h = hashlib.sha256(repr(settings).encode())
    usual = {"accumulate": 1, "clip": None, "autocast": None}
    changed = [(k, getattr(problem, k)) for k, value in usual.items() if getattr(problem, k) != value]
    h.update(repr(changed).encode() if changed else b"")
    for split in (problem.train, problem.valid, problem.test):
        if split is not None:
            h.update(split.digest().encode())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums, hence the same fingerprint, whatever the number of threads
    try:
        with seeded(0):
            model = problem.start(0, device)
            for split in (problem.train, problem.valid, problem.test):
                if split is not None:
                    _check_labels(problem, model, split)
            model.train()
            loss, gradient = _first_step(problem, model)
            first = problem.evaluate(model, problem.valid)
    finally:
        torch.set_num_threads(threads)
    if not math.isfinite(first[1]):
        raise SteepestError(
            f"Problem '{problem.name}': its {problem.metric_name} at the start is {first[1]}; expected a number."
        )
    for tensor in (*model.state_dict().values(), *gradient):
        if isinstance(tensor, Tensor):
            h.update(raw(tensor))
    h.update(repr((loss, first)).encode())
    return h.hexdigest()


def _first_step(problem: Problem, model: nn.Module) -> tuple[float, tuple[Tensor | None, ...]]:
    """Loss and gradients of the first batch; SteepestError where they cannot be trained on."""
    with problem.theirs("data"):
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
    with problem.theirs("model or loss"):
        gradient = torch.autograd.grad(loss, trained, allow_unused=True)
    for g in gradient:
        if g is not None and (g.is_sparse or g.is_complex()):
            raise SteepestError(
                f"Problem '{problem.name}': its model has sparse or complex gradients; dense real ones are trained."
            )
    return loss.item(), gradient


@torch.no_grad()
def _check_labels(problem: Problem, model: nn.Module, data: Examples) -> None:
    """Refuse integer targets that the model has no output for, where the loss refuses them too."""
    if isinstance(data, Streamed):
        return
    (*inputs, target) = data.tensors
    if target.is_floating_point():
        return
    model.eval()
    try:
        output = problem.output(model, [t[:1].clone() for t in inputs])
    except Exception:
        return  # training's first batch gives the sentence for this
    if not isinstance(output, Tensor) or output.ndim != target.ndim + 1:
        return
    classes = output.shape[1]
    outside = ((target < 0) | (target >= classes)).nonzero()
    if len(outside) == 0:
        return
    row = int(outside[0, 0])
    try:
        problem.loss(output, target[row : row + 1])
    except Exception:
        raise SteepestError(
            f"Problem '{problem.name}': example {row} has label {int(target[tuple(outside[0])])}, but the model has "
            f"{classes} outputs, so labels run from 0 to {classes - 1}."
        ) from None
