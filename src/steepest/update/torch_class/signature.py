"""The arguments of a rule's class: torch's signature and names where torch has a twin."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import SteepestError
from ...rules import RULES, Rule
from ...rules.definition import Hyper
from ...rules.domains import plain
from .stores import Group

# Arguments of torch's classes that are several hyperparameters of a rule.
TUPLES = {
    "betas": ("beta0", "beta1", "beta2", "beta3"),
    "etas": ("etaminus", "etaplus"),
    "eps": ("eps1", "eps2"),
    "ns_coefficients": ("ns_a", "ns_b", "ns_c"),
    "step_sizes": ("step_min", "step_max"),
}


def by_class_name() -> dict[str, Rule]:
    """The rule behind each public class."""
    return {rule.class_name: rule for rule in RULES.values() if not rule.base and rule.is_ours}


def class_arguments(hyper: Mapping[str, Any]) -> Hyper:
    """Hyperparameters of a rule as arguments of its class: beta1, beta2 become betas, and so on."""
    arguments: Hyper = {}
    for name, value in hyper.items():
        joint = next((k for k, parts in TUPLES.items() if name in parts), None)
        if joint:
            arguments[joint] = (*arguments.get(joint, ()), value)
        else:
            arguments[name] = value
    return arguments


def spread(rule: Rule, group: Group) -> Group:
    """A parameter group with its tuples spread: betas as beta1 and beta2."""
    settings = dict(group)
    for name, parts in TUPLES.items():
        own = [part for part in parts if part in rule.hyper]
        settings.update(zip(own, group[name], strict=False) if own and name in group else ())
    return settings


def settings_of(rule: Rule, group: Group) -> Hyper:
    """The rule's hyperparameters of a parameter group, as Python numbers.

    They are not checked: a scheduler may take one past its bound by a rounding error, as torch's LinearLR ends at -4e-20.
    """
    settings = spread(rule, group)
    hyper = {name: settings.get(name, default) for name, default in rule.hyper.items()}
    for name, value in hyper.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            raise SteepestError(f"{rule.class_name}: {name} is a tensor of {value.numel()} numbers; expected one.")
        if isinstance(value, Tensor | np.generic):
            hyper[name] = value.item()
        elif value is None and isinstance(rule.hyper[name], str | float):
            hyper[name] = rule.hyper[name]  # in torch, None means the default
        else:
            hyper[name] = plain(value)
    return hyper


def signature_of(rule: Rule) -> inspect.Signature:
    """The twin's signature, or one in torch's style; arguments that torch lacks are keyword-only."""
    parameter, keyword = inspect.Parameter, inspect.Parameter.KEYWORD_ONLY
    ours = {k: v for k, v in class_arguments(dict(rule.hyper)).items() if k not in rule.fixed}
    if rule.twin:
        listed = list(inspect.signature(getattr(torch.optim, rule.twin).__init__).parameters.values())
    else:
        plainly = parameter.POSITIONAL_OR_KEYWORD
        listed = [parameter("self", plainly), parameter("params", plainly)]
        listed += [parameter(k, plainly, default=v) for k, v in ours.items()]
        listed += [parameter("maximize", keyword, default=False)]
    ours |= {"maximize": False, "state_dtype": None, "exact": False}
    ours |= {"seed": 0} if rule.noisy else {}
    ours |= {"matrices_only": True} if rule.matrices_only else {}
    own = [parameter(k, keyword, default=v) for k, v in ours.items() if k not in {p.name for p in listed}]
    return inspect.Signature([*listed, *own])


def docstring(rule: Rule) -> str:
    """The docstring of a rule's class: the rule's own, its source, and where it deviates from that."""
    own = f"{inspect.cleandoc(rule.doc)}\n\n" if rule.doc else ""
    twin = f"The same numbers as torch.optim.{rule.twin}. " if rule.twin else ""
    deviations = "\n".join(f"- {d}" for d in rule.deviations)
    return f"{own}{rule.reference}.\n\n{twin}Hyperparameters outside their domain raise SteepestError.\n{deviations}"
