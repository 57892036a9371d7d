"""Find the cause of a loss that is not finite: the data, single examples, or the whole batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..errors import SteepestError
from .examples import Batch
from .trees import leaves, mapped, size_of

if TYPE_CHECKING:
    from .problem import Problem

MOST_TRIED = 4096  # examples whose losses are computed one by one


@torch.no_grad()
def broken_in(problem: Problem, model: nn.Module, batch: Batch) -> tuple[str, bool]:
    """Explain why the loss of a batch is not finite, as a phrase; and whether single examples are the cause."""
    inputs, target = batch
    for what, tree in (("inputs", [*inputs]), ("targets", [target])):
        for t in leaves(tree):
            if t.is_floating_point() and not bool(t.isfinite().all()):
                rows = (~t.isfinite()).reshape(len(t), -1).any(1)
                return f"its {what} contain NaN or infinity in {int(rows.sum())} of {len(t)} examples", True
    size = min(size_of(target), MOST_TRIED)
    lost = [k for k in range(size) if not math.isfinite(_of_example(problem, model, batch, k))]
    if lost and len(lost) < size:
        which = f"the loss of {len(lost)} of its {size} examples is not finite by itself (the first is number {lost[0]} in it)"
        return which, True
    if lost:
        return "the loss is not finite for any of its examples alone", False
    return "the loss is finite for each of its examples alone", False


def _of_example(problem: Problem, model: nn.Module, batch: Batch, k: int) -> float:
    """The loss of one example of a batch; 0 if the model or loss rejects single examples."""
    training = model.training
    model.eval()  # BatchNorm rejects a single example in training
    inputs, target = batch
    try:
        one = tuple(t[k : k + 1] for t in inputs), mapped(lambda t: t[k : k + 1], target)
        return float(problem.batch_loss(model, one))
    except (SteepestError, TypeError, RuntimeError):
        return 0.0
    finally:
        model.train(training)
