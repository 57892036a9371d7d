"""Evaluation and the first step: accuracy, memory, gradients in forward, lazy layers, and state between batches."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.problems.accuracy import accuracy, labels_of
from steepest.problems.fingerprint import fingerprint
from steepest.problems.memory import SMALL, evaluation_room
from steepest.training.single import train
from steepest.training.stacked import Run
from steepest.training.timing import operations
from steepest.training.ways import choose, named, train_all

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(40, 4, generator=GENERATOR)
LABELS = (X[:, 0] > 0).long()


def problem(**changes):
    parts = {"model": lambda: nn.Linear(4, 1), "loss": nn.MSELoss(), "train": (X, X[:, :1]), "valid": (X, X[:, :1])}
    return steepest.Problem(**{**parts, **changes})


def trained(one, **more):
    """The outcome of a run trained alone; the problem passes its check."""
    fingerprint(one)
    return train(one, rules.get("sgd"), lr=0.05, steps=20, seed=0, **more)


IGNORED = {
    "-100": (nn.CrossEntropyLoss(), -100),
    "-1": (nn.CrossEntropyLoss(ignore_index=-1), -1),
    "255": (nn.CrossEntropyLoss(ignore_index=255), 255),
    "a class": (nn.CrossEntropyLoss(ignore_index=0), 0),
    "a function and -1": (lambda output, target: functional.cross_entropy(output, target, ignore_index=-1), -1),
    "a function and a class": (lambda output, target: functional.cross_entropy(output, target, ignore_index=0), 0),
    "a masked function": (
        lambda output, target: functional.cross_entropy(output.transpose(1, 2)[target > 0], target[target > 0]),
        0,
    ),
}


@pytest.mark.parametrize("kind", IGNORED)
@pytest.mark.parametrize("plan", ["one", "many:2"])
def test_accuracy_leaves_out_the_labels_that_the_loss_ignores(kind, plan):
    """Accuracy of sequences; the same for one run, several runs and single examples."""
    loss, label = IGNORED[kind]
    target = torch.arange(80).reshape(40, 2) % 3
    target[:, 1] = torch.where(torch.arange(40) % 2 == 0, label, target[:, 1])

    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(4, 6)

        def forward(self, x):
            return self.line(x).view(-1, 3, 2)

    one = problem(model=Places, loss=loss, train=(X, target), valid=(X, target), metric="accuracy", steps=20)
    runs = [Run(rules.get("sgd"), lr, 0, 20, examples=True) for lr in (0.05, 0.1)]
    fingerprint(one)
    outcome = dict(train_all(one, runs, named(plan)))[0]
    last = {}
    train(one, rules.get("sgd"), lr=0.05, steps=20, seed=0, on_step=lambda k, model: last.update(out=model(X)))
    counts = target != label
    expected = 100 * (last["out"].argmax(1) == target)[counts].double().mean().item()
    assert outcome.valid == pytest.approx(expected, abs=1e-3)


def test_examples_whose_label_is_ignored_are_no_errors():
    target = torch.where(torch.arange(40) % 4 == 0, -100, LABELS)
    one = problem(
        model=lambda: nn.Linear(4, 2), loss=nn.CrossEntropyLoss(), train=(X, target), valid=(X, target), metric="accuracy"
    )
    outcome = trained(one, examples=True)
    assert len(outcome.examples) == 30
    assert np.mean(outcome.examples) == pytest.approx(outcome.valid, rel=1e-3)


BINARY = {
    "logits of shape (batch, 1)": (nn.BCEWithLogitsLoss(), lambda y: y.float()[:, None], nn.Identity, 0.0),
    "probabilities": (nn.BCELoss(), lambda y: y.float()[:, None], nn.Sigmoid, 0.5),
    "flat logits": (nn.BCEWithLogitsLoss(), lambda y: y.float(), lambda: nn.Flatten(0), 0.0),
    "whole numbers": (
        lambda o, t: functional.binary_cross_entropy_with_logits(o[:, 0], t.float()),
        lambda y: y,
        nn.Identity,
        0.0,
    ),
    "squared error": (nn.MSELoss(), lambda y: y.float()[:, None], nn.Identity, 0.5),
    "signs": (nn.SoftMarginLoss(), lambda y: (2 * y - 1).float()[:, None], nn.Identity, 0.0),
    "weighted": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), lambda y: y.float()[:, None], nn.Identity, 0.0),
    "a function of probabilities": (
        lambda o, t: functional.binary_cross_entropy(o, t),
        lambda y: y.float()[:, None],
        nn.Sigmoid,
        0.5,
    ),
}


@pytest.mark.parametrize("kind", BINARY)
def test_accuracy_of_one_output_is_judged_where_the_loss_is_indifferent(kind):
    loss, target_of, last, threshold = BINARY[kind]
    target = target_of(LABELS)
    one = problem(
        model=lambda: nn.Sequential(nn.Linear(4, 1), last()), loss=loss, train=(X, target), valid=(X, target), metric="accuracy"
    )
    seen = {}
    fingerprint(one)
    outcome = train(one, rules.get("sgd"), lr=0.05, steps=100, seed=0, on_step=lambda k, model: seen.update(out=model(X)))
    expected = 100 * ((seen["out"].flatten() > threshold) == (LABELS > 0)).double().mean().item()
    assert outcome.valid == pytest.approx(expected, abs=1e-3)
    assert outcome.valid > 70


def test_accuracy_finds_the_classes_in_the_second_or_the_last_dimension():
    target = torch.arange(10).view(2, 5) % 3
    scores = functional.one_hot(target, 3).float()
    assert accuracy(scores, target) == accuracy(scores.transpose(1, 2), target) == 100
    assert accuracy((scores, None), target) == accuracy({"logits": scores}, target) == 100
    with pytest.raises(ValueError, match="accuracy compares outputs"):
        accuracy(torch.zeros(2, 5, 3), target.float())


def test_a_class_of_weight_zero_is_still_counted():
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.0, 1.0]))
    assert labels_of(loss, torch.zeros(4, 2), torch.arange(4) % 2).ignored == {-100}  # torch's default


PEAK = """
import resource, sys, torch, steepest
from torch import nn
from steepest import rules
from steepest.training.single import train
x = torch.zeros(600, 3, 64, 64)
net = lambda: nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))
problem = steepest.Problem(model=net, loss=nn.CrossEntropyLoss(), metric="accuracy", batch_size=4,
                           train=(x, torch.arange(600) % 2), valid=(x, torch.arange(600) % 2))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
