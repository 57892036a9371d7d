"""Contenders of the benchmark of a step: the shapes of known models, and the optimizers of torch and other packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from steepest.rules import Rule
from steepest.update.torch_class.signature import class_arguments

Shapes = list[tuple[int, ...]]


def resnet50() -> Shapes:
    """ResNet-50's 161 parameters (He et al. 2016, arXiv:1512.03385, table 1), 25.6 million elements."""
    shapes: Shapes = []

    def convolution(out: int, into: int, size: int) -> None:
        shapes.extend([(out, into, size, size), (out,), (out,)])  # weight, BatchNorm weight, BatchNorm bias

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


def gpt2_small() -> Shapes:
    """GPT-2 small's 148 parameters (Radford et al. 2019), 124 million elements; the head is tied to the embedding."""
    d = 768
    norm: Shapes = [(d,), (d,)]
    block = [*norm, (3 * d, d), (3 * d,), (d, d), (d,), *norm, (4 * d, d), (4 * d,), (d, 4 * d), (d,)]
    return [(50257, d), (1024, d), *block * 12, *norm]


SHAPES: dict[str, Callable[[], Shapes]] = {
    "resnet50": resnet50,
    "gpt2-small": gpt2_small,
    "mlp": lambda: [(100, 784), (100,), (10, 100), (10,)],
    "many-small": lambda: [(1000,)] * 1000,
}


def rivals(rule: Rule) -> dict[str, Callable[[list[nn.Parameter]], Any]]:
    """Other implementations of a rule: torch's three, and those of installed optimizer packages."""
    makers: dict[str, Callable[[list[nn.Parameter]], Any]] = {}
    if rule.twin:
        base = (rule.base or rule).hyper
        changed = class_arguments({k: v for k, v in rule.hyper.items() if k != "lr" and v != base[k]})
        for way, how in (("torch", {}), ("torch foreach", {"foreach": True}), ("torch fused", {"fused": True})):
            makers[way] = _maker("torch.optim", rule.twin, **changed, **how)
    if not rule.base:
        supported = _attribute("pytorch_optimizer", "get_supported_optimizers")
        plain_name = rule.name.replace("_", "")
        if supported and plain_name in supported():
            package = importlib.import_module("pytorch_optimizer")
            makers["pytorch_optimizer"] = lambda params: package.load_optimizer(plain_name)(params, lr=1e-6)
        theirs = {"schedule_free_adamw": "AdamWScheduleFree", "schedule_free_sgd": "SGDScheduleFree"}
        if rule.name in theirs:
            makers["schedulefree"] = _maker("schedulefree", theirs[rule.name])
        heavy = {"schedule_free_adamw": "SFAdamW"}.get(rule.name, rule.class_name)
        if _attribute("heavyball", heavy):
            setattr(importlib.import_module("heavyball.utils"), "compile_mode", None)  # noqa: B010 - compiling takes minutes
            makers["heavyball"] = _maker("heavyball", heavy)
    return makers


def _attribute(module: str, name: str) -> Any:
    """An attribute of a package, or None if either is missing."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _maker(module: str, name: str, **how: Any) -> Callable[[list[nn.Parameter]], Any]:
    def make(params: list[nn.Parameter]) -> Any:
        made = _attribute(module, name)
        if made is None:
            raise ImportError(module)
        optimizer = made(params, lr=1e-6, **how)
        if hasattr(optimizer, "train"):
            optimizer.train()
        return optimizer

    return make
