"""The torch classes: equal to their torch counterparts, and well-behaved optimizers."""

import copy
import inspect
import itertools

import pytest
import torch

import steepest
from steepest.errors import SteepestError
from steepest.update.torch_class.signature import by_class_name
from tests.cases import FLAGS

MAXIMIZE = {"maximize": (False, True)}
BETAS = {"betas": ((0.9, 0.999), (0.5, 0.8))}
# Every flag that both sides have.
TWINS = {
    "SGD": FLAGS["sgd"] | MAXIMIZE,
    "Adagrad": FLAGS["adagrad"] | MAXIMIZE,
    "RMSprop": FLAGS["rmsprop"] | MAXIMIZE,
    "Adam": BETAS | FLAGS["adam"] | MAXIMIZE,
    "AdamW": BETAS | FLAGS["adamw"] | MAXIMIZE,
    "Rprop": {"etas": ((0.5, 1.2), (0.3, 1.5)), "step_sizes": ((1e-6, 50), (1e-3, 0.2)), "maximize": (False, True)},
    "ASGD": {
        "lambd": (1e-4, 0.01),
        "alpha": (0.75, 0.5),
        "t0": (1e6, 10.0),
        "weight_decay": (0, 0.05),
        "maximize": (False, True),
    },
    "NAdam": {
        "betas": ((0.9, 0.999), (0.5, 0.8)),
        "eps": (1e-8, 1e-3),
        "weight_decay": (0, 0.05),
        "momentum_decay": (4e-3, 0.1),
        "decoupled_weight_decay": (False, True),
        "maximize": (False, True),
    },
    "RAdam": {
        "betas": ((0.9, 0.999), (0.5, 0.8)),
        "eps": (1e-8, 1e-3),
        "weight_decay": (0, 0.05),
        "decoupled_weight_decay": (False, True),
        "maximize": (False, True),
    },
    "Adadelta": {
        "rho": (0.9, 0.5),
        "eps": (1e-6, 1e-3),
        "weight_decay": (0, 0.05),
        "maximize": (False, True),
    },
    "Adamax": {
        "betas": ((0.9, 0.999), (0.5, 0.8)),
        "eps": (1e-8, 1e-3),
        "weight_decay": (0, 0.05),
        "maximize": (False, True),
    },
    "Adafactor": {
        "beta2_decay": (-0.8, -0.5),
        "eps": ((None, 1e-3), (1e-3, 0.1)),
        "d": (1.0, 3.0),
        "weight_decay": (0, 0.05),
        "maximize": (False, True),
    },
    "Muon": {
        "weight_decay": (0.1, 0),
        "momentum": (0.95, 0.5),
        "nesterov": (True, False),
        "ns_coefficients": ((3.4445, -4.7750, 2.0315), (2.0, -1.5, 0.5)),
        "eps": (1e-7, 1e-3),
        "ns_steps": (5, 2),
        "adjust_lr_fn": (None, "match_rms_adamw"),
    },
}


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def ours(name):
    return getattr(steepest.optim, name)


def parameters(seed=0, name=""):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3, 4), (5, 2), (2, 2)) if name == "Muon" else ((3, 4), (5,), ())  # torch's accepts matrices only
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.get_default_dtype())) for shape in shapes]


def run(optimizer, params, steps, begin=0):
    """Varying gradients, the same at each step number, and a varying rate."""
    for k in range(begin, begin + steps):
        generator = torch.Generator().manual_seed(1000 + k)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype) * (1 + k % 7)
        for group in optimizer.param_groups:
            group["lr"] = 0.03 / (1 + k % 5)
        optimizer.step()


def flags(name):
    for values in itertools.product(*TWINS[name].values()):
        chosen = dict(zip(TWINS[name], values, strict=True))
        if not (chosen.get("nesterov") and (not chosen["momentum"] or chosen.get("dampening"))):
            yield chosen


def test_every_class_with_a_twin_is_tested_here():
    assert {rule.twin for rule in by_class_name().values() if rule.twin} == set(TWINS)


def equals_the_twin(name, steps, **tolerance):
    for chosen in flags(name):
        a, b = parameters(name=name), parameters(name=name)
        run(ours(name)(a, lr=0.03, **chosen), a, steps)
        run(getattr(torch.optim, name)(b, lr=0.03, **chosen), b, steps)
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, **tolerance, msg=f"{name} {chosen}")


