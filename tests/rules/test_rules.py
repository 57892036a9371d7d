"""Every rule against float64 NumPy written from its paper."""

import cProfile
import inspect
import itertools
import sys

import numpy as np
import pytest
import torch

from steepest import rules
from steepest.errors import SteepestError
from steepest.report.rule.card import describe
from steepest.rules import zeros
from steepest.rules.vocabulary import ema
from steepest.update.engines import plain
from steepest.update.state import initial_state
from steepest.update.step import advance
from steepest.update.torch_class.optimizer import build
from steepest.update.torch_class.signature import class_arguments
from steepest_workshop import oracles
from tests.cases import FLAGS

# Every flag of every rule, and floats off their defaults.
CHOICES = {
    "sgd": FLAGS["sgd"] | {"rate_inside": (False, True)},
    "adagrad": FLAGS["adagrad"] | {"eps_inside": (False, True)},
    "rmsprop": FLAGS["rmsprop"] | {"eps_inside": (False, True)},
    "adam": {"beta1": (0.9, 0.5), "beta2": (0.999, 0.8)} | FLAGS["adam"],
    "adamw": {"beta1": (0.9, 0.5)} | FLAGS["adamw"],
}


def step(rule, p, g, t, state, hyper):
    """One update of one tensor by the plain engine; returns the new parameter and state."""
    own = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
    work = plain.of_one(rule, p.detach().clone(), g, t, own, hyper)
    advance(work, plain.Plain())
    return work.tensors["p"][0], {k: work.tensors[k][0] if k in work.tensors else work.numbers[k] for k in state}


def combinations(name):
    """Every combination of a rule's choices that it accepts."""
    names = list(CHOICES[name])
    for values in itertools.product(*CHOICES[name].values()):
        hyper = dict(zip(names, values, strict=True))
        if not any(breaks(dict(rules.get(name).hyper) | hyper) for _, breaks in rules.get(name).refused):
            yield hyper


def inputs(steps=100):
    """A start, varying gradients and varying rates, in float64."""
    rng = np.random.default_rng(0)
    gs = [rng.standard_normal((3, 4)) * 10.0 ** rng.uniform(-2, 1) for _ in range(steps)]
    return rng.standard_normal((3, 4)), gs, list(0.05 * rng.uniform(0.1, 1, steps))


def path(name, start, gs, lrs, **hyper):
    """The oracle's result for one tensor."""
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
            p, state = step(rule, p, torch.from_numpy(g), t, state, {**settings, "lr": lr})
            np.testing.assert_allclose(p.numpy(), point, rtol=1e-12, atol=1e-12, err_msg=f"{hyper} at step {t}")


@pytest.mark.parametrize("name", [name for name, rule in rules.RULES.items() if not rule.oracle])
def test_a_step_writes_to_none_of_its_arguments(name):
    rule = rules.get(name)
    hyper = rule.settings()
    p, g = torch.randn(5), torch.randn(5)
    state = initial_state(rule, p, g, hyper)
    before = [t.clone() if isinstance(t, torch.Tensor) else t for t in (p, g, *state.values())]
    step(rule, p, g, 1, state, hyper)
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


PROBES = (-5.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1 - 1e-9, 1.0, 1.5, 2.0, 5.0, 100.0)
FLOATS = [(name, k) for name, rule in rules.RULES.items() if rule.is_ours for k, v in rule.hyper.items() if type(v) is float]
UNSTABLE = {"ns_a", "ns_b", "ns_c"}  # Muon's coefficients: torch accepts any, and most do not converge


def arguments(rule, hyper, value):
    """One hyperparameter off its default, as an argument of the class."""
    given = class_arguments({**rule.hyper, hyper: value})
    return {k: v for k, v in given.items() if v != class_arguments(dict(rule.hyper))[k]}


@pytest.mark.parametrize(("name", "hyper"), FLOATS)
def test_every_hyperparameter_has_a_domain_no_wider_than_the_twins(name, hyper):
    rule = rules.get(name)
    assert rule.domain(hyper)
    twin = getattr(torch.optim, rule.twin or "", None)
    if twin is None or not set(arguments(rule, hyper, 0.77)) <= set(inspect.signature(twin).parameters):
        return
    for value in PROBES:
        try:
            twin([torch.nn.Parameter(torch.ones(2, 2))], **arguments(rule, hyper, value))
        except ValueError:
            with pytest.raises(SteepestError, match=f"{name}: {hyper} is {value}; expected"):
                rule.settings(**{hyper: value})


@pytest.mark.parametrize(("name", "hyper"), [(name, k) for name, k in FLOATS if k not in UNSTABLE])
def test_no_value_of_a_domain_gives_nan_in_ten_ordinary_steps(name, hyper):
    taken = 0
    for value in PROBES:
        p = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64))

        def closure(p=p):
            p.grad = 0.3 * p.detach() + 0.1

        try:
            optimizer = build(rules.get(name), [p], **{hyper: value})
        except SteepestError:
            continue
        taken += 1
        for _ in range(10):
            optimizer.step(closure)
        assert not p.isnan().any(), value
    assert taken


def test_a_letter_that_nobody_knows_is_taken_as_finite_and_shown_as_unchecked():
    @rules.rule("me")
    def scaled(p, g, t, *, lr=0.1, zeta=2.0):
        return p - lr * zeta * g

    try:
        assert scaled.settings(zeta=-7.0)["zeta"] == -7.0
        with pytest.raises(SteepestError, match="zeta is inf; expected a finite number"):
            scaled.settings(zeta=float("inf"))
        shown = {h["name"]: h["domain"] for h in describe("scaled")["hyper"]}
        assert shown["zeta"] == "a finite number, unchecked: the rule gives no domain"
        assert shown["lr"] == "a finite number, 0 or more"
    finally:
        del rules.RULES["scaled"]


def test_the_later_rule_of_a_switch_keeps_its_domains():
    both = rules.switch(rules.get("adam"), rules.get("adadelta"), at=5)
    with pytest.raises(SteepestError, match=r"then_rho is 2.0; expected a number in \[0, 1\]"):
        both.settings(then_rho=2.0)


def test_profilers_may_watch_a_rule_being_written_and_stepped():
    """The interpreter has one profiler hook: tracing a rule leaves it in place, and still records the names."""
    seen = []

    def watch(frame, event, _):
        seen.append(frame.f_code.co_name)

    def use():
        @rules.rule("me")
        def watched(p, g, t, m=zeros, *, lr=0.1):
            m = ema(m, g, 0.5)
            step = lr * m
            return p - step, m

        del rules.RULES["watched"]
        p = torch.nn.Parameter(torch.ones(2))
        p.grad = torch.ones(2)
        build(watched, [p]).step()
        return watched

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        made = use()
        assert sys.getprofile() is watch
    finally:
        sys.setprofile(before)
    assert "watched" in seen
    assert {"m", "step"} <= set(made.graph(made.settings()).names)
    profile = cProfile.Profile()
    profile.runcall(use)
    assert any("watched" in str(entry.code) for entry in profile.getstats())
    with torch.profiler.profile(with_stack=True, activities=[torch.profiler.ProfilerActivity.CPU]):
        use()
