"""The lessons against programs of their own, written as the documents have them."""

import numpy as np
import pytest

from steepest import rules
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
