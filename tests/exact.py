"""Arithmetic more exact than float64, as a reference for kernels."""

import mpmath
import numpy as np

LONG = np.finfo(np.longdouble).nmant >= 63  # whether long double is more precise than double


def points(x: np.ndarray) -> np.ndarray:
    """As many of these points as the exact function can evaluate in a second."""
    return x if LONG else x[::20]


def relative_errors(found: np.ndarray, function: str, x: np.ndarray, *arguments: float) -> np.ndarray:
    """Errors of float64 values of "cbrt" or "power", against long double or, where it is no longer than double, 50 digits."""
    if LONG:
        exact = getattr(np, function)(x.astype(np.longdouble), *arguments)
        return np.abs((found - exact) / exact).astype(float)
    with mpmath.workdps(50):
        errors = []
        for f, given in zip(found.tolist(), x.tolist(), strict=True):
            power = mpmath.mpf(arguments[0]) if arguments else mpmath.mpf(1) / 3
            value = mpmath.sign(given) * abs(mpmath.mpf(given)) ** power
            errors.append(float(abs((f - value) / value)))
        return np.array(errors)
