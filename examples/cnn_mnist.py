"""A small convolutional network with BatchNorm on MNIST: 10,000 images to train on, 2,000 to choose by, 10,000 to test.

Needs MNIST (`steepest data fetch mnist`); where it is absent, steepest says so in one sentence.
"""

from torch import nn

import steepest
from steepest.problems.built_in import mnist


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(784, 10),
    )


images, test_images = (mnist.read(f"{name}-images-idx3-ubyte")[:, None].float() / 255 for name in ("train", "t10k"))
labels, test_labels = (mnist.read(f"{name}-labels-idx1-ubyte").long() for name in ("train", "t10k"))

problem = steepest.Problem(
    about="28 x 28 handwritten digits, two convolutions with BatchNorm, batch 64",
    model=network,
    loss=nn.CrossEntropyLoss(),
    metric="accuracy",
    train=(images[:10_000], labels[:10_000]),
    valid=(images[10_000:12_000], labels[10_000:12_000]),
    test=(test_images, test_labels),
    batch_size=64,
    drop_last=True,
    steps=468,  # three epochs
)
