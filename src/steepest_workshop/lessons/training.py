"""A training loop as the documents write it: their loaders' random draws, any optimizer, measured as they measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from steepest.problems.built_in import mnist
from steepest.problems.problem import Problem


class Images(NamedTuple):
    """MNIST's images and labels as the documents take them."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def images(flat: bool = True, mean: float = 0.0, deviation: float = 1.0) -> Images:
    """All 60,000 and 10,000, pixels in [0, 1] less a mean over a deviation; SteepestError where MNIST is not here."""
    tensors = []
    for name in ("train", "t10k"):
        x = (mnist.read(f"{name}-images-idx3-ubyte").float() / 255 - mean) / deviation
        tensors += [x.flatten(1) if flat else x[:, None], mnist.read(f"{name}-labels-idx1-ubyte").long()]
    return Images(*tensors)


def drawn(count: int, size: int, shuffle: bool = True) -> Iterator[list[int]]:
    """The indices of an epoch's batches as torch's DataLoader draws them, from the same global random numbers."""
    for batch in DataLoader(range(count), batch_size=size, shuffle=shuffle):  # type: ignore[arg-type]
        yield batch.tolist()


@torch.no_grad()
def measured(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in per cent."""
    model.eval()
    outputs = torch.cat([model(part) for part in torch.split(x, 2000)])
    model.train()
    return float(nn.functional.cross_entropy(outputs, y)), 100 * float((outputs.argmax(1) == y).double().mean())


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Images,
    size: int,
    steps: int,
    every: int,
    callback: Callable[[int, float], Any],
) -> None:
    """Train for `steps` batches of `size`; after each `every` of them `callback(step, loss of that batch)`."""
    step = 0
    while step < steps:
        for index in drawn(len(data.x), size):

            def closure(index: list[int] = index) -> float:  # some rules ask for a second gradient
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
                loss.backward()  # type: ignore[no-untyped-call]
                return loss.item()

            loss = optimizer.step(closure)
            step += 1
            if step % every == 0:
                callback(step, loss)
            if step == steps:
                return


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def document() -> Problem:
    """MNIST and the network of the first three documents, 784-100-10; 5,000 images are kept to choose rates on."""
    return dataclasses.replace(mnist.mnist_mlp(), name="mnist-100", steps=1000)
