"""How a race's cost and its time to the answer grow with workers: replayed races, with times measured here.

Measured: a run trained alone on one core, what Ray takes for a task, what the store takes for a run. Replayed: races on the
recorded table of digits, whose blocks hold at least as many runs as there are workers. Simulated: when each run ends; the
machine that begins the tasks takes up results one after the other.
"""

from __future__ import annotations

import heapq
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from steepest import problems, rules
from steepest.errors import SteepestError
from steepest.study.budget import Clock
from steepest.study.statistics import LEAST_PAIRS
from steepest.study.store import Store
from steepest.study.table import question, replay
from steepest.training.executors.ray import connect
from steepest.training.single import train
from steepest.training.timing import one_thread

from .. import tables
from ..tables import Recorded

WORKERS = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (0.1, 1.0, 100.0)  # times a run of digits: smaller and larger models
MARGIN, RACES = 0.5, 40
TASKS, KEPT = 200, 300  # timed


def run_seconds() -> tuple[float, Any]:
    """Seconds of a run of digits on one core, as a race trains it, and what it came to."""
    problem, took = problems.get("digits"), []
    with one_thread():
        for seed in range(5):
            begun = time.perf_counter()
            outcome = train(problem, rules.get("adam"), lr=0.003, steps=problem.steps or 0, seed=seed, examples=True)
            took.append(time.perf_counter() - begun)
    return statistics.median(took), outcome


def store_seconds(outcome: Any) -> float:
    """Seconds that the store takes to keep a run."""
    names = {"problem": "digits", "optimizer": "adam", "schedule": "constant", "lr": 0.003, "steps": 250}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        begun = time.perf_counter()
        for seed in range(KEPT):
            store.add_run({"seed": seed, "made": asdict(outcome)["curve"]}, {**names, "seed": seed}, outcome)
        return (time.perf_counter() - begun) / KEPT


def task_seconds() -> float | None:
    """Seconds that Ray takes for a task beside its work, for the machine that begins it; None where there is no Ray."""
    try:
        ray = connect(None)
    except SteepestError:
        return None
    task = ray.remote(lambda x: x)
    ray.get([task.remote(0) for _ in range(8)])  # starts the workers
    begun = time.perf_counter()
    for reference in [task.remote(k) for k in range(TASKS)]:
        ray.get(reference)
    took = (time.perf_counter() - begun) / TASKS
    ray.shutdown()
    return took


def rounds(recorded: Recorded, workers: int, rng: np.random.Generator) -> list[int]:
    """The runs of each batch of one replayed race: of screening, then block after block, then of the pick on fresh seeds."""
    sizes, count = list[int](), recorded.values.shape[1]
    columns: Any = rng.integers(0, count, count)
    replay(
        question(recorded.table, recorded.scale, margin=MARGIN),
        recorded.table.drawn(columns),
        clock=Clock(workers=workers, local=1, reads_only=True),
        watch=lambda wanted: sizes.append(len(wanted.jobs)),
    )
    return sizes


def answer_seconds(sizes: list[int], workers: int, run: float, taken_up: float) -> float:
    """When the last round ends: each worker trains one run after the other, and one machine takes up what ends."""
    clock = 0.0
    for size in sizes:
        free, ends = [clock] * workers, []
        for _ in range(size):
            end = heapq.heappop(free) + run
            heapq.heappush(free, end)
            ends.append(end)
        for end in sorted(ends):
            clock = max(clock, end) + taken_up
    return clock


def measure() -> dict[str, Any]:
    """Times, and for each length of a run and number of workers the means over replayed races."""
    run, outcome = run_seconds()
    keep, task = store_seconds(outcome), task_seconds()
    taken_up = keep + (task or 0.0)
    recorded, rng = tables.load("digits"), np.random.default_rng(0)
    replayed = {w: [rounds(recorded, w, rng) for _ in range(RACES)] for w in WORKERS}
    rows = []
    for length in LENGTHS:
        for w, races in replayed.items():
            seconds = float(np.mean([answer_seconds(sizes, w, length * run, taken_up) for sizes in races]))
            runs = float(np.mean([sum(sizes) for sizes in races]))
            rows.append({"run": length * run, "workers": w, "runs": runs, "seconds": seconds})
    return {"run_seconds": run, "store_seconds": keep, "task_seconds": task, "margin": MARGIN, "races": RACES, "rows": rows}


def text(result: dict[str, Any]) -> str:
    """The result for the screen."""
    run, keep, task = (result[k] for k in ("run_seconds", "store_seconds", "task_seconds"))
    ray = "Ray is not installed, and counts nothing" if task is None else f"Ray takes {1e3 * task:.2g} ms for a task"
    most = int(run / (keep + (task or 0.0)))
    lines = [
        f"A run of digits takes {run:.2g} s, the store {1e3 * keep:.2g} ms to keep one; {ray}.",
        f"One machine takes up what {most:,} workers end, with runs of {run:.2g} s: beyond, the store and Ray are the limit.",
        f"Means over {result['races']} races of digits to {result['margin']} points, replayed ({LEAST_PAIRS} seeds at least):",
        f"{'a run':>8} {'workers':>8} {'runs':>6} {'core hours':>11} {'answer after':>13} {'speed-up':>9} {'busy':>7}",
    ]
    alone = {row["run"]: row["seconds"] for row in result["rows"] if row["workers"] == 1}
    for row in result["rows"]:
        speed, hours = alone[row["run"]] / row["seconds"], row["runs"] * row["run"] / 3600
        busy = row["runs"] * row["run"] / row["seconds"] / row["workers"]
        lines.append(
            f"{row['run']:>7.2g}s {row['workers']:>8} {row['runs']:>6.0f} {hours:>11.3g} {row['seconds']:>12,.1f}s "
            f"{speed:>9.1f} {100 * busy:>5.0f} %"
        )
    return "\n".join(lines)
