"""Linear layers of many runs against torch's, forward and backward, with oneDNN and without."""

import pytest
import torch

from steepest.training import products


@pytest.mark.parametrize("present", [True, False], ids=["oneDNN", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(4, 20, 300, 250), (3, 7, 5, 4), (2, 120, 200, 130)], ids=str)
@pytest.mark.parametrize("shared", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_linear_layers_of_many_runs_equal_torchs(present, dtype, shape, shared, bias, monkeypatch):
    if present and not products._present():
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "_present", lambda: present)
    runs, batch, inputs, outputs = shape
    generator = torch.Generator().manual_seed(0)
    made = [(runs, outputs, inputs), (batch, inputs) if shared else (runs, batch, inputs), (runs, outputs)]
    w, x, b = (torch.randn(*size, generator=generator, dtype=torch.float64) for size in made)
    weight = torch.randn(runs, batch, outputs, generator=generator, dtype=torch.float64)
    leaves = [w, b] if shared else [w, b, x]
    found, expected = [], []
    for kind, results in ((dtype, found), (torch.float64, expected)):
        own = [t.to(kind).requires_grad_() for t in leaves]
        at = x.to(kind) if shared else own[2]
        if results is found:
            y = products.linear(own[0], at, own[1] if bias else None)
        else:
            y = at @ own[0].transpose(1, 2) + (own[1][:, None] if bias else 0)
        gradients = torch.autograd.grad((y * weight.to(kind)).sum(), own, allow_unused=True)
        results += [y.detach(), *(g for g in gradients if g is not None)]
    assert len(found) == len(expected) == 1 + len(leaves) - (not bias)
    for a, e in zip(found, expected, strict=True):
        limit = (2e-6 if dtype == torch.float32 else 1e-14) * e.abs().max()
        torch.testing.assert_close(a.double(), e, rtol=0, atol=float(limit))


def test_a_product_goes_to_onednn_where_it_is_large(monkeypatch):
    seen = []
    monkeypatch.setattr(products, "_present", lambda: True)
    monkeypatch.setattr(products, "_linear", lambda a, b: seen.append(a.shape) or a @ b.T)
    small, large = torch.ones(10, 10), torch.ones(200, 200)
    products.product(small, small)
    products.product(large.double(), large.double())
    products.product(large, large)
    assert seen == [(200, 200)]
