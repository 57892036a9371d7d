"""The schedules: each a formula of the step, its source, and the domain of its arguments.

A length is a number of steps where it is an int, and a share of the run where it is a float.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from .schedule import Length, Schedule, check_length, expect, length

Pure = Callable[[int, int], float]
FORMULAS: dict[str, Callable[..., Schedule]] = {}


def _schedule(write: Callable[..., Pure | tuple[Pure, Pure]]) -> Callable[..., Schedule]:
    """A schedule from its formula, named by the arguments that differ from their defaults."""
    signature = inspect.signature(write)

    @functools.wraps(write)
    def make(*args: Any, **kwargs: Any) -> Schedule:
        bound = signature.bind(*args, **kwargs)
        changed = {k: v for k, v in bound.arguments.items() if v != signature.parameters[k].default}
        name = write.__name__
        if changed:
            name += f"({', '.join(f'{k}={v!r}' for k, v in changed.items())})"
        formula = write(*args, **kwargs)
        value, momentum = formula if isinstance(formula, tuple) else (formula, None)
        cycled = None if momentum is None else lambda k, n, h: momentum(k, n)
        return Schedule(name, lambda k, n, h: value(k, n), cycled)

    make.__annotations__["return"] = "Schedule"
    FORMULAS[write.__name__] = make
    return make


def _at_least(name: str, value: Any, least: float, strictly: bool = False) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    holds = fits and (value > least if strictly else value >= least)
    expect(holds, name, value, f"a number {'above' if strictly else 'of at least'} {least:g}")


def _share(name: str, value: Any) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    expect(fits and 0 <= value <= 1, name, value, "a number from 0 to 1")


@_schedule
def constant(factor: float = 1.0, until: Length | None = None) -> Pure:
    """`factor` up to step `until` (default: always), then 1. torch's ConstantLR with total_iters=until. factor >= 0."""
    _at_least("factor", factor, 0)
    if until is not None:
        check_length("until", until)
    return lambda k, n: factor if until is None or k < length(until, n) else 1.0


