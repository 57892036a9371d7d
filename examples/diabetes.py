"""Regression on scikit-learn's diabetes data: a 10-16-1 network, squared error of standardised targets."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

import steepest

x, y = map(torch.from_numpy, load_diabetes(return_X_y=True, scaled=False))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
x, y = x[order], y[order, None]
x, y = (x - x[:262].mean(0)) / x[:262].std(0), (y - y[:262].mean(0)) / y[:262].std(0)  # by the training data

problem = steepest.Problem(
    about="diabetes a year later from ten measurements, a 10-16-1 network with ReLU, batch 32",
    model=lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1)),
    loss=nn.MSELoss(),
    train=(x[:262], y[:262]),
    valid=(x[262:352], y[262:352]),
    test=(x[352:], y[352:]),
    batch_size=32,
    steps=300,
)
