"""Complex and sparse gradients, and gradients through the step itself, against torch."""

import contextlib

import pytest
import torch
from torch._subclasses import FakeTensor, FakeTensorMode

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.update.torch_class.optimizer import build
from steepest.update.torch_class.signature import by_class_name

TWINS = sorted({rule.twin for rule in rules.RULES.values() if rule.twin and rule.is_ours})
ROWS = {"Adafactor", "Muon"}  # use rows and columns
SPARSE = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.3}),
    ("Adagrad", {"maximize": True}),
]
DIFFERENTIABLE = [
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"weight_decay": 0.1}),
    ("Adamax", {}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adagrad", {}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("ASGD", {}),
    ("Rprop", {}),
]


def steps(class_, p, gradients, **arguments):
    optimizer = class_([p], **({"lr": 0.05} | arguments))
    for g in gradients:
        p.grad = g
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", [name for name in TWINS if name not in ROWS])
def test_complex_parameters_take_torchs_numbers(name):
    generator = torch.Generator().manual_seed(0)
    first, *gradients = [torch.randn(4, 3, generator=generator, dtype=torch.complex128) for _ in range(6)]
    ours, theirs = (torch.nn.Parameter(first.clone()) for _ in range(2))
    turned = [g.conj_physical().mT.contiguous().mT.conj() for g in gradients]  # the same, in another memory layout
    mine = steps(getattr(steepest.optim, name), ours, [gradients[0], *turned[1:3], *gradients[3:]])
    torchs = steps(getattr(torch.optim, name), theirs, gradients)
    tolerance = 1e-8 if name == "NAdam" else 1e-12  # it stores a product of momenta in float32
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=tolerance, atol=tolerance)
    for key, value in torchs.state[theirs].items():
        torch.testing.assert_close(mine.state[ours][key], value, check_dtype=key != "step")


@pytest.mark.parametrize("name", [name for name, rule in rules.RULES.items() if rule.is_ours])
def test_complex_numbers_are_their_real_and_imaginary_parts_or_refused(name):
    generator = torch.Generator().manual_seed(0)
    first, *gradients = [torch.randn(4, 3, generator=generator, dtype=torch.complex128) for _ in range(5)]
    ends = []
    for view in (lambda x: x, torch.view_as_real):
        p = torch.nn.Parameter(view(first.clone()).detach().clone())
        optimizer = build(rules.get(name), [p], lr=0.05)
        refused = p.is_complex() and optimizer.rule.class_name in ROWS
        for g in gradients:

            def closure(p=p, g=g, view=view):
                p.grad = view(g) + 0.1 * p.detach()

            closure()
            if refused:
                with pytest.raises(SteepestError, match="got a complex gradient; its row and column means need real ones"):
                    optimizer.step()
                return
            optimizer.step(closure if optimizer.rule.oracle else None)
        ends.append(view(p.detach()) if p.is_complex() else p.detach())
    ends[0] = torch.view_as_real(ends[0])
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


def sparse_gradients(dense_rows):
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        rows = torch.randint(6, (4,), generator=generator)  # some repeated
        values = torch.randn((4, 3) if dense_rows else (4,), generator=generator, dtype=torch.float64)
        columns = torch.randint(3, (4,), generator=generator)
        index = rows[None] if dense_rows else torch.stack([rows, columns])
        yield torch.sparse_coo_tensor(index, values, (6, 3), check_invariants=True)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")  # by torch's Adagrad
@pytest.mark.parametrize(("name", "arguments"), SPARSE)
@pytest.mark.parametrize("dense_rows", [True, False])
def test_sparse_gradients_take_torchs_numbers(name, arguments, dense_rows):
    first = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = (torch.nn.Parameter(first.clone()) for _ in range(2))
    steps(getattr(steepest.optim, name), ours, sparse_gradients(dense_rows), **arguments)
    steps(getattr(torch.optim, name), theirs, sparse_gradients(dense_rows), **arguments)
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_sparse_gradients_with_weight_decay_are_as_dense_ones(name):
    ends = []
    for dense in (True, False):
        p = torch.nn.Parameter(torch.ones(6, 3, dtype=torch.float64))
        gradients = [g.to_dense() if dense else g for g in sparse_gradients(True)]
        steps(getattr(steepest.optim, name), p, gradients, weight_decay=0.1)
        ends.append(p.detach())
    torch.testing.assert_close(*ends, rtol=1e-15, atol=0)