@_schedule
def step(size: Length = 1 / 3, gamma: float = 0.1) -> Pure:
    """gamma ** (k // size): a drop by gamma every `size` steps. torch's StepLR. 0 <= gamma <= 1."""
    check_length("size", size)
    _share("gamma", gamma)
    return lambda k, n: float(gamma ** (k // length(size, n)))


@_schedule
def multi_step(milestones: Sequence[Length] = (0.5, 0.75), gamma: float = 0.1) -> Pure:
    """gamma ** (number of milestones passed). torch's MultiStepLR. 0 <= gamma <= 1."""
    for milestone in milestones:
        check_length("a milestone", milestone)
    _share("gamma", gamma)
    return lambda k, n: float(gamma ** sum(k >= length(m, n) for m in milestones))


@_schedule
def exponential(gamma: float | None = None, k: float | None = None, epoch: Length = 1, end: float = 0.01) -> Pure:
    """gamma ** (step // epoch), or exp(-k * (step // epoch)); with neither, from 1 to `end` over the run.

    torch's ExponentialLR where an epoch is one of its steps. 0 < gamma <= 1, k >= 0, 0 < end <= 1.
    """
    check_length("epoch", epoch)
    expect(gamma is None or k is None, "k", k, "one of gamma and k, not both")
    if gamma is not None:
        expect(isinstance(gamma, int | float) and 0 < gamma <= 1, "gamma", gamma, "a number above 0 and up to 1")
        return lambda i, n: float(gamma ** (i // length(epoch, n)))
    if k is not None:
        _at_least("k", k, 0)
        return lambda i, n: math.exp(-k * (i // length(epoch, n)))
    expect(isinstance(end, int | float) and 0 < end <= 1, "end", end, "a number above 0 and up to 1")
    return lambda i, n: float(end ** (i / n))


@_schedule
def inverse_time(k: float | None = None, end: float = 0.05) -> Pure:
    """1 / (1 + k * step), or from 1 to `end` over the run. Robbins & Monro 1951 ask for such a decay. k >= 0, 0 < end <= 1."""
    if k is not None:
        _at_least("k", k, 0)
        return lambda i, n: 1 / (1 + k * i)
    expect(isinstance(end, int | float) and 0 < end <= 1, "end", end, "a number above 0 and up to 1")
    return lambda i, n: 1 / (1 + (1 / end - 1) * i / n)


@_schedule
def polynomial(power: float = 2.0, over: Length = 1.0) -> Pure:
    """(1 - k / over) ** power, 0 afterwards. torch's PolynomialLR with total_iters=over. power > 0."""
    _at_least("power", power, 0, strictly=True)
    check_length("over", over)
    return lambda k, n: float(max(1 - k / length(over, n), 0.0) ** power)


@_schedule
def linear(start: float = 1.0, end: float = 0.0, over: Length = 1.0) -> Pure:
    """start + (end - start) * min(k / over, 1). torch's LinearLR with total_iters=over. start, end >= 0."""
    _at_least("start", start, 0)
    _at_least("end", end, 0)
    check_length("over", over)
    return lambda k, n: start + (end - start) * min(k / length(over, n), 1.0)


@_schedule
def cosine(floor: float = 0.0, over: Length = 1.0) -> Pure:
    """floor + (1 - floor) * (1 + cos(pi * k / over)) / 2: from 1 at step 0 to `floor` at step `over`, and up again.

    Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without restarts; torch's CosineAnnealingLR with T_max=over.
    0 <= floor <= 1.
    """
    _share("floor", floor)
    check_length("over", over)
    return lambda k, n: floor + (1 - floor) * (1 + math.cos(math.pi * k / length(over, n))) / 2


@_schedule
def cosine_restarts(first: Length = 1 / 7, factor: int = 2, floor: float = 0.0) -> Pure:
    """Cosines from 1 to `floor` one after another, the first `first` steps long, each `factor` times the one before.

    Loshchilov & Hutter 2017, arXiv:1608.03983 (SGDR); torch's CosineAnnealingWarmRestarts. factor a whole number >= 1.
    """
    check_length("first", first)
    expect(isinstance(factor, int) and factor >= 1, "factor", factor, "a whole number, 1 or more")
    _share("floor", floor)

    def value(k: int, n: int) -> float:
        size = length(first, n)
        if factor == 1:
            since, cycle = k % size, size
        else:
            count = _whole_log(k * (factor - 1) // size + 1, factor)
            since, cycle = k - size * (factor**count - 1) // (factor - 1), size * factor**count
        return floor + (1 - floor) * (1 + math.cos(math.pi * since / cycle)) / 2

    return value


def _whole_log(x: int, base: int) -> int:
    """The largest c with base ** c <= x, in whole numbers."""
    count = 0
    while base ** (count + 1) <= x:
        count += 1
    return count


@_schedule
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
    """
    expect(
        isinstance(rise, float) and 0 < rise < (0.5 if three_phase else 1), "rise", rise, "a share of the run, inside 0 to 1"
    )
    expect(anneal in ("cos", "linear"), "anneal", anneal, "'cos' or 'linear'")
    _at_least("div", div, 0, strictly=True)
    _at_least("final_div", final_div, 0, strictly=True)
    _share("low", low)
    _share("high", high)
    last = 1 / (div * final_div)

    def at(points: Sequence[float]) -> Pure:
        def value(k: int, n: int) -> float:
            ends = [rise * n - 1, 2 * rise * n - 2, n - 1] if three_phase else [rise * n - 1, n - 1]
            begin = 0.0
            for i, end in enumerate(ends):
                if k <= end or i == len(ends) - 1:
                    share = (k - begin) / (end - begin) if end > begin else 1.0
                    return _between(points[i], points[i + 1], share, anneal)
                begin = end
            raise AssertionError

        return value

    rates = (1 / div, 1.0, 1 / div, last) if three_phase else (1 / div, 1.0, last)
    momenta = (high, low, high, high) if three_phase else (high, low, high)
    return at(rates), at(momenta)


def _between(a: float, b: float, share: float, anneal: str) -> float:
    return b + (a - b) / 2 * (1 + math.cos(math.pi * share)) if anneal == "cos" else a + (b - a) * share


@_schedule
def cyclic(
    low: float = 0.1,
    up: Length = 1 / 8,
    down: Length | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    least: float = 0.8,
    most: float = 0.9,
) -> tuple[Pure, Pure]:
    """From `low` up to 1 in `up` steps and down in `down` (default: as many), again and again; momentum the other way round.

    Smith 2017, arXiv:1506.01186; torch's CyclicLR with base_lr = low * max_lr, relative to max_lr. `mode` "triangular" keeps
    the height, "triangular2" halves it each cycle, "exp_range" multiplies it by gamma ** k. 0 <= low <= 1.
    """
    _share("low", low)
    check_length("up", up)
    if down is not None:
        check_length("down", down)
    expect(mode in ("triangular", "triangular2", "exp_range"), "mode", mode, "'triangular', 'triangular2' or 'exp_range'")
    _share("gamma", gamma)
    _share("least", least)
    _share("most", most)

    def height(k: int, n: int) -> float:
        rise = length(up, n)
        fall = rise if down is None else length(down, n)
        cycle, at = divmod(k, rise + fall)
        share = at / rise if at <= rise else 1 - (at - rise) / fall
        return share * (0.5**cycle if mode == "triangular2" else gamma**k if mode == "exp_range" else 1.0)

    return lambda k, n: low + (1 - low) * height(k, n), lambda k, n: most - (most - least) * height(k, n)


@_schedule
def warmup(over: Length = 0.05) -> Pure:
    """min((k + 1) / over, 1): a straight line to 1 at step over - 1. Multiply it with another schedule."""
    check_length("over", over)
    return lambda k, n: min((k + 1) / length(over, n), 1.0)


@_schedule
def inverse_sqrt(over: Length = 0.05) -> Pure:
    """min((k + 1) / over, sqrt(over / (k + 1))). Vaswani et al. 2017, arXiv:1706.03762, relative to the peak."""
    check_length("over", over)
    return lambda k, n: min((k + 1) / length(over, n), math.sqrt(length(over, n) / (k + 1)))


@_schedule
def warmup_stable_decay(over: Length = 0.05, decay: Length = 0.2, shape: str = "linear", end: float = 0.0) -> Pure:
    """A straight line to 1 over `over` steps, 1, and down to `end` over the last `decay` steps.

    Hu et al. 2024, arXiv:2404.06395 (MiniCPM); Hagele et al. 2024, arXiv:2405.18392, where `shape` "sqrt" is 1 - sqrt(share),
    beside "linear" and "cosine". 0 <= end <= 1.
    """
    check_length("over", over)
    check_length("decay", decay)
    shapes: dict[str, Callable[[float], float]] = {
        "linear": lambda s: 1 - s,
        "sqrt": lambda s: 1 - math.sqrt(s),
        "cosine": lambda s: (1 + math.cos(math.pi * s)) / 2,
    }
    expect(shape in shapes, "shape", shape, "'linear', 'sqrt' or 'cosine'")
    _share("end", end)

    def value(k: int, n: int) -> float:
        last = length(decay, n)
        share = min(max((k - (n - last)) / last, 0.0), 1.0)
        return min((k + 1) / length(over, n), 1.0) * (end + (1 - end) * shapes[shape](share))

    return value


@_schedule
def exponential_steps(beta: float = 1.0) -> Pure:
    """(beta / n) ** (k / n) over a run of n steps. Li, Zhuang & Orabona 2020, arXiv:2002.05273. beta >= 1."""
    _at_least("beta", beta, 1)
    return lambda k, n: float((min(beta, n) / n) ** (k / n))


def plateau(
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    relative: bool = True,
    cooldown: int = 0,
    least: float = 0.0,
) -> Schedule:
    """factor ** (times that the metric stopped improving): a pure function of the metric at each evaluation so far.

    A drop comes after more than `patience` evaluations without one better than the best by `threshold` (a share of it, or
    absolute); `cooldown` evaluations after a drop do not count. torch's ReduceLROnPlateau. 0 <= factor < 1, least the
    smallest multiplier.
    """
    expect(isinstance(factor, int | float) and 0 <= factor < 1, "factor", factor, "a number from 0 to below 1")
    for name, count in (("patience", patience), ("cooldown", cooldown)):
        expect(isinstance(count, int) and count >= 0, name, count, "a whole number, 0 or more")
    _at_least("threshold", threshold, 0)
    _share("least", least)

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

    arguments = {"factor": (factor, 0.1), "patience": (patience, 10), "threshold": (threshold, 1e-4)}
    more = {"relative": (relative, True), "cooldown": (cooldown, 0), "least": (least, 0.0)}
    changed = ", ".join(f"{k}={v!r}" for k, (v, default) in {**arguments, **more}.items() if v != default)
    return Schedule(f"plateau({changed})" if changed else "plateau", value, reads=True)


FORMULAS["plateau"] = plateau


def function(f: Callable[[int], float]) -> Schedule:
    """f(step), whatever it is. torch's LambdaLR. Its name holds a hash of the function's code."""
    return Schedule(_named("function", f), lambda k, n, h: float(f(k)))


def multiplicative(f: Callable[[int], float]) -> Schedule:
    """f(1) * f(2) * ... * f(step). torch's MultiplicativeLR."""
    return Schedule(_named("multiplicative", f), lambda k, n, h: math.prod(float(f(i)) for i in range(1, k + 1)))


def _named(name: str, f: Callable[[int], float]) -> str:
    code = getattr(f, "__code__", None)
    cells = [cell.cell_contents for cell in getattr(f, "__closure__", None) or ()]
    what = (code.co_code, code.co_consts, code.co_names, cells) if code else repr(f)
    return f"{name}({hashlib.sha256(repr(what).encode()).hexdigest()[:8]})"
