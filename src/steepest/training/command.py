"""Train by a command: a program in any language is started for each run, and its metric is read from what it prints."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checks import seconds_of, whole
from ..errors import SteepestError, absolute, middle_out
from ..problems import IDENTITY
from ..problems.fingerprint import Identity
from ..rules.foreign import Maker
from ..schedules import Schedule
from . import ways
from .apart import Apart
from .checkpoints import Slot, Slots, nowhere
from .protocol import Facts, Searched
from .recorder import LARGEST, Curve, Outcome
from .single import ignore
from .stacked import Run
from .ways import Plan

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
OWN = ("optimizer", "lr", "schedule", "warmup", "seed", "steps")  # placeholders that are not settings of the optimizer
LOOKED = 0.1  # seconds between checks of the time
BROKEN = 3  # failed runs before the first success, after which the command itself is assumed to be wrong
GRACE = 2.0  # seconds that a program has to end after SIGTERM


@dataclass(frozen=True)
class Command:
    """A program to train with, such as "python train.py --lr {lr} --seed {seed}".

    template: the command line; {optimizer}, {lr}, {schedule}, {warmup} (the share of warm-up steps), {seed}, {steps} and the
        settings of the optimizer stand where their values go. It is split into words before they are filled in; no shell runs.
    metric: a regular expression whose first group is the metric, as in "val_loss: ([0-9.]+)". The last match in the output
        counts; earlier ones are the learning curve.
    direction: "min" or "max".
    steps: steps of a run, for {steps}. timeout: the longest time of a run, such as "10min". unseeded: accept a program without
        {seed}; its runs are then not paired.

    >>> Command("python train.py --lr {lr} --seed {seed}", metric="loss ([0-9.]+)", direction="min").axes
    frozenset()
    """

    template: str
    metric: str
    direction: str
    steps: int | None = None
    timeout: str | float | None = None
    unseeded: bool = False
    name: str = ""
    about: str = ""
    words: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", _words(self.template))
        object.__setattr__(self, "name", self.name or _named(self.words))
        if self.direction not in ("min", "max"):
            raise SteepestError(f"The direction of a command is {self.direction!r}; expected min or max.")
        try:
            pattern = re.compile(self.metric)
        except (re.error, TypeError) as error:
            raise SteepestError(f"The metric {self.metric!r} is no regular expression: {error}.") from None
        if pattern.groups != 1:
            raise SteepestError(
                f"The metric {self.metric!r} has {pattern.groups} groups; expected one, around the number, such as "
                "'val_loss: ([0-9.]+)'."
            )
        if self.steps is not None:
            whole("steps", self.steps)
        if self.timeout is not None:
            seconds_of(self.timeout)
        if "seed" not in self.placeholders and not self.unseeded:
            raise SteepestError(
                "The command has no {seed}, so its runs cannot be repeated or compared on equal seeds; add {seed}, or give "
                "--unseeded."
            )

    @property
    def placeholders(self) -> frozenset[str]:
        """The names in braces."""
        return frozenset(name for word in self.words for name in PLACEHOLDER.findall(word))

    @property
    def axes(self) -> frozenset[str]:
        """The settings of the optimizer that it takes."""
        return self.placeholders - {*OWN}

    @property
    def limit(self) -> float:
        """The longest time of a run in seconds."""
        return math.inf if self.timeout is None else seconds_of(self.timeout)

    def filled(self, run: Run) -> list[str]:
        """The words of the command line of a run."""
        settings = {name: value for name, value in run.rule.hyper.items() if name in self.axes}
        values = settings | {
            "optimizer": run.rule.base.name if run.rule.base else run.rule.name,
            "lr": run.lr,
            "schedule": run.schedule.name,
            "warmup": _warmup(run.schedule),
            "seed": run.seed,
            "steps": run.until or run.steps,
        }
        return [PLACEHOLDER.sub(lambda match: _text(values[match[1]]), word) for word in self.words]


def _words(template: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(template))
    except (ValueError, AttributeError, TypeError) as error:
        raise SteepestError(f"The command {middle_out(str(template), 80)!r} cannot be read: {error}.") from None
    if not words:
        raise SteepestError("The command is empty; give a program with its arguments.")
    if PLACEHOLDER.search(words[0]):
        raise SteepestError(f"The command begins with {words[0]}; expected a program, such as python.")
    return words


def _named(words: Sequence[str]) -> str:
    """A short name for a command: the first word that looks like a script, else the program."""
    script = next((word for word in words[1:] if Path(word).suffix and not word.startswith("-") and "{" not in word), words[0])
    return Path(script).stem[:100] or "command"


def _warmup(schedule: Schedule) -> float:
    """The share of warm-up steps in a schedule."""
    found = re.search(r"warmup\((?:\w+=)?([0-9.]+)", schedule.name)
    return float(found[1]) if found else 0.0


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


class CommandTraining(Apart):
    """The training by a command; `workers` programs run at the same time."""

    reason = "a program for each run"

    def __init__(self, command: Command, workers: int | None = None, device: str = "cpu") -> None:
        self.command, self.device = command, device
        self.workers = ways.workers_on("cpu") if workers is None else workers
        there = command.placeholders
        if "steps" in there and command.steps is None:
            raise SteepestError("The command has {steps}, and no number of steps was given; give --steps.")
        self.facts = Facts(
            name=command.name,
            metric=_metric_name(command.metric),
            direction=command.direction,
            steps=command.steps or 1,
            about=command.about,
            caveats=UNSEEDED if "seed" not in there else (),
        )
        self.searched = Searched(
            schedules=bool(there & {"schedule", "warmup"}),
            optimizers="optimizer" in there,
            named=True,
            axes=command.axes,
            rates="lr" in there,
            any_length="steps" in there,
        )
        self._ended: dict[tuple[str, ...], Outcome] = {}  # runs that were trained to time them
        self._failed, self._succeeded = list[str](), False
        self._seconds: float | None = None

    @property
    def where(self) -> str:
        """The device, as part of the keys of runs."""
        return self.device

    def identify(self) -> Identity:
        """A hash of the template, the metric, and every argument that is a local file."""
        command = self.command
        if shutil.which(command.words[0]) is None:
            raise SteepestError(f"The program {command.words[0]!r} was not found; give its path, or install it.")
        h = hashlib.sha256(repr((command.words, command.metric, command.direction, command.unseeded)).encode())
        for word in command.words:
            for path in {word, word.partition("=")[2]} - {""}:
                file = absolute(path) if "\0" not in path else None
                if file is not None and len(path) < 4096 and file.is_file():
                    h.update(hashlib.sha256(file.read_bytes()).digest())
        return Identity(IDENTITY + h.hexdigest())

    def repeats(self, run: Run, other: Run, steps: int) -> bool | None:
        """Not tested, as it would take two whole runs; False for a program without a seed."""
        return False if "seed" not in self.command.placeholders else None

    def time(self, run: Run, most: float) -> tuple[float, float]:
        """Seconds of one step, by one whole run, whose outcome is used where that run is wanted; it takes at most `most`."""
        began = time.perf_counter()
        outcome = next(iter(self._train([run], lambda _: None, nowhere, most)))[1]
        took = time.perf_counter() - began
        self._ended[(*self.command.filled(run),)] = outcome
        return took / run.length, 0.0

    def evaluations(self) -> float:
        """None: they are part of a run's steps."""
        return 0.0

    def costs(self, makers: Sequence[Maker]) -> list[tuple[float, int] | None]:
        """Seconds of a step, the same for all; the state is unknown."""
        return [None if self._seconds is None else (self._seconds, 0) for _ in makers]

    def train_all(
        self,
        runs: Sequence[Run],
        plan: Plan,
        *,
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Run the programs, and yield each outcome with its index. SteepestError if the first runs all fail."""
        on_steps = on_step or ignore
        wanted = [i for i in range(len(runs)) if i not in known]
        left = []
        for i in wanted:
            outcome = self._ended.pop((*self.command.filled(runs[i]),), None)
            if outcome is None:
                left.append(i)
            else:
                on_steps(runs[i].length)
                yield i, outcome
        own = [runs[i] for i in left]

        def slots_of(chunk: Sequence[int]) -> Slot:
            return slots([left[k] for k in chunk])

        for k, outcome in self._train(own, on_steps, slots_of, math.inf, plan.workers):
            yield left[k], outcome

    def _train(
        self, runs: Sequence[Run], on_steps: Callable[[int], None], slots: Slots, most: float, workers: int = 1
    ) -> Iterator[tuple[int, Outcome]]:
        """Run programs, `workers` at a time; if the caller stops, those that run are ended."""
        waiting = list(range(len(runs)))[::-1]
        ended: queue.Queue[tuple[int, Outcome]] = queue.Queue()
        programs: dict[int, Program] = {}
        try:
            while waiting or programs:
                while waiting and len(programs) < workers:
                    k = waiting.pop()
                    programs[k] = Program(self.command, runs[k], _output(slots([k]), runs[k]), min(self.command.limit, most))
                    programs[k].start(functools.partial(_put, ended, k), workers)
                try:
                    k, outcome = ended.get(timeout=LOOKED)
                except queue.Empty:
                    on_steps(0)
                    continue
                programs.pop(k)
                self._judge(outcome, runs[k])
                on_steps(runs[k].length)
                yield k, outcome
        finally:
            for program in programs.values():
                program.end()

    def _judge(self, outcome: Outcome, run: Run) -> None:
        """Record whether a run failed; SteepestError if the command has never worked."""
        if not outcome.failed:
            self._succeeded, self._seconds = True, outcome.seconds / run.length
            return
        self._failed.append(outcome.why)
        if not self._succeeded and len(self._failed) >= BROKEN:
            raise SteepestError(f"The command failed in its first {len(self._failed)} runs: {outcome.why}.")

    def notices(self) -> Mapping[str, str]:
        """Why runs failed, once some have."""
        return {"failed": f"A run of the command failed: {self._failed[0]}."} if self._failed else {}

    def sent(self) -> Any:
        """Refused: a node may lack the program and its files."""
        raise SteepestError("A command trains on this machine; use --engine local, or `steepest work` on each machine.")

    def first_reports(self) -> Sequence[float]:
        """None: a program is not run to see whether it changed."""
        return ()

    def close(self) -> None:
        """Nothing is left running between batches of runs."""


UNSEEDED = ("The command takes no seed: runs are not paired, so bounds are wider than they would be on equal seeds.",)


def _metric_name(pattern: str) -> str:
    """A name for the metric: the words before its number."""
    found = re.match(r"\W*([A-Za-z][\w ./-]*?)\W*\(", pattern)
    return found[1].strip() if found else "metric"


def _output(slot: Slot, run: Run) -> Path | None:
    """The file for what a run prints, in a folder next to the store; None without a store."""
    if slot.path is None:
        return None
    store = str(slot.path.parent).removesuffix("-unfinished")
    optimizer = re.sub(r"[^\w.=-]+", "-", run.rule.name)[:60].strip("-")
    return Path(f"{store}-output") / f"{optimizer}-{run.lr:g}-seed{run.seed}-{slot.path.stem[:8]}.txt"


def _put(ended: queue.Queue[tuple[int, Outcome]], k: int, outcome: Outcome) -> None:
    ended.put((k, outcome))


class Program:
    """One run of a command: a process group, read by a thread."""

    def __init__(self, command: Command, run: Run, output: Path | None, limit: float) -> None:
        self.command, self.run, self.output, self.limit = command, run, output, limit
        self.process: subprocess.Popen[str] | None = None
        self.late = False

    def start(self, done: Callable[[Outcome], None], workers: int) -> None:
        """Start the program; `done` is called from the reading thread with its outcome."""
        words = self.command.filled(self.run)
        cores = max(ways.workers_on("cpu") // max(workers, 1), 1)
        environment = {"OMP_NUM_THREADS": str(cores), "PYTHONUNBUFFERED": "1"} | os.environ
        began = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise SteepestError(f"The program {words[0]!r} cannot be started: {getattr(error, 'strerror', error)}.") from None
        threading.Thread(target=lambda: done(self._read(began)), daemon=True).start()

    def _read(self, began: float) -> Outcome:
        """Read what the program prints until it ends."""
        process = self.process
        assert process is not None
        assert process.stdout is not None
        timer = threading.Timer(self.limit, self._too_late) if math.isfinite(self.limit) else None
        if timer:
            timer.daemon = True
            timer.start()
        values, last = list[float](), ""
        pattern = re.compile(self.command.metric)
        with _opened(self.output) as file, process.stdout as lines:
            for line in lines:
                file.write(line)
                last = line.strip() or last
                values += [float(m[1]) for m in pattern.finditer(line) if _is_number(m[1])]
        code = process.wait()
        if timer:
            timer.cancel()
        return self._outcome(values, code, last, time.perf_counter() - began)

    def _outcome(self, values: list[float], code: int, last: str, seconds: float) -> Outcome:
        steps = self.run.until or self.run.steps
        said = f"; its last line was {middle_out(last, 120)!r}" if last else ""
        why = ""
        if self.late:
            why = f"it took over {self.limit:g} s"
        elif code:
            why = f"it ended with exit code {code}{said}" if code > 0 else f"signal {-code} ended it{said}"
        elif not values:
            why = f"nothing that it printed matches {self.command.metric!r}{said}"
        if why:
            return Outcome(Curve(), None, None, None, None, seconds, failed=True, why=why)
        at = [round(steps * (k + 1) / len(values)) for k in range(len(values))] if len(values) <= steps else [steps]
        shown = values if len(values) <= steps else values[-1:]
        curve = Curve(at, [None] * len(at), [None] * len(at), [v if math.isfinite(v) else None for v in shown])
        if abs(values[-1]) <= LARGEST:
            return Outcome(curve, values[-1], None, None, None, seconds)
        return Outcome(curve, None, None, None, steps, seconds, why=f"its last metric was {values[-1]}")

    def _too_late(self) -> None:
        self.late = True
        self.end()

    def end(self) -> None:
        """End the process group: by SIGTERM, and by force after a while."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        for sent in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            try:
                os.killpg(process.pid, sent) if hasattr(os, "killpg") else process.kill()
                process.wait(GRACE)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _opened(path: Path | None) -> Any:
    """The file for the output of a run, or nowhere."""
    if path is None:
        return open(os.devnull, "w", encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
