"""From a rule to a `torch.optim.Optimizer`: torch's signature, defaults, groups and state_dict where torch has a twin."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import optimizer
from torch.optim.optimizer import ParamsT, StateDict

from ...errors import SteepestError
from ...rules import Rule
from ...rules.definition import Hyper, Setting, plain
from ..state import initial_state, kept_dtype
from . import differentiable
from .checkpoints import check_class, check_names, warn_of_kin
from .dtensor import here, laid_as
from .layout import Layout
from .signature import by_class_name, class_arguments, docstring, signature_of, spread
from .stores import Closure, Group, Loss, Store, counter
from .two_calls import Began, begin, go_back, scaled_by

TAKES_SPARSE = ("SGD", "Adagrad")  # gradients, as torch's


_PRE_HOOKS, _POST_HOOKS = optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks
_profiled = torch.autograd._profiler_enabled  # type: ignore[attr-defined]
# torch wraps these so that torch.compile does not trace them, and the wrapper's first call imports torch._dynamo: 0.7 s.
_add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
_zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
_load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
_before_loading = inspect.unwrap(torch.optim.Optimizer.register_load_state_dict_pre_hook)
_after_loading = inspect.unwrap(torch.optim.Optimizer.register_load_state_dict_post_hook)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def outside_graphs(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Run a method as it is where `torch.compile` traces its caller: the graph ends before it and begins anew after it.

    `torch.compiler.disable` does so, but imports torch._dynamo when it is called, so it is called while one traces.
    """

    @functools.wraps(method)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if torch.compiler.is_compiling():
            apart: Callable[_Arguments, _Result] = torch.compiler.disable(method)  # type: ignore[no-untyped-call]
            return apart(*args, **kwargs)
        return method(*args, **kwargs)

    # a code of its own: torch recompiles one code 8 times at most
    call.__code__ = call.__code__.replace(co_name=method.__name__)  # type: ignore[attr-defined]
    return call


TRAINED = "trained"  # where a parameter's state keeps what is trained, while the rule's view stands in its place


