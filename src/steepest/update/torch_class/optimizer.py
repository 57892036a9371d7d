"""From a rule to a `torch.optim.Optimizer`: torch's signature, defaults, groups and state_dict where torch has a twin."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import optimizer
from torch.optim.optimizer import ParamsT, StateDict

from ...errors import SteepestError
from ...rules import Rule
from ...rules.definition import Hyper, Setting
from ...rules.domains import plain
from . import differentiable, refusals, untraced
from .checkpoints import check_class, check_names, warn_of_kin
from .dtensor import here
from .layout import Layout
from .signature import class_arguments, docstring, settings_of, signature_of, spread
from .stores import Closure, Group, Loss, Store, prepare, restore_dtypes
from .two_calls import Began, begin, go_back, scaled_by
from .untraced import outside_graphs

_PRE_HOOKS, _POST_HOOKS = optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks
_profiled = torch.autograd._profiler_enabled  # type: ignore[attr-defined]
TRAINED = "trained"  # the key of the trained values in a parameter's state, while the parameter has those of the rule's view


class RuleOptimizer(torch.optim.Optimizer):
    """An optimizer whose update is a `Rule`; `optimizer_class` makes its subclasses.

    `state_dtype` is the dtype of the state; None for the parameter's own. `exact` computes by torch's operations, in the order
    of the loops of `torch.optim` (`foreach=False`): bit for bit the same weights for SGD, momentum and Adam.
    """

    rule: ClassVar[Rule]

    def __init__(self, params: ParamsT, defaults: Hyper) -> None:
        if defaults.get("capturable"):
            what = "capture of the step in a CUDA graph, which is not offered; leave it out."
            raise SteepestError(f"{type(self).__name__}(capturable=True) needs {what}")
        defaults = {k: plain(v) for k, v in defaults.items()}
        self._checked(defaults)  # before the parameters, as torch does
        self._forget()
        super().__init__(params, defaults)

    def _forget(self) -> None:
        """Drop everything cached about the groups and the state."""
        self._arguments = [*class_arguments(self.rule.hyper), "maximize", "state_dtype", "exact"]
        self._at_view = any(TRAINED in store for _, store in self._stores())
        self._layout: Layout | None = None
        self._halfway: Began | None = None  # between `first_step` and `second_step`
        self._seen: dict[int, tuple[list[Any], dict[str, Any]]] = {}

    def _stores(self) -> list[tuple[Tensor, Store]]:
        """Each parameter that has state, and its state; users may add other entries."""
        state = getattr(self, "state", {})
        return [(p, store) for p, store in state.items() if isinstance(p, Tensor) and isinstance(store, dict)]

    @outside_graphs
    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters; its hyperparameters are checked against their domains."""
        if isinstance(param_group, dict):  # torch refuses others
            param_group.update({k: plain(v) for k, v in param_group.items() if k not in ("params", "param_names")})
        self._checked({**self.defaults, **param_group})
        untraced.add_param_group(self, param_group)
        try:
            refusals.check_group(type(self).__name__, self.param_groups[-1])
        except SteepestError:
            self.param_groups.pop()
            raise

    @outside_graphs
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, or to zero."""
        untraced.zero_grad(self, set_to_none)

    @outside_graphs
    def state_dict(self) -> StateDict:
        """State and settings in torch's form, as for a checkpoint."""
        state: StateDict = untraced.state_dict(self)
        return state

    @outside_graphs
    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a checkpoint of this class or of its twin; SteepestError for one of another class or of another model.

        State has the precision of `state_dtype`, and numbers their own. Between `first_step` and `second_step` the parameters
        are first restored, except those that were written to since, as by a model's checkpoint.
        """
        if self._halfway is not None:
            self._halfway.forget_written()
            self._return(gradients=True)
        loaded: StateDict = {}

        def look(_: object, checkpoint: StateDict) -> None:
            check_class(self.rule, checkpoint)
            check_names(self.param_groups, checkpoint["param_groups"])
            for group in checkpoint["param_groups"]:  # where a scheduler has the rate, it was chosen at its start
                self._checked({**group, "lr": group.get("initial_lr", group.get("lr"))})
            warn_of_kin(self.rule, self.param_groups, checkpoint["param_groups"])
            loaded.update(checkpoint)

        def restore(_: object) -> None:
            for ours, theirs in zip(self.param_groups, loaded["param_groups"], strict=True):
                for k, p in zip(theirs["params"], ours["params"], strict=True):
                    restore_dtypes(self.rule, ours, p, self.state[p], loaded["state"].get(k, {}))

        before = untraced.before_loading(self, look)  # the last hook, which sees the checkpoint after the user's hooks
        after = untraced.after_loading(self, restore, prepend=True)
        try:
            untraced.load_state_dict(self, state_dict)
        finally:
            before.remove()
            after.remove()

    def __getstate__(self) -> StateDict:
        if self._halfway is not None:
            raise SteepestError(
                f"{type(self).__name__} is between first_step() and second_step(), and cannot be copied or pickled there; call "
                "second_step() or cancel_first_step() before."
            )
        return super().__getstate__()

    def __setstate__(self, state: StateDict) -> None:
        super().__setstate__(state)
        self._forget()
        arguments = inspect.signature(optimizer_class(self.rule)).parameters
        for group in self.param_groups:  # a checkpoint of the torch twin has none of our extra choices and maybe no step
            for name, value in self.defaults.items():
                if name in arguments or name in self._arguments:
                    group.setdefault(name, value)
            group.update({k: self.rule.hyper[k] for k in self.rule.fixed})
            for p in group["params"]:
                if self.state.get(p):
                    self.state[p]["step"] = torch.as_tensor(self.state[p].get("step", 1.0))

    def step(self, closure: Closure | None = None) -> Loss:
        """One update of every parameter that has a gradient. Returns what the closure returns.

        A rule with a second gradient needs the closure, which computes the loss and calls backward().
        """
        if torch.compiler.is_compiling():  # as `outside_graphs`, which would cost a small step 2 % by its call
            return torch.compiler.disable(RuleOptimizer.step)(self, closure)  # type: ignore[no-untyped-call]
        if _PRE_HOOKS or _POST_HOOKS or self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks or _profiled():
            return _hooked(self) if closure is None else _hooked(self, closure)  # hooks may add one to the arguments
        return self._step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # torch need not wrap it: the wrapper costs as much as a small step

    def _step(self, closure: Closure | None = None) -> Loss:
        loss = None
        if self._at_view:
            self.train()
        if closure is not None:
            self._return(gradients=False)  # from a step that was skipped
            with torch.enable_grad():
                loss = closure()
        if self._halfway is not None:
            self.second_step()
            return loss
        if self.rule.oracle and closure is None:
            if not any(group["lr"] for group in self.param_groups):  # a step that moves nothing, by which torch makes the state
                self._laid()
                return loss
            name = type(self).__name__
            raise SteepestError(f"{name} needs gradients at two points; call step(closure), or first_step and second_step.")
        if self.defaults.get("differentiable"):
            self._differentiable_step()
            return loss
        self._laid().run(lambda params: self._ask(closure, params))
        return loss

    def _laid(self) -> Layout:
        """The layout of this step: the previous one, unless something was changed from outside."""
        hypers = [self._hyper(i, group) for i, group in enumerate(self.param_groups)]
        if self._layout is None or not self._layout.is_current(self.param_groups, hypers, self.state):
            self.train()  # state that was set from outside may be that of a view
            with torch.no_grad():
                for group, hyper in zip(self.param_groups, hypers, strict=True):
                    self._prepare(group, hyper)
                self._layout = Layout(self.rule, self.param_groups, hypers, self.state)
        return self._layout

    def _differentiable_step(self) -> None:
        """A step that autograd records, one parameter after the other."""
        self._layout = None
        for i, group in enumerate(self.param_groups):
            hyper = self._hyper(i, group)
            with torch.no_grad():
                self._prepare(group, hyper)
            settings = spread(self.rule, group)
            tensors = {name: settings[name] for name in hyper if isinstance(settings.get(name), Tensor)}
            with torch.enable_grad():
                for p in group["params"]:
                    if p.grad is not None:
                        differentiable.step(self.rule, p, group, self.state[p], hyper, tensors)

    @outside_graphs
    def first_step(self) -> None:
        """Move to the point of the second gradient: the first half of a step, for loops that cannot pass a closure.

        Call it after backward(), then backward() on the same batches again, then `second_step()` (or `GradScaler.step`, which
        restores the parameters where gradients overflow). The first gradients are set to None, so that the second ones are
        not added to them. Run the second pass of a model with BatchNorm inside `steepest.optim.still(model)`. Where
        `second_step` was skipped, the parameters are first restored. SteepestError for a rule with one gradient, and where
        there is none.
        """
        if not self.rule.oracle:
            raise SteepestError(f"{type(self).__name__} needs only one gradient; call step().")
        if self._halfway is not None and all(p.grad is None for p, _, _ in self._halfway.there):
            raise SteepestError("first_step() was called twice; call second_step() after the second backward().")
        self._return(gradients=False)
        if self._at_view:
            self.train()
        self._halfway = begin(self._laid(), self.param_groups)

    @outside_graphs
    def second_step(self) -> None:
        """Complete the step that `first_step` began, with the current gradients."""
        if self._halfway is None:
            raise SteepestError("second_step() comes after first_step() and a second backward().")
        began, self._halfway = self._halfway, None
        try:
            finite = scaled_by(began, self)
        finally:
            answer = go_back(began)
        if finite:
            self._laid().run(answer)

    @outside_graphs
    def cancel_first_step(self) -> None:
        """Undo `first_step`: restore the parameters and their gradients."""
        self._return(gradients=True)

    def _return(self, gradients: bool) -> None:
        """Undo a first step, if there was one, and optionally restore its gradients."""
        if self._halfway is not None:
            began, self._halfway = self._halfway, None
            go_back(began, gradients)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Makes a GradScaler call a step that it would skip, so that the parameters are restored."""
        return self._halfway is not None

    @property
    def engine(self) -> str:
        """The engine of the last step: "kernel", or "plain" for a dtype, device or layout that the kernels do not take."""
        return " and ".join(sorted({part.engine.name for part in self._layout.parts})) if self._layout else "none yet"

    def _prepare(self, group: Group, hyper: Hyper) -> None:
        """Check parameters and gradients, and create the state of new parameters."""
        name = type(self).__name__
        for p in group["params"]:
            if p.grad is not None:
                graph = self.rule.graph(hyper, group["maximize"], tuple(p.shape))
                refusals.check_tensors(name, self.rule, graph, group, p)
                prepare(self.rule, graph, group, p, self.state[p], hyper)

    def _ask(self, closure: Closure | None, params: Sequence[Tensor]) -> list[Tensor]:
        """Evaluate the gradients at the current parameters by the closure; `p.grad` is restored."""
        assert closure is not None
        before = [p.grad for p in params]
        for p in params:
            p.grad = None
        try:
            with torch.enable_grad():
                closure()
            gradients = [p.grad for p in params]
        finally:
            for p, g in zip(params, before, strict=True):
                p.grad = g
        return [torch.zeros_like(p) if g is None else g for p, g in zip(params, gradients, strict=True)]

    @outside_graphs
    def view(self) -> None:
        """Swap the rule's view into the parameters, to evaluate or save it: Schedule-Free's x, ASGD's average.

        The trained values are in the state, and so in a checkpoint, until `train` or `step` swaps them back.
        """
        key = self.rule.key(self.rule.view or "")
        for p, store in self._stores():
            if store.get(key) is not None and TRAINED not in store:
                store[TRAINED] = p.detach().clone()
                p.data.copy_(store[key])
                self._at_view = True

    def eval(self) -> None:
        """`view`, called by trainers before they evaluate; does nothing for a class with a twin, as torch's does not."""
        if not self.rule.twin:
            self.view()

    @outside_graphs
    def train(self) -> None:
        """Swap the trained values back into the parameters; `step` does it too."""
        for p, store in self._stores():
            if TRAINED in store:
                p.data.copy_(store.pop(TRAINED))
        self._at_view = False

    def _hyper(self, i: int, group: Group) -> Hyper:
        """The hyperparameters of group i; the same object while none changes."""
        values = [group[name] for name in self._arguments]
        seen = self._seen.get(i)
        if seen is None or seen[0] != values:
            seen = [[*value] if isinstance(value, list) else value for value in values], settings_of(self.rule, group)
            flat = [x for v in values for x in (v if isinstance(v, tuple | list) else (v,))]
            if not any(isinstance(x, Tensor | np.ndarray) for x in flat):  # which may be written to
                self._seen[i] = seen
        return seen[1]

    def _checked(self, group: Group) -> Hyper:
        """The rule's hyperparameters of a group, checked against their domains: where they are chosen, not at each step."""
        return self.rule.settings(**settings_of(self.rule, group))

    def state_bytes(self) -> int:
        """Bytes of state of the parameters stepped so far, without counters."""
        values = [value for _, store in self._stores() for key, value in store.items() if key != "step" and value is not None]
        return sum(here(value).nbytes for value in values)


