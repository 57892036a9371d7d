"""The curvature of a loss against its whole Hessian."""

import pytest
import torch
from torch import nn

import steepest
from steepest.training.curvature import curvature


def test_curvature_is_the_hessians(line):
    problem = line
    found = curvature(problem)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = problem.start(0)
    (x,), y = problem.train.batch(slice(0, 64))
    w = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def loss(w):
        return nn.functional.mse_loss(x * w[0] + w[1], y)

    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, w))
    assert found.least == pytest.approx(float(values[0]), rel=1e-4)
    assert found.largest == pytest.approx(float(values[-1]), rel=1e-4)
    assert found.bound == pytest.approx(2 / float(values[-1]), rel=1e-4)
    assert found.gradient == pytest.approx(float(torch.autograd.functional.jacobian(loss, w).norm()), rel=1e-4)
    digits = steepest.problems.get("digits")
    wide = curvature(digits)
    params = dict(digits.start(0).named_parameters())
    assert sum(p.numel() for p in params.values()) > 1000
    assert wide.least < 0 < wide.largest
