"""Check a problem and compute its identity: one step finds mistakes early, and later edits change the identity."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SteepestError
from . import IDENTITY
from .broken import broken_in
from .code import digest
from .examples import Batch, Examples, raw
from .problem import Problem
from .seeds import seeded
from .trees import leaves

LOOKED_AT = 2000  # batches of each split, evenly spread, whose loss and metric are computed
WORK = 4e9  # floating-point operations for each split, about a second of one core


@dataclass(frozen=True)
class Identity:
    """A problem's key, equal for equal code, data and initial weights; `undigested` names objects it does not include."""

    key: str
    undigested: tuple[str, ...] = ()


def fingerprint(problem: Problem, device: str = "cpu") -> str:
    """The key of a problem's identity. SteepestError if the problem cannot be trained."""
    return identify(problem, device).key


def identify(problem: Problem, device: str = "cpu") -> Identity:
    """A digest of the user's code, the data, seed 0's initial weights and first gradient, and the initial losses and metrics.

    Any edit that affects training or evaluation changes it; comments, names of files and unrelated code do not. Raises
    SteepestError if the problem cannot be trained: labels out of range, a loss that is not one finite number, no trainable
    parameters, an example whose loss is not finite, or user code that raises in a first step.
    """
    with problem.theirs("first step"):
        return _identified(problem, device)


def _identified(problem: Problem, device: str) -> Identity:
    code, undigested = digest(_code(problem), _in_memory(problem))
    problem = problem.fresh(device)
    settings = (problem.batch_size, problem.direction, problem.metric_name, problem.shuffle, problem.drop_last)
    h = hashlib.sha256(repr((settings, str(problem.drawing), str(problem.dtype), code)).encode())
    usual = {"accumulate": 1, "clip": None, "autocast": None}
    changed = [(k, getattr(problem, k)) for k, value in usual.items() if getattr(problem, k) != value]
    h.update(repr(changed).encode() if changed else b"")
    splits = {"training": problem.train, "validation": problem.valid, "test": problem.test}
    splits = {what: data for what, data in splits.items() if data is not None}
    for data in splits.values():
        h.update(data.digest().encode())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums, hence the same identity, whatever the number of threads
    try:
        with seeded(0):
            model = problem.start(0, device)
            _check_memory(problem, model)
            for data in splits.values():
                _check_labels(problem, model, data)
            model.train()
            loss, gradient = _first_step(problem, model)
            first = problem.evaluate(model, problem.valid)
            values = [_values(problem, model, what, data) for what, data in splits.items()]
    finally:
        torch.set_num_threads(threads)
    if not math.isfinite(first[1]):
        raise SteepestError(
            f"Problem '{problem.name}': its {problem.metric_name} at the start is {first[1]}; expected a number."
        )
    for tensor in (*model.state_dict().values(), *gradient):
        if isinstance(tensor, Tensor):
            h.update(raw(tensor))
    h.update(repr((loss, first, values)).encode())
    return Identity(IDENTITY + h.hexdigest(), tuple(undigested))


def _code(problem: Problem) -> dict[str, Any]:
    """The user's code: functions, modules, data sets that are read during training, collate functions."""
    found: dict[str, Any] = {"model": problem.model, "loss": problem.loss}
    if callable(problem.metric):
        found["metric"] = problem.metric
    for split in ("train", "valid", "test"):
        data: Any = getattr(problem, split)
        if data is not None and not data.in_memory:
            loader = getattr(data, "loader", None)
            found[f"{split} data"] = getattr(data, "dataset", None) or getattr(loader, "dataset", None)
            found[f"{split} collate function"] = getattr(loader, "collate_fn", None)
    if problem.drawing.sampler is not None:
        found["sampler"] = problem.drawing.sampler
    return found


def _in_memory(problem: Problem) -> list[Any]:
    """Tensors that the data's own digest covers, and data sets that a sampler refers to."""
    held = [data for data in (problem.train, problem.valid, problem.test) if data is not None]
    tensors = [t for data in held if data.in_memory for t in data.tensors]
    return tensors + [one for data in held if data.drawing is not None for one in data.drawing.keep]


def _values(problem: Problem, model: nn.Module, what: str, data: Examples) -> list[Any]:
    """Loss and metric of batches of a split with these weights: evenly spread, as many as `WORK` allows.

    SteepestError if one is not finite because of single examples.
    """
    found: list[Any] = []
    model.eval()
    for k, batch in _spread(problem, model, data):
        try:
            with torch.set_grad_enabled(problem._takes_gradients):
                loss, metric = problem._measure(problem.output(model, batch[0]), batch[1])
        except Exception as error:  # a metric may refuse a part of the data, a model may need gradients
            found.append(type(error.__cause__ or error).__name__)
            continue
        found.append((loss, metric))
        if not math.isfinite(loss):
            fault, is_theirs = broken_in(problem, model, batch)
            if is_theirs:
                where = f"the loss of {what} batch {k + 1} is {loss} with the initial weights"
                raise SteepestError(f"Problem '{problem.name}': {where}: {fault}.")
    return found


