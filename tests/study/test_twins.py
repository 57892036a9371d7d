"""A broken problem is reported, its correct twin is not, and the twin's numbers equal those of its simplest form.

In each pair, `broken` raises or gets a note that matches `said`; `twin` gets neither. `plain`, if given, is the twin in its
simplest form: tensors, torch's loss, a layer of torch's.
"""

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset, Subset, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

import steepest
from steepest import rules
from steepest.study import machine
from steepest.training import ways
from steepest.training.stacked import Run

pytestmark = pytest.mark.usefixtures("one_thread")

GENERATOR = torch.Generator().manual_seed(0)
X, XV = (torch.randn(n, 4, generator=GENERATOR) for n in (48, 32))
Y, YV = (x[:, :1] - x[:, 1:2] + 0.1 * torch.randn(len(x), 1, generator=GENERATOR) for x in (X, XV))
K, KV = ((y[:, 0] > 0).long() for y in (Y, YV))
TRAIN, VALID = TensorDataset(X, Y), TensorDataset(XV, YV)
QUICK = {"lrs": 0.05, "schedules": "constant", "seeds": 3, "steps": 8}  # of 6 an epoch
STARTED = []  # numbers that a broken loss keeps between runs


def problem(**changes):
    """A line from tensors, in batches of 8."""
    parts = {"model": lambda: nn.Linear(4, 1), "loss": nn.MSELoss(), "train": (X, Y), "valid": (XV, YV), "batch_size": 8}
    return steepest.Problem(name="twin", **{**parts, **changes})


def classes(**changes):
    parts = {"model": lambda: nn.Linear(4, 2), "loss": nn.CrossEntropyLoss(), "metric": "accuracy"}
    return problem(**{**parts, "train": (X, K), "valid": (XV, KV), **changes})


def loaded(train=TRAIN, **more):
    """A training loader as in scripts."""
    return DataLoader(train, **{"batch_size": 8, "shuffle": True} | more)


@dataclass(frozen=True)
class Pair:
    broken: Callable[[], Any]
    said: str
    twin: Callable[[], Any]
    plain: Callable[[], Any] | None = None


def ragged(items):
    """Pads to the longest example of the batch."""
    return pad_sequence([x for x, _ in items], batch_first=True)[:, :, None], torch.stack([y for _, y in items])


LENGTHS = [1 + k % 5 for k in range(48)]
WALKS = [(X[k, :1].repeat(n), Y[k]) for k, n in enumerate(LENGTHS)]


class Sums(nn.Module):
    """A sequence model, (batch, time, 1), on which zeros at the end have no effect."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, x):
        return self.line(x.sum(1))


class Once(IterableDataset):
    def __init__(self):
        self.rows = iter(zip(X, Y, strict=True))

    def __iter__(self):
        return self.rows


class Again(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))

    def __len__(self):
        return len(X)


class TwoLogits(nn.Module):
    """For one logit z, the two equivalent logits 0 and z."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x):
        z = self.line(x)
        return torch.cat([torch.zeros_like(z), z], 1)


def remembering(output, target):
    """The weight grows with every call in the process."""
    STARTED.append(1)
    return (1 + 0.1 * len(STARTED)) * functional.mse_loss(output, target)


