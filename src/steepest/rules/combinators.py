"""Rules made from rules: weight decay, coupled (added to the gradient) and decoupled (shrinks the parameter)."""

from __future__ import annotations

import dataclasses
from typing import Any

from .rule import RULES, Rule, register
from .vocabulary import norm


def coupled(inner: Rule) -> Rule:
    """L2 weight decay: the gradient becomes g + weight_decay * p before the rule sees it."""

    def step(p: Any, g: Any, t: int, *state: Any, weight_decay: float, **hyper: Any) -> Any:
        if weight_decay:
            g = g + weight_decay * p
        return inner.step(p, g, t, *state, **hyper)

    return _around(inner, step, {"weight_decay": 0.0})


def coupled_or_decoupled(inner: Rule) -> Rule:
    """Weight decay as `coupled`, or, as a choice, decoupled: p becomes p * (1 - lr * weight_decay) before the rule moves it.

    Loshchilov & Hutter 2019, arXiv:1711.05101, in torch's form: their decay follows the schedule's multiplier,
    torch's follows the rate itself.
    """

    def step(p: Any, g: Any, t: int, *state: Any, weight_decay: float, decoupled_weight_decay: bool, **hyper: Any) -> Any:
        if weight_decay and decoupled_weight_decay:
            p = p * (1 - hyper["lr"] * weight_decay)
        elif weight_decay:
            g = g + weight_decay * p
        return inner.step(p, g, t, *state, **hyper)

    return _around(inner, step, {"weight_decay": 0.0, "decoupled_weight_decay": False})


def sam(inner: Rule, name: str, class_name: str) -> Rule:
    """Sharpness-aware minimization around any rule: the gradient is taken where the loss rises fastest, rho away.

    Foret et al. 2021, arXiv:2010.01412, Algorithm 1 with the Euclidean norm over all parameters; the authors' 1e-12 keeps a
    zero gradient from dividing by zero.
    """

    def step(p: Any, f: Any, t: Any, *state: Any, rho: float, **hyper: Any) -> Any:
        g = f(p)
        return inner.step(p, f(p + rho / (norm(g, over="model") + 1e-12) * g), t, *state, **hyper)

    reference = f"Foret et al. 2021, arXiv:2010.01412, around {inner.reference}"
    own = {"name": name, "class_name": class_name, "reference": reference, "oracle": True, "base": None, "twin": None}
    return register(_with(inner, step, {"rho": 0.05}, **own))


def _around(inner: Rule, step: Any, hyper: dict[str, Any]) -> Rule:
    """`inner` with another step and more hyperparameters, in its place in the registry."""
    RULES.pop(inner.name)
    return register(_with(inner, step, hyper))


def _with(inner: Rule, step: Any, hyper: dict[str, Any], **changes: Any) -> Rule:
    return dataclasses.replace(inner, step=step, hyper={**inner.hyper, **hyper}, traced=[], **changes)
