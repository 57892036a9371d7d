"""State of any shape: initialised by a function, used by every engine, checkpoint and stack of runs, and part of the digest."""

import copy

import numpy as np
import pytest
import torch

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.rules import shaped
from steepest.rules.vocabulary import column_mean, ema, sqrt
from steepest.update.many import ManyRuns
from steepest.update.torch_class.optimizer import build

pytestmark = pytest.mark.usefixtures("registry")


def largest(p, g, shape):
    return (g * g).amax(0, keepdim=True).expand(shape).clone()


def smallest(p, g, shape):
    return (g * g).amin(0, keepdim=True).expand(shape).clone()


def wrong(p, g, shape):
    return p.new_zeros(3, 3, 3)


def one_row(shape):
    return (1, *shape[1:]) if len(shape) == 2 else None


def by_columns(begin=largest):
    state = shaped(one_row, begin=begin)

    @rules.rule("mine")
    def by_columns(p, g, t, c=state, *, lr=0.1, beta=0.9, eps=1e-8):
        if c is None:
            return p - lr * g, c
        c = ema(c, column_mean(g * g), beta)
        return p - lr * g / (sqrt(c) + eps), c

    return by_columns


def gradients(steps=4):
    rng = np.random.default_rng(0)
    return [[rng.standard_normal((4, 3)), rng.standard_normal(5)] for _ in range(steps)]


def expected(p, q, begin=np.max):
    c = begin(gradients()[0][0] ** 2, axis=0)
    for g, h in gradients():
        c = 0.9 * c + 0.1 * (g * g).mean(0)
        p, q = p - 0.1 * g / (np.sqrt(c) + 1e-8), q - 0.1 * h
    return p, q


def stepped(optimizer, ps, gs):
    for p, g in zip(ps, gs, strict=True):
        p.grad = torch.tensor(g)
    optimizer.step()


def test_an_optimizer_equals_its_formula_for_matrices_and_vectors():
    ps = [torch.ones(4, 3, dtype=torch.float64).requires_grad_(), torch.ones(5, dtype=torch.float64).requires_grad_()]
    optimizer = build(by_columns(), ps)
    for gs in gradients():
        stepped(optimizer, ps, gs)
    for ours, theirs in zip(ps, expected(1.0, 1.0), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-12)
    assert optimizer.state[ps[0]]["c"].shape == (1, 3)
    assert "c" not in optimizer.state[ps[1]]


def test_a_checkpoint_goes_on_where_it_was():
    rule = by_columns()
    ps = [torch.ones(4, 3, dtype=torch.float64).requires_grad_(), torch.ones(5, dtype=torch.float64).requires_grad_()]
    optimizer = build(rule, ps)
    for k, gs in enumerate(gradients()):
        if k == 2:
            saved = copy.deepcopy(optimizer.state_dict())
            ps = [p.detach().clone().requires_grad_() for p in ps]
            optimizer = build(rule, ps)
            optimizer.load_state_dict(saved)
        stepped(optimizer, ps, gs)
    np.testing.assert_allclose(ps[0].detach().numpy(), expected(1.0, 1.0)[0], rtol=1e-12)


def test_many_runs_each_have_their_own():
    stacked = [torch.ones(2, 4, 3, dtype=torch.float64), torch.ones(2, 5, dtype=torch.float64)]
    many = ManyRuns(by_columns(), stacked, [{"lr": 0.1}, {"lr": 0.1}])
    for gs in gradients():
        many.step([torch.tensor(np.stack([g, g])) for g in gs])
    for ours, theirs in zip(stacked, expected(1.0, 1.0), strict=True):
        for one in ours:
            np.testing.assert_allclose(one.numpy(), theirs, rtol=1e-12)


def test_how_it_begins_and_its_shape_are_part_of_the_digest():
    digest = by_columns().digest
    assert by_columns().digest == digest
    assert by_columns(begin=smallest).digest != digest
    assert by_columns(begin=0.0).digest != digest


def test_a_beginning_of_another_shape_is_refused():
    p = torch.ones(4, 3).requires_grad_()
    optimizer = build(by_columns(begin=wrong), [p])
    p.grad = torch.ones(4, 3)
    with pytest.raises(SteepestError, match=r"wrong makes state of shape \(3, 3, 3\); expected \(1, 3\)"):
        optimizer.step()


def test_a_path_refuses_state_of_another_shape_than_a_point():
    state = shaped(lambda shape: (1,) * len(shape))

    @rules.rule("mine")
    def rough(p, g, t, c=state, *, lr=0.1):
        c = ema(c, g, 0.9)
        return p - lr * c, c

    with pytest.raises(SteepestError, match=r"rough .* state of another shape"):
        steepest.trajectory("valley", ["rough"], steps=3)


def test_a_rule_with_such_state_looks_at_the_whole_of_a_tensor():
    assert by_columns().reach == "tensor"
    assert by_columns().graph(by_columns().settings(), shape=(5,)).elementwise
