"""A process that loads a training function once and trains runs: one fork for each, or one after the other.

It reads messages from its standard input and writes to its standard output, both of which the user's code never sees.

    client -> server    ("load", source, device, mode, environment)   ("warm", names)
    about a run         ("run", data, threads, quiet)   ("kill",)
    server -> client    ("loaded", mode)   ("failed", sentence)
    about a run         ("steps", n)   ("ran", Ran)   ("refused", why)   ("raised", why, step)
                        ("ended", exit code, bytes of memory)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import queue
import selectors
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch

from ...errors import SteepestError, message_of, run_file
from ...problems.seeds import seeded
from ...update.foreign import find, made
from . import frames
from .definition import Loop, Source, file_digest
from .worker import memory, perform, restored, silenced

PR_SET_PDEATHSIG = 1  # of Linux: a signal for this process when its parent ends
TASKS = Path("/proc/self/task")  # of Linux: a folder for each thread


def main() -> None:
    """Serve until the client is gone."""
    with_parent(True)  # in case the client ends while the user's file runs
    torch.set_num_threads(1)
    incoming, outgoing = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    os.close(nowhere)
    stream = os.fdopen(incoming, "rb", buffering=0)
    first = frames.read(stream)
    if first is None:
        os._exit(0)
    _, source, device, mode, environment = frames.decoded(first[1])
    try:
        with silenced():
            loop = load(source)
    except SteepestError as error:
        frames.write(outgoing, frames.frame(0, frames.encoded(("failed", str(error)))))
        os._exit(1)
    replace_environment(environment)
    mode = mode or ("fork" if can_fork(device) else "reuse")
    frames.write(outgoing, frames.frame(0, frames.encoded(("loaded", mode))))
    with_parent(False)
    with contextlib.suppress(BrokenPipeError):
        if mode == "fork":
            Forking(loop, incoming, outgoing).serve()
        else:
            Reusing(loop, incoming, outgoing).serve()
    os._exit(0)


def load(source: Source) -> Loop:
    """The loop of a source. SteepestError if its file changed, raises or lacks it."""
    with contextlib.suppress(OSError):  # a folder that is gone
        os.chdir(source.folder)
    sys.path[:] = source.path
    sys.argv[:] = source.argv
    with seeded(0):
        if source.file is None:
            try:
                loop = pickle.loads(source.pickle)
            except Exception as error:
                raise SteepestError(f"{source.name} cannot be loaded in another process: {message_of(error)}") from error
        else:
            path, name = source.file
            if file_digest(path) != source.digest:
                raise SteepestError(f"{path} was changed during the study; run the same command again.")
            loop = run_file(Path(path), "problem").get(name)
    if not isinstance(loop, Loop):
        raise SteepestError(f"{source.name} was not found again in a process of its own; define it at the top of its file.")
    return loop


def replace_environment(environment: Mapping[str, str | None]) -> None:
    """Set variables of the environment to what they are in the client; None removes one."""
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def can_fork(device: str) -> bool:
    """Whether a fork of this process is safe: on Linux and the like, without threads and without CUDA."""
    if device != "cpu" or not hasattr(os, "fork") or sys.platform == "darwin":
        return False
    tasks = len([*TASKS.iterdir()]) if TASKS.is_dir() else 1
    return threading.active_count() == 1 and tasks == 1 and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def with_parent(ends: bool) -> None:
    """On Linux, have this process killed when its parent ends, or not."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL) if ends else 0)


def warm(names: list[str], known: set[str]) -> None:
    """Take a step with optimizers, so that forked processes need not compile or import what it needs."""
    for name in names:
        if name not in known:
            known.add(name)
            with seeded(0), contextlib.suppress(Exception):
                model = torch.nn.Linear(2, 2)
                optimizer = made(find(name), model, lr=1e-3)
                optimizer.zero_grad()
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()


# One fork for each run


@dataclass
class Child:
    """A forked process, its run, and the pipe from which its messages are read."""

    number: int
    pid: int
    pipe: int
    frames: frames.Frames = field(default_factory=frames.Frames)


