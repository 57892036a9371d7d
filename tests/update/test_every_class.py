"""Requirements on every class, for each rule in the registry and each composed one; new rules are included automatically."""

import copy
import io
import pickle

import pytest
import torch

from steepest import rules
from steepest.errors import SteepestError
from steepest.update.engines.plain import Plain
from steepest.update.many import ManyRuns
from steepest.update.torch_class.optimizer import build as build_optimizer
from tests.cases import COMPOSED

ALL = {name: rule for name, rule in rules.RULES.items() if rule.is_ours} | {k: v[0] for k, v in COMPOSED.items()}
FREE = [name for name, rule in ALL.items() if not rule.oracle]  # need no closure
SHAPES = ((6, 4), (5,), (), (0,), (3, 2, 2))


def parameters(dtype=torch.float32, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)) for s in shapes]


def build(name, params, **hyper):
    optimizer = build_optimizer(ALL[name], params, **hyper)
    for group in optimizer.param_groups:
        group["lr"] = 0.02
    return optimizer


def closure_of(params, k, where=None):
    """The loss of step k: its gradient depends on the step and on the parameters."""

    def closure():
        generator = torch.Generator().manual_seed(1000 + k)
        loss = 0.0
        for i, p in enumerate(params):
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
            p.grad = None
            if where is None or where(i):
                loss = loss + (p * noise * (1 + k % 3)).sum() + 0.15 * (p * p).sum()
        loss.backward()
        return loss

    return closure


def run(optimizer, params, steps, begin=0, where=None):
    for k in range(begin, begin + steps):
        optimizer.step(closure_of(params, k, where))


