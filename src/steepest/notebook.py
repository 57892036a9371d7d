"""HTML for notebooks: a registry of drawing functions by type, so that a class need not import the code that draws it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_loaders: list[Callable[[], object]] = []


@functools.singledispatch
def html_of(thing: Any) -> str:
    """Return the HTML of an object; TypeError for a type without a drawing function.

    `@html_of.register` adds a drawing function for the type of its first argument.
    """
    raise TypeError(f"no HTML for a {type(thing).__name__}")


def load_with(loader: Callable[[], object]) -> None:
    """Register `loader`, called before the first object is drawn to import the modules with drawing functions."""
    _loaders.append(loader)


class Shown:
    """Mix-in: notebooks display the object with the function registered for its type."""

    def _repr_html_(self) -> str:
        for loader in _loaders:
            loader()
        _loaders.clear()
        return html_of(self)
