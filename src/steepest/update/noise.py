"""The noise of a rule: random numbers that depend on nothing but a run's seed, a tensor's place and the step."""

from __future__ import annotations

import numpy as np
import torch

from ..rules.symbols import NOISES
from .numbers import Numbers
from .torch_class.dtensor import here, is_split, laid_as, shape_of
from .work import Column, Work


def draw(work: Work) -> None:
    """Draw the noise of this step into columns of the work."""
    t, ps = work.numbers["t"], work.tensors["p"]
    for op, letter in {x.op: x.name for x in work.graph.noises}.items():
        drawn = []
        for i in range(len(work)):
            age = t[i] if isinstance(t, np.ndarray) else t
            key = work.keys[i] if work.keys else 0
            place = work.places[i] if work.places else i
            p = ps[i].detach()
            entire = work.shards[i] if work.shards else p
            values = torch.from_numpy(noise(op, key, place, int(age), shape_of(entire))).to(p.device, p.dtype)
            # a DTensor among the work's own tensors is gathered to be updated, so its noise is whole
            drawn.append(values if is_split(p) else torch.empty_like(p).copy_(here(laid_as(values, entire))))
        work.tensors[letter] = Column(drawn)


def noise(op: str, key: int, place: int, step: int, shape: tuple[int, ...]) -> Numbers:
    """Standard normal numbers, or random signs, by counter: equal arguments give equal numbers, whatever was drawn before."""
    philox = np.random.Philox(key=[key % 2**64, 2 * place + (op == NOISES[1])], counter=[0, 0, 0, step])
    generator = np.random.Generator(philox)
    drawn = generator.standard_normal(shape) if op == NOISES[0] else 2.0 * generator.integers(0, 2, shape) - 1.0
    return np.asarray(drawn, float)
