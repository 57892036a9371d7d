"""Exact mode: the plain engine rounds as the loops of torch.optim do, bit by bit."""

import copy

import pytest
import torch

from steepest import optim
from steepest.errors import SteepestError

SHAPES = (7,), (33, 17), (3, 5, 5), (1,), (64, 64)
SAME = [  # classes and arguments with equal bits
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1, "maximize": True}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"betas": (0.3, 0.5), "eps": 1e-3}),
    ("AdamW", {"weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adagrad", {"lr_decay": 0.01}),
    ("Adamax", {"weight_decay": 0.1}),
    ("ASGD", {"t0": 10}),
]


def trained(made, dtype, steps=200, exact=None):
    """Weights after steps with gradients of changing sizes, with a rate that falls halfway."""
    torch.manual_seed(1)
    weights = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in SHAPES]
    optimizer = made(weights)
    draws = torch.Generator().manual_seed(2)
    for t in range(steps):
        if t == steps // 2:
            optimizer.param_groups[0]["lr"] *= 0.3
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=draws, dtype=dtype) * (1 + t % 3) + 0.1 * weight.detach()
        optimizer.step()
    return weights, optimizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "more"), SAME, ids=str)
def test_weights_are_bit_equal_with_torchs_loop(name, more, dtype):
    arguments = {"lr": 0.01, **more}
    theirs, _ = trained(lambda weights: getattr(torch.optim, name)(weights, foreach=False, **arguments), dtype)
    ours, optimizer = trained(lambda weights: getattr(optim, name)(weights, exact=True, **arguments), dtype)
    assert optimizer.engine == "plain"
    assert all(map(torch.equal, ours, theirs))


def test_the_kernels_round_otherwise():
    """Without exact mode the last bits differ, so the test above can fail."""
    theirs, _ = trained(lambda weights: torch.optim.Adam(weights, lr=0.01, foreach=False), torch.float32)
    ours, _ = trained(lambda weights: optim.Adam(weights, lr=0.01), torch.float32)
    assert not all(map(torch.equal, ours, theirs))
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_a_checkpoint_of_torch_goes_on_bit_by_bit():
    (theirs, before), (ours, _) = (trained(lambda w: torch.optim.Adam(w, lr=0.01, foreach=False), torch.float32) for _ in "ab")
    optimizer = optim.Adam(ours, lr=0.01, exact=True)
    optimizer.load_state_dict(copy.deepcopy(before.state_dict()))
    for one in (before, optimizer):
        for group in one.param_groups:
            for weight in group["params"]:
                weight.grad = torch.full_like(weight, 0.3)
        one.step()
    assert optimizer.engine == "plain"
    assert all(map(torch.equal, ours, theirs))


def test_each_group_has_its_own_choice():
    one, other = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = optim.Adam([{"params": [one], "exact": True}, {"params": [other]}])
    one.grad = other.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.engine == "kernel and plain"


@pytest.mark.parametrize("value", ["yes", 1.5, None])
def test_exact_is_true_or_false(value):
    with pytest.raises(SteepestError, match="exact"):
        optim.Adam([torch.ones(1, requires_grad=True)], exact=value)


def test_it_may_change_between_steps():
    weight = torch.ones(3, requires_grad=True)
    optimizer = optim.Adam([weight])
    for exact, engine in ((False, "kernel"), (True, "plain"), (False, "kernel")):
        optimizer.param_groups[0]["exact"] = exact
        weight.grad = torch.ones(3)
        optimizer.step()
        assert optimizer.engine == engine


def test_a_rule_that_looks_over_the_model_is_exact_where_one_group_is():
    def stepped(*exact):
        weights, _ = trained(
            lambda weights: optim.Adai([{"params": [w], "exact": e} for w, e in zip(weights, exact, strict=True)], lr=0.1),
            torch.float32,
        )
        return weights

    whole, mixed, none = (stepped(*flags) for flags in ([True] * 5, [False, True] * 2 + [False], [False] * 5))
    assert all(map(torch.equal, mixed, whole))
    assert not all(map(torch.equal, none, whole))


def test_rows_of_a_sparse_gradient_are_exact_too():
    def stepped(made):
        torch.manual_seed(0)
        table = torch.nn.Embedding(50, 8, sparse=True)
        optimizer = made(table.parameters())
        for _ in range(50):
            optimizer.zero_grad()
            table(torch.randperm(50)[:20]).pow(3).sum().backward()
            optimizer.step()
        return table.weight

    theirs = stepped(lambda weights: torch.optim.SGD(weights, lr=0.03, foreach=False))
    assert torch.equal(stepped(lambda weights: optim.SGD(weights, lr=0.03, exact=True)), theirs)
