"""The kernels against torch's operations: dtypes, sizes, special values; and side effects of a step."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.update.engines import kernel
from steepest.update.torch_class.optimizer import build
from steepest_workshop.bench import step as bench

ELEMENTWISE = [name for name, rule in rules.RULES.items() if rule.reach == "element" and not rule.oracle and rule.is_ours]
ODD = [0.0, -0.0, 1e-45, -1e-40, 1e-30, 1e30, 3e38, float("inf"), -float("inf"), float("nan")]


def step(name, p, g, monkeypatch, plain, steps=2, **hyper):
    with monkeypatch.context() as patch:
        if plain:
            patch.setattr(kernel, "shared_dtypes", lambda tensors: None)
        q = torch.nn.Parameter(p.clone())
        optimizer = build(rules.get(name), [q], **hyper)
        for _ in range(steps):
            q.grad = g.clone()
            optimizer.step()
        assert optimizer.engine == ("plain" if plain else "kernel")
        return [q.detach(), *(v for v in optimizer.state[q].values() if v.shape == q.shape)]


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_odd_numbers_propagate_as_in_torch(name, monkeypatch):
    """Zeros, subnormals, infinities and NaN occur exactly where torch's operations have them."""
    pairs = [(a, b) for a in [1.0, *ODD] for b in ODD] * 3
    p, g = (torch.tensor(column, dtype=torch.float32) for column in zip(*pairs, strict=True))
    for a, b in zip(step(name, p, g, monkeypatch, False), step(name, p, g, monkeypatch, True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-37, equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["adam", "rprop", "madgrad", "padam", "lamb", "adai"])
def test_any_numbers_give_what_plain_gives(name, data):
    size = data.draw(st.integers(0, 70))
    numbers = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-15)  # no square is subnormal
    p, g = (torch.from_numpy(data.draw(arrays(np.float32, size, elements=numbers))) for _ in range(2))
    patch = pytest.MonkeyPatch()
    fast, slow = (step(name, p, g, patch, plain) for plain in (False, True))
    for a, b in zip(fast, slow, strict=True):  # a step may cancel most of a parameter: rounding is relative to the larger
        longer = torch.maximum(p.abs(), b.abs()) if b is slow[0] else b.abs()
        assert ((a - b).abs().le(2e-5 * longer + 1e-30) | a.isnan() & b.isnan()).all(), (a, b)


@pytest.mark.parametrize("name", ["adam", "rprop", "schedule_free_adamw"])
@pytest.mark.parametrize("state", [None, torch.float32, torch.bfloat16])
def test_bfloat16_parameters_have_the_state_asked_for(name, state, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    p, g = (torch.randn(1000, generator=generator).bfloat16() for _ in range(2))
    fast, slow = (step(name, p, g, monkeypatch, plain, 5, state_dtype=state) for plain in (False, True))
    assert all(t.dtype is (state or torch.bfloat16) for t in fast[1:])
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=0.01, atol=0.01)


def test_a_checkpoint_keeps_float32_state_of_bfloat16_parameters():
    p = torch.nn.Parameter(torch.ones(50, dtype=torch.bfloat16))
    optimizer = steepest.optim.Adam([p], state_dtype=torch.float32)
    for k in range(3):
        p.grad = torch.full_like(p, 0.1 + k)
        optimizer.step()
    q = torch.nn.Parameter(p.detach().clone())
    again = steepest.optim.Adam([q], state_dtype=torch.float32)
    again.load_state_dict(optimizer.state_dict())
    assert torch.equal(again.state[q]["exp_avg_sq"], optimizer.state[p]["exp_avg_sq"])
    assert again.state[q]["exp_avg_sq"].dtype is torch.float32


@pytest.mark.parametrize("offset", [0, 1, 3, 7])
def test_alignment_does_not_matter(offset, monkeypatch):
    base = torch.randn(200)
    p, g = base[offset : offset + 101], torch.randn(150)[offset : offset + 101]
    for a, b in zip(step("adam", p, g, monkeypatch, False), step("adam", p, g, monkeypatch, True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", [n for n in rules.RULES if rules.RULES[n].is_ours and n not in ("muon", "adafactor")])
def test_a_step_allocates_nothing_of_the_size_of_the_model(name):
    """For a million numbers (4 MB), a step allocates less than a hundredth; allocations of the closure are not counted."""
    params = [torch.nn.Parameter(torch.randn(n)) for n in (900_000, 90_000, 10_000)]
    optimizer = build(rules.get(name), params)

    def closure():
        for p in params:
            p.grad = same[id(p)]

    same = {id(p): torch.randn_like(p) for p in params}
    closure()
    for _ in range(2):
        optimizer.step(closure)
    assert bench.extra_bytes(lambda: optimizer.step(closure)) < 40_000


def test_parameters_given_new_memory_or_another_size_are_found_again():
    p = torch.nn.Parameter(torch.ones(10))
    optimizer = steepest.optim.SGD([p], lr=0.5)
    for data in (torch.ones(10), torch.ones(10, dtype=torch.float64), torch.ones(20)):
        p.grad = None
        p.data = data.clone()
        p.grad = torch.ones_like(p)
        optimizer.step()
        assert torch.equal(p.detach(), torch.full_like(data, 0.5))


def test_a_real_training_agrees_with_plain(mnist_folder, monkeypatch):
    """150 steps of the MNIST network: losses agree to rounding while the path is stable."""
    from steepest import problems
    from steepest.training.single import train

    monkeypatch.setenv("STEEPEST_DATA", str(mnist_folder))
    problem = problems.get("mnist-mlp")
    for name, lr in (("momentum", 0.01), ("adam", 1e-4)):
        fast = train(problem, rules.get(name), lr=lr, steps=150, seed=0)
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "shared_dtypes", lambda tensors: None)
            slow = train(problem, rules.get(name), lr=lr, steps=150, seed=0)
        np.testing.assert_allclose(fast.curve.train, slow.curve.train, rtol=1e-4)


def test_groups_spare_biases_and_norms_and_set_rates_by_layer():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 4))
            self.head = torch.nn.Linear(4, 5, bias=False)
            self.head.weight = self.encoder[0].weight  # tied
            self.frozen = torch.nn.Linear(2, 2)
            self.frozen.requires_grad_(False)

    model = Model()
    made = steepest.optim.groups(model, weight_decay=0.1, lr={"encoder": 1e-5, "encoder.2": 1e-4})
    optimizer = steepest.optim.AdamW(made, lr=1e-3)
    found = {name: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for name in group["param_names"]}
    assert found == {
        "encoder.0.weight": (1e-5, 0.1),
        "encoder.1.weight": (1e-5, 0.0),
        "encoder.1.bias": (1e-5, 0.0),
        "encoder.2.weight": (1e-4, 0.1),
        "encoder.2.bias": (1e-4, 0.0),
    }
    spared = steepest.optim.groups(model, weight_decay=0.1, no_decay=("encoder.0*",))
    assert {len(g["params"]): g["weight_decay"] for g in spared} == {1: 0.0, 4: 0.1}
    expected_words = "'decoder' fits no trainable parameter; the model's parts are encoder, frozen"
    with pytest.raises(SteepestError, match=expected_words):
        steepest.optim.groups(model, lr={"decoder": 1.0})
    torch.optim.AdamW(steepest.optim.groups(model, weight_decay=0.1))  # torch's classes accept them too
