"""Surfaces: minima, derivatives, descriptions, and user-defined formulas."""

import numpy as np
import pytest

from steepest import surfaces
from steepest.errors import SteepestError
from steepest.surfaces import optimality
from tests.cases import SURFACES

WITHOUT_MINIMA = ("saddle", "monkey_saddle", "schwarz")


@pytest.mark.parametrize("name", SURFACES)
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
        assert (surface.value(at) >= surface.value(minimum) - 1e-9).all()  # and the lowest in the domain


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
    if name == "ackley":  # the domain excludes its outermost minima
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


@pytest.mark.parametrize("name", ["valley", "beale", "six_hump_camel", "schwarz"])
def test_a_turned_surface_has_the_heights_and_minima_of_the_surface_turned_round_its_middle(name):
    plain, angle = surfaces.get(name), np.radians(30)
    turned, middle = plain.turned(30), np.mean(plain.domain, axis=1)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # clockwise
    at = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    np.testing.assert_allclose(turned.value(at), plain.value(middle + (at - middle) @ back.T), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        turned.gradient(at), plain.gradient(middle + (at - middle) @ back.T) @ back, rtol=1e-8, atol=1e-8
    )
    np.testing.assert_allclose(turned.value(turned.start), plain.value(plain.start), rtol=1e-9)
    for mine, theirs in zip(turned.minima, plain.minima, strict=True):
        np.testing.assert_allclose(turned.value(mine), plain.value(theirs), rtol=1e-9, atol=1e-9)


def test_what_cannot_be_turned_is_refused():
    with pytest.raises(SteepestError, match="expected a surface of 2 coordinates"):
        surfaces.get("bowl", dims=3).turned(10)