model = problem.start(0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
before = peak()
for _ in range(3):
    problem.batch_loss(model, problem.first_batch()).backward()
    optimizer.step()
step = peak() - before
problem.evaluate(model, problem.valid)
print(step, peak() - before)
"""


def test_an_evaluation_takes_no_more_than_one_and_a_half_times_a_training_step():
    """600 images, batches of 4; peak memory of a process in MiB. The first layer's outputs for all images would be 300."""
    out = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=300).stdout
    step, both = map(float, out.split())
    assert both <= 1.5 * max(step, SMALL / 2**20)


def test_small_examples_are_evaluated_together_and_large_ones_in_batches():
    one = problem()
    assert evaluation_room(one, one.start(0))[0] > 1000
    large = problem(
        model=lambda: nn.Sequential(nn.Linear(4, 4_000_000), nn.Tanh(), nn.Linear(4_000_000, 1)), batch_size=4, accumulate=2
    )
    assert evaluation_room(large, large.start(0))[0] <= 4


def test_results_of_examples_survive_losses_that_half_precision_does_not_hold(tmp_path):
    for scale in (1e6, 1e-9):
        study = steepest.compare(
            problem(loss=lambda o, t, scale=scale: scale * ((o - t) ** 2).mean()),
            "sgd,momentum",
            lrs={"sgd": [0.01 / scale, 0.02 / scale], "momentum": 0.005 / scale},
            schedules="constant",
            steps=20,
            margin=scale,
            store=tmp_path / f"{scale}.db",
            plan="one",
        )
        outcome = study.result.entries[0].outcomes[0]
        assert np.mean(outcome.examples) == pytest.approx(outcome.valid, rel=1e-3)
        assert study.answer().bound_new_data is not None


