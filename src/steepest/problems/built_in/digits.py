"""Handwritten digits of 8 x 8 pixels: the default problem, because its data are shipped."""

from __future__ import annotations

import torch
from torch import nn

from ..problem import Problem
from . import tables


def digits() -> Problem:
    """64-32-10 with ReLU, cross-entropy, batch 32. 1,797 images, pixels in [0, 1]: 1,077 train, 360 valid, 360 test."""
    x, y = tables.digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    images, labels = torch.from_numpy(x / 16)[order], torch.from_numpy(y)[order]
    return Problem(
        name="digits",
        about="8 x 8 handwritten digits, a 64-32-10 network with ReLU, batch 32",
        model=lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        loss=nn.CrossEntropyLoss(),
        train=(images[:1077], labels[:1077]),
        valid=(images[1077:1437], labels[1077:1437]),
        test=(images[1437:], labels[1437:]),
        metric="accuracy",
        batch_size=32,
        steps=500,
        image=(8, 8),
    )
