"""The one error a user's mistake raises, a sentence that says what to do; and how a file of theirs is run."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from .escapes import plain

LONGEST = 300  # characters of a sentence; where it has more, long words in it lose their middle, then the whole does
WORD = 60
LISTED = 120  # characters of a list of names that are known
MOST_SOURCE = 16 << 20  # bytes of a Python file
_FILES: list[ModuleType] = []  # modules made of files that were run
_started: Path | None = None  # where the command began; None where there is none


class SteepestError(ValueError, RuntimeError):
    """A mistake in what was asked: one line. The command line prints it and ends with exit code 2.

    It is both, as torch's optimizers raise the one or the other for the same mistakes.

    >>> steepest.schedules.get("cosin")
    Traceback (most recent call last):
    steepest.errors.SteepestError: Unknown schedule 'cosin'; did you mean 'cosine'? ...
    """

    def __init__(self, sentence: str, command: str = "") -> None:
        """`command` is one to type, which follows the sentence whole."""
        line = plain(" ".join(sentence.split()))
        if len(line) > LONGEST:
            line = " ".join(middle_out(word, WORD) for word in line.split(" "))
        line = middle_out(line, LONGEST)
        super().__init__(f"{line} {plain(command, '')}" if command else line)


def middle_out(text: str, most: int) -> str:
    """A text of at most so many characters, its middle left out where it has more."""
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def unknown(what: str, name: str, known: Iterable[str], hint: str = "") -> SteepestError:
    """The error for a name nobody knows, with the nearest known name."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else "."
    return SteepestError(f"Unknown {what} '{name}'{guess} Known: {listed(names)}.{' ' + hint if hint else ''}")


def described(given: object) -> str:
    """What was given in place of what was expected, in a few words: a class or a function by its name, a plain value as is."""
    if given is None or isinstance(given, bool | int | float):
        return repr(given)
    kind = given if isinstance(given, type) else type(given)
    if not isinstance(given, type) and callable(given) and hasattr(given, "__qualname__"):
        return f"the function {_from_module(given)}"
    return f"the class {_from_module(kind)}" if kind is given else f"an object of the class {_from_module(kind)}"


def _from_module(named: Any) -> str:
    return f"{named.__module__}.{named.__qualname__}".removeprefix("builtins.").removeprefix("None.")


def listed(names: Sequence[str]) -> str:
    """Names with commas, as many as fit into a sentence, and how many more there are."""
    fitting = [name for k, name in enumerate(names) if len(", ".join(names[: k + 1])) <= LISTED]
    return ", ".join(fitting) + (f" and {len(names) - len(fitting)} more" if len(fitting) < len(names) else "")


def place(what: str, path: str | Path) -> Path:
    """A path that the file system takes; SteepestError for one with a NUL, too long a name or a loop of links."""
    try:
        given = Path(path)
        given.resolve().is_dir()
        given.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or message_of(error).partition(": ")[2]
        raise SteepestError(f"The {what} {str(path)!r} cannot be a path: {reason}. Give another.") from None
    return given


def absolute(path: str | Path) -> Path:
    """A path from where the command began, or from the working directory: code of the user's may change that.

    ":memory:" stays, which is no file.
    """
    return Path(path) if str(path) == ":memory:" else (_started or Path.cwd()) / path


@contextlib.contextmanager
def rooted() -> Iterator[Path]:
    """Inside, relative paths count from the present working directory, whatever code of the user's makes of that."""
    global _started
    before, _started = _started, Path.cwd()
    try:
        yield _started
    finally:
        _started = before


def text_of(error: BaseException) -> str:
    """The message of an exception on one line; empty where it cannot say it."""
    try:
        return " ".join(str(error).split())
    except BaseException:  # the user's own class
        return ""


def message_of(error: BaseException) -> str:
    """A failure in the user's own code in one line: its type, the last line of theirs it passed, and its message."""
    ours = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "<frozen")
    theirs = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    place = f" at {theirs[-1].filename}, line {theirs[-1].lineno}" if theirs else ""
    return f"{type(error).__name__}{place}: {text_of(error)}"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Inside, `sys.argv` is that of a script run by itself, its path and none of our arguments; streams may be exchanged."""
    ours, streams = sys.argv, (sys.stdout, sys.stderr)
    sys.argv = [str(path)]
    try:
        yield
    finally:
        sys.argv = ours
        sys.stdout, sys.stderr = streams


def run_file(path: Path, what: str) -> dict[str, Any]:
    """Run a Python file of the user's and return what it defines, as the module named after the file.

    The file is read as source text: an archive, a folder or compiled code is refused. SteepestError where it is absent, does
    not parse or raises.
    """
    file = absolute(place(f"{what} file", path))
    if not file.is_file():
        hint = "give a built-in problem's name or the path of a Python file" if what == "problem" else "give FILE.py:NAME"
        there = " (it is a folder or a device)" if file.exists() else ""
        raise SteepestError(f"There is no {what} file {path}{there}; {hint}.")
    folder = str(file.resolve().parent)
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)  # as Python does for a script; it stays, for what the file imports later
    try:
        code = compile(_source(file), str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else text_of(error)
        raise SteepestError(f"{path} does not parse: {line}{said}.") from error
    try:
        with alone(path), _importable(file) as module:
            exec(code, vars(module))
    except (SteepestError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() too
        raise SteepestError(f"{path} raised {message_of(error)}") from error
    return vars(module)


def _source(path: Path) -> bytes:
    """The bytes of a source file; SteepestError where it cannot be read, or is too large to be one."""
    try:
        if path.stat().st_size > MOST_SOURCE:
            raise SteepestError(f"{path} has over {MOST_SOURCE >> 20} MiB: no Python file; give the path of one.")
        return path.read_bytes()
    except OSError as error:
        raise SteepestError(f"{path} cannot be read: {error.strerror}.") from error


@contextlib.contextmanager
def _importable(file: Path) -> Iterator[ModuleType]:
    """A new module for a file, which `sys.modules` has under the file's name, so that its classes pickle and show their source.

    A module that another import has brought keeps its name. Where the file raises, `sys.modules` is as before.
    """
    name = file.stem
    loader = SourceFileLoader(name, str(file))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    if before is not None and before not in _FILES:
        yield module
        return
    sys.modules[name] = module
    try:
        yield module
    except BaseException:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise
    _FILES.append(module)
