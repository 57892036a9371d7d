"""Measure outputs: accuracy of classes or of one logit over the labels that the loss counts, and losses of examples."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .trees import Tree, can_join, leaves, mapped, size_of

Loss = Callable[[Any, Any], Any]
DRAWS = 2  # random outputs for which a loss must ignore a label before it counts as ignored


@dataclass(frozen=True)
class Labels:
    """How a loss treats labels.

    ignored: labels that do not count, such as cross-entropy's ignore_index.
    threshold: a single output above it predicts the larger of two labels.
    classes: the dimension of the classes in the outputs; None if the shapes determine it.
    """

    ignored: frozenset[int] = frozenset()
    threshold: float = 0.0
    classes: int | None = None


def scores(output: Any) -> Any:
    """The class scores in a model's output: a tensor, the first of a tuple, or `logits`."""
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    if isinstance(output, tuple | list) and output:
        return output[0]
    return getattr(output, "logits", output)


def _with_scores(output: Any, new: Tensor) -> Any:
    """A model's output with other scores."""
    if isinstance(output, Mapping):
        return {**output, "logits": new}
    if isinstance(output, tuple | list):
        return type(output)([new, *output[1:]])
    return new


def right(output: Any, target: Any, labels: Labels = Labels()) -> tuple[Tensor, Tensor]:
    """Whether each prediction is right, and whether it counts; both have the target's shape, (batch, ...).

    Outputs are (batch, classes, ...) or (batch, ..., classes), with integer targets (batch, ...); or one number per example,
    (batch,) or (batch, 1), with targets of two values, 0 and 1 or -1 and 1. Labels that the loss ignores, or without a class,
    do not count. Raises ValueError for other shapes.
    """
    output = scores(output)
    if isinstance(output, Tensor) and isinstance(target, Tensor):
        if _is_one_number(output, target):
            met = (output.flatten() > labels.threshold) == (target.flatten() > 0)
            return met, torch.ones_like(met)
        places = _class_dimensions(output, target)
        if places:
            dim = labels.classes if labels.classes in places else places[0]
            counts = (target >= 0) & (target < output.shape[dim])
            for label in labels.ignored:
                counts &= target != label
            return output.argmax(dim) == target, counts
    shapes = f"{_shape(output)} and targets {_shape(target)}"
    raise ValueError(
        "accuracy compares outputs (batch, classes) with whole-number targets (batch,), or one output for each example with "
        f"targets of 0 and 1, and got {shapes}"
    )


def accuracy(output: Any, target: Any, labels: Labels = Labels()) -> Tensor:
    """The percentage of right predictions among the labels that count; NaN if none counts."""
    met, counts = right(output, target, labels)
    return 100 * (met & counts).double().sum() / counts.double().sum()


def accuracies(output: Any, target: Any, labels: Labels = Labels()) -> Tensor | None:
    """The accuracy of every example with a label that counts; None if examples have different numbers of such labels."""
    met, counts = (t.reshape(len(t), -1) for t in right(output, target, labels))
    own = counts.double().sum(1)
    met = (met & counts).double().sum(1)
    return 100 * met[own > 0] / own[own > 0] if len(torch.unique(own[own > 0])) == 1 else None


def losses_of(loss: Any, output: Any, target: Tree) -> Tensor | None:
    """The loss of every example, (examples,); None if the loss is not their mean."""
    size = size_of(target)
    if not can_join([output, target], size):
        return None
    try:
        total = float(loss(output, target))
        if isinstance(loss, nn.Module) and getattr(loss, "reduction", "") == "mean" and getattr(loss, "weight", None) is None:
            each: Any = copy.copy(loss)
            each.reduction = "none"
            values = each(output, target)
            values = values.flatten(1).mean(1) if values.ndim > 1 else values
        else:
            values = _one_by_one(loss, output, target)
    except Exception:  # the user's loss may raise anything
        return None
    fits = values.shape == (size,) and abs(float(values.double().mean()) - total) <= 1e-4 * abs(total) + 1e-12
    return values.double() if fits else None


def _one_by_one(loss: Any, output: Any, target: Tree) -> Tensor:
    """The loss of every single example, (examples,)."""
    tensors = [*leaves([output, target])]

    def one(*parts: Tensor) -> Any:
        own = iter(part[None] for part in parts)
        return loss(*mapped(lambda _: next(own), [output, target]))

    return torch.func.vmap(one)(*tensors)  # type: ignore[no-any-return]


def number(x: Any) -> float:
    """A loss or metric as a number."""
    return float(x.detach() if isinstance(x, Tensor) else x)


