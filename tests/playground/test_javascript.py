"""Rules and surfaces in JavaScript against the compiled loop, by step and by path."""

import functools
import itertools

import numpy as np
import pytest

from steepest import rules, schedules, surfaces
from steepest.errors import SteepestError
from steepest.paths.loop import formula_of, trajectory
from steepest.playground import javascript, script
from steepest.rules import RULES, zeros
from steepest.rules.symbols import Symbol, apply
from steepest.rules.trace import walk
from steepest.rules.vocabulary import where
from steepest.rules.words import WORDS
from steepest.update.numbers import evaluate

from .node import node

NAMES = list(RULES)
SURFACES = [surfaces.get(name) for name in surfaces.SURFACES]
STEPS = 40
EXACT = {
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "abs",
    "sqrt",
    "sign",
    "maximum",
    "minimum",
    "where",
    "epsilon",
    "reduce",
    "gradient",
}
EXACT |= {"gt", "lt", "ge", "le", "eq", "ne"}  # exactly rounded everywhere; powers and cube roots may differ


@functools.cache
def rate(name, surface):
    """The largest of rate / 10, / 100, ... whose path stays near the domain."""
    lr, size = RULES[name].rate / 10, 2 * np.abs(surface.domain).max()
    while not (np.abs(trajectory(RULES[name], formula_of(surface), surface.start, STEPS, lr=lr)[0]) <= size).all():
        lr /= 10
    return lr


def exact(rule, hyper):
    """Whether a step uses only operations that are rounded identically everywhere."""
    return all(x.op in EXACT or not x.args for x in walk(rule.graph(hyper).targets()))


@functools.cache
def compiled(name, surface, steps=STEPS, lr=None):
    """Points, heights and intermediate values of the compiled loop from the surface's start."""
    insides, chosen = {}, RULES[name]
    points, values = trajectory(
        chosen, formula_of(surface), surface.start, steps, lr=rate(name, surface) if lr is None else lr, insides=insides
    )
    return points, values, insides


def states(name, surface):
    """The state before each step, by letter: lists of (step, dims) or of numbers."""
    rule, (points, _, insides) = RULES[name], compiled(name, surface)
    live = rule.live_state(rule.settings())
    before = {}
    for letter, s in live.items():
        after = insides[letter]
        if s.copies:
            first = points[0] if s.copies == "p" else insides["g"][0]
        else:
            number = rate(name, surface) if s.start == "lr" else s.number(rule.settings())
            first = number if after.ndim == 1 else np.full(after.shape[1], number)
        before[letter] = np.concatenate([np.asarray(first, float)[None], after[:-1]]).tolist()
    return before


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """Every step of every rule on every surface in JavaScript, from the compiled state: p and state after it."""
    work = [
        {
            "rule": name,
            "surface": s.name,
            "points": compiled(name, s)[0].tolist(),
            "states": states(name, s),
            "lr": rate(name, s),
        }
        for name in NAMES
        for s in SURFACES
    ]
    code = """
    print(GIVEN.map(({ rule: name, surface, points, states, lr }) => {
      const rule = RULES[name], { f } = SURFACES[surface], hyper = { ...rule.hyper, lr };
      const step = choose(rule, hyper);
      return points.slice(0, -1).map((at, k) => {
        const p = Float64Array.from(at), g = new Float64Array(2), state = {};
        for (const [letter, each] of Object.entries(states))
          state[letter] = typeof each[k] === "number" ? each[k] : Float64Array.from(each[k]);
        const value = f(p, g);
        const ask = (point) => { const to = new Float64Array(2); f(point, to); return to; };
        const before = Array.from(g);
        step(p, g, k + 1, state, hyper, ask);
        return { value, g: before, p, state };
      });
    }));
    """
    whole = script.engine() + script.rules_script([RULES[k] for k in NAMES]) + script.surfaces_script(SURFACES) + code
    made = node(tmp_path_factory.mktemp("steps"), whole, work)
    return {(item["rule"], item["surface"]): rows for item, rows in zip(work, made, strict=True)}


