"""Surfaces, what is said of them, paths down them, and the pictures."""

import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import steepest
from steepest import rules, surfaces
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.paths.descent import descend
from steepest.paths.loop import formula_of, trajectory
from steepest.report.surface import pictures
from steepest.surfaces import optimality
from steepest.training.curvature import curvature

ALL = [*surfaces.SURFACES, "rosenbrock(dims=5)", "ackley(dims=3)", "valley(condition=1000)", "bowl(dims=1)"]
WITHOUT_MINIMA = ("saddle", "monkey_saddle", "schwarz")


@pytest.mark.parametrize("name", ALL)
def test_known_minima_are_minima_and_derivatives_are_those_of_the_value(name):
    surface = surfaces.get(name)
    assert bool(surface.minima) == (surface.name not in WITHOUT_MINIMA)
    rng = np.random.default_rng(0)
    low, high = np.array(surface.domain, float).T
    at = low + (high - low) * rng.random((50, surface.dims))
    steps = 1e-6 * np.eye(surface.dims)
    numeric = np.stack([(surface.value(at + e) - surface.value(at - e)) / 2e-6 for e in steps], -1)
    np.testing.assert_allclose(surface.gradient(at), numeric, rtol=1e-5, atol=1e-4)
    second = np.stack([(surface.gradient(at + e) - surface.gradient(at - e)) / 2e-6 for e in steps], -1)
    np.testing.assert_allclose(surface.hessian(at), second, rtol=1e-5, atol=1e-3)
    for minimum in surface.minima:
        assert np.abs(surface.gradient(minimum)).max() < 1e-8
        around = np.array(minimum) + 1e-3 * rng.normal(size=(200, surface.dims))
        assert (surface.value(around) >= surface.value(minimum) - 1e-12).all()
        assert (surface.value(at) >= surface.value(minimum) - 1e-9).all()  # and the least in the domain


@pytest.mark.parametrize("name", [*ALL, "x**2 + 3*sin(y)**2", "abs(x) + tanh(y)*log(x**2 + 1)", "x**-2 + sqrt(x**2 + 1)"])
def test_compiled_paths_equal_a_plain_loop(name):
    surface = surfaces.get(name)
    given = {"sgd": (torch.optim.SGD, {}), "adam": (torch.optim.Adam, {}), "rmsprop": (torch.optim.RMSprop, {})}
    for rule, (kind, more) in given.items():
        points, values = trajectory(rules.get(rule), formula_of(surface), surface.start, 60, lr=1e-3)
        p = nn.Parameter(torch.tensor(surface.start, dtype=torch.float64))
        own = kind([p], lr=1e-3, **more)
        for k in range(60):
            np.testing.assert_allclose(points[k], p.detach().numpy(), rtol=1e-10, atol=1e-10)
            p.grad = torch.from_numpy(surface.gradient(p.detach().numpy()))
            own.step()
        np.testing.assert_allclose(values, surface.value(points), rtol=1e-12, atol=1e-12)


KINDS = {
    "himmelblau": {"minimum": 4, "saddle": 4, "maximum": 1},
    "rosenbrock": {"minimum": 1},
    "six_hump_camel": {"minimum": 6, "saddle": 7, "maximum": 2},
    "styblinski_tang": {"minimum": 4, "saddle": 4, "maximum": 1},
    "rastrigin": {"minimum": 121, "saddle": 220, "maximum": 100},
    "beale": {"minimum": 1, "saddle": 2},
    "saddle": {"saddle": 1},
    "monkey_saddle": {"degenerate": 1},
    "ackley": {"minimum": 121, "saddle": 220, "maximum": 100},
    "x**4 - 3*x**2": {"minimum": 2, "maximum": 1},
}