def combined(values: Sequence[float], weights: Sequence[float], adds_up: bool) -> float:
    """The value over all chunks: the sum, or the weighted mean; chunks of weight 0 do not count."""
    if adds_up:
        return sum(values)
    return sum(v * w for v, w in zip(values, weights, strict=True) if w) / (sum(weights) or math.nan)


def _shape(x: Any) -> str:
    return f"{tuple(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__


def _is_one_number(output: Tensor, target: Tensor) -> bool:
    """Whether each example has one output and a label of two values."""
    one = all(t.ndim == 1 or (t.ndim == 2 and t.shape[1] == 1) for t in (output, target))
    if not one or len(output) != len(target) or not output.is_floating_point():
        return False
    values = set(torch.unique(target).tolist()) if target.numel() else set()
    return values <= {0, 1} or values <= {-1, 1}


def _class_dimensions(output: Tensor, target: Tensor) -> list[int]:
    """The possible dimensions of the classes in outputs: 1 as in torch's losses, or the last."""
    if target.is_floating_point() or target.is_complex() or output.ndim != target.ndim + 1:
        return []
    second = output.shape[1] > 1 and output.shape[0] == target.shape[0] and output.shape[2:] == target.shape[1:]
    last = output.ndim > 2 and output.shape[-1] > 1 and output.shape[:-1] == target.shape
    return [*([1] if second else []), *([output.ndim - 1] if last else [])]


def labels_of(loss: Loss, output: Any, target: Any, known: Labels | None = None) -> Labels:
    """How a loss treats the labels in a target, found by evaluating it on outputs of these shapes.

    `known` is the result for earlier labels.
    """
    own = scores(output)
    if not isinstance(own, Tensor) or not isinstance(target, Tensor):
        return Labels()

    def evaluate(new: Tensor, labels: Tensor) -> Any:
        return loss(_with_scores(output, new), labels)

    if _is_one_number(own, target):
        return known or Labels(threshold=_threshold(evaluate, own, target))
    places = _class_dimensions(own, target)
    classes = known.classes if known else _closer(evaluate, own, target, places)
    index = getattr(loss, "ignore_index", None)
    weighted = getattr(loss, "weight", None) is not None  # a class of weight 0 is still a class
    if isinstance(index, int) or weighted or not places:
        return Labels(frozenset([index] if isinstance(index, int) else []), classes=classes)
    ignored = _ignored(evaluate, own, target, places[0] if classes is None else classes)
    return Labels(ignored | (known.ignored if known else frozenset()), classes=classes)


def _closer(evaluate: Loss, output: Tensor, target: Tensor, places: list[int]) -> int | None:
    """The one of two dimensions along which right scores give the smaller loss; None if there is only one."""
    if len(places) < 2:
        return None
    classes = output.shape[-1]
    best = 10.0 * nn.functional.one_hot(target.clamp(0, classes - 1), classes).to(output)
    try:
        with torch.no_grad():
            last, second = float(evaluate(best, target)), float(evaluate(best.movedim(-1, 1), target))
    except Exception:  # the user's loss may reject such outputs
        return None
    return places[1] if last < second else places[0]


def _ignored(evaluate: Loss, output: Tensor, target: Tensor, dim: int) -> frozenset[int]:
    """The labels whose outputs have no gradient, at any position and for any output."""
    free = torch.ones_like(target, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        drawn = torch.randn(output.shape, generator=generator).to(output).requires_grad_()
        try:
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(evaluate(drawn, target), drawn)
        except Exception:  # the user's loss may reject such outputs
            return frozenset()
        free &= (slope == 0).all(dim)
    return frozenset(int(k) for k in torch.unique(target) if bool(free[target == k].all()))


def _threshold(evaluate: Loss, output: Tensor, target: Tensor) -> float:
    """The output for which the loss is the same for both labels: 0 for a logit, 0.5 for a probability."""
    low, high = (-1, 1) if bool((target < 0).any()) else (0, 1)

    def indifferent(at: float) -> bool:
        one, other = (evaluate(torch.full_like(output, at), torch.full_like(target, label)) for label in (low, high))
        return bool(torch.isclose(torch.as_tensor(one), torch.as_tensor(other), rtol=1e-3, atol=1e-6))

    for at in (0.0, 0.5):
        with contextlib.suppress(Exception), torch.no_grad():  # the loss of a probability may reject other numbers
            if indifferent(at):
                return at
    try:
        with torch.no_grad():
            return 0.0 if bool(torch.isfinite(torch.as_tensor(evaluate(torch.full_like(output, 2.0), target)))) else 0.5
    except Exception:
        return 0.5
