"""Every operation in all its forms, and a new one, which takes one entry."""

import inspect
import math

import numpy as np
import pytest
import torch

from steepest import rules, surfaces
from steepest.paths.loop import formula_of, trajectory
from steepest.report.rule.card import describe, text
from steepest.report.rule.latex import equations
from steepest.rules import vocabulary
from steepest.rules.symbols import Symbol, apply
from steepest.rules.trace import Graph
from steepest.rules.words import WORDS, Word
from steepest.update.engines.kernel import Kernel
from steepest.update.engines.plain import Plain
from steepest.update.numbers import Known, numeric
from steepest.update.step import advance
from steepest.update.torch_class.optimizer import build
from steepest.update.work import Column, Work
from steepest_workshop import conformance

VALUES = [-2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 7.0]
ELEMENTWISE = [op for op, word in WORDS.items() if word.llvm and word.number]


def count(op):
    """The number of arguments of an operation."""
    tensor = WORDS[op].number
    return 3 if op == "where" else 2 if op in ("add", "sub", "mul", "div", "pow", "maximum", "minimum") else (
        2 if WORDS[op].is_condition else len(inspect.signature(tensor).parameters)
    )  # fmt: skip


def arguments(op):
    pairs = [(a, b) for a in VALUES for b in VALUES]
    if op == "pow":
        pairs = [(abs(a), 0.7) for a, _ in pairs]
    if op == "where":
        return [(float(a > b), a, b) for a, b in pairs]
    return [pair[: count(op)] for pair in pairs]


def on(engine, op, given):
    """The operation on tensors; its second argument is a number if it is an exponent."""
    names = ["g", "a", "b"][: len(given[0])]
    leaves = {k: Symbol("input", tensor=not (op == "pow" and k == "a"), name=k) for k in names}
    p = Symbol("input", tensor=True, name="p")
    graph = Graph({"p": p, **leaves}, {"p": apply(op, *leaves.values()) * 1.0 + 0.0 * leaves["g"]})
    columns = {k: torch.tensor([x[i] for x in given], dtype=torch.float64) for i, k in enumerate(names)}
    tensors = {"p": Column([torch.empty(len(given), dtype=torch.float64)])}
    tensors |= {k: Column([columns[k]]) for k in names if leaves[k].tensor}
    numbers = {k: float(columns[k][0]) for k in names if not leaves[k].tensor}
    work = Work(graph, tensors, numbers)
    advance(work, engine)
    return work.tensors["p"][0].numpy()


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_all_forms_of_a_word_agree(op):
    given = arguments(op)
    numbers = np.array([float(WORDS[op].number(*x)) for x in given])
    leaves = [Symbol("input", name=f"x{i}") for i in range(len(given[0]))]
    known = Known({leaf: np.array([x[i] for x in given]) for i, leaf in enumerate(leaves)}, len(given))
    (arrays,) = numeric([apply(op, *leaves)])(known)
    np.testing.assert_allclose(np.asarray(arrays, float), numbers, rtol=1e-15)
    finite = np.isfinite(numbers)  # 0 times a NaN or infinity stays NaN in the graphs below
    for engine in (Plain(), Kernel()):
        np.testing.assert_allclose(on(engine, op, given)[finite], numbers[finite], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("op", WORDS)
def test_every_word_is_written_as_mathematics(op):
    letters = [Symbol("input", tensor=True, name=c) for c in "xyzabcd"]
    taken = {"orthogonal": 7, "where": 3}.get(op, count(op) if op in ELEMENTWISE else 1)
    shown, strength = WORDS[op].latex(lambda x, strength=0: x.name, *letters[:taken])
    assert all(letter.name in shown for letter in letters[:taken])
    assert 0 <= strength <= 4


@pytest.fixture
def softsign(monkeypatch, registry):
    """Register x / (1 + |x|) with one entry, and its name in the vocabulary."""
    entry = Word(
        number=lambda x: x / (1 + abs(x)),
        array=lambda x: x / (1 + abs(x)),
        tensor=lambda x: x / (1 + x.abs()),
        llvm=lambda body, x: body.instruction("fdiv", x.args[0], apply("add", 1.0, apply("abs", x.args[0]))),
        latex=lambda show, x: (rf"\operatorname{{softsign}}\left({show(x)}\right)", 4),
    )
    monkeypatch.setitem(WORDS, "softsign", entry)

    def made(x):
        return apply("softsign", x)

    made.__module__ = vocabulary.__name__
    monkeypatch.setattr(vocabulary, "softsign", made, raising=False)
    return made


def test_a_new_word_is_one_entry_and_everything_knows_it(softsign):
    @rules.rule("me")
    def soft(p, g, t, *, lr=0.1):
        return p - lr * softsign(g)

    for op in ("softsign",):
        test_all_forms_of_a_word_agree(op)
        test_every_word_is_written_as_mathematics(op)
    params = conformance.parameters()
    ours = conformance.path(build(soft, params), params)
    p = [x.detach().numpy().copy() for x in conformance.parameters()]
    for k, step in enumerate(ours):
        p = [x - 0.1 * g.numpy() / (1 + np.abs(g.numpy())) for x, g in zip(p, conformance.gradients(k), strict=True)]
        for a, b in zip(step, p, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-12)
    points, _ = trajectory(soft, formula_of(surfaces.get("bowl")), (-1.5, 1.0), 1, lr=0.1)
    np.testing.assert_allclose(points[1], [-1.5 + 0.1 * 3 / 4, 1.0 - 0.1 * 2 / 3], rtol=1e-14)
    assert equations(soft) == [r"\theta_t = \theta_{t-1} - \eta \, \operatorname{softsign}\left(g_t\right)"]
    assert "softsign" in text(describe("soft"))
    assert len(soft.digest) > 60


def test_a_sum_is_shown_as_a_sum(softsign):
    """Reductions differ in what they sum and in their last step, and a traced step shows both."""
    from steepest.rules.vocabulary import mean, norm, total

    @rules.rule("me")
    def summed(p, g, t, *, lr=0.1):
        s = total(p)
        m = mean(p)
        n = norm(p)
        return p - lr * s * m * n * g

    shown = {row["name"]: row["value"] for row in describe("summed")["step"]}
    assert (shown["s"], shown["n"]) == (pytest.approx(-0.5), pytest.approx(math.sqrt(5.25)))
    assert shown["m"] == pytest.approx(-0.5 / 3)
    assert r"\sum_{\text{tensor}}" in " ".join(equations(summed))


def test_equations_read_as_a_person_would_write_them():
    """A trace has no name for a comparison, no 1 - (1 - mu), and shows powers of ten and squares as such."""
    nesterov, muon, sam, belief = (" ".join(equations(rules.get(name))) for name in ("nesterov", "muon", "sam", "adabelief"))
    assert "first" not in nesterov
    assert r"0 & t = 1 \\ \mu & \text{else}" in nesterov
    assert r"\left(1 - \mu\right) \, g_t + \mu \, b_t" in muon
    assert "10^{-12}" in sam
    assert r"\left(g_t - m_t\right)^2" in belief


def test_a_rule_made_by_a_combinator_shows_both():
    assert describe("sam")["source"].startswith("def sam(inner")
    assert "def sgd(p, g, t" in describe("sam")["source"]