class Forking:
    """Trains each run in a fork of this process, several at the same time."""

    def __init__(self, loop: Loop, incoming: int, outgoing: int) -> None:
        self.loop, self.incoming, self.outgoing = loop, incoming, outgoing
        self.children: dict[int, Child] = {}  # by the number of the run
        self.known: set[str] = set()  # rules that are compiled
        self.selector = selectors.DefaultSelector()
        self.woken, self.waking = os.pipe()

    def serve(self) -> None:
        """Serve until the client is gone; then kill what runs."""
        for descriptor in (self.woken, self.waking):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(self.waking)  # a child's end wakes the selector
        self.selector.register(self.incoming, selectors.EVENT_READ)
        self.selector.register(self.woken, selectors.EVENT_READ)
        asked = frames.Frames()
        try:
            while True:
                for key, _ in self.selector.select():
                    if key.fd == self.incoming:
                        data = os.read(self.incoming, frames.CHUNK)
                        if not data:
                            return
                        for number, body in asked.add(data):
                            self._handle(number, frames.decoded(body))
                    elif key.fd == self.woken:
                        os.read(self.woken, frames.CHUNK)
                        self._reap()
                    elif key.data in self.children.values():  # else it ended just now
                        self._forward(key.data)
        finally:
            for child in self.children.values():
                _kill(child.pid)

    def _handle(self, number: int, message: tuple[Any, ...]) -> None:
        if message[0] == "warm":
            warm(message[1], self.known)
        elif message[0] == "run":
            self._fork(number, *message[1:])
        elif number in self.children:
            _kill(self.children[number].pid)

    def _fork(self, number: int, data: bytes, threads: int, quiet: bool) -> None:
        pipe, own = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(pipe)
                self._run(number, data, threads, quiet, own, parent)
            finally:
                os._exit(1)
        os.close(own)
        child = self.children[number] = Child(number, pid, pipe)
        self.selector.register(pipe, selectors.EVENT_READ, child)

    def _run(self, number: int, data: bytes, threads: int, quiet: bool, own: int, parent: int) -> NoReturn:
        """In a child: train, and end the process."""
        os.setsid()
        with_parent(True)
        if os.getppid() != parent:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        pipes = [child.pipe for child in self.children.values()]
        for descriptor in (self.incoming, self.outgoing, self.woken, self.waking, *pipes):
            os.close(descriptor)

        def send(message: Any) -> None:
            frames.write(own, frames.frame(number, frames.encoded(message)))

        with silenced(quiet):
            torch.set_num_threads(threads)
            perform(self.loop, data, send)
        os._exit(0)

    def _forward(self, child: Child) -> bool:
        """Pass messages of a child on; return whether there were any."""
        try:
            data = os.read(child.pipe, frames.CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._forget(child)
            return False
        for number, body in child.frames.add(data):
            frames.write(self.outgoing, frames.frame(number, body))
        return True

    def _forget(self, child: Child) -> None:
        """Read no more from a child's pipe."""
        with contextlib.suppress(KeyError):
            self.selector.unregister(child.pipe)

    def _reap(self) -> None:
        """Report the children that ended, and end what they started."""
        for child in [*self.children.values()]:
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            _kill(child.pid)  # before its number can be that of another process
            _, status = os.waitpid(child.pid, 0)
            os.set_blocking(child.pipe, False)
            while self._forward(child):
                pass
            self._forget(child)
            os.close(child.pipe)
            del self.children[child.number]
            ended = "ended", os.waitstatus_to_exitcode(status), 0
            frames.write(self.outgoing, frames.frame(child.number, frames.encoded(ended)))


def _kill(pid: int) -> None:
    """Kill a child with its process group, or alone if it has none yet."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ignore(*_: object) -> None:
    """Handle SIGCHLD, whose arrival is all that matters."""


# One process for many runs


class Reusing:
    """Trains runs one after the other in this process, and restores it after each."""

    def __init__(self, loop: Loop, incoming: int, outgoing: int) -> None:
        self.loop, self.incoming, self.outgoing = loop, incoming, outgoing
        self.inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

    def serve(self) -> NoReturn:
        """Serve until the client is gone, which ends the process immediately."""
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            number, message = self.inbox.get()
            if message[0] == "run":
                self._run(number, *message[1:])

    def _read(self) -> None:
        """Read messages, also while a run trains; at their end, end this process and all that it started."""
        with os.fdopen(self.incoming, "rb", closefd=False) as stream:
            while (read := frames.read(stream)) is not None:
                self.inbox.put((read[0], frames.decoded(read[1])))
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    def _run(self, number: int, data: bytes, threads: int, quiet: bool) -> None:
        def send(message: Any) -> None:
            frames.write(self.outgoing, frames.frame(number, frames.encoded(message)))

        with silenced(quiet), restored():
            torch.set_num_threads(threads)
            perform(self.loop, data, send)
        send(("ended", 0, memory()))
