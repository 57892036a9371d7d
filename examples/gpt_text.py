"""A small GPT, two blocks of causal attention, that predicts the next character of Python's own reference."""

from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

import steepest

LENGTH, WIDTH, HEADS = 64, 64, 4
text = torch.tensor(list("".join(topics.values()).encode("ascii", "ignore")))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, dim=-1))
        x = x + self.out(scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(128, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(Block(), Block(), nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, 128)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.token(x) + self.place.weight)).transpose(1, 2)  # as CrossEntropyLoss has it


def windows(begin: int, n: int) -> tuple[Tensor, Tensor]:
    """Windows of text beside each other, and the same one character later."""
    end = begin + n * LENGTH
    return text[begin:end].view(n, LENGTH), text[begin + 1 : end + 1].view(n, LENGTH)


problem = steepest.Problem(
    about="the next character of 64, a GPT of two blocks of width 64, batch 16",
    model=GPT,
    loss=nn.CrossEntropyLoss(),
    train=windows(0, 4000),
    valid=windows(300_000, 400),
    test=windows(400_000, 400),
    batch_size=16,
    steps=500,  # two epochs
)
