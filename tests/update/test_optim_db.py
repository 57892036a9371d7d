"""torch's own table of optimizers and inputs, run with our classes, and torch's edge cases."""

import copy
import warnings

import pytest
import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

import steepest
from steepest.errors import SteepestError
from steepest.update.torch_class.signature import by_class_name

STEPS = 20
TWINS = [info for info in optim_db if info.name in by_class_name()]
# Inputs that torch rejects and we accept, with the reason.
TAKEN = {
    "lr as Tensor doesn't work with foreach & not capturable": "foreach only chooses how torch runs",
    "betas must be either both floats or both Tensors": "each is read as a number",
    "betas[0] as a Tensor is not supported for capturable=False and foreach=True": "as for lr",
}
# Differences above 1e-9, with the reason.
INEXACT = {("Muon", "Tensor lr"): (2e-6, "torch scales a rate that is a float32 tensor in float32: 20 roundings")}


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def parameters(name):
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4), (5, 2)) if name == "Muon" else ((3, 4), (5,), ())
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def path(make, name, kwargs, odd=None):
    """The parameters after each of some steps; `odd` is (step, value) for one element of the first gradient."""
    params, found = parameters(name), []
    optimizer = make(params, **copy.deepcopy(kwargs))
    for k in range(STEPS):
        generator = torch.Generator().manual_seed(1 + k)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator) * (1 + k % 5)
        if odd and odd[0] == k:
            params[0].grad[0, 1] = odd[1]
        optimizer.step()
        found.append([p.detach().clone() for p in params])
    return found


def test_every_class_with_a_twin_is_in_the_table():
    twins = {rule.twin for rule in by_class_name().values() if rule.twin}
    assert {info.name for info in TWINS} == twins


INPUTS = [(info, given) for info in TWINS for given in info.optim_inputs_func("cpu")]


@pytest.mark.parametrize(("info", "given"), INPUTS, ids=lambda x: getattr(x, "name", getattr(x, "desc", "")))
def test_every_input_of_the_table_gives_torchs_numbers(info, given):
    """Equal to 1e-9 in float64; a wrong flag moves some parameter by at least 1e-4 in these steps."""
    ours = path(getattr(steepest.optim, info.name), info.name, given.kwargs)
    theirs = path(info.optim_cls, info.name, given.kwargs)
    tolerance, _ = INEXACT.get((info.name, given.desc), (1e-9, ""))
    for a, b in zip(ours, theirs, strict=True):
        for p, q in zip(a, b, strict=True):
            torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


ERRORS = [(info, error) for info in TWINS for error in info.optim_error_inputs_func("cpu", torch.float64)]


@pytest.mark.parametrize(
    ("info", "error"), ERRORS, ids=lambda x: getattr(x, "name", None) or x.optimizer_error_input.desc.replace("\\", "")
)
def test_what_torch_refuses_is_refused(info, error):
    given = error.optimizer_error_input
    params = given.params if given.params is not None else parameters(info.name)
    if error.error_on is OptimizerErrorEnum.STEP_ERROR:  # complex parameters
        p = torch.nn.Parameter(torch.ones(1, 1, dtype=torch.complex128))
        p.grad = torch.ones_like(p)
        with pytest.raises(SteepestError, match="complex gradient"):
            getattr(steepest.optim, info.name)([p], **given.kwargs).step()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if given.desc.replace("\\", "") in TAKEN:
            getattr(steepest.optim, info.name)(params, **given.kwargs)
            return
        with pytest.raises(error.error_type):
            getattr(steepest.optim, info.name)(params, **given.kwargs)


def test_no_exception_is_listed_that_the_table_does_not_have():
    described = {error.optimizer_error_input.desc.replace("\\", "") for _, error in ERRORS}
    assert set(TAKEN) <= described


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("name", [info.name for info in TWINS])
def test_a_gradient_that_is_not_finite_spreads_as_in_torch(name, value):
    """At the first step, at the fourth (RAdam does not rectify yet) and at the thirteenth (it does)."""
    if name == "Adafactor" and value != value * 0:  # infinite
        pytest.skip("torch's lerp between infinities gives NaN, at once at its first share of 1; our average stays infinite")
    for odd in ((0, value), (3, value), (12, value)):
        ours = path(getattr(steepest.optim, name), name, {}, odd)
        theirs = path(getattr(torch.optim, name), name, {}, odd)
        for a, b in zip(ours, theirs, strict=True):
            for p, q in zip(a, b, strict=True):
                torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("shape", [(5,), (), (2, 3, 4)])
def test_muon_refuses_what_torchs_refuses_unless_it_is_told_to_take_it(shape):
    p = torch.nn.Parameter(torch.ones(shape))
    with pytest.raises(ValueError, match="only supports 2D"):
        torch.optim.Muon([p])
    with pytest.raises(SteepestError, match=r"Muon takes matrices only, but got a parameter of shape .* matrices_only=False"):
        steepest.optim.Muon([p])
    optimizer = steepest.optim.Muon([torch.nn.Parameter(torch.ones(2, 2))])
    with pytest.raises(SteepestError, match="Muon takes matrices only"):
        optimizer.add_param_group({"params": [p]})
    assert len(optimizer.param_groups) == 1
    taken = steepest.optim.Muon([p], matrices_only=False)
    p.grad = torch.ones(shape)
    taken.step()
    assert not torch.equal(p, torch.ones(shape))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_muon_takes_matrices_without_elements(shape):
    """torch's divides by the number of columns, and so accepts matrices without rows, but not without columns."""
    for library in (torch.optim, steepest.optim) if shape[1] else (steepest.optim,):
        whole, empty = torch.nn.Parameter(torch.eye(3)), torch.nn.Parameter(torch.ones(shape))
        optimizer = library.Muon([whole, empty])
        for _ in range(2):
            whole.grad, empty.grad = torch.ones(3, 3), torch.ones(shape)
            optimizer.step()
        assert not torch.equal(whole, torch.eye(3))
        assert empty.shape == shape


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_fused_on_what_has_no_floats_in_memory_is_refused(name):
    """At the first step, as in torch: until then parameters may be moved to other memory."""
    for p in (torch.ones(3, device="meta"), torch.ones(3, dtype=torch.int64)):
        p.grad = torch.ones_like(p)
        with pytest.raises(RuntimeError, match="fused"):
            getattr(torch.optim, name)([p], lr=0.1, fused=True).step()
        with pytest.raises(
            SteepestError, match=f"{name}: `fused=True` requires all the params to be floating point Tensors, and one has no"
        ):
            getattr(steepest.optim, name)([p], lr=0.1, fused=True).step()
    with pytest.raises(SteepestError, match="fused and foreach are both True"):
        getattr(steepest.optim, name)([torch.ones(3)], lr=0.1, fused=True, foreach=True)
    meta = torch.nn.Parameter(torch.ones(3, device="meta"))
    meta.grad = torch.ones(3, device="meta")
    getattr(steepest.optim, name)([meta], lr=0.1).step()  # without the flag it steps like torch's


def test_a_rate_of_several_numbers_is_refused():
    with pytest.raises(SteepestError, match="lr is a tensor of 2 numbers; expected one"):
        steepest.optim.SGD([torch.ones(2)], lr=torch.tensor([0.1, 0.2]))
