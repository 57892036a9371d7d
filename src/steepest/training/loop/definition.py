"""`@steepest.loop`: a user's own training function, with its metric, its length and the settings that are searched."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...checks import whole
from ...errors import SteepestError, absolute, described, text_of
from ...problems import code
from .. import sending
from .running import plain

RESERVED = ("lr", "seed", "steps", "epochs", "optimizer", "schedule")  # names that a study has for other things
EXAMPLE = '@steepest.loop(metric="accuracy", steps=1000)'
CHUNK = 1 << 20  # bytes of a file that are read at a time


@dataclass(frozen=True, eq=False)
class Loop:
    """A training function `function(run)`, called for each candidate and seed; it returns its metric.

    `config` maps each setting that is searched to its values, the default first. `data` are files that count as part of the
    code. `file` is where the function was found, its path and name there. Made by `steepest.loop`.

    >>> import steepest
    >>> @steepest.loop(metric="loss", epochs=3)
    ... def train(run): ...
    >>> isinstance(train, steepest.Loop)
    True
    """

    function: Callable[[Any], Any]
    metric: str = "loss"
    direction: str = "min"
    steps: int | None = None
    epochs: int | None = None
    config: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    data: Sequence[str | os.PathLike[str]] = ()
    name: str = "loop"
    about: str = ""
    is_unnamed: bool = False
    file: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            vars(self)[name] = getattr(self.function, name, None)
        vars(self)["__wrapped__"] = self.function

    def __call__(self, *run: Any) -> Any:
        """Train once at the defaults, as a plain script does, and return what the function returns; or call it with `run`."""
        return self.function(*run) if run else plain(self)

    def __repr__(self) -> str:
        length = f"steps={self.steps}" if self.epochs is None else f"epochs={self.epochs}"
        return f"<Loop {self.name}: {self.metric}, {self.direction}, {length}>"

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each setting."""
        return {name: values[0] for name, values in self.config.items()}

    def digest(self) -> tuple[str, list[str]]:
        """A hash of the function with all that it reads, of the arguments of `steepest.loop`, and of the data files.

        Also the names of objects that could not be hashed. SteepestError for a data file that is missing.
        """
        key, missing = code.digest({"loop": self.function})
        settings = self.metric, self.direction, self.epochs, {name: [*values] for name, values in self.config.items()}
        hashed = hashlib.sha256(repr((key, settings)).encode())
        for path in self.data:
            hashed.update(_hash_of(path))
        return hashed.hexdigest(), missing


def _hash_of(path: str | os.PathLike[str]) -> bytes:
    hashed = hashlib.sha256()
    try:
        with absolute(Path(path)).open("rb") as file:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
    except OSError as error:
        raise SteepestError(
            f"The data file {os.fspath(path)} of @steepest.loop cannot be read: {error.strerror}; give paths of files in "
            f"data=[...]."
        ) from None
    return hashed.digest()


def loop(
    *function: Any,
    metric: str = "loss",
    direction: str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    config: Mapping[str, Sequence[Any]] | None = None,
    data: Sequence[str | os.PathLike[str]] = (),
    name: str | None = None,
    about: str = "",
) -> Callable[[Callable[[Any], Any]], Loop]:
    """Decorate a training function `train(run)`, so that optimizers can be compared on it.

    metric: the name of what the function returns.
    direction: "min" or "max"; by default "max" for accuracy, "min" for anything else.
    steps, epochs: the length of a run. One of them; with epochs the function calls `run.steps_per_epoch(n)`.
    config: settings that are searched besides the optimizer's, each with its values, the default first.
    data: files that the function reads. If one of them changes, stored runs do not count.

    SteepestError for an argument that does not fit.

    >>> @loop(metric="loss", steps=100, config={"batch_size": [32, 64]})
    ... def train(run): ...
    >>> train
    <Loop train: loss, min, steps=100>
    """
    if function:
        raise SteepestError(f"@steepest.loop needs brackets with the length of a run, such as {EXAMPLE}.")
    if not isinstance(metric, str) or not metric.isidentifier():
        raise SteepestError(f"The metric of @steepest.loop is {metric!r}; expected a name, such as accuracy or loss.")
    if direction not in (None, "min", "max"):
        raise SteepestError(f"The direction of @steepest.loop is {direction!r}; expected min or max.")
    if (steps is None) == (epochs is None):
        given = "neither" if steps is None else "both"
        raise SteepestError(f"@steepest.loop was given {given} of steps and epochs; give one of them, such as {EXAMPLE}.")
    for what, value in (("steps", steps), ("epochs", epochs)):
        if value is not None:
            whole(f"{what} of @steepest.loop", value)
    if name is not None and not (isinstance(name, str) and name.strip() and name.isprintable()):
        raise SteepestError(f"The name of @steepest.loop is {name!r}; expected a text on one line, or leave it out.")
    settings = _settings({} if config is None else config)
    files = _files(data)
    way = direction or ("max" if metric == "accuracy" else "min")

    def decorated(function: Callable[[Any], Any]) -> Loop:
        _check_function(function)
        called = name or str(getattr(function, "__name__", "loop")).strip("<>")
        return Loop(function, metric, way, steps, epochs, settings, files, called, about, is_unnamed=name is None)

    return decorated


