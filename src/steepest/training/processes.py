"""Runs in processes of their own, forked, so that they need not be sent what they train; one that dies is tried once more."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from ..errors import SteepestError
from .recorder import Outcome

_inherited: list[Callable[[int], Outcome]] = []  # what a forked process does


class OutOfTimeError(Exception):
    """What hears of steps raises it to stop the training; runs that had ended are kept."""


def in_processes(
    train: Callable[[int], Outcome],
    wanted: list[int],
    workers: int,
    alive: Callable[[int], None],
    describe: Callable[[int], str],
) -> Iterator[tuple[int, Outcome]]:
    """`train(i)` for each that is wanted, as many at a time as there are workers; `alive(0)` is called while they train,
    and `describe(i)` names one in a message.

    Where a process dies, the runs that were under way are trained once more, each in a process of its own. SteepestError
    where it dies again. Whatever stops this ends the processes at once.
    """
    _inherited[:] = [train]
    waves, ended = [(deque(wanted), workers)], 0
    while waves:
        left, count = waves.pop()
        lost: list[int] = []
        for i, outcome in _until_one_dies(left, count, lost, alive):
            ended += 1
            yield i, outcome
        if lost and count == 1:
            raise SteepestError(
                f"The process that trained {describe(lost[0])} died twice: killed, or out of memory. The {ended} runs that "
                "ended before are kept, and the same command goes on from there."
            )
        waves += [(left, count)] if left else []
        waves += [(deque([i]), 1) for i in lost]


def _work(i: int) -> Outcome:
    torch.set_num_threads(1)
    return _inherited[0](i)


def _watch(parent: int) -> None:
    """In a worker: end with the process that wanted its work, which cannot end it if it was killed."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_watch, initargs=(os.getpid(),))


def _until_one_dies(
    left: deque[int], workers: int, lost: list[int], alive: Callable[[int], None]
) -> Iterator[tuple[int, Outcome]]:
    """Train runs, taken off `left`, in a pool of processes; where one of these dies, what was under way goes to `lost`."""
    with _pool(workers) as pool:
        waiting: dict[Future[Outcome], int] = {}
        try:
            while left or waiting:
                while left and len(waiting) < 2 * workers:  # one for each to train, and one to take up at once
                    waiting[pool.submit(_work, left[0])] = left[0]
                    left.popleft()
                alive(0)
                for done in wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED).done:
                    outcome = done.result()
                    yield waiting.pop(done), outcome
        except BrokenProcessPool:
            for future, i in waiting.items():
                if future.done() and future.exception() is None:
                    yield i, future.result()
                else:
                    lost.append(i)
        except BaseException:  # out of time, Ctrl-C, a caller that asks for no more: what they train would take longer
            for process in [*getattr(pool, "_processes", {}).values()]:
                process.terminate()
            raise
        finally:
            for future in waiting:
                future.cancel()
