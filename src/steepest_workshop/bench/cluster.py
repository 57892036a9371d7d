"""Estimate a race's cost and time to the answer by number of workers: replayed races, with times measured on this machine.

Measured: a run trained alone on one core, and the overhead of Ray per task and of the store per run. Replayed: races on the
recorded table of digits, with at least as many runs per block as there are workers. Simulated: the end of each run; the
driver processes results one after the other.
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
LENGTHS = (0.1, 1.0, 100.0)  # of a run relative to digits: smaller and larger models
MARGIN, RACES = 0.5, 40
TASKS, KEPT = 200, 300  # timed


def run_seconds() -> tuple[float, Any]:
    """Train digits as a race does, on one core; the median seconds per run, and the outcome of the last run."""
    problem, took = problems.get("digits"), []
    with one_thread():
        for seed in range(5):
            begun = time.perf_counter()
            outcome = train(problem, rules.get("adam"), lr=0.003, steps=problem.steps or 0, seed=seed, examples=True)
            took.append(time.perf_counter() - begun)
    return statistics.median(took), outcome


def store_seconds(outcome: Any) -> float:
    """Seconds per run for the store to save it."""
    names = {"problem": "digits", "optimizer": "adam", "schedule": "constant", "lr": 0.003, "steps": 250}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        begun = time.perf_counter()
        for seed in range(KEPT):
            store.add_run({"seed": seed, "made": asdict(outcome)["curve"]}, {**names, "seed": seed}, outcome)
        return (time.perf_counter() - begun) / KEPT


def task_seconds() -> float | None:
    """Ray's overhead on the driver in seconds per task; None if Ray is not installed."""
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
    """The number of runs in each batch of a replayed race: screening, the blocks of the race, the pick on fresh seeds."""
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
    """Simulate the end of the last round: workers train one run after the other, and the driver processes each result."""
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
    """Measure the times; replay races for each run length and number of workers, and average them."""
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
    """Format the result for the terminal."""
    run, keep, task = (result[k] for k in ("run_seconds", "store_seconds", "task_seconds"))
    ray = "Ray is not installed, and not counted" if task is None else f"Ray takes {1e3 * task:.2g} ms for a task"
    most = int(run / (keep + (task or 0.0)))
    lines = [
        f"A run of digits takes {run:.2g} s, the store {1e3 * keep:.2g} ms to save it; {ray}.",
        f"One machine can save the runs of {most:,} workers at {run:.2g} s per run; beyond, the store and Ray are the limit.",
        f"Means over {result['races']} races of digits to {result['margin']} points, replayed (at least {LEAST_PAIRS} seeds):",
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
