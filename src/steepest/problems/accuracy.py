"""Accuracy as people mean it: of classes or of one logit, over the labels that the loss counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[Any, Any], Any]
DRAWS = 2  # random outputs on which a loss must ignore a label to be taken to do so always


@dataclass(frozen=True)
class Labels:
    """What a loss makes of labels.

    It takes the labels `ignored` for no labels; one output means the larger label above `threshold`; classes stand in
    dimension `classes` of the outputs, None where shapes tell.
    """

    ignored: frozenset[int] = frozenset()
    threshold: float = 0.0
    classes: int | None = None


def scores(output: Any) -> Any:
    """The class scores in what a model returns: a tensor, the first of a tuple, or `logits`."""
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    if isinstance(output, tuple | list) and output:
        return output[0]
    return getattr(output, "logits", output)


def _with_scores(output: Any, new: Tensor) -> Any:
    """What a model returns, with other scores in it."""
    if isinstance(output, Mapping):
        return {**output, "logits": new}
    if isinstance(output, tuple | list):
        return type(output)([new, *output[1:]])
    return new


def right(output: Any, target: Any, labels: Labels = Labels()) -> tuple[Tensor, Tensor]:
    """Whether each label is met, and whether it counts; both of the target's shape, (batch, ...).

    Outputs are (batch, classes, ...), or (batch, ..., classes), with whole-number targets (batch, ...); or one number each,
    (batch,) or (batch, 1), with targets of two values, 0 and 1 or -1 and 1. A label that the loss ignores, or for which there
    is no class, does not count. ValueError for other shapes.
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
    """Per cent of the labels that count at which the largest output stands; NaN where none counts."""
    met, counts = right(output, target, labels)
    return 100 * (met & counts).double().sum() / counts.double().sum()


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
    """Where the classes may stand in outputs: dimension 1 as torch's losses have it, or the last."""
    if target.is_floating_point() or target.is_complex() or output.ndim != target.ndim + 1:
        return []
    second = output.shape[1] > 1 and output.shape[0] == target.shape[0] and output.shape[2:] == target.shape[1:]
    last = output.ndim > 2 and output.shape[-1] > 1 and output.shape[:-1] == target.shape
    return [*([1] if second else []), *([output.ndim - 1] if last else [])]


def labels_of(loss: Loss, output: Any, target: Any, known: Labels | None = None) -> Labels:
    """What a loss makes of the labels in a target, found by asking it about outputs of these shapes.

    `known` is what it made of others before.
    """
    own = scores(output)
    if not isinstance(own, Tensor) or not isinstance(target, Tensor):
        return Labels()

    def asked(new: Tensor, labels: Tensor) -> Any:
        return loss(_with_scores(output, new), labels)

    if _is_one_number(own, target):
        return known or Labels(threshold=_threshold(asked, own, target))
    places = _class_dimensions(own, target)
    classes = known.classes if known else _closer(asked, own, target, places)
    given = getattr(loss, "ignore_index", None)
    weighted = getattr(loss, "weight", None) is not None  # a class of weight 0 is still a class
    if isinstance(given, int) or weighted or not places:
        return Labels(frozenset([given] if isinstance(given, int) else []), classes=classes)
    ignored = _ignored(asked, own, target, places[0] if classes is None else classes)
    return Labels(ignored | (known.ignored if known else frozenset()), classes=classes)


def _closer(asked: Loss, output: Tensor, target: Tensor, places: list[int]) -> int | None:
    """Of two dimensions the one in which scores for the right classes have the smaller loss; None where there is one."""
    if len(places) < 2:
        return None
    classes = output.shape[-1]
    best = 10.0 * nn.functional.one_hot(target.clamp(0, classes - 1), classes).to(output)
    try:
        with torch.no_grad():
            last, second = float(asked(best, target)), float(asked(best.movedim(-1, 1), target))
    except Exception:  # a loss of the user's that takes no such outputs
        return None
    return places[1] if last < second else places[0]


def _ignored(asked: Loss, output: Tensor, target: Tensor, dim: int) -> frozenset[int]:
    """The labels whose outputs have no gradient at all, wherever they stand and whatever the outputs are."""
    free = torch.ones_like(target, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        drawn = torch.randn(output.shape, generator=generator).to(output).requires_grad_()
        try:
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(asked(drawn, target), drawn)
        except Exception:  # a loss of the user's that takes no such outputs
            return frozenset()
        free &= (slope == 0).all(dim)
    return frozenset(int(k) for k in torch.unique(target) if bool(free[target == k].all()))


def _threshold(asked: Loss, output: Tensor, target: Tensor) -> float:
    """The output at which the loss is as large for one label as for the other: 0 for a logit, 0.5 for a probability."""
    low, high = (-1, 1) if bool((target < 0).any()) else (0, 1)

    def indifferent(at: float) -> bool:
        one, other = (asked(torch.full_like(output, at), torch.full_like(target, label)) for label in (low, high))
        return bool(torch.isclose(torch.as_tensor(one), torch.as_tensor(other), rtol=1e-3, atol=1e-6))

    for at in (0.0, 0.5):
        with contextlib.suppress(Exception), torch.no_grad():  # a probability's loss may refuse what is none
            if indifferent(at):
                return at
    try:
        with torch.no_grad():
            return 0.0 if bool(torch.isfinite(torch.as_tensor(asked(torch.full_like(output, 2.0), target)))) else 0.5
    except Exception:
        return 0.5
