"""Every rule against float64 NumPy written from its paper."""

import itertools

import numpy as np
import oracles
import pytest
import torch

from steepest import rules
from steepest.engines import plain
from steepest.engines.work import initial_state
from steepest.errors import SteepestError

# Every flag of every rule, and floats that leave their defaults.
CHOICES = {
    "sgd": {
        "momentum": (0.0, 0.9),
        "dampening": (0.0, 0.3),
        "nesterov": (False, True),
        "weight_decay": (0.0, 0.05),
        "rate_inside": (False, True),
    },
    "adagrad": {
        "lr_decay": (0.0, 0.1),
        "weight_decay": (0.0, 0.05),
        "initial_accumulator_value": (0.0, 0.2),
        "eps": (1e-10, 1e-3),
        "eps_inside": (False, True),
    },
    "rmsprop": {
        "alpha": (0.99, 0.6),
        "eps": (1e-8, 1e-3),
        "weight_decay": (0.0, 0.05),
        "momentum": (0.0, 0.8),
        "centered": (False, True),
        "eps_inside": (False, True),
    },
    "adam": {
        "beta1": (0.9, 0.5),
        "beta2": (0.999, 0.8),
        "eps": (1e-8, 1e-3),
        "weight_decay": (0.0, 0.05),
        "amsgrad": (False, True),
        "decoupled_weight_decay": (False, True),
    },
    "adamw": {"beta1": (0.9, 0.5), "eps": (1e-8, 1e-3), "weight_decay": (1e-2, 0.3), "amsgrad": (False, True)},
}


def combinations(name):
    """Every combination of a rule's choices that the rule does not refuse."""
    names = list(CHOICES[name])
    for values in itertools.product(*CHOICES[name].values()):
        hyper = dict(zip(names, values, strict=True))
        if not any(breaks(dict(rules.get(name).hyper) | hyper) for _, breaks in rules.get(name).refused):
            yield hyper


def inputs(steps=100):
    """A start, changing gradients and changing rates, all float64."""
    rng = np.random.default_rng(0)
    gs = [rng.standard_normal((3, 4)) * 10.0 ** rng.uniform(-2, 1) for _ in range(steps)]
    return rng.standard_normal((3, 4)), gs, list(0.05 * rng.uniform(0.1, 1, steps))


def path(name, start, gs, lrs, **hyper):
    """What the oracle says of one tensor."""
    return [ps[0] for ps in getattr(oracles, name)([start], lambda k, ps: [gs[k]], lrs, [hyper])]


@pytest.mark.parametrize("name", CHOICES)
def test_plain_step_equals_the_oracle_to_1e_12_at_every_choice(name):
    start, gs, lrs = inputs()
    for hyper in combinations(name):
        rule = rules.get(name)
        settings = rule.settings(**hyper)
        p = torch.from_numpy(start)
        state = initial_state(rule, p, p, settings)
        expected = path(name, start, gs, lrs, **hyper)
        for t, (g, lr, point) in enumerate(zip(gs, lrs, expected, strict=True), start=1):
            p, state = plain.step(rule, p, torch.from_numpy(g), t, state, {**settings, "lr": lr})
            np.testing.assert_allclose(p.numpy(), point, rtol=1e-12, atol=1e-12, err_msg=f"{hyper} at step {t}")


@pytest.mark.parametrize("name", [name for name, rule in rules.RULES.items() if not rule.oracle])
def test_a_step_writes_to_none_of_its_arguments(name):
    rule = rules.get(name)
    hyper = rule.settings()
    p, g = torch.randn(5), torch.randn(5)
    state = initial_state(rule, p, g, hyper)
    before = [t.clone() if isinstance(t, torch.Tensor) else t for t in (p, g, *state.values())]
    plain.step(rule, p, g, 1, state, hyper)
    after = (p, g, *state.values())
    assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(before, after, strict=True))


def test_momentum_with_the_rate_inside_is_the_other_form_only_at_a_changing_rate():
    start, gs, lrs = inputs(20)
    inside, outside = (path("sgd", start, gs, [0.1] * 20, momentum=0.9, rate_inside=r)[-1] for r in (True, False))
    np.testing.assert_allclose(inside, outside, rtol=1e-12)
    inside, outside = (path("sgd", start, gs, lrs, momentum=0.9, rate_inside=r)[-1] for r in (True, False))
    assert np.abs(inside - outside).max() > 1e-3


def test_presets_are_their_rule_at_other_defaults():
    assert rules.get("momentum").settings() == rules.get("sgd").settings(momentum=0.9)
    assert rules.get("nesterov").settings() == rules.get("sgd").settings(momentum=0.9, nesterov=True)
    assert rules.get("adamw").settings() == rules.get("adam").settings(weight_decay=1e-2, decoupled_weight_decay=True)


def test_state_exists_only_where_it_is_used():
    def letters(name, **hyper):
        return set(rules.get(name).live_state(rules.get(name).settings(**hyper)))

    assert letters("sgd") == set()
    assert letters("momentum") == {"b"}
    assert letters("rmsprop") == {"v"}
    assert letters("rmsprop", centered=True, momentum=0.9) == {"v", "m", "b"}
    assert letters("adam") == {"m", "v"}
    assert letters("adam", amsgrad=True) == {"m", "v", "u"}


@pytest.mark.parametrize(
    ("name", "hyper", "words"),
    [
        ("adam", {"lr": -1.0}, "0 or more"),
        ("adam", {"lr": float("nan")}, "0 or more"),
        ("adam", {"beta1": 1.0}, r"\[0, 1\)"),
        ("adam", {"eps": -1e-8}, "0 or more"),
        ("adam", {"beta3": 0.5}, "Unknown hyperparameter of adam 'beta3'; did you mean 'beta"),
        ("sgd", {"momentum": -0.1}, "0 or more"),
        ("sgd", {"nesterov": True}, "nesterov needs momentum"),
        ("sgd", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov needs momentum"),
    ],
)
def test_a_hyperparameter_outside_its_domain_is_refused_with_the_domain(name, hyper, words):
    with pytest.raises(SteepestError, match=words):
        rules.get(name).settings(**hyper)


def test_digest_follows_the_syntax_tree_and_nothing_else():
    def digest(source, tmp):
        path = tmp / "module.py"
        path.write_text(source)
        namespace = {}
        exec(compile(source, str(path), "exec"), namespace)
        import linecache

        linecache.checkcache(str(path))
        return rules.rule.__globals__["_digest"](namespace["f"])

    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tmp = pathlib.Path(folder)
        first = digest("def f(p, g, t, *, lr=1.0):\n    return p - lr * g\n", tmp)
        assert digest("def f(p, g, t, *, lr=1.0):  # why\n\n    return p - lr * g\n", tmp) == first
        assert digest("def f(p, g, t, *, lr=1.0):\n    return p + lr * g\n", tmp) != first
