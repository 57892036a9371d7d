"""The digest of a rule: it depends only on what the rule computes, and is the same on every version of Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steepest import rules
from steepest.errors import SteepestError
from steepest.rules.digest import _variants
from steepest_workshop import digests

PRINT = "from steepest.rules import RULES\nprint({k: r.digest for k, r in RULES.items()})"
OTHERS = ("3.12", "3.13")


def test_what_the_built_in_rules_compute_is_pinned():
    before, now = digests.pinned(), digests.current()
    assert digests.changed(before, now) == [], "another digest makes every store forget the rule's runs"
    assert sorted(now) == sorted(before), "new rules are pinned by `steepest conformance`"


@pytest.fixture
def pins(tmp_path):
    """A copy of the pinned digests."""
    file = tmp_path / "digests.json"
    file.write_text(digests.FILE.read_text())
    return file


def test_a_new_rule_is_pinned_and_the_file_is_as_the_command_writes_it(pins):
    before = digests.pinned()
    pins.write_text(json.dumps({name: digest for name, digest in before.items() if name != "lion"}))
    digests.pin(file=pins)
    assert pins.read_text() == digests.FILE.read_text()


def test_a_changed_digest_is_refused_unless_it_is_named(pins):
    before = digests.pinned()
    old = json.dumps(before | {"lion": "0" * 16, "gone": "1" * 16, "adam": "2" * 16})
    pins.write_text(old)
    with pytest.raises(
        SteepestError, match=r"changed of adam, lion, gone: .*: steepest conformance --change adam --change lion"
    ):
        digests.pin(file=pins)
    with pytest.raises(SteepestError, match=r"changed of adam, gone: "):
        digests.pin(["lion"], pins)
    assert pins.read_text() == old
    digests.pin(["lion", "gone", "adam"], pins)
    assert digests.pinned(pins) == before
    with pytest.raises(SteepestError, match="Unknown pinned rule 'lino'; did you mean 'lion'"):
        digests.pin(["lino"], pins)


def pythons(version):
    """Other Python versions on this machine: on the path, or pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [Path(folder) / f"python{version}" for folder in os.environ["PATH"].split(os.pathsep)]
    return [p for p in (*places, *root.glob(f"{version}.*/bin/python")) if p.exists() and p.parent.name != "shims"]


@pytest.mark.parametrize("version", OTHERS)
def test_it_is_the_same_on_every_python(version):
    """Rules depend only on the standard library, so that any interpreter works."""
    found = pythons(version)
    if not found:
        pytest.skip(f"no Python {version} is here")
    source = str(Path(rules.__file__).parents[2])
    command = [found[0], "-S", "-c", PRINT]
    printed = subprocess.run(command, env={"PYTHONPATH": source}, capture_output=True, text=True, check=True).stdout
    assert eval(printed) == {name: rule.digest for name, rule in rules.RULES.items() if rule.is_ours}


HEAD = "from steepest.rules import rule, zeros, filled, scalar\nfrom steepest.rules.vocabulary import *\n@rule('me')\n"
RULE = """def f(p, g, t, m=zeros, *, lr=0.1, beta=0.9, wide=False, kind="plain", decay=0.0):
    m = ema(m, g, beta)
    if decay:
        m = m + decay * p
    if wide:
        return p - 2 * lr * m, m
    if kind == "signs":
        return p - lr * sign(m), m
    return p - lr * m, m
"""
SAME = {
    "a comment and a docstring": ("    m = ema", '    """Why."""\n    # because\n\n    m = ema'),
    "an intermediate of another name": ("return p - lr * m, m", "x = lr * m\n    return p - x, m"),
    "a state of another name": ("m", "q"),
    "a whole number for a float": ("2 * lr", "2.0 * lr"),
}
OTHER = {
    "an operation": ("p - lr * m", "p + lr * m"),
    "a constant behind a flag": ("2 * lr", "3 * lr"),
    "what a word chooses": ("sign(m)", "maximum(m, 0)"),
    "what a number above zero does": ("m + decay", "m - decay"),
    "the start of a state": ("m=zeros", "m=filled(1.0)"),
    "the order of operations": ("2 * lr * m", "2 * (lr * m)"),
}


def digest_of(text, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["steepest.rules.definition"], "RULES", {})
    file = tmp_path / f"rule{len(list(tmp_path.iterdir()))}.py"
    file.write_text(HEAD + text)
    return rules.get(f"{file}:f").digest


@pytest.mark.parametrize("change", SAME)
def test_what_it_is_called_does_not_matter(change, tmp_path, monkeypatch):
    old, new = SAME[change]
    edited = RULE.replace(old, new)
    if change == "a state of another name":
        edited = RULE.replace(", m=", ", q=").replace("m = ", "q = ").replace("(m", "(q").replace(" m", " q")
    assert edited != RULE
    assert digest_of(edited, tmp_path, monkeypatch) == digest_of(RULE, tmp_path, monkeypatch)


@pytest.mark.parametrize("change", OTHER)
def test_what_it_computes_does(change, tmp_path, monkeypatch):
    edited = RULE.replace(*OTHER[change])
    assert edited != RULE
    assert digest_of(edited, tmp_path, monkeypatch) != digest_of(RULE, tmp_path, monkeypatch)


WORDS = """def f(p, g, t, *, lr=0.1, mode="a", warm=5, hold=10):
    if mode == "a":
        d = g
    elif mode == "b":
        d = sign(g)
    if warm < hold:
        d = 2 * d
    if warm > 2.5:
        d = 3 * d
    return p - lr * d
"""


@pytest.mark.parametrize(
    "change",
    [("sign(g)", "maximum(g, 0)"), ("2 * d", "4 * d"), ("3 * d", "5 * d"), ("2.5", "3.5"), ("warm < hold", "warm < 10")],
)
def test_every_branch_counts_beyond_one_that_leads_nowhere_and_between_whole_numbers(change, tmp_path, monkeypatch):
    edited = WORDS.replace(*change)
    assert edited != WORDS
    assert digest_of(edited, tmp_path, monkeypatch) != digest_of(WORDS, tmp_path, monkeypatch)


def test_a_static_that_a_word_takes_whole_counts():
    assert any("\"'its value': 5\"" in choice for choice, _ in _variants(rules.get("muon")))


def test_composed_rules_have_digests_of_their_own():
    adam, momentum = rules.get("adam"), rules.get("momentum")
    made = [adam, rules.clip_by_norm(adam), rules.clip_by_value(adam), rules.noisy(adam), rules.lookahead(adam)]
    made += [rules.switch(adam, momentum, at=5), rules.switch(momentum, adam, at=5), rules.sam(adam)]
    assert len({rule.digest for rule in made}) == len(made)
