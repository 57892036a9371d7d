"""The versions that a result depends on."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import version

import numpy as np
import torch


@functools.cache
def versions() -> dict[str, str]:
    """The installed versions of steepest, torch, NumPy and Python, by name."""
    return {
        "steepest": version("steepest"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
