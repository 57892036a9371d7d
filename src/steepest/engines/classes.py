"""From a rule to a `torch.optim.Optimizer`: torch's signature, defaults, groups and state_dict where torch has a twin."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import SteepestError
from ..rules import RULES, Rule
from . import plain

BETAS = ("beta1", "beta2", "beta3")
# Arguments of torch's classes that choose an implementation, not a number: `foreach` and `fused` are taken and left to
# the engine; the other two ask for what no engine here does.
IMPLEMENTATION = ("foreach", "fused")
NOT_OFFERED = {
    "capturable": "capture of the step in a CUDA graph",
    "differentiable": "a gradient through the step",
}


class RuleOptimizer(torch.optim.Optimizer):
    """An optimizer whose update is a `Rule`. Its subclasses are made by `optimizer_class`."""

    rule: ClassVar[Rule]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        for name, what in NOT_OFFERED.items():
            if defaults.get(name):
                raise SteepestError(f"{type(self).__name__}({name}=True) asks for {what}, which is not offered; leave it out.")
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; its hyperparameters are checked against their domains."""
        self._hyper({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # a checkpoint of the torch twin has none of our extra choices and maybe no step
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            for p in group["params"]:
                if self.state.get(p) and "step" not in self.state[p]:
                    self.state[p]["step"] = torch.tensor(1.0)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient. Returns what the closure returns, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            hyper = self._hyper(group)
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, -p.grad if group["maximize"] else p.grad, hyper)
        return loss

    def _update(self, p: Tensor, g: Tensor, hyper: dict[str, Any]) -> None:
        if g.is_sparse or g.is_complex():
            kind = "sparse" if g.is_sparse else "complex"
            raise SteepestError(f"{type(self).__name__} got a {kind} gradient; it takes dense real ones.")
        store, keys = self.state[p], self.rule.keys
        if not store:
            start = plain.initial_state(self.rule, p, hyper)
            store.update(step=torch.tensor(0.0), **{keys.get(k, k): v for k, v in start.items()})
        store["step"] += 1
        state = {letter: store[key] for letter in self.rule.state if (key := keys.get(letter, letter)) in store}
        new, state = plain.step(self.rule, p, g, int(store["step"]), state, hyper)
        p.copy_(new)
        store.update({keys.get(letter, letter): value for letter, value in state.items()})

    def _hyper(self, group: dict[str, Any]) -> dict[str, Any]:
        """The rule's hyperparameters out of a parameter group, checked."""
        given = {**group, **dict(zip(BETAS, group.get("betas", ()), strict=False))}
        hyper = {name: given[name] for name in self.rule.hyper}
        return self.rule.settings(**{k: v.item() if isinstance(v, Tensor) else v for k, v in hyper.items()})

    def state_bytes(self) -> int:
        """Bytes of state held for the parameters stepped so far, counters left out."""
        return sum(
            value.numel() * value.element_size()
            for store in self.state.values()
            for key, value in store.items()
            if key != "step"
        )


def by_class_name() -> dict[str, Rule]:
    """The rule behind each public class."""
    return {rule.class_name: rule for rule in RULES.values() if not rule.base}


@functools.cache
def optimizer_class(rule: Rule) -> type[RuleOptimizer]:
    """The `torch.optim.Optimizer` class of a rule; a preset shares the class of the rule it was made from."""
    if rule.base:
        return optimizer_class(rule.base)
    signature = _signature(rule)

    def init(self: RuleOptimizer, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        arguments.pop("self")
        params = arguments.pop("params")
        RuleOptimizer.__init__(self, params, arguments | {k: rule.hyper[k] for k in rule.fixed})

    init.__signature__ = signature  # type: ignore[attr-defined]
    names = {"rule": rule, "__init__": init, "__doc__": _docstring(rule), "__module__": "steepest.optim"}
    return type(rule.class_name, (RuleOptimizer,), names)


def class_arguments(hyper: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters of a rule as arguments of its class: beta1, beta2 become betas."""
    betas = tuple(hyper[b] for b in BETAS if b in hyper)
    rest = {k: v for k, v in hyper.items() if k not in BETAS}
    return rest | ({"betas": betas} if betas else {})


def build(rule: Rule, params: Iterable[Any], **hyper: Any) -> RuleOptimizer:
    """The optimizer for a rule or preset at these hyperparameters (by the rule's own names), rest at its defaults."""
    arguments = class_arguments({k: v for k, v in rule.settings(**hyper).items() if k not in rule.fixed})
    return optimizer_class(rule)(params, **arguments)


def _signature(rule: Rule) -> inspect.Signature:
    """The twin's own signature, or the rule's in torch's manner; choices that only we have are keyword-only."""
    parameter, keyword = inspect.Parameter, inspect.Parameter.KEYWORD_ONLY
    ours = {k: v for k, v in class_arguments(dict(rule.hyper)).items() if k not in rule.fixed}
    if rule.twin:
        listed = list(inspect.signature(getattr(torch.optim, rule.twin).__init__).parameters.values())
    else:
        plainly = parameter.POSITIONAL_OR_KEYWORD
        listed = [parameter("self", plainly), parameter("params", plainly)]
        listed += [parameter(k, plainly, default=v) for k, v in ours.items()]
        listed += [parameter("maximize", keyword, default=False)]
    own = [parameter(k, keyword, default=v) for k, v in ours.items() if k not in {p.name for p in listed}]
    return inspect.Signature([*listed, *own])


def _docstring(rule: Rule) -> str:
    twin = f"The same numbers as torch.optim.{rule.twin}. " if rule.twin else ""
    deviations = "\n".join(f"- {d}" for d in rule.deviations)
    return f"{rule.reference}.\n\n{twin}Hyperparameters outside their domain raise SteepestError.\n{deviations}"