class RuleOptimizer(torch.optim.Optimizer):
    """An optimizer whose update is a `Rule`. Its subclasses are made by `optimizer_class`.

    `state_dtype` is the dtype of the state; None for the parameter's own.
    """

    rule: ClassVar[Rule]

    def __init__(self, params: ParamsT, defaults: Hyper) -> None:
        if defaults.get("capturable"):
            what = "capture of the step in a CUDA graph, which is not offered; leave it out."
            raise SteepestError(f"{type(self).__name__}(capturable=True) asks for {what}")
        defaults = {k: plain(v) for k, v in defaults.items()}
        self._checked(defaults)  # before the parameters, as torch does
        self._forget()
        super().__init__(params, defaults)

    def _forget(self) -> None:
        """Begin without a layout."""
        self._arguments = [*class_arguments(self.rule.hyper), "maximize", "state_dtype"]
        self._tensor_keys = {self._key(letter): state for letter, state in self.rule.state.items() if not state.is_scalar}
        self._at_view = any(TRAINED in store for _, store in self._stores())
        self._layout: Layout | None = None
        self._halfway: Began | None = None  # between `first_step` and `second_step`
        self._seen: dict[int, tuple[list[Any], dict[str, Any]]] = {}

    def _stores(self) -> list[tuple[Tensor, Store]]:
        """Each parameter that has state, and its state; users may keep other things beside."""
        state = getattr(self, "state", {})
        return [(p, store) for p, store in state.items() if isinstance(p, Tensor) and isinstance(store, dict)]

    @outside_graphs
    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters; its hyperparameters are checked against their domains."""
        if isinstance(param_group, dict):  # torch refuses others
            param_group.update({k: plain(v) for k, v in param_group.items() if k not in ("params", "param_names")})
        self._checked({**self.defaults, **param_group})
        _add_param_group(self, param_group)
        try:
            self._check_params(self.param_groups[-1])
        except SteepestError:
            self.param_groups.pop()
            raise

    def _check_params(self, group: Group) -> None:
        """Refuse parameters that the class, as it was asked to run, does not take; the same as torch's refuses."""
        name = type(self).__name__
        if group.get("fused") and group.get("foreach"):
            raise SteepestError(f"{name}: fused and foreach are both True; give one of them.")
        wanted = group.get("state_dtype")
        if wanted is not None and not (isinstance(wanted, torch.dtype) and wanted.is_floating_point):
            raise SteepestError(f"{name}: state_dtype is {wanted!r}; expected a floating-point torch.dtype, or None.")
        for p in group["params"]:
            if group.get("matrices_only") and p.ndim != 2:
                raise SteepestError(
                    f"{name} is for matrices, and got a parameter of shape {tuple(p.shape)}; give the others to another "
                    "optimizer, or matrices_only=False: vectors then take a step of AdamW, and tensors count as matrices."
                )

    @outside_graphs
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: set them to None, or to zero."""
        _zero_grad(self, set_to_none)

    @outside_graphs
    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a checkpoint of this class or of its twin; SteepestError for one of another class or of another model.

        State keeps the precision that `state_dtype` asks for, and single numbers keep their own. Between `first_step` and
        `second_step` the parameters first go back, but those that were written to since, as by a model's checkpoint.
        """
        if self._halfway is not None:
            self._halfway.forget_written()
            self._return(gradients=True)
        loaded: StateDict = {}

        def look(_: object, checkpoint: StateDict) -> None:
            classes = list(by_class_name().values())
            check_class(self.rule, checkpoint, classes, signature_of)
            check_names(self.param_groups, checkpoint["param_groups"])
            for group in checkpoint["param_groups"]:  # where a scheduler has the rate, it was chosen at its start
                self._checked({**group, "lr": group.get("initial_lr", group.get("lr"))})
            warn_of_kin(self.rule, self.param_groups, checkpoint["param_groups"], classes)
            loaded.update(checkpoint)

        def keep(_: object) -> None:
            self._keep_precision(loaded)

        before = _before_loading(self, look)  # the last hook, which sees what the user's have made of it
        after = _after_loading(self, keep, prepend=True)
        try:
            _load_state_dict(self, state_dict)
        finally:
            before.remove()
            after.remove()

    def _keep_precision(self, loaded: StateDict) -> None:
        """Give state its own precision again; torch has made it the parameters'."""
        for ours, theirs in zip(self.param_groups, loaded["param_groups"], strict=True):
            for k, p in zip(theirs["params"], ours["params"], strict=True):
                for key, value in loaded["state"].get(k, {}).items():
                    if isinstance(value, Tensor) and value.is_floating_point() and key != "step":
                        kept = self._tensor_keys.get(key)
                        wanted = value.dtype
                        if kept is not None and kept.begin is None:
                            wanted = kept_dtype(kept, p, ours["state_dtype"]) or p.dtype
                        if self.state[p][key].dtype is not wanted:
                            self.state[p][key] = value.to(p.device, wanted, copy=True)

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
        """One update of every parameter that has a gradient. Returns what the closure returns, if one is given.

        A rule that asks for gradients at other points needs the closure, which computes the loss and calls backward().
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
            raise SteepestError(f"{name} asks for gradients at two points; call step(closure), or first_step and second_step.")
        if self.defaults.get("differentiable"):
            self._differentiable_step()
            return loss
        self._laid().run(lambda params: self._ask(closure, params))
        return loss

    def _laid(self) -> Layout:
        """How this step is laid out: as the one before, where nothing was changed from outside."""
        hypers = [self._hyper(i, group) for i, group in enumerate(self.param_groups)]
        if self._layout is None or not self._layout.holds(self.param_groups, hypers, self.state):
            self.train()  # state that was set from outside may be that of a view
            with torch.no_grad():
                for group, hyper in zip(self.param_groups, hypers, strict=True):
                    self._prepare(group, hyper)
                self._layout = Layout(self.rule, self.param_groups, hypers, self.state)
        return self._layout

    def _differentiable_step(self) -> None:
        """A step of which torch can take the gradient: by operations that it records, one parameter after the other."""
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
        """Half a step of a rule that asks for a second gradient, for loops that cannot give a closure: go to where it asks.

        Call it after backward(), then backward() on the same batches again, then `second_step()` (or `GradScaler.step`, which
        goes back where gradients overflow). The first gradients are taken away, so that the second ones start from nothing. A
        model with BatchNorm makes its second pass inside `steepest.optim.still(model)`. Where the second call of the step
        before was skipped, the parameters first go back to where that began. SteepestError for a rule that asks for one
        gradient, and where there is none.
        """
        if not self.rule.oracle:
            raise SteepestError(f"{type(self).__name__} asks for one gradient; call step().")
        if self._halfway is not None and all(p.grad is None for p, _, _ in self._halfway.there):
            raise SteepestError("first_step() was called twice; call second_step() after the second backward().")
        self._return(gradients=False)
        if self._at_view:
            self.train()
        self._halfway = begin(self._laid(), self.param_groups)

    @outside_graphs
    def second_step(self) -> None:
        """The other half: the step that `first_step` began, with the gradients that are there now."""
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
        """Undo `first_step`, where there will be no second one: parameters and gradients are what they were."""
        self._return(gradients=True)

    def _return(self, gradients: bool) -> None:
        """Go back to where the first step began, if there was one; with its gradients, or with those that are there now."""
        if self._halfway is not None:
            began, self._halfway = self._halfway, None
            go_back(began, gradients)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """By which a GradScaler calls a step that it would skip, so that the parameters go back to where it began."""
        return self._halfway is not None

    @property
    def engine(self) -> str:
        """What ran the last step: "kernel", or "plain" where a dtype, device or layout is not the kernels'."""
        return " and ".join(sorted({part.engine.name for part in self._layout.parts})) if self._layout else "none yet"

    def _prepare(self, group: Group, hyper: Hyper) -> None:
        """Refuse gradients that no engine takes; make the state of parameters that come for the first time."""
        name = type(self).__name__
        for p in group["params"]:
            if p.grad is None:
                continue
            if group.get("fused") and (p.is_meta or not p.is_floating_point()):
                what = "no memory (device meta)" if p.is_meta else f"no floating-point numbers ({p.dtype})"
                raise SteepestError(
                    f"{name}: `fused=True` requires all the params to be floating point Tensors, and one has {what}."
                )
            if not (p.is_floating_point() or p.is_complex()):
                raise SteepestError(f"{name} got a parameter of {p.dtype}; it takes floating-point and complex ones.")
            shape = tuple(p.shape)
            graph = self.rule.graph(hyper, group["maximize"], shape)
            if p.grad.is_sparse and self.rule.twin not in TAKES_SPARSE:
                raise SteepestError(
                    f"{name} got a sparse gradient; it takes dense ones, and {' and '.join(TAKES_SPARSE)} both."
                )
            if p.grad.is_complex() and not graph.elementwise:
                raise SteepestError(f"{name} got a complex gradient; it looks at rows and columns of real ones.")
            if graph.reach != "element" and (hasattr(p, "_is_flat_param") or hasattr(p, "_fsdp_flattened")):
                raise SteepestError(
                    f"{name} looks over a whole {graph.reach}, and the first FSDP cuts parameters where it likes; shard the "
                    "model by torch.distributed.fsdp.fully_shard, or take a rule that works element by element, such as AdamW."
                )
            live = self.rule.live_state(hyper, shape)
            kept = [self._key(letter) for letter, state in live.items() if not state.per_group] + ["step"] * graph.counts
            shared = [self._key(letter) for letter, state in live.items() if state.per_group]
            missing = any(self.state[p].get(key) is None for key in kept)  # None: as torch's SGD has kept a buffer to come
            if kept and (missing or not all(map(group.__contains__, shared))):
                self._begin(group, p, hyper)  # new, or a hyperparameter that was zero and keeps state now
            for letter, state in live.items():
                if state.is_like_p(shape):
                    self.state[p][self._key(letter)] = laid_as(self.state[p][self._key(letter)], p)

    def _begin(self, group: Group, p: Tensor, hyper: Hyper) -> None:
        """Make the state that a parameter does not have yet, where checkpoints have it: numbers as 0-dim tensors."""
        store, g = self.state[p], p.grad
        assert g is not None
        g = g.to_dense() if g.is_sparse else g
        began = any(store.get(self._key(letter)) is not None for letter in self.rule.state)  # torch's SGD counts no steps
        for key in [key for key in ("step", *map(self._key, self.rule.state)) if key in store and store[key] is None]:
            del store[key]
            if not began:
                store.pop("step", None)  # a buffer begins at step 1
        store.setdefault("step", counter(1.0 if began else 0.0))
        begun = initial_state(self.rule, p, -g if group["maximize"] else g, hyper, group["state_dtype"])
        for letter, value in begun.items():
            if self.rule.state[letter].per_group:
                group.setdefault(self._key(letter), value)
            elif isinstance(value, Tensor):
                store.setdefault(self._key(letter), value)
            else:
                store.setdefault(self._key(letter), counter(value))

    def _key(self, letter: str) -> str:
        return self.rule.keys.get(letter, letter)

    def _ask(self, closure: Closure | None, params: Sequence[Tensor]) -> list[Tensor]:
        """The gradients where the parameters now stand; the gradients there were stay in `p.grad`."""
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
        """Put the rule's view in place of the parameters, to evaluate or save: Schedule-Free's x, ASGD's average.

        What is trained is kept in the state, and so in a checkpoint, until `train` or `step` puts it back.
        """
        key = self._key(self.rule.view or "")
        for p, store in self._stores():
            if store.get(key) is not None and TRAINED not in store:
                store[TRAINED] = p.detach().clone()
                p.data.copy_(store[key])
                self._at_view = True

    def eval(self) -> None:
        """What trainers call before they evaluate: `view`, but of a class with a twin, which stays where torch's stays."""
        if not self.rule.twin:
            self.view()

    @outside_graphs
    def train(self) -> None:
        """Put the parameters that are trained back in place; `step` does it too."""
        for p, store in self._stores():
            if TRAINED in store:
                p.data.copy_(store.pop(TRAINED))
        self._at_view = False

    def _hyper(self, i: int, group: Group) -> Hyper:
        """The hyperparameters of group i; the same object as long as none changes."""
        values = [group[name] for name in self._arguments]
        seen = self._seen.get(i)
        if seen is None or seen[0] != values:
            seen = [[*value] if isinstance(value, list) else value for value in values], self._settings(group)
            flat = [x for v in values for x in (v if isinstance(v, tuple | list) else (v,))]
            if not any(isinstance(x, Tensor | np.ndarray) for x in flat):  # which may be written to
                self._seen[i] = seen
        return seen[1]

    def _checked(self, group: Group) -> Hyper:
        """The rule's hyperparameters out of a parameter group, checked against their domains: done where they are chosen."""
        return self.rule.settings(**self._settings(group))

    def _settings(self, group: Group) -> Hyper:
        """The rule's hyperparameters out of a parameter group, as Python's numbers.

        A scheduler may take them past a bound by a rounding error: torch's LinearLR ends at -4e-20 for 0.
        """
        settings = spread(self.rule, group)
        hyper = {name: settings.get(name, default) for name, default in self.rule.hyper.items()}
        for name, value in hyper.items():
            if isinstance(value, Tensor) and value.numel() != 1:
                raise SteepestError(f"{type(self).__name__}: {name} is a tensor of {value.numel()} numbers; expected one.")
            if isinstance(value, Tensor | np.generic):
                hyper[name] = value.item()
            elif value is None and isinstance(self.rule.hyper[name], str | float):
                hyper[name] = self.rule.hyper[name]  # torch's way to say "the default"
            else:
                hyper[name] = plain(value)
        return hyper

    def state_bytes(self) -> int:
        """Bytes of state held for the parameters stepped so far, counters left out."""
        kept = [value for _, store in self._stores() for key, value in store.items() if key != "step" and value is not None]
        return sum(here(value).nbytes for value in kept)


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
    rule: Rule, params: ParamsT, *, seed: int = 0, state_dtype: torch.dtype | None = None, **hyper: Setting
) -> RuleOptimizer:
    """The optimizer for a rule or preset at these hyperparameters (by the rule's own names), rest at its defaults.

    `seed` is the key of the rule's noise, if it has any.
    """
    arguments = class_arguments({k: v for k, v in rule.settings(**hyper).items() if k not in rule.fixed})
    if rule.noisy:
        arguments["seed"] = seed
    if rule.matrices_only:
        arguments["matrices_only"] = False
    arguments["state_dtype"] = state_dtype
    return optimizer_class(rule)(params, **arguments)
