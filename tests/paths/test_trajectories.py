"""Compiled paths against the NumPy oracle of each rule's paper, on a surface and over batches of rows."""

import numpy as np
import pytest

from steepest import rules
from steepest.errors import SteepestError
from steepest.paths.loop import Formula, trajectory
from tests.cases import CASES, oracle_of, rule_of

BOWL = Formula.of(
    lambda x, y: (1 - x) ** 2 + 2 * (y - x * x) ** 2, lambda x, y: (-2 * (1 - x) - 8 * x * (y - x * x), 4 * (y - x * x)), 2
)


def bowl_gradient(k, points):
    x, y = points[0]
    return [np.array([-2 * (1 - x) - 8 * x * (y - x * x), 4 * (y - x * x)])]


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("name", CASES)
def test_trajectories_equal_the_oracle(name):
    for hyper in CASES[name]:
        oracle, changed = oracle_of(name)
        lrs = 0.01 * np.random.default_rng(3).uniform(0.2, 1, 100)
        start = np.array([-0.5, 1.3])
        expected = np.array([p[0] for p in oracle([start], bowl_gradient, lrs, [changed | hyper])])
        points, values = trajectory(rule_of(name), BOWL, start, 100, lr=lrs, **hyper)
        np.testing.assert_array_equal(points[0], start)
        np.testing.assert_allclose(points[1:], expected, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(values, (1 - points[:, 0]) ** 2 + 2 * (points[:, 1] - points[:, 0] ** 2) ** 2, rtol=1e-12)


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("name", ["momentum", "adam", "nesterov_lookahead", "adan"])
def test_trajectories_over_batches_of_rows_equal_the_oracle(name, batch):
    rng = np.random.default_rng(0)
    data, batches = rng.normal(size=(40, 3)), rng.integers(40, size=(60, batch))
    noise, start = 0.1 * rng.normal(size=(60, 2)), np.array([0.3, -0.2])
    formula = Formula.of(
        lambda a, b, x, z, y: (a * x + b * z - y) ** 2,
        lambda a, b, x, z, y: (2 * (a * x + b * z - y) * x, 2 * (a * x + b * z - y) * z),
        2,
        3,
    )

    def error(k, point):
        return data[batches[k], :2] @ point - data[batches[k], 2]

    def gradient(k, points):
        return [2 * error(k, points[0]) @ data[batches[k], :2] / batch + noise[k]]

    oracle, changed = oracle_of(name)
    expected = np.array([p[0] for p in oracle([start], gradient, np.full(60, 0.02), [changed])])
    points, values = trajectory(rule_of(name), formula, start, 60, lr=0.02, data=data, batches=batches, noise=noise)
    np.testing.assert_allclose(points[1:], expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(values[:-1], [(error(k, points[k]) ** 2).mean() for k in range(60)], rtol=1e-11)


def test_what_a_trajectory_is_given_for_its_rows_is_checked():
    formula = Formula.of(lambda a, x: a * x, lambda a, x: (x,), 1, 1)
    rows, batches = np.ones((4, 1)), np.zeros((3, 1), int)
    for given, sentence in (
        ({}, "takes data and batches"),
        ({"data": rows}, "takes data and batches"),
        ({"data": np.ones((4, 2)), "batches": batches}, r"expected \(rows, 1\)"),
        ({"data": rows, "batches": batches + 4}, "rows 0 to 3"),
        ({"data": rows, "batches": batches - 1}, "rows 0 to 3"),
        ({"data": rows, "batches": batches * 1.0}, "numbers of rows"),
        ({"data": rows, "batches": batches[:2]}, "Given for each step"),
        ({"data": rows, "batches": batches, "noise": np.ones((3, 2))}, "Given for each step"),
    ):
        with pytest.raises(SteepestError, match=sentence):
            trajectory(rules.get("gd"), formula, [0.0], 3, lr=0.1, **given)