class Annealed(nn.Module):
    """The weight of the penalty grows with every batch of a run: the count is a buffer, so that each run starts anew."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, output, target):
        if torch.is_grad_enabled():
            self.seen += 1
        return functional.mse_loss(output, target) + 0.01 * self.seen * output.abs().mean()


class Annealing(nn.Linear):
    """The same in the model."""

    def __init__(self):
        super().__init__(4, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return super().forward(x) * (1 - 0.5**self.seen)


UNSEEDED = np.random.default_rng()


class Noisy(nn.Linear):
    def __init__(self, draw):
        super().__init__(4, 1)
        self.draw = draw

    def forward(self, x):
        return super().forward(x + 0.1 * self.draw(x) if self.training else x)


def share_close(output, target):
    """A ratio that is 0/0 at the start."""
    small = (output.abs() < 1e-9).sum()
    return float("nan") if small == 0 else small / small


def squared(kind):
    """The mean squared error as a metric, converted to the type `kind`."""

    def metric(output, target):
        return kind(((output - target) ** 2).mean())

    return metric


class Forces(nn.Module):
    """The gradient of an energy, |W x|^2 / 2, with respect to its input."""

    def __init__(self, create_graph=True):
        super().__init__()
        self.line, self.create_graph = nn.Linear(4, 4, bias=False), create_graph

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = (self.line(x) ** 2).sum() / 2
            (force,) = torch.autograd.grad(energy, x, create_graph=self.create_graph)
        return force


class Written(Forces):
    def forward(self, x):
        return self.line(x) @ self.line.weight


class Checkpointed(nn.Module):
    def __init__(self, wanted):
        super().__init__()
        self.first, self.second, self.wanted = nn.Linear(4, 8), nn.Linear(8, 1), wanted

    def hidden(self, x):
        return torch.tanh(self.first(x))

    def forward(self, x):
        if self.wanted is None:
            return self.second(self.hidden(x))
        return self.second(checkpoint(self.hidden, x, use_reentrant=self.wanted))


class Doubled(Checkpointed):
    """Reentrant checkpointing as documented: the input requires a gradient."""

    def forward(self, x):
        return super().forward(x.requires_grad_())


class Recurrent(nn.Module):
    """`carried`: initialised with the final state of the last batch."""

    def __init__(self, carried):
        super().__init__()
        self.cell, self.head, self.carried, self.state = nn.RNN(1, 6, batch_first=True), nn.Linear(6, 1), carried, None

    def forward(self, x):
        begun = self.state if self.carried else torch.zeros(1, len(x), 6)
        output, state = self.cell(x[:, :, None], begun)
        self.state = state.detach()
        return self.head(output[:, -1])


class Unrolled(Recurrent):
    def forward(self, x):
        return self.head(self.cell(x[:, :, None])[0][:, -1])


class Fixed(nn.Linear):
    """Weights that use no generator."""

    def __init__(self, at=0.1):
        super().__init__(4, 1)
        nn.init.constant_(self.weight, at)
        nn.init.zeros_(self.bias)


class Mixed(Fixed):
    """Multiplies its input by a tensor of the default dtype that was made outside."""

    def forward(self, x):
        return super().forward(x @ torch.eye(4, dtype=torch.float64))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x):
        return {"value": self.line(x)}


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, features):
        return self.line(features)


def printing():
    print("a network of 5 parameters")
    return nn.Linear(4, 1)


def leaving():
    raise SystemExit("no GPU found")


def eager():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))


def lazy():
    return nn.Sequential(nn.LazyLinear(6), nn.Tanh(), nn.LazyLinear(1))


def with_nan(x):
    return torch.where(torch.arange(len(x))[:, None] == 7, math.nan, x)


FRAME, FRAME_V = (pd.DataFrame(x.numpy(), columns=list("abcd")) for x in (X, XV))
AMONG = torch.arange(40) % 5 < 4  # of 40 positions those with a label
LONGER = torch.zeros(40, 4).masked_scatter(AMONG[:, None], XV)
IGNORED = torch.full((40,), -1).masked_scatter(AMONG, KV)

PAIRS = {
    "a sampler where it evaluates": Pair(
        lambda: problem(valid=DataLoader(VALID, batch_size=8, sampler=WeightedRandomSampler([1.0] * 32, 32))),
        "WeightedRandomSampler repeats",
        lambda: problem(train=loaded(), batch_size=None, valid=DataLoader(VALID, batch_size=8, shuffle=True)),
        problem,
    ),
    "a batch size beside a loader": Pair(
        lambda: problem(train=loaded(), batch_size=16),
        "batch_size is 16, but the training data's DataLoader has 8",
        lambda: problem(train=loaded(), batch_size=8, shuffle=True, drop_last=False),
        problem,
    ),
    "examples left out": Pair(
        lambda: problem(valid=DataLoader(VALID, batch_size=8, sampler=SubsetRandomSampler(range(20)))),
        "leaves out 12 of 32",
        lambda: problem(valid=DataLoader(Subset(VALID, range(20)), batch_size=8)),
        lambda: problem(valid=(XV[:20], YV[:20])),
    ),
    "drop_last where it evaluates": Pair(
        lambda: problem(valid=DataLoader(VALID, batch_size=12, drop_last=True)),
        "drop_last=True, which leaves out 8 of 32",
        lambda: problem(valid=DataLoader(VALID, batch_size=12)),
        problem,
    ),
    "sequences of several lengths": Pair(
        lambda: problem(model=Sums, train=WALKS, valid=WALKS),
        "give a DataLoader with a collate_fn that pads",
        lambda: problem(
            model=Sums, train=loaded(WALKS, collate_fn=ragged), valid=DataLoader(WALKS, batch_size=8, collate_fn=ragged)
        ),
        lambda: problem(model=Sums, train=ragged(WALKS), valid=ragged(WALKS)),
    ),
    "a stream": Pair(
        lambda: problem(train=DataLoader(Once(), batch_size=8), steps=12),
        "a stream that",
        lambda: problem(train=DataLoader(Again(), batch_size=8)),
        lambda: problem(shuffle=False),
    ),
    "labels that do not count": Pair(
        lambda: classes(valid=(LONGER, IGNORED)),
        "example 4 has label -1, but the model has 2 outputs",
        lambda: classes(valid=(LONGER, IGNORED), loss=nn.CrossEntropyLoss(ignore_index=-1)),
        classes,
    ),
    "one logit": Pair(
        lambda: classes(
            model=lambda: nn.Linear(4, 1), loss=nn.BCEWithLogitsLoss(), train=(X, K.float()), valid=(XV, KV.float())
        ),
        r"Target size .* must be the same as input size",
        lambda: classes(
            model=lambda: nn.Linear(4, 1),
            loss=nn.BCEWithLogitsLoss(),
            train=(X, K.float()[:, None]),
            valid=(XV, KV.float()[:, None]),
        ),
        lambda: classes(model=TwoLogits),
    ),
    "a loss with a memory": Pair(
        lambda: problem(loss=remembering), "keeps state between runs", lambda: problem(loss=Annealed())
    ),
    "a model with a memory": Pair(
        lambda: problem(loss=remembering), "keeps state between runs", lambda: problem(model=Annealing)
    ),
    "noise": Pair(
        lambda: problem(model=lambda: Noisy(lambda x: torch.from_numpy(UNSEEDED.standard_normal(x.shape)).to(x))),
        "Runs do not repeat",
        lambda: problem(model=lambda: Noisy(torch.randn_like)),
    ),
    "a metric without a value": Pair(
        lambda: problem(metric=share_close), "share_close at the start is nan", lambda: problem(metric=squared(float)), problem
    ),
    "an example that is NaN": Pair(
        lambda: problem(train=(with_nan(X), Y)),
        r"NaN or infinity in 1 of 48 examples \(the first is example 7\)",
        lambda: problem(train=[*zip(torch.where(with_nan(X).isnan(), X, with_nan(X)), Y, strict=True)]),
        problem,
    ),
    "a metric of several numbers": Pair(
        lambda: problem(metric=lambda output, target: (output - target)[:, 0]),
        "its metric raised",
        lambda: problem(metric=squared(lambda x: np.float32(x.item()))),
        problem,
    ),
    "a metric that is a tensor": Pair(
        lambda: problem(metric=lambda output, target: "good"),
        "its metric raised ValueError",
        lambda: problem(metric=squared(lambda x: x)),
        problem,
    ),
    "double precision": Pair(
        lambda: problem(model=Mixed),
        "dtype",
        lambda: problem(model=Mixed, dtype=torch.float64),
        lambda: problem(model=Fixed, dtype=torch.float64),
    ),
    "layers without a size": Pair(
        lambda: problem(model=lambda: nn.Sequential(nn.LazyConv2d(3, 2), nn.Flatten(), nn.LazyLinear(1))),
        "its model raised",
        lambda: problem(model=lazy),
        lambda: problem(model=eager),
    ),
    "a gradient in the forward pass": Pair(
        lambda: problem(model=lambda: Forces(create_graph=False), train=(X, X), valid=(XV, XV)),
        "the loss depends on no trainable parameter",
        lambda: problem(model=Forces, train=(X, X), valid=(XV, XV)),
        lambda: problem(model=Written, train=(X, X), valid=(XV, XV)),
    ),
    "checkpoints": Pair(
        lambda: problem(model=lambda: Checkpointed(True)),
        "None of the inputs have requires_grad",
        lambda: problem(model=lambda: Checkpointed(False)),
        lambda: problem(model=lambda: Checkpointed(None)),
    ),
    "reentrant checkpoints": Pair(
        lambda: problem(model=lambda: Checkpointed(True)),
        "None of the inputs have requires_grad",
        lambda: problem(model=lambda: Doubled(True)),
        lambda: problem(model=lambda: Checkpointed(None)),
    ),
    "a model that prints": Pair(
        lambda: problem(model=leaving), "its model raised SystemExit.*no GPU found", lambda: problem(model=printing), problem
    ),
    "a hidden state": Pair(
        lambda: problem(model=lambda: Recurrent(True), valid=(XV[:24], YV[:24])),
        "keeps state from batch to batch",
        lambda: problem(model=lambda: Recurrent(False)),
        lambda: problem(model=lambda: Unrolled(False)),
    ),
    "a table": Pair(
        lambda: problem(train=(FRAME.assign(city="Rome"), pd.Series(Y[:, 0].numpy()))),
        "columns that are not numbers: city",
        lambda: problem(
            train=(FRAME, pd.DataFrame({"y": Y[:, 0].numpy()})), valid=(FRAME_V, pd.DataFrame({"y": YV[:, 0].numpy()}))
        ),
        problem,
    ),
    "lists": Pair(
        lambda: problem(train=([*X.tolist()[:-1], [1.0]], Y.tolist())),
        "Pad sequences",
        lambda: problem(train=(X.tolist(), Y.tolist()), valid=(XV.tolist(), YV.tolist())),
        problem,
    ),
    "inputs by name": Pair(
        lambda: problem(model=Named, train={"features": X, "price": Y}, valid={"features": XV, "price": YV}),
        "a target named labels",
        lambda: problem(model=Named, train={"features": X, "labels": Y}, valid={"features": XV, "labels": YV}),
        problem,
    ),
    "targets by name": Pair(
        lambda: problem(model=Two, train=(X, {"value": Y[:40]}), valid=(XV, {"value": YV})),
        "48 and 40 rows",
        lambda: problem(
            model=Two,
            loss=lambda output, target: functional.mse_loss(output["value"], target["value"]),
            train=(X, {"value": Y}),
            valid=(XV, {"value": YV}),
        ),
        problem,
    ),
    "the loss at the start": Pair(
        lambda: problem(
            loss=lambda output, target: functional.mse_loss(output, target).log(),
            model=lambda: Fixed(0.0),
            train=(X, 0 * Y),
            valid=(XV, 0 * YV),
        ),
        "the loss at the start is -inf",
        lambda: problem(model=lambda: Fixed(1e-5), train=(X, 0 * Y), valid=(XV, 0 * YV)),
    ),
}


def compared(one, plan="one", **more):
    return steepest.compare(one, "sgd", **{"store": ":memory:", "plan": plan} | QUICK | more)


def values(study):
    return study.to_dict()["optimizers"][0]["values"]


@functools.cache
def plainest(make):
    """The values of a plain problem, without a note; several pairs share one."""
    study = compared(make())
    assert study.result.notes == []
    return values(study)


@pytest.fixture(autouse=True)
def few_steps_repeated(monkeypatch):
    """Whether training repeats is seen in as many steps as a run has."""
    monkeypatch.setattr(machine, "STEPS", QUICK["steps"])


@pytest.mark.parametrize("name", PAIRS)
def test_of_the_broken_one_it_is_said(name):
    pair = PAIRS[name]
    try:
        said = " ".join(compared(pair.broken()).result.notes)
    except steepest.SteepestError as error:
        said = str(error)
    assert re.search(pair.said, said), said


@pytest.mark.parametrize("name", PAIRS)
def test_of_the_correct_twin_nothing_is_said_and_its_values_are_those_of_the_plainest_way(name):
    pair = PAIRS[name]
    twin, together = (compared(pair.twin(), plan) for plan in ("one", "many:3"))
    for study in (twin, together):
        assert study.answer().repeats is True
        assert study.result.notes == []
    assert len(set(values(twin))) > 1
    assert values(together) == pytest.approx(values(twin), rel=1e-5)
    if pair.plain:
        assert values(twin) == pytest.approx(plainest(pair.plain), rel=1e-5)


def of_numpy():
    """Noise from NumPy's global generator, which is seeded like torch's."""
    return problem(model=lambda: Noisy(lambda x: torch.from_numpy(np.random.standard_normal(x.shape)).to(x)))


def test_noise_that_numpy_draws_is_that_of_the_seed_however_many_train_at_once():
    assert values(compared(of_numpy(), "many:3")) == pytest.approx(values(compared(of_numpy())), rel=1e-5)


def test_runs_are_not_trained_together_where_nothing_was_compared_with_runs_trained_alone(monkeypatch):
    """As in the screening of three optimizers at three rates, on two cores."""
    agree, compared_with = ways._agree, []
    monkeypatch.setattr(ways, "workers_on", lambda device: 2)
    monkeypatch.setattr(ways, "_agree", lambda *losses: compared_with.append(losses) or agree(*losses))
    names = ("sgd", "momentum", "adam")
    runs = [Run(rules.get(name), lr, seed, 60) for name in names for lr in (0.01, 0.03, 0.1) for seed in (0, 1, 2)]
    assert ways.choose(of_numpy(), runs).chunk == 1
    ways.choose(problem(), runs)
    assert compared_with


FILE = """
{top}
import torch, steepest
from torch import nn

