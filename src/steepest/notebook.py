"""How a notebook shows things of ours: `_repr_html_` of classes that may not import the reports, which draw them."""

from __future__ import annotations

import importlib
from typing import Any


class Shown:
    """What a notebook shows by `steepest.report.notebook`, found by name when it is asked for. Nothing is needed to see it."""

    def _repr_html_(self) -> str:
        drawer: Any = importlib.import_module("steepest.report.notebook")
        return str(drawer.html_of(self))
