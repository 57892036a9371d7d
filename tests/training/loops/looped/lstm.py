"""A word-level language model: an LSTM that carries its state from batch to batch, with clipped gradients."""

import math
import random

import torch
from torch import nn

import steepest

rng = random.Random(0)
subjects, verbs, things = ["cat", "dog", "bird", "child"], ["sees", "hears", "likes"], ["ball", "tree", "house"]
words = [w for _ in range(900) for w in ("the", rng.choice(subjects), rng.choice(verbs), "the", rng.choice(things), ".")]
vocabulary = sorted(set(words))
corpus = torch.tensor([vocabulary.index(word) for word in words])
batch_size, bptt, epochs, clip = 16, 12, 2, 0.25


def batchify(data):
    n = data.size(0) // batch_size
    return data.narrow(0, 0, n * batch_size).view(batch_size, -1).t().contiguous()


def get_batch(source, i):
    length = min(bptt, len(source) - 1 - i)
    return source[i : i + length], source[i + 1 : i + 1 + length].reshape(-1)


def repackage_hidden(h):
    return tuple(v.detach() for v in h)


class RNNModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.rnn = nn.Embedding(len(vocabulary), 24), nn.LSTM(24, 32)
        self.decoder = nn.Linear(32, len(vocabulary))

    def forward(self, x, hidden):
        output, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(output).view(-1, len(vocabulary)), hidden


def zeros():
    return torch.zeros(1, batch_size, 32), torch.zeros(1, batch_size, 32)


train_data, val_data = batchify(corpus[:4500]), batchify(corpus[4500:])
criterion = nn.CrossEntropyLoss()


@steepest.loop(metric="perplexity", epochs=epochs)
def train(run):
    model = RNNModel()
    optimizer = run.optimizer(model)
    starts = range(0, train_data.size(0) - 1, bptt)
    run.steps_per_epoch(len(starts))
    scheduler = run.scheduler(optimizer)
    for _ in range(run.epochs):
        hidden = zeros()
        for i in starts:
            data, targets = get_batch(train_data, i)
            model.zero_grad()
            hidden = repackage_hidden(hidden)
            output, hidden = model(data, hidden)
            loss = criterion(output, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            scheduler.step()
            run.report(loss)
    hidden, total = zeros(), 0.0
    with torch.no_grad():
        for i in range(0, val_data.size(0) - 1, bptt):
            data, targets = get_batch(val_data, i)
            output, hidden = model(data, hidden)
            total += len(data) * criterion(output, targets).item()
    return math.exp(total / (len(val_data) - 1))


if __name__ == "__main__":
    print(train())
