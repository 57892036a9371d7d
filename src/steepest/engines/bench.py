"""Benchmarks of an optimizer step: ours beside a named rival, on the same work, in one run."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import nn

from ..rules import RULES, Rule
from . import classes

RIVAL = "torch Adam, fused"


def resnet50() -> list[tuple[int, ...]]:
    """The shapes of ResNet-50's 161 parameters (He et al. 2016, arXiv:1512.03385, table 1), 25.6 million numbers."""
    shapes: list[tuple[int, ...]] = []

    def convolution(out: int, into: int, size: int) -> None:
        shapes.extend([(out, into, size, size), (out,), (out,)])  # its weight, and its BatchNorm's two

    convolution(64, 3, 7)
    into = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            convolution(width, into, 1)
            convolution(width, width, 3)
            convolution(4 * width, width, 1)
            if block == 0:
                convolution(4 * width, into, 1)
            into = 4 * width
    return [*shapes, (1000, 2048), (1000,)]


def streams(rule: Rule) -> int:
    """How many tensors the size of the model a step must read or write at least: each input once, each output once."""
    graph = rule.graph(rule.settings())
    tensors = {k: x for k, x in graph.outputs.items() if k == "p" or graph.inputs[k].tensor}
    return 1 + len(tensors) + sum(x is not graph.inputs[k] for k, x in tensors.items())


def step(rounds: int = 9) -> list[dict[str, Any]]:
    """One step of every rule (presets and closures left out) and of the rival over ResNet-50's shapes in float32.

    All take turns, `rounds` times; in each turn one step goes before the one that is timed, so that no library's waiting
    threads disturb it; medians. `share` is the speed in bytes a second over the rival's.
    """
    made: dict[str, tuple[torch.optim.Optimizer, int]] = {}
    for name in (RIVAL, *(r.name for r in RULES.values() if not r.base and not r.oracle)):
        params = [nn.Parameter(torch.randn(shape)) for shape in resnet50()]
        for p in params:
            p.grad = torch.randn_like(p)
        if name == RIVAL:
            made[name] = torch.optim.Adam(params, lr=1e-4, fused=True), 7
        else:
            made[name] = classes.build(RULES[name], params, lr=1e-4), streams(RULES[name])
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, (optimizer, _) in made.items():
            optimizer.step()
            began = time.perf_counter()
            optimizer.step()
            seconds[name].append(time.perf_counter() - began)
    size = 4 * sum(torch.Size(shape).numel() for shape in resnet50())
    rows: list[dict[str, Any]] = []
    for name, (_, count) in made.items():
        median = statistics.median(seconds[name])
        rows.append({"name": name, "ms": 1e3 * median, "streams": count, "gb_per_s": count * size / median / 1e9})
    for row in rows:
        row["share"] = row["gb_per_s"] / rows[0]["gb_per_s"]
    return rows
