"""One run in a process of its own, or in a process that is used again and therefore restored afterwards."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ...errors import SteepestError, message_of
from .definition import Loop
from .running import Ran, train
from .watching import RaisedError

OFTEN = 0.1  # seconds between messages about steps
Send = Callable[[Any], None]


class Steps:
    """Counts steps, and sends them now and then."""

    def __init__(self, send: Send) -> None:
        self.send, self.new, self.at = send, 0, time.monotonic()

    def add(self, steps: int) -> None:
        """Count further steps."""
        self.new += steps
        now = time.monotonic()
        if now - self.at >= OFTEN:
            self.send(("steps", self.new))
            self.new, self.at = 0, now


def perform(loop: Loop, data: bytes, send: Send) -> None:
    """Train a pickled `Asked`, and send its result. A function that goes on after its run was ended ends the process."""
    try:
        asked = pickle.loads(data)
    except Exception as error:  # the user's own classes may raise anything
        send(("refused", f"its candidate cannot be loaded in another process: {message_of(error)}"))
        return

    def ended(result: Ran | SteepestError) -> None:
        send(_message(result))
        os._exit(0)

    try:
        result: Ran | SteepestError = train(loop, asked, Steps(send).add, ended)
    except SteepestError as error:
        result = error
    except KeyboardInterrupt:
        result = RaisedError("it raised KeyboardInterrupt")
    except BaseException:  # a bug, which must not be taken for a process that died
        send(("broken", traceback.format_exc()))
        return
    send(_message(result))


def _message(result: Ran | SteepestError) -> tuple[Any, ...]:
    if isinstance(result, Ran):
        return "ran", result
    if isinstance(result, RaisedError):
        return "raised", str(result), result.step
    return "refused", str(result)


@contextlib.contextmanager
def silenced(quiet: bool = True) -> Iterator[None]:
    """Within the context, what is printed goes nowhere, also by libraries and other programs; unless it is not `quiet`."""
    if not quiet:
        yield
        return
    _flush()
    before = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        _flush()
        os.dup2(before[0], 1)
        os.dup2(before[1], 2)
        for descriptor in (nowhere, *before):
            os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or replaced by the user's own
            stream.flush()


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Restore what a run may change for the next one: folder, arguments, environment, streams and torch's defaults."""
    folder, streams, environment = os.getcwd(), (sys.stdin, sys.stdout, sys.stderr), dict(os.environ)
    argv, path = [*sys.argv], [*sys.path]
    back = _torch_defaults()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.chdir(folder)
        sys.stdin, sys.stdout, sys.stderr = streams
        sys.argv[:], sys.path[:] = argv, path
        for name in {*os.environ} - {*environment}:
            del os.environ[name]
        os.environ.update(environment)
        back()


def _torch_defaults() -> Callable[[], None]:
    """A function that restores torch's global settings."""
    cudnn: Any = torch.backends.cudnn
    device, dtype, grad = torch.get_default_device(), torch.get_default_dtype(), torch.is_grad_enabled()
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    exact = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    convolutions = cudnn.benchmark, cudnn.deterministic
    anomalies = torch.is_anomaly_enabled()

    def back() -> None:
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(exact, warn_only=warns)
        cudnn.benchmark, cudnn.deterministic = convolutions
        torch.autograd.set_detect_anomaly(anomalies)

    return back


def memory() -> int:
    """Bytes of memory of this process; 0 where that is unknown."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
