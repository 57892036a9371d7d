"""The executor on a Ray cluster: blocks of runs are tasks, and their outcomes go to one store as they end.

The problem is sent with its code, even from a file of the user's; steepest must be installed on every node. Runs and blocks are
chosen as without a cluster, so a race eliminates the same candidates.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...errors import SteepestError
from ...prints import Silence
from .. import ways
from ..checkpoints import NOWHERE, Slot, Slots, finish, nowhere
from ..protocol import Sent, Training
from ..recorder import Curve, Outcome
from ..sending import is_users
from ..single import ignore
from ..stacked import Run
from ..versions import versions
from ..ways import Plan

TRIES = 3  # attempts for a run whose worker crashes; a block is halved after the second
MOVES = 20  # restarts of a block whose node was lost or out of memory, usually not because of the block
LOOKED = 0.2  # seconds between checks of the time
ANSWER = 5.0  # seconds to wait for a cluster's answer
FRAME, SETTINGS = 9, 4  # bytes of the header of an HTTP/2 frame, and the type of the first one, its fourth byte
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
AHEAD = 2  # blocks submitted per core, so that none is idle
FAILED = Outcome(Curve(), None, None, None, 0, 0.0, failed=True)


@dataclass(frozen=True)
class Block:
    """The runs of one task, by index; how often their worker crashed, and how often their node was lost."""

    runs: list[int]
    tries: int = 0
    moves: int = 0

    def again(self) -> list[Block]:
        """The blocks to retry after a crash: the same, then its halves; none for a single run that has failed."""
        tried = replace(self, tries=self.tries + 1)
        if len(self.runs) == 1:
            return [tried] if tried.tries < TRIES else []
        half = len(self.runs) // 2
        return [tried] if tried.tries == 1 else [Block(self.runs[:half]), Block(self.runs[half:])]


def connect(address: str | None) -> Any:
    """Connect Ray to the cluster at an address ("auto": the one that this machine is part of), or start one here for None.

    An existing connection of the process stays. SteepestError if Ray is not installed, or if no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise SteepestError("--engine ray needs Ray; install it by `pip install 'steepest[ray]'`.") from None
    if not ray.is_initialized():
        dashboard = False if address is None else None
        try:
            _reach(address or "")
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, include_dashboard=dashboard)
        except Exception as error:
            where = "No Ray cluster can be started here" if address is None else f"No Ray cluster can be used at {address!r}"
            raise SteepestError(f"{where}: {_last_line(error)}") from error
    return ray


