"""The table of `steepest conformance`: every rule against its paper, its author's package and torch."""

import json

import pytest
from typer.testing import CliRunner

from steepest.cli import app
from steepest.report.rule.latex import equations
from steepest.rules import RULES
from steepest_workshop import conformance, digests, stubs

OURS = [name for name, rule in RULES.items() if rule.is_ours]


@pytest.mark.parametrize("name", OURS)
def test_equals_its_paper(name):
    assert conformance.against_paper(RULES[name]) < 1e-12


@pytest.mark.parametrize("name", [name for name in OURS if RULES[name].twin])
def test_equals_its_twin(name):
    assert conformance.against_torch(RULES[name]) < 1e-12


@pytest.mark.parametrize(
    "author", conformance.AUTHORS, ids=lambda a: f"{a.rule}-{a.module}-{'differs' if a.differs else 'equal'}"
)
def test_equals_its_author_or_differs_as_is_said(author):
    pytest.importorskip(author.module)
    error = conformance.against_author(author)
    assert error > 1e-7 if author.differs else error < 1e-12


def test_the_command_prints_the_table_and_makes_the_document(tmp_path):
    docs = tmp_path / "optimizers.md"
    invoked = CliRunner().invoke(app, ["conformance", "--docs", str(docs), "--json", str(tmp_path / "t.json")])
    assert invoked.exit_code == 0, invoked.output
    rows = {row["name"]: row for row in json.loads((tmp_path / "t.json").read_text())}
    assert set(OURS) <= set(rows)
    assert all(row["paper"] < 1e-12 for row in rows.values())
    text = docs.read_text()
    for name in OURS:
        assert f"## {name}\n" in text
        assert f"def {RULES[name].code.co_name}(" in text


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with outdated generated files of `steepest conformance`, for one rule."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conformance, "RULES", {"lion": RULES["lion"]})
    monkeypatch.setattr(digests, "FILE", tmp_path / "digests.json")
    digests.FILE.write_text('{"lion": "0000000000000000"}')
    for path in (tmp_path / "src" / "steepest" / "optim.pyi", tmp_path / "docs" / "optimizers.md"):
        path.parent.mkdir(parents=True)
        path.write_text("old")
    return tmp_path


def test_in_a_checkout_one_command_makes_everything_that_is_made_but_changes_no_digest_unasked(checkout):
    stub, document = checkout / "src" / "steepest" / "optim.pyi", checkout / "docs" / "optimizers.md"
    refused = CliRunner().invoke(app, ["conformance"])
    assert refused.exit_code == 2
    assert "The digest changed of lion" in refused.stderr
    assert stub.read_text() == document.read_text() == "old"
    done = CliRunner().invoke(app, ["conformance", "--change", "lion"])
    assert done.exit_code == 0, done.output
    assert digests.pinned(digests.FILE) == digests.current()
    assert stub.read_text() == stubs.page()
    assert document.read_text().startswith("# Optimizers\n")
    assert "## lion\n" in document.read_text()


def test_equations_are_the_papers():
    m, v, m_hat, v_hat, p = equations(RULES["adam"])
    assert m == r"m_t = \beta_1 \, m_{t-1} + \left(1 - \beta_1\right) \, g_t"
    assert v == r"v_t = \beta_2 \, v_{t-1} + \left(1 - \beta_2\right) \, g_t^2"
    assert m_hat == r"\hat{m}_t = \frac{m_t}{1 - \beta_1^{t}}"
    assert v_hat == r"\hat{v}_t = \frac{v_t}{1 - \beta_2^{t}}"
    assert p == r"\theta_t = \theta_{t-1} - \frac{\eta \, \hat{m}_t}{\sqrt{\hat{v}_t} + \varepsilon}"


EACH_KIND = ["adagrad", "lamb", "nesterov_lookahead"]  # elementwise, over a tensor, with a second gradient


@pytest.mark.parametrize("names", [EACH_KIND, pytest.param([], marks=pytest.mark.slow, id="every rule")])
def test_no_mutant_survives(names):
    import re
    import subprocess
    import sys
    from pathlib import Path

    script = Path(__file__).parents[2] / "scripts" / "mutate"
    done = subprocess.run([sys.executable, str(script), *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^(\d+) mutants detected", done.stdout, re.MULTILINE)
    assert found, done.stdout
    assert int(found[1]) >= 5 * len(names or RULES)  # the least number of terms of a rule
