"""The lessons against programs of their own, written as the documents have them."""

import numpy as np
import pytest

from steepest import rules
from steepest.lessons import batches
from steepest.lessons.noisy_regression import EXPONENTS, experiment
from steepest.problems.noisy_regression import data


def followed(found, exponent, adam, replicate, steps, every, noise):
    """Test losses and the last point of one replicate, example by example in NumPy."""
    rng = np.random.default_rng(replicate)
    chosen = rng.integers(len(found.x), size=steps)
    normal, signs = rng.standard_normal((steps, 10)), rng.choice((-1.0, 1.0), (steps, 10))
    theta, m, v, losses = found.start.copy(), np.zeros(10), np.zeros(10), []
    for t, i in enumerate(chosen):
        if t % every == 0:
            losses.append(np.mean(np.abs(found.test_x @ theta - found.test_y) ** exponent))
        e = found.x[i] @ theta - found.y[i]
        g = exponent * np.abs(e) ** (exponent - 1) * np.sign(e) * found.x[i] + noise[0] * normal[t] + noise[1] * signs[t]
        if adam:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            theta = theta - 0.001 * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        else:
            theta = theta - 0.001 * g
    return losses, theta


@pytest.mark.parametrize("noise", [(0.0, 0.0), (0.3, 0.2)], ids=["clean", "noisy"])
def test_the_noisy_regression_equals_a_plain_program(noise):
    found = data()
    losses, points = experiment(
        found, [rules.get("adam"), rules.get("gd")], [0.001, 0.001], replicates=2, steps=150, noise=noise
    )
    assert losses.shape == (6, 2, 2, 3)
    for i, exponent in enumerate(EXPONENTS):
        for j in range(2):
            for replicate in range(2):
                expected, theta = followed(found, exponent, j == 0, replicate, 150, 50, noise)
                np.testing.assert_allclose(losses[i, j, replicate], expected, rtol=1e-9)
                np.testing.assert_allclose(points[i, j, replicate], theta, rtol=1e-9)


def test_the_cost_table_is_the_tutorials():
    assert [(row["m"], row["updates"]) for row in batches.cost(100, 10)] == [(100, 10), (10, 100), (1, 1000)]


@pytest.mark.parametrize("size", [569, 57, 1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_descent_on_batches_equals_a_plain_loop(size, momentum):
    found = batches.data()
    path = batches.descend(found, size, 2, 0.01, momentum, seed=3)
    w, b = np.zeros(2), np.zeros(2)
    for k, index in enumerate(batches.order(569, size, 2, seed=3)):
        np.testing.assert_allclose(path[k], w, rtol=1e-10, atol=1e-13)
        g = 2 * found.x[index].T @ (found.x[index] @ w - found.y[index]) / size
        b = momentum * b + g
        w = w - 0.01 * b
    assert len(path) == len(batches.order(569, size, 2)) + 1
    errors = found.x @ path.T - found.y[:, None]
    np.testing.assert_allclose((errors**2).mean(0) - found.least, batches.excess(found, path), rtol=1e-9, atol=1e-12)


def test_what_the_tutorial_says_of_batches_in_numbers():
    rates = {row["m"]: row["largest rate"] for row in batches.largest_rates()}
    assert rates[1] < 0.5 * rates[10]  # larger batches allow larger rates
    assert rates[1] < 0.5 * rates[569]
    heavy = {row["m"]: row["largest rate"] for row in batches.largest_rates(momentum=0.9)}
    assert heavy[569] > 5 * heavy[10] > 25 * heavy[1] / 2  # momentum breaks in small batches
    raw, standard = batches.scaling()
    assert raw["condition"] > 1000 * standard["condition"]
    assert raw["left"] > 0.01 > 1e-10 > standard["left"]
    assert raw["exact"] == pytest.approx(standard["exact"], rel=1e-8)  # the closed form needs no scaling
    hit = {row["m"]: row for row in batches.outliers()}
    assert hit[1]["worst"] > 10 * hit[569]["worst"]  # outliers carry single examples away
    assert hit[1]["worst"] > hit[10]["worst"]


def test_the_picture_of_the_three_descents_has_its_words():
    words = batches.paths().get_gid()
    assert "stochastic: 1 example an update" in words
    assert "batch: 569 examples an update" in words
