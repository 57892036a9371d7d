"""Measure updates, state and weights inside a run, and compute the loss on a plane through three points of weight space."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..problems.accuracy import scores
from ..problems.problem import Problem
from ..update.foreign import Driven
from ..update.torch_class.optimizer import RuleOptimizer
from .recorder import marks
from .single import Hook, train
from .stacked import Run

Array = NDArray[np.float64]
LOOKED_AT = 512  # most training examples in a loss on a plane
AROUND = 0.25  # padding of a plane around its paths, as a share of their extent
SIDE = 25  # grid points along each side of a plane


@dataclass
class Probe:
    """Measurements at each of `steps`: norms over the whole model, and the flat weights at the start and after each step.

    `ratio` is the update's norm relative to the weights', `effective` relative to the gradient's; `cosine` is the cosine of
    the angle between the update and minus the gradient. `state` has the root mean square of each state tensor, and `outputs`
    the predicted class of each watched example, if the problem has classes.
    """

    steps: list[int] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)
    effective: list[float] = field(default_factory=list)
    cosine: list[float] = field(default_factory=list)
    state: dict[str, list[float]] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)
    outputs: list[list[int]] = field(default_factory=list)


def probe(problem: Problem, run: Run, watched: slice = slice(0, 0), device: str = "cpu") -> tuple[Probe, nn.Module]:
    """Train a run and measure at the steps after which it is evaluated; return the measurements and the trained model.

    `watched` are the validation examples whose classes are recorded.
    """
    hook = _Measuring(marks(run.steps), watched)
    train(problem, **run.arguments, device=device, hook=hook)
    return hook.seen, hook.model


class _Measuring(Hook):
    """A hook that fills a `Probe`."""

    model: nn.Module

    def __init__(self, at: set[int], watched: slice) -> None:
        self.seen, self._at, self._watched = Probe(), at, watched

    def begin(self, problem: Problem, model: nn.Module, optimizer: RuleOptimizer | Driven) -> None:
        self.model, self._problem, self._optimizer = model, problem, optimizer
        self._before = _flat(model)
        self.seen.weights.append(self._before)

    def before(self, k: int) -> None:
        if k in self._at:
            self._before = _flat(self.model)

    def after(self, k: int) -> None:
        if k in self._at:
            _measure(self.seen, k, self._before, self.model, self._optimizer)

    def evaluated(self, k: int) -> None:
        self.seen.outputs.append(_classes(self._problem, self.model, self._watched))

    def end(self) -> None:
        self._optimizer.view()


def _measure(seen: Probe, k: int, before: Tensor, model: nn.Module, optimizer: RuleOptimizer | Driven) -> None:
    """Add step k to a probe, from the weights before it and the model and optimizer after it."""
    after = _flat(model)
    update = after - before
    params = [p for p in model.parameters() if p.requires_grad]
    g = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).detach().reshape(-1) for p in params]).double()
    moved, slope = float(update.norm()), float(g.norm())
    seen.steps.append(k)
    seen.gradient.append(slope)
    seen.ratio.append(moved / max(float(before.norm()), 1e-300))
    seen.effective.append(moved / max(slope, 1e-300))
    seen.cosine.append(float(-(update @ g)) / max(moved * slope, 1e-300))
    kept = optimizer.state if isinstance(optimizer, RuleOptimizer) else {}
    for letter, state in optimizer.rule.state.items():
        key = optimizer.rule.keys.get(letter, letter)
        pieces = [kept[p][key].double() for p in params if key in kept.get(p, {})]
        if pieces and not state.is_scalar:
            total = sum(float((piece**2).sum()) for piece in pieces) / sum(piece.numel() for piece in pieces)
            seen.state.setdefault(letter, []).append(total**0.5)
    seen.weights.append(after)


def _flat(model: nn.Module) -> Tensor:
    """The trained parameters as one flat tensor, in double precision."""
    return torch.cat([p.detach().reshape(-1).double() for p in model.parameters() if p.requires_grad])


@torch.no_grad()
def _classes(problem: Problem, model: nn.Module, watched: slice) -> list[int]:
    """The predicted class of each watched validation example."""
    if problem.metric != "accuracy" or watched.stop == 0 or not problem.valid.in_memory:
        return []
    model.eval()
    output = scores(problem.output(model, problem.valid.batch(watched)[0]))
    model.train()
    return [int(c) for c in output.argmax(1).reshape(len(output), -1)[:, 0]] if output.ndim > 1 and output.shape[1] > 1 else []


@dataclass
class Plane:
    """The loss on a plane through three points, and paths projected onto it.

    `losses[i][j]` is the loss at (x[j], y[i]), in units of the weights. `paths` are (points, 2) each; `shown` is the share of
    each path's squared motion in the plane; `apart` says of each point whether the loss at the weights and at their projection
    differ by more than a tenth of the paths' range of losses.
    """

    x: Array
    y: Array
    losses: Array
    paths: list[Array]
    shown: list[float]
    apart: list[list[bool]]


@torch.no_grad()
def plane(problem: Problem, model: nn.Module, paths: list[list[Tensor]]) -> Plane:
    """The plane through the common start and the ends of two paths of weights; the loss is over the first training examples.

    Buffers, such as BatchNorm's, are the model's. If start and ends are on a line, the second direction is a random one.
    """
    origin = paths[0][0]
    first, second = (path[-1] - origin for path in paths[:2])
    e1 = first / first.norm()
    across = second - (second @ e1) * e1
    if float(across.norm()) <= 1e-9 * float(first.norm()):
        across = torch.randn(len(origin), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        across = across - (across @ e1) * e1
    e2 = across / across.norm()
    basis = torch.stack([e1, e2])
    inside = [torch.stack([basis @ (w - origin) for w in path]) for path in paths]
    low, high = torch.cat(inside).min(0).values, torch.cat(inside).max(0).values
    pad = AROUND * (high - low).clamp(min=1e-3 * float(first.norm()))
    x, y = (np.linspace(float((low - pad)[i]), float((high + pad)[i]), SIDE) for i in (0, 1))
    batch = problem.sample(LOOKED_AT)
    params = [p for p in model.parameters() if p.requires_grad]
    training = model.training
    model.eval()

    def loss(weights: Tensor) -> float:
        at = 0
        for p in params:
            p.copy_(weights[at : at + p.numel()].view_as(p))
            at += p.numel()
        return float(problem.batch_loss(model, batch))

    kept = _flat(model)
    losses = np.array([[loss(origin + a * e1 + b * e2) for a in x] for b in y])
    real = [np.array([loss(w) for w in path]) for path in paths]
    below = [np.array([loss(origin + basis.T @ point) for point in points]) for points in inside]
    loss(kept)
    model.train(training)
    spread = max(float(np.concatenate(real).max() - np.concatenate(real).min()), 1e-300)
    shown = [_share(path, basis) for path in paths]
    apart = [(np.abs(a - b) > spread / 10).tolist() for a, b in zip(real, below, strict=True)]
    return Plane(x, y, losses, [points.numpy() for points in inside], shown, apart)


def _share(path: list[Tensor], basis: Tensor) -> float:
    """The share of the squared lengths of a path's steps that is in the plane."""
    steps = torch.stack([b - a for a, b in itertools.pairwise(path)])
    return float((steps @ basis.T).square().sum() / steps.square().sum().clamp(min=1e-300))
