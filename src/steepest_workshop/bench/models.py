"""Models that the benchmark of training trains, on synthetic data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from steepest.errors import unknown
from steepest.problems.problem import Problem


class Transformer(nn.Module):
    """A classifier of sequences of 64 tokens: four layers of width 32, mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.embed, self.head = nn.Embedding(50, 32), nn.Linear(32, 10)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 64) tokens to (batch, 10)."""
        return self.head(self.layers(self.embed(x)).mean(1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """An LSTM over sequences of 64 tokens, width 32."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(50, 32), nn.LSTM(32, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 64) tokens to (batch, 10)."""
        return self.head(self.cell(self.embed(x))[0][:, -1])  # type: ignore[no-any-return]


def mlp(*sizes: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        a, b, c = sizes
        return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c))

    return make


def _cnn() -> nn.Module:
    first, second = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 32, 5, padding=2)
    head = nn.Linear(32 * 49, 10)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), head)


# name -> model, input shape (None: tokens), batch size, layer sizes if it is an MLP
PROBLEMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None, int, tuple[int, ...]]] = {
    "mnist-mlp": (mlp(784, 100, 10), (784,), 100, (784, 100, 10)),
    "digits": (mlp(64, 32, 10), (64,), 32, (64, 32, 10)),
    "cnn": (_cnn, (1, 28, 28), 64, ()),
    "transformer": (Transformer, None, 32, ()),
    "lstm": (Recurrent, None, 32, ()),
}


def problem_of(name: str, width: int | None = None) -> Problem:
    """A problem of this name on synthetic data, whose values do not affect the speed of training."""
    if name not in PROBLEMS:
        raise unknown("problem of the bench", name, PROBLEMS)
    model, shape, size, sizes = PROBLEMS[name]
    if width and sizes:
        model = mlp(sizes[0], width, sizes[2])
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50, (2000, 64), generator=generator)
    x = tokens if shape is None else torch.randn(2000, *shape, generator=generator)
    y = torch.randint(0, 10, (2000,), generator=generator)
    loss = nn.CrossEntropyLoss()
    return Problem(name=name, model=model, loss=loss, train=(x, y), valid=(x[:64], y[:64]), batch_size=size)
