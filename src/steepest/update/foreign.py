"""Anybody's optimizer: make it, drive it step by step, and try whether it can be raced."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, ParamsT

from ..errors import SteepestError, described, listed, message_of, text_of
from ..problems.seeds import seeded
from ..rules import Rule
from ..rules.foreign import MARK as MARK
from ..rules.foreign import RATE, Foreign, Maker, Parts
from ..rules.foreign import part_of as part_of
from .lookup import find as find
from .lookup import imported, joined, optimizers_of, place_of
from .torch_class.optimizer import RuleOptimizer, build
from .torch_class.signature import class_arguments, settings_of

LOSSES = ("loss", "losses", "loss_value")  # names of an argument that is the loss
FLAGS = ("foreach", "fused", "capturable", "differentiable")  # torch's settings without effect on the numbers


def same(a: Maker, b: Maker) -> bool:
    """Whether one of the two is torch's class of the other, a rule, with equal settings except for the rate."""
    if isinstance(a, Rule) and isinstance(b, Foreign):
        a, b = b, a
    if not (isinstance(a, Foreign) and isinstance(b, Rule)) or a.twin is not (b.base or b):
        return False
    others = {*a.given} - {*class_arguments(b.hyper), "maximize", *FLAGS}
    ours = {k: v for k, v in b.settings().items() if k != RATE}
    theirs = {k: v for k, v in settings_of(a.twin, dict(a.hyper)).items() if k != RATE}
    return not others and ours == theirs and not a.hyper.get("maximize")


# From a maker to an optimizer


def made(
    maker: Maker, params: ParamsT | nn.Module, *, lr: float, seed: int = 0, exact: bool = False, **hyper: Any
) -> Optimizer:
    """Make the optimizer of a rule, or of anybody's class or function, for parameters, groups of them, or a model.

    `seed` is the key of a rule's noise, `exact` is as for its class; `hyper` are further settings. SteepestError if the
    optimizer needs the model and was given parameters, if it raises, and for a candidate of several parts.
    """
    if isinstance(maker, Parts):
        raise SteepestError(f"The candidate {maker.name} has several parts; make the optimizer of each part.")
    if isinstance(maker, Rule):
        own = params.parameters() if isinstance(params, nn.Module) else params
        return build(maker, own, lr=lr, seed=seed, exact=exact, **hyper)
    if maker.wants_model and not isinstance(params, nn.Module):
        raise SteepestError(f"{maker.name} needs the model, not its parameters: run.optimizer(model).")
    return _make(maker, params, lr, maker.changed(**hyper) if hyper else maker)


def _make(maker: Foreign, params: ParamsT | nn.Module, lr: float, at: Foreign) -> Optimizer:
    missing = [name for name in maker.required if name not in at.given]
    if missing:
        hint = f"give it in brackets, such as {maker.name}({missing[0]}=...), or in a function (params, lr)"
        raise SteepestError(f"{maker.name} needs {listed(missing)}, which has no default; {hint}.")
    taken = params.parameters() if isinstance(params, nn.Module) and not maker.wants_model else params
    settings = {name: value for name, value in at.given.items() if name != RATE}
    with _theirs(maker.name):
        optimizer = maker.make(taken, **{maker.takes_lr: lr}, **settings)
    if not isinstance(optimizer, Optimizer):
        raise SteepestError(f"{maker.name} returned {described(optimizer)}; expected a torch.optim.Optimizer.")
    return optimizer


@contextlib.contextmanager
def _theirs(name: str) -> Iterator[None]:
    """A context in which exceptions of an optimizer become SteepestError."""
    try:
        yield
    except SteepestError:
        raise
    except Exception as error:
        raise SteepestError(f"{name} raised {message_of(error).removesuffix(': ')}") from error


# Stepping


class Driven:
    """Anybody's optimizer with the calls of a `RuleOptimizer`: a step takes a closure that computes the loss and gradients.

    `optimizer` is the optimizer itself, `rule` what made it.
    """

    def __init__(self, optimizer: Optimizer, rule: Foreign) -> None:
        self.optimizer, self.rule = optimizer, rule
        self._calls = rule.steps_with or steps_with(optimizer, rule.name)
        self._has_modes = all(callable(getattr(optimizer, name, None)) for name in ("eval", "train"))
        self.train()

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""
        return self.optimizer.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, or to zero."""
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """One step. `closure` clears the gradients, computes the loss and calls backward(); its first loss is returned."""
        losses: list[Tensor] = []

        def evaluate() -> Tensor:
            with torch.enable_grad():
                losses.append(closure())
            return losses[-1]

        if self._calls != "closure":
            evaluate()
        with _theirs(self.rule.name):
            if self._calls == "nothing":
                self.optimizer.step()
            elif self._calls == "loss":
                self.optimizer.step(losses[0])  # type: ignore[call-overload]
            else:
                self.optimizer.step(evaluate)  # type: ignore[arg-type]
        if not losses:
            raise SteepestError(f"{self.rule.name} never called the closure of its step, so that it has no loss.")
        return losses[0]

    def view(self) -> None:
        """Swap in the weights to evaluate, for an optimizer with eval() and train() methods."""
        if self._has_modes:
            with _theirs(self.rule.name):
                self.optimizer.eval()  # type: ignore[attr-defined]

    def train(self) -> None:
        """Swap the trained weights back in."""
        if self._has_modes:
            with _theirs(self.rule.name):
                self.optimizer.train()  # type: ignore[attr-defined]

    def state_bytes(self) -> int:
        """Bytes of state so far, without counters."""
        return sum(_bytes(state) for state in self.optimizer.state.values())

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's checkpoint."""
        with _theirs(self.rule.name):
            return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of the optimizer."""
        with _theirs(self.rule.name):
            self.optimizer.load_state_dict(state_dict)


def driven(
    maker: Maker, params: ParamsT | nn.Module, *, lr: float, seed: int = 0, exact: bool = False, **hyper: Any
) -> RuleOptimizer | Driven:
    """`made`, to be stepped with closures: a rule's optimizer itself, another one as `Driven`."""
    optimizer = made(maker, params, lr=lr, seed=seed, exact=exact, **hyper)
    if isinstance(optimizer, RuleOptimizer):
        return optimizer
    assert isinstance(maker, Foreign)
    return Driven(optimizer, maker)


