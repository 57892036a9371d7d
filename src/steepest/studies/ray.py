"""Runs on a cluster by Ray: blocks of them are its tasks, and what they come to goes to the one store as they end.

The problem travels with its code, also where that is a file of the user's; steepest is to be installed on every node. What is
trained, and in which blocks, is decided here as it is without a cluster, so a race over one eliminates as it does alone.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import SteepestError
from ..problems.problem import Problem
from ..training import ways
from ..training.checkpoints import NOWHERE, Slot, Slots, finish, nowhere
from ..training.recorder import Curve, Outcome
from ..training.single import ignore
from ..training.stacked import Run
from ..training.ways import Plan

TRIES = 3  # times that a run is begun whose process or node is lost; a block of several is cut in two after the first
LOOKED = 0.2  # seconds after which the clock is looked at
AHEAD = 2  # blocks that wait for each core, so that none is idle
Block = list[int]


def connect(address: str | None) -> Any:
    """Ray, connected to the cluster at an address ("auto" for the one that this machine is part of), or begun here.

    SteepestError where Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise SteepestError("--engine ray needs Ray; install it by `pip install 'steepest[ray]'`.") from None
    if not ray.is_initialized():
        try:
            ray.init(address, log_to_driver=False, include_dashboard=None if address else False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SteepestError(f"No Ray cluster answers at {address!r}: {str(error).splitlines()[0]}") from error
    return ray


class Cluster:
    """A Ray cluster that trains runs of one problem. Usable in place of `training.ways.train_all`."""

    def __init__(self, address: str | None = None) -> None:
        self.ray = connect(address)
        self._sent: Any = None
        self._remote = self.ray.remote(_train)

    def cores(self) -> int:
        """The cores of all nodes."""
        return int(self.ray.cluster_resources().get("CPU", 1))

    def train_all(
        self,
        problem: Problem,
        runs: Sequence[Run],
        plan: Plan,
        *,
        device: str = "cpu",
        on_step: Callable[[int], None] | None = None,
        known: Collection[int] = (),
        slots: Slots = nowhere,
    ) -> Iterator[tuple[int, Outcome]]:
        """Train the runs by the plan, in blocks of its chunks; each with its index, as it ends. As `ways.train_all`, but:

        A block whose process or node is lost is begun once more elsewhere; where it is lost again its halves are, and a run
        that is lost three times has failed, and counts as diverged.
        Unfinished runs are kept beside the store where the nodes see its folder.
        """
        heard = on_step or ignore
        workers = self.cores() if plan.workers > 1 or plan.chunk > 1 else 1
        blocks = [b for b in ways.chunks(runs, plan.chunk, max(workers, plan.workers)) if not all(i in known for i in b)]
        waiting = deque((block, 1) for block in blocks)
        under_way: dict[Any, tuple[Block, int]] = {}
        needs = self._needs(problem, plan, device)
        self._sent = self._sent if self._sent is not None else self._send(problem)
        try:
            while waiting or under_way:
                while waiting and len(under_way) < AHEAD * max(self.cores(), 1):
                    block, tries = waiting.popleft()
                    asked = needs(len(block))
                    task = self._remote.options(max_retries=0, **asked)
                    reference = task.remote(
                        self._sent, [runs[i] for i in block], plan, device, slots(block).path, asked["num_cpus"]
                    )
                    under_way[reference] = block, tries
                ended, _ = self.ray.wait([*under_way], timeout=LOOKED)
                heard(0)  # raises where there is no time for more
                for reference in ended:
                    block, tries = under_way.pop(reference)
                    outcomes = self._got(reference)
                    if outcomes is None:
                        waiting.extend(self._again(block, tries))
                        if len(block) == 1 and tries >= TRIES:
                            yield block[0], FAILED
                        continue
                    heard(sum(runs[i].length * runs[i].rule.evaluations for i in block) if outcomes else 0)
                    yield from zip(block, outcomes, strict=False)
                    finish(slots, block)
                    if not outcomes:  # they cannot train together
                        waiting.extend(([i], 1) for i in block)
        finally:
            for reference in under_way:
                with contextlib.suppress(Exception):
                    self.ray.cancel(reference, force=True)

    def _got(self, reference: Any) -> list[Outcome] | None:
        """What a task made; None where its process or node was lost. What the user's code raised is raised here."""
        lost = self.ray.exceptions
        try:
            return list(self.ray.get(reference))
        except lost.RayTaskError as error:
            cause = getattr(error, "cause", None)
            raise (
                cause if isinstance(cause, SteepestError) else SteepestError(f"A task of Ray failed: {cause or error}")
            ) from error
        except (lost.WorkerCrashedError, lost.NodeDiedError, lost.OutOfMemoryError, lost.ObjectLostError, lost.RaySystemError):
            return None

    @staticmethod
    def _again(block: Block, tries: int) -> list[tuple[Block, int]]:
        """How a block that was lost is begun again: as it is, or in halves."""
        if tries == 1 or (len(block) == 1 and tries < TRIES):
            return [(block, tries + 1)]
        half = len(block) // 2
        return [(part, 1) for part in (block[:half], block[half:])] if len(block) > 1 else []

    def _needs(self, problem: Problem, plan: Plan, device: str) -> Callable[[int], dict[str, Any]]:
        """What a task of so many runs asks of a node; SteepestError where none has it."""
        cores = 1 if plan.workers > 1 or plan.chunk > 1 else torch.get_num_threads()
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        most = max((node.get("CPU", 0) for node in nodes), default=0)
        memory = max((node.get("memory", 0) for node in nodes), default=0)
        if most < 1 or (device != "cpu" and not any(node.get("GPU") for node in nodes)):
            raise SteepestError(f"No node of the Ray cluster has a {'core' if device == 'cpu' else 'GPU'} for a run.")

        def of(runs: int) -> dict[str, Any]:
            bytes_ = ways.bytes_of(problem, runs)
            if bytes_ > memory:
                raise SteepestError(
                    f"{runs} runs at once take {bytes_ / 2**20:.4g} MiB, and no node of the Ray cluster offers more than "
                    f"{memory / 2**20:.4g}; give a --plan with fewer at once."
                )
            return {"num_cpus": min(cores, int(most)), "memory": bytes_, **({} if device == "cpu" else {"num_gpus": 1})}

        return of

    def _send(self, problem: Problem) -> Any:
        """Put the problem where all nodes get it, its code by value."""
        from ray import cloudpickle

        own = [module for module in [*sys.modules.values()] if _is_users(module)]
        for module in own:
            cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call, unused-ignore]
        try:
            return self.ray.put(problem)
        except TypeError as error:
            raise SteepestError(
                f"Problem '{problem.name}' cannot be sent to a cluster: {str(error).splitlines()[0]}. Open files, locks and "
                "generators stay where they are; make them inside the model's or the data's functions."
            ) from error
        finally:
            for module in own:
                cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call, unused-ignore]


FAILED = Outcome(Curve(), None, None, None, 0, 0.0, failed=True)


def _is_users(module: Any) -> bool:
    """Whether a module is neither installed nor steepest's: other nodes do not have it."""
    path, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
    if not path or name == "__main__" or name.partition(".")[0] in ("steepest", "steepest_workshop"):
        return False
    installed = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return not any(Path(path).is_relative_to(place) for place in installed)


def _train(problem: Problem, runs: list[Run], plan: Plan, device: str, place: Path | None, threads: int) -> list[Outcome]:
    """A task: train a block, on so many threads; what has not ended is kept where this node sees the store's folder."""
    torch.set_num_threads(threads)
    whole = Slot(place) if place is not None and place.parent.parent.is_dir() else NOWHERE
    made = ways.train_chunk(
        problem, runs, [*range(len(runs))], plan, device, ignore, lambda chunk: whole if len(chunk) == len(runs) else NOWHERE
    )
    return [outcome for _, outcome in sorted(made, key=lambda pair: pair[0])]
