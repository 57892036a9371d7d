"""Time paths on a surface: the compiled loop against a plain torch loop on the same formula, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from steepest import surfaces
from steepest.paths.loop import formula_of, trajectory
from steepest.rules import Rule, get

# optimizer: torch's class and its arguments
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "rmsprop": ("RMSprop", {}),
    "adadelta": ("Adadelta", {}),
    "adam": ("Adam", {}),
    "adamax": ("Adamax", {}),
    "nadam": ("NAdam", {}),
}
RATE, STEPS, MANY = 1e-3, 1000, 1_000_000


def rosenbrock(p: torch.Tensor) -> torch.Tensor:
    """Rosenbrock's function as usually written in torch."""
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def plain(name: str, steps: int) -> np.ndarray:
    """The points of a plain torch loop with torch's own class; shape (steps + 1, 2)."""
    class_name, more = PAIRS[name]
    p = torch.nn.Parameter(torch.tensor(surfaces.get("rosenbrock").start, dtype=torch.float64))
    optimizer = getattr(torch.optim, class_name)([p], lr=RATE, **more)
    points = np.empty((steps + 1, 2))
    for k in range(steps):
        points[k] = p.detach().numpy()
        optimizer.zero_grad()
        rosenbrock(p).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    points[steps] = p.detach().numpy()
    return points


def measure() -> dict[str, Any]:
    """Time nine optimizers for a thousand steps both ways, with their largest difference, and each rule for a million."""
    surface = surfaces.get("rosenbrock")

    def ours(rule: Rule, steps: int) -> np.ndarray:
        return trajectory(rule, formula_of(surface), surface.start, steps, lr=RATE)[0]

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # torch stores NAdam's product in the default dtype
    try:
        began = time.perf_counter()
        expected = {name: plain(name, STEPS) for name in PAIRS}
        torch_seconds = time.perf_counter() - began
    finally:
        torch.set_default_dtype(before)
    rules = {name: get(name) for name in PAIRS}
    began = time.perf_counter()
    points = {name: ours(rule, STEPS) for name, rule in rules.items()}
    first = time.perf_counter() - began
    seconds = _median(lambda: [ours(rule, STEPS) for rule in rules.values()], 15)
    longest = {name: _median(lambda rule=rule: ours(rule, MANY), 3) for name, rule in rules.items()}  # type: ignore[misc]
    return {
        "optimizers": list(PAIRS),
        "steps": STEPS,
        "torch_seconds": torch_seconds,
        "first_seconds": first,
        "seconds": seconds,
        "ratio": torch_seconds / seconds,
        "largest_difference": max(float(np.abs(points[name] - expected[name]).max()) for name in PAIRS),
        "million_steps_seconds": longest,
        "torch": str(torch.__version__),
    }


def _median(work: Callable[[], Any], times: int) -> float:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def text(result: dict[str, Any]) -> str:
    """Format the result for the terminal."""
    count = len(result["optimizers"])
    longest = result["million_steps_seconds"]
    slowest = max(longest, key=longest.get)
    return "\n".join(
        [
            f"{count} optimizers x {result['steps']:,} steps on Rosenbrock's function, torch {result['torch']}",
            f"  plain torch loop        {result['torch_seconds']:10.4f} s",
            f"  steepest, first time    {result['first_seconds']:10.4f} s, with its loops compiled or loaded",
            f"  steepest                {result['seconds']:10.6f} s: {result['ratio']:,.0f} times as fast",
            f"  largest difference of any point: {result['largest_difference']:.1e}",
            f"  a million steps: {min(longest.values()):.4f} to {longest[slowest]:.4f} s ({slowest})",
        ]
    )
