"""How a metric spreads over examples: its value for each of them, or on bootstrap resamples."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SteepestError
from .accuracy import accuracies, losses_of
from .seeds import seeded
from .spread import DRAWS, Spread, Values
from .trees import Tree, can_join, mapped, size_of

if TYPE_CHECKING:
    from .problem import Problem

SEED = 0  # of the resamples, the same for all runs, whose results are compared resample by resample
LARGEST = torch.finfo(torch.float32).max  # of a result, which is stored in single precision


def resamples(count: int) -> Iterator[Tensor]:
    """The indices of each bootstrap resample of `count` examples, (count,): a function of their number alone."""
    generator = torch.Generator("cpu").manual_seed(SEED)
    for _ in range(DRAWS):
        yield torch.randint(count, (count,), generator=generator, device="cpu")


def on_resamples(metric: Callable[[Any, Tree], float], output: Any, target: Tree) -> Values | None:
    """A metric on the resamples of outputs and targets, (draws,); None if examples are not rows, or a value is not finite."""
    size, values = size_of(target), list[float]()
    if not can_join([output, target], size):
        return None
    for chosen in resamples(size):
        values.append(metric(*_rows([output, target], chosen)))
        if not abs(values[-1]) <= LARGEST:
            return None
    return np.array(values)


def _rows(tree: Tree, chosen: Tensor) -> Tree:
    return mapped(lambda t: t.index_select(0, chosen.to(t.device)), tree)


@torch.no_grad()
def each_of(problem: Problem, output: Any, target: Tree) -> Tensor | None:
    """The metric of every example, (examples,); None for a metric or loss that is not a mean over examples."""
    if problem.metric is None:
        return losses_of(problem.loss, output, target)
    if problem.metric != "accuracy":
        return None
    try:
        with problem.theirs("metric"):
            return accuracies(output, target, problem.labels_in(output, target))
    except SteepestError:
        return None


@torch.no_grad()
def spread_of(problem: Problem, output: Any, target: Tree, whole: bool = True) -> Spread:
    """How the metric of a problem spreads over these examples; on resamples only if they are the `whole` data.

    Changes nothing: the user's metric or loss may draw random numbers, write to its arguments, or be a module with state.
    """
    apart = copy.copy(problem)
    with contextlib.suppress(Exception):  # a module may hold what cannot be copied, and is shared then
        for name in ("loss", "metric"):
            own = getattr(problem, name)
            object.__setattr__(apart, name, copy.deepcopy(own) if isinstance(own, nn.Module) else own)
    with contextlib.suppress(Exception):  # a container of the user's may have another constructor
        output, target = mapped(Tensor.clone, [output, target])
    with seeded(0):
        each = each_of(apart, output, target)
        if each is not None or not whole:
            return Spread(None if each is None else each.double().cpu().numpy())
        try:
            with problem.theirs("metric"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a resample without a positive example, say
                return Spread(None, on_resamples(apart.metric_of, output, target))
        except SteepestError:
            return Spread()
