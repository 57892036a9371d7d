"""A GRU that predicts the next character of Python's own reference, which installs with Python."""

from pydoc_data.topics import topics

import torch
from torch import Tensor, nn

import steepest

LENGTH = 32
text = torch.tensor(list("".join(topics.values()).encode("ascii", "ignore")))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(128, 64)
        self.gru = nn.GRU(64, 64, batch_first=True)
        self.head = nn.Linear(64, 128)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(x))[0]).transpose(1, 2)  # (batch, characters, places), as CrossEntropyLoss has it


def windows(begin: int, n: int) -> tuple[Tensor, Tensor]:
    """Windows of text beside each other, and the same one character later."""
    end = begin + n * LENGTH
    return text[begin:end].view(n, LENGTH), text[begin + 1 : end + 1].view(n, LENGTH)


problem = steepest.Problem(
    about="the next character of 32, a GRU of width 64, batch 32",
    model=Network,
    loss=nn.CrossEntropyLoss(),
    train=windows(0, 8000),
    valid=windows(300_000, 800),
    test=windows(400_000, 800),
    batch_size=32,
    steps=500,  # two epochs
)