def steps_with(optimizer: Optimizer, name: str) -> str:
    """What an optimizer's step is called with, by its signature. SteepestError for a step that cannot be called."""
    parameters = [*inspect.signature(optimizer.step).parameters.values()]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if all(callable(getattr(optimizer, half, None)) for half in ("first_step", "second_step")):
        if not positional or "closure" not in positional[0].name:
            hint = "a run steps by step() or step(closure)"
            raise SteepestError(f"{name} needs first_step and second_step, and its step takes no closure; {hint}.")
        return "gradients and closure"
    if not needed:
        return "nothing"
    if len(needed) == 1 and needed[0] == positional[0].name:
        if "closure" in needed[0]:
            return "closure"
        if needed[0] in LOSSES:
            return "loss"
    raise SteepestError(f"{name} needs {listed(needed)} in its step; expected step(), step(closure) or step(loss).")


def _bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, Mapping):
        return sum(_bytes(value) for key, value in state.items() if key != "step")
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0


# Trying


class _Tiny(nn.Module):
    """A matrix, and a bias and a vector of scales unless `matrices_only`."""

    def __init__(self, matrices_only: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4, bias=not matrices_only)
        self.scale = None if matrices_only else nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (batch, 4)."""
        outputs: Tensor = self.linear(x)
        return outputs if self.scale is None else outputs * self.scale


def tried(foreign: Foreign) -> Foreign:
    """The optimizer with its number of gradients in a step, counted in two steps of a tiny model.

    If its step fails without a closure, it is tried with one; if it fails with vectors, with a matrix alone, and is marked
    `matrices_only`. SteepestError with its name and the reason if it cannot be made or take a step.
    """
    closes = dataclasses.replace(foreign, steps_with="closure")
    with seeded(0), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            return _stepped(foreign)
        except SteepestError as error:
            first = error
        for other, matrices_only in ((closes, False), (foreign, True), (closes, True)):
            if other is foreign or _may_close(foreign, matrices_only):
                with contextlib.suppress(SteepestError):
                    return dataclasses.replace(_stepped(other, matrices_only), matrices_only=matrices_only)
    raise first


def _may_close(foreign: Foreign, matrices_only: bool) -> bool:
    """Whether a step that is called with nothing could be called with a closure."""
    with contextlib.suppress(SteepestError):
        optimizer = made(foreign, _Tiny(matrices_only), lr=foreign.rate)
        takes = inspect.signature(optimizer.step).parameters
        return "closure" in takes and steps_with(optimizer, foreign.name) == "nothing" and not foreign.steps_with
    return False


def _stepped(foreign: Foreign, matrices_only: bool = False) -> Foreign:
    """Take two steps, and count the gradients of each."""
    model = _Tiny(matrices_only)
    inputs, targets = torch.randn(8, 3), torch.randn(8, 4)
    optimizer = driven(foreign, model, lr=foreign.rate)
    if any(RATE not in group for group in optimizer.param_groups):
        raise SteepestError(f"{foreign.name} has no lr in its parameter groups, by which schedules change the rate.")
    count = 0

    def closure() -> Tensor:
        nonlocal count
        count += 1
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    evaluations = 1
    for _ in range(2):
        count = 0
        optimizer.step(closure)
        evaluations = max(evaluations, count)
    return dataclasses.replace(foreign, evaluations=evaluations)


def every(name: str) -> tuple[list[Foreign], dict[str, str]]:
    """All optimizer classes of a module that can be raced, each tried; and the others by name, with the reason.

    SteepestError if there is no such module, or no optimizer in it.
    """
    module = imported(name)
    classes = optimizers_of(module)
    if not classes:
        raise SteepestError(f"The module {name} has no optimizer classes; name a package such as pytorch_optimizer.")
    fit: list[Foreign] = []
    unfit: dict[str, str] = {}
    for inside, cls in classes.items():
        text = joined(name, inside)
        if name.partition(".")[0] != cls.__module__.partition(".")[0]:
            unfit[text] = f"it is {joined(*place_of(cls))}"
            continue
        try:
            found = find(cls, text)
            if isinstance(found, Foreign):
                found = tried(found)
                if found.matrices_only:
                    unfit[text] = "updates matrices only"
                else:
                    fit.append(found)
        except SteepestError as error:
            unfit[text] = text_of(error).removeprefix(f"{text} ").partition(";")[0].removesuffix(".")
    return fit, unfit
