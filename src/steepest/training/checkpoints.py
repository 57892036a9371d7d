"""What lets training that was stopped go on: weights, state and generators, written every minute and at a stop.

A file holds one unit of work, a run or a chunk of runs that train together, and is named after what makes it itself. It is
gone once all of them are kept. It holds numbers and text: nothing in it is ever run.
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

EVERY = 60.0  # seconds of training that a crash may lose
ASIDE = ".damaged"  # ends the name of a file that did not fit
SHORT = 2.0  # seconds of training that are not worth a file at a stop
Facts = dict[str, Any]  # what goes into JSON
State = tuple[dict[str, Tensor], Facts]


class UnfitError(Exception):
    """A file of a unit under way has its digest, and is not a state of the unit."""


class _Stop:
    """Whether this process trains something that can go on, and whether it was told to stop."""

    watched = asked = False


def is_worker() -> bool:
    """Whether this process was forked to train, and ends without raising to anybody."""
    return multiprocessing.parent_process() is not None


def end_worker(*_: object) -> None:
    """What a worker does when it is to end: at the end of its step where that can be kept, else at once."""
    if _Stop.asked or not _Stop.watched:
        os._exit(1)
    _Stop.asked = True


class Slot:
    """Where one unit of work is kept while it trains; without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.last = path, time.perf_counter()

    def read(self) -> State | None:
        """What was written, or None; a file that is damaged, or is another unit's, is set aside, and the unit begins anew."""
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
        """Inside, a unit of so many steps is put back to a state; UnfitError where it does not fit: begin anew then."""
        try:
            step = state[1]["step"]
            if not (isinstance(step, int) and 0 <= step <= length and math.isfinite(state[1]["seconds"])):
                raise ValueError
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            self.set_aside()
            raise UnfitError from error

    def set_aside(self) -> None:
        """Rename a file that does not fit, for the study to tell of it."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.replace(self.path, self.path.with_suffix(ASIDE))

    def _digest(self, tensors: Mapping[str, Tensor], facts: str) -> str:
        """The digest of a file's contents, and of the unit that they are of."""
        assert self.path is not None
        h = hashlib.sha256(json.dumps([self.path.stem, facts]).encode())
        for name, t in sorted(tensors.items()):
            h.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
            h.update(t.reshape(-1).view(torch.uint8).numpy().tobytes())
        return h.hexdigest()

    def write(self, state: State) -> None:
        """Put it on disk, whole or not at all; a full disk loses the file, not the training."""
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

    def tick(self, state: Callable[[], State], tell: Callable[[], None] = lambda: None) -> None:
        """A step has ended: tell so, write where it is time to, and end where `tell` raises or this process is to stop."""
        try:
            tell()
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
        """The training stops after this step."""
        if self.path and time.perf_counter() - self.last > SHORT:
            self.write(state())

    def done(self) -> None:
        """All that the unit has made is kept; it needs no file any more."""
        if self.path is not None and self.path.parent.is_dir():
            with contextlib.suppress(OSError):  # a folder of that name, or other units are kept there
                self.path.with_suffix(".part").unlink(missing_ok=True)  # of a process that was killed as it wrote
                self.path.unlink(missing_ok=True)
                self.path.parent.rmdir()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, a stop is heard at the end of a step, so that what is written is whole; a second Ctrl-C is heard at once."""
        if self.path is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def heard(*_: object) -> None:
            if _Stop.asked:
                raise KeyboardInterrupt
            _Stop.asked = True

        before = signal.getsignal(signal.SIGINT) if is_worker() else signal.signal(signal.SIGINT, heard)
        _Stop.watched = True
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            asked, _Stop.watched, _Stop.asked = _Stop.asked, False, False
        if asked:  # after the last step
            end_worker() if is_worker() else signal.raise_signal(signal.SIGINT)


NOWHERE = Slot()
Slots = Callable[[Sequence[int]], Slot]  # of a unit of work, by the numbers of its runs


def nowhere(_: Sequence[int]) -> Slot:
    """Nothing is kept."""
    return NOWHERE


def beside(store: str, keys: Sequence[str], plan: str) -> Slots:
    """Units whose runs have these keys, trained by a plan: a file each in a folder beside the store, if it is a file."""
    if store == ":memory:":
        return nowhere
    folder = folder_of(store)

    def slot(chunk: Sequence[int]) -> Slot:
        made_of = json.dumps([plan, *(keys[i] for i in chunk)])
        return Slot(folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.safetensors")

    return slot


def folder_of(store: str) -> Path:
    """Where the units of a store are kept that have not ended."""
    return Path(f"{store}-unfinished")


def set_aside(store: str) -> int:
    """How many units of a store had files that did not fit."""
    return 0 if store == ":memory:" else len([*folder_of(store).glob(f"*{ASIDE}")])


def finish(slots: Slots, chunk: Sequence[int]) -> None:
    """A chunk is kept: its file goes, and those of its halves, where it had to be halved."""
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
    """A model, its optimizer and the global generators as they were when `of_run` was called."""
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
