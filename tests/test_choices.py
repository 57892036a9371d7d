"""Optimizers and schedules of invalid types get one sentence that says what to pass."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler
from typer.testing import CliRunner

import steepest
from steepest import api, playground, rules, schedules
from steepest.cli import app

WEIGHT = torch.nn.Parameter(torch.ones(1))


def adam(p, g, t, *, lr=0.1):
    return p - lr * g


class Mine(torch.optim.Optimizer):
    """An optimizer class without a rule."""


OPTIMIZERS = {  # what is given, what is said of it, and what a surface advises, which needs a rule
    "a torch optimizer": (torch.optim.Adam([WEIGHT]), "an object of the class torch.optim.adam.Adam", "'adam'"),
    "an optimizer of ours": (steepest.optim.Lion([WEIGHT], lr=0.1), "an object of the class steepest.optim.Lion", "'lion'"),
    "a class of the user's": (Mine, "Mine", "@steepest.rule"),
    "a function": (adam, "adam", "@steepest.rule"),
    "a lambda": (lambda p: torch.optim.SGD(p), "lambda", "@steepest.rule"),
    "a module": (torch.optim, "an object of the class module", "@steepest.rule"),
    "None": (None, "is None; expected", "such as 'adam'"),
    "a flag": (True, "is True; expected", "such as 'adam'"),
    "a number": (3, "is 3; expected", "such as 'adam'"),
    "an array": (np.ones(3), "numpy.ndarray", "such as 'adam'"),
    "a list": (["adam", 0.1], "an object of the class list", "such as 'adam'"),
    "a schedule": (schedules.cosine(), "steepest.schedules.schedule.Schedule", "such as 'adam'"),
}
ON_SURFACES = {  # classes and functions train models, and have no path on a surface
    "a torch class": (torch.optim.AdamW, "the class torch.optim.adamw.AdamW; expected", "'adamw'"),
    "another": (torch.optim.SGD, "the class torch.optim.sgd.SGD", "'sgd'"),
    "a class of ours": (steepest.optim.ScheduleFreeAdamW, "steepest.optim.ScheduleFreeAdamW", "'schedule_free_adamw'"),
    "a class with settings": (functools.partial(torch.optim.RAdam, weight_decay=0.1), "functools.partial", "'radam'"),
    "a class without a twin": (torch.optim.LBFGS, "the class torch.optim.lbfgs.LBFGS", "@steepest.rule"),
}
SCHEDULES = {
    "a torch class": (lr_scheduler.CosineAnnealingLR, "the class torch.optim.lr_scheduler.CosineAnnealingLR"),
    "a torch scheduler": (
        lr_scheduler.StepLR(torch.optim.SGD([WEIGHT], lr=0.1), 30),
        "an object of the class torch.optim.lr_scheduler.StepLR",
    ),
    "a function": (lambda step: 0.9**step, "the function tests.test_choices.<lambda>"),
    "a formula's maker": (schedules.cosine, "the function steepest.schedules.formulas.cosine"),
    "None": (None, "is None; expected"),
    "a number": (0.5, "is 0.5; expected"),
    "a rule": (rules.get("adam"), "an object of the class steepest.rules.definition.Rule"),
}


def alone_or_not(thing):
    """As one of several, and in place of the list."""
    return [["adam", thing]] if hasattr(thing, "__len__") else [["adam", thing], thing]


def sentence(ask):
    with pytest.raises(steepest.SteepestError) as refused:
        ask()
    assert not isinstance(refused.value.__cause__, AttributeError)
    return str(refused.value)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_that_is_no_name_and_makes_none_is_refused_in_one_sentence(kind, tmp_path):
    given, said, advice = OPTIMIZERS[kind]
    for chosen in alone_or_not(given):
        for ask in (
            functools.partial(steepest.compare, "digits", chosen, store=":memory:"),
            functools.partial(api.work, "digits", chosen, store=tmp_path / "runs.db"),
        ):
            assert said in sentence(ask)
        words = sentence(functools.partial(steepest.trajectory, "bowl", chosen))
        assert said in words
        assert advice in words
    assert said in sentence(lambda: playground.play("valley", [given]))


@pytest.mark.parametrize("kind", ON_SURFACES)
def test_a_class_has_no_path_on_a_surface(kind):
    given, said, advice = ON_SURFACES[kind]
    words = sentence(lambda: steepest.trajectory("bowl", ["adam", given]))
    assert words.startswith("The optimizer is ")
    assert said in words
    assert advice in words


def test_rates_of_something_that_is_no_name_and_no_rule_are_refused_in_one_sentence():
    words = sentence(lambda: steepest.compare("digits", "adamw", lrs={torch.optim.AdamW: 0.1}, store=":memory:"))
    assert "the class torch.optim.adamw.AdamW" in words
    assert "'adamw'" in words


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_that_is_no_name_and_no_schedule_is_refused_in_one_sentence(kind):
    given, said = SCHEDULES[kind]
    for ask in (
        lambda: steepest.compare("digits", "adam", schedules=["constant", given], store=":memory:"),
        lambda: steepest.compare("digits", "adam", schedules=given, store=":memory:"),
        lambda: steepest.trajectory("bowl", "adam", schedule=given),
        lambda: schedules.get(given),
    ):
        words = sentence(ask)
        assert words.startswith("The schedule is ")
        assert said in words
        assert "such as 'cosine'" in words
        assert "steepest.schedules.from_torch(scheduler)" in words


@pytest.mark.parametrize("name", sorted({rule.twin for rule in rules.RULES.values() if rule.twin}))
def test_every_torch_class_that_has_a_twin_is_given_its_name(name):
    advice = sentence(lambda: rules.get(getattr(torch.optim, name))).partition("give '")[2]
    assert rules.get(advice.partition("'")[0]).class_name == name


def test_a_rule_and_a_schedule_may_be_given_without_a_list():
    study = steepest.compare(
        "digits", rules.get("sgd"), schedules=schedules.linear(), lrs=0.1, seeds=2, steps=20, store=":memory:"
    )
    assert (study.best().name, study.best().schedule) == ("sgd", "linear")


def test_rates_may_be_named_by_rules():
    rule = rules.get("sgd")
    study = steepest.compare("digits", [rule], lrs={rule: 0.1}, schedules="constant", seeds=2, steps=20, store=":memory:")
    assert study.best().lr == 0.1


def test_what_names_optimizers_may_be_read_only_once():
    study = steepest.compare("digits", (n for n in ["sgd"]), lrs=0.1, seeds=2, steps=20, store=":memory:")
    assert study.best().name == "sgd"


FILE = """
import torch, steepest
from torch.optim import AdamW
def step(p, g, t, *, lr=0.1):
    return p - lr * g