def _reach(address: str) -> None:
    """Raise OSError if no cluster answers at an address with a port: Ray itself would wait for minutes.

    A cluster speaks HTTP/2 (gRPC), whose server answers the first words with its settings; one that needs TLS is only reached.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER) as line:
            line.settimeout(ANSWER)
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return
            line.sendall(GREETING)
            answer = line.recv(FRAME)
    except TimeoutError:
        raise OSError(f"nothing answered within {ANSWER:.0f} seconds") from None
    if len(answer) < FRAME or answer[3] != SETTINGS:
        raise OSError("something else than a cluster answers there; give the address that `ray start` printed")


class Cluster:
    """A Ray cluster that trains the runs of one study; on GPUs, each run has `gpus` of them, which may be a share of one."""

    share = (1, 1)

    def __init__(self, address: str | None = None, gpus: float = 1.0) -> None:
        self.ray, self.gpus = connect(address), gpus
        self._sent: Any = None
        self._remote = self.ray.remote(_train)

    def at_once(self, training: Training) -> int:
        """The number of runs that train in parallel: a core for each, or its share of the GPUs."""
        there = self.ray.cluster_resources()
        count = there.get("CPU", 1) if training.device == "cpu" else there.get("GPU", 1) / self.gpus
        return max(int(count), 1)

    def describe(self, training: Training) -> str:
        """A phrase with the number of runs that the cluster trains in parallel."""
        return f", {self.at_once(training)} at once on a Ray cluster"

    def train_all(
        self,
        training: Training,
        runs: Sequence[Run],
        plan: Plan,
        *,
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train the runs as the training does, in blocks that are the plan's chunks.

        A block whose worker crashes is retried, then its halves; a run that crashes three times has failed, and counts as
        diverged. A block whose node is lost is restarted on another. Checkpoints are next to the store if the nodes see it.
        """
        on_steps = on_step or ignore
        together = plan.workers > 1 or plan.chunk > 1
        workers = max(self.at_once(training) if together else 1, plan.workers)
        chunks = ways.chunks(runs, plan.chunk, workers)
        waiting = deque(Block(chunk) for chunk in chunks if not all(i in known for i in chunk))
        under_way: dict[Any, Block] = {}
        if not waiting:
            return
        needs = self._needs(training, 1 if together else torch.get_num_threads())
        self._sent = self._sent if self._sent is not None else self._send(training)
        try:
            while waiting or under_way:
                most = AHEAD * self.at_once(training)
                while waiting and len(under_way) < most:
                    block = waiting.popleft()
                    under_way[self._begin(block, runs, plan, slots, needs(len(block.runs)))] = block
                ended, rest = self.ray.wait([*under_way], timeout=LOOKED)
                ended += self.ray.wait(rest, num_returns=len(rest), timeout=0)[0] if rest else []
                for reference in ended:
                    block = under_way.pop(reference)
                    outcomes, again = self._got(reference, block, runs)
                    waiting.extend(again)
                    if outcomes or not again:
                        on_steps(sum(runs[i].length * runs[i].rule.evaluations for i in block.runs))
                        yield from zip(block.runs, outcomes or [FAILED], strict=True)
                    if outcomes or len(again) != 1:
                        finish(slots, block.runs)
                on_steps(0)  # raises if time is up
        finally:
            for reference in under_way:
                with contextlib.suppress(Exception):
                    self.ray.cancel(reference, force=True)

    def _begin(self, block: Block, runs: Sequence[Run], plan: Plan, slots: Slots, asked: dict[str, Any]) -> Any:
        path = slots(block.runs).path
        how = plan, path and path.absolute(), asked["num_cpus"], versions()
        return self._remote.options(max_retries=0, **asked).remote([self._sent], [runs[i] for i in block.runs], *how)

    def _got(self, reference: Any, block: Block, runs: Sequence[Run]) -> tuple[list[Outcome], list[Block]]:
        """The outcomes of a block, or the blocks to retry; neither for a run that failed. Raises what the task raised."""
        lost = self.ray.exceptions
        try:
            outcomes = list(self.ray.get(reference))
        except lost.RayTaskError as error:
            cause = getattr(error, "cause", None)
            raise (cause if isinstance(cause, SteepestError) else SteepestError(_last_line(cause or error))) from error
        except lost.WorkerCrashedError:
            return [], block.again()
        except (lost.NodeDiedError, lost.OutOfMemoryError, lost.ObjectLostError) as error:
            if block.moves < MOVES:
                return [], [replace(block, moves=block.moves + 1)]
            raise SteepestError(f"{runs[block.runs[0]]} was lost on {MOVES + 1} nodes: {_last_line(error)}") from error
        except lost.RayError as error:
            raise SteepestError(f"Ray failed: {_last_line(error)}; run the same command again to resume.") from error
        return outcomes, [] if outcomes else [Block([i]) for i in block.runs]  # they cannot train together

    def _needs(self, training: Training, cores: int) -> Callable[[int], dict[str, Any]]:
        """A function from a number of runs to the resources of their task; it raises SteepestError if no node has them."""
        device, nodes = training.device, [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        fit = [node for node in nodes if node.get("CPU", 0) >= 1 and (device == "cpu" or node.get("GPU", 0) >= 1)]
        if not fit:
            raise SteepestError(f"No node of the Ray cluster has a {'core' if device == 'cpu' else 'GPU'} for a run.")
        most = max(node.get("memory", 0) for node in fit)

        @functools.cache
        def of(runs: int) -> dict[str, Any]:
            bytes_ = training.bytes_of(runs)
            if bytes_ > most:
                raise SteepestError(
                    f"{runs} runs together take {bytes_ / 2**20:.4g} MiB, and no node of the Ray cluster offers more than "
                    f"{most / 2**20:.4g}; give a --plan with fewer runs together."
                )
            wide = max(node["CPU"] for node in fit if node.get("memory", 0) >= bytes_)
            return {"num_cpus": min(cores, int(wide)), "memory": bytes_, **({} if device == "cpu" else {"num_gpus": self.gpus})}

        return of

    def _send(self, training: Training) -> Any:
        """Put the training into Ray's object store; from here on the user's own modules are pickled by value."""
        from ray import cloudpickle

        for name, module in [*sys.modules.items()]:
            if is_users(name, module):
                cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call, unused-ignore]
        try:
            return self.ray.put(training.sent())
        except Exception as error:
            reason = _last_line(error.__cause__ or error)
            raise SteepestError(
                f"Problem '{training.facts.name}' cannot be sent to a cluster: {reason}. Open files, locks and generators "
                "stay where they are; make them inside the model's or the data's functions."
            ) from error


def _last_line(error: BaseException) -> str:
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except Exception:  # the user's own class
        lines = []
    return (lines or [type(error).__name__])[-1]


_held: dict[Any, Sent] = {}  # in a worker: what it trains


def _train(
    sent: list[Any], runs: list[Run], plan: Plan, place: Path | None, threads: int, wanted: dict[str, str]
) -> list[Outcome]:
    """A task: train a block on so many threads, with checkpoints if this node sees the store."""
    import ray

    own = versions()
    other = [f"{name} {own[name]} there, {version} here" for name, version in wanted.items() if own[name] != version]
    if other:
        raise SteepestError(f"A node of the Ray cluster has other versions ({', '.join(other)}); install the same on all.")
    if sent[0] not in _held:
        _held.clear()
        _held[sent[0]] = ray.get(sent[0])
    torch.set_num_threads(threads)
    seen = place is not None and Path(str(place.parent).removesuffix("-unfinished")).is_file()
    with Silence():  # a user who began Ray may see what its nodes print
        return _held[sent[0]].train(runs, plan, Slot(place) if seen else NOWHERE)