{middle}
x = torch.linspace(-1, 1, 40)[:, None]

def off(output, target):
    {within}
    return ((output - target).abs() {compares} 0.5).float().mean()

problem = steepest.Problem(model=lambda: nn.Linear(1, width), loss=nn.MSELoss(), metric=off, train=(x, 2 * x), valid=(x, 2 * x))
"""
USUAL = {"top": "", "middle": "width = 1", "within": "", "compares": ">"}
PARSER = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--width', type=int, {how})"
PARSED = "width = parser.parse_args().width"


def from_file(name, store=":memory:", **parts):
    """A study of a rewritten file, in the test's folder."""
    Path(name).write_text(FILE.format(**USUAL | parts))
    return compared(name, store=store)


def test_a_file_that_needs_an_argument_is_refused_and_one_that_has_defaults_equals_one_that_parses_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(steepest.SteepestError, match=r"needs\.py raised SystemExit"):
        from_file("needs.py", top=PARSER.format(how="required=True"), middle=PARSED)
    capsys.readouterr()
    twin = from_file("parses.py", top=PARSER.format(how="default=1"), middle=PARSED)
    plain = from_file("plain.py")
    assert twin.result.notes == plain.result.notes == []
    assert values(twin) == values(plain)
    assert capsys.readouterr().out == ""


