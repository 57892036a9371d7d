"""`box` and `ball`: constraints on the parameters."""

import numpy as np
import pytest

from steepest import rules, surfaces
from steepest.errors import SteepestError
from steepest.paths.loop import formula_of, trajectory
from steepest.rules import RULES, ball, box, get

VIEWLESS = [name for name, rule in RULES.items() if rule.is_ours and not rule.view and not rule.oracle]


@pytest.mark.parametrize("name", VIEWLESS)
def test_the_path_of_every_rule_stays_in_the_box(name):
    surface = surfaces.get("rosenbrock")
    points = trajectory(box(get(name), -1.5, 0.3), formula_of(surface), (-1.2, 0.2), 200, lr=0.05)[0]
    assert points[1:].min() >= -1.5
    assert points[1:].max() <= 0.3


@pytest.mark.parametrize("name", ["gd", "momentum", "adam"])
def test_it_ends_at_the_least_point_of_the_constraint(name):
    formula = formula_of(surfaces.get("(x-3)**2 + (y-4)**2"))
    boxed = trajectory(box(get(name), -1.0, 2.0), formula, (0.0, 0.0), 2000, lr=0.01)[0][-1]
    assert np.allclose(boxed, (2.0, 2.0))
    if name != "adam":  # whose metric is another than the ball's
        assert np.allclose(trajectory(ball(get(name), 1.0), formula, (0.0, 0.0), 2000, lr=0.01)[0][-1], (0.6, 0.8))


def test_a_constraint_that_binds_nowhere_changes_nothing():
    formula, start = formula_of(surfaces.get("beale")), (1.0, 1.5)
    free = trajectory(get("adam"), formula, start, 100, lr=0.01)[0]
    assert np.array_equal(free, trajectory(box(get("adam"), -100, 100), formula, start, 100, lr=0.01)[0])
    assert np.allclose(free, trajectory(ball(get("adam"), 100), formula, start, 100, lr=0.01)[0], rtol=1e-12)


def test_the_model_lies_in_one_ball_not_each_tensor():
    import torch

    from steepest import optim

    weights = [torch.full((3,), 2.0, requires_grad=True), torch.full((4,), -2.0, requires_grad=True)]
    optimizer = optim.from_rule(ball(get("sgd"), 1.5))(weights, lr=0.1)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.linalg.vector_norm(torch.cat([w.detach().flatten() for w in weights])) == pytest.approx(1.5)


def test_an_empty_box_and_averages_are_refused():
    with pytest.raises(SteepestError, match="the box is empty; low must not exceed high"):
        box(get("adam"), 1, -1)
    with pytest.raises(SteepestError, match="low must not exceed high"):
        trajectory(box(get("adam")), formula_of(surfaces.get("bowl")), (0.0, 0.0), 3, lr=0.1, low=2.0)
    with pytest.raises(SteepestError, match="schedule_free_sgd evaluates averages of p"):
        rules.ball(get("schedule_free_sgd"))
    with pytest.raises(SteepestError, match="twice"):
        box(box(get("adam")))
