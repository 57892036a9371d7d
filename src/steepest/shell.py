"""Helpers for all commands: --json, errors as one sentence, and checks of output files."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from .checks import writable, written
from .errors import SteepestError, absolute, message_of, place, rooted
from .escapes import plain

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # errors of a full or broken disk
JSON = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - for standard output.")]


def say(text: str, err: bool = False) -> None:
    """Print text without control characters, to standard error if `err`.

    While JSON is written to standard output, no other text is printed there.
    """
    if err or not _output:
        typer.echo(plain(text), err=err)


def nothing_more(error: OSError) -> None:
    """Report that output cannot be written, and discard the buffers, which Python would try to write again at exit."""
    with contextlib.suppress(OSError):
        typer.echo(f"steepest: The output cannot be written: {error.strerror}.", err=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a stream of a test or a notebook has no descriptor
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function, wrapped by `sentences`, as a command of an app, under its own name or `name`."""
    return lambda function: app.command(name)(sentences(function))


def sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command: its `json_file` is checked first, and a SteepestError ends it with its sentence and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        json_file = kwargs.get("json_file")
        with rooted():
            try:
                if json_file is not None and str(json_file) != "-":
                    kwargs["json_file"] = absolute(json_file)
                    check_file(json_file, "JSON file", "result.json")
                with own_output(str(json_file) == "-"):
                    command(*args, **kwargs)
            except SteepestError as error:
                say(f"steepest: {near(error)}", err=True)
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                typer.echo("steepest: interrupted; finished runs are stored, and the same command resumes.", err=True)
                raise typer.Exit(130) from None
            except OSError as error:
                if error.errno not in FULL:
                    raise
                nothing_more(error)
                raise typer.Exit(2) from None
            except BaseException as error:
                if isinstance(error, Exception):  # one of typer's, or a bug
                    raise
                if isinstance(error, SystemExit) and message_of(error).startswith("SystemExit:"):
                    raise typer.Exit(1) from None  # not from user code: the reader of a pipe has closed it
                say(f"steepest: Your code raised {message_of(error)}", err=True)  # such as sys.exit()
                raise typer.Exit(2) from None

    return wrapped


def near(text: object) -> str:
    """Make the paths in a text relative to the directory in which the command started, as a user types them."""
    return str(text).replace(f"{absolute('')}{os.sep}", "")


_output: list[TextIO] = []  # streams for JSON on standard output; the last one is used


@contextlib.contextmanager
def own_output(wanted: bool) -> Iterator[None]:
    """Redirect all output but JSON to standard error, if JSON is `wanted` on standard output.

    The output of C libraries and child processes is redirected too.
    """
    if not wanted:
        yield
        return
    out = sys.stdout
    out.flush()
    is_real = sys.__stdout__ is not None and out is sys.__stdout__ and out.fileno() == 1  # false in a test
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8") if is_real else out
    _output.append(stream)
    if is_real:
        os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _output.pop()
        if is_real:
            os.dup2(stream.fileno(), 1)
            stream.close()


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Disable the garbage collector while torch is imported, which saves half a second, here and at exit."""
    first = "torch" not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()  # a library's objects never become garbage
            gc.enable()


def check_file(path: Path | None, what: str, example: str = "report.md") -> None:
    """Raise SteepestError if a file cannot be written to this path; None means no file."""
    if path is not None:
        writable(what, path, example)


def check_distinct(**files: Path | str | None) -> None:
    """Raise SteepestError if the same path is used for two files."""
    places: dict[Path, str] = {}
    for what, file in files.items():
        if file is not None and str(file) != "-":
            other = places.setdefault(place(what, file).resolve(), what)
            if other != what:
                raise SteepestError(f"{file} was given both as --{other} and as --{what}; give them different paths.")


def write_json(result: Any, path: Path | None) -> None:
    """Write a result as JSON to a file, or to standard output for -; None writes nothing."""
    if path is None:
        return
    text = json.dumps(result, indent=1, allow_nan=False)
    text = text.replace("\x7f", "\\u007f")  # the one control character that `dumps` does not escape
    if str(path) == "-":
        print(text, file=_output[-1] if _output else sys.stdout, flush=True)
    else:
        written("JSON file", path, text + "\n")