def test_a_model_that_prints_does_so_once_and_its_values_stay(capsys):
    printed, silent = (compared(problem(model=model)) for model in (printing, lambda: nn.Linear(4, 1)))
    assert capsys.readouterr().out == "a network of 5 parameters\n"
    assert values(printed) == values(silent)


def test_an_edited_metric_trains_again_and_says_so_and_an_edited_comment_does_neither(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = from_file("mine.py", "s.db", within='"""The share that is off."""')
    comment = from_file("mine.py", "s.db", within='"""The share of all examples."""\n    # by more than a half')
    assert (first.result.trained, comment.result.trained, comment.result.notes) == (3, 0, [])
    assert values(comment) == values(first)
    edited = from_file("mine.py", "s.db", compares="<")
    assert edited.result.trained == 3
    assert "mine is not what it was" in " ".join(edited.result.notes)
    assert values(edited) != values(first)
    back = from_file("mine.py", "s.db")
    assert (back.result.trained, back.result.notes, values(back)) == (0, [], values(first))


class Follows(nn.Module):
    """Predicts the next of some letters, (batch, time, letters)."""

    def __init__(self, letters=6):
        super().__init__()
        self.embedding, self.head = nn.Embedding(letters, 8), nn.Linear(8, letters)

    def forward(self, x):
        return self.head(self.embedding(x))


class WithState(Follows):
    """As recurrent networks return it: scores and a state."""

    def forward(self, x):
        return super().forward(x), x


class Scored(nn.Linear):
    def __init__(self):
        super().__init__(4, 1)

    def forward(self, x):
        return {"logits": super().forward(x)}


def of_letters(output, target):
    return functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=0)


