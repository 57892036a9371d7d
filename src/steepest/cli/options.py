"""Command-line options, derived from `steepest.options`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..options import taken


def takes_options(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a function that takes `**options` a parameter for each option of the command of this name."""

    def make(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> None:
            command(*args, **kwargs)

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [*own[:-1], *map(_parameter, taken(name)), own[-1]]
        keyword = [p.replace(kind=p.KEYWORD_ONLY) if k else p for k, p in enumerate(parameters)]
        wrapped.__signature__ = signature.replace(parameters=keyword)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in keyword}
        del wrapped.__wrapped__  # or typer would read the signature there
        return wrapped

    return make


def _parameter(field: Any) -> inspect.Parameter:
    """The typer parameter of an option."""
    about = field.metadata
    default = about.get("text", field.default)
    kind: Any = about.get("typed", str)
    flags = [about["flag"]] if "flag" in about else []
    shown = typer.Option(*flags, help=about["words"], metavar=about.get("metavar"))
    annotation: Any = Annotated[kind if default is not None else kind | None, shown]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
