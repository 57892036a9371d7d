"""Every engine of every rule against the NumPy oracle of its paper: changing gradients and rates, groups that differ."""

import numpy as np
import oracles
import pytest
import torch

from steepest import rules
from steepest.engines import kernels, plain
from steepest.engines.kernels import Kernel
from steepest.engines.plain import Item, Plain

STEPS = 100
# For each rule two choices of hyperparameters, for two groups of one model.
CASES = {
    "sgd": [{}, {"weight_decay": 0.05}],
    "momentum": [{"dampening": 0.3}, {"momentum": 0.7, "weight_decay": 0.05, "rate_inside": True}],
    "nesterov": [{}, {"momentum": 0.5}],
    "adagrad": [{"lr_decay": 0.1}, {"initial_accumulator_value": 0.2, "eps": 1e-3, "eps_inside": True}],
    "rmsprop": [{"momentum": 0.8}, {"centered": True, "alpha": 0.6, "eps": 1e-3}],
    "adam": [{"amsgrad": True}, {"beta1": 0.5, "beta2": 0.8, "eps": 1e-3, "weight_decay": 0.05}],
    "adamw": [{}, {"weight_decay": 0.3, "beta2": 0.9}],
    "rprop": [{}, {"etaminus": 0.3, "etaplus": 1.5, "step_max": 0.2, "step_min": 1e-3}],
    "asgd": [{}, {"lambd": 0.01, "alpha": 0.5, "t0": 10.0, "weight_decay": 0.05}],
    "nadam": [{}, {"beta1": 0.5, "momentum_decay": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True}],
    "radam": [{"beta2": 0.9}, {"beta2": 0.99, "weight_decay": 0.05}],
    "madgrad": [{}, {"momentum": 0.5, "eps": 1e-3, "weight_decay": 0.01}],
    "lamb": [{"weight_decay": 0.1}, {"beta1": 0.5, "eps": 1e-3}],
    "adai": [{}, {"beta0": 0.3, "beta2": 0.9, "weight_decay": 0.02}],
    "schedule_free_adamw": [{"warmup_steps": 10.0, "weight_decay": 0.05}, {"beta1": 0.6, "r": 1.0, "weight_lr_power": 1.0}],
    "sam": [{"rho": 0.2}, {"momentum": 0.5, "rho": 0.01, "weight_decay": 0.05}],
}
SHAPES = ((3, 4), (5,), ())
GROUP = (0, 1, 1)
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}


def oracle_of(name):
    """The oracle and the hyperparameters by which a preset differs from it."""
    if hasattr(oracles, name):
        return getattr(oracles, name), {}
    base = rules.get(name).base
    changed = {k: v for k, v in rules.get(name).hyper.items() if v != base.hyper[k] and k != "lr"}
    return getattr(oracles, base.name), changed


def workload(seed=0):
    """Starts, `grad(k, tensors)` and rates, float64. Gradients change with the step and depend on where they are taken."""
    rng = np.random.default_rng(seed)
    starts = [rng.standard_normal(shape) for shape in SHAPES]
    noise = [[rng.standard_normal(shape) * 10.0 ** rng.uniform(-1.5, 0.5) for shape in SHAPES] for _ in range(STEPS)]
    rates = list(0.02 * rng.uniform(0.2, 1, STEPS))

    def grad(k, tensors):
        return [np.asarray(n + 0.3 * p) for n, p in zip(noise[k], tensors, strict=True)]

    return starts, grad, rates


def expected(name, seed=0):
    starts, grad, rates = workload(seed)
    oracle, changed = oracle_of(name)
    return oracle(starts, grad, rates, [changed | CASES[name][g] for g in GROUP])


def run(name, engine, dtype, seed=0, gradients_at=None):
    """The path of an engine on the workload; `gradients_at` are the oracle's points, where float32 takes its gradients too."""
    rule = rules.get(name)
    starts, grad, rates = workload(seed)
    settings = [rule.settings(**CASES[name][g]) for g in GROUP]
    ps = [torch.tensor(p, dtype=dtype) for p in starts]
    states, path = [None] * len(ps), []
    for k, lr in enumerate(rates):
        here = [p.double().numpy() for p in ps] if gradients_at is None or k == 0 else gradients_at[k - 1]
        gs = [torch.tensor(g, dtype=dtype) for g in grad(k, here)]
        hypers = [{**h, "lr": lr} for h in settings]
        if k == 0:
            states = [plain.initial_state(rule, p, g, h) for p, g, h in zip(ps, gs, hypers, strict=True)]
        items = [Item(p, g, k + 1, s, h) for p, g, s, h in zip(ps, gs, states, hypers, strict=True)]

        def ask(items, k=k):
            return [torch.tensor(g, dtype=dtype) for g in grad(k, [i.p.double().numpy() for i in items])]

        if rule.reach == "model":
            merged = {key: max(h[key] for h in hypers) for key in hypers[0]}
            plain.advance(rule.graph(merged), items, engine, ask)
        else:
            for item in items:
                plain.advance(rule.graph(item.hyper), [item], engine, ask)
        path.append([p.double().numpy().copy() for p in ps])
    return path


def test_every_rule_has_a_case():
    assert set(CASES) == set(rules.RULES)


@pytest.mark.parametrize("name", CASES)
def test_plain_equals_the_oracle_to_1e_12(name):
    for k, (ours, theirs) in enumerate(zip(run(name, Plain(), torch.float64), expected(name), strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=f"step {k + 1}")


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_equals_the_oracle(name, dtype):
    path = expected(name)
    ours = run(name, Kernel(), dtype, gradients_at=path if dtype == torch.float32 else None)
    for k, (a, b) in enumerate(zip(ours, path, strict=True)):
        scale = max(np.abs(x).max() for x in b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, err_msg=f"step {k + 1}")


@pytest.mark.parametrize("size", [1, 7, kernels.ALONE - 1, kernels.ALONE, kernels.CHUNK + 1, 3 * kernels.CHUNK + 5])
@pytest.mark.parametrize("name", ["adam", "lamb", "adai"])
def test_the_kernel_equals_plain_at_sizes_around_its_thresholds(name, size):
    rule = rules.get(name)
    hyper = rule.settings()
    generator = torch.Generator().manual_seed(size)
    p, g = (torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(2))
    pairs = []
    for engine in (Plain(), Kernel()):
        items = [Item(q.clone(), h, 1, plain.initial_state(rule, q, h, hyper), hyper) for q, h in ((p, g), (p[:1], g[:1]))]
        for t in (1, 2):
            for item in items:
                item.t = t
            plain.advance(rule.graph(hyper), items, engine)
        pairs.append([i.p for i in items] + [v for i in items for v in i.state.values()])
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
