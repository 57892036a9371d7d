"""Run jobs in forked processes, which inherit the problem; the job of a process that dies is retried once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from ..errors import SteepestError
from .checkpoints import end_worker

J = TypeVar("J")  # a job
T = TypeVar("T")  # its result
GRACE = 5.0  # seconds that a process has to write its checkpoint
LOOKED = 0.2  # seconds between checks of the processes
Steps = Callable[[int], None]  # callback: so many more steps are done
_inherited: list[Any] = []  # for forked processes: the work, and the shared array of steps done of each job


class OutOfTimeError(Exception):
    """Raised by a callback to stop the training; runs that ended are stored."""


def in_processes(
    work: Callable[[J, Steps], T], jobs: Sequence[J], workers: int, on_steps: Steps, describe: Callable[[J], str]
) -> Iterator[tuple[J, T]]:
    """Yield each job with the result of `work(job, steps)`, computed by `workers` processes in parallel.

    `on_steps(n)` is called several times a second with the number of further steps; `describe(job)` names a job in a message.
    If a process dies, the running jobs are retried, each in its own process. Raises SteepestError if it dies again. An
    exception ends the processes immediately.
    """
    counts = multiprocessing.get_context("fork").RawArray("q", len(jobs))  # without a lock, which a process might die with
    _inherited[:] = [lambda k, steps: work(jobs[k], steps), counts]
    waves, ended = [(deque(range(len(jobs))), workers)], 0
    reported = 0

    def look() -> None:
        nonlocal reported
        new = max(sum(counts) - reported, 0)
        reported += new
        on_steps(new)

    while waves:
        left, count = waves.pop()
        lost: list[int] = []
        for k, made in _until_one_dies(left, count, lost, look):
            ended += 1
            yield jobs[k], made
        if lost and count == 1:
            raise SteepestError(
                f"The process that trained {describe(jobs[lost[0]])} died twice: killed, or out of memory. The jobs that "
                f"ended, {ended} of {len(jobs)}, are stored; run the same command again to resume."
            )
        waves += [(left, count)] if left else []
        waves += [(deque([k]), 1) for k in lost]


def _work(k: int) -> Any:
    torch.set_num_threads(1)
    work, counts = _inherited
    counts[k] = 0

    def made(steps: int) -> None:
        counts[k] += steps

    return work(k, made)


def _watch(parent: int) -> None:
    """In a worker: end on SIGTERM, or when the parent process is gone, as a killed parent cannot end its workers."""
    signal.signal(signal.SIGTERM, end_worker)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; the parent ends its workers

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _end(processes: Sequence[Any]) -> None:
    """End processes: after their step if they can write a checkpoint, by force after `GRACE` seconds."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        process.join(max(until - time.monotonic(), 0))
        process.kill()


def _until_one_dies(left: deque[int], workers: int, lost: list[int], look: Callable[[], None]) -> Iterator[tuple[int, Any]]:
    """Run jobs from `left`, removing them, in a pool of processes; if a process dies, the running jobs are added to `lost`."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_watch, initargs=(os.getpid(),)) as pool:
        waiting: dict[Future[Any], int] = {}
        try:
            while left or waiting:
                while left and len(waiting) < 2 * workers:  # one for each to train, and one to start immediately after
                    waiting[pool.submit(_work, left[0])] = left[0]
                    left.popleft()
                ended = wait(waiting, timeout=LOOKED, return_when=FIRST_COMPLETED).done
                for done in ended:
                    made = done.result()
                    yield waiting.pop(done), made
                look()
        except BrokenProcessPool:
            for future, k in waiting.items():
                if future.done() and future.exception() is None:
                    yield k, future.result()
                else:
                    lost.append(k)
        except BaseException:  # out of time, Ctrl-C, or an abandoned iterator: do not wait for running jobs
            _end([*getattr(pool, "_processes", {}).values()])
            raise
        finally:
            for future in waiting:
                future.cancel()
