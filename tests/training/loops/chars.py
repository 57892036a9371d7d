"""A character model: a small transformer with its own loader, whose forward returns logits and loss."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(1337)
text = "the quick brown fox jumps over the lazy dog while the cat sleeps in the warm sun. " * 60
letters = sorted(set(text))
data = torch.tensor([letters.index(letter) for letter in text])
splits = {"train": data[: int(0.9 * len(data))], "val": data[int(0.9 * len(data)) :]}
batch_size, block_size, width, heads, layers = 16, 16, 32, 2, 2
learning_rate, max_iters, eval_iters = 3e-3, 100, 5


def get_batch(split):
    ix = torch.randint(len(splits[split]) - block_size, (batch_size,))
    x = torch.stack([splits[split][i : i + block_size] for i in ix])
    y = torch.stack([splits[split][i + 1 : i + block_size + 1] for i in ix])
    return x, y


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.register_buffer("mask", torch.triu(torch.ones(block_size, block_size, dtype=torch.bool), 1))

    def forward(self, x):
        h = self.ln_1(x)
        x = x + self.attention(h, h, h, attn_mask=self.mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(len(letters), width), nn.Embedding(block_size, width)
        self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
        self.lm_head = nn.Linear(width, len(letters), bias=False)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
        logits = self.lm_head(self.blocks(x))
        loss = None if targets is None else F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))
        return logits, loss

    def groups(self):
        decay = [p for p in self.parameters() if p.dim() >= 2]
        no_decay = [p for p in self.parameters() if p.dim() < 2]
        return [{"params": decay}, {"params": no_decay, "weight_decay": 0.0}]


@torch.no_grad()
def estimate_loss(model):
    model.eval()
    losses = torch.stack([model(*get_batch("val"))[1] for _ in range(eval_iters)])
    model.train()
    return losses.mean()


def train():
    model = GPT()
    optimizer = torch.optim.AdamW(model.groups(), lr=learning_rate)
    for _ in range(max_iters):
        xb, yb = get_batch("train")
        _, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return estimate_loss(model).item()


if __name__ == "__main__":
    print(train())
