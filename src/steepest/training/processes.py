"""Work in processes of their own, forked, so that they need not be sent what they train; one that dies is tried once more."""

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
T = TypeVar("T")  # what is made of it
GRACE = 5.0  # seconds that a process has to put down what it trains
LOOKED = 0.2  # seconds after which the processes are looked at
Steps = Callable[[int], None]  # hears of steps of training that were made
_inherited: list[Any] = []  # what a forked process does, and where it counts the steps of each job, for its parent to see


class OutOfTimeError(Exception):
    """What hears of steps raises it to stop the training; runs that had ended are kept."""


def in_processes(
    work: Callable[[J, Steps], T], jobs: Sequence[J], workers: int, on_steps: Steps, describe: Callable[[J], str]
) -> Iterator[tuple[J, T]]:
    """Each job and what `work(job, steps)` made of it, as many at a time as there are workers.

    `on_steps(n)` hears, several times a second, of n more steps that the processes made; `describe(job)` names one in a
    message. Where a process dies, the jobs that were under way are done once more, each in a process of its own. SteepestError
    where it dies again. Whatever stops this ends the processes at once.
    """
    counts = multiprocessing.get_context("fork").RawArray("q", len(jobs))  # without a lock, which a process might die with
    _inherited[:] = [lambda k, steps: work(jobs[k], steps), counts]
    waves, ended = [(deque(range(len(jobs))), workers)], 0
    told = 0

    def look() -> None:
        nonlocal told
        new = max(sum(counts) - told, 0)
        told += new
        on_steps(new)

    while waves:
        left, count = waves.pop()
        lost: list[int] = []
        for k, made in _until_one_dies(left, count, lost, look):
            ended += 1
            yield jobs[k], made
        if lost and count == 1:
            raise SteepestError(
                f"The process that trained {describe(jobs[lost[0]])} died twice: killed, or out of memory. What ended before, "
                f"{ended} of {len(jobs)}, is kept, and the same command goes on from there."
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
    """In a worker: end when told to, and with the process that wanted its work, which cannot end it if it was killed."""
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
    """End processes, at the end of their step where that keeps what they trained, by force where it takes long."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        process.join(max(until - time.monotonic(), 0))
        process.kill()


def _until_one_dies(left: deque[int], workers: int, lost: list[int], look: Callable[[], None]) -> Iterator[tuple[int, Any]]:
    """Do jobs, taken off `left`, in a pool of processes; where one of these dies, what was under way goes to `lost`."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_watch, initargs=(os.getpid(),)) as pool:
        waiting: dict[Future[Any], int] = {}
        try:
            while left or waiting:
                while left and len(waiting) < 2 * workers:  # one for each to train, and one to take up at once
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
        except BaseException:  # out of time, Ctrl-C, a caller that asks for no more: what they train would take longer
            _end([*getattr(pool, "_processes", {}).values()])
            raise
        finally:
            for future in waiting:
                future.cancel()
