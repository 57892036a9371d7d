"""The theory of momentum on a quadratic, and Newton's method, in Node, against NumPy and the library's own paths."""

import itertools

import numpy as np
import pytest

import steepest
from steepest import surfaces

from .node import node
from .test_descent import OWN, page_script

GRID = list(itertools.product((1.0, 7.0, 50.0), (0.02, 0.4, 0.9, 1.3, 2.1, 3.2, 4.0), (0.0, 0.2, 0.565, 0.9, 0.99)))


def eigenvalues(rate, momentum, curvature):
    return np.linalg.eigvals([[1 + momentum - rate * curvature, -momentum], [1, 0]])


def radius(rate, momentum, curvatures):
    return max(abs(eigenvalues(rate, momentum, c)).max() for c in curvatures)


def regime(rate, momentum, curvature):
    values = eigenvalues(rate, momentum, curvature)
    largest = values[np.argmax(abs(values))]
    if abs(largest) >= 1:
        return "diverging"
    if abs(largest.imag) > 1e-12:
        return "under-damped"
    return "over-damped" if largest.real >= 0 else "alternating"


def shrinks_by(points):
    """The factor per step of a path's distance from 0: the slope of a line through the log sizes of neighbouring pairs."""
    sizes = np.linalg.norm(np.hstack([points[:-1], points[1:]]), axis=1)
    k = np.arange(len(sizes))[len(sizes) // 4 :]
    return np.exp(np.polyfit(k, np.log(sizes[k]), 1)[0])


def test_the_factor_of_momentum_is_the_spectral_radius_of_its_matrix(tmp_path):
    code = """
    print(GIVEN.map(([largest, rate, momentum]) => {
      const of = (curvature) => dampingOf(rate / largest, momentum, curvature);
      return [of(largest), of(1), factorOf(rate / largest, momentum, { smallest: 1, largest })];
    }));
    """
    made = node(tmp_path, page_script(code), GRID)
    seen = set()
    for (largest, rate, momentum), (steep, flat, both) in zip(GRID, made, strict=True):
        rate /= largest
        assert steep["factor"] == pytest.approx(radius(rate, momentum, [largest]), rel=1e-7, abs=1e-12)
        assert flat["factor"] == pytest.approx(radius(rate, momentum, [1.0]), rel=1e-7, abs=1e-12)
        assert both == max(steep["factor"], flat["factor"])
        assert steep["regime"] == regime(rate, momentum, largest), (largest, rate, momentum)
        seen.add(steep["regime"])
    assert seen == {"over-damped", "under-damped", "alternating", "diverging"}


@pytest.mark.parametrize(
    ("largest", "rate", "momentum"), [(50, 0.02, 0.3), (50, 0.005, 0.9), (50, 0.0614, 0.7), (7, 0.3, 0.1), (50, 0.07, 0.85)]
)
def test_our_paths_shrink_as_the_matrix_says(tmp_path, largest, rate, momentum):
    steps, name = 400, f"momentum(momentum={momentum})"
    path = steepest.trajectory(f"valley(condition={largest})", [name], lrs=rate, steps=steps).paths[0]
    usable = path.points[: np.argmax(np.linalg.norm(path.points, axis=1) < 1e-12) or None]
    theory = radius(rate, momentum, [1, largest])
    assert shrinks_by(usable) == pytest.approx(theory, rel=0.01)
    code = """
    const surface = surfaceOfFormula(GIVEN.formula), run = { ...START, start: [-4.5, 1.2], steps: GIVEN.steps };
    const entry = { name: "momentum", lr: GIVEN.rate, hyper: { momentum: GIVEN.momentum } };
    const along = alongAxes(pathOf(entry, surface, run), curvature(surface));
    print({ factor: measuredFactor(along), along });
    """
    given = {"formula": f"(x**2 + {largest}*y**2)/2", "rate": rate, "momentum": momentum, "steps": steps}
    made = node(tmp_path, page_script(code), given)
    assert made["factor"] == pytest.approx(theory, rel=0.003)
    np.testing.assert_allclose(np.abs(np.transpose(made["along"])), np.abs(path.points), rtol=1e-6, atol=1e-12)


def test_the_best_point_beats_every_other_and_is_the_roots_of_the_condition(tmp_path):
    found = [{"smallest": a, "largest": b} for a, b in ((1, 50), (2, 2), (0.5, 18), (1, 1000))]
    made = node(tmp_path, page_script("print(GIVEN.map(bestMomentum));"), found)
    for one, best in zip(found, made, strict=True):
        low, high = one["smallest"], one["largest"]
        root = np.sqrt(high / low)
        assert best["factor"] == pytest.approx((root - 1) / (root + 1), abs=1e-12)
        assert radius(best["rate"], best["momentum"], [low, high]) == pytest.approx(best["factor"], abs=1e-7)
        rates, momenta = best["rate"] * np.linspace(0.02, 2, 60), np.linspace(0, 0.999, 60)
        assert min(radius(r, m, [low, high]) for r in rates for m in momenta) > best["factor"] - 1e-7
        without = min(radius(r, 0.0, [low, high]) for r in np.linspace(0, 2 / high, 2001))
        assert best["plain"] == pytest.approx(without, abs=0.002)


def test_regions_and_lines_of_the_map_are_those_of_the_eigenvalues(tmp_path):
    code = """
    const found = { smallest: 1, largest: 50 }, momenta = [0.01, 0.3, 0.5, 0.7, 0.95];
    const borders = momenta.map((momentum) => regionsAt(momentum, found));
    print({ borders, levels: GIVEN.map((level) => levelOf(level, found)) });
    """
    levels = [0.5, 0.76, 0.8, 0.9, 0.97]
    made = node(tmp_path, page_script(code), levels)
    for momentum, borders in zip((0.01, 0.3, 0.5, 0.7, 0.95), made["borders"], strict=True):
        for rate in np.linspace(0.0003, 0.083, 400):
            if min(abs(rate - border) for border in borders) < 1e-5:
                continue
            flat, steep = (regime(rate, momentum, c) for c in (1, 50))
            place = 3 if "diverging" in (flat, steep) else 0 if steep == "over-damped" else 1 if flat == "over-damped" else 2
            assert sum(rate >= border for border in borders) == place, (rate, momentum)
    assert made["levels"][0] == []  # no point is that fast
    for level, corners in zip(levels[1:], made["levels"][1:], strict=True):
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            for share in (0.0, 0.31, 0.74):
                rate, momentum = np.add(a, share * np.subtract(b, a))
                if momentum > 0:  # the side along the axis is inside
                    assert radius(rate, momentum, [1, 50]) == pytest.approx(level, abs=1e-6)


def test_coordinates_along_the_eigenvectors_are_numpys(tmp_path):
    code = """
    print(GIVEN.map(([name, degrees]) => {
      const surface = turned(SURFACES[name], degrees), found = curvature(surface);
      const path = pathOf({ name: "momentum", lr: 0.01, hyper: {} }, surface, { ...START, start: surface.start, steps: 30 });
      return [alongAxes(path, found), found.minimum];
    }));
    """
    work = [("valley", 0), ("valley", 37), ("booth", 0), ("booth", -100)]
    for (name, degrees), (along, minimum) in zip(work, node(tmp_path, page_script(code), work), strict=True):
        surface = surfaces.get(name).turned(degrees) if degrees else surfaces.get(name)
        path = steepest.trajectory(surface, ["momentum"], lrs=0.01, steps=30).paths[0]
        assert minimum == pytest.approx(surface.minima[0], abs=1e-12)
        _, axes = np.linalg.eigh(surface.hessian((0.3, 0.4)))
        theirs = (path.points - surface.minima[0]) @ axes
        np.testing.assert_allclose(np.abs(along), np.abs(theirs.T), rtol=1e-9, atol=1e-11)


def test_hessians_are_those_of_the_library_turned_or_not_and_of_formulas(tmp_path):
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (20, 2)).tolist()
    code = """
    const of = ({ f }) => GIVEN.points.map((p) => { const h = [0, 0, 0]; f(p, [0, 0], h); return h; });
    print({ named: Object.fromEntries(Object.entries(SURFACES).map(([k, s]) => [k, [of(s), of(turned(s, 37))]])),
            own: GIVEN.formulas.map((text) => of(surfaceOfFormula(text))) });
    """
    made = node(tmp_path, page_script(code), {"points": points, "formulas": OWN})

    def agree(ours, surface):
        theirs = surface.hessian(points)
        wanted = np.stack([theirs[:, 0, 0], theirs[:, 0, 1], theirs[:, 1, 1]], 1)
        np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-9 * max(np.abs(wanted).max(), 1))

    for name, (plain, turned) in made["named"].items():
        agree(plain, surfaces.get(name))
        agree(turned, surfaces.get(name).turned(37))
    for text, ours in zip(OWN, made["own"], strict=True):
        agree(ours, surfaces.get(text))