def letters(length):
    """Letters from 1 on, each one larger than the one before. The end of a longer text is padding, 0."""
    x = torch.randint(1, 5, (48, length), generator=torch.Generator().manual_seed(length))
    return x, x + 1


def accuracies(one):
    return values(compared(one, lrs=1.0, steps=60))


@pytest.mark.parametrize("length", [5, 6])
def test_accuracy_of_a_text_as_long_as_its_alphabet_is_that_of_another(length):
    """The loss is near 0: the classes are in the last dimension, where the loss expects them."""
    data = letters(length)
    assert accuracies(problem(model=Follows, loss=of_letters, metric="accuracy", train=data, valid=data)) == [100.0] * 3


def padded_letters():
    x, y = letters(5)
    padded = torch.arange(5) >= torch.arange(48)[:, None] % 4 + 2
    return torch.where(padded, 5, x), torch.where(padded, 0, y)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        pytest.param(Follows, of_letters, id="scores"),
        pytest.param(
            WithState,
            lambda output, target: of_letters(output[0], target),
            id="scores and a state",
        ),
    ],
)
def test_accuracy_leaves_out_what_the_loss_ignores_where_the_model_returns_more_than_scores(model, loss):
    data = padded_letters()
    assert accuracies(problem(model=model, loss=loss, metric="accuracy", train=data, valid=data)) == [100.0] * 3


