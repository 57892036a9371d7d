"""A two-layer graph convolution on a synthetic graph of three communities, with masks for training and validation."""

import torch
from torch import nn
from torch.nn import functional as F

generator = torch.Generator().manual_seed(0)
nodes, classes, features = 240, 3, 16
y = torch.arange(nodes) % classes
same = y[:, None] == y[None, :]
edges = torch.rand(nodes, nodes, generator=generator) < torch.where(same, 0.05, 0.015)
edges = (edges.triu(1) | edges.triu(1).t()).float() + torch.eye(nodes)
degree = edges.sum(1).rsqrt()
adjacency = degree[:, None] * edges * degree[None, :]
x = torch.randn(nodes, features, generator=generator) + 0.5 * F.one_hot(y, features)
order = torch.randperm(nodes, generator=generator)
train_mask, val_mask = order[:40], order[40:]


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Linear(features, 16), nn.Linear(16, classes)

    def forward(self, x, adjacency):
        x = F.dropout(F.relu(adjacency @ self.conv1(x)), 0.5, self.training)
        return adjacency @ self.conv2(x)


torch.manual_seed(42)


def train():
    model = GCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(100):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, adjacency)[train_mask], y[train_mask])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = model(x, adjacency)[val_mask].argmax(1) == y[val_mask]
    return 100 * right.float().mean().item()


if __name__ == "__main__":
    print(train())