def apart(ours, theirs, scale):
    """The largest difference relative to the larger of the oracle's value and a scale."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), scale)))


@pytest.mark.parametrize("surface", SURFACES, ids=lambda s: s.name)
def test_heights_and_gradients_are_those_of_the_compiled_loop(steps, surface):
    for name in NAMES:
        _, values, insides = compiled(name, surface)
        rows = steps[name, surface.name]
        assert apart([r["value"] for r in rows], values[:-1], np.abs(values).max()) < 1e-12
        if "g" in insides:
            assert apart([r["g"] for r in rows], insides["g"], np.abs(insides["g"]).max()) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_every_step_of_every_rule_is_that_of_the_compiled_loop(steps, name):
    rule = RULES[name]
    for surface in SURFACES:
        points, _, insides = compiled(name, surface)
        rows, near = steps[name, surface.name], 1e-12 if exact(rule, rule.settings()) else 1e-10
        assert apart([r["p"] for r in rows], points[1:], np.abs(points).max()) < near, surface.name
        for letter in rows[0]["state"]:
            assert apart([r["state"][letter] for r in rows], insides[letter], np.abs(insides[letter]).max()) < near


WALK = """
print(GIVEN.map(({ rule, surface, hyper, start, rates, noise }) => {
  const { values, points } = walk(RULES[rule], { ...RULES[rule].hyper, ...hyper }, SURFACES[surface].f, start, rates, noise);
  return { points, values };
}));
"""


def walked(folder, work):
    """Whole paths in JavaScript: points (steps + 1, 2) and heights of each."""
    names = {item["rule"] for item in work}
    code = script.engine() + script.rules_script([RULES[k] for k in NAMES if k in names]) + script.surfaces_script(SURFACES)
    return [(np.reshape(path["points"], (-1, 2)), path["values"]) for path in node(folder, code + WALK, work)]


def test_paths_of_500_steps_are_those_of_the_compiled_loop_where_the_start_does_not_matter_much(tmp_path):
    """Paths must be equal if moving the start by 1e-12 and adding rounding noise to gradients moves them by less than 1e-10.

    Near a minimum some rules divide rounding errors by their own size, and move at random.
    """
    many, work, oracles = 500, [], []
    shaken = 1e-15 * np.random.default_rng(0).choice((-1.0, 1.0), (many, 2))
    for name in NAMES:
        for surface in SURFACES:
            formula, lr = formula_of(surface), rate(name, surface)
            points, values = trajectory(RULES[name], formula, surface.start, many, lr=lr)
            noise = shaken * np.abs(surface.gradient(points)).max()
            start = np.add(surface.start, 1e-12)
            moved, _ = trajectory(RULES[name], formula, start, many, lr=lr, noise=noise)
            if np.isfinite(points).all() and np.abs(moved - points).max() < 1e-10:
                work.append({"rule": name, "surface": surface.name, "start": surface.start, "rates": [lr] * many})
                oracles.append((points, values))
    assert len(work) > 0.75 * len(NAMES) * len(SURFACES)  # otherwise the condition would pass this test, not the code
    for item, (points, values), (ours, heights) in zip(work, oracles, walked(tmp_path, work), strict=True):
        label = item["rule"], item["surface"]
        assert apart(ours, points, np.abs(points).max()) < 1e-9, label
        assert apart(heights, values, np.abs(values).max()) < 1e-9, label


def test_every_choice_of_every_rule_walks_as_the_compiled_loop_with_a_schedule_and_noise(tmp_path):
    rng, steps, surface = np.random.default_rng(0), 30, surfaces.get("beale")
    noise, rates = 0.01 * rng.standard_normal((steps, 2)), np.linspace(1, 0.1, steps)
    work, oracles = [], []
    for name in NAMES:
        rule = RULES[name]
        for when, _ in script.choices(rule):
            hyper = script.settings(rule, when)
            changed = {k: v for k, v in hyper.items() if v != rule.hyper[k]}
            used = 0.1 * rate(name, surface) * rates
            points, values = trajectory(rule, formula_of(surface), (1.0, 1.5), steps, lr=used, noise=noise, **changed)
            work.append({"rule": name, "surface": surface.name, "hyper": changed, "start": [1.0, 1.5], "rates": used.tolist()})
            work[-1]["noise"] = noise.ravel().tolist()
            oracles.append((points, values))
    assert len({np.asarray(points).tobytes() for points, _ in oracles}) > 2 * len(
        NAMES
    )  # without choices there would be one for each
    for item, (points, values), (ours, heights) in zip(work, oracles, walked(tmp_path, work), strict=True):
        assert apart(ours, points, np.abs(points).max()) < 1e-10, item["rule"]
        assert apart(heights, values, np.abs(values).max()) < 1e-10, item["rule"]


def test_every_word_in_javascript_is_the_number_that_python_has(tmp_path):
    values = [-2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 7.0]
    letters, cases, calls = [Symbol("input", name=c) for c in "abc"], [], []
    for op, word in WORDS.items():
        if not word.javascript or not word.number:
            continue
        taken = 3 if op == "where" else arity(op)
        shown = javascript.expression(apply(op, *letters[:taken]))
        for a, b in itertools.product(values, values):
            given = {1: [a], 2: [abs(a) if op == "pow" else a, b], 3: [float(a > 0), a, b]}[taken]
            cases.append((op, given, word.number(*given)))
            named = ", ".join("abc"[:taken])
            calls.append(f"String(Number((({named}) => {shown})({', '.join(map(number, given))})))")
    made = node(tmp_path, f"{script.engine()}print([{', '.join(calls)}]);", None)
    for (op, given, wanted), text in zip(cases, made, strict=True):
        ours = float(text.replace("Infinity", "inf"))
        np.testing.assert_allclose(ours, float(wanted), rtol=1e-15, err_msg=f"{op}{given}")


def test_brackets_stand_where_javascript_needs_them(tmp_path):
    """Trees of every two operations, as deep as precedence can fail, against Python's values."""
    x, y, z = (Symbol("input", name=c) for c in "xyz")
    at, trees = {"x": 0.7, "y": -1.3, "z": 2.0}, []
    for outer in TWO:
        for inner in TWO:
            trees += [apply(outer, apply(inner, x, y), z), apply(outer, z, apply(inner, x, y))]
            trees += [apply(outer, -apply(inner, x, y), -z), apply(outer, where(x > y, x, y), apply(inner, y, -2.5))]
    code = (
        f"const x = 0.7, y = -1.3, z = 2; print([{', '.join(f'String(Number({javascript.expression(t)}))' for t in trees)}]);"
    )
    for tree, text in zip(trees, node(tmp_path, code, None), strict=True):
        wanted = float(evaluate(tree, {x: at["x"], y: at["y"], z: at["z"]}))
        np.testing.assert_allclose(float(text.replace("Infinity", "inf")), wanted, rtol=1e-15, err_msg=str(tree))