def test_accuracy_leaves_out_a_label_that_the_first_batch_does_not_hold():
    """Words of one length, and of several: the loss is called before any padding occurs."""
    x, y = letters(5)
    texts = [(x[k, :n], y[k, :n]) for k, n in enumerate([2, 5] * 20 + [4] * 8)]

    def collate(items):
        return tuple(pad_sequence([*part], batch_first=True) for part in zip(*items, strict=True))

    valid = DataLoader(texts, batch_size=8, collate_fn=collate)
    assert accuracies(problem(model=Follows, loss=of_letters, metric="accuracy", train=(x, y), valid=valid)) == [100.0] * 3


def test_accuracy_of_one_logit_is_the_same_in_a_dict():
    labels = (Y > 0.7).float(), (YV > 0.7).float()
    bce = nn.BCEWithLogitsLoss()
    pairs = {"train": (X, labels[0]), "valid": (XV, labels[1]), "metric": "accuracy"}
    named = accuracies(problem(model=Scored, loss=lambda output, target: bce(output["logits"], target), **pairs))
    assert named == accuracies(problem(loss=bce, **pairs))


def test_labels_that_do_not_count_may_stand_together():
    last = {"valid": (torch.cat([XV, XV[:8]]), torch.cat([KV, torch.full((8,), -1)]))}
    twin = classes(loss=nn.CrossEntropyLoss(ignore_index=-1), **last)
    assert values(compared(twin)) == pytest.approx(values(compared(classes())), rel=1e-5)