def _settings(config: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(config, Mapping):
        raise SteepestError(
            f"config of @steepest.loop is {described(config)}; expected a dict such as {{'batch_size': [32, 64]}}."
        )
    for name, values in config.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise SteepestError(f"config of @steepest.loop has the key {name!r}; expected a name, such as 'batch_size'.")
        if name in RESERVED:
            raise SteepestError(
                f"config of @steepest.loop has the key {name!r}, which a study sets itself; choose another name."
            )
        if not isinstance(values, list | tuple) or not values:
            raise SteepestError(
                f"config[{name!r}] of @steepest.loop is {values!r}; expected a list of values, the default first."
            )
        for value in values:
            if value is not None and not isinstance(value, str | int | float):
                raise SteepestError(
                    f"config[{name!r}] of @steepest.loop has {described(value)} among its values; expected numbers, texts, "
                    "True, False or None."
                )
        if any(value in values[:k] for k, value in enumerate(values)):
            raise SteepestError(f"config[{name!r}] of @steepest.loop has a value twice: {[*values]!r}; give each once.")
    return {name: tuple(values) for name, values in config.items()}


def _files(data: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    if isinstance(data, str | os.PathLike) or not isinstance(data, Sequence):
        raise SteepestError(f"data of @steepest.loop is {data!r}; expected a list of paths, such as ['train.csv'].")
    for path in data:
        if not isinstance(path, str | os.PathLike):
            raise SteepestError(f"data of @steepest.loop has {described(path)} in it; expected paths of files.")
    return tuple(os.fspath(path) for path in data)


def _check_function(function: Any) -> None:
    if isinstance(function, Loop):
        raise SteepestError(f"{function.name} is decorated with @steepest.loop already; decorate it once.")
    if not callable(function) or isinstance(function, type):
        raise SteepestError(f"@steepest.loop decorates {described(function)}; expected a function train(run).")
    parameters = [*inspect.signature(function).parameters.values()]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(needed) != 1 or needed[0].kind is needed[0].KEYWORD_ONLY:
        taken = ", ".join(p.name for p in needed) or "nothing"
        raise SteepestError(
            f"The function {getattr(function, '__name__', '')} takes {taken}; @steepest.loop calls it with one argument, "
            f"the run."
        )


@dataclass(frozen=True)
class Source:
    """Where another process gets a loop: from its file, or else from a pickle; and this process's import path and arguments.

    `digest` is the hash of the file's text, so that an edit during a study is noticed.
    """

    name: str
    file: tuple[str, str] | None
    digest: str
    pickle: bytes
    folder: str
    path: tuple[str, ...]
    argv: tuple[str, ...]

    @classmethod
    def of(cls, loop: Loop) -> Source:
        """The source of a loop. SteepestError if its file is missing, or if it has neither a file nor a pickle."""
        folder, paths = os.getcwd(), tuple(sys.path)
        if loop.file is not None:  # whose arguments are not those of the command that compares
            path = str(absolute(Path(loop.file[0])))
            return cls(loop.name, (path, loop.file[1]), file_digest(path), b"", folder, paths, (path,))
        try:
            return cls(loop.name, None, "", sending.pickled(loop), folder, paths, tuple(sys.argv))
        except Exception as error:  # the user's objects may raise anything
            raise SteepestError(
                f"The loop {loop.name} cannot be sent to a process: {text_of(error.__cause__ or error)}. Open files, locks and "
                "generators cannot be sent; make them inside the function."
            ) from error


def file_digest(path: str) -> str:
    """The hash of a file's bytes; SteepestError if it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise SteepestError(f"{path} cannot be read: {error.strerror}; put it back, or name the file that it is now.") from None
