"""The largest relative error of each rule in 50 float64 steps, against its paper, its author's package and torch.

The papers' oracles are in `oracles` (NumPy, independent of the rules); the authors' packages are the `peers` extra.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from steepest.errors import SteepestError
from steepest.rules import RULES, Rule, get
from steepest.update.torch_class.optimizer import build, optimizer_class
from steepest.update.torch_class.signature import class_arguments

from . import oracles

STEPS = 50
SHAPES = ((4, 3), (5,), ())
RATE = 0.02


@dataclass(frozen=True)
class Author:
    """An author's class, or a package that follows the author, with the hyperparameters at which ours is equal.

    `differs` describes an intended difference; the error is then its size.
    """

    rule: str
    module: str
    name: str
    theirs: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = SHAPES
    differs: str = ""


DECAY = {"weight_decay": 0.05}
WARM = DECAY | {"warmup_steps": 10}
AUTHORS = (
    Author("schedule_free_adamw", "schedulefree", "AdamWScheduleFree", WARM, WARM),
    Author("schedule_free_adamw", "schedulefree", "AdamWScheduleFree", {"r": 1.0, "betas": (0.8, 0.9)},
           {"r": 1.0, "beta1": 0.8, "beta2": 0.9}),
    Author("schedule_free_sgd", "schedulefree", "SGDScheduleFree", WARM, WARM),
    Author("adabelief", "adabelief_pytorch", "AdaBelief", DECAY | {"rectify": False, "print_change_log": False}, DECAY),
    Author(
        "adabelief", "adabelief_pytorch", "AdaBelief", DECAY | {"betas": (0.9, 0.9), "print_change_log": False},
        DECAY | {"beta2": 0.9, "rectify": True},
    ),
    Author("madgrad", "madgrad", "MADGRAD", DECAY, DECAY | {"lr": RATE + 1e-6}),
    Author("madgrad", "madgrad", "MADGRAD", DECAY, DECAY, differs="the author adds eps to the rate"),
    Author("lion", "lion_pytorch", "Lion", DECAY, DECAY),
    Author("adan", "pytorch_optimizer", "Adan", DECAY, DECAY),
    Author("adai", "pytorch_optimizer", "Adai", DECAY, DECAY),
    Author("lars", "pytorch_optimizer", "LARS", DECAY, DECAY, shapes=((4, 3), (2, 5))),
    Author("lars", "pytorch_optimizer", "LARS", DECAY, DECAY, differs="it gives vectors no ratio of their own"),
    Author("lamb", "pytorch_optimizer", "Lamb", {"max_grad_norm": 0.0}, differs="it leaves out the bias correction"),
    Author("padam", "pytorch_optimizer", "PAdam", {}, {"bias_correction": True, "partial": 0.25}, differs="it has no AMSGrad"),
)  # fmt: skip


def parameters(shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[torch.nn.Parameter]:
    """The starting points: float64 parameters of these shapes, always the same."""
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def gradients(k: int, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[torch.Tensor]:
    """The gradients of step k; their scale varies, and is 0.01 on every third step, so that eps and clamps matter."""
    generator = torch.Generator().manual_seed(1000 + k)
    size = 0.01 if k % 3 == 2 else 1.0 + k % 3
    return [size * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def path(optimizer: Any, params: list[torch.nn.Parameter]) -> list[list[torch.Tensor]]:
    """The parameters after each of `STEPS` steps of an optimizer."""
    shapes, points = tuple(tuple(p.shape) for p in params), []
    for k in range(STEPS):

        def closure(k: int = k) -> float:
            for p, g in zip(params, gradients(k, shapes), strict=True):
                p.grad = g
            return 0.0

        closure()
        optimizer.step(closure) if getattr(getattr(optimizer, "rule", None), "oracle", False) else optimizer.step()
        points.append([p.detach().clone() for p in params])
    return points


def error(ours: Any, theirs: Any) -> float:
    """The largest difference over all steps and tensors, relative to the largest element of the tensor."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        for x, y in zip(a, b, strict=True):
            x, y = np.asarray(x), np.asarray(y)
            worst = max(worst, float(np.abs(x - y).max() / max(np.abs(y).max(), 1e-300)))
    return worst