def test_an_embedding_beside_dense_layers_trains_as_torch_has_it():
    ends = []
    for library in (steepest.optim, torch.optim):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Embedding(10, 4, sparse=True), torch.nn.Linear(4, 2)).double()
        optimizer = library.Adagrad(model.parameters(), lr=0.1)
        for k in range(6):
            optimizer.zero_grad()
            words = torch.randint(10, (5,), generator=torch.Generator().manual_seed(k))
            (model(words) ** 2).sum().backward()
            optimizer.step()
        ends.append([p.detach() for p in model.parameters()])
    for p, q in zip(*ends, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in TWINS if n not in ("SGD", "Adagrad", "Muon")])
def test_sparse_gradients_are_refused_where_torch_refuses_them(name):
    p = torch.nn.Parameter(torch.ones(3, 2))
    p.grad = torch.ones_like(p).to_sparse()
    with pytest.raises(SteepestError, match=f"{name} got a sparse gradient; it takes dense ones"):
        getattr(steepest.optim, name)([p]).step()


@pytest.mark.parametrize(("name", "arguments"), DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradient_through_a_step_is_torchs(name, arguments, dtype):
    """With respect to the parameter and the gradient, through one step, as in torch."""
    found = []
    for class_ in (getattr(steepest.optim, name), getattr(torch.optim, name)):
        generator = torch.Generator().manual_seed(0)
        leaves = [torch.randn(3, 2, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]
        p = leaves[0].clone()
        optimizer = class_([p], lr=0.05, differentiable=True, **arguments)
        if name == "SGD":  # torch takes no gradient through the buffer's first step
            optimizer.state[p]["momentum_buffer"] = torch.ones(3, 2, dtype=dtype)
        p.grad = leaves[1]
        optimizer.step()
        found.append((p.detach(), *torch.autograd.grad(p.abs().pow(3).sum(), leaves)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=5e-6, atol=1e-9)  # torch corrects biases in float32


@pytest.mark.parametrize(("name", "arguments"), DIFFERENTIABLE)
def test_the_gradient_through_several_steps_is_a_difference_quotient(name, arguments):
    """With respect to the parameter and every gradient of three steps, whose values equal the kernel's."""
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(3, 2, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(4)]

    def end(first, *gradients):
        p = first.clone()
        steps(getattr(steepest.optim, name), p, gradients, differentiable=True, **arguments)
        return p

    assert torch.autograd.gradcheck(end, leaves)
    kernel = torch.nn.Parameter(leaves[0].detach().clone())
    steps(getattr(steepest.optim, name), kernel, [g.detach() for g in leaves[1:]], **arguments)
    torch.testing.assert_close(kernel.detach(), end(*leaves).detach(), rtol=1e-12, atol=1e-12)


def test_the_gradient_by_the_rate_is_a_difference_quotient():
    def end(lr):
        p = torch.ones(3, dtype=torch.float64)
        p = (p * 2).requires_grad_(False).clone()
        p.requires_grad_()
        p = p.clone()
        optimizer = steepest.optim.Adam([p], lr=lr, differentiable=True)
        for k in range(3):
            p.grad = torch.tensor([1.0, -2.0, 0.5 * k], dtype=torch.float64)
            optimizer.step()
        return (p**2).sum()

    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(end(lr), lr)
    h = 1e-6
    torch.testing.assert_close(slope.item(), ((end(0.1 + h) - end(0.1 - h)) / (2 * h)).item(), rtol=1e-6, atol=0)


INFINITE = [float("inf"), float("-inf"), float("nan"), 1e30]  # the last one's square is infinite in float32


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("shape", [(3,), (3, 4)])
def test_what_is_not_finite_spreads_as_in_torch(name, shape):
    if name == "Muon" and len(shape) == 1:
        pytest.skip("it takes matrices")
    for bad in INFINITE:
        for at in (0, 1, 3):
            ends = []
            for library in (steepest.optim, torch.optim):
                generator = torch.Generator().manual_seed(0)
                p = torch.nn.Parameter(torch.randn(shape, generator=generator))
                optimizer, visited = getattr(library, name)([p], lr=0.01), []
                for k in range(6):
                    p.grad = torch.randn(shape, generator=generator)
                    if k == at:
                        p.grad.view(-1)[1] = bad
                    optimizer.step()
                    visited.append(p.detach().clone())
                ends.append(torch.stack(visited))
            torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", sorted(by_class_name()))
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool], ids=str)
def test_parameters_that_are_no_floats_are_refused(name, dtype):
    p = torch.ones(3, 2).to(dtype)
    p.grad = torch.ones(3, 2).to(dtype)
    before = p.clone()
    with pytest.raises(SteepestError, match=f"{name} got a parameter of {dtype}; it takes floating-point and complex ones"):
        build(by_class_name()[name], [p], lr=1.0).step(lambda: 0.0)
    assert torch.equal(p, before)


@pytest.mark.parametrize("wanted", [torch.int32, torch.bool, torch.complex64, "float32"], ids=str)
def test_state_that_is_no_float_is_refused(wanted):
    with pytest.raises(SteepestError, match=r"expected a floating-point torch\.dtype, or None"):
        steepest.optim.Adam([torch.nn.Parameter(torch.ones(2))], state_dtype=wanted)


@pytest.mark.parametrize("inside", [True, False], ids=["in the mode", "out of it"])
@pytest.mark.parametrize("name", sorted(by_class_name()))
def test_fake_tensors_take_a_step_of_shapes(name, inside):
    with FakeTensorMode() as mode:
        params = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(4, 4))]
        optimizer = build(by_class_name()[name], params, lr=0.1)

    def closure():
        with mode:
            for p in params:
                p.grad = torch.randn_like(p)
            return torch.zeros(())

    closure()
    with mode if inside else contextlib.nullcontext():
        for _ in range(2):
            optimizer.step(closure)
    stores = [optimizer.state[p] for p in params if p in optimizer.state]
    assert all(int(store["step"]) == 2 for store in stores if "step" in store)
    tensors = [t for store in stores for key, t in store.items() if key != "step" and t.ndim]
    assert all(isinstance(t, FakeTensor) for t in (*tensors, *params))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_adafactors_epsilon_is_that_of_the_parameters_dtype(dtype, shape):
    """Below the threshold gradients lead to shorter steps."""
    moves = []
    for library in (steepest.optim, torch.optim):
        generator = torch.Generator().manual_seed(0)
        first = torch.randn(shape, generator=generator).to(dtype)
        p = torch.nn.Parameter(first.clone())
        optimizer = library.Adafactor([p], lr=0.05)
        for _ in range(4):
            p.grad = (torch.randn(shape, generator=generator) * 1e-3).to(dtype)
            optimizer.step()
        moves.append((p.detach() - first).float())
    torch.testing.assert_close(*moves, rtol=0.02, atol=2e-3)


