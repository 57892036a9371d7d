"""Rules that need a second gradient, in loops that cannot pass a closure."""

import copy
import pickle

import pytest
import torch
from torch import nn

from steepest import optim, rules
from steepest.errors import SteepestError
from steepest.update.many import ManyRuns
from steepest.update.torch_class.optimizer import build

RULES = {
    "sam": rules.get("sam"),
    "sam(adam)": rules.sam(rules.get("adam")),
    "nesterov_lookahead": rules.get("nesterov_lookahead"),
}


def network(norm=False):
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(6) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(3, 6), middle, nn.Tanh(), nn.Linear(6, 1)).double()


def batch(k):
    generator = torch.Generator().manual_seed(k)
    x = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    return x, x.sum(1, keepdim=True)


def loss_of(model, k, parts=1):
    """The gradients of a batch, in this number of parts."""
    x, y = batch(k)
    for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
        (nn.functional.mse_loss(model(a), b) / parts).backward()


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("name", RULES)
def test_two_calls_are_a_step_with_a_closure(name, parts):
    model, other = network(), network()
    make = optim.from_rule(RULES[name])
    closed, called = make(model.parameters(), lr=0.05), make(other.parameters(), lr=0.05)
    for k in range(12):

        def closure(k=k):
            closed.zero_grad()
            loss_of(model, k, parts)

        closed.step(closure)
        called.zero_grad(set_to_none=bool(k % 2))
        loss_of(other, k, parts)
        called.first_step()
        called.zero_grad(set_to_none=bool(k % 3))
        loss_of(other, k, parts)
        called.second_step()
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
        if k == 5:  # a checkpoint in between
            saved = copy.deepcopy(called.state_dict())
            called = make(other.parameters(), lr=0.05)
            called.load_state_dict(saved)


