"""Every class in every context: dtypes, schedulers, torch.compile and types of numbers, each pair of them with values."""

import itertools
import math

import numpy as np
import pytest
import torch

import steepest
from steepest.errors import SteepestError
from steepest.update.optimizer import build, by_class_name

ALL = by_class_name()
FACTORS = {
    "name": sorted(ALL),
    "default": [torch.float32, torch.float64, torch.bfloat16, torch.float16],
    "dtype": [torch.float32, torch.float64, torch.bfloat16, torch.float16],
    "state_dtype": [None, torch.float64, torch.float32, torch.bfloat16],
    "scheduler": ["none", "LinearLR", "OneCycleLR", "LambdaLR"],
    "compiled": ["no", "eager", "aot_eager"],
    "number": ["float", "int", "np.float32", "tensor"],
}
STEPS = 6
EPS = {torch.float64: 1e-10, torch.float32: 2.0**-20, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}


def pairs(cell):
    """The pairs of levels in a cell."""
    return set(itertools.combinations(cell.items(), 2))


def covering(factors):
    """Cells in which every level of a factor meets every level of every other one; grown greedily, so about as few as can be."""
    names = list(factors)
    left = dict.fromkeys(
        ((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]
    )  # in order: a set's would differ from run to run
    cells = []
    while left:
        cell = dict(next(iter(left)))
        for name in names:
            if name not in cell:

                def gained(level, name=name, cell=cell):
                    grown = {k: {**cell, name: level}[k] for k in names if k in cell or k == name}
                    return sum(pair in left for pair in pairs(grown))

                cell[name] = max(factors[name], key=gained)
        cell = {k: cell[k] for k in names}
        for pair in pairs(cell):
            left.pop(pair, None)
        cells.append(cell)
    return cells


CELLS = covering(FACTORS)


def label(cell):
    return "-".join(str(level).replace("torch.", "") for level in cell.values())


def rate(number):
    """A learning rate that every type holds exactly; a tensor has the default dtype."""
    return {"float": 0.0625, "int": 1, "np.float32": np.float32(0.0625), "tensor": torch.tensor(0.0625)}[number]


def scheduler(kind, optimizer):
    schedulers, cycled = torch.optim.lr_scheduler, {"betas", "momentum"} & {*optimizer.defaults}
    if kind == "LinearLR":
        return schedulers.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=STEPS - 2)
    if kind == "OneCycleLR":
        return schedulers.OneCycleLR(optimizer, max_lr=0.0625, total_steps=STEPS + 1, cycle_momentum=bool(cycled))
    if kind == "LambdaLR":
        return schedulers.LambdaLR(optimizer, lambda k: 0.75**k)
    return None


def train(optimizer, params, noises):
    """A step, whose gradients depend on the step and on the place."""

    def closure():
        optimizer.zero_grad()
        loss = sum((p * noise).sum() + 0.15 * (p * p).sum() for p, noise in zip(params, noises, strict=True))
        loss.backward()
        return loss.detach()

    return optimizer.step(closure)


def ends(make, cell, dtype, compiled="no"):
    """Where the steps of a cell lead an optimizer, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4)] if cell["name"] == "Muon" else [(3, 4), (5,)]

    def draw():
        values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return [(x + 0.5 * x.sign()).bfloat16().float().half().to(dtype) for x in values]  # exact in each, and no sign in doubt

    params = [torch.nn.Parameter(x) for x in draw()]
    optimizer = make(params)
    driven = scheduler(cell["scheduler"], optimizer)
    step = train if compiled == "no" else torch.compile(train, backend=compiled)
    for _ in range(STEPS):
        step(optimizer, params, draw())
        if driven:
            driven.step()
    return [p.detach().double() for p in params]


def ours(name):
    return getattr(steepest.optim, name)


def expected(cell, monkeypatch):
    """What a cell should give: torch's class in it, where it has one and takes the numbers; else our plain engine in float64."""
    rule = ALL[cell["name"]]
    if rule.twin and cell["state_dtype"] is None:
        try:
            return ends(lambda ps: getattr(torch.optim, rule.twin)(ps, lr=rate(cell["number"])), cell, cell["dtype"])
        except (ValueError, TypeError, RuntimeError):
            assert cell["number"] in ("tensor", "np.float32")
    with monkeypatch.context() as patch:
        patch.setattr("steepest.update.kernel.shared_dtypes", lambda tensors: None)
        return ends(lambda ps: ours(cell["name"])(ps, lr=rate(cell["number"])), cell, torch.float64)


def check(cell, monkeypatch):
    before = torch.get_default_dtype()
    torch.set_default_dtype(cell["default"])
    try:
        found = ends(
            lambda ps: ours(cell["name"])(ps, lr=rate(cell["number"]), state_dtype=cell["state_dtype"]),
            cell, cell["dtype"], cell["compiled"],
        )  # fmt: skip
        theirs = expected(cell, monkeypatch)
    finally:
        torch.set_default_dtype(before)
    eps = max(EPS[cell["dtype"]], EPS[cell["state_dtype"] or cell["dtype"]])
    for a, b in zip(found, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=STEPS * eps, atol=STEPS * eps)


def test_the_cells_have_every_pair_of_levels():
    met = set().union(*map(pairs, CELLS))
    for (a, levels), (b, others) in itertools.combinations(FACTORS.items(), 2):
        assert {((a, x), (b, y)) for x in levels for y in others} <= met
    assert len(CELLS) < 150


@pytest.mark.filterwarnings("ignore")  # of torch.compile, which says what it leaves out
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_each_pair_of_contexts_has_torchs_numbers(cell, monkeypatch):
    check(cell, monkeypatch)