def newton(surface, start, steps, lr=1.0):
    points = [np.array(start, float)]
    for _ in range(steps):
        points.append(points[-1] - lr * np.linalg.solve(surface.hessian(points[-1]), surface.gradient(points[-1])))
    return np.array(points)


def test_newton_solves_with_the_hessian_and_says_where_it_is_not_positive_definite(tmp_path):
    code = """
    print(GIVEN.map(([name, start, lr]) => {
      const surface = SURFACES[name], entry = { name: "newton", lr, hyper: {} }, run = { ...START, start, steps: 12 };
      const path = pathOf(entry, surface, run);
      return { points: Array.from(path.points), found: indefiniteOn(path, surface), rate: tuned(entry, surface, run) };
    }));
    """
    work = [
        ("valley", [-4.5, 1.2], 1),
        ("rosenbrock", [-1.2, 1], 1),
        ("himmelblau", [-0.5, -1], 0.5),
        ("saddle", [1, 0.001], 1),
    ]
    made = node(tmp_path, page_script(code), work)
    for (name, start, lr), one in zip(work, made, strict=True):
        surface = surfaces.get(name)
        points = newton(surface, start, 12, lr)
        np.testing.assert_allclose(np.reshape(one["points"], (-1, 2)), points, rtol=1e-8, atol=1e-9)
        smallest = np.linalg.eigvalsh(surface.hessian(points[:-1]))[:, 0]
        first = int(np.argmax(smallest <= 0)) + 1 if (smallest <= 0).any() else None
        assert (one["found"] or {}).get("step") == first, name
        assert one["rate"] == 1
    assert made[0]["points"][2:4] == [0, 0]  # a quadratic in one step
    assert [bool(one["found"]) for one in made] == [False, False, True, True]
