"""Train runs in processes: start servers, give them runs, and notice what ends badly."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from ... import rules
from ...errors import SteepestError
from ...problems.origin import in_library
from ...rules.definition import Rule
from ...rules.foreign import Parts
from .. import sending
from . import frames
from .definition import Source
from .running import Asked, Failed, Ran, ignore

LOOKED = 0.2  # seconds between checks of the time
GRACE = 5.0  # seconds that a process has to end
TRIES = 2  # attempts for a run whose process dies
RUNS = 50  # runs of a process that is used again
GROWTH, SPARE = 1.5, 256 << 20  # factor and bytes by which such a process may grow after its first run
TORCHS = "torch.optim.SGD"
CALM = {  # variables that keep libraries from starting threads when they are imported
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
Message = tuple[Any, ...]
Inbox = queue.SimpleQueue[tuple["Server", int, Message | None]]


class Server:
    """A process that trains runs of one loop. Its messages about runs go to the inbox, None at its end."""

    def __init__(self, source: Source, device: str, mode: str | None, environment: Mapping[str, str], inbox: Inbox) -> None:
        self.name, self.runs, self.first_bytes, self.bytes = source.name, 0, 0, 0
        self.mode = ""  # "fork" or "reuse", once it is loaded
        self._answers: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        path = f"import sys; sys.path[:] = {_libraries_first(sys.path)!r}"  # the user's random.py must not hide Python's
        program = f"{path}; from steepest.training.loop.server import main; sys.path[:] = {sys.path!r}; main()"
        own: dict[str, Any] = {"start_new_session": True}  # Ctrl-C is for the client alone
        if sys.platform == "win32":
            own = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **CALM, **environment},
            **own,
        )
        self._thread = threading.Thread(target=self._read, args=(inbox,), daemon=True)
        self._thread.start()
        before = {name: os.environ.get(name) for name in CALM} | dict(environment)
        self.send(0, ("load", source, device, mode, before))

    def _read(self, inbox: Inbox) -> None:
        stream = cast(BinaryIO, self.process.stdout)
        with contextlib.suppress(OSError, ValueError):  # closed
            while (read := frames.read(stream)) is not None:
                number, message = read[0], frames.decoded(read[1])
                if number:
                    inbox.put((self, number, message))
                else:
                    self._answers.put(message)
        self._answers.put(None)
        inbox.put((self, 0, None))

    def send(self, number: int, message: Message) -> None:
        """Send a message about a run; nothing happens if the process is gone, which its inbox says."""
        stream = cast(BinaryIO, self.process.stdin)
        with contextlib.suppress(OSError, ValueError):
            stream.write(frames.frame(number, frames.encoded(message)))
            stream.flush()

    def wait(self, on_steps: Callable[[int], None]) -> None:
        """Wait until the loop is loaded. SteepestError if it cannot be."""
        while not self.mode:
            try:
                answer = self._answers.get(timeout=LOOKED)
            except queue.Empty:
                on_steps(0)
                continue
            if answer is None:
                raise SteepestError(f"{self.name} cannot be loaded in another process: {death(self.process.wait())}.")
            if answer[0] == "failed":
                raise SteepestError(answer[1])
            self.mode = answer[1]

    @property
    def is_worn(self) -> bool:
        """Whether it should be replaced: it died, or it trains runs itself, and so many, or has grown so much."""
        grown = self.bytes > GROWTH * self.first_bytes + SPARE
        return self.process.poll() is not None or (self.mode == "reuse" and (self.runs >= RUNS or grown))

    def close(self, at_once: bool = False) -> None:
        """End the process, with all that it started."""
        if at_once:
            self._kill()
        with contextlib.suppress(OSError):
            cast(BinaryIO, self.process.stdin).close()  # at which it ends by itself
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._kill()
            self.process.wait()
        self._thread.join(GRACE)
        if not self._thread.is_alive():
            cast(BinaryIO, self.process.stdout).close()

    def _kill(self) -> None:
        if self.process.poll() is not None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()


@dataclass
class Job:
    """A run to train, in its n-th attempt: its server, the steps reported in this and in all attempts, and its result."""

    index: int
    asked: Asked
    server: Server | None = None
    tries: int = 0
    steps: int = 0
    seen: int = 0
    result: Ran | Failed | None = None

    def counted(self, steps: int) -> int:
        """Count further steps; return the gradients that were in no earlier attempt."""
        self.steps += steps
        new = max(self.steps - self.seen, 0)
        self.seen += new
        return new * self.asked.maker.evaluations

    def rest(self) -> int:
        """The gradients that are left when it ends, as a run that diverged ends early."""
        length = self.asked.until or self.asked.steps
        return max(length - self.seen, 0) * self.asked.maker.evaluations


class Pool:
    """Trains runs of a loop in processes, `workers` at the same time, each with so many `threads`.

    `environments` has further variables for each worker. `mode` is "fork" or "reuse", by default whichever is safe. A run
    whose process dies is trained once again. Close it, or use it in a `with`.
    """

    def __init__(
        self,
        source: Source,
        workers: int = 1,
        threads: int = 1,
        device: str = "cpu",
        environments: Sequence[Mapping[str, str]] | None = None,
        mode: str | None = None,
    ) -> None:
        self.source, self.workers, self.threads, self.device, self.mode = source, workers, threads, device, mode
        if device != "cpu":
            self.mode = "reuse"
        self.environments = environments or [{}] * workers
        self._servers: dict[int, Server] = {}  # by worker; one for all where it forks
        self._inbox: Inbox = queue.SimpleQueue()
        self._numbers = 0
        self._has_marks = True  # whether a shortened run may end at a mark
        self._finalizer = weakref.finalize(self, _close, self._servers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        _close(self._servers)

    def one(self, asked: Asked, quiet: bool = True) -> Ran | Failed:
        """Train one run; unless it is `quiet`, what it prints goes to the standard error."""
        ((_, result),) = self.run_all([asked], ignore, quiet=quiet)
        return result

    def run_all(
        self,
        asked: Sequence[Asked],
        on_steps: Callable[[int], None] = ignore,
        workers: int | None = None,
        quiet: bool = True,
    ) -> Iterator[tuple[int, Ran | Failed]]:
        """Train runs, at most `workers` at the same time, and yield each with its index, as it ends.

        `on_steps(n)` is called several times a second with the number of further gradients; if it raises, or the iterator is
        closed, all runs are killed. SteepestError if the loop cannot be loaded.
        """
        waiting = deque(Job(index, one) for index, one in enumerate(asked))
        most = min(self.workers, workers or self.workers)
        running: dict[int, Job] = {}
        try:
            if self.mode == "reuse":
                for place in range(min(most, len(waiting))):
                    self._started(place)  # all load at the same time
            while waiting or running:
                while waiting and (worker := self._free(running, most)) is not None:
                    self._begin(waiting.popleft(), worker, running, quiet, on_steps)
                try:
                    server, number, message = self._inbox.get(timeout=LOOKED)
                except queue.Empty:
                    on_steps(0)
                    continue
                if message is not None and message[0] == "steps" and number in running:
                    on_steps(running[number].counted(message[1]))
                for job in self._ended(server, number, message, running):
                    if job.result is None:
                        waiting.append(job)
                        continue
                    yield job.index, job.result
                    on_steps(job.rest())
        finally:
            self._kill(running)

    def _free(self, running: Mapping[int, Job], most: int) -> int | None:
        """A worker that can train another run; None if all are busy."""
        if len(running) >= most:
            return None
        if self.mode == "fork":
            return 0
        busy = [job.server for job in running.values()]
        return next((i for i in range(most) if self._servers.get(i) not in busy), None)

    def _begin(self, job: Job, worker: int, running: dict[int, Job], quiet: bool, on_steps: Callable[[int], None]) -> None:
        """Start a run."""
        server = self._server(worker, on_steps)
        if job.asked.until and not self._has_marks:
            job.asked = replace(job.asked, steps=job.asked.until, until=0)
        try:
            data = sending.pickled(job.asked)
        except Exception as error:
            raise SteepestError(f"{job.asked.maker.name} cannot be sent to a process: {error}.") from error
        self._numbers += 1
        job.server, job.tries, job.steps = server, job.tries + 1, 0
        running[self._numbers] = job
        if server.mode == "fork":
            server.send(0, ("warm", compiled(job.asked)))
        server.send(self._numbers, ("run", data, self.threads, quiet))

    def _server(self, worker: int, on_steps: Callable[[int], None]) -> Server:
        """The worker's process, replaced if it is worn."""
        known = self._servers.get(worker)
        if known is not None and known.is_worn:
            self._servers.pop(worker).close()
        server = self._started(worker)
        try:
            server.wait(on_steps)
        except BaseException:
            self._servers.pop(worker).close(at_once=True)
            raise
        self.mode = server.mode
        return server

    def _started(self, worker: int) -> Server:
        """The worker's process, which may still load the loop."""
        if worker not in self._servers:
            self._servers[worker] = Server(self.source, self.device, self.mode, self.environments[worker], self._inbox)
        return self._servers[worker]

    def _ended(self, server: Server, number: int, message: Message | None, running: dict[int, Job]) -> list[Job]:
        """The jobs that a message ends; those without a result are to be tried again."""
        if message is None:
            return self._lost(server, running)
        job = running.get(number)
        if job is None:
            return []
        if message[0] == "ran":
            job.result = message[1]
        elif message[0] in ("refused", "raised"):
            job.result = Failed(message[1], *message[:1], *message[2:])
        elif message[0] == "broken":
            raise RuntimeError(message[1])
        elif message[0] == "ended":
            server.runs, server.bytes = server.runs + 1, message[2]
            server.first_bytes = server.first_bytes or server.bytes
            return [self._judged(running.pop(number), message[1])]
        return []

    def _lost(self, server: Server, running: dict[int, Job]) -> list[Job]:
        """The jobs of a process that died."""
        for worker, known in [*self._servers.items()]:
            if known is server:
                del self._servers[worker]
                server.close(at_once=True)
        numbers = [number for number, job in running.items() if job.server is server]
        return [self._judged(running.pop(number), server.process.returncode) for number in numbers]

    def _judged(self, job: Job, exit_code: int) -> Job:
        """A job that ended, with the result that it sent; failed if its process has died often enough."""
        if job.result is None and job.tries >= TRIES:
            job.result = Failed(f"{death(exit_code)}, {job.tries} times", "died")
        if isinstance(job.result, Ran) and job.asked.until and job.result.outcome.valid is not None:
            self._has_marks = job.result.marks
        return job

    def _kill(self, running: dict[int, Job]) -> None:
        """Kill runs, and wait until they are gone."""
        for number, job in running.items():
            assert job.server is not None
            if job.server.mode == "fork":
                job.server.send(number, ("kill",))
        left = {number: job for number, job in running.items() if job.server and job.server.mode == "fork"}
        while left:
            try:
                server, number, message = self._inbox.get(timeout=GRACE)
            except queue.Empty:
                break
            if message is None:
                left = {number: job for number, job in left.items() if job.server is not server}
                self._lost(server, {})
            elif message[0] == "ended":
                left.pop(number, None)
        stuck = {id(job.server) for job in running.values() if job.server and job.server.mode != "fork"}
        stuck |= {id(job.server) for job in left.values()}
        for worker, server in [*self._servers.items()]:
            if id(server) in stuck:
                self._servers.pop(worker).close(at_once=True)
        running.clear()


def _libraries_first(path: Sequence[str]) -> list[str]:
    """An import path with Python's own folders, installed packages and ours before any other."""
    ours = str(Path(__file__).parents[3])
    return sorted(path, key=lambda folder: not (folder == ours or in_library(os.path.join(folder, "module.py"))))


def _close(servers: dict[int, Server]) -> None:
    while servers:
        servers.popitem()[1].close()


def compiled(asked: Asked) -> list[str]:
    """The names of our rules in a candidate, whose updates are compiled; of torch's SGD for one that is not a rule.

    The first step of a torch optimizer imports a large part of torch, which each fork would otherwise do again.
    """
    parts = [*asked.maker.parts.values()] if isinstance(asked.maker, Parts) else [asked.maker]
    own = [part for part in parts if isinstance(part, Rule) and (part.base or part) in rules.RULES.values()]
    names = [] if asked.exact else [part.name for part in own]
    return names if all(isinstance(part, Rule) for part in parts) else [*names, TORCHS]


def death(exit_code: int) -> str:
    """A phrase on how a process ended."""
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code}"
    reason = ", perhaps as memory ran out" if exit_code == -9 else ""
    return f"its process was killed by signal {-exit_code}{reason}"
