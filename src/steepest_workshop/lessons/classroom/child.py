"""The process in which an answer is run: with limits, without the lessons, and with files and other processes refused.

It is started by path and imports nothing of this package. It reads a request as JSON from standard input, and writes the
results as JSON to the pipe whose number is its argument. This is not a sandbox: it stops mistakes and simple tricks (see
SECURITY.md).
"""

from __future__ import annotations

import ast
import base64
import contextlib
import importlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

OURS = "steepest_workshop"
WRITE, EXIT = os.write, os._exit  # an answer may replace those of `os`
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FILES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.utime")  # with a path first
REFUSED = {  # what begins with these, and what it is called
    "subprocess.": "start a process", "os.system": "start a process", "os.exec": "start a process",
    "os.posix_spawn": "start a process", "os.spawn": "start a process", "os.fork": "start a process", "pty.": "start a process",
    "os.kill": "end a process", "socket.": "use the network", "webbrowser.": "open a browser",
    "os.link": "write a file", "os.symlink": "write a file", "os.chown": "write a file", "shutil.": "write a file",
    "sqlite3.": "open a file", "sys.addaudithook": "watch this process",
}  # fmt: skip


def main() -> NoReturn:
    """Run one answer and end this process."""
    pipe = int(sys.argv[1])
    request = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[:] = request["path"]
    trials = _by_path(request["trials"])
    guard = Guard(request["hidden"], request["home"], lambda words: _send(pipe, {"refused": words}))
    sys.addaudithook(guard)
    sys.meta_path.insert(0, guard)
    for name in request["modules"]:
        with contextlib.suppress(BaseException):  # it is raised again where the answer imports it
            importlib.import_module(name)
    _limit(**request["limits"])
    WRITE(pipe, b"\n")
    guard.strict = True
    _send(pipe, _result(request, trials))


def _by_path(path: str) -> ModuleType:
    """A module from its file, without its package."""
    spec = importlib.util.spec_from_file_location("trials", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["trials"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _limit(seconds: float, memory: int) -> None:
    """Limit what is used from now on: processor time, memory, files and processes."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = math.ceil(used.ru_utime + used.ru_stime + seconds)
    limits = {"CORE": (0, 0), "CPU": (cpu, cpu + 1), "FSIZE": (1 << 24, 1 << 24), "NOFILE": (64, 64), "NPROC": (0, 0)}
    with contextlib.suppress(OSError):  # where there is no /proc, memory is not limited
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits["AS"] = 2 * (pages * resource.getpagesize() + memory,)
    for name, values in limits.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):  # a system without this limit
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), values)


class Guard:
    """Refuses files, processes, the network and the lessons.

    Before it is `strict`, modules are imported, and what they may not do raises PermissionError; then it ends the process.
    A file is read from Python's folders, and written in `home`, where libraries have their caches.
    """

    def __init__(self, hidden: str, home: str, refuse: Callable[[str], NoReturn]) -> None:
        self.strict = False
        self._hidden, self._home, self._refuse = f"{hidden}{os.sep}", f"{home}{os.sep}", refuse
        roots = {os.path.realpath(each) for each in (*sys.path, sys.prefix, sys.base_prefix) if os.path.isabs(each)} - {os.sep}
        self._readable = (*(f"{root}{os.sep}" for root in roots), self._home, f"/proc/{os.getpid()}/")
        self._devices = {"/dev/null", "/dev/urandom", "/dev/random", "/proc/cpuinfo", "/proc/meminfo"}

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        """Refuse to import the lessons, which have the solutions."""
        if name.split(".")[0] == OURS:
            raise ImportError(f"{OURS} is not available to an answer that is graded", name=name)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        """The audit hook."""
        if event == "open":
            self._open(*args)
        elif event in FILES:
            for path in args[: 2 if event == "os.rename" else 1]:
                if not self._path(path).startswith(self._home):
                    self._stop("write a file")
        elif event in ("os.listdir", "os.scandir"):
            if not f"{self._path(args[0])}{os.sep}".startswith(self._readable):
                self._stop("list a folder")
        else:
            what = next((what for begin, what in REFUSED.items() if event.startswith(begin)), "")
            if what:
                self._stop(what)

    def _open(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int) or path is None:
            return
        file = self._path(path)
        writes = set(mode or "") & set("wax+") or flags & WRITING
        if writes and not file.startswith(self._home) and file != os.devnull:
            self._stop(f"write the file {file}")
        if file.startswith(self._hidden) or not (file.startswith(self._readable) or file in self._devices):
            self._stop(f"read the file {file}")

    @staticmethod
    def _path(path: Any) -> str:
        return os.path.realpath(os.fsdecode(path if path is not None else "."))

    def _stop(self, what: str) -> None:
        if self.strict:
            self._refuse(f"The answer tried to {what}; an answer only computes.")
        raise PermissionError(f"not allowed: {what}")


def _result(request: dict[str, Any], trials: ModuleType) -> dict[str, Any]:
    """The results of the answer in a trial, or why there are none."""
    try:
        answer = _answer(request)
    except BaseException as error:
        return {"refused": f"The code that the answer needs stopped with {type(error).__name__}: {trials._text(error)}."}
    trial = trials.Trial(request["kind"], tuple(map(_input, request["inputs"])))
    try:
        outcome = trials.run(answer, trial)
        arrays = [{"shape": each.shape, "data": base64.b64encode(each.tobytes()).decode()} for each in outcome.arrays]
        return {"arrays": arrays, "texts": outcome.texts}
    except trials.RefusedError as error:
        return {"refused": str(error)}
    except BaseException as error:  # such as SystemExit
        return {"refused": f"The answer stopped with {type(error).__name__}: {trials._text(error)}."}


def _answer(request: dict[str, Any]) -> Any:
    """The answer: the value of its expression, after the statements that it needs."""
    names: dict[str, Any] = {"__name__": "__main__", "check": lambda *answer, **named: True}  # in an `if` it is called
    for number, index in request["statements"]:
        statement = ast.parse(request["cells"][str(number)]).body[index]
        exec(compile(ast.Module([statement], []), f"<cell {number}>", "exec"), names)
    return eval(request["expression"], names)


def _input(each: Any) -> Any:
    """An input from JSON: arrays are written with their dtype, tuples and lists as what they are."""
    import numpy as np

    if not isinstance(each, dict):
        return each
    if "array" in each:
        return np.array(each["array"], each["dtype"])
    items = [_input(item) for item in each["items"]]
    return tuple(items) if each["tuple"] else items


def _send(pipe: int, reply: dict[str, Any]) -> NoReturn:
    """Write the reply and end this process at once."""
    data = json.dumps(reply).encode()
    while data:
        data = data[WRITE(pipe, data) :]
    EXIT(0)


if __name__ == "__main__":
    main()