@pytest.mark.parametrize("name", TWINS)
def test_equals_the_twin_to_1e_12_in_float64_at_every_flag(name, float64):
    equals_the_twin(name, 20, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", TWINS)
def test_equals_the_twin_to_rounding_in_float32(name):
    equals_the_twin(name, 10, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", TWINS)
def test_has_the_twins_signature_defaults_and_group_keys(name):
    twin = getattr(torch.optim, name)
    mine, theirs = (inspect.signature(c.__init__).parameters for c in (ours(name), twin))
    assert [p for p in mine.values() if p.name in theirs] == list(theirs.values())
    own = [mine[k] for k in mine if k not in theirs]
    assert all(p.kind is p.KEYWORD_ONLY for p in own)
    groups = [dict(c(parameters(name=name)).param_groups[0]) for c in (ours(name), twin)]
    extra = {p.name for p in own}
    assert {k: v for k, v in groups[0].items() if k not in {"params", *extra}} == {
        k: v for k, v in groups[1].items() if k != "params"
    }


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("direction", ["from torch", "to torch"])
def test_checkpoints_interchange_with_the_twin(name, direction, float64):
    chosen = next(f for f in reversed(list(flags(name))) if f.get("momentum", 1))
    pair = [ours(name), getattr(torch.optim, name)]
    source, target = pair if direction == "to torch" else pair[::-1]
    a, b = parameters(name=name), parameters(name=name)
    first = source(a, lr=0.03, **chosen)
    run(first, a, 10)
    second = target(b, lr=0.03, **chosen)
    second.load_state_dict(copy.deepcopy(first.state_dict()))  # torch loads without copying
    with torch.no_grad():
        for x, y in zip(a, b, strict=True):
            y.copy_(x)
    run(first, a, 20, begin=10)
    run(second, b, 20, begin=10)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", TWINS)
def test_a_parameter_unfrozen_late_counts_its_own_steps(name, float64):
    a, b = parameters(name=name), parameters(name=name)
    mine, twin = ours(name)(a, lr=0.03), getattr(torch.optim, name)(b, lr=0.03)
    for optimizer, params in ((mine, a), (twin, b)):
        run(optimizer, params[:1], 5)
        run(optimizer, params, 5, begin=5)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", TWINS)
def test_groups_keep_their_own_hyperparameters_and_can_be_added(name, float64):
    a, b = parameters(name=name), parameters(name=name)
    pairs = []
    for cls, params in ((ours(name), a), (getattr(torch.optim, name), b)):
        optimizer = cls([{"params": params[:1], "weight_decay": 0.2}, {"params": params[1:2]}], lr=0.01)
        optimizer.add_param_group({"params": params[2:], "lr": 0.5})
        pairs.append((optimizer, params))
    for optimizer, params in pairs:
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_a_closure_runs_with_gradients_and_its_value_is_returned():
    p = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = steepest.optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    torch.testing.assert_close(p.detach(), torch.tensor([1.6]))


@pytest.mark.parametrize("name", TWINS)
def test_torch_schedulers_drive_it(name, float64):
    a, b = parameters(name=name), parameters(name=name)
    for cls, params in ((ours(name), a), (getattr(torch.optim, name), b)):
        optimizer = cls(params, lr=0.1)
        schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, 2)]
        if "betas" in optimizer.param_groups[0]:
            schedulers.append(torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10))
        for k in range(5):
            for p in params:
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(k), dtype=p.dtype)
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("arguments", [{"lr": -1.0}, {"betas": (0.9, 1.0)}, {"eps": -1.0}, {"capturable": True}])
def test_what_cannot_be_is_refused_when_the_optimizer_is_made(arguments):
    with pytest.raises(SteepestError):
        steepest.optim.Adam(parameters(), **arguments)


def test_state_bytes_count_what_is_held():
    params = [torch.nn.Parameter(torch.zeros(10, 10))]
    sizes = {}
    for name, arguments in (("SGD", {}), ("SGD", {"momentum": 0.9}), ("Adam", {}), ("Adam", {"amsgrad": True})):
        optimizer = ours(name)(params, lr=0.1, **arguments)
        params[0].grad = torch.ones(10, 10)
        optimizer.step()
        sizes[name, *arguments] = optimizer.state_bytes()
    assert sizes == {("SGD",): 0, ("SGD", "momentum"): 400, ("Adam",): 800, ("Adam", "amsgrad"): 1200}


def test_hooks_before_and_after_a_step_are_called():
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    optimizer, called = steepest.optim.Adam([p]), []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    optimizer.step()
    assert called == ["before", "after"]


def test_hooks_see_the_arguments_that_torchs_see_and_may_give_a_closure():
    ends = []
    for library in (steepest.optim, torch.optim):
        p, seen = torch.nn.Parameter(torch.ones(2)), []
        optimizer = library.SGD([p], lr=0.1)
        optimizer.register_step_post_hook(lambda _, args, kwargs, seen=seen: seen.append((len(args), sorted(kwargs))))
        optimizer.step()
        optimizer.step(lambda: 1.0)
        optimizer.register_step_pre_hook(lambda _, args, kwargs: (args, {**kwargs, "closure": lambda: 7.0}))
        ends.append((seen, optimizer.step()))
    assert ends[0] == ends[1] == ([(1, []), (2, []), (1, ["closure"])], 7.0)


def test_zero_grad_forgets_or_zeroes():
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = steepest.optim.Adam([p])
    p.grad = torch.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_momentum_that_begins_in_the_middle_of_a_run_equals_torchs(float64):
    a, b = parameters(), parameters()
    for cls, params in ((steepest.optim.SGD, a), (torch.optim.SGD, b)):
        optimizer = cls(params, lr=0.03)
        run(optimizer, params, 3)
        optimizer.param_groups[0]["momentum"] = 0.9
        run(optimizer, params, 5, begin=3)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)