TWO = ("add", "sub", "mul", "div", "pow", "maximum", "lt")


def arity(op):
    """The number of arguments of an operation."""
    return 2 if op in TWO or WORDS[op].is_condition or op == "minimum" else 1


def number(x):
    """A number in JavaScript syntax, with the sign of zero."""
    return "-0" if x == 0 and str(x).startswith("-") else repr(x)


def test_a_rule_that_javascript_cannot_take_is_refused_with_the_reason():
    with pytest.raises(SteepestError, match="draws noise"):
        javascript.text(rules.noisy(RULES["sgd"], noise=0.1), {})
    assert "a matrix takes another step" in javascript.text(RULES["muon"])
    assert "whole model" in javascript.text(RULES["adai"])
    assert "whole model" not in javascript.text(RULES["lamb"])


def test_names_that_javascript_keeps_for_itself_are_renamed(tmp_path, registry):
    @rules.rule("me")
    def odd(p, g, t, new=zeros, i=zeros, *, lr=0.1, var=0.5, state=2.0):
        let = var * new + g
        return p - lr * let - lr * state * i, let, i + g

    code = f"{javascript.function(odd, odd.settings())}\n"
    code += "const p = [1, 2], state = { new: [0.5, 0], i: [0, 1] };"
    code += "odd(p, [0.1, 0.2], 1, state, { lr: 0.1, var: 0.5, state: 2 }); print([p, state.new, state.i]);"
    p, new, i = node(tmp_path, code, None)
    np.testing.assert_allclose(p, [1 - 0.1 * 0.35, 2 - 0.1 * 0.2 - 0.2])
    np.testing.assert_allclose([new, i], [[0.35, 0.2], [0.1, 1.2]])


@pytest.mark.parametrize("steps", [1, 7, 50, 500])
def test_schedules_are_those_of_the_library(tmp_path, steps):
    code = "print(Object.keys(SCHEDULES).map((name) => [name, ratesOf(2, name, GIVEN)]));"
    made = node(tmp_path, script.engine() + code, steps)
    assert len(made) >= 6
    for name, rates in made:
        np.testing.assert_allclose(rates, 2 * np.array(schedules.get(name).values(steps)), rtol=1e-13, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_noise_is_the_stream_that_numpy_keeps(tmp_path, seed):
    made = node(tmp_path, script.kept() + script.engine() + "print(normals(GIVEN, 1001));", seed)
    np.testing.assert_allclose(made, np.random.RandomState(seed).standard_normal(1001), rtol=1e-13)
