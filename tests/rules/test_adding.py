"""Adding a rule takes one function and one oracle; everything that iterates over the registry includes it."""

import contextlib
import importlib.util

import pytest
import torch
from typer.testing import CliRunner

import steepest
from steepest.cli import app
from steepest.report.palette import FIRST, style
from steepest.rules import RULES, definition
from steepest_workshop import catalogue, conformance, digests, oracles, stubs
from steepest_workshop.site import rules as site

IDEA = "Divide an average of gradients by a softened size of itself."
RULE = f'''"""A family of one rule."""

from steepest.rules.combinators import coupled
from steepest.rules.definition import rule, zeros
from steepest.rules.vocabulary import ema, sqrt


@coupled
@rule("Nobody 2026, in a test", rate=1e-2)
def softened(p, g, t, m=zeros, *, lr=1e-2, beta1=0.9, eps=1e-3):
    """{IDEA}

    Use: in this test.
    Avoid: everywhere else.
    """
    m = ema(m, g, beta1)
    return p - lr * m / sqrt(m * m + eps), m
'''
ORACLE = """import numpy as np

from steepest_workshop.oracles.each import each


@each
def softened(p, beta1=0.9, eps=1e-3, weight_decay=0.0):
    average = np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        average = beta1 * average + (1 - beta1) * (g + weight_decay * p)
        p = p - lr * average / np.sqrt(average**2 + eps)
"""


def loaded(path, text):
    """Import a new file as a module."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def added(folder):
    """Within this context there is one more built-in rule; its function and oracle are in two files of the folder."""
    before = dict(RULES)
    definition.FOLDERS.append(str(folder))
    try:
        rule = loaded(folder / "family.py", RULE).softened
        oracles.softened = loaded(folder / "oracle.py", ORACLE).softened
        yield rule
    finally:
        definition.FOLDERS.remove(str(folder))
        RULES.clear()
        RULES.update(before)
        del oracles.softened


@pytest.fixture
def rule(tmp_path):
    """The new rule."""
    with added(tmp_path) as rule:
        yield rule


def steepest_prints(*arguments):
    """The output of a command."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_it_has_a_class_in_the_library_and_in_the_stub(rule):
    assert {"Softened"} <= set(dir(steepest.optim))
    assert steepest.optim.Softened.__doc__.startswith(f"{IDEA}\n\nUse: in this test.\nAvoid: everywhere else.\n\nNobody 2026")
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.full((3,), 2.0)
    optimizer = steepest.optim.Softened([p], lr=0.5, betas=(0.0,), eps=0.0)
    optimizer.step()
    assert p.tolist() == [0.5] * 3
    assert optimizer.engine == "kernel"
    assert f'class Softened(RuleOptimizer):\n    """{IDEA}\n' in stubs.page()


def test_it_has_a_row_in_the_table_of_conformance_and_a_section_and_a_page(rule, tmp_path, monkeypatch):
    assert rule.is_ours
    monkeypatch.setattr(conformance, "RULES", {"softened": rule})
    (row,) = conformance.table()
    assert 0 < row["paper"] < 1e-12
    assert row["author"] is row["torch"] is None
    document = catalogue.page([row])
    assert "\n| [softened](#softened) | 4 | - |" in document
    assert f"\n## softened\n\n{IDEA}\n" in document
    page = site.page(rule, row, tmp_path)
    assert page.startswith(f"# Softened\n\n{IDEA}\n")
    assert "**Avoid it** everywhere else." in page
    assert (tmp_path / "softened-paths.png").stat().st_size > 10_000


def test_its_digest_is_pinned_beside_those_of_the_others(rule, tmp_path):
    pins = tmp_path / "digests.json"
    pins.write_text(digests.FILE.read_text())
    assert digests.changed(digests.pinned(pins), digests.current()) == []
    digests.pin(file=pins)
    new = digests.pinned(pins)
    assert len(new.pop("softened")) == 16
    assert new == digests.pinned()


def test_every_command_that_names_rules_takes_it(rule, tmp_path):
    assert "softened             Softened           Nobody 2026, in a test\n" in steepest_prints("list", "optimizers")
    shown = steepest_prints("show", "softened")
    assert IDEA in shown
    assert shown.count("m = ema(m, g, beta1)") == 1
    assert '"""' not in shown
    languages = ("python", "latex", "javascript")
    forms = {language: steepest_prints("show", "softened", "--language", language) for language in languages}
    assert "def softened(p, g, t, m=zeros" in forms["python"]
    assert r"\sqrt{m_t^2 + \varepsilon}" in forms["latex"]
    assert "function softened(p, g, t, state, { lr, beta1, eps }) {\n" in forms["javascript"]
    assert "softened" in steepest_prints("path", "saddle", "--optimizers", "sgd,softened", "--steps", "20")
    steepest_prints("play", "--optimizers", "sgd,softened", "--out", tmp_path / "play.html")
    assert '{"name": "softened", "reference": "Nobody 2026, in a test"' in (tmp_path / "play.html").read_text()


def test_it_has_a_look_of_its_own(rule):
    looks = {style(name) for name in (*FIRST, "softened")}
    assert len(looks) == len(FIRST) + 1


def test_it_leaves_nothing_behind(tmp_path):
    names, stub, pins = [*RULES], stubs.page(), digests.current()
    with added(tmp_path):
        assert stubs.page() != stub
    assert [*RULES] == names
    assert not hasattr(steepest.optim, "Softened")
    assert stubs.page() == stub
    assert digests.current() == pins