def settings(rule: Rule) -> list[dict[str, Any]]:
    """Hyperparameters to test: the defaults, and every number moved off its default; with `precise=True` where it exists."""
    moved = {k: 0.8 * v if v else 0.05 for k, v in rule.hyper.items() if isinstance(v, float) and k != "lr"}
    inside = {k: v for k, v in moved.items() if _allowed(rule, k, v)}
    fixed = {"precise": True} if "precise" in rule.hyper else {}
    return [fixed, fixed | inside] if inside else [fixed]


def _allowed(rule: Rule, name: str, value: float) -> bool:
    try:
        rule.settings(**{name: value})
    except SteepestError:
        return False
    return True


def against_paper(rule: Rule) -> float:
    """The largest error against the oracle, over all `settings` of the rule."""
    base = rule if hasattr(oracles, rule.name) or not rule.base else rule.base
    preset = {k: v for k, v in rule.hyper.items() if v != base.hyper[k] and k != "lr"}
    worst = 0.0
    for chosen in settings(rule):
        params = parameters()
        with _float64():  # scalar state has the default dtype, as in torch
            ours = path(build(rule, params, lr=RATE, **chosen), params)
        starts = [p.detach().numpy() for p in parameters()]
        grad = lambda k, _: [g.numpy() for g in gradients(k)]  # noqa: E731
        theirs = getattr(oracles, base.name)(starts, grad, [RATE] * STEPS, [preset | chosen] * len(SHAPES))
        worst = max(worst, error(ours, theirs))
    return worst


def against_torch(rule: Rule) -> float | None:
    """The largest error against the torch.optim class at the rule's defaults; None if torch has no such class."""
    if not rule.twin:
        return None
    shapes = ((4, 3), (3, 5)) if rule.name == "muon" else SHAPES
    base = (rule.base or rule).hyper
    changed = class_arguments({k: v for k, v in rule.hyper.items() if k != "lr" and v != base[k]})
    ends = []
    with _float64():
        makers: tuple[Any, Any] = optimizer_class(rule), getattr(torch.optim, rule.twin)
        for make in makers:
            params = parameters(shapes)
            ends.append(path(make(params, lr=RATE, **changed), params))
    return error(*ends)


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def against_author(author: Author) -> float | None:
    """The largest error against an author's class; None if the package is not installed."""
    try:
        module = importlib.import_module(author.module)
    except ImportError:
        return None
    params, others = parameters(author.shapes), parameters(author.shapes)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        theirs = getattr(module, author.name)(others, lr=RATE, **author.theirs)
        if author.module == "schedulefree":
            theirs.train()
        expected = path(theirs, others)
    ours = build(get(author.rule), params, **({"lr": RATE} | author.ours))
    return error(path(ours, params), expected)


def table(progress: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """A row per rule: largest errors against paper, author and torch, and the intended differences from the author's class."""
    rows = []
    for name, rule in RULES.items():
        if not rule.is_ours:
            continue
        if progress:
            progress(name)
        authors = [
            {"package": a.module, "class": a.name, "differs": a.differs or None, "error": against_author(a)}
            for a in AUTHORS
            if a.rule == name
        ]
        equal = [a["error"] for a in authors if a["error"] is not None and not a["differs"]]
        rows.append(
            {
                "name": name,
                "paper": against_paper(rule),
                "author": max(equal, default=None),
                "torch": against_torch(rule),
                "authors": authors,
            }
        )
    return rows


def text(rows: list[dict[str, Any]]) -> str:
    """Format the table for the terminal."""

    def shown(x: float | None) -> str:
        return f"{'-':>10}" if x is None else f"{'0':>10}" if x == 0 else f"{x:10.0e}"

    lines = [f"{'':22}{'paper':>10}{'author':>10}{'torch':>10}  (largest relative error, {STEPS} steps, float64)"]
    for row in rows:
        lines.append(f"{row['name']:22}{shown(row['paper'])}{shown(row['author'])}{shown(row['torch'])}")
        for a in row["authors"]:
            if a["differs"] and a["error"] is not None:
                lines.append(f"{'':22}{a['package']}.{a['class']} differs by {a['error']:.1e}: {a['differs']}")
    worst = max(x for row in rows for x in (row["paper"], row["author"], row["torch"]) if x is not None and math.isfinite(x))
    return "\n".join([*lines, f"Largest of all: {worst:.1e}"])
