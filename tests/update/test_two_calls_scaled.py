"""A step in two calls under a GradScaler: skipped steps, gradients that are unscaled once, omitted calls."""

import copy

import pytest
import torch
from torch import nn

from steepest import optim, rules
from steepest.errors import SteepestError

RULES = {
    "sam": rules.get("sam"),
    "sam(adam)": rules.sam(rules.get("adam")),
    "nesterov_lookahead": rules.get("nesterov_lookahead"),
}
STEPS = 8


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1)).double()


def loss_of(model, k, poison=False):
    generator = torch.Generator().manual_seed(k)
    x = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    loss = nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
    return loss * (float("inf") if poison else 1.0)


def values(model):
    return copy.deepcopy(model.state_dict())


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def plainly(name, skipped=()):
    """The run without a scaler, without the skipped steps."""
    model = network()
    optimizer = optim.from_rule(RULES[name])(model.parameters(), lr=0.05)
    for k in range(STEPS):
        if k in skipped:
            with torch.no_grad():
                loss_of(model, k)  # its first pass updates BatchNorm
            continue
        optimizer.zero_grad()
        loss_of(model, k).backward()
        optimizer.first_step()
        with optim.still(model):
            loss_of(model, k).backward()
        optimizer.second_step()
    return model


def once(model, optimizer, scaler, k, first=False, second=False):
    """The documented loop: nothing is unscaled before the scaler's step."""
    optimizer.zero_grad()
    scaler.scale(loss_of(model, k, first)).backward()
    optimizer.first_step()
    with optim.still(model):
        scaler.scale(loss_of(model, k, second)).backward()
    scaler.step(optimizer)
    scaler.update()


def with_update(model, optimizer, scaler, k, first=False, second=False):
    """The first gradients are unscaled too, and the scaler is updated in between."""
    optimizer.zero_grad()
    scaler.scale(loss_of(model, k, first)).backward()
    scaler.unscale_(optimizer)
    optimizer.first_step()
    scaler.update()
    with optim.still(model):
        scaler.scale(loss_of(model, k, second)).backward()
    scaler.step(optimizer)
    scaler.update()


def unscaled_after(model, optimizer, scaler, k, first=False, second=False):
    """The second gradients are unscaled explicitly, as for clipping."""
    optimizer.zero_grad()
    scaler.scale(loss_of(model, k, first)).backward()
    optimizer.first_step()
    with optim.still(model):
        scaler.scale(loss_of(model, k, second)).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1e3)
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("iteration", [once, with_update, unscaled_after])
@pytest.mark.parametrize("scale", [1.0, 1024.0, 65536.0])
@pytest.mark.parametrize("name", RULES)
def test_a_scaler_changes_no_step(name, scale, iteration):
    model = network()
    optimizer = optim.from_rule(RULES[name])(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    for k in range(STEPS):
        iteration(model, optimizer, scaler, k)
    for p, q in zip(model.state_dict().values(), plainly(name).state_dict().values(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)  # a scaled gradient moves them by at least 1


@pytest.mark.parametrize("iteration", [once, with_update, unscaled_after])
@pytest.mark.parametrize("where", ["first", "second", "both"])
@pytest.mark.parametrize("name", RULES)
def test_where_gradients_overflow_the_parameters_are_at_once_where_the_step_began(name, where, iteration):
    """The run equals the one without the step, and BatchNorm's statistics are those of the first passes."""
    model = network()
    optimizer = optim.from_rule(RULES[name])(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    poison = {"first": {"first": True}, "second": {"second": True}, "both": {"first": True, "second": True}}[where]
    skipped = where != "first" or name != "nesterov_lookahead"  # whose second point does not depend on the first gradient
    for k in range(STEPS):
        before = [p.detach().clone() for p in model.parameters()]
        iteration(model, optimizer, scaler, k, **(poison if k in (0, 3, 4) else {}))
        assert all(torch.isfinite(x).all() for x in model.state_dict().values())
        if k in (0, 3, 4) and skipped:
            assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    if skipped:
        for p, q in zip(model.state_dict().values(), plainly(name, (0, 3, 4)).state_dict().values(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)


def test_first_gradients_that_alone_were_unscaled_are_noticed_and_nothing_is_left():
    """Otherwise scaler.step would take a step 1,024 times too long."""
    model = network()
    optimizer = optim.SAM(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(loss_of(model, 0)).backward()
    scaler.unscale_(optimizer)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.first_step()
    with optim.still(model):
        scaler.scale(loss_of(model, 0)).backward()
    with pytest.raises(SteepestError, match=r"GradScaler.unscale_ came before first_step, .*call scaler.update\(\) after"):
        scaler.step(optimizer)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("then", ["first_step", "step(closure)"])
def test_a_second_call_that_was_left_out_is_undone_by_the_next_step(then):
    model = network()
    optimizer = optim.SAM(model.parameters(), lr=0.05, momentum=0.9)
    optimizer.zero_grad()
    loss_of(model, 0).backward()
    optimizer.first_step()  # and no second one
    other = network()
    again = optim.SAM(other.parameters(), lr=0.05, momentum=0.9)
    ends = []
    for net, opt, perturbed in ((model, optimizer, True), (other, again, False)):
        net[1].reset_running_stats()

        def closure(net=net, opt=opt):
            opt.zero_grad()
            loss = loss_of(net, 1)
            loss.backward()
            return loss

        if then == "step(closure)":
            opt.step(closure)
        else:
            if perturbed:  # the gradients of the next batch, as if at the original parameters
                clean = copy.deepcopy(other)
                loss_of(clean, 1).backward()
                for p, q in zip(net.parameters(), clean.parameters(), strict=True):
                    p.grad = q.grad
                net(torch.ones(2, 3, dtype=torch.float64))
            else:
                closure()
            opt.first_step()
            with optim.still(net):
                loss_of(net, 1).backward()
            opt.second_step()
        ends.append([p.detach() for p in net.parameters()])
    assert all(torch.equal(p, q) for p, q in zip(*ends, strict=True))
    assert not model[0].weight._post_accumulate_grad_hooks
    assert not model[1].weight._post_accumulate_grad_hooks


def test_another_step_than_a_halved_one_is_left_to_the_scaler():
    """A scaler skips it, without support for two calls."""
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    assert not optimizer._step_supports_amp_scaling
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = [p.detach().clone() for p in model.parameters()]
    scaler.scale(loss_of(model, 0, True)).backward()
    scaler.step(optimizer)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=None), nn.InstanceNorm1d(3, affine=True, track_running_stats=True)]
)
@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_second_pass_leaves_no_statistics_even_where_it_is_not_finite(norm, value):
    """Its gradients may also be taken outside."""
    model = copy.deepcopy(norm)
    x = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(0))
    model(x)
    before = values(model)
    with optim.still(model):
        loss = model(value * x * 3 + 1).square().sum()
    assert same(before, values(model))
    loss.backward()
    model(x)
    assert not same(before, values(model))
