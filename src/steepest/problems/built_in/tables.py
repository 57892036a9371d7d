"""Two tables of the UCI Machine Learning Repository (CC BY 4.0), in scikit-learn's version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

MEASURES = (
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
)
FEATURES = [f"mean {m}" for m in MEASURES] + [f"{m} error" for m in MEASURES] + [f"worst {m}" for m in MEASURES]


def digits() -> tuple[Array, Labels]:
    """Images of handwritten digits, (1797, 64) with pixels from 0 to 16, and the digits, (1797,)."""
    return _read("digits.csv.gz")


def tumours() -> tuple[Array, Labels]:
    """Breast tumours: `FEATURES`, (569, 30), and diagnoses, (569,), 1 benign."""
    return _read("breast_cancer.csv.gz")


def _read(name: str) -> tuple[Array, Labels]:
    """The columns of a table, and its last one as integers."""
    table = np.loadtxt(Path(__file__).with_name(name), delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)
