"""How much memory training and evaluating take, measured on one batch."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .seeds import seeded
from .trees import leaves

if TYPE_CHECKING:
    from .examples import Batch
    from .problem import Problem

SMALL = 2**24  # bytes that an evaluation may always take at once: 16 MiB
MOST = 2048  # examples evaluated in one forward pass
HELD = 0.25  # of what a training step keeps: outputs that an evaluation may hold, since joining and measuring copy them

_measured: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], float]] = weakref.WeakKeyDictionary()


def activation_bytes(problem: Problem, model: nn.Module, batch: Batch | None = None) -> int:
    """About how many bytes one run's training step keeps for its backward pass, of one batch.

    0 where they cannot be counted: a model that takes gradients in its forward pass, say.
    """
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x.detach()  # the storage stays as long as the graph; x itself would keep its own graph for ever

    try:
        with seeded(0), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            inputs, _ = problem.first_batch() if batch is None else batch
            outputs = [*leaves([problem.output(model, inputs)])]  # the loss is not asked: it may keep a memory
    except Exception:  # measuring must not refuse what trains
        return 0
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    of_loss = 2 * sum(t.numel() * t.element_size() for t in outputs)  # about, such as a softmax and its logarithm
    return sum(size for place, size in kept.items() if place not in own) + of_loss


def evaluation_room(problem: Problem, model: nn.Module) -> tuple[int, float]:
    """How many examples to evaluate at once, and how many bytes of outputs to hold.

    Both keep an evaluation's peak below one and a half times a training step's: as many examples as a batch has, or as many
    more as fit into `SMALL`.
    """
    key = (problem.batch_size, problem.accumulate, problem.dtype, problem.autocast)
    known: dict[tuple[Any, ...], float] = {}
    with contextlib.suppress(TypeError):  # what cannot be referred to weakly is measured each time
        known = _measured.setdefault(problem.model, {})
    if key not in known:
        training = model.training
        model.eval()  # no statistics of BatchNorm change
        known[key] = float(activation_bytes(problem, model))
        model.train(training)
    step, most = known[key] / problem.accumulate, -(-problem.batch_size // problem.accumulate)
    if step > 0:
        most = max(most, min(MOST, int(SMALL * most / step)))
    return most, max(float(SMALL), HELD * step)
