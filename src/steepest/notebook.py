"""HTML for notebooks: a registry of drawing functions by type, so that a class needs not import what draws it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_loaders: list[Callable[[], object]] = []


@functools.singledispatch
def html_of(thing: Any) -> str:
    """The HTML of an object; TypeError for a type without a drawing function.

    `@html_of.register` on a function adds a type: that of its first argument.
    """
    raise TypeError(f"no HTML for a {type(thing).__name__}")


def load_with(loader: Callable[[], object]) -> None:
    """Call `loader` before the first object is drawn: it imports the modules whose functions register themselves."""
    _loaders.append(loader)


class Shown:
    """A mix-in: notebooks display the object by the function that is registered for its type."""

    def _repr_html_(self) -> str:
        for loader in _loaders:
            loader()
        _loaders.clear()
        return html_of(self)