@pytest.mark.parametrize("name", KINDS)
def test_stationary_points_are_found_and_told_apart(name):
    found = optimality.stationary(surfaces.get(name))
    counts = {kind: sum(s.kind == kind for s in found) for kind in ("minimum", "saddle", "maximum", "degenerate")}
    expected = KINDS[name]
    if name == "ackley":  # the domain cuts its outermost minima
        assert counts["minimum"] in (120, 121)
        expected = expected | {"minimum": counts["minimum"]}
    assert {k: n for k, n in counts.items() if n} == expected
    if name == "rosenbrock":
        assert found[0].point == (1.0, 1.0)


def test_convexity_is_proved_refuted_or_left_open():
    assert optimality.convexity(surfaces.get("booth"))[0] is True
    assert optimality.convexity(surfaces.get("x**2 - y**2"))[0] is False
    convex, why = optimality.convexity(surfaces.get("x**4 + exp(y)"))
    assert convex is None
    assert why == "no counter-example in 20,000 tries"
    for name in ("rosenbrock", "plateau", "schwarz", "x**3"):
        assert optimality.convexity(surfaces.get(name))[0] is False


def test_schwarzs_caveat_is_told_where_it_holds():
    assert "by x, then y is -1, and by y, then x 1" in (optimality.schwarz(surfaces.get("schwarz")) or "")
    assert optimality.schwarz(surfaces.get("ackley")) is None


def test_ackleys_tip_stays_where_it_is():
    for name in ("gd", "adam"):
        points, _ = trajectory(rules.get(name), formula_of(surfaces.get("ackley")), (0.0, 0.0), 5, lr=0.1)
        assert not points.any()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "x.real",
        "x if x else y",
        "lambda: x",
        "[x][0]",
        "9**9**9*x",
        "x**1000",
        "1e300*x",
        "open(x)",
        "x @ y",
        "f(x)",
        "x = 2",
        "sin(x, y)",
        "sin()",
        "'x'",
        "True * x",
        "x; y",
        "((((x",
        "x1 + y",
        "x0",
        "x99",
        "3 + 4",
        "sqrt(-1) * x",
        "1/0 * x",
        "x" + "+x" * 300,
        "x := 1",
        "exec('1')",
        "x**2 or y",
        "x < y",
        "",
    ],
)
def test_anything_but_a_formula_is_refused_with_a_sentence(text):
    with pytest.raises(SteepestError) as error:
        surfaces.get(text)
    assert "\n" not in str(error.value)


def leaving(found):
    return {path.name: path.leaves(found.surface.domain) for path in found.paths}


def test_the_saddle_is_left_last_by_sgd_and_first_by_rmsprop_and_adam():
    """From (1, 0.001) with rate 0.02, 0.05 for Adagrad and Adam, 0.5 for Adadelta, 200 gradients each."""
    names = "sgd,momentum,nesterov,adagrad,adadelta,rmsprop,adam"
    left = leaving(steepest.trajectory("saddle", names, (1, 1e-3), 200))
    assert None not in left.values()
    assert max(left, key=left.get) == "sgd"
    assert set(sorted(left, key=left.get)[:2]) == {"rmsprop", "adam"}
    lingering = {
        p.name: int((np.abs(p.values) < 0.05).sum()) for p in steepest.trajectory("saddle", names, (1, 1e-3), 200).paths
    }
    assert max(lingering, key=lingering.get) == "sgd"


def test_from_the_ridge_of_the_saddle_nobody_leaves():
    found = steepest.trajectory("saddle", ",".join(n for n in rules.RULES if n != "muon"), (1, 0), 200, lrs=0.01)
    for path in found.paths:
        assert not path.points[:, 1].any(), path.name


def test_momentum_overshoots_in_the_valley_and_sgd_does_not():
    found = steepest.trajectory("valley", "sgd,momentum", None, 200, lrs=0.02)
    sgd, momentum = (path.points[:, 0] for path in found.paths)
    assert sgd.max() < 0  # comes from the left, and stays there
    assert momentum.max() > 1
    assert np.abs(momentum[-20:]).max() < 0.1  # and comes to rest


