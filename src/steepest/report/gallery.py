"""The pictures of a study as matplotlib figures, for papers and notebooks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from matplotlib.figure import Figure

from ..errors import SteepestError
from ..study.data import StudyData
from . import figures
from .pictures import pictures_of, registered
from .registry import PICTURES, Registered
from .safe import safe


class Figures:
    """`study.figures`: one method per registered picture, which draws a new matplotlib figure from the study's data.

    `[*study.figures]` lists the pictures that have data. `record` returns the study with measurements recorded inside a
    run, for the pictures that need them.
    """

    def __init__(self, study: StudyData, record: Callable[[], StudyData]) -> None:
        self._study, self._record = safe(study), record

    def __iter__(self) -> Iterator[str]:
        return iter(pictures_of(self._study))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __getattr__(self, name: str) -> Callable[..., Figure]:
        if name not in PICTURES:
            raise AttributeError(f"no picture is named {name!r}; there are {', '.join(one.name for one in registered())}")
        one = PICTURES[name]
        draw = functools.wraps(one.draw)(functools.partial(self._draw, one))
        signature = inspect.signature(one.draw)
        options = [*signature.parameters.values()][1:]
        draw.__signature__ = signature.replace(parameters=options, return_annotation=Figure)  # type: ignore[attr-defined]
        return draw

    def _draw(self, one: Registered, *args: Any, **options: Any) -> Figure:
        if one.needs and getattr(self._study, one.needs) is None:
            self._study = safe(self._record())
        picture = one(self._study, *args, **options)
        if picture is None:
            raise SteepestError(f"This study has no data for the picture '{one.name}'; choose one of {', '.join(self)}.")
        return figures.draw(picture)
