"""Commands that other packages add to the command line by the entry-point group `steepest.commands`.

An entry point is a function, which becomes a command of its name, or a `typer.Typer`. It is imported when its command is run,
or when the help lists it.
"""

from __future__ import annotations

from typing import Any

import typer
import typer.core
import typer.main

from .. import plugins
from ..errors import SteepestError
from ..shell import sentences

ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


class Commands(typer.core.TyperGroup):
    """The commands of steepest and of entry points. Our own command wins over an added one of the same name."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *(name for name in plugins.names(plugins.COMMANDS) if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in (*plugins.WORKSHOP, *plugins.names(plugins.COMMANDS)):
            return own
        try:
            added = plugins.load(plugins.COMMANDS, cmd_name, f"`steepest {cmd_name}`")
        except SteepestError as error:
            return _unavailable(cmd_name, error)
        return _command(added, cmd_name)


def _command(added: Any, name: str, **options: Any) -> Any:
    """A function or a `typer.Typer` as a command of this name."""
    parent = typer.Typer(add_completion=False)
    parent.callback()(lambda: None)  # makes it a group, from which the command is taken
    if isinstance(added, typer.Typer):
        parent.add_typer(added, name=name, **options)
    else:
        parent.command(name, **options)(added)
    return typer.main.get_group(parent).commands[name]


def _unavailable(name: str, error: SteepestError) -> Any:
    """A hidden command that takes any arguments and ends with an error."""

    @sentences
    def fail() -> None:
        raise error

    return _command(fail, name, hidden=True, context_settings=ANYTHING)
