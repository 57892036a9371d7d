"""What a learner writes, put to use: her steps agree with torch's optimizers, and her curves are drawn beside them."""

import numpy as np
import pytest
import torch
from torch import nn

from steepest.paths.loop import formula_of, trajectory
from steepest.rules import get
from steepest.surfaces import get as surface
from steepest_workshop.lessons import Mine, filled, learner, rule
from steepest_workshop.lessons.exercises import steps


def blank(w, g, t, state):
    """The new w."""
    ...


class Blank(nn.Module):
    def forward(self, x):
        """The scores."""
        ...


class Written(nn.Module):
    def forward(self, x):
        return x


def test_a_blank_is_told_from_what_is_filled_in():
    def explicit(w):
        return None

    assert not any(map(filled, (blank, Blank, explicit, ..., lambda params: ...)))
    assert all(map(filled, (steps.adam, Written, lambda params: None, 0, "", None)))


@pytest.mark.parametrize(
    ("step", "lr", "torchs"),
    [
        (steps.sgd, 0.1, lambda p: torch.optim.SGD(p, lr=0.1)),
        (steps.sgd, 0.03, lambda p: torch.optim.SGD(p, lr=0.03)),
        (steps.momentum, 0.1, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        (steps.adam, 0.001, lambda p: torch.optim.Adam(p, lr=0.001)),
        (steps.adadelta, 0.1, lambda p: torch.optim.Adadelta(p, rho=0.9)),
    ],
    ids=["sgd", "sgd at another rate", "momentum", "adam", "adadelta"],
)
def test_a_learners_step_trains_as_torchs_optimizer(step, lr, torchs):
    generator, ends = torch.Generator().manual_seed(0), []
    x, y = torch.randn(30, 16, 4, generator=generator).double(), torch.randint(3, (30, 16), generator=generator)
    for make in (lambda p: Mine(p, step, lr=lr), torchs):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        optimizer = make(model.parameters())
        for images, labels in zip(x, y, strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-9)


def test_an_optimizer_of_a_learner_follows_a_schedule_and_leaves_her_arrays_alone():
    seen = []

    def step(w, g, t, state):
        seen.append((t, w.dtype))
        w -= 0.1 * g  # in place
        return w

    p = nn.Parameter(torch.ones(2))
    optimizer = Mine([p], step, lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    for _ in range(2):
        p.grad = torch.tensor([1.0, 2.0])
        optimizer.step()
        scheduler.step()
    assert p.tolist() == pytest.approx([1 - 1.5, 1 - 3.0])
    assert seen == [(1, np.float64), (2, np.float64)]


@pytest.mark.parametrize(
    ("step", "name", "sloped"),
    [(steps.momentum, "momentum", False), (steps.nesterov, "nesterov_lookahead", True), (steps.sgd, "sgd", False)],
)
def test_a_learners_step_walks_a_surface_as_the_rule_does(step, name, sloped):
    where = surface("valley")
    ours = trajectory(get(name), formula_of(where), where.start, 40, lr=0.01)[0]
    np.testing.assert_allclose(learner.walked(step, where, 40, lr=0.01, sloped=sloped), ours, rtol=1e-9, atol=1e-12)


def test_a_learners_curves_are_marks_over_the_lines_beside_them():
    figure = learner.lines({"torch": [3.0, 2.0, 1.0], "yours: sgd": [3.0, 2.0, 1.0]}, range(3), "step", "loss", "title")
    torchs, yours = figure.axes[0].lines
    assert (torchs.get_linestyle(), torchs.get_marker()) == ("-", "None")
    assert (yours.get_linestyle(), yours.get_marker()) == ("None", "o")
    np.testing.assert_array_equal(yours.get_xydata(), [[0, 3], [1, 2], [2, 1]])
    assert figure.get_gid() == "loss by step: torch ends at 1; yours: sgd ends at 1."
    two = learner.lines({"yours: a": [1.0], "yours: b": [2.0]}, [0], "step", "loss").axes[0].lines
    assert [line.get_marker() for line in two] == ["o", "s"]  # told apart
    where = surface("valley")
    path = learner.walked(steps.sgd, where, 5)
    figure = learner.paths(where, {"sgd": path, "yours": path}, (-5, 5, -2, 2))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["sgd", "yours"]
    assert figure.get_gid().startswith("Paths on contours: sgd ends at (")


def test_a_rate_lasts_until_the_next_one_in_stairs():
    stairs, slope = (learner.lines({"rate": [1.0, 0.5]}, [0, 5], "epoch", "rate", stairs=stairs) for stairs in (True, False))
    ((first,), (second,)) = (figure.axes[0].lines for figure in (stairs, slope))
    assert first.get_path().vertices.tolist() == [[0, 1], [5, 1], [5, 0.5]]  # no slope between the epochs
    assert second.get_path().vertices.tolist() == [[0, 1], [5, 0.5]]


def test_the_letters_of_a_rule_are_those_of_its_formula():
    assert "$g$ is the gradient" in repr(rule("adam"))
    assert "$g$" not in repr(rule("nesterov_lookahead"))  # it takes the gradient of f elsewhere
