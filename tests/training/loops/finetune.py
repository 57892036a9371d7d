"""Fine-tuning: a network trained on digits 0 to 4 learns 5 to 9 with a frozen layer and two groups of parameters."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(y)
source, target = (x[y < 5], y[y < 5]), (x[y >= 5], y[y >= 5] - 5)


def network():
    body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten())
    return nn.ModuleDict({"body": body, "head": nn.Linear(128, 5)})


def pretrained():
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for rows in torch.randperm(len(source[0])).repeat(3).split(64):
        optimizer.zero_grad()
        F.cross_entropy(model["head"](model["body"](source[0][rows])), source[1][rows]).backward()
        optimizer.step()
    return model.state_dict()


weights = pretrained()

torch.manual_seed(7)
lr, steps = 1e-3, 60


def train():
    model = network()
    model.load_state_dict(weights)
    model["head"] = nn.Linear(128, 5)
    for p in model["body"][0].parameters():
        p.requires_grad = False
    body, head = model["body"][2].parameters(), model["head"].parameters()
    optimizer = torch.optim.AdamW([{"params": body, "lr": 0.1 * lr}, {"params": head}], lr=lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 - k / steps)
    for _ in range(steps):
        rows = torch.randint(0, 600, (32,))
        loss = F.cross_entropy(model["head"](model["body"](target[0][rows])), target[1][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        right = model["head"](model["body"](target[0][600:])).argmax(1) == target[1][600:]
    return 100 * right.float().mean().item()


if __name__ == "__main__":
    print(train())
