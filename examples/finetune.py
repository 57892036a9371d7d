"""Fine-tuning: a network that has learned the digits 0 to 4 learns 5 to 9, its convolution frozen."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import steepest

x, y = map(torch.from_numpy, load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
x, y = x[order].view(-1, 1, 8, 8).float() / 16, y[order]
old, x, y = (x[y < 5], y[y < 5]), x[y > 4], y[y > 4] - 5  # 901 images of 0 to 4, 896 of 5 to 9

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 5)
)
optimizer = steepest.optim.Adam(model.parameters(), lr=0.003)
for part in torch.randperm(len(old[0])).repeat(10).split(32):  # ten epochs, in place of weights that one would load
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(old[0][part]), old[1][part]).backward()
    optimizer.step()

model[0].requires_grad_(False)
model[-1] = nn.Linear(32, 5)

problem = steepest.Problem(
    about="the digits 5 to 9 after 0 to 4, a small convolutional network whose first layer is frozen, batch 32",
    model=model,  # the module itself: every seed starts from a copy of it
    loss=nn.CrossEntropyLoss(),
    metric="accuracy",
    train=(x[:400], y[:400]),
    valid=(x[400:650], y[400:650]),
    test=(x[650:], y[650:]),
    batch_size=32,
    steps=300,
)