def test_adai_in_bfloat16_keeps_its_product_of_betas():
    """In 16 bits 0.999 rounds to 1, and the bias correction divides by zero."""
    ends = []
    for dtype in (torch.bfloat16, torch.float64):
        generator = torch.Generator().manual_seed(0)
        p = torch.nn.Parameter(torch.ones(64, dtype=dtype))
        optimizer = steepest.optim.Adai([p], lr=0.02)
        for _ in range(10):
            p.grad = (torch.rand(64, generator=generator, dtype=torch.float64) ** 2).bfloat16().to(dtype)
            optimizer.step()
        ends.append(p.detach().double())
    assert optimizer.state[p]["c"].dtype is torch.float64
    torch.testing.assert_close(*ends, rtol=0, atol=0.015)
    assert (ends[1] - 1).abs().max() > 0.1


def test_complex_state_counts_its_bytes_once_and_keeps_the_precision_that_was_asked():
    p = torch.nn.Parameter(torch.ones(4, dtype=torch.complex64))
    optimizer = build(rules.get("schedule_free_adamw"), [p], state_dtype=torch.float64)
    p.grad = torch.full_like(p, 1 + 2j)
    optimizer.step()
    assert optimizer.state[p]["z"].dtype is torch.complex128
    assert optimizer.state_bytes() == sum(x.nbytes for k, x in optimizer.state[p].items() if k != "step")