def test_noise_is_seeded_and_shared_and_rates_may_be_tuned():
    one, again, other = (steepest.trajectory("bowl", "sgd,adam", steps=50, lrs=0.1, noise=0.3, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.paths[0].points, again.paths[0].points)
    assert not np.array_equal(one.paths[0].points, other.paths[0].points)
    clean = steepest.trajectory("bowl", "sgd", steps=50, lrs=0.1).paths[0]
    rng = np.random.default_rng(1)
    shaken = 0.3 * rng.standard_normal((50, 2))
    p = np.array(clean.points[0])
    for k in range(50):
        p = p - 0.1 * (2 * p + shaken[k])
    np.testing.assert_allclose(one.paths[0].points[-1], p, rtol=1e-12)
    tuned = steepest.trajectory("rosenbrock", "sgd,adam", steps=200, lrs="auto")
    assert all(path.tuned and path.leaves(tuned.surface.domain) is None for path in tuned.paths)
    for path in tuned.paths:
        for lr in (path.lr / 2.2, path.lr * 2.2):
            worse = steepest.trajectory("rosenbrock", path.name, steps=200, lrs=lr).paths[0]
            assert worse.leaves(tuned.surface.domain) is not None or worse.values[-1] >= path.values[-1] * 0.9


def test_equal_work_halves_the_steps_of_a_rule_with_two_gradients():
    found = steepest.trajectory("bowl", "sgd,sam", steps=100, lrs=0.01)
    assert [len(path.points) for path in found.paths] == [101, 51]


def test_insides_are_those_of_a_plain_loop():
    path = steepest.trajectory("rosenbrock", "adam", steps=40, lrs=0.05).paths[0]
    m, v = np.zeros(2), np.zeros(2)
    for k in range(40):
        g = surfaces.get("rosenbrock").gradient(path.points[k])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        for name, value in {
            "g": g,
            "m": m,
            "v": v,
            "m_hat": m / (1 - 0.9 ** (k + 1)),
            "v_hat": v / (1 - 0.999 ** (k + 1)),
        }.items():
            np.testing.assert_allclose(path.insides[name][k], value, rtol=1e-10)


def test_a_path_that_diverges_says_at_which_step():
    found = steepest.trajectory("rosenbrock", "sgd", steps=50, lrs=1.0).paths[0]
    assert found.diverged_at is not None
    assert np.isfinite(found.values[: found.diverged_at]).all()
    assert np.isnan(found.values[found.diverged_at :]).all()


def test_curvature_is_the_hessians(line):
    problem = line
    found = curvature(problem)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = problem.start(0)
    (x,), y = problem.train.batch(slice(0, 64))
    w = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def loss(w):
        return nn.functional.mse_loss(x * w[0] + w[1], y)

    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, w))
    assert found.least == pytest.approx(float(values[0]), rel=1e-4)
    assert found.largest == pytest.approx(float(values[-1]), rel=1e-4)
    assert found.bound == pytest.approx(2 / float(values[-1]), rel=1e-4)
    assert found.gradient == pytest.approx(float(torch.autograd.functional.jacobian(loss, w).norm()), rel=1e-4)
    digits = steepest.problems.get("digits")
    wide = curvature(digits)
    params = dict(digits.start(0).named_parameters())
    assert sum(p.numel() for p in params.values()) > 1000
    assert wide.least < 0 < wide.largest