def test_sam_is_a_loop_written_by_hand_and_its_statistics_are_those_of_the_first_pass():
    model, other = network(norm=True), network(norm=True)
    optimizer = optim.SAM(model.parameters(), lr=0.05, momentum=0.9, rho=0.1)
    velocity = [torch.zeros_like(p) for p in other.parameters()]
    for k in range(10):
        optimizer.zero_grad()
        loss_of(model, k)
        optimizer.first_step()
        with optim.still(model):
            loss_of(model, k)
        optimizer.second_step()

        other.zero_grad()
        loss_of(other, k)
        with torch.no_grad():
            size = torch.sqrt(sum((p.grad**2).sum() for p in other.parameters()))
            before = [p.clone() for p in other.parameters()]
            kept = copy.deepcopy(dict(other[1].named_buffers()))
            for p in other.parameters():
                p += 0.1 * p.grad / (size + 1e-12)
        other.zero_grad()
        loss_of(other, k)
        with torch.no_grad():
            for p, at, v in zip(other.parameters(), before, velocity, strict=True):
                v.mul_(0.9).add_(p.grad)
                p.copy_(at - 0.05 * v)
            for name, value in kept.items():
                getattr(other[1], name).copy_(value)
        for a, b in zip([*model.parameters(), *model.buffers()], [*other.parameters(), *other.buffers()], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert int(model[1].num_batches_tracked) == 10


def test_what_is_called_out_of_turn_is_one_sentence():
    model = network()
    sam, adam = optim.SAM(model.parameters(), lr=0.1), optim.Adam(model.parameters())
    loss_of(model, 0)
    with pytest.raises(SteepestError, match="Adam needs only one gradient; call step"):
        adam.first_step()
    with pytest.raises(SteepestError, match="comes after first_step"):
        sam.second_step()
    with pytest.raises(SteepestError, match="call step\\(closure\\), or first_step and second_step"):
        sam.step()
    sam.first_step()
    with pytest.raises(SteepestError, match="first_step\\(\\) was called twice"):
        sam.first_step()


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("make", [lambda p: optim.SAM(p, lr=0.1, rho=0.5, momentum=0.0)])
def test_a_rule_without_state_takes_its_last_pass_too(make, calls):
    """Its second point and its result are both written to p: two loops, not one."""
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    by_hand, optimizer = p.detach().clone(), make([p])

    def gradient(x):
        return torch.stack([torch.sin(x[0]), x[1] * x[2], x[0] + x[2]])

    for _ in range(3):

        def closure():
            p.grad = gradient(p.detach())

        g = gradient(by_hand)
        by_hand = by_hand - 0.1 * gradient(by_hand + 0.5 * g / g.norm())
        closure()
        if calls == 1:
            optimizer.step(closure)
        else:
            optimizer.first_step()
            closure()
            optimizer.second_step()
    assert optimizer.engine == "kernel"
    torch.testing.assert_close(p.detach(), by_hand, rtol=1e-12, atol=1e-12)


def test_a_closure_that_raises_at_the_second_point_leaves_all_as_it_was():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.SAM([p], lr=0.1)
    p.grad = g = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step(lambda: None)  # initialises the state
    before, steps, p.grad = p.detach().clone(), optimizer.state[p]["step"].item(), g

    def closure():
        if p.grad is None:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        optimizer.step(closure)
    assert torch.equal(p.detach(), before)
    assert p.grad is g
    assert optimizer.state[p]["step"].item() == steps


def test_a_first_step_can_be_cancelled():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.SAM([p], lr=0.1)
    p.grad = g = torch.tensor([1.0, 2.0, 3.0])
    optimizer.first_step()
    assert not torch.equal(p.detach(), torch.ones(3))
    optimizer.cancel_first_step()
    assert torch.equal(p.detach(), torch.ones(3))
    assert p.grad is g
    optimizer.first_step()


@pytest.mark.parametrize("loads", [True, False])
def test_a_checkpoint_loaded_halfway_leaves_no_parameter_displaced(loads):
    """Nor does restoring the parameters overwrite what the model's own checkpoint has loaded."""
    model = network()
    optimizer = optim.SAM(model.parameters(), lr=0.1)
    loss_of(model, 0)
    optimizer.step(lambda: loss_of(model, 0))
    saved, weights = copy.deepcopy(optimizer.state_dict()), {k: v + 1 for k, v in model.state_dict().items()}
    expected = weights if loads else copy.deepcopy(model.state_dict())
    optimizer.first_step()
    if loads:
        model.load_state_dict(weights)
    optimizer.load_state_dict(saved)
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    with pytest.raises(SteepestError, match="comes after first_step"):
        optimizer.second_step()


@pytest.mark.parametrize("take", [copy.deepcopy, pickle.dumps])
def test_a_copy_halfway_is_refused(take):
    model = network()
    optimizer = optim.SAM(model.parameters(), lr=0.1)
    loss_of(model, 0)
    optimizer.first_step()
    with pytest.raises(SteepestError, match=r"SAM is between first_step\(\) and second_step\(\), and cannot be copied or"):
        take(optimizer)
    optimizer.cancel_first_step()
    take(optimizer)


@pytest.mark.parametrize("inner", ["muon", "adafactor"])
@pytest.mark.parametrize("shapes", [((3, 2), (4,)), ((4,), (3, 2))])
def test_norms_over_a_model_of_two_rules_are_refused(inner, shapes):
    """Clipping around Muon covers matrices and vectors together, which take different steps."""
    rule = rules.clip_by_norm(rules.get(inner), 1.0)
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    for p in params:
        p.grad = torch.ones_like(p)
    with pytest.raises(SteepestError, match="needs sums over the whole model, but its steps differ for matrices"):
        build(rule, params, lr=0.1).step()
    with pytest.raises(SteepestError, match="needs sums over the whole model, but its steps differ for matrices"):
        ManyRuns(rule, [p.detach()[None] for p in params], [{"lr": 0.1}]).step([p.grad[None] for p in params])
    build(rule, [p for p in params if p.ndim == 2], lr=0.1).step()