def plain(optimizer, monkeypatch):
    """The same optimizer on torch operations."""
    monkeypatch.setattr("steepest.update.engines.kernel.shared_dtypes", lambda tensors: None)
    return optimizer


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_class_equals_plain(name, dtype, monkeypatch):
    """Two groups of different hyperparameters; 0-dim, empty and three-dimensional tensors; bfloat16 within its last bits."""
    ends = []
    for slow in (False, True):
        params = parameters(dtype)
        groups = [{"params": params[:2]}, {"params": params[2:], "weight_decay": 0.03}]
        optimizer = build(name, groups if "weight_decay" in ALL[name].hyper else params)
        if slow:
            plain(optimizer, monkeypatch)
        run(optimizer, params, 12)
        ends.append([p.detach().double() for p in params])
        assert slow == (optimizer.engine == "plain")
    tolerance = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 0.05}[dtype]
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["strided", "channels last", "transposed"])
def test_layouts_do_not_matter(name, kind):
    make = {
        "strided": lambda x: torch.empty(8, 6, 4, 10)[:, :, :, ::2].copy_(x),
        "channels last": lambda x: x.to(memory_format=torch.channels_last),
        "transposed": lambda x: x.transpose(0, 3).contiguous().transpose(0, 3),
    }[kind]
    values = torch.randn(8, 6, 4, 5)
    ends = []
    for change in (lambda x: x.clone(), make):
        p = torch.nn.Parameter(change(values))
        optimizer = build(name, [p])
        run(optimizer, [p], 5)
        ends.append(p.detach())
    dense = kind != "strided" and ALL[name].graph(ALL[name].settings(), shape=(2, 2, 2, 2)).elementwise
    assert optimizer.engine == ("kernel" if dense else "plain")
    torch.testing.assert_close(*ends, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", FREE)
def test_gradients_and_arguments_stay_as_they_are(name):
    params = parameters()
    run(build(name, params), params, 1)
    optimizer = build(name, params)
    before = [(p.grad, p.grad.clone()) for p in params]
    versions = [p._version for p in params]
    optimizer.step()
    for p, (same, kept), version in zip(params, before, versions, strict=True):
        assert p.grad is same
        assert torch.equal(same, kept)
        assert p._version > version  # autograd must detect that p has changed


@pytest.mark.parametrize("name", ALL)
def test_maximize_is_descent_of_the_negative(name):
    ends = []
    for sign in (1, -1):
        params = parameters()
        optimizer = build(name, params)
        optimizer.param_groups[0]["maximize"] = sign < 0
        for k in range(6):

            def closure(k=k, params=params, sign=sign):
                closure_of(params, k)()
                for p in params:
                    p.grad = p.grad * sign
                return torch.tensor(0.0)

            optimizer.step(closure)
        ends.append([p.detach() for p in params])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_a_parameter_unfrozen_late_begins_then_and_one_without_gradient_stays(name):
    """The late parameter moves as if its own optimizer had started with its gradients, unless the rule looks beyond it."""
    params = parameters()
    optimizer = build(name, params)
    still = params[0].detach().clone()
    run(optimizer, params, 3, where=lambda i: i > 0)
    assert torch.equal(params[0], still)
    assert params[0] not in optimizer.state
    run(optimizer, params, 3, begin=3)
    assert not torch.equal(params[0], still)
    if ALL[name].reach != "model" and not any(kind.per_group for kind in ALL[name].state.values()):
        alone = parameters()
        other = build(name, alone[:1])
        run(other, alone, 3, begin=3)
        torch.testing.assert_close(alone[0], params[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("way", ["torch.save", "pickle", "deepcopy"])
def test_what_is_saved_mid_run_continues_bit_for_bit(name, way):
    a = parameters()
    optimizer = build(name, a)
    run(optimizer, a, 7)
    if way == "torch.save":
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        b = [torch.nn.Parameter(p.detach().clone()) for p in a]
        again = build(name, b)
        again.load_state_dict(torch.load(file, weights_only=True))
    else:
        again = copy.deepcopy(optimizer) if way == "deepcopy" or "(" in name else pickle.loads(pickle.dumps(optimizer))
        b = again.param_groups[0]["params"]
    run(optimizer, a, 5, begin=7)
    run(again, b, 5, begin=7)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", ALL)
def test_tied_parameters_are_updated_once(name):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    optimizer = build(name, list(model.parameters()))
    run(optimizer, list(model.parameters()), 2)
    assert len(optimizer.state) <= 1
    assert model[1].weight is model[0].weight


FLOATS = [(name, k) for name, rule in ALL.items() for k, v in rule.hyper.items() if type(v) is float]


@pytest.mark.parametrize(("name", "hyper"), FLOATS)
def test_a_hyperparameter_outside_its_domain_is_refused_with_the_domain(name, hyper):
    domain = ALL[name].domain(hyper).words
    with pytest.raises(SteepestError, match=f"{hyper} is nan; expected ") as caught:
        build_optimizer(ALL[name], parameters(), **{hyper: float("nan")})
    assert domain in str(caught.value)


SCHEDULERS = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "LambdaLR": {"lr_lambda": lambda k: 0.9**k},
    "MultiplicativeLR": {"lr_lambda": lambda k: 0.9},
    "ConstantLR": {},
    "LinearLR": {},
    "PolynomialLR": {},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 6},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2},
    "ReduceLROnPlateau": {"patience": 0},
}


@pytest.mark.parametrize("name", FREE)
def test_every_scheduler_of_torch_drives_it(name):
    for scheduler, arguments in SCHEDULERS.items():
        params = parameters(shapes=((3, 2),))
        optimizer = build(name, params)
        if scheduler in ("OneCycleLR", "CyclicLR"):
            group = optimizer.defaults
            arguments = {**arguments, "cycle_momentum": "momentum" in group or "betas" in group}
        driven = getattr(torch.optim.lr_scheduler, scheduler)(optimizer, **arguments)
        for k in range(5):
            optimizer.step(closure_of(params, k))
            driven.step(*[1.0] if scheduler == "ReduceLROnPlateau" else [])
        assert torch.isfinite(params[0]).all(), scheduler


