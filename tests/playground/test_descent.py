"""The page's computations on surfaces, in Node, against the library: formulas, paths, rates, errors, lessons, addresses."""

import math
import random

import numpy as np
import pytest

import steepest
from steepest import escapes, surfaces
from steepest.errors import SteepestError
from steepest.playground import page, script
from steepest.rules import RULES

from .node import node

PARTS = page.PARTS[: page.PARTS.index("network")]  # those that need no document
OWN = [
    "x**2 + 3*sin(y)**2",
    "-x**2 + y**4 - 2**-1*x*y",
    "exp(-(x - 1)**2 - y**2)*cos(3*x) + abs(x*y)",
    "sqrt(x**2 + y**2 + 1) + tanh(x) + atan(y) - log(x**2 + 2) + pi*y + e",
    "x1**2*x2 + sinh(x2)/cosh(x1)",
    "abs(x) + abs(y - 1) + tan(x/9)",
    "(x + y)**2/(1 + x**2)**(1/2)",
]
HOSTILE = [
    *("alert(1)", "import(x)", "x.constructor(y)", "x; y", "f(x) = x + y", "x = y", "[x, y]", "x > y", "x ? y : x", "x!+y"),
    *('"x" + y', "x' + y", "{a: x}", "constructor + y", "__proto__ + x + y", "toString(y) + x", "evaluate(x) + y", "x in y"),
    *("", "x +", "x**2", "y**2 + z", "x + x1 + y", "1e999*y", "x + 5i + y", "sin(x, y)", "x[1] + y", "y cm", "y to x", "x:y"),
    *(
        "x/2y",
        "2 x + y",
        "y**1000",
        "x**" * 98 + "y",
        "abs(" * 50 + "y-x+" + ")" * 50,
        "x*" * 140 + "y",
        "*".join(["(x+y)"] * 60),
    ),
    *("(" * 200 + "y" + ")" * 200, "y" + " + y" * 200, "range(1, y)", "import({y: x})", "x % y", "x | y", "x.y", "hex(y)"),
]


def page_script(code):
    first = {"rules": ["sgd", "adam"], "address": {}, "most": page.MOST}
    rules = [*RULES.values(), page.SWITCH]
    parts = [
        f"const FIRST = {escapes.script(first)};",
        script.kept(),
        script.rules_script(rules, {page.SWITCH.name: page.OFFERED}),
    ]
    made = [make() for make in surfaces.SURFACES.values()]
    return "\n".join([*parts, script.surfaces_script(made), *(script.file(f"{name}.js") for name in PARTS), code])


def test_a_formula_of_the_readers_own_is_the_surface_that_the_library_reads(tmp_path):
    points = np.random.default_rng(0).uniform(-2, 2, (40, 2)).tolist()
    code = """
    print(GIVEN.formulas.map((text) => {
      const { f, formula } = surfaceOfFormula(text);
      const at = (p) => { const g = [0, 0]; return [f(p, g), ...g]; };
      return { formula, rows: GIVEN.points.map(at), tip: at([0, 1]) };
    }));
    """
    made = node(tmp_path, page_script(code), {"formulas": OWN, "points": points})
    for text, one in zip(OWN, made, strict=True):
        for written in (text, one["formula"]):  # the page shows the formula as typed, in Python syntax
            surface = surfaces.get(written)
            theirs = np.column_stack([surface.value(points), surface.gradient(points)])
            np.testing.assert_allclose(one["rows"], theirs, rtol=1e-12, atol=1e-12)
    assert made[5]["tip"] == [0.0, pytest.approx(1 / 9), 0.0]  # at the tips the slope of abs is 0


def test_hostile_formulas_are_refused_with_a_sentence_and_nothing_of_them_runs(tmp_path):
    code = """
    globalThis.alert = () => { globalThis.hurt = true; };
    const said = (text) => { try { surfaceOfFormula(text); return "read"; } catch (error) { return error.message; } };
    print({ said: GIVEN.map(said), hurt: globalThis.hurt ?? false });
    """
    made = node(tmp_path, page_script(code), HOSTILE)
    assert not made["hurt"]
    for text, said in zip(HOSTILE, made["said"], strict=True):
        assert said.startswith("This formula is refused: "), (text, said)
        assert "Write numbers, x and y" in said


