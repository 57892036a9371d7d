"""Checkpoints of unfinished training: weights, state and random generators, written every minute and when training stops.

A file contains one unit of work, a run or a chunk of runs that train together, and is named by a digest of its definition. It
is deleted once the results of all its runs are stored. It contains numbers and text; nothing in it is executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..update.torch_class.optimizer import RuleOptimizer
from .unfinished import folder_of

EVERY = 60.0  # seconds between checkpoints, which a crash may lose
ASIDE = ".damaged"  # suffix of a file that could not be used
SHORT = 2.0  # a stop within so many seconds of the last checkpoint writes none
Facts = dict[str, Any]  # the part stored as JSON
State = tuple[dict[str, Tensor], Facts]


class UnfitError(Exception):
    """A checkpoint has the right digest, but is not a valid state of its unit."""


class _Stop:
    """Whether this process trains a unit with checkpoints, and whether a stop was requested."""

    watched = asked = False


def is_worker() -> bool:
    """Whether this process was forked to train, so that nothing catches its exceptions."""
    return multiprocessing.parent_process() is not None


def end_worker(*_: object) -> None:
    """End a worker: after its step if that can be stored, else immediately."""
    if _Stop.asked or not _Stop.watched:
        os._exit(1)
    _Stop.asked = True


class Slot:
    """The checkpoint of one unit of work; without a path nothing is written."""

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.last = path, time.perf_counter()

    def read(self) -> State | None:
        """Load the state, or None: a file that is damaged or of another unit is renamed, and the unit restarts."""
        self.last = time.perf_counter()
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no dict
            if about["digest"] == self._digest(tensors, about["facts"]):
                return tensors, json.loads(about["facts"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError):
            pass
        self.set_aside()
        return None

    @contextlib.contextmanager
    def fitting(self, state: State, length: int) -> Iterator[None]:
        """Inside, a unit of `length` steps is restored from a state; UnfitError if it does not fit: restart the unit then."""
        try:
            step = state[1]["step"]
            if not (isinstance(step, int) and 0 <= step <= length and math.isfinite(state[1]["seconds"])):
                raise ValueError
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            self.set_aside()
            raise UnfitError from error

    def set_aside(self) -> None:
        """Rename a file that cannot be used, for the study to report."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.replace(self.path, self.path.with_suffix(ASIDE))

    def _digest(self, tensors: Mapping[str, Tensor], facts: str) -> str:
        """The digest of a file's contents and of its unit."""
        assert self.path is not None
        h = hashlib.sha256(json.dumps([self.path.stem, facts]).encode())
        for name, t in sorted(tensors.items()):
            h.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
            h.update(t.reshape(-1).view(torch.uint8).numpy().tobytes())
        return h.hexdigest()

    def write(self, state: State) -> None:
        """Write a state to disk, completely or not at all; on a full disk training continues without a checkpoint."""
        if self.path is None:
            return
        tensors, facts = state
        part = self.path.with_suffix(".part")
        with contextlib.suppress(OSError, SafetensorError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            apart = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
            text = json.dumps(facts)
            save_file(apart, part, {"facts": text, "digest": self._digest(apart, text)})
            os.replace(part, self.path)
        self.last = time.perf_counter()

    def tick(self, state: Callable[[], State], on_step: Callable[[], None]) -> None:
        """After a step: call `on_step`, write a checkpoint if due, and stop if `on_step` raises or a stop was requested."""
        try:
            on_step()
        except BaseException:
            self._leave(state)
            raise
        if _Stop.asked:
            self._leave(state)
            if is_worker():
                os._exit(1)
            raise KeyboardInterrupt
        if self.path and time.perf_counter() - self.last > EVERY:
            self.write(state())

    def _leave(self, state: Callable[[], State]) -> None:
        """Write a last checkpoint before training stops."""
        if self.path and time.perf_counter() - self.last > SHORT:
            self.write(state())

    def done(self) -> None:
        """Delete the file: the results of the unit are stored."""
        if self.path is not None and self.path.parent.is_dir():
            with contextlib.suppress(OSError):  # a folder of that name, or files of other units
                self.path.with_suffix(".part").unlink(missing_ok=True)  # of a process that was killed as it wrote
                self.path.unlink(missing_ok=True)
                self.path.parent.rmdir()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, Ctrl-C takes effect after the step, so that a checkpoint is complete; a second Ctrl-C does immediately."""
        if self.path is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(*_: object) -> None:
            if _Stop.asked:
                raise KeyboardInterrupt
            _Stop.asked = True

        before = signal.getsignal(signal.SIGINT) if is_worker() else signal.signal(signal.SIGINT, on_signal)
        _Stop.watched = True
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            asked, _Stop.watched, _Stop.asked = _Stop.asked, False, False
        if asked:  # after the last step
            end_worker() if is_worker() else signal.raise_signal(signal.SIGINT)


NOWHERE = Slot()
Slots = Callable[[Sequence[int]], Slot]  # the checkpoint of a unit, by the indices of its runs


def nowhere(_: Sequence[int]) -> Slot:
    """No checkpoint for any unit."""
    return NOWHERE


def beside(store: str, keys: Sequence[str], plan: str) -> Slots:
    """Checkpoints in a folder next to the store: a file for each unit of runs with these keys; none for a store in memory."""
    if store == ":memory:":
        return nowhere
    folder = folder_of(store)

    def slot(chunk: Sequence[int]) -> Slot:
        made_of = json.dumps([plan, *(keys[i] for i in chunk)])
        return Slot(folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.safetensors")

    return slot


def set_aside(store: str) -> int:
    """The number of a store's checkpoints that could not be used."""
    return 0 if store == ":memory:" else len([*folder_of(store).glob(f"*{ASIDE}")])


def finish(slots: Slots, chunk: Sequence[int]) -> None:
    """Delete the checkpoint of a chunk whose results are stored, and those of its halves, if it was halved."""
    slots(chunk).done()
    if len(chunk) > 1:
        finish(slots, chunk[: len(chunk) // 2])
        finish(slots, chunk[len(chunk) // 2 :])


def of_run(model: nn.Module, optimizer: RuleOptimizer) -> State:
    """The weights and buffers of a model, the state of its optimizer, and the global generators."""
    saved = optimizer.state_dict()
    tensors = {f"model.{name}": t for name, t in (*model.named_parameters(), *model.named_buffers())}
    plain: dict[str, Facts] = {}
    for i, state in saved["state"].items():
        plain[str(i)] = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        tensors |= {f"state.{i}.{name}": value for name, value in state.items() if isinstance(value, Tensor)}
    legacy: Any = np.random.get_state()
    name, words, *rest = legacy
    tensors |= {"generator.torch": torch.get_rng_state(), "generator.numpy": torch.from_numpy(words.astype(np.int64))}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        tensors |= {f"generator.cuda.{i}": t for i, t in enumerate(torch.cuda.get_rng_state_all())}
    facts = {"groups": saved["param_groups"], "state": plain, "numpy": [name, *rest], "python": random.getstate()}
    return tensors, facts


@torch.no_grad()
def put_back(model: nn.Module, optimizer: RuleOptimizer, state: State) -> None:
    """Restore a model, its optimizer and the global generators from what `of_run` returned."""
    tensors, facts = state
    for name, t in (*model.named_parameters(), *model.named_buffers()):
        t.copy_(tensors[f"model.{name}"])
    states: dict[int, Facts] = {int(i): dict(own) for i, own in facts["state"].items()}
    for name, t in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "state":
            i, _, letter = rest.partition(".")
            states[int(i)][letter] = t
    groups = [{k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in g.items()} for g in facts["groups"]]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    torch.set_rng_state(tensors["generator.torch"])
    cuda = [tensors[name] for name in sorted(tensors) if name.startswith("generator.cuda.")]
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
    name, *rest = facts["numpy"]
    np.random.set_state((name, tensors["generator.numpy"].numpy().astype(np.uint32), *rest))
    version, words, gauss = facts["python"]
    random.setstate((version, tuple(words), gauss))