_hooked = torch.optim.Optimizer.profile_hook_step(RuleOptimizer._step)


@functools.cache
def optimizer_class(rule: Rule) -> type[RuleOptimizer]:
    """The `torch.optim.Optimizer` class of a rule; a preset shares the class of the rule it was made from."""
    if rule.base:
        return optimizer_class(rule.base)
    signature = signature_of(rule)

    def init(self: RuleOptimizer, *args: object, **kwargs: object) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = {k: v for k, v in bound.arguments.items() if k != "self"}
        RuleOptimizer.__init__(self, arguments.pop("params"), arguments | {k: rule.hyper[k] for k in rule.fixed})

    init.__signature__ = signature  # type: ignore[attr-defined]
    names = {"rule": rule, "__init__": init, "__doc__": docstring(rule), "__module__": "steepest.optim"}
    return type(rule.class_name, (RuleOptimizer,), names)


def build(
    rule: Rule,
    params: ParamsT,
    *,
    seed: int = 0,
    state_dtype: torch.dtype | None = None,
    exact: bool = False,
    **hyper: Setting,
) -> RuleOptimizer:
    """The optimizer for a rule or preset at these hyperparameters (by the rule's own names), rest at its defaults.

    `seed` is the key of the rule's noise, if it has any.
    """
    arguments = class_arguments({k: v for k, v in rule.settings(**hyper).items() if k not in rule.fixed})
    if rule.noisy:
        arguments["seed"] = seed
    if rule.matrices_only:
        arguments["matrices_only"] = False
    arguments |= {"state_dtype": state_dtype, "exact": exact}
    return optimizer_class(rule)(params, **arguments)
