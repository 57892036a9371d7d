"""The schedules: each with its formula of the step, its source, and the domains of its arguments.

A length is a number of steps if it is an int, and a share of the run if it is a float.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .schedule import Length, Schedule, check_length, expect, length, named

__all__ = [
    "FORMULAS", "constant", "cosine", "cosine_restarts", "cyclic", "exponential",
    "exponential_steps", "function", "inverse_sqrt", "inverse_time", "linear", "multi_step",
    "multiplicative", "one_cycle", "plateau", "polynomial", "step", "warmup",
    "warmup_stable_decay",
]  # fmt: skip
Pure = Callable[[int, int], float]
Formula = Pure | tuple[Pure, Pure] | Schedule
Domain = Callable[[str, Any], None]  # SteepestError for a value outside it
FORMULAS: dict[str, Callable[..., Schedule]] = {}


def _schedule(**domains: Domain) -> Callable[[Callable[..., Formula]], Callable[..., Schedule]]:
    """Make a schedule of a formula: arguments are checked, and those that differ from their defaults are in its name."""

    def decorate(write: Callable[..., Formula]) -> Callable[..., Schedule]:
        signature = inspect.signature(write)
        defaults = {k: parameter.default for k, parameter in signature.parameters.items()}

        @functools.wraps(write)
        def make(*args: Any, **kwargs: Any) -> Schedule:
            arguments = defaults | signature.bind(*args, **kwargs).arguments
            for k, check in domains.items():
                if arguments[k] is not defaults[k]:  # which may be None
                    check(k, arguments[k])
            same = {k for k, v in arguments.items() if v == defaults[k] and isinstance(v, type(defaults[k]))}
            changed = ", ".join(f"{k}={v!r}" for k, v in arguments.items() if k not in same)  # 1 is a step, 1.0 the whole run
            name = f"{write.__name__}({changed})" if changed else write.__name__
            formula, recipe = write(**arguments), (_made, (write.__name__, arguments))
            if isinstance(formula, Schedule):
                return replace(formula, name=name, recipe=recipe)
            value, momentum = formula if isinstance(formula, tuple) else (formula, None)
            cycled = None if momentum is None else lambda k, n, h: momentum(k, n)
            return Schedule(name, lambda k, n, h: value(k, n), cycled, recipe=recipe)

        make.__annotations__["return"] = "Schedule"
        FORMULAS[write.__name__] = make
        return make

    return decorate


def _made(name: str, arguments: dict[str, Any]) -> Schedule:
    """Make a schedule when it is unpickled."""
    return FORMULAS[name](**arguments)


def _domain(words: str, holds: Callable[[Any], bool]) -> Domain:
    return lambda name, value: expect(holds(value), name, value, words)


def _one_of(*names: str) -> Domain:
    return _domain(f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}", lambda v: v in names)


def _milestones(_: str, value: Any) -> None:
    for milestone in value:
        check_length("a milestone", milestone)


def _number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool)


LENGTH: Domain = check_length
NONNEGATIVE = _domain("a number of at least 0", lambda v: _number(v) and 0 <= v < math.inf)
POSITIVE = _domain("a number above 0", lambda v: _number(v) and 0 < v < math.inf)
ONE_OR_MORE = _domain("a number of at least 1", lambda v: _number(v) and 1 <= v < math.inf)
SHARE = _domain("a number from 0 to 1", lambda v: _number(v) and 0 <= v <= 1)
POSITIVE_SHARE = _domain("a number above 0 and up to 1", lambda v: isinstance(v, int | float) and 0 < v <= 1)
SHARE_BELOW_1 = _domain("a number from 0 to below 1", lambda v: isinstance(v, int | float) and 0 <= v < 1)
COUNT = _domain("a whole number, 0 or more", lambda v: isinstance(v, int) and v >= 0)
COUNT_FROM_1 = _domain("a whole number, 1 or more", lambda v: isinstance(v, int) and v >= 1)
ANNEAL = _one_of("cos", "linear")
MODE = _one_of("triangular", "triangular2", "exp_range")


@_schedule(factor=NONNEGATIVE, until=LENGTH)
def constant(factor: float = 1.0, until: Length | None = None) -> Pure:
    """`factor` up to step `until` (default: always), then 1. torch's ConstantLR with total_iters=until. factor >= 0.

    >>> [constant(0.5, until=2)(k, 4) for k in range(4)]
    [0.5, 0.5, 1.0, 1.0]
    """
    return lambda k, n: factor if until is None or k < length(until, n) else 1.0


@_schedule(size=LENGTH, gamma=SHARE)
def step(size: Length = 1 / 3, gamma: float = 0.1) -> Pure:
    """gamma ** (k // size): a drop by gamma every `size` steps. torch's StepLR. 0 <= gamma <= 1.

    >>> [step(size=2, gamma=0.5)(k, 6) for k in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    return lambda k, n: float(gamma ** (k // length(size, n)))


@_schedule(milestones=_milestones, gamma=SHARE)
def multi_step(milestones: Sequence[Length] = (0.5, 0.75), gamma: float = 0.1) -> Pure:
    """gamma ** (number of milestones passed). torch's MultiStepLR. 0 <= gamma <= 1.

    >>> [multi_step((1, 3), gamma=0.5)(k, 4) for k in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """
    return lambda k, n: float(gamma ** sum(k >= length(m, n) for m in milestones))


@_schedule(epoch=LENGTH, gamma=POSITIVE_SHARE, k=NONNEGATIVE)
def exponential(gamma: float | None = None, k: float | None = None, epoch: Length = 1, end: float = 0.01) -> Pure:
    """gamma ** (step // epoch), or exp(-k * (step // epoch)); with neither, from 1 to `end` over the run.

    torch's ExponentialLR where an epoch is one of its steps. 0 < gamma <= 1, k >= 0, 0 < end <= 1.

    >>> [exponential(0.5)(k, 4) for k in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """
    expect(gamma is None or k is None, "k", k, "one of gamma and k, not both")
    if gamma is not None:
        return lambda i, n: float(gamma ** (i // length(epoch, n)))
    if k is not None:
        return lambda i, n: math.exp(-k * (i // length(epoch, n)))
    POSITIVE_SHARE("end", end)
    return lambda i, n: float(end ** (i / n))


@_schedule(k=NONNEGATIVE)
def inverse_time(k: float | None = None, end: float = 0.05) -> Pure:
    """1 / (1 + k * step), or from 1 to `end` over the run. Robbins & Monro 1951. k >= 0, 0 < end <= 1.

    >>> [inverse_time(1.0)(k, 4) for k in range(4)]
    [1.0, 0.5, 0.3333333333333333, 0.25]
    """
    if k is not None:
        return lambda i, n: 1 / (1 + k * i)
    POSITIVE_SHARE("end", end)
    return lambda i, n: 1 / (1 + (1 / end - 1) * i / n)


@_schedule(power=POSITIVE, over=LENGTH)
def polynomial(power: float = 2.0, over: Length = 1.0) -> Pure:
    """(1 - k / over) ** power, 0 afterwards. torch's PolynomialLR with total_iters=over. power > 0.

    >>> [polynomial(1.0)(k, 4) for k in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    return lambda k, n: float(max(1 - k / length(over, n), 0.0) ** power)


@_schedule(start=NONNEGATIVE, end=NONNEGATIVE, over=LENGTH)
def linear(start: float = 1.0, end: float = 0.0, over: Length = 1.0) -> Pure:
    """start + (end - start) * min(k / over, 1). torch's LinearLR with total_iters=over. start, end >= 0.

    >>> [linear(1.0, 0.5)(k, 4) for k in range(5)]
    [1.0, 0.875, 0.75, 0.625, 0.5]
    """
    return lambda k, n: start + (end - start) * min(k / length(over, n), 1.0)


@_schedule(floor=SHARE, over=LENGTH)
def cosine(floor: float = 0.0, over: Length = 1.0) -> Pure:
    """floor + (1 - floor) * (1 + cos(pi * k / over)) / 2: from 1 at step 0 to `floor` at step `over`, and up again.

    Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without restarts; torch's CosineAnnealingLR with T_max=over.
    0 <= floor <= 1.

    >>> [round(cosine(0.1)(k, 4), 3) for k in range(5)]
    [1.0, 0.868, 0.55, 0.232, 0.1]
    """
    return lambda k, n: floor + (1 - floor) * (1 + math.cos(math.pi * k / length(over, n))) / 2


@_schedule(first=LENGTH, factor=COUNT_FROM_1, floor=SHARE)
def cosine_restarts(first: Length = 1 / 7, factor: int = 2, floor: float = 0.0) -> Pure:
    """Cosines from 1 to `floor` one after another, the first `first` steps long, each `factor` times the one before.

    Loshchilov & Hutter 2017, arXiv:1608.03983 (SGDR); torch's CosineAnnealingWarmRestarts. factor a whole number >= 1.

    >>> [round(cosine_restarts(first=2, factor=1)(k, 4), 3) for k in range(5)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    def value(k: int, n: int) -> float:
        since, cycle = k, length(first, n)
        if factor == 1:
            since %= cycle
        while since >= cycle:
            since, cycle = since - cycle, cycle * factor
        return floor + (1 - floor) * (1 + math.cos(math.pi * since / cycle)) / 2

    return value


@_schedule(anneal=ANNEAL, div=POSITIVE, final_div=POSITIVE, low=SHARE, high=SHARE)
def one_cycle(
    rise: float = 0.3,
    anneal: str = "cos",
    div: float = 25.0,
    final_div: float = 1e4,
    three_phase: bool = False,
    low: float = 0.85,
    high: float = 0.95,
) -> tuple[Pure, Pure]:
    """From 1 / div up to 1 at `rise` of the run, then down to 1 / (div * final_div); momentum from high to low and back.

    Smith & Topin 2017, arXiv:1708.07120; torch's OneCycleLR, relative to its max_lr. `anneal` is "cos" or "linear";
    `three_phase` comes down to 1 / div as it went up, and then to the end. 0 < rise < 1 (0.5 in three phases).

    >>> [round(one_cycle()(k, 10), 3) for k in (0, 2, 5, 9)]
    [0.04, 1.0, 0.611, 0.0]
    """
    most = 0.5 if three_phase else 1
    expect(isinstance(rise, float) and 0 < rise < most, "rise", rise, "a share of the run, inside 0 to 1")
    last = 1 / (div * final_div)

    def at(points: Sequence[float]) -> Pure:
        def value(k: int, n: int) -> float:
            turns = [rise * n - 1, 2 * rise * n - 2] if three_phase else [rise * n - 1]
            phase = sum(k > turn for turn in turns)
            begin, end = [0.0, *turns, n - 1][phase : phase + 2]
            share = (k - begin) / (end - begin) if end > begin else 1.0
            a, b = points[phase], points[phase + 1]
            return b + (a - b) / 2 * (1 + math.cos(math.pi * share)) if anneal == "cos" else a + (b - a) * share

        return value

    rates = (1 / div, 1.0, 1 / div, last) if three_phase else (1 / div, 1.0, last)
    momenta = (high, low, high, high) if three_phase else (high, low, high)
    return at(rates), at(momenta)


@_schedule(low=SHARE, up=LENGTH, down=LENGTH, mode=MODE, gamma=SHARE, least=SHARE, most=SHARE)
def cyclic(
    low: float = 0.1,
    up: Length = 1 / 8,
    down: Length | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    least: float = 0.8,
    most: float = 0.9,
) -> tuple[Pure, Pure]:
    """From `low` up to 1 in `up` steps and down in `down` (default: as many), repeatedly; momentum in the opposite direction.

    Smith 2017, arXiv:1506.01186; torch's CyclicLR with base_lr = low * max_lr, relative to max_lr. `mode` "triangular" keeps
    the height, "triangular2" halves it each cycle, "exp_range" multiplies it by gamma ** k. 0 <= low <= 1.

    >>> [cyclic(low=0.5, up=2)(k, 8) for k in range(6)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.75]
    """

    def height(k: int, n: int) -> float:
        rise = length(up, n)
        fall = rise if down is None else length(down, n)
        cycle, at = divmod(k, rise + fall)
        share = at / rise if at <= rise else 1 - (at - rise) / fall
        return share * (0.5**cycle if mode == "triangular2" else gamma**k if mode == "exp_range" else 1.0)

    return lambda k, n: low + (1 - low) * height(k, n), lambda k, n: most - (most - least) * height(k, n)


@_schedule(over=LENGTH)
def warmup(over: Length = 0.05) -> Pure:
    """min((k + 1) / over, 1): a straight line to 1 at step over - 1. Multiply it with another schedule.

    >>> [warmup(4)(k, 8) for k in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return lambda k, n: min((k + 1) / length(over, n), 1.0)


@_schedule(over=LENGTH)
def inverse_sqrt(over: Length = 0.05) -> Pure:
    """min((k + 1) / over, sqrt(over / (k + 1))). Vaswani et al. 2017, arXiv:1706.03762, relative to the peak.

    >>> [round(inverse_sqrt(2)(k, 8), 3) for k in range(4)]
    [0.5, 1.0, 0.816, 0.707]
    """
    return lambda k, n: min((k + 1) / length(over, n), math.sqrt(length(over, n) / (k + 1)))


SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda s: 1 - s,
    "sqrt": lambda s: 1 - math.sqrt(s),
    "cosine": lambda s: (1 + math.cos(math.pi * s)) / 2,
}


@_schedule(over=LENGTH, decay=LENGTH, shape=_one_of(*SHAPES), end=SHARE)
def warmup_stable_decay(over: Length = 0.05, decay: Length = 0.2, shape: str = "linear", end: float = 0.0) -> Pure:
    """A straight line to 1 over `over` steps, 1, and down to `end` over the last `decay` steps.

    Hu et al. 2024, arXiv:2404.06395 (MiniCPM); Hagele et al. 2024, arXiv:2405.18392, where `shape` "sqrt" is 1 - sqrt(share);
    others are "linear" and "cosine". 0 <= end <= 1.

    >>> [warmup_stable_decay(over=2, decay=4)(k, 10) for k in (0, 1, 5, 8, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def value(k: int, n: int) -> float:
        last = length(decay, n)
        share = min(max((k - (n - last)) / last, 0.0), 1.0)
        return min((k + 1) / length(over, n), 1.0) * (end + (1 - end) * SHAPES[shape](share))

    return value


@_schedule(beta=ONE_OR_MORE)
def exponential_steps(beta: float = 1.0) -> Pure:
    """(beta / n) ** (k / n) over a run of n steps. Li, Zhuang & Orabona 2020, arXiv:2002.05273. beta >= 1.

    >>> [round(exponential_steps()(k, 4), 3) for k in range(5)]
    [1.0, 0.707, 0.5, 0.354, 0.25]
    """
    return lambda k, n: float((min(beta, n) / n) ** (k / n))


@_schedule(factor=SHARE_BELOW_1, patience=COUNT, cooldown=COUNT, threshold=NONNEGATIVE, least=SHARE)
def plateau(
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    relative: bool = True,
    cooldown: int = 0,
    least: float = 0.0,
) -> Schedule:
    """factor ** (times that the metric stopped improving): a pure function of the metric at each evaluation so far.

    A drop follows more than `patience` evaluations that do not improve on the best by `threshold` (a share of it, or
    absolute); `cooldown` evaluations after a drop do not count. torch's ReduceLROnPlateau. 0 <= factor < 1, least the
    smallest multiplier.

    >>> plateau(factor=0.5, patience=1)(4, 10, [1.0, 0.9, 0.9, 0.9])
    0.5
    """

    def value(k: int, n: int, history: Sequence[float]) -> float:
        best, bad, wait, multiplier = math.inf, 0, 0, 1.0
        for metric in history:
            margin = threshold * abs(best) if relative and math.isfinite(best) else threshold
            if metric < best - margin or (math.isinf(best) and metric < best):
                best, bad = metric, 0
            else:
                bad += 1
            if wait:
                wait, bad = wait - 1, 0
            if bad > patience:
                multiplier, wait, bad = max(multiplier * factor, least), cooldown, 0
        return multiplier

    return Schedule("plateau", value, reads=True)


def function(f: Callable[[int], float]) -> Schedule:
    """f(step), for any function. torch's LambdaLR. The schedule's name has a hash of the function's code.

    >>> function(lambda k: 1 / (1 + k))(3, 10)
    0.25
    """
    return Schedule(named("function", f), lambda k, n, h: float(f(k)), recipe=(function, (f,)))


def multiplicative(f: Callable[[int], float]) -> Schedule:
    """f(1) * f(2) * ... * f(step). torch's MultiplicativeLR.

    >>> multiplicative(lambda k: 0.5)(3, 10)
    0.125
    """
    name = named("multiplicative", f)
    return Schedule(name, lambda k, n, h: math.prod(float(f(i)) for i in range(1, k + 1)), recipe=(multiplicative, (f,)))
