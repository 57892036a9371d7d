"""The domains of hyperparameters, and their values as plain numbers."""

from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple, TypeGuard


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number of Python, NumPy or another library, and not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


class Domain(NamedTuple):
    """The values that a hyperparameter may have: in words, and as closed bounds without the numbers in `without`."""

    words: str
    low: float = -math.inf
    high: float = math.inf
    without: tuple[float, ...] = ()

    def __contains__(self, x: object) -> bool:
        return _is_number(x) and math.isfinite(x) and self.low <= x <= self.high and x not in self.without


FINITE = Domain("a finite number")
NONNEGATIVE = Domain("a finite number, 0 or more", 0)
POSITIVE = Domain("a finite number above 0", 0, without=(0,))
UNIT = Domain("a number in [0, 1)", 0, 1, without=(1,))
SHARE = Domain("a number in [0, 1]", 0, 1)
# The default domain of each hyperparameter name; a rule may override it (`Rule.domains`).
DOMAINS: dict[str, Domain] = {
    **dict.fromkeys(("lr", "eps", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value", "alpha"), NONNEGATIVE),
    **dict.fromkeys(("beta1", "beta2", "beta3", "beta0", "beta_v"), UNIT),
    **dict.fromkeys(("lambd", "t0", "momentum_decay", "warmup_steps", "step_min", "step_max"), NONNEGATIVE),
    **dict.fromkeys(("eps1", "eps2", "trust", "restart", "at", "slow_steps", "noise", "sign_noise"), NONNEGATIVE),
    **dict.fromkeys(("rho", "radius"), NONNEGATIVE),
    **dict.fromkeys(("max_norm", "max_value", "then_ratio"), POSITIVE),
    **dict.fromkeys(("dampening", "r", "weight_lr_power", "low", "high", "ns_a", "ns_b", "ns_c"), FINITE),
    "d": Domain("a finite number, 1 or more", 1),
    "slow_rate": SHARE,
    "partial": Domain("a number in (0, 0.5]", 0, 0.5, without=(0,)),
    "ns_steps": Domain("a whole number from 1 to 99", 1, 99),
    "beta2_decay": Domain("a number of 0 or less", high=0),
    "etaminus": Domain("a number in (0, 1)", 0, 1, without=(0, 1)),
    "etaplus": Domain("a number above 1", 1, without=(1,)),
}


def plain(value: Any) -> Any:
    """Convert a real number, or those in a tuple or list, to int or float, as checkpoints and schedulers need.

    A zero-dimensional NumPy array becomes a number; a number too large for a float becomes infinite.
    """
    if isinstance(value, tuple | list):
        return tuple(map(plain, value)) if isinstance(value, tuple) else [*map(plain, value)]
    if hasattr(value, "__array_interface__") and value.shape == ():  # tensors do not have it, and stay tensors
        value = value.item()
    if not _is_number(value):
        return value
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return int(value) if isinstance(value, numbers.Integral) else number
