"""Every class in every context: dtypes, schedulers, torch.compile and number types; all pairs of levels occur."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

import steepest
from steepest.update.torch_class.signature import by_class_name

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
    """Cells that cover every pair of levels of two factors; a greedy search makes them few."""
    names = list(factors)
    left = dict.fromkeys(
        ((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]
    )  # sorted: a set's order would differ between runs
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
    """A learning rate that every type represents exactly; a tensor has the default dtype."""
    return {"float": 0.0625, "int": 1, "np.float32": np.float32(0.0625), "tensor": torch.tensor(0.0625)}[number]


def scheduler(kind, optimizer):
    schedulers, cycled = torch.optim.lr_scheduler, {"betas", "momentum"} & {*optimizer.defaults}
    if kind == "LinearLR":
        return schedulers.LinearLR(optimizer, end_factor=0.0, total_iters=4)  # ends at -1e-18
    if kind == "OneCycleLR":
        return schedulers.OneCycleLR(optimizer, max_lr=0.0625, total_steps=STEPS + 1, cycle_momentum=bool(cycled))
    if kind == "LambdaLR":
        return schedulers.LambdaLR(optimizer, lambda k: 0.75**k)
    return None


def train(optimizer, params, noises):
    """A step, whose gradients depend on the step and on the parameters."""

    def closure():
        optimizer.zero_grad()
        loss = sum((p * noise).sum() + 0.15 * (p * p).sum() for p, noise in zip(params, noises, strict=True))
        loss.backward()
        return loss.detach()

    return optimizer.step(closure)


def ends(make, cell, dtype, compiled="no"):
    """The parameters after a cell's steps, in float64, and the largest number on the way."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4)] if cell["name"] == "Muon" else [(3, 4), (5,)]

    def draw():
        values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return [(x + 0.5 * x.sign()).bfloat16().float().half().to(dtype) for x in values]  # exact in each, no sign in doubt

    params = [torch.nn.Parameter(x) for x in draw()]
    optimizer = make(params)
    driven = scheduler(cell["scheduler"], optimizer)
    step = train if compiled == "no" else torch.compile(train, backend=compiled)
    largest = 0.0
    for _ in range(STEPS):
        step(optimizer, params, draw())
        largest = max(largest, *(p.abs().max().item() for p in params))
        if driven:
            driven.step()
    return [p.detach().double() for p in params], largest


def ours(name):
    return getattr(steepest.optim, name)


def exact(cell, monkeypatch):
    """The expected result of a cell: the same numbers, schedule and rule, run plainly in float64."""
    with monkeypatch.context() as patch:
        patch.setattr("steepest.update.engines.kernel.shared_dtypes", lambda tensors: None)
        return ends(lambda ps: ours(cell["name"])(ps, lr=rate(cell["number"])), cell, torch.float64)


def torchs(cell):
    """The result of torch's class in a cell, and the precision of its step's scalars there; None if torch has no such class.

    Scalars have the dtype of the rate if it is not a Python float, and for ASGD and NAdam the default dtype.
    """
    twin = ALL[cell["name"]].twin
    if not twin or cell["state_dtype"] is not None:
        return None
    found = ends(lambda ps: getattr(torch.optim, twin)(ps, lr=rate(cell["number"])), cell, cell["dtype"])
    dtypes = [torch.float32] if cell["number"] == "np.float32" else []
    dtypes += [cell["default"]] if cell["number"] == "tensor" or twin in ("ASGD", "NAdam") else []
    return found, max((EPS[dtype] for dtype in dtypes), default=0.0)


def check(cell, monkeypatch):
    before = torch.get_default_dtype()
    torch.set_default_dtype(cell["default"])
    try:
        found = ends(
            lambda ps: ours(cell["name"])(ps, lr=rate(cell["number"]), state_dtype=cell["state_dtype"]),
            cell,
            cell["dtype"],
            cell["compiled"],
        )
        twin = torchs(cell)
        right = exact(cell, monkeypatch)
    finally:
        torch.set_default_dtype(before)
    eps = max(EPS[cell["dtype"]], EPS[cell["state_dtype"] or cell["dtype"]])
    if cell["name"] == "Muon" and eps > EPS[torch.float32]:
        eps *= 4  # its iterations in bfloat16 increase the difference
    close(found, right, eps)
    if twin:
        close(found, twin[0], max(eps, twin[1]))


def close(found, right, eps):
    """Whether two results differ by at most one rounding per step, of the largest number on the way."""
    tolerance = STEPS * eps * max(1.0, right[1])
    for a, b in zip(found[0], right[0], strict=True):
        torch.testing.assert_close(a, b, rtol=STEPS * eps, atol=tolerance)


@pytest.mark.parametrize("name", [name for name, rule in ALL.items() if rule.twin])
@pytest.mark.parametrize("default", [torch.bfloat16, torch.float16], ids=str)
def test_steps_are_counted_past_what_16_bits_count_to(name, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        p = torch.nn.Parameter(torch.ones(2, 2))
        optimizer = ours(name)([p], lr=1e-3, **({"momentum": 0.9} if name == "SGD" else {}))
        p.grad = torch.ones(2, 2)
        optimizer.step()
        optimizer.state[p]["step"].fill_(2048.0)
        optimizer.step()
    finally:
        torch.set_default_dtype(before)
    assert optimizer.state[p]["step"].item() == 2049


@pytest.mark.filterwarnings("ignore")  # torch.compile's warnings about what it skips
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_step_in_two_calls_runs_in_a_compiled_function(backend):
    ends = []
    for compiled in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = steepest.optim.SAM(model.parameters(), lr=0.1)

        def both(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.first_step()
            (model(x) ** 2).mean().backward()
            optimizer.second_step()

        run = torch.compile(both, backend=backend) if compiled else both
        for k in range(3):
            run(torch.randn(4, 3, generator=torch.Generator().manual_seed(k)))
        ends.append([p.detach() for p in model.parameters()])
    for p, q in zip(*ends, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_is_compiled_once():
    model = torch.nn.Linear(3, 2)
    optimizer = steepest.optim.Adam(model.parameters(), lr=0.1)

    @torch.compile(backend="eager")
    def step(x):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()

    torch._dynamo.reset()
    for _ in range(2):
        step(torch.ones(4, 3))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            step(torch.ones(4, 3))


def test_a_plain_step_imports_no_compiler():
    """torch._dynamo takes 0.7 s to import."""
    program = """
import sys, torch, steepest
p = torch.nn.Parameter(torch.ones(3))
optimizer = steepest.optim.Adam([p])
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
optimizer.zero_grad()
p.grad = torch.ones(3)
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_cells_have_every_pair_of_levels():
    met = set().union(*map(pairs, CELLS))
    for (a, levels), (b, others) in itertools.combinations(FACTORS.items(), 2):
        assert {((a, x), (b, y)) for x in levels for y in others} <= met
    assert len(CELLS) < 150


@pytest.mark.filterwarnings("ignore")  # torch.compile's warnings about what it skips
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_each_pair_of_contexts_has_torchs_numbers(cell, monkeypatch):
    check(cell, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ALL))
def test_the_whole_product_of_contexts_has_torchs_numbers(name, monkeypatch):
    rest = {k: v for k, v in FACTORS.items() if k not in ("name", "compiled")}
    for levels in itertools.product(*rest.values()):
        check({"name": name, "compiled": "no", **dict(zip(rest, levels, strict=True))}, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_each_pair_of_contexts_has_torchs_numbers_under_inductor(cell, monkeypatch):
    torch._dynamo.reset()
    check(cell | {"compiled": "inductor"}, monkeypatch)
