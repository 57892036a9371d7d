"""Time one step of each rule against its rivals and the speed of memory: the same work, interleaved, in one run."""

from __future__ import annotations

import gc
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steepest.errors import SteepestError, unknown
from steepest.problems.built_in.mnist import network
from steepest.rules import RULES, Rule, get
from steepest.rules.symbols import Symbol, apply
from steepest.rules.trace import Graph, walk
from steepest.update.engines import kernel
from steepest.update.engines.kernel import Kernel
from steepest.update.torch_class.optimizer import build
from steepest.update.work import Column, Work

from .rivals import SHAPES, rivals

PER_TURN = 0.05  # seconds: slower contenders take no warm-up step before the timed one


def streams(rule: Rule) -> tuple[int, int]:
    """The least number of model-sized tensors that a step must read, and write."""
    graph = rule.graph(rule.settings())
    read = {x.name for x in walk(graph.targets()) if x.tensor and not x.args} | {
        leaf.name for x in graph.reductions for leaf in walk([x]) if leaf.tensor and not leaf.args
    }
    return len(read), sum(x is not graph.inputs[k] for k, x in graph.tensors.items())


class Streaming:
    """A plain loop over as many tensors as a rule reads and writes, which measures memory speed for that mix."""

    def __init__(self, numbers: int, reads: int, writes: int) -> None:
        letters = [f"s{i}" for i in range(max(reads, writes))]
        leaves = {k: Symbol("input", tensor=True, name=k) for k in letters[:reads]}
        total: Any = leaves["s0"]
        for leaf in list(leaves.values())[1:]:
            total = apply("add", total, leaf)
        outputs = {k: apply("mul", total, 0.5) if k == "s0" else apply("sub", leaves[k], total) for k in letters[:writes]}
        columns = {k: Column([torch.full((numbers,), 1e-3)]) for k in letters}  # filled, so that every page is allocated
        self.work = Work(Graph(leaves, outputs), {"p": columns["s0"], **columns})
        self.targets = outputs

    def step(self) -> None:
        """Read and write every tensor once."""
        Kernel().write(self.work, self.targets, self.work.known())


@contextmanager
def _cold() -> Iterator[None]:
    """Within this context no kernel is compiled, and the cache is an empty folder."""
    before, known = os.environ.get("STEEPEST_CACHE"), dict(kernel._programs)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STEEPEST_CACHE"] = folder
        try:
            yield
        finally:
            kernel._programs.update(known)
            os.environ.pop("STEEPEST_CACHE")
            if before is not None:
                os.environ["STEEPEST_CACHE"] = before


def first_steps(rule: Rule) -> tuple[float, float]:
    """Milliseconds of a new optimizer's first step: with compilation, and with compiled code loaded from disk."""
    times = []
    with _cold():
        for _ in range(2):
            kernel._programs.clear()
            p = nn.Parameter(torch.ones(8, 8))
            p.grad = torch.ones(8, 8)
            optimizer = build(rule, [p])
            began = time.perf_counter()
            optimizer.step(*_closure(rule))
            times.append(1e3 * (time.perf_counter() - began))
    return times[0], times[1]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress output, such as the messages of torch's profiler."""
    sys.stdout.flush()
    kept = [os.dup(fd) for fd in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd in (1, 2):
            os.dup2(nowhere, fd)
        yield
    finally:
        for fd, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, fd)
            os.close(copy)
        os.close(nowhere)


