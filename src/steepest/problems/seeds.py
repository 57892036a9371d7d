"""Seed the global random generators temporarily, or give code its own random sequence."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the context, the global generators of torch, NumPy and Python start from `seed`; their states are restored."""
    before = _states()
    with torch.random.fork_rng():
        (torch if torch.accelerator.is_available() else torch.default_generator).manual_seed(seed)  # the former formats stacks
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            _restore(before)


def mixed(seed: int, k: int) -> int:
    """A seed for part k of the draws from `seed`."""
    return (seed * 1_000_003 + k + 1) % 2**63


class Generators:
    """A sequence of random numbers: within the context, draws from the global generators continue it."""

    def __init__(self, seed: int) -> None:
        with seeded(seed):
            self.own = _states()
        self.outside: list[tuple[Any, ...]] = []

    def __enter__(self) -> None:
        self.outside.append(_states())
        _restore(self.own)

    def __exit__(self, *exc: object) -> None:
        self.own = _states()
        _restore(self.outside.pop())


def _states() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _restore(states: tuple[Any, ...]) -> None:
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])