def test_paths_leave_and_are_lost_where_the_library_says(tmp_path):
    runs = [("saddle", "sgd", 0.05, 200), ("saddle", "adagrad", 0.05, 200), ("valley", "sgd", 0.05, 300)]
    runs += [("valley", "adam", 0.5, 100), ("rosenbrock", "sgd", 0.01, 50), ("rosenbrock", "nesterov_lookahead", 0.001, 101)]
    runs += [("bowl", "sgd", 1.5, 100), ("beale", "momentum", 0.02, 60)]
    code = """
    print(GIVEN.map(([surface, name, lr, steps]) => {
      const path = pathOf({ name, lr, hyper: {} }, SURFACES[surface], { ...START, start: SURFACES[surface].start, steps });
      return [path.leavesAt, path.lostAt, path.count, path.values[path.last]];
    }));
    """
    made = node(tmp_path, page_script(code), runs)
    for (surface, name, lr, steps), (leaves, lost, count, last) in zip(runs, made, strict=True):
        descent = steepest.trajectory(surface, [name], steps=steps, lrs=lr)
        path = descent.paths[0]
        assert (path.leaves(descent.surface.domain), path.diverged_at, len(path.values) - 1) == (leaves, lost, count)
        assert last == pytest.approx(path.values[:lost][-1], rel=1e-9)
    assert any(lost is not None for _, lost, _, _ in made)
    assert any(leaves is None for leaves, _, _, _ in made)


def test_tuned_rates_are_those_of_the_library(tmp_path):
    code = """
    const of = (surface) => ({ ...START, start: SURFACES[surface].start, steps: 100 });
    print(GIVEN.map(([surface, name]) => tuned({ name, hyper: {} }, SURFACES[surface], of(surface))));
    """
    work = [
        (s, r) for s in ("bowl", "beale", "himmelblau", "saddle", "plateau") for r in ("sgd", "momentum", "adagrad", "adam")
    ]
    made = node(tmp_path, page_script(code), work)
    theirs = [steepest.trajectory(s, [r], steps=100).paths[0].lr for s, r in work]
    assert made == theirs


def test_quadratics_are_known_by_their_curvature_and_others_are_not(tmp_path):
    texts = ["3*x**2 + 2*x*y - y**2 + x", "x**2 + 100*y**2", "x + y", "x**2 + y**4", "x**2 + sin(y)"]
    code = """
    print({ named: Object.fromEntries(Object.entries(SURFACES).map(([k, s]) => [k, [curvature(s), curvature(turned(s, 37))]])),
            own: GIVEN.map((text) => curvature(surfaceOfFormula(text))) });
    """
    made = node(tmp_path, page_script(code), texts)
    assert {k for k, (found, _) in made["named"].items() if found} == {"bowl", "valley", "booth", "saddle"}
    for name in ("bowl", "valley", "booth", "saddle"):
        values = np.linalg.eigvalsh(surfaces.get(name).hessian((0.3, 0.4)))
        for found in made["named"][name]:
            assert [found["smallest"], found["largest"]] == pytest.approx(values.tolist(), rel=1e-7)
    values = np.linalg.eigvalsh(surfaces.get(texts[0]).hessian((0.0, 0.0)))
    assert [made["own"][0]["smallest"], made["own"][0]["largest"]] == pytest.approx(values.tolist(), rel=1e-7)
    assert [bool(found) for found in made["own"]] == [True, True, False, False, False]


def test_the_page_refuses_the_hyperparameters_that_the_library_refuses(tmp_path):
    rng = random.Random(0)
    values = [0.0, 0.5, 0.9, 1.0, 1.5, -0.1, 1e-8, 2.0]
    work = []
    for rule in RULES.values():
        if len(rule.shapes) > 1:
            continue
        for _ in range(40):
            names = rng.sample([k for k in rule.hyper if k != "lr"], k=min(2, len(rule.hyper) - 1))
            work.append(
                (rule.name, {k: rng.random() < 0.5 if isinstance(rule.hyper[k], bool) else rng.choice(values) for k in names})
            )
    code = """
    print(GIVEN.map(([name, changed]) => {
      const hyper = { ...RULES[name].hyper, ...changed };
      return [refusal(name, hyper), Boolean(choose(RULES[name], hyper))];
    }));
    """
    made = node(tmp_path, page_script(code), work)
    refused = 0
    for (name, hyper), (said, has_step) in zip(work, made, strict=True):
        try:
            RULES[name].settings(**hyper)
        except SteepestError:
            refused += 1
            assert said, (name, hyper)
        else:
            assert (said, has_step) == ("", True), (name, hyper)
    assert 100 < refused < len(work) - 100
    muon = node(tmp_path, page_script("print(refusal('muon', RULES.muon.hyper))"), None)
    assert muon == script.MATRICES