def extra_bytes(step: Callable[[], Any]) -> int:
    """Peak memory in bytes that a step allocates."""
    with _quiet(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    allocated = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            allocated += event.nbytes()
            most = max(most, allocated)
    return most


def _closure(rule: Rule) -> tuple[Callable[[], None], ...]:
    return (lambda: None,) if rule.oracle else ()


def measure(
    names: list[str] | None = None, shapes: str = "resnet50", rounds: int = 7, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Time one step in float32 of each rule, its rivals and a streaming loop; medians over interleaved rounds.

    Ratios are computed within each round, so that changes of the machine's memory speed do not affect them.

    All contenders of a rule share one set of parameters and gradients, and have their own state. In each round every one
    takes a warm-up step (so that waiting threads of one library do not disturb another), and then the timed step.
    """
    if shapes not in SHAPES:
        raise unknown("set of shapes", shapes, SHAPES)
    listed = [get(name) for name in names] if names else [r for r in RULES.values() if not r.base and not r.oracle]
    if rounds < 3:
        raise SteepestError(f"--rounds is {rounds}; a median needs 3 or more.")
    params = [nn.Parameter(torch.randn(shape) * 0.02) for shape in SHAPES[shapes]()]
    for p in params:
        p.grad = torch.randn_like(p)
    numbers = sum(p.numel() for p in params)
    rows = []
    for rule in listed:
        if progress:
            progress(rule.name)
        rows.append(_row(rule, params, numbers, rounds))
        gc.collect()
    return {
        "shapes": shapes,
        "tensors": len(params),
        "numbers": numbers,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rules": rows,
        "full_step_ms": full_step() if shapes == "mlp" else None,
        "over_default": _mean(row["over_default"] for row in rows),
        "over_fused": _mean(row["over_fused"] for row in rows),
    }


def full_step(rounds: int = 200) -> dict[str, float]:
    """Milliseconds of forward, backward and Adam's update for a 784-100-10 network, batch 100: ours and torch's fused."""
    x, y = torch.randn(100, 784), torch.randint(10, (100,))
    steps: dict[str, Callable[[], None]] = {}
    for label in ("steepest", "torch fused"):
        model = network()
        made: Any = build(get("adam"), model.parameters(), lr=1e-4)
        if label != "steepest":
            made = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

        def step(model: nn.Module = model, optimizer: Any = made) -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        steps[label] = step
    times: dict[str, list[float]] = {label: [] for label in steps}
    for _ in range(rounds):
        for label, one in steps.items():
            one()
            times[label].append(_timed(one))
    return {label: 1e3 * statistics.median(seconds[rounds // 4 :]) for label, seconds in times.items()}


def _row(rule: Rule, params: list[nn.Parameter], numbers: int, rounds: int) -> dict[str, Any]:
    """Measure a rule; its row of the table."""
    reads, writes = streams(rule)
    ours = build(rule, params, lr=1e-6)
    closure = _closure(rule)
    grads = [p.grad for p in params]
    contenders: dict[str, Callable[[], Any]] = {
        "steepest": lambda: ours.step(*closure),
        "memory": Streaming(numbers, reads, writes).step,
    }
    for label, make in rivals(rule).items():
        try:
            with warnings.catch_warnings(), torch.random.fork_rng():
                warnings.simplefilter("ignore")
                rival = make(params)
            contenders[label] = _keeping(params, grads, rival.step) if label == "heavyball" else rival.step
            contenders[label]()
        except Exception as error:  # a rival that cannot run this is left out
            if label not in ("torch foreach", "torch fused"):
                warnings.warn(f"{label} was left out for {rule.name}: {error!r:.120}", stacklevel=2)
    seconds: dict[str, list[float]] = {label: [] for label in contenders}
    for label, step in contenders.items():
        step()
        seconds[label].append(_timed(step))
    for _ in range(rounds):
        for label, step in contenders.items():
            if seconds[label][-1] < PER_TURN:
                step()
            seconds[label].append(_timed(step))
    times = {label: values[1:] for label, values in seconds.items()}
    ms = {label: 1e3 * statistics.median(values) for label, values in times.items()}
    own = ms.pop("steepest")
    memory = ms.pop("memory")

    def over(label: str | None) -> float | None:
        """How many times as long a contender takes: the median of the ratios within each round."""
        if label is None or label not in times:
            return None
        return statistics.median(theirs / ours for theirs, ours in zip(times[label], times["steepest"], strict=True))

    moved = 4 * numbers * (reads + writes)
    default = next((k for k in ("torch", "schedulefree", "pytorch_optimizer", "heavyball") if k in ms), None)
    cold, cached = first_steps(rule)
    return {
        "name": rule.name,
        "reach": rule.reach,
        "ms": own,
        "bytes": moved,
        "gb_per_s": moved / own / 1e6,
        "memory_ms": memory,
        "of_memory": over("memory"),
        "rivals": ms,
        "over_default": over(default),
        "over_fused": over("torch fused"),
        "over_best": over(min(ms, key=lambda label: ms[label])) if ms else None,
        "first_step_cold_ms": cold,
        "first_step_cached_ms": cached,
        "extra_bytes": extra_bytes(contenders["steepest"]),
    }


def _keeping(params: list[nn.Parameter], grads: list[Any], step: Callable[[], Any]) -> Callable[[], Any]:
    """Wrap a step that removes gradients, to restore them."""

    def stepped() -> None:
        step()
        for p, g in zip(params, grads, strict=True):
            p.grad = g

    return stepped


def _timed(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _mean(ratios: Any) -> float | None:
    """The geometric mean of the ratios that are not None."""
    there = [math.log(x) for x in ratios if x is not None]
    return math.exp(statistics.fmean(there)) if there else None


def text(result: dict[str, Any]) -> str:
    """Format the table for the terminal."""
    lines = [
        f"{result['shapes']}: {result['tensors']} tensors, {result['numbers'] / 1e6:.2f} million numbers, float32, "
        f"{result['threads']} threads, torch {result['torch']}; medians",
        f"{'':20}{'ms':>9}{'GB/s':>7}{'of memory':>11}{'x default':>11}{'x fused':>9}{'x best':>8}  best rival",
    ]

    def ratio(x: float | None, width: int) -> str:
        return f"{x:{width}.2f}" if x is not None else f"{'-':>{width}}"

    for row in result["rules"]:
        best = min(row["rivals"], key=row["rivals"].get) if row["rivals"] else "-"
        ratios = ratio(row["over_default"], 11) + ratio(row["over_fused"], 9) + ratio(row["over_best"], 8)
        lines.append(f"{row['name']:20}{row['ms']:9.3f}{row['gb_per_s']:7.1f}{row['of_memory']:11.2f}{ratios}  {best}")
    lines.append(f"{'geometric mean':20}{'':27}{ratio(result['over_default'], 11)}{ratio(result['over_fused'], 9)}")
    cold = max(row["first_step_cold_ms"] for row in result["rules"])
    cached = max(row["first_step_cached_ms"] for row in result["rules"])
    extra = max(row["extra_bytes"] for row in result["rules"])
    lines.append(
        f"Slowest first step: {cold:.0f} ms compiled anew, {cached:.0f} ms from disk. Most memory beyond p, g and state: "
        f"{extra / 1e6:.2f} MB."
    )
    if result["full_step_ms"]:
        full = ", ".join(f"{label} {ms:.3f} ms" for label, ms in result["full_step_ms"].items())
        lines.append(f"Forward, backward and Adam's update of a 784-100-10 network, batch 100: {full}.")
    return "\n".join(lines)


def draw(result: dict[str, Any], path: Path) -> None:
    """Plot the speed of each rule and its rivals as a share of memory speed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = {
        "steepest": "#0072B2",
        "torch": "#D55E00",
        "torch foreach": "#E69F00",
        "torch fused": "#009E73",
        "pytorch_optimizer": "#CC79A7",
        "schedulefree": "#56B4E9",
        "heavyball": "#000000",
    }
    markers = dict(zip(colours, "osv^DPX", strict=True))
    rows = result["rules"][::-1]
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(rows) + 1.4), layout="constrained")
    for label, colour in colours.items():
        at = [(row["memory_ms"] / (row["ms"] if label == "steepest" else row["rivals"][label]), y)
              for y, row in enumerate(rows) if label == "steepest" or label in row["rivals"]]  # fmt: skip
        if at:
            axes.plot(*zip(*at, strict=True), markers[label], color=colour, label=label, markersize=6)
    axes.axvline(1, color="grey", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_xlabel("speed of one step as a share of a plain streaming loop over the same memory")
    axes.set_title(f"{result['shapes']}, {result['threads']} threads, float32", fontsize=10)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(fontsize=8, frameon=False, ncols=4, loc="outside lower center")
    figure.savefig(path, dpi=150)
    plt.close(figure)
