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
from ..rules.trace import Graph
from . import plain
from .kernels import Kernel

# Arguments of torch's classes that hold several hyperparameters.
TUPLES = {
    "betas": ("beta0", "beta1", "beta2", "beta3"),
    "etas": ("etaminus", "etaplus"),
    "step_sizes": ("step_min", "step_max"),
}
# Arguments of torch's classes that choose an implementation, not a number: `foreach` and `fused` are taken and left to
# the engine; the other two ask for what no engine here does.
IMPLEMENTATION = ("foreach", "fused")
NOT_OFFERED = {
    "capturable": "capture of the step in a CUDA graph",
    "differentiable": "a gradient through the step",
}


_PLAIN, _KERNEL = plain.Plain(), Kernel()
# torch wraps these so that torch.compile does not trace them, and the wrapper's first call imports torch._dynamo: 0.7 s.
_add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
_zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


class RuleOptimizer(torch.optim.Optimizer):
    """An optimizer whose update is a `Rule`. Its subclasses are made by `optimizer_class`.

    `engine` says what ran the last step: "kernel", or "plain" where a dtype, device or layout is not the kernels'.
    """

    rule: ClassVar[Rule]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        for name, what in NOT_OFFERED.items():
            if defaults.get(name):
                raise SteepestError(f"{type(self).__name__}({name}=True) asks for {what}, which is not offered; leave it out.")
        self.engine = _PLAIN.name
        self._trained_at: dict[Tensor, Tensor] = {}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; its hyperparameters are checked against their domains."""
        self._hyper({**self.defaults, **param_group})
        _add_param_group(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: set them to None, or to zero."""
        _zero_grad(self, set_to_none)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("engine", _PLAIN.name)
        self.__dict__.setdefault("_trained_at", {})
        for group in self.param_groups:  # a checkpoint of the torch twin has none of our extra choices and maybe no step
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            for p in group["params"]:
                if self.state.get(p) and "step" not in self.state[p]:
                    self.state[p]["step"] = torch.tensor(1.0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient. Returns what the closure returns, if one is given.

        A rule that asks for gradients at other points needs the closure, which computes the loss and calls backward().
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        elif self.rule.oracle:
            raise SteepestError(f"{type(self).__name__} asks for gradients at two points; call step(closure).")
        self._restore()
        work = [self._items(group) for group in self.param_groups]
        for graph, items in self._batches(work):
            engine = _KERNEL if all(Kernel.takes(item) for item in items) else _PLAIN
            plain.advance(graph, items, engine, lambda items: self._ask(closure, items))
            self.engine = engine.name
        for group, items in zip(self.param_groups, work, strict=True):
            self._remember(group, items)
        return loss

    def _items(self, group: dict[str, Any]) -> list[plain.Item]:
        """What there is to update in a group; state is made for parameters that come for the first time."""
        hyper, items = self._hyper(group), []
        places = [(k, self._key(k), kind.per_group, kind.is_scalar) for k, kind in self.rule.live_state(hyper).items()]
        kept = 1 + sum(not per_group for _, _, per_group, _ in places)
        params = [p for p in group["params"] if p.grad is not None]
        for p in params:
            if p.grad.is_sparse or p.grad.is_complex():
                kind = "sparse" if p.grad.is_sparse else "complex"
                raise SteepestError(f"{type(self).__name__} got a {kind} gradient; it takes dense real ones.")
            if len(self.state[p]) < kept:  # a new parameter, or a hyperparameter that was zero and keeps state now
                self._begin(group, p, hyper)
        if params:
            torch._foreach_add_([self.state[p]["step"] for p in params], 1)
        sign = -1 if group["maximize"] else 1
        for p in params:
            store, state = self.state[p], {}
            for letter, key, per_group, is_scalar in places:
                value = group[key] if per_group else store[key]
                state[letter] = float(value) if is_scalar else value
            items.append(plain.Item(p, p.grad if sign > 0 else -p.grad, int(store["step"]), state, hyper, sign=sign))
        return items

    def _begin(self, group: dict[str, Any], p: Tensor, hyper: dict[str, Any]) -> None:
        """Make the state that a parameter does not have yet, where checkpoints have it: numbers as 0-dim tensors."""
        store, g = self.state[p], p.grad
        assert g is not None
        store.setdefault("step", torch.tensor(0.0))
        for letter, value in plain.initial_state(self.rule, p, -g if group["maximize"] else g, hyper).items():
            if self.rule.state[letter].per_group:
                group.setdefault(self._key(letter), value)
            elif isinstance(value, Tensor):
                store.setdefault(self._key(letter), value)
            else:
                store.setdefault(self._key(letter), torch.tensor(value, dtype=torch.get_default_dtype()))

    def _key(self, letter: str) -> str:
        return self.rule.keys.get(letter, letter)

    def _remember(self, group: dict[str, Any], items: list[plain.Item]) -> None:
        """Keep the state that is numbers; tensors were written in place."""
        for letter, kind in self.rule.state.items():
            if kind.is_scalar:
                for item in items:
                    if kind.per_group:
                        group[self._key(letter)] = item.state[letter]
                    else:
                        self.state[item.p][self._key(letter)].fill_(item.state[letter])

    def _batches(self, work: list[list[plain.Item]]) -> list[tuple[Graph, list[plain.Item]]]:
        """The items of each graph; a rule that looks over the model has one graph for all of them."""
        items = [item for of_group in work for item in of_group]
        if items and self.rule.reach == "model":
            merged = {k: next((i.hyper[k] for i in items if i.hyper[k]), v) for k, v in items[0].hyper.items()}
            return [(self.rule.graph(merged), items)]
        batches: dict[Graph, list[plain.Item]] = {}
        for of_group in filter(None, work):
            batches.setdefault(self.rule.graph(of_group[0].hyper), []).extend(of_group)
        return list(batches.items())

    def _ask(self, closure: Callable[[], Any] | None, items: list[plain.Item]) -> list[Tensor]:
        """The gradients where the parameters now stand; the gradients there were stay in `p.grad`."""
        assert closure is not None
        before = [item.p.grad for item in items]
        for item in items:
            item.p.grad = None
        with torch.enable_grad():
            closure()
        found = [item.p.grad for item in items]
        for item, g in zip(items, before, strict=True):
            item.p.grad = g
        return [torch.zeros_like(item.p) if g is None else g * item.sign for item, g in zip(items, found, strict=True)]

    def eval(self) -> None:
        """Put the rule's view in place of the parameters, to evaluate or save: Schedule-Free's x, ASGD's average."""
        if self.rule.view and not self._trained_at:
            for p, store in self.state.items():
                self._trained_at[p] = p.detach().clone()
                p.data.copy_(store[self._key(self.rule.view)])

    def train(self) -> None:
        """Put the parameters that are trained back in place; `step` does it too."""
        self._restore()

    def _restore(self) -> None:
        for p, value in self._trained_at.items():
            p.data.copy_(value)
        self._trained_at.clear()

    def _hyper(self, group: dict[str, Any]) -> dict[str, Any]:
        """The rule's hyperparameters out of a parameter group, checked."""
        given = dict(group)
        for name, parts in TUPLES.items():
            given.update(zip([part for part in parts if part in self.rule.hyper], group.get(name, ()), strict=False))
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
    return {rule.class_name: rule for rule in RULES.values() if not rule.base and rule.is_ours}


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
    """Hyperparameters of a rule as arguments of its class: beta1, beta2 become betas, and so on."""
    arguments: dict[str, Any] = {}
    for name, value in hyper.items():
        joint = next((k for k, parts in TUPLES.items() if name in parts), None)
        if joint:
            arguments[joint] = (*arguments.get(joint, ()), value)
        else:
            arguments[name] = value
    return arguments


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
