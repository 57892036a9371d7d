"""accelerate inside a training function: `steepest compare examples/loops/with_accelerate.py`.

`prepare` wraps the model, the optimizer and the scheduler as in any other script.
"""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import steepest

x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)


@steepest.loop(metric="accuracy", direction="max", epochs=4)
def train(run):
    accelerator = Accelerator(cpu=run.device == "cpu")
    loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    run.steps_per_epoch(len(loader))
    optimizer = run.optimizer(model)
    scheduler = run.scheduler(optimizer)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    for _ in range(run.epochs):
        for inputs, target in loader:
            loss = nn.functional.cross_entropy(model(inputs), target)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            run.report(loss)
    with torch.no_grad():
        right = model(x[1400:].to(accelerator.device)).argmax(1).cpu() == y[1400:]
    return 100.0 * right  # one value per example: the answer then has a bound on new examples too


if __name__ == "__main__":
    print(f"accuracy at the defaults: {train().mean():.1f} %")
