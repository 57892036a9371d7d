"""Grade notebooks: each answer is run in a process of its own (`child`), and its results are judged here."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from steepest.errors import SteepestError
from steepest.escapes import plain

from ..exercises import EXERCISES, trials
from ..exercises.engine import Answer
from . import child
from .submission import Attempt, Submission, read

PACKAGE = Path(__file__).parents[2]
MOST = 8 << 20  # bytes of a reply
SENTENCE = 500  # characters of what is said of an answer
FORGED = "The answer's process gave something other than results."
PATIENCE = 3  # wall time over processor time: another process may use the core


@dataclass(frozen=True)
class Limits:
    """What an answer may use: seconds of processor time, bytes of memory; `start` are the seconds for imports before it."""

    seconds: float = 10.0
    memory: int = 1 << 30
    start: float = 120.0


@dataclass(frozen=True)
class Marked:
    """A notebook's answers by exercise; `fault` says why it could not be read."""

    path: str
    answers: dict[str, Answer] = field(default_factory=dict)
    fault: str = ""

    @property
    def right(self) -> int:
        """How many answers are right."""
        return sum(answer.right for answer in self.answers.values())


class _Array(msgspec.Struct):
    shape: tuple[int, ...]
    data: bytes


class _Reply(msgspec.Struct):
    refused: str = ""
    arrays: list[_Array] = []
    texts: dict[str, str] = {}


class _FailedError(Exception):
    """An answer gave no results; the message says why."""


def grade(
    paths: Sequence[Path], limits: Limits | None = None, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Marked]:
    """The marks of notebooks, in their order. A notebook that cannot be read has a fault; the others are graded.

    `progress` is called with the answers graded and all answers. SteepestError on a system without limits on processes.
    """
    if sys.platform == "win32":
        raise SteepestError("Grading needs Linux or macOS, which limit a process; on Windows use WSL or a container.")
    submissions = [_readable(path) for path in paths]
    asked = [
        (number, name, submission)
        for number, submission in enumerate(submissions)
        if isinstance(submission, Submission)
        for name in submission.attempts
    ]
    marked = [
        Marked(plain(path, keep=""), fault=plain(each, keep="") if isinstance(each, str) else "")
        for path, each in zip(paths, submissions, strict=True)
    ]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        outcomes = pool.map(lambda each: _outcome(each[1], each[2], limits or Limits()), asked)
        progress(0, len(asked))
        for done, ((number, name, _), outcome) in enumerate(zip(asked, outcomes, strict=True), 1):
            marked[number].answers[name] = judged(name, outcome)
            progress(done, len(asked))
    finally:
        pool.shutdown(cancel_futures=True)  # at an interrupt
    return marked


def _readable(path: Path) -> Submission | str:
    try:
        return read(path)
    except SteepestError as error:
        return str(error)


def _outcome(name: str, submission: Submission, limits: Limits) -> trials.Outcome | str:
    """The results of an answer, or why there are none."""
    attempt = submission.attempts[name]
    if attempt.fault:
        return attempt.fault
    try:
        return _checked(name, _reply(_request(name, submission.cells, attempt, limits), limits))
    except _FailedError as error:
        return str(error)


