"""Time many training runs as planned, against a careful loop, the source document's program and JAX, in one run."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from steepest import problems
from steepest.api import compare
from steepest.problems.built_in import noisy_regression
from steepest.problems.built_in.noisy_regression import Data
from steepest.problems.problem import Problem
from steepest.rules import get
from steepest.training import ways
from steepest.training.products import product
from steepest.training.stacked import Run, StackedRuns
from steepest.training.timing import operations, threads, time_steps
from steepest.training.ways import Plan

from ..lessons.noisy_regression import EXPONENTS, experiment
from .models import PROBLEMS, mlp, problem_of

# problem, runs, seeds and width of the default rows
STANDARD = (
    ("mnist-mlp", 64, 4, None),
    ("mnist-mlp", 64, 64, None),
    ("cnn", 32, 4, None),
    ("transformer", 32, 4, None),
    ("lstm", 32, 4, None),
    ("digits", 300, 3, None),
    ("noisy-regression", 120, 10, None),
    ("study", 0, 0, None),
)
FULL = "full chunks of its rules"


ROUNDS = 3  # ours and the careful loops alternate


def careful(problem: Problem, steps: int = 60) -> float:
    """Milliseconds per step of a careful torch loop: tensors in memory, torch's fused Adam, torch's default threads."""
    model = problem.start(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    (x,), y = problem.train.batch(slice(0, len(problem.train)))
    times = []
    for k in range(steps):
        began = time.perf_counter()
        index = torch.randint(0, len(x), (problem.batch_size,))
        optimizer.zero_grad()
        problem.loss(model(x[index]), y[index]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if k >= steps // 4:
            times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def _one_thread(work: Callable[[], float], queue: Any) -> None:
    torch.set_num_threads(1)
    queue.put(work())


def in_processes(work: Callable[[], float], count: int) -> float:
    """Milliseconds per run and step of `work`, which returns its own time, in `count` parallel single-threaded processes."""
    if count == 1 or "fork" not in multiprocessing.get_all_start_methods():
        return work() / count
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_one_thread, args=(work, queue)) for _ in range(count)]
    for worker in workers:
        worker.start()
    times = [queue.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    return statistics.fmean(times) / count


def source_program(steps: int = 30) -> float:
    """Milliseconds per step of the source document's MNIST program, whose loader converts images one by one."""

    from PIL import Image

    class Images(torch.utils.data.Dataset[Any]):
        pixels = np.random.default_rng(0).integers(0, 256, (4000, 28, 28), dtype=np.uint8)

        def __len__(self) -> int:
            return len(self.pixels)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            image = Image.fromarray(self.pixels[i])  # as torchvision's MNIST and ToTensor do
            pixels = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(28, 28, 1)
            return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255), i % 10

    loader = torch.utils.data.DataLoader(Images(), batch_size=100, shuffle=True)
    model, loss = mlp(784, 100, 10)(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    times, began = [], time.perf_counter()
    for k, (images, labels) in enumerate(loader):
        optimizer.zero_grad()
        loss(model(images.view(-1, 784)), labels).backward()
        optimizer.step()
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
        if k == steps:
            break
    return 1e3 * statistics.median(times[3:])


def source_regression(data: Data, exponents: Sequence[float], replicates: int, steps: int) -> float:
    """Milliseconds per run and step of the source document's noisy regression: NumPy, example by example."""
    rng = np.random.default_rng(0)

    def loss_and_gradient(theta: Any, x: Any, y: Any, exponent: float) -> tuple[float, Any]:
        loss, gradient = 0.0, np.zeros_like(theta)
        for i in range(len(x)):
            row = x[i, :].reshape(-1, 1)
            error = np.sum(row * theta) - y[i, 0]
            gradient += exponent * np.abs(error) ** (exponent - 1) * np.sign(error) * row / len(x)
            loss += np.abs(error) ** exponent / len(x)
        return loss, gradient

    y, test_y = data.y[:, None], data.test_y[:, None]
    began = time.perf_counter()
    for exponent, adam, _ in itertools.product(exponents, (True, False), range(replicates)):
        theta = data.start[:, None].copy()
        m, v = np.zeros_like(theta), np.zeros_like(theta)
        for t in range(steps):
            index = rng.choice(len(y), 1)
            _, gradient = loss_and_gradient(theta, data.x[index], y[index], exponent)
            gradient = gradient + rng.standard_normal((10, 1)) * 0.0 + np.sign(rng.standard_normal((10, 1))) * 0.0
            if t % 50 == 0:
                loss_and_gradient(theta, data.test_x, test_y, exponent)
            if adam:
                m = 0.9 * m + 0.1 * gradient
                v = 0.999 * v + 0.001 * gradient**2
                theta = theta - 0.001 * m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
            else:
                theta = theta - 0.001 * gradient
    return 1e3 * (time.perf_counter() - began) / (2 * len(exponents) * replicates * steps)


def jax_runs(sizes: Sequence[int], batch: int, runs: int, seeds: int, steps: int = 40) -> float | None:
    """Milliseconds per run and step of JAX: vmap over seeds and over their runs, which share batches, scan over steps, jit.

    None if JAX is not installed.
    """
    if importlib.util.find_spec("jax") is None:
        return None
    import jax  # type: ignore[import-not-found,unused-ignore]
    import jax.numpy as jnp  # type: ignore[import-not-found,unused-ignore]

    keys = jax.random.split(jax.random.PRNGKey(0), len(sizes))
    pairs = list(itertools.pairwise(sizes))
    shaped = zip(keys, pairs, strict=False)
    of = seeds, runs // seeds
    params = [(jax.random.normal(k, (*of, a, b)) / a**0.5, jnp.zeros((*of, b))) for k, (a, b) in shaped]
    x, y = jax.random.normal(keys[0], (2000, sizes[0])), jnp.arange(2000) % sizes[-1]

    def loss(params: Any, x: Any, y: Any) -> Any:
        for i, (w, b) in enumerate(params):
            x = x @ w + b
            x = jnp.maximum(x, 0) if i + 1 < len(params) else x
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1))

    def step(carry: Any, index: Any) -> Any:
        params, m, v, t = carry
        g = jax.grad(loss)(params, x[index], y[index])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)

        def move(p: Any, m: Any, v: Any) -> Any:
            return p - 1e-3 * m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)

        return (jax.tree.map(move, params, m, v), m, v, t), None

    index = jax.random.randint(keys[0], (seeds, steps, batch), 0, 2000)
    zeros = jax.tree.map(jnp.zeros_like, params)

    def of_seed(params: Any, m: Any, v: Any, index: Any) -> Any:
        return jax.vmap(lambda *carry: jax.lax.scan(step, (*carry, 0.0), index)[0])(params, m, v)

    train: Any = jax.jit(jax.vmap(of_seed))
    wait: Any = jax.block_until_ready
    wait(train(params, zeros, zeros, index))
    began = time.perf_counter()
    wait(train(params, zeros, zeros, index))
    return 1e3 * (time.perf_counter() - began) / steps / (seeds * (runs // seeds))


def ours(problem: Problem, runs: Sequence[Run], plan: Plan, steps: int = 60) -> float:
    """Milliseconds per run and step of a plan: its processes train their first chunks, without evaluation."""
    if plan.chunk == 1:

        def alone() -> float:
            timings = time_steps(problem, [get("adam")], channels_last=plan.channels_last, compiled=plan.compiled)
            return 1e3 * timings[0][0]

        return in_processes(alone, plan.workers)
    chunk = ways.chunks(runs, plan.chunk, plan.workers)[0]
    return in_processes(lambda: ways.time_together(StackedRuns(problem, [runs[i] for i in chunk]), steps), plan.workers)


def product_limit(problem: Problem) -> float | None:
    """Milliseconds per run and step of a model's products and convolutions alone, at the speed of a large product here.

    None for a recurrent model, whose products torch does not count.
    """
    if any(isinstance(m, nn.RNNBase) for m in problem.start(0).modules()):
        return None
    a = torch.randn(1536, 1536)
    times = []
    for _ in range(12):
        began = time.perf_counter()
        product(a, a)
        times.append(time.perf_counter() - began)
    speed = 2 * 1536**3 / statistics.median(times[3:])
    model, batch = problem.start(0).train(), problem.train.batch(slice(0, problem.batch_size))
    with FlopCounterMode(display=False) as counter:
        problem.batch_loss(model, batch).backward()  # type: ignore[no-untyped-call]
    return float(1e3 * counter.get_total_flops() / speed)


def runs_of(count: int, seeds: int) -> list[Run]:
    """Runs of Adam: a log grid of rates on each seed, `count` runs in total."""
    rates = np.geomspace(1e-4, 1e-2, -(-count // seeds))
    return [Run(get("adam"), float(lr), seed, 500) for seed in range(seeds) for lr in rates][:count]


def measure(name: str, runs: int, seeds: int, width: int | None = None) -> dict[str, Any]:
    """Measure the planned way and its rivals on a problem, in milliseconds per run and step, in this process."""
    if name == "noisy-regression":
        return measure_regression()
    if name == "study":
        return measure_study()
    problem, work = problem_of(name, width), runs_of(runs, seeds)
    sizes, batch = PROBLEMS[name][3], PROBLEMS[name][2]
    sizes = (sizes[0], width or sizes[1], sizes[2]) if sizes else ()
    count, peak = ways.workers_on("cpu"), 0
    times: dict[str, list[float]] = {"ours": [], "careful loop": [], "careful loops in processes": []}
    with threads(operations(problem)):
        plan = ways.choose(problem, work)
    for _ in range(ROUNDS):
        with threads(operations(problem)):
            times["ours"].append(ours(problem, work, plan))
        peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        times["careful loop"].append(careful(problem))
        times["careful loops in processes"].append(in_processes(lambda: careful(problem), count))
    rivals: dict[str, float | None] = {k: statistics.median(values) for k, values in times.items()}
    own = rivals.pop("ours")
    if name == "mnist-mlp" and not width:
        rivals["source document's program"] = source_program()
    if sizes:
        with contextlib.suppress(ImportError):
            rivals["JAX vmap + scan + jit"] = jax_runs(sizes, batch, runs, seeds)
    return _row(
        problem=name,
        width=width,
        runs=runs,
        seeds=seeds,
        plan=replace(plan, why="").name,
        why=plan.why,
        ms=own,
        rivals=rivals,
        limit_ms=product_limit(problem),
        peak_bytes=peak,
    )


def measure_regression(replicates: int = 10, steps: int = 1000) -> dict[str, Any]:
    """Measure the noisy regression: every exponent and replicate with Adam and descent, including test losses."""
    data, rules = noisy_regression.data(), [get("adam"), get("gd")]
    times = []
    for _ in range(6):
        began = time.perf_counter()
        experiment(data, rules, [0.001, 0.001], EXPONENTS, replicates, steps)
        times.append(time.perf_counter() - began)
    runs = 2 * len(EXPONENTS) * replicates
    ms = 1e3 * statistics.median(times[1:]) / (runs * steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return _row(
        problem="noisy-regression",
        runs=runs,
        seeds=replicates,
        plan="one compiled loop a run",
        why=f"the first time, with its loops compiled or loaded, {times[0]:.2f} s; then {statistics.median(times[1:]):.3f} s",
        ms=ms,
        rivals={"source document's program": source_regression(data, EXPONENTS, replicates, steps)},
        peak_bytes=peak,
    )


def measure_study() -> dict[str, Any]:
    """Measure the runs of a default study, with evaluations and small rounds, against steps in full chunks."""
    study = compare("digits", store=":memory:").result
    problem = problems.get("digits")
    steps, plan = study.question.steps, ways.named("many:128")
    runs = [Run(space.rule, 0.01, seed, steps, space.multiplier) for space in study.question.spaces for seed in range(20)]
    full = statistics.median(ours(problem, runs, plan) for _ in range(ROUNDS))
    return _row(
        problem="study",
        runs=study.trained,
        seeds=max(len(entry.outcomes) for entry in study.entries),
        plan=study.plan.partition(" (")[0],
        why=f"steepest compare digits: {study.trained} runs of {steps} steps in {study.seconds:.1f} s",
        ms=1e3 * study.seconds / study.trained / steps,
        rivals={FULL: full},
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _row(**fields: Any) -> dict[str, Any]:
    """A row of the table, with the fields common to all rows."""
    row: dict[str, Any] = {"width": None, "limit_ms": None}
    row |= {"threads": torch.get_num_threads(), "torch": str(torch.__version__)} | fields
    row["runs_per_hour_of_500_steps"] = 3600e3 / (500 * row["ms"])
    row["share_of_limit"] = row["limit_ms"] and row["limit_ms"] / row["ms"]
    return row


def text(row: dict[str, Any]) -> str:
    """Format a row for the terminal."""
    wide = f" (width {row['width']})" if row["width"] else ""
    head = f"{row['problem']}{wide}: {row['runs']} runs on {row['seeds']} seeds"
    lines = [f"{head}, {row['threads']} threads, torch {row['torch']}"]
    hour = f"{row['runs_per_hour_of_500_steps']:,.0f} runs of 500 steps an hour"
    lines.append(f"  {row['plan']:28}{row['ms']:10.4f} ms a run and step; {hour}")
    for label, ms in row["rivals"].items():
        if ms:
            lines.append(f"  {label:28}{ms:10.5f} ms: {ms / row['ms']:.2f} times as long")
    if row["limit_ms"]:
        share = f"{100 * row['share_of_limit']:.0f} % of the limit reached"
        lines.append(f"  {'its products alone':28}{row['limit_ms']:10.4f} ms: {share}")
    return "\n".join([*lines, f"  peak memory {row['peak_bytes'] / 2**20:,.0f} MiB; {row['why']}"])


def rows(
    name: str | None = None, counts: Sequence[int] = (64,), seeds: int = 4, width: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of runs of a problem, or the standard rows; each is measured in a new process, in turn."""
    wanted = [(name, count, min(seeds, count), width) for count in counts] if name else STANDARD
    if name and name not in ("noisy-regression", "study"):
        problem_of(name)  # raises early for an unknown name
    context = multiprocessing.get_context("spawn")
    for row in wanted:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            yield pool.submit(measure, *row).result()


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot milliseconds per run and step against the number of runs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    counts = [row["runs"] for row in rows]
    axes.loglog(counts, [row["ms"] for row in rows], "o-", color="#0072B2", label="steepest")
    colours = ("#D55E00", "#E69F00", "#CC79A7", "#56B4E9")
    for (label, _), colour, style in zip(rows[0]["rivals"].items(), colours, ("--", "-.", ":", "--"), strict=False):
        axes.loglog(counts, [row["rivals"].get(label) or np.nan for row in rows], style, color=colour, label=label)
    if rows[0]["limit_ms"]:
        axes.axhline(rows[0]["limit_ms"], color="#000000", linewidth=1, label="its products alone")
    axes.set_xlabel("runs")
    axes.set_ylabel("milliseconds per run and step")
    axes.set_title(f"{rows[0]['problem']}, {rows[0]['threads']} threads", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, frameon=False, ncols=3, loc="outside lower center")
    figure.savefig(path, dpi=150)
    plt.close(figure)
