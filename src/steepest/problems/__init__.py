"""Problems: a model, a loss and data. They never see a rule."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import unknown

if TYPE_CHECKING:
    from .problem import Problem

IDENTITY = "2:"  # how the keys of problems begin that know the user's code; those of earlier versions have no such beginning

# name: (module, function). They import torch, so they are imported only when asked for.
BUILT_IN = {
    "digits": ("digits", "digits"),
    "breast-cancer": ("breast_cancer", "breast_cancer"),
    "noisy-regression": ("noisy_regression", "noisy_regression"),
    "mnist-mlp": ("mnist", "mnist_mlp"),
    "cifar10-resnet20": ("cifar10", "cifar10_resnet20"),
}


def get(name: str) -> Problem:
    """A built-in problem by name, or the one in a Python file; SteepestError where there is none."""
    if name.endswith(".py") or "/" in name:
        return importlib.import_module(".from_file", __name__).from_file(Path(name))  # type: ignore[no-any-return]
    if name not in BUILT_IN:
        raise unknown("problem", name, BUILT_IN, hint="A problem of your own is a Python file: steepest compare FILE.py.")
    module, function = BUILT_IN[name]
    return getattr(importlib.import_module(f".built_in.{module}", __name__), function)()  # type: ignore[no-any-return]
