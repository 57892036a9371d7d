"""A recorded run equals the unrecorded run; the losses and shares of a plane equal a slow sum."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from steepest import problems, rules, schedules
from steepest.training.probe import plane, probe
from steepest.training.single import train
from steepest.training.stacked import Run


@pytest.fixture(scope="module")
def digits():
    return problems.get("digits")


@pytest.fixture(scope="module")
def seen(digits):
    runs = [Run(rules.get(name), lr, 0, 60, schedules.get("cosine")) for name, lr in (("adam", 0.01), ("momentum", 0.1))]
    return runs, [probe(digits, run, slice(0, 4)) for run in runs]


@pytest.mark.parametrize("which", [0, 1])
def test_a_watched_run_ends_where_an_unwatched_one_does(digits, seen, which):
    runs, watched = seen
    run, (found, model) = runs[which], watched[which]
    alone = train(digits, run.rule, lr=run.lr, steps=60, seed=0, schedule=run.schedule)
    assert digits.evaluate(model, digits.valid)[0] == pytest.approx(alone.loss, rel=1e-6)
    assert found.steps == alone.curve.steps[1:]
    assert len(found.weights) == len(found.steps) + 1
    assert [len(classes) for classes in found.outputs] == [4] * len(found.steps)


def test_what_is_seen_of_a_step_is_what_the_rule_says(digits):
    found, _ = probe(digits, Run(rules.get("sgd"), 0.1, 0, 20))
    np.testing.assert_allclose(found.effective, 0.1, rtol=1e-5)  # plain descent moves by rate times gradient
    np.testing.assert_allclose(found.cosine, 1.0, rtol=1e-5)
    assert found.state == {}
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    start = torch.cat([p.detach().reshape(-1).double() for p in model.parameters()])
    assert torch.equal(found.weights[0], start)
    ratio = float((found.weights[1] - found.weights[0]).norm() / found.weights[0].norm())
    assert found.ratio[0] == pytest.approx(ratio, rel=1e-6)
    adam, _ = probe(digits, Run(rules.get("adam"), 0.01, 0, 20))
    assert set(adam.state) == {"m", "v"}
    assert adam.state["m"][0] == pytest.approx(0.1 * adam.gradient[0] / len(start) ** 0.5, rel=1e-4)  # m = (1 - beta1) g


def test_a_plane_holds_the_losses_of_its_corners_and_the_share_of_motion(digits, seen):
    _, watched = seen
    paths, model = [one.weights for one, _ in watched], watched[0][1]
    before = [p.detach().clone() for p in model.parameters()]
    drawn = plane(digits, model, paths)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    for path, points in zip(paths, drawn.paths, strict=True):
        np.testing.assert_allclose(points[0], 0, atol=1e-9)
        assert np.linalg.norm(points[-1]) == pytest.approx(float((path[-1] - path[0]).norm()))
    ends = [path[-1] - paths[0][0] for path in paths]
    for weights, points, share in zip(paths, drawn.paths, drawn.shown, strict=True):
        basis = torch.linalg.qr(torch.stack(ends).T).Q
        steps = [b - a for a, b in itertools.pairwise(weights)]
        inside = sum(float((basis.T @ step).square().sum()) for step in steps)
        assert share == pytest.approx(inside / sum(float(step.square().sum()) for step in steps))
        assert 0 < share < 1
        assert len(points) == len(weights)
    j, i = abs(drawn.x - drawn.paths[0][-1][0]).argmin(), abs(drawn.y).argmin()
    batch = digits.train.batch(slice(0, 512))
    end = float(digits.batch_loss(model.eval(), batch).detach())
    assert drawn.losses[i, j] == pytest.approx(end, abs=0.05)
    assert drawn.losses.shape == (25, 25)
    assert not drawn.apart[0][0]
    assert not drawn.apart[0][-1]


def test_paths_on_one_line_get_a_second_direction(digits, seen):
    _, watched = seen
    path = watched[0][0].weights
    drawn = plane(digits, watched[0][1], [path, path])
    assert np.isfinite(drawn.losses).all()
    assert drawn.shown[0] == pytest.approx(drawn.shown[1])
