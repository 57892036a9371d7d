"""What must not give a figure that one optimizer made: other optimizers, usual slips, and the rule with one thing wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steepest import surfaces
from steepest.errors import SteepestError
from steepest.paths.loop import formula_of, trajectory
from steepest.rules import Rule, get

from .. import mutants

# Every optimizer that one of the documents has, with what it sets beside the rate, and the rates that they give it.
OPTIMIZERS: tuple[tuple[str, dict[str, Any], tuple[float, ...]], ...] = (
    ("sgd", {}, (0.1, 0.04, 0.01, 0.005, 0.001)),
    ("momentum", {}, (0.1,)),
    ("momentum", {"momentum": 0.5}, (0.005, 0.001, 0.0005)),
    ("nesterov", {}, (0.1,)),
    ("nesterov", {"momentum": 0.5}, (0.001,)),
    ("nesterov_lookahead", {"momentum": 0.9}, ()),
    ("adagrad", {}, (0.01,)),
    ("rmsprop", {}, (0.01, 0.001, 0.00025, 0.00001)),
    ("rmsprop", {"alpha": 0.9}, (0.001,)),
    ("adadelta", {}, (1.0,)),
    ("adadelta", {"rho": 0.01}, (1.0,)),
    ("adam", {}, (0.035, 0.001, 0.0005, 0.00025)),
    ("adam", {"beta2": 0.99}, (0.001, 0.0005)),
    ("adam", {"beta1": 0.99, "beta2": 0.9}, (0.001,)),
    ("adam", {"beta1": 0.01, "beta2": 0.01}, (0.001,)),
    ("adam", {"amsgrad": True}, (0.001,)),
    *(
        (name, {}, ())
        for name in ("adamax", "nadam", "radam", "adamw", "adabelief", "madgrad", "adan", "padam", "adai", "lamb")
    ),
    *((name, {}, ()) for name in ("schedule_free_sgd", "schedule_free_adamw")),
)
SHARES = ("momentum", "beta0", "beta1", "beta2", "beta3", "alpha", "rho")  # hyperparameters that keep a share of an average
RATES, MOVED = (0.9, 1.1), 0.02  # slips of a rate, as factors, and of a share


@dataclass(frozen=True)
class Setting:
    """A rule with its rate and hyperparameters, as a document has it."""

    rule: Rule
    lr: float
    hyper: Mapping[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        """All hyperparameters but the rate."""
        return {k: v for k, v in {**self.rule.hyper, **self.hyper}.items() if k != "lr"}


def of(own: Setting) -> Iterator[tuple[str, Setting]]:
    """Every setting that is not this one, and what it is; slips first, which are the nearest."""
    right = path(own)
    for what, setting in (*_slips(own), *_others(own)):
        wrong = path(setting)
        if wrong is None or right is None or not np.allclose(right, wrong, rtol=mutants.SAME, atol=0, equal_nan=True):
            yield what, setting
    for what, made in mutants.of(own.rule, own.hyper):
        yield what, replace(own, rule=made)


def path(setting: Setting) -> np.ndarray | None:
    """The points of 25 steps on Beale's function, by which two settings are told to be the same; None if it cannot run."""
    surface = surfaces.get("beale")
    try:
        with np.errstate(all="ignore"):
            return trajectory(setting.rule, formula_of(surface), surface.start, 25, lr=setting.lr, **setting.hyper)[0]
    except (SteepestError, RuntimeError, ZeroDivisionError):
        return None


def _slips(own: Setting) -> Iterator[tuple[str, Setting]]:
    """A rate or a share that is a little off, Nesterov for momentum and momentum as an average, L2 for decay."""
    for factor in RATES:
        yield f"rate x {factor:g}", replace(own, lr=factor * own.lr)
    values = own.values
    for name in SHARES:
        value = values.get(name)
        for moved in (value - MOVED, value + MOVED) if isinstance(value, float) and value > 0 else ():
            if 0 < moved < 1:
                yield f"{name} {moved:.3g}", replace(own, hyper={**own.hyper, name: moved})
    if values.get("momentum") and "nesterov" in values:
        yield "Nesterov for momentum", replace(own, hyper={**own.hyper, "nesterov": not values["nesterov"]})
    if values.get("momentum") and "dampening" in values and not values.get("nesterov"):
        yield "momentum as an average", replace(own, hyper={**own.hyper, "dampening": values["momentum"]})
    if values.get("weight_decay") and "decoupled_weight_decay" in values:
        yield "L2 for decay", replace(own, hyper={**own.hyper, "decoupled_weight_decay": not values["decoupled_weight_decay"]})


def _others(own: Setting) -> Iterator[tuple[str, Setting]]:
    """Every optimizer of the documents: at this rate, at those of the documents, and at the default of its class."""
    for name, hyper, rates in OPTIMIZERS:
        rule = get(name)
        more = "".join(f", {k} {v:g}" for k, v in hyper.items())
        for lr in dict.fromkeys((own.lr, *rates, rule.hyper["lr"])):
            yield f"{name} at {lr:g}{more}", Setting(rule, lr, hyper)