def judged(name: str, outcome: trials.Outcome | str) -> Answer:
    """The judgement of an exercise on results, which are only numbers and text."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # of the mean of no numbers
            answer = Answer(False, outcome) if isinstance(outcome, str) else EXERCISES[name].judge(outcome)
    except trials.RefusedError as refused:
        answer = Answer(False, str(refused))
    words = answer.words if len(answer.words) <= SENTENCE else f"{answer.words[:SENTENCE]} …"
    return Answer(answer.right, plain(words, keep=""))


def _request(name: str, cells: dict[int, str], attempt: Attempt, limits: Limits) -> dict[str, Any]:
    """What the child needs to run an answer; no right answer is in it."""
    trial = EXERCISES[name].trial()
    return {
        "cells": {number: cells[number] for number, _ in attempt.statements},
        "statements": attempt.statements,
        "expression": attempt.expression,
        "modules": [*attempt.modules, *(("torch",) if trial.kind in trials.WITH_TORCH else ())],
        "kind": trial.kind,
        "inputs": list(map(_written, trial.inputs)),
        "limits": {"seconds": limits.seconds, "memory": limits.memory},
        "path": [each for each in sys.path if os.path.isabs(each) and Path(each) != Path.cwd() and os.path.exists(each)],
        "trials": trials.__file__,
        "guard": str(Path(child.__file__).with_name("guard.py")),
        "hidden": os.path.realpath(PACKAGE),
    }


def _written(each: Any) -> Any:
    """An input of a trial as JSON."""
    if isinstance(each, np.ndarray):
        return {"array": each.tolist(), "dtype": each.dtype.name}
    if isinstance(each, list | tuple):
        return {"items": list(map(_written, each)), "tuple": isinstance(each, tuple)}
    return each.item() if isinstance(each, np.generic) else each


def _reply(request: dict[str, Any], limits: Limits) -> _Reply:
    """Run a request in a new process, in an empty folder and without our environment."""
    with tempfile.TemporaryDirectory(prefix="answer-", ignore_cleanup_errors=True) as folder:
        work, home = (Path(folder).resolve() / name for name in ("work", "home"))
        work.mkdir()
        home.mkdir()
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        places = dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"), str(home))
        environment = {"LANG": "C.UTF-8", "MPLBACKEND": "Agg", "STEEPEST_CACHE": os.devnull, **threads, **places}
        reading, writing = os.pipe()
        with open(reading, "rb", buffering=0) as pipe:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-B", child.__file__, str(writing)],
                    cwd=work,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(writing,),
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            try:
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError), process.stdin as stream:
                    stream.write(json.dumps(request | {"home": str(home)}).encode())
                data = _received(pipe, limits)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
    return _decoded(data, code, limits)


def _received(pipe: Any, limits: Limits) -> bytes:
    """What the child writes until it closes the pipe; _FailedError if it writes too much or takes too long."""
    data, started = bytearray(), False
    deadline = time.monotonic() + limits.start
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                limit = PATIENCE * limits.seconds if started else limits.start
                raise _FailedError(f"The answer took longer than {limit:g} s.")
            part = pipe.read(1 << 20)
            if not part:
                return bytes(data)
            if not started:
                started, deadline = True, time.monotonic() + PATIENCE * limits.seconds
            data += part
            if len(data) > MOST:
                raise _FailedError(f"The answer gave more than {MOST >> 20} MiB.")


def _decoded(data: bytes, code: int, limits: Limits) -> _Reply:
    """The reply of a child that ended with this exit code."""
    if not data.strip():
        if -code in (signal.SIGXCPU, signal.SIGKILL):
            raise _FailedError(f"The answer used more than {limits.seconds:g} s of processor time.")
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise _FailedError(f"The answer ended its process before it gave a result ({ending}).")
    try:
        reply = msgspec.json.decode(data, type=_Reply)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _FailedError(FORGED) from None
    if reply.refused:
        raise _FailedError(reply.refused)
    return reply


def _checked(name: str, reply: _Reply) -> trials.Outcome:
    """A reply as an outcome with the number of arrays, shapes and texts that the exercise's judge expects."""
    trial = EXERCISES[name].trial()
    arrays = list(_arrays(reply))
    if not _fits(trial, [each.shape for each in arrays], reply.texts):
        raise _FailedError(FORGED)
    return trials.Outcome(arrays, reply.texts)


def _fits(trial: trials.Trial, shapes: list[tuple[int, ...]], texts: dict[str, str]) -> bool:
    """Whether the arrays and texts are those of this kind of trial; a judge looks at the shapes of values itself."""
    if trial.kind == "steps":
        return shapes == [np.shape(trial.inputs[0])]
    if trial.kind == "optimizer":
        return shapes == [np.shape(trial.inputs[0])] * len(trial.inputs[2]) and "class" in texts
    if trial.kind == "answer":
        return not shapes and "answer" in texts
    return len(shapes) == len(trial.inputs)


def _arrays(reply: _Reply) -> Iterator[trials.Array]:
    for each in reply.arrays:
        if not trials.small(each.shape):
            raise _FailedError(FORGED)
        try:
            yield np.frombuffer(each.data, "<f8").reshape(each.shape)
        except ValueError:
            raise _FailedError(FORGED) from None
