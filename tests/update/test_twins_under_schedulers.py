"""Differences from torch's classes, at every input of its table and under schedulers, as claimed in docs."""

import copy
import warnings

import pytest
import torch
from torch.optim import lr_scheduler
from torch.testing._internal.common_optimizers import optim_db

import steepest
from steepest.update.torch_class.signature import by_class_name

STEPS = 40
TWINS = {info.name: info for info in optim_db if info.name in by_class_name()}
TOLERANCE = 1e-12  # of a weight of 1 or less, else relative to the weight
# Larger differences, by class and input (None: any), with the reason.
MORE = {
    ("NAdam", None): (1e-9, "torch keeps the product of momenta in the default dtype, float32"),
    ("Muon", "Tensor lr"): (1e-5, "torch scales a rate that is a float32 tensor in float32"),
}
SCHEDULERS = {
    "none": lambda o: None,
    "steps": lambda o: lr_scheduler.StepLR(o, 7, 0.5),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, 1e-5),
    "decay": lambda o: lr_scheduler.LambdaLR(o, lambda k: 1 / (1 + 0.1 * k)),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.05, STEPS + 1, cycle_momentum=cycled(o.param_groups[0])),
}


def cycled(group):
    """Whether there is a momentum to cycle that is not a tensor."""
    return isinstance(group.get("betas", (None,))[0], float) or bool(group.get("momentum"))


def path(library, name, kwargs, scheduler):
    """The parameters after each step, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4), (5, 2)) if name == "Muon" else ((3, 4), (5,), ())
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]
    optimizer = getattr(library, name)(params, **copy.deepcopy(kwargs))
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        driven = SCHEDULERS[scheduler](optimizer)
        for k in range(STEPS):
            generator.manual_seed(k + 1)
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64) * (1 + k % 5)
            optimizer.step()
            if driven:
                driven.step()
            found.append(torch.cat([p.detach().flatten() for p in params]))
    return torch.stack(found)


def apart(a, b):
    return float(((a - b).abs() / b.abs().clamp_min(1)).max())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", TWINS)
def test_numbers_are_torchs_to_1e_12_at_every_input_but_where_it_is_said(name, scheduler):
    """A wrong flag, or a rate that is applied a step late, moves them by at least 1e-4."""
    for given in TWINS[name].optim_inputs_func("cpu"):
        tolerance, _ = MORE.get((name, given.desc), MORE.get((name, None), (TOLERANCE, "")))
        ours, theirs = (path(library, name, given.kwargs, scheduler) for library in (steepest.optim, torch.optim))
        assert apart(ours, theirs) < tolerance, given.desc


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_where_nadam_differs_from_torchs_it_is_nearer_to_torchs_in_float64(scheduler):
    ours, theirs = (path(library, "NAdam", {}, scheduler) for library in (steepest.optim, torch.optim))
    torch.set_default_dtype(torch.float64)
    try:
        exact = path(torch.optim, "NAdam", {}, scheduler)
    finally:
        torch.set_default_dtype(torch.float32)
    assert apart(theirs, exact) > TOLERANCE
    assert apart(ours, exact) <= apart(theirs, exact)
