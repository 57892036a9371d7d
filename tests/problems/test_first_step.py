"""The first step of a user's model: every exception becomes one sentence, and models that torch can train are accepted."""

import warnings

import pytest
import torch
from torch import nn

import steepest
from steepest.errors import SteepestError, message_of
from steepest.problems.fingerprint import fingerprint

generator = torch.Generator().manual_seed(0)
X, Y = torch.randn(64, 3, generator=generator), torch.arange(64) % 2
GIVEN = {"model": lambda: nn.Linear(3, 2), "loss": nn.CrossEntropyLoss(), "train": (X, Y), "valid": (X, Y), "batch_size": 8}


class MuteError(Exception):
    """An exception whose str() raises."""

    def __str__(self):
        raise ValueError("no words")


class WordlessError(Exception):
    """An exception without a message."""

    def __str__(self):
        return 3


RAISED = (
    StopIteration,
    StopAsyncIteration,
    MuteError,
    WordlessError,
    AssertionError,
    RuntimeError,
    RecursionError,
    MemoryError,
    SystemExit,
    OSError(28, "No space left on device"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    ExceptionGroup("both", [ValueError("a"), StopIteration("b")]),
    KeyError("\x1b]52;c;x\x07"),
)


def raising(error):
    def raise_it(*_):
        raise error

    return raise_it


class Raising(nn.Module):
    def __init__(self, error, where):
        super().__init__()
        self.layer, self.error, self.where = nn.Linear(3, 2), error, where
        if where == "backward":
            self.layer.weight.register_hook(raising(error))

    def forward(self, x):
        if self.where == "forward":
            raise self.error
        if self.where == "evaluation" and not self.training:
            raise self.error
        return self.layer(x)


class Rows(torch.utils.data.Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 64

    def __getitem__(self, i):
        if i == 40:
            raise self.error
        return X[i], Y[i]


PLACES = {
    "the model's function": lambda e: {"model": raising(e)},
    "the forward pass": lambda e: {"model": lambda: Raising(e, "forward")},
    "an evaluation": lambda e: {"model": lambda: Raising(e, "evaluation")},
    "the loss": lambda e: {"loss": raising(e)},
    "the metric": lambda e: {"metric": raising(e), "direction": "max"},
    "the data": lambda e: {"train": Rows(e), "valid": Rows(e)},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", RAISED, ids=lambda e: e.__name__ if isinstance(e, type) else type(e).__name__)
def test_whatever_the_first_step_raises_is_one_sentence(error, place):
    with pytest.raises(SteepestError) as refused:
        fingerprint(steepest.Problem(name="mine", **GIVEN | PLACES[place](error)))
    sentence = str(refused.value)
    assert "mine" in sentence or "data" in sentence
    assert (error if isinstance(error, type) else type(error)).__name__ in sentence
    assert sentence.isprintable()


def test_an_exception_that_cannot_say_what_it_is_is_named():
    assert message_of(MuteError()) == "MuteError: "
    assert message_of(WordlessError()) == "WordlessError: "


def lazy():
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))


def scripted():
    with warnings.catch_warnings(action="ignore"):  # torch's warning that TorchScript is deprecated
        return torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))


def traced():
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.trace(nn.Linear(3, 2), torch.randn(2, 3))


def frozen():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    return model


def counting():
    model = nn.Linear(3, 2)
    model.seen = nn.Parameter(torch.arange(3), requires_grad=False)
    return model


MODELS = {
    "lazy": lazy,
    "lazy, given": lazy(),
    "a script": scripted,
    "a script, given": scripted(),
    "a trace": traced,
    "part of it frozen": frozen,
    "a whole number as a parameter": counting,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", MODELS)
def test_models_of_every_make_train(kind):
    """The identity is the same on a second call, and a model instance is unchanged."""
    model = MODELS[kind]
    problem = steepest.Problem(name="mine", **GIVEN | {"model": model}, steps=12)
    first = fingerprint(problem)
    study = steepest.compare(problem, "sgd,adam", lrs="0.1,0.3", schedules="constant", seeds=2, store=":memory:")
    assert all(v is not None for row in study.to_dict()["optimizers"] for v in row["values"])
    assert fingerprint(problem) == first
    if isinstance(model, nn.Sequential) and kind.startswith("lazy"):
        assert nn.parameter.is_lazy(model[0].weight)


NAMES = ("a\x00b", "a\x1b[31mb", "a\nb", "\x7f", "a\u2028b", "", "n" * 101)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_page_could_show_is_refused_before_training(name):
    with pytest.raises(SteepestError, match="expected 1 to 100 characters in one line"):
        steepest.Problem(name=name, **GIVEN)


def test_a_metrics_name_with_control_characters_is_shown_escaped(tmp_path):
    def metric(output, target):
        return (output.argmax(1) == target).float().mean()

    metric.__name__ = "acc\x00\x1b[3m<i>"
    problem = steepest.Problem(name="mine", **GIVEN, metric=metric, direction="max", steps=6)
    study = steepest.compare(problem, "sgd,adam", lrs=0.1, schedules="constant", seeds=2, store=":memory:")
    page = study.report(tmp_path / "r.html").read_text()
    assert "\x00" not in page
    assert "\x1b" not in page
    assert "<i>" not in page
    assert "acc\\x00\\x1b[3m&lt;i&gt;" in page
    assert "\x1b" not in str(study)
