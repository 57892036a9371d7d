"""The optimizers as classes: `steepest.optim.Adam(model.parameters(), lr=1e-3)`.

Every registered rule has a class, and `groups(model, ...)` makes their parameter groups. Where `torch.optim` has a class of the
same name, ours has the same signature, defaults, `param_groups` keys and numbers, and loads its checkpoints. `Optimizer`,
`lr_scheduler`, `swa_utils`, and classes that only `torch.optim` has (`LBFGS`, `SparseAdam`) are torch's own, so that a script
need only change its import of `optim`.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch.optim
from torch.optim import Optimizer as Optimizer
from torch.optim import lr_scheduler as lr_scheduler
from torch.optim import swa_utils as swa_utils

from .rules import Rule
from .update.torch_class.optimizer import RuleOptimizer, optimizer_class
from .update.torch_class.param_groups import groups as groups
from .update.torch_class.signature import by_class_name, class_arguments
from .update.torch_class.two_calls import still as still

for _module in (lr_scheduler, swa_utils):  # for `from steepest.optim.lr_scheduler import StepLR`: this module is no package
    sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module


def from_rule(rule: Rule) -> type[RuleOptimizer]:
    """Make the optimizer class of your own rule: `from_rule(mine)(model.parameters(), lr=0.1)`.

    A rule with other defaults, such as get("adam(eps=1)"), makes a class with those defaults.

    >>> import torch
    >>> from steepest.rules import get
    >>> from_rule(get("adam"))([torch.nn.Parameter(torch.ones(1))], lr=0.1).engine
    'none yet'
    """
    made = optimizer_class(rule)
    own, usual = (class_arguments({k: v for k, v in r.hyper.items() if k not in rule.fixed}) for r in (rule, rule.base or rule))
    changed = {k: v for k, v in own.items() if v != usual[k]}
    if not changed:
        return made

    def init(self: RuleOptimizer, *args: Any, **kwargs: Any) -> None:
        given = inspect.signature(made).bind(*args, **kwargs).arguments
        made.__init__(self, *args, **{k: v for k, v in changed.items() if k not in given}, **kwargs)

    return type(made.__name__, (made,), {"__init__": init, "__doc__": made.__doc__, "__module__": made.__module__})


def __getattr__(name: str) -> Any:  # a subclass of RuleOptimizer, or a class of torch's
    if name in by_class_name():
        return optimizer_class(by_class_name()[name])
    if name in torch.optim.__all__:
        return getattr(torch.optim, name)
    raise AttributeError(f"steepest.optim has no {name!r}; it has {', '.join(sorted(by_class_name()))}")


def __dir__() -> list[str]:
    return sorted({*by_class_name(), *torch.optim.__all__, "from_rule", "groups", "still"})


__all__ = __dir__()  # without it `import *` would import no class
