"""Paths on surfaces, against plain loops and the known behaviour of each optimizer."""

import numpy as np
import pytest
import torch
from torch import nn

import steepest
from steepest import rules, surfaces
from steepest.paths.loop import formula_of, trajectory
from tests.cases import SURFACES


@pytest.mark.parametrize("name", [*SURFACES, "x**2 + 3*sin(y)**2", "abs(x) + tanh(y)*log(x**2 + 1)", "x**-2 + sqrt(x**2 + 1)"])
def test_compiled_paths_equal_a_plain_loop(name):
    surface = surfaces.get(name)
    given = {"sgd": (torch.optim.SGD, {}), "adam": (torch.optim.Adam, {}), "rmsprop": (torch.optim.RMSprop, {})}
    for rule, (kind, more) in given.items():
        points, values = trajectory(rules.get(rule), formula_of(surface), surface.start, 60, lr=1e-3)
        p = nn.Parameter(torch.tensor(surface.start, dtype=torch.float64))
        own = kind([p], lr=1e-3, **more)
        for k in range(60):
            np.testing.assert_allclose(points[k], p.detach().numpy(), rtol=1e-10, atol=1e-10)
            p.grad = torch.from_numpy(surface.gradient(p.detach().numpy()))
            own.step()
        np.testing.assert_allclose(values, surface.value(points), rtol=1e-12, atol=1e-12)


def test_ackleys_tip_stays_where_it_is():
    for name in ("gd", "adam"):
        points, _ = trajectory(rules.get(name), formula_of(surfaces.get("ackley")), (0.0, 0.0), 5, lr=0.1)
        assert not points.any()


def leaving(found):
    return {path.name: path.leaves(found.surface.domain) for path in found.paths}


def test_the_saddle_is_left_last_by_sgd_and_first_by_rmsprop_and_adam():
    """From (1, 0.001) with rate 0.02, 0.05 for Adagrad and Adam, 0.5 for Adadelta, 200 gradients each."""
    names = "sgd,momentum,nesterov,adagrad,adadelta,rmsprop,adam"
    left = leaving(steepest.trajectory("saddle", names, (1, 1e-3), 200))
    assert None not in left.values()
    assert max(left, key=left.get) == "sgd"
    assert set(sorted(left, key=left.get)[:2]) == {"rmsprop", "adam"}
    lingering = {
        p.name: int((np.abs(p.values) < 0.05).sum()) for p in steepest.trajectory("saddle", names, (1, 1e-3), 200).paths
    }
    assert max(lingering, key=lingering.get) == "sgd"


def test_from_the_ridge_of_the_saddle_nobody_leaves():
    found = steepest.trajectory("saddle", ",".join(n for n in rules.RULES if n != "muon"), (1, 0), 200, lrs=0.01)
    for path in found.paths:
        assert not path.points[:, 1].any(), path.name


def test_momentum_overshoots_in_the_valley_and_sgd_does_not():
    found = steepest.trajectory("valley", "sgd,momentum", None, 200, lrs=0.02)
    sgd, momentum = (path.points[:, 0] for path in found.paths)
    assert sgd.max() < 0  # comes from the left, and stays there
    assert momentum.max() > 1
    assert np.abs(momentum[-20:]).max() < 0.1  # and converges


def test_noise_is_seeded_and_shared_and_rates_may_be_tuned():
    one, again, other = (steepest.trajectory("bowl", "sgd,adam", steps=50, lrs=0.1, noise=0.3, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.paths[0].points, again.paths[0].points)
    assert not np.array_equal(one.paths[0].points, other.paths[0].points)
    clean = steepest.trajectory("bowl", "sgd", steps=50, lrs=0.1).paths[0]
    shaken = 0.3 * np.random.RandomState(1).standard_normal((50, 2))
    p = np.array(clean.points[0])
    for k in range(50):
        p = p - 0.1 * (2 * p + shaken[k])
    np.testing.assert_allclose(one.paths[0].points[-1], p, rtol=1e-12)
    tuned = steepest.trajectory("rosenbrock", "sgd,adam", steps=200, lrs="auto")
    assert all(path.tuned and path.leaves(tuned.surface.domain) is None for path in tuned.paths)
    for path in tuned.paths:
        for lr in (path.lr / 2.2, path.lr * 2.2):
            worse = steepest.trajectory("rosenbrock", path.name, steps=200, lrs=lr).paths[0]
            assert worse.leaves(tuned.surface.domain) is not None or worse.values[-1] >= path.values[-1] * 0.9


def test_equal_work_halves_the_steps_of_a_rule_with_two_gradients():
    found = steepest.trajectory("bowl", "sgd,sam", steps=100, lrs=0.01)
    assert [len(path.points) for path in found.paths] == [101, 51]


def test_insides_are_those_of_a_plain_loop():
    path = steepest.trajectory("rosenbrock", "adam", steps=40, lrs=0.05).paths[0]
    m, v = np.zeros(2), np.zeros(2)
    for k in range(40):
        g = surfaces.get("rosenbrock").gradient(path.points[k])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        for name, value in {
            "g": g,
            "m": m,
            "v": v,
            "m_hat": m / (1 - 0.9 ** (k + 1)),
            "v_hat": v / (1 - 0.999 ** (k + 1)),
        }.items():
            np.testing.assert_allclose(path.insides[name][k], value, rtol=1e-10)


def test_a_path_that_diverges_says_at_which_step():
    found = steepest.trajectory("rosenbrock", "sgd", steps=50, lrs=1.0).paths[0]
    assert found.diverged_at is not None
    assert np.isfinite(found.values[: found.diverged_at]).all()
    assert np.isnan(found.values[found.diverged_at :]).all()
