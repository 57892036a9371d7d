"""What every command shares: --json, mistakes said in one sentence, and files that can be written."""

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
from typing import Annotated, Any

import typer

from .checks import writable, written
from .errors import SteepestError, absolute, message_of, place, rooted
from .escapes import plain

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # why a disk takes no more
JSON = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - for standard output.")]


def say(text: str, err: bool = False) -> None:
    """Print text for people, to standard error where `err`: what it holds cannot command their terminal."""
    typer.echo(plain(text), err=err)


def nothing_more(error: OSError) -> None:
    """Say that what is printed cannot be written, and drop the rest of it, which Python would try to write again as it ends."""
    with contextlib.suppress(OSError):
        typer.echo(f"steepest: What is printed cannot be written: {error.strerror}.", err=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a stream of a test or a notebook has no number
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def sentences(command: Callable[..., None]) -> Callable[..., None]:
    """A mistake in what was asked ends the command with its sentence and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        json_file = kwargs.get("json_file")
        with rooted():
            if json_file is not None and str(json_file) != "-":
                kwargs["json_file"] = absolute(json_file)
            try:
                with own_output(str(json_file) == "-"):
                    command(*args, **kwargs)
            except SteepestError as error:
                say(f"steepest: {near(error)}", err=True)
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                typer.echo("steepest: stopped; what was trained is kept, and the same command goes on.", err=True)
                raise typer.Exit(130) from None
            except OSError as error:
                if error.errno not in FULL:
                    raise
                nothing_more(error)
                raise typer.Exit(2) from None
            except BaseException as error:
                if isinstance(error, Exception):  # typer's own, or a mistake of ours
                    raise
                if isinstance(error, SystemExit) and message_of(error).startswith("SystemExit:"):
                    raise typer.Exit(1) from None  # ours: the reader of a pipe has gone
                say(f"steepest: code of yours raised {message_of(error)}", err=True)  # such as sys.exit()
                raise typer.Exit(2) from None

    return wrapped


def near(text: object) -> str:
    """A text with the paths in the directory where the command began made relative, as a user types them."""
    return str(text).replace(f"{absolute('')}{os.sep}", "")


_output: list[Callable[[str], Any]] = []  # what writes JSON for "-", the last one first asked


@contextlib.contextmanager
def own_output(wanted: bool) -> Iterator[None]:
    """Inside, where JSON is wanted on standard output, everything else that is written there goes to standard error.

    That is so for C libraries and child processes too, which write to the descriptor.
    """
    if not wanted:
        yield
        return
    out = sys.stdout
    out.flush()
    is_real = sys.__stdout__ is not None and out is sys.__stdout__ and out.fileno() == 1  # not so in a test
    kept = os.dup(1) if is_real else -1
    _output.append(functools.partial(_write, kept) if is_real else out.write)
    if is_real:
        os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _output.pop()
        if is_real:
            os.dup2(kept, 1)
            os.close(kept)


def _write(descriptor: int, text: str) -> None:
    """Write all of a text to a file descriptor."""
    left = text.encode()
    while left:
        left = left[os.write(descriptor, left) :]


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Inside, torch is imported for the first time, without the garbage collector: half a second less, here and at the exit."""
    first = "torch" not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()  # what a library is made of is no garbage later either
            gc.enable()


def check_json(path: Path | None) -> None:
    """SteepestError where no JSON could be written there."""
    if str(path) != "-":
        check_file(path, "JSON file", "result.json")


def check_file(path: Path | None, what: str, example: str = "report.md") -> None:
    """SteepestError where a file that is asked for could not be written there."""
    if path is not None:
        writable(what, path, example)


def check_distinct(**files: Path | str | None) -> None:
    """SteepestError where one file was given for two purposes."""
    places: dict[Path, str] = {}
    for what, file in files.items():
        if file is not None and str(file) != "-":
            other = places.setdefault(place(what, file).resolve(), what)
            if other != what:
                raise SteepestError(f"{file} was given both as --{other} and as --{what}; give them different paths.")


def write_json(result: Any, path: Path | None) -> None:
    """Write a result to a file, or to standard output for -; nothing for None."""
    if path is None:
        return
    text = json.dumps(result, indent=1, allow_nan=False).replace("\x7f", "\\u007f")  # the one that ASCII leaves
    if str(path) == "-":
        (_output[-1] if _output else sys.stdout.write)(text + "\n")
    else:
        written("JSON file", path, text + "\n")
