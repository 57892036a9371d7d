"""SteepestError, one sentence for a user's mistake that says what to do; and functions that run a user's file."""

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

LONGEST = 300  # characters of a sentence; longer ones are shortened, first word by word, then as a whole
WORD = 60  # characters of a word in a sentence that is shortened
LISTED = 120  # characters of a list of known names
MOST_SOURCE = 16 << 20  # bytes of a Python file
_FILES: list[ModuleType] = []  # modules of files that were run
_started: Path | None = None  # working directory when the command started; None outside a command


class SteepestError(ValueError, RuntimeError):
    """A user's mistake, described in one line. The command line prints it and exits with code 2.

    It is both a ValueError and a RuntimeError, because torch's optimizers raise one or the other for the same mistakes.

    >>> steepest.schedules.get("cosin")
    Traceback (most recent call last):
    steepest.errors.SteepestError: Unknown schedule 'cosin'; did you mean 'cosine'? ...
    """

    def __init__(self, sentence: str, command: str = "") -> None:
        """`command` is a command for the user to run; it follows the sentence and is never shortened."""
        line = plain(" ".join(sentence.split()))
        if len(line) > LONGEST:
            line = " ".join(middle_out(word, WORD) for word in line.split(" "))
        line = middle_out(line, LONGEST)
        super().__init__(f"{line} {plain(command, '')}" if command else line)


def middle_out(text: str, most: int) -> str:
    """Shorten a text to `most` characters by leaving out its middle."""
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def unknown(what: str, name: str, known: Iterable[str], hint: str = "") -> SteepestError:
    """The error for an unknown name, with the nearest known one."""
    names = sorted(known)
    lower = {one.lower(): one for one in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    guess = f"; did you mean '{lower[near[0]]}'?" if near else "."
    return SteepestError(f"Unknown {what} '{name}'{guess} Known: {listed(names)}.{' ' + hint if hint else ''}")


def described(given: object) -> str:
    """Describe an unexpected argument in a few words: a class or function by name, a plain value as is."""
    if given is None or isinstance(given, bool | int | float):
        return repr(given)
    kind = given if isinstance(given, type) else type(given)
    if not isinstance(given, type) and callable(given) and hasattr(given, "__qualname__"):
        return f"the function {_from_module(given)}"
    return f"the class {_from_module(kind)}" if kind is given else f"an object of the class {_from_module(kind)}"


def _from_module(named: Any) -> str:
    return f"{named.__module__}.{named.__qualname__}".removeprefix("builtins.").removeprefix("None.")


def listed(names: Sequence[str]) -> str:
    """Join names with commas, as many as fit into a sentence, and count the rest."""
    fitting = [name for k, name in enumerate(names) if len(", ".join(names[: k + 1])) <= LISTED]
    return ", ".join(fitting) + (f" and {len(names) - len(fitting)} more" if len(fitting) < len(names) else "")


def place(what: str, path: str | Path) -> Path:
    """Return a path that the file system accepts; SteepestError for a NUL in it, too long a name or a loop of links."""
    try:
        given = Path(path)
        given.resolve().is_dir()
        given.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or message_of(error).partition(": ")[2]
        raise SteepestError(f"The {what} {str(path)!r} is not a valid path: {reason}; choose another.") from None
    return given


def absolute(path: str | Path) -> Path:
    """Resolve a path against the directory in which the command started, since user code may change the working directory.

    ":memory:", which is not a file, is returned unchanged.
    """
    return Path(path) if str(path) == ":memory:" else (_started or Path.cwd()) / path


@contextlib.contextmanager
def rooted() -> Iterator[Path]:
    """Resolve paths in `absolute` against the current working directory, even if user code changes it."""
    global _started
    before, _started = _started, Path.cwd()
    try:
        yield _started
    finally:
        _started = before


def text_of(error: BaseException) -> str:
    """The message of an exception on one line; empty if its `str` raises."""
    try:
        return " ".join(str(error).split())
    except BaseException:  # the user's own class
        return ""


def message_of(error: BaseException) -> str:
    """Describe an exception in user code on one line: its type, the last line of user code in the traceback, its message."""
    ours = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "<frozen")
    theirs = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    place = f" at {theirs[-1].filename}, line {theirs[-1].lineno}" if theirs else ""
    return f"{type(error).__name__}{place}: {text_of(error)}"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Set `sys.argv` to that of a script without arguments; restore it and the standard streams afterwards."""
    ours, streams = sys.argv, (sys.stdout, sys.stderr)
    sys.argv = [str(path)]
    try:
        yield
    finally:
        sys.argv = ours
        sys.stdout, sys.stderr = streams


def run_file(path: Path, what: str) -> dict[str, Any]:
    """Run a user's Python file as the module named after it, and return the names that it defines.

    The file is read as source text: an archive, a folder or compiled code is rejected. SteepestError if it is missing, does
    not parse or raises.
    """
    file = absolute(place(f"{what} file", path))
    if not file.is_file():
        hint = "give a built-in problem's name or the path of a Python file" if what == "problem" else "give FILE.py:NAME"
        there = " (it is a folder or a device)" if file.exists() else ""
        raise SteepestError(f"There is no {what} file {path}{there}; {hint}.")
    folder = str(file.resolve().parent)
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)  # as Python does for a script; not removed, for later imports by the file
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
    """The bytes of a source file; SteepestError if it cannot be read or is too large to be one."""
    try:
        if path.stat().st_size > MOST_SOURCE:
            raise SteepestError(f"{path} is larger than {MOST_SOURCE >> 20} MiB; expected a Python file.")
        return path.read_bytes()
    except OSError as error:
        raise SteepestError(f"{path} cannot be read: {error.strerror}.") from error


@contextlib.contextmanager
def _importable(file: Path) -> Iterator[ModuleType]:
    """Add a new module for a file to `sys.modules`, under the file's name, so that its classes pickle and have source text.

    A module of this name that came from elsewhere is not replaced. If the file raises, `sys.modules` is restored.
    """
    name = file.stem
    spec = importlib.util.spec_from_file_location(name, file, loader=SourceFileLoader(name, str(file)))
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