VIEWS = {
    "map": pictures.contour,
    "space": pictures.surface3d,
    "panels": pictures.panels,
    "heights": pictures.heights,
    "insides": lambda d: pictures.insides(d.paths[-1], d.surface),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_pictures_are_written_with_words(view, kind, tmp_path):
    found = descend(surfaces.get("saddle"), [rules.get(n) for n in ("sgd", "adam")], (1.0, 1e-3), 60)
    figure = VIEWS[view](found)
    path = tmp_path / f"p.{kind}"
    pictures.save(figure, path)
    words = figure.get_gid()
    assert "adam" in words
    content = path.read_bytes()
    if kind == "png":
        assert Image.open(io.BytesIO(content)).text["Description"] == words
    elif kind == "svg":
        assert b"saddle" in content
    assert len(content) > 3000


def test_an_animation_grows_and_leaves_a_poster(tmp_path):
    found = descend(surfaces.get("valley"), [rules.get("momentum")], (-4.5, 1.2), 12, {"momentum": 0.01})
    poster = pictures.animate(found, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as moving:
        assert moving.n_frames >= 8
        first = np.asarray(moving.convert("RGB"), int)
        moving.seek(moving.n_frames - 1)
        assert np.abs(np.asarray(moving.convert("RGB"), int) - first).sum() > 1000
    assert poster == tmp_path / "a.png"
    assert poster.exists()


def test_the_commands_write_what_they_promise(tmp_path, strict):
    def run(*args):
        result = CliRunner().invoke(app, [*args, "--json", str(tmp_path / "o.json")])
        assert result.exit_code == 0, result.output
        return strict((tmp_path / "o.json").read_text())

    found = run(
        "path", "saddle", "--optimizers", "sgd,adam", "--start=1,1e-3", "--steps", "50", "--out", str(tmp_path / "o.png")
    )
    assert found["surface"] == "saddle"
    assert [set(o) for o in found["optimizers"]] == [{"name", "lr", "points", "values", "diverged_at", "status"}] * 2
    assert found["optimizers"][0]["points"][0] == [1.0, 1e-3]
    assert len(found["optimizers"][0]["points"]) == len(found["optimizers"][0]["values"]) == 51
    lost = run("path", "rosenbrock", "--optimizers", "sgd", "--lrs", "1")
    assert lost["optimizers"][0]["diverged_at"] == len(lost["optimizers"][0]["points"])
    told = run("surface", "himmelblau")
    assert list(told) == ["name", "formula", "gradient", "hessian", "minima", "stationary", "convex"]
    assert set(told["stationary"][0]) == {"point", "value", "kind", "eigenvalues"}
    mine = run("surface", "x**2 + 3*sin(y)**2")
    assert len(mine["minima"]) == 1
    made = run("schedule", "cosine", "one_cycle", "--steps", "30", "--out", str(tmp_path / "s.svg"))
    assert [s["name"] for s in made["schedules"]] == ["cosine", "one_cycle"]
    assert made["schedules"][0]["momentum"] is None
    assert len(made["schedules"][1]["momentum"]) == len(made["schedules"][0]["values"]) == 30
    assert {row["name"] for row in run("list", "surfaces")} == set(surfaces.SURFACES)
    network = run("surface", "digits")
    assert network["bound"] == pytest.approx(2 / network["largest"])
    assert math.isfinite(json.loads(json.dumps(network))["gradient"])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["path", "saddle", "--out", "a.jpg"], "expected one of .png, .svg, .pdf"),
        (["path", "saddle", "--animate", "a.mp4"], "expected .gif"),
        (["path", "saddle", "--start", "1"], "expected 2 finite numbers"),
        (["path", "saddle", "--start", "a,b"], "expected 2 numbers"),
        (["path", "saddle", "--lrs", "0.1,0.2"], "a path takes one"),
        (["path", "saddle", "--view", "x"], "expected one of map"),
        (["path", "sadle"], "did you mean 'saddle'"),
        (["path", "log(x) + y", "--start=-1,1"], "has no finite value"),
        (["path", "rosenbrock(dims=4)", "--out", "a.png"], "a map needs 2"),
        (["path", "saddle", "--out", "no/such/a.png"], "does not exist"),
        (["path", "saddle", "--noise", "-1"], "noise is -1.0"),
        (["surface", "valley(condition=0)"], "at least 1"),
        (["surface", "rosenbrock(dims=1)"], "2 or more"),
        (["schedule", "step(size=0)"], "share of the run"),
        (["schedule", "cosine", "--out", "a.gif"], "expected one of .png"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(args, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert result.output.strip().splitlines()[-1].startswith("steepest: ")
