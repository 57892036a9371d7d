"""Compute a metric on bootstrap resamples of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .spread import DRAWS, Values
from .trees import Tree, can_join, mapped, size_of

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
