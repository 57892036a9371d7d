"""The process in which an answer is run: with limits, without the lessons, and with files and other processes refused.

It is started by path and imports nothing of this package. It reads a request as JSON from standard input, and writes the
results as JSON to the pipe whose number is its argument. This is not a sandbox: it stops mistakes and simple tricks (see
SECURITY.md).
"""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import importlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

OURS = "steepest_workshop"
WRITE, EXIT = os.write, os._exit  # an answer may replace those of `os`
UNAUDITED = {  # functions that reach other processes, of which an audit hook is not informed
    "os": ("pidfd_open", "sched_setaffinity", "sched_setscheduler", "setpriority"),
    "posix": ("pidfd_open", "sched_setaffinity", "sched_setscheduler", "setpriority"),
    "_posixsubprocess": ("fork_exec",),
    "subprocess": ("_fork_exec",),
}


def main() -> NoReturn:
    """Run one answer and end this process."""
    pipe = int(sys.argv[1])
    request = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[:] = request["path"]
    trials = _by_path(request["trials"])
    _watch(request, pipe)
    for name in request["modules"]:
        with contextlib.suppress(BaseException):  # it is raised again where the answer imports it
            importlib.import_module(name)
    _limit(**request["limits"])
    WRITE(pipe, b"\n")
    for name, functions in UNAUDITED.items():
        module = importlib.import_module(name)
        for function in functions:
            if hasattr(module, function):
                setattr(module, function, _not_allowed)
    sys.audit("steepest.answer")
    _send(pipe, _result(request, trials))


def _by_path(path: str, own: dict[str, Any] | None = None) -> ModuleType:
    """A module from its file, without its package, and with builtins of its own."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if own is None:
        sys.modules[spec.name] = module
    else:
        module.__dict__["__builtins__"] = own
    spec.loader.exec_module(module)
    return module


def _watch(request: dict[str, Any], pipe: int) -> None:
    """Begin to refuse what answers may not do. Whatever an answer replaces in a module, the guard has its own."""
    sys.meta_path.insert(0, Lessons())
    guard, paths = (_by_path(path, dict(vars(builtins))) for path in (request["guard"], os.path.__file__))
    for module in (guard, paths):
        for name, value in list(vars(module).items()):
            if isinstance(value, ModuleType):
                setattr(module, name, SimpleNamespace(**vars(value)))
    sys.addaudithook(guard.Guard(request["hidden"], request["home"], pipe, paths))


class Lessons:
    """Refuses to import the lessons, which have the solutions."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.split(".")[0] == OURS:
            raise ImportError(f"{OURS} is not available to an answer that is graded", name=name)


def _not_allowed(*_: object, **__: object) -> NoReturn:
    raise PermissionError("an answer only computes")


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
