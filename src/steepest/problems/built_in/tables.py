"""Two tables that install with scikit-learn, read from its files: importing the package itself takes as long as torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
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
    return _read("digits.csv.gz", 0, "load_digits")


def tumours() -> tuple[Array, Labels]:
    """Breast tumours: `FEATURES`, (569, 30), and diagnoses, (569,), 1 benign."""
    return _read("breast_cancer.csv", 1, "load_breast_cancer")


def _read(name: str, heading: int, loader: str) -> tuple[Array, Labels]:
    """The columns of one of scikit-learn's files, and its last one as whole numbers; by its own loader where it has no file."""
    path = _installed(name)
    if path is None:
        from sklearn import datasets

        load: Callable[..., tuple[Array, Labels]] = getattr(datasets, loader)
        return load(return_X_y=True)
    table = np.loadtxt(path, delimiter=",", skiprows=heading)
    return table[:, :-1], table[:, -1].astype(np.int64)


def _installed(name: str) -> Path | None:
    """A data file of the scikit-learn that is installed, found without importing it; None where it is elsewhere."""
    try:
        path = Path(str(distribution("scikit-learn").locate_file(f"sklearn/datasets/data/{name}")))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None
