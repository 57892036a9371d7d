"""`import steepest.optim as optim` in place of `import torch.optim as optim`; rates and other numbers of any library."""

import decimal
import fractions
import io
import subprocess
import sys

import numpy as np
import pytest
import torch

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.update.torch_class.signature import by_class_name, class_arguments

SCRIPT = """
import torch
import {library}.optim as optim
from {library}.optim import Adam, Optimizer, lr_scheduler, swa_utils
from {library}.optim.lr_scheduler import CosineAnnealingLR, StepLR
import {library}.optim.lr_scheduler as schedulers
import {library}.optim.swa_utils

torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
assert isinstance(optimizer, optim.Optimizer) and optim.Optimizer is Optimizer is torch.optim.Optimizer
assert optim.lr_scheduler is lr_scheduler is schedulers is torch.optim.lr_scheduler
scheduler = optim.lr_scheduler.SequentialLR(optimizer, [StepLR(optimizer, 2), CosineAnnealingLR(optimizer, 3)], [3])
averaged = optim.swa_utils.AveragedModel(model)
for k in range(6):
    optimizer.zero_grad()
    model(torch.ones(2, 3) + k).square().sum().backward()
    optimizer.step()
    scheduler.step()
    averaged.update_parameters(model)
print([round(float(p), 5) for p in [*model.weight[0], *averaged.module.weight[0]]])
"""


def test_a_script_runs_with_its_import_swapped_and_prints_the_same():
    printed = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT.format(library=library)], capture_output=True, text=True, check=True
        ).stdout
        for library in ("torch", "steepest")
    ]
    assert printed[0] == printed[1] != ""


REAL = [np.float32, np.float64, fractions.Fraction]
WHOLE = [np.int64, np.int8, np.uint16]


def parameter():
    p = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    p.grad = torch.full_like(p, 0.5)
    return p


def given(rule, cast):
    """Every number of a class's arguments at its default, in another library's type."""
    numbers = {k: v for k, v in rule.hyper.items() if isinstance(v, float) and k not in rule.fixed}
    return class_arguments({k: cast(v) for k, v in numbers.items()})


@pytest.mark.parametrize("cast", REAL, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", by_class_name())
def test_every_hyperparameter_takes_every_real_number(name, cast):
    """At construction, in a group and in an updated group; the saved checkpoint loads with weights_only."""
    rule, cls = by_class_name()[name], getattr(steepest.optim, name)
    options = given(rule, cast)
    optimizer = cls([{"params": [parameter()], **options}], **options)
    for where in (optimizer.defaults, optimizer.param_groups[0]):
        for k in options:
            parts = where[k] if isinstance(where[k], tuple) else (where[k],)
            assert all(type(x) in (int, float) for x in parts), (k, where[k])
    plainly = cls([parameter()], **{k: v if isinstance(v, tuple) else float(v) for k, v in options.items()})
    for each in (optimizer, plainly):
        each.param_groups[0]["lr"] = cast(0.25)
        closure = each.param_groups[0]["params"][0].detach
        each.step(closure if rule.oracle else None)
    assert torch.equal(optimizer.param_groups[0]["params"][0], plainly.param_groups[0]["params"][0])
    optimizer.param_groups[0]["lr"] = 0.25
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    plainly.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize("cast", WHOLE, ids=lambda c: c.__name__)
def test_whole_options_numpy_are_taken_where_whole_ones_are(cast):
    optimizer = steepest.optim.Muon([parameter()], lr=cast(1), ns_steps=cast(3))
    assert (optimizer.param_groups[0]["ns_steps"], type(optimizer.param_groups[0]["ns_steps"])) == (3, int)
    optimizer.step()
    assert rules.get("sgd").settings(lr=cast(1))["lr"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        True,
        False,
        np.True_,
        "0.1",
        "nan",
        float("nan"),
        np.float32("nan"),
        np.inf,
        1j,
        decimal.Decimal("0.1"),
        [0.1],
        np.ones(1),
    ],
)
@pytest.mark.parametrize("name", by_class_name())
def test_what_is_no_finite_real_number_is_refused(name, wrong):
    with pytest.raises(SteepestError, match=r"lr is .*; expected a finite number"):
        getattr(steepest.optim, name)([parameter()], lr=wrong)
    optimizer = getattr(steepest.optim, name)([parameter()], lr=0.1)
    with pytest.raises(SteepestError, match=r"lr is .*; expected a finite number"):
        optimizer.add_param_group({"params": [parameter()], "lr": wrong})