def test_an_address_gives_back_what_it_was_made_of_and_trusts_nothing(tmp_path):
    good = (
        "surface=himmelblau&turn=30&start=1,-2&steps=321&schedule=cosine&noise=0.25&seed=7&at=12&follow=1&panel=basins"
        "&rules=adam(eps=1,amsgrad=True)@0.1,switch(adam,sgd)(at=9)@0.3,momentum@0.002&lesson=3"
    )
    bad = [
        "surface=nowhere&steps=0&noise=-1&seed=1.5&turn=999&start=1&rules=what@1&panel=x&schedule=__proto__&at=-3&follow=99",
        "surface=constructor&start=a,b&steps=1e9&rules=adam(beta1=2)@1&noise=NaN&lesson=77",
        "rules=adam(__proto__=1)@1,sgd@x&start=Infinity,0&steps=&seed=-1&schedule=toString",
        "rules=muon@1",
        "rules=sgd@1,sgd@2",
        "rules=switch(adam,sgd)(at=3)@1,switch(adam,sgd)(at=4)@1",
        "rules=sgd@0",
        "rules=sgd@1e300&start=,",
    ]
    code = """
    const first = readState("surface=valley", START);
    first.start = [1, 2];
    const once = readState(GIVEN.good, first);
    const said = String(writeState(once));
    const bad = GIVEN.bad.map((text) => readState(text, first)), lesson = readState("lesson=3", first);
    print({ once, twice: readState(said, first), lesson, bad, first });
    """
    made = node(tmp_path, page_script(code), {"good": good, "bad": bad})
    assert made["once"] == made["twice"]
    assert [made["once"][k] for k in ("surface", "start", "steps", "panel")] == ["himmelblau", [1, -2], 321, "basins"]
    assert made["once"]["rules"][0] == {"name": "adam", "lr": 0.1, "hyper": {"eps": 1, "amsgrad": True}}
    assert (made["lesson"]["lesson"], made["lesson"]["steps"], made["lesson"]["start"]) == (3, 40, [-4.5, 0.2])
    for state in made["bad"]:
        changed = {k for k, v in state.items() if v != made["first"][k]}
        assert changed <= {"follow"}, changed
        assert 0 <= state["follow"] < len(state["rules"])


def test_no_two_rules_look_alike_but_for_their_colour(tmp_path):
    code = """
    const names = Object.keys(RULES), of = ({ marker, dash }) => marker + dash;
    const first = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"].map((name) => styleOf(name).marker);
    print({ looks: names.map((name) => of(styleOf(name))), first, variants: [0, 1, 2, 3].map((k) => of(styleOf("adam", k))) });
    """
    made = node(tmp_path, page_script(code), None)
    assert len(set(made["looks"])) == len(made["looks"]) == len(RULES) + 2  # the switch, and Newton's method
    assert len(set(made["variants"])) == 4


def test_a_surface_fills_its_map_and_a_start_outside_is_still_seen(tmp_path):
    code = """
    const views = (s) => [s.start, [s.domain[0][1] + 1, 0]].map((start) => viewOf(s, start, 470, 350));
    print(Object.values(SURFACES).map((s) => [s.domain, shapeOf(s), ...views(s)]));
    """
    for ((x0, x1), (y0, y1)), shape, view, wider in node(tmp_path, page_script(code), None):
        assert [view[k] for k in ("x0", "x1", "y0", "y1")] == pytest.approx([x0, x1, y0, y1])
        assert shape == pytest.approx(np.clip((x1 - x0) / (y1 - y0), 0.75, 1.4))
        assert wider["x1"] > x1 + 1


def test_the_surfaces_formulas_can_be_typed(tmp_path):
    code = """
    print(Object.fromEntries(Object.entries(SURFACES).map(([k, s]) => {
      const own = surfaceOfFormula(s.formula), g = [0, 0], h = [0, 0], p = [0.3, -0.7];
      return [k, [own.f(p, g), ...g, s.f(p, h), ...h]];
    })));
    """
    for name, (height, x, y, *named) in node(tmp_path, page_script(code), None).items():
        assert [height, x, y] == pytest.approx(named, rel=1e-12, abs=1e-14), name
        typed, surface = surfaces.get(surfaces.get(name).formula), surfaces.get(name)
        assert float(typed.value((0.3, -0.7))) == pytest.approx(float(surface.value((0.3, -0.7))), rel=1e-12)


