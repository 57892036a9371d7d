"""Generate src/steepest/optim.pyi: every class of `steepest.optim` with its signature and docstring, for editors."""

from __future__ import annotations

import inspect
import math
from typing import Any

from steepest.update.torch_class.optimizer import RuleOptimizer, optimizer_class
from steepest.update.torch_class.signature import by_class_name

HEAD = """# Made by `steepest conformance` from the classes; a test compares them.
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import LBFGS as LBFGS
from torch.optim import Optimizer as Optimizer
from torch.optim import SparseAdam as SparseAdam
from torch.optim import lr_scheduler as lr_scheduler
from torch.optim import swa_utils as swa_utils

from .rules import Rule
from .update.torch_class.optimizer import RuleOptimizer
from .update.torch_class.param_groups import groups as groups
from .update.torch_class.two_calls import still as still

def from_rule(rule: Rule) -> type[RuleOptimizer]: ...
"""


def page() -> str:
    """The text of the stub, from the registered rules."""
    return HEAD + "".join(_class(optimizer_class(rule)) for _, rule in sorted(by_class_name().items()))


def _class(made: type[RuleOptimizer]) -> str:
    parameters = list(inspect.signature(made).parameters.values())
    shown, keyword_only = ["self", "params: Iterable[Any]"], False
    for p in parameters[1:] if parameters[0].name == "params" else parameters:
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        shown.append(f"{p.name}: {_type(p.name, p.default)} = {_value(p.default)}")
    doc = (made.__doc__ or "").strip().replace("\n", "\n    ").replace("    \n", "\n")
    lines = ",\n        ".join(shown)
    return (
        f'\nclass {made.__name__}(RuleOptimizer):\n    """{doc}"""\n\n    def __init__(\n        {lines},\n    ) -> None: ...\n'
    )


def _type(name: str, default: Any) -> str:
    if name == "state_dtype":
        return "torch.dtype | None"
    if isinstance(default, bool):
        return "bool"
    if isinstance(default, tuple):
        return f"tuple[{', '.join('float | None' if v is None else 'float' for v in default)}]"
    if isinstance(default, str):
        return "str"
    if isinstance(default, int | float):
        return "float | torch.Tensor" if name == "lr" else "float" if name != "seed" else "int"
    return "str | None" if name == "adjust_lr_fn" else "bool | None"


def _value(default: Any) -> str:
    if isinstance(default, float) and math.isinf(default):
        return "float('inf')"
    return repr(default)