def test_data_and_parameters_take_the_default_dtype_unless_another_is_given():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        one, single = problem(), problem(dtype=torch.float32)
    finally:
        torch.set_default_dtype(before)
    assert {t.dtype for t in (*one.train.tensors, *one.start(0).parameters())} == {torch.float64}
    assert {t.dtype for t in (*single.train.tensors, *single.start(0).parameters())} == {torch.float32}


class Forces(nn.Module):
    """An energy and its gradient with respect to the input, as in force-field networks."""

    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x):
        x = x.clone().requires_grad_()
        (force,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return force


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(4))

    def forward(self, x):
        return self.layers(x)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        hidden = checkpoint(lambda y: torch.tanh(self.first(y)), x.requires_grad_(), use_reentrant=True)
        return self.second(hidden)


class Field(nn.Module):
    """A network whose loss differentiates its output with respect to its input, as in physics-informed networks."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, x):
        x = x.requires_grad_()
        return self.net(x), x


def residual(output, target):
    u, x = output
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return ((slope - 1) ** 2).mean() + ((u - target) ** 2).mean()


@pytest.mark.parametrize("model", [Forces, Lazy, Checkpointed, Field])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_what_trains_in_a_plain_loop_is_not_refused_by_our_measuring(model):
    loss = residual if model is Field else nn.MSELoss()
    one = problem(model=model, loss=loss, train=(X, X), valid=(X, X), steps=20)
    assert operations(one) > 0
    outcome = trained(one)
    assert outcome.diverged_at is None
    assert outcome.valid < outcome.curve.metric[0]
    assert choose(one, [Run(rules.get("sgd"), 0.05, k, 20) for k in range(4)]).name
    (again,) = [o for _, o in train_all(one, [Run(rules.get("sgd"), 0.05, 0, 20)], named("many:4"))]
    assert again.valid == pytest.approx(outcome.valid, rel=1e-3)


def test_a_model_that_takes_gradients_is_evaluated_to_its_own_numbers():
    one = problem(model=Forces, train=(X, X), valid=(X, X))
    model = one.start(0)
    assert one.evaluate(model, one.valid)[0] == pytest.approx(((model(X) - X) ** 2).mean().item(), rel=1e-5)
    assert torch.is_grad_enabled()


def test_a_state_that_is_carried_from_batch_to_batch_is_refused_in_one_sentence():
    class Carried(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head, self.hidden = nn.RNN(4, 3, batch_first=True), nn.Linear(3, 1), None

        def forward(self, x):
            output, hidden = self.cell(x[:, None], self.hidden)
            self.hidden = hidden.detach()
            return self.head(output[:, 0])

    class Argument(nn.Module):
        """As in a word-level language model: the state is an argument."""

        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 1)

        def forward(self, x, hidden):
            output, hidden = self.cell(x[:, None], hidden)
            return self.head(output[:, 0]), hidden

    with pytest.raises(SteepestError, match=r"keeps state from batch to batch, such as the hidden state of an LSTM") as caught:
        fingerprint(problem(model=Carried))
    assert "\n" not in str(caught.value)
    with pytest.raises(SteepestError, match=r"missing 1 required positional argument: 'hidden'"):
        fingerprint(problem(model=Argument))


def test_a_file_that_reads_its_command_line_reads_its_own(tmp_path):
    path = tmp_path / "parses.py"
    path.write_text(
        textwrap.dedent("""
        import argparse, torch, steepest
        parser = argparse.ArgumentParser()
        parser.add_argument("--width", type=int, default=2)
        args = parser.parse_args()
        x = torch.zeros(8, args.width)
        problem = steepest.Problem(model=lambda: torch.nn.Linear(2, 2), loss=torch.nn.MSELoss(), train=(x, x), valid=(x, x))
        """)
    )
    before = [*sys.argv]
    assert steepest.problems.get(str(path)).name == "parses"
    assert sys.argv == before