@pytest.mark.parametrize("name", FREE)
def test_a_gradient_scaler_steps_it(name):
    params = parameters(shapes=((3, 2),))
    twin = [torch.nn.Parameter(p.detach().clone()) for p in params]
    optimizer, other = build(name, params), build(name, twin)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for k in range(4):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(k)
        noise = torch.randn(3, 2, generator=generator)
        scaler.scale((params[0] * noise).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        twin[0].grad = noise
        other.step()
    torch.testing.assert_close(params[0], twin[0])


def test_noise_is_the_same_in_every_engine_and_differs_between_seeds(monkeypatch):
    rule = rules.noisy(rules.get("momentum"), noise=0.3, sign_noise=0.2)
    ends = {}
    for label, seed in (("kernel", 5), ("plain", 5), ("other", 6)):
        params = parameters()
        optimizer = build_optimizer(rule, params, seed=seed, lr=0.1)
        if label == "plain":
            plain(optimizer, monkeypatch)
        for _ in range(4):
            for p in params:
                p.grad = torch.zeros_like(p)
            optimizer.step()
        monkeypatch.undo()
        ends[label] = [p.detach() for p in params]
    stacked = [torch.stack([p.detach()] * 2) for p in parameters()]
    many = ManyRuns(rule, stacked, [{"lr": 0.1}] * 2, keys=[6, 5])
    for _ in range(4):
        many.step([torch.zeros_like(p) for p in stacked])
    ends["many"] = [p[1] for p in stacked]
    for other in ("plain", "many"):
        for a, b in zip(ends["kernel"], ends[other], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert not torch.equal(ends["kernel"][0], ends["other"][0])
    moved = torch.cat([(a - b).flatten() for a, b in zip(ends["kernel"], parameters(), strict=True)])
    assert moved.abs().max() > 0


def test_the_noise_has_the_moments_it_should():
    x = torch.zeros(200_000)
    for rule, sd in ((rules.noisy(rules.get("gd"), noise=0.5), 0.5), (rules.noisy(rules.get("gd"), sign_noise=0.5), 0.5)):
        p = torch.nn.Parameter(x.clone())
        p.grad = torch.zeros_like(x)
        build_optimizer(rule, [p], lr=1.0).step()
        drawn = p.detach().double()
        assert abs(drawn.mean().item()) < 5 * sd / 200_000**0.5
        assert abs(drawn.std().item() - sd) < 0.01
    assert set(drawn.unique().tolist()) == {-0.5, 0.5}


def test_the_same_combinator_twice_and_sam_around_sam_are_refused():
    with pytest.raises(SteepestError, match="cannot be applied twice"):
        rules.clip_by_norm(rules.clip_by_norm(rules.get("adam")))
    with pytest.raises(SteepestError, match="evaluates gradients itself"):
        rules.sam(rules.get("sam"))


def test_adan_restarts_when_it_has_moved_far():
    """With a small radius the restart happens, and agrees with the oracle, which restarts by the paper's condition."""
    import numpy as np

    from steepest_workshop import oracles

    rng = np.random.default_rng(1)
    start, gs = rng.standard_normal(6), rng.standard_normal((40, 6))
    hyper = {"paper_start": True, "restart": 0.4, "beta1": 0.7, "beta2": 0.8, "beta3": 0.9}
    expected = oracles.adan([start], lambda k, ps: [gs[k]], [0.02] * 40, [hyper])
    never = oracles.adan([start], lambda k, ps: [gs[k]], [0.02] * 40, [hyper | {"restart": 0.0}])
    assert np.abs(expected[-1][0] - never[-1][0]).max() > 1e-3
    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = build_optimizer(rules.get("adan"), [p], lr=0.02, **hyper)
    for k in range(40):
        p.grad = torch.from_numpy(gs[k])
        optimizer.step()
        np.testing.assert_allclose(p.detach().numpy(), expected[k][0], rtol=1e-11, atol=1e-11)


def test_plain_serves_what_a_kernel_cannot():
    assert Plain.name == "plain"
    p = torch.nn.Parameter(torch.ones(4, dtype=torch.float16))
    p.grad = torch.ones_like(p)
    optimizer = build("adam", [p])
    optimizer.step()
    assert optimizer.engine == "plain"


@pytest.mark.parametrize("name", [name for name, rule in rules.RULES.items() if rule.is_ours])
def test_a_step_without_gradient_at_rate_zero_moves_nothing(name):
    """torch.distributed.checkpoint initialises an optimizer's state in this way before it loads one."""
    params = [p.detach().double().requires_grad_() for p in parameters()]
    before = [p.detach().clone() for p in params]
    optimizer = build_optimizer(rules.get(name), params, lr=0.02)
    optimizer.param_groups[0]["lr"] = 0.0
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p, was in zip(params, before, strict=True):
        torch.testing.assert_close(p.detach(), was, rtol=1e-15, atol=1e-15)  # one rounding, of averages that stay constant
        assert all(torch.isfinite(torch.as_tensor(x)).all() for x in optimizer.state[p].values())