number = 3
@steepest.rule("mine")
def mine(p, g, t, *, lr=0.1):
    return p - lr * g
made = AdamW([torch.nn.Parameter(torch.ones(1))])
"""


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("name", "said", "on_surfaces"),
    [
        ("made", "mine.py:made is an object of the class torch.optim.adamw.AdamW", "'adamw'"),
        ("step", "mine.py:step needs g, t", "@steepest.rule"),
        ("number", "mine.py:number is 3; expected", "@steepest.rule"),
        ("absent", "mine.py defines no absent; it defines AdamW, mine", "@steepest.rule"),
    ],
)
def test_a_name_in_a_file_that_makes_no_optimizer_ends_a_command_with_a_sentence(
    name, said, on_surfaces, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE)
    surface = ["path", "bowl", "--optimizers", f"sgd,mine.py:{name}"]
    for command, expected in ((["compare", "--optimizers", f"mine.py:{name}"], said), (surface, on_surfaces)):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2, result.output
        assert expected in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("registry")
def test_a_class_in_a_file_is_a_candidate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE)
    asked = ["--steps", "20", "--seeds", "2", "--lrs", "0.01", "--schedules", "constant"]
    result = CliRunner().invoke(app, ["compare", "--optimizers", "mine.py:AdamW", *asked])
    assert result.exit_code == 0, result.output
    assert "optimizer = AdamW(model.parameters(), lr=0.01)" in result.output