def _spread(problem: Problem, model: nn.Module, data: Examples) -> Iterator[tuple[int, Batch]]:
    """Batches of a split with their numbers, evenly spread."""
    if data.is_stream:
        yield 0, problem.first_batch()
        return
    size = problem.batch_size
    count = -(-len(data) // size)
    first = data.batch(slice(0, size)) if data.in_memory else next(data.chunks(size))
    yield 0, first
    most = max(min(LOOKED_AT, int(WORK / max(_work(problem, model, first), 1.0))), 1)
    if not data.in_memory:
        return
    apart = max((count - 1) / max(most - 1, 1), 1.0)
    for i in range(1, min(most, count)):
        k = round(i * apart)
        yield k, data.batch(slice(k * size, (k + 1) * size))


@torch.no_grad()
def _work(problem: Problem, model: nn.Module, batch: Batch) -> float:
    """Estimate the floating-point operations of a forward pass: twice each layer's weights at each position."""
    total = 0.0

    def count(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal total
        own = sum(p.numel() for p in module.parameters(recurse=False))
        made = next(leaves(output), None) if isinstance(output, Tensor | tuple) else None
        if own and made is not None and made.ndim and not isinstance(module, nn.Embedding):
            weight = getattr(module, "weight", None)
            features = weight.shape[0] if isinstance(weight, Tensor) and weight.ndim > 1 else made.shape[-1]
            total += 2.0 * own * made.numel() / max(features, 1)

    hooked = (m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule))  # which take no hooks
    hooks = [m.register_forward_hook(count) for m in hooked]
    try:
        problem.output(model, batch[0])
    except Exception:  # the first training step reports this error
        return WORK
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _check_memory(problem: Problem, model: nn.Module) -> None:
    """Reject a model with state from batch to batch: in evaluation mode, one batch must give the same output twice."""
    inputs, _ = problem.first_batch()
    model.eval()
    outputs = []
    try:
        for _ in range(2):
            with seeded(0), torch.no_grad():
                outputs.append([t.clone() for t in leaves([problem.output(model, inputs)])])
    except Exception:  # a model that needs gradients, say
        return
    finally:
        model.train()
    rounding = 0.0 if all(t.device.type == "cpu" for t in outputs[0]) else 1e-3  # the order of sums on a GPU varies
    if not all(
        a.shape == b.shape and torch.allclose(a, b, rtol=rounding, atol=rounding, equal_nan=True)
        for a, b in zip(*outputs, strict=True)
    ):
        raise SteepestError(
            f"Problem '{problem.name}': its model returns another output for the same batch, so it keeps state from batch to "
            "batch, such as the hidden state of an LSTM; reset it in forward: a batch must not depend on those before."
        )


def _first_step(problem: Problem, model: nn.Module) -> tuple[float, tuple[Tensor | None, ...]]:
    """Loss and gradients of the first batch; SteepestError if they cannot be trained on."""
    loss = problem.batch_loss(model, problem.first_batch())
    if not math.isfinite(loss.item()):
        raise SteepestError(
            f"Problem '{problem.name}': the loss at the start is {loss.item()}; expected a finite number. "
            "Look at the data's scale and the initial weights."
        )
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained or not loss.requires_grad:
        raise SteepestError(f"Problem '{problem.name}': the loss depends on no trainable parameter of the model.")
    with problem.theirs("model or loss"):
        loss.backward()  # type: ignore[no-untyped-call]  # as training does: reentrant checkpoints refuse autograd.grad
    gradient = tuple(p.grad for p in trained)
    if any(g is not None and (g.is_sparse or g.is_complex()) for g in gradient):
        raise SteepestError(f"Problem '{problem.name}': its model has sparse or complex gradients; expected dense real ones.")
    return loss.item(), gradient


@torch.no_grad()
def _check_labels(problem: Problem, model: nn.Module, data: Examples) -> None:
    """Reject integer targets for which the model has no output, if the loss rejects them too."""
    target = data.target if data.in_memory else None
    if not isinstance(target, Tensor) or target.is_floating_point():
        return
    model.eval()
    try:
        output = problem.output(model, data.batch(slice(0, 1))[0])
    except Exception:
        return  # the first training step reports this error
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