def test_each_lesson_has_exactly_one_answer_that_the_paths_bear_out(tmp_path):
    code = """
    print(LESSONS.map(({ title, options, look, reveal, question, sentence }) => {
      const seen = lookAt(look);
      return { title, question, sentence, holds: options.map(([, holds]) => holds(seen)), said: reveal(seen) };
    }));
    """
    made = node(tmp_path, page_script(code), None)
    assert [one["title"] for one in made] == [
        "The saddle", "The long valley", "Too large a rate", "Noise and averaging", "Momentum's overshoot", "Adam, then SGD",
        "The turned valley", "The ε of Adam", "Rate and momentum", "Forgetting",
    ]  # fmt: skip
    for one in made:
        assert sorted(one["holds"]) == [False, False, True], one
        assert not any(word in one["said"] for word in ("undefined", "NaN", "not a number")), one


def test_the_numbers_of_a_step_are_those_of_the_rule(tmp_path):
    code = """
    const run = { ...START, start: SURFACES.beale.start, steps: 60, schedule: "cosine", noise: 0.3, seed: 4 };
    print(Object.keys(RULES).filter((name) => !RULES[name].apart).map((name) => {
      const entry = { name, lr: 0.01, hyper: {} }, path = pathOf(entry, SURFACES.beale, run), k = Math.min(17, path.last);
      const points = Array.from(path.points.slice(2 * k - 2, 2 * k + 2));
      return { name, ...stepNumbers(entry, SURFACES.beale, run, k), points };
    }));
    """
    made = {one["name"]: one for one in node(tmp_path, page_script(code), None)}
    for name, one in made.items():
        values = {line["name"]: line["value"] for line in one["lines"]}
        before, after = one["points"][:2], one["points"][2:]
        assert values["Δ"] == pytest.approx(np.subtract(after, before).tolist(), abs=0), name
        assert values["p_t"] == after, name
    adam = {line["name"]: line["value"] for line in made["adam"]["lines"]}
    assert list(adam) == ["g", "m_t", "m_hat", "v_t", "v_hat", "√v_hat", "p_t", "Δ"]
    assert adam["m_hat"] == pytest.approx([m / (1 - 0.9**17) for m in adam["m_t"]], rel=1e-14)
    assert adam["√v_hat"] == pytest.approx([math.sqrt(v) for v in adam["v_hat"]], rel=1e-15)
    step = [-made["adam"]["rate"] * m / (r + 1e-8) for m, r in zip(adam["m_hat"], adam["√v_hat"], strict=True)]
    assert adam["Δ"] == pytest.approx(step, rel=1e-9)


def test_sweeps_and_basins_show_the_paths_they_stand_for(tmp_path):
    code = """
    const run = { ...START, start: [-0.5, -1], steps: 150 }, surface = SURFACES.himmelblau;
    const entry = { name: "sgd", lr: 0.01, hyper: {} };
    const table = [], rates = [0.001, 0.01, 0.03];
    for (const _ of sweepOf([entry], surface, run, rates, table)) ;
    const cells = new Int8Array(16), ends = surface.minima.map((point) => [...point]), view = { x0: -5, x1: 5, y0: -5, y1: 5 };
    for (const _ of basinsOf(entry, surface, run, view, 4, 4, cells, ends)) ;
    print({ table, lost: table[0].map((x) => Number(!Number.isFinite(x))), cells, ends });
    """
    made = node(tmp_path, page_script(code), None)
    for lr, last, lost in zip((0.001, 0.01, 0.03), made["table"][0], made["lost"], strict=True):
        path = steepest.trajectory("himmelblau", ["sgd"], start=(-0.5, -1), steps=150, lrs=lr).paths[0]
        assert bool(lost) == (path.diverged_at is not None)
        assert lost or last == pytest.approx(path.values[-1], abs=1e-9)
    assert len(made["ends"]) == 4
    minima = surfaces.get("himmelblau").minima
    for k, cell in enumerate(made["cells"]):
        start = (-5 + (k % 4 + 0.5) * 2.5, 5 - (k // 4 + 0.5) * 2.5)
        path = steepest.trajectory("himmelblau", ["sgd"], start=start, steps=150, lrs=0.01).paths[0]
        if path.diverged_at is not None:
            assert cell == -1
        else:
            near = [math.dist(path.points[-1], minimum) for minimum in minima]
            assert min(near) < 0.3
            assert cell == int(np.argmin(near))
    assert len(set(made["cells"])) > 2
