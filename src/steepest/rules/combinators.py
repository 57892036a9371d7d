"""Combinators, which make a rule from a rule: weight decay, clipping, noise, SAM, Lookahead, and a switch between two.

They compose, and every engine runs the result. Order, from the outside: maximize, clipping, coupled decay.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from ..errors import SteepestError
from .definition import RULES, Rule, State, copy_of_p, register, scalar
from .vocabulary import clip, maximum, minimum, norm, normal, random_sign, where


def coupled(inner: Rule) -> Rule:
    """L2 weight decay: the gradient becomes g + weight_decay * p before the rule sees it."""
    return _decayed(inner, False, {"weight_decay": 0.0})


def decoupled(inner: Rule) -> Rule:
    """Decoupled weight decay: p becomes p * (1 - lr * weight_decay) before the rule moves it.

    Loshchilov & Hutter 2019, arXiv:1711.05101, in torch's form: their decay follows the schedule's multiplier, torch's
    follows the rate itself.
    """
    return _decayed(inner, True, {"weight_decay": 0.0})


def coupled_or_decoupled(inner: Rule) -> Rule:
    """Weight decay as `coupled`, or as `decoupled` where decoupled_weight_decay is true."""
    return _decayed(inner, False, {"weight_decay": 0.0, "decoupled_weight_decay": False})


def _decayed(inner: Rule, is_decoupled: bool, more: dict[str, Any]) -> Rule:
    """Replace `inner` in the registry by the rule with weight decay and these hyperparameters."""

    def step(p: Any, g: Any, t: Any, *state: Any, weight_decay: float, **hyper: Any) -> Any:
        by_itself = hyper.pop("decoupled_weight_decay", is_decoupled)
        if weight_decay and by_itself:
            p = p * (1 - hyper["lr"] * weight_decay)
        elif weight_decay:
            g = _changed(g, lambda g, at: g + weight_decay * at, p)
        return inner.step(p, g, t, *state, **hyper)

    RULES.pop(inner.name, None)
    return register(dataclasses.replace(inner, step=step, hyper={**inner.hyper, **more}, traced=[]))


def clip_by_norm(inner: Rule, max_norm: float = 1.0) -> Rule:
    """Shrink the gradient, over all parameters, to at most this Euclidean norm; as torch.nn.utils.clip_grad_norm_."""

    def step(p: Any, g: Any, t: Any, *state: Any, max_norm: float, **hyper: Any) -> Any:
        def clipped(g: Any, _: Any) -> Any:
            return g * minimum(1.0, max_norm / (norm(g, over="model") + 1e-6))

        return inner.step(p, _changed(g, clipped, p), t, *state, **hyper)

    return _with(inner, step, {"max_norm": max_norm}, f"clip_by_norm({inner.name})")


def clip_by_value(inner: Rule, max_value: float = 1.0) -> Rule:
    """Clip every element of the gradient to [-max_value, max_value]; as torch.nn.utils.clip_grad_value_."""

    def step(p: Any, g: Any, t: Any, *state: Any, max_value: float, **hyper: Any) -> Any:
        return inner.step(p, _changed(g, lambda g, _: clip(g, -max_value, max_value), p), t, *state, **hyper)

    return _with(inner, step, {"max_value": max_value}, f"clip_by_value({inner.name})")


def noisy(inner: Rule, noise: float = 0.0, sign_noise: float = 0.0) -> Rule:
    """Add noise to each element of the gradient: `noise` times a standard normal number, `sign_noise` times -1 or 1.

    Drawn at each step from the run's key, so that a seed gives the same noise in every engine.
    """

    def step(p: Any, g: Any, t: Any, *state: Any, noise: float, sign_noise: float, **hyper: Any) -> Any:
        def disturbed(g: Any, _: Any) -> Any:
            g = g + noise * normal() if noise else g
            return g + sign_noise * random_sign() if sign_noise else g

        return inner.step(p, _changed(g, disturbed, p), t, *state, **hyper)

    return _with(inner, step, {"noise": noise, "sign_noise": sign_noise}, f"noisy({inner.name})")


def sam(inner: Rule, rho: float = 0.05, **fields: Any) -> Rule:
    """Sharpness-aware minimization with any rule: the gradient is taken at distance rho in the direction of steepest ascent.

    Foret et al. 2021, arXiv:2010.01412, Algorithm 1 with the Euclidean norm over all parameters; the authors' 1e-12 avoids a
    division by zero for a zero gradient.
    """
    if inner.oracle:
        raise SteepestError(f"sam({inner.name}): {inner.name} evaluates gradients itself; use sam with a rule that does not.")

    def step(p: Any, f: Any, t: Any, *state: Any, rho: float, **hyper: Any) -> Any:
        g = f(p)
        return inner.step(p, f(p + rho / (norm(g, over="model") + 1e-12) * g), t, *state, **hyper)

    reference = f"Foret et al. 2021, arXiv:2010.01412, around {inner.reference}"
    made = _with(inner, step, {"rho": rho}, f"sam({inner.name})", oracle=True, reference=reference)
    return dataclasses.replace(made, **fields)


def lookahead(inner: Rule, slow_steps: float = 5.0, slow_rate: float = 0.5) -> Rule:
    """Lookahead: every `slow_steps` steps the slow weights move by `slow_rate` towards the rule's, which continue from there.

    Zhang et al. 2019, arXiv:1907.08610, Algorithm 1; a synchronization does not change the rule's own state.
    """

    def step(p: Any, g: Any, t: Any, *state: Any, slow_steps: float, slow_rate: float, **hyper: Any) -> Any:
        *own, slow, age = state
        fast, *own = _several(inner.step(p, g, t, *own, **hyper))
        due = age + 1 >= slow_steps
        slow = where(due, slow + slow_rate * (fast - slow), slow)
        return where(due, slow, fast), *own, slow, where(due, 0.0, age + 1)

    state = {"slow": copy_of_p, "age": scalar(0.0)}
    reference = f"Zhang et al. 2019, arXiv:1907.08610, around {inner.reference}"
    hyper = {"slow_steps": float(slow_steps), "slow_rate": slow_rate}
    return _with(inner, step, hyper, f"lookahead({inner.name})", state=state, reference=reference)


def box(inner: Rule, low: float = -1.0, high: float = 1.0) -> Rule:
    """Project every element of the parameters onto [low, high] after each step.

    Each coordinate by itself, so this is the projection in any diagonal metric too: that of Adam and AdaBelief, which their
    papers write as a capital pi.
    """
    if low > high:
        raise SteepestError(f"box({inner.name}, low={low:g}, high={high:g}): the box is empty; low must not exceed high.")
    refused = ("low must not exceed high.", lambda h: h["low"] > h["high"])
    return _projected(inner, lambda p, low, high: clip(p, low, high), {"low": low, "high": high}, "box", refused)


def ball(inner: Rule, radius: float = 1.0) -> Rule:
    """Scale the parameters, all together, to a Euclidean norm of at most `radius` after each step."""

    def inside(p: Any, radius: float) -> Any:
        return p * minimum(1.0, radius / maximum(norm(p, over="model"), 1e-300))

    return _projected(inner, inside, {"radius": radius}, "ball")


def _projected(
    inner: Rule, project: Callable[..., Any], hyper: dict[str, Any], name: str, *refused: tuple[str, Callable[[Any], bool]]
) -> Rule:
    """A rule whose new p is `project(p, **hyper)`."""
    if inner.view:
        raise SteepestError(f"{name}({inner.name}): {inner.name} evaluates averages of p, which a projection of p would miss.")

    def step(p: Any, g: Any, t: Any, *state: Any, **own: Any) -> Any:
        bounds = {k: own.pop(k) for k in hyper}
        new, *rest = _several(inner.step(p, g, t, *state, **own))
        return project(new, **bounds), *rest

    made = _with(inner, step, {k: float(v) for k, v in hyper.items()}, f"{name}({inner.name})")
    return dataclasses.replace(made, refused=(*inner.refused, *refused))


def switch(first: Rule, then: Rule, at: float, then_ratio: float = 1.0) -> Rule:
    """Use one rule for the first `at` steps and another afterwards, such as Adam, then SGD.

    The second starts with fresh state. Its rate is the first one's times `then_ratio`, so that one schedule drives both; its
    other hyperparameters and its state have the prefix `then_`.
    """
    if first.oracle or then.oracle:
        raise SteepestError(f"switch({first.name}, {then.name}): expected two rules that do not evaluate gradients themselves.")
    later = {f"then_{k}": v for k, v in then.hyper.items() if k != "lr"}
    count = len(first.state)

    def step(p: Any, g: Any, t: Any, *state: Any, at: float, then_ratio: float, **hyper: Any) -> Any:
        own = {k.removeprefix("then_"): hyper.pop(k) for k in later}
        begun, begins = t > at, t == at + 1
        before, *kept = _several(first.step(p, g, t, *state[:count], **hyper))
        starts = {"p": p, "g": g}
        fresh = [
            where(begins, starts[k.copies], s) if k.copies else s
            for k, s in zip(then.state.values(), state[count:], strict=True)
        ]
        own["lr"] = then_ratio * hyper["lr"]
        after, *new = _several(then.step(p, g, maximum(t - at, 1.0), *fresh, **own))
        kept = [_unless(begun, old, x) for old, x in zip(state[:count], kept, strict=True)]
        new = [_unless(t <= at, old, x) for old, x in zip(state[count:], new, strict=True)]
        return where(begun, after, before), *kept, *new

    def renamed(state: State) -> State:
        start = f"then_{state.start}" if state.start in then.hyper and state.start != "lr" else state.start
        return dataclasses.replace(state, start=start, condition=state.condition and f"then_{state.condition}")

    state = {f"then_{k}": renamed(s) for k, s in then.state.items()}
    hyper = {"at": float(at), "then_ratio": float(then_ratio), **later}
    reference = f"{first.reference}; then {then.reference}"
    domains = {f"then_{k}": domain for k in then.hyper if (domain := then.domain(k))}
    name = f"switch({first.name},{then.name})"
    return _with(first, step, hyper, name, state=state, reference=reference, view=None, domains={**first.domains, **domains})


def _unless(condition: Any, old: Any, new: Any) -> Any:
    """The old value where the condition holds, else the new one; None for a state that does not exist."""
    return None if old is None else where(condition, old, new)


def _several(returned: Any) -> tuple[Any, ...]:
    return returned if isinstance(returned, tuple) else (returned,)


def _changed(g: Any, change: Callable[[Any, Any], Any], p: Any) -> Any:
    """Apply `change(g, at)` to a gradient, or to each result of a function that returns gradients; `at` is the point."""
    return (lambda point: change(g(point), point)) if callable(g) else change(g, p)


def _with(
    inner: Rule, step: Any, hyper: dict[str, Any], name: str, *, state: dict[str, State] | None = None, **changes: Any
) -> Rule:
    """Make an unregistered rule from `inner` with another step and more hyperparameters and state."""
    more = state or {}
    for new, known in ((hyper, inner.hyper), (more, inner.state)):
        for k in new:
            if k in known:
                raise SteepestError(
                    f"{name}: {inner.name} already has {k}; a combinator cannot be applied twice to the same rule."
                )
    words = re.split(r"[\W_]+", name)
    own = {
        "name": name,
        "class_name": "".join(word[:1].upper() + word[1:] for word in words),  # ClipByNormAdam
        "base": None,
        "twin": None,
        "deviations": (),
        "doc": "",
    }
    return dataclasses.replace(
        inner, step=step, hyper={**inner.hyper, **hyper}, state={**inner.state, **more}, traced=[], **own | changes
    )
