"""Checks of parameter groups, parameters and gradients; a class with a twin rejects what torch's class rejects."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import SteepestError
from ...rules import Rule
from ...rules.trace import Graph
from .stores import Group

TAKES_SPARSE = ("SGD", "Adagrad")  # gradients, as torch's


def check_group(name: str, group: Group) -> None:
    """Raise SteepestError for a group's options that contradict each other, or parameters that they exclude."""
    if group.get("fused") and group.get("foreach"):
        raise SteepestError(f"{name}: fused and foreach are both True; give one of them.")
    wanted = group.get("state_dtype")
    if wanted is not None and not (isinstance(wanted, torch.dtype) and wanted.is_floating_point):
        raise SteepestError(f"{name}: state_dtype is {wanted!r}; expected a floating-point torch.dtype, or None.")
    if not isinstance(group.get("exact", False), bool):
        raise SteepestError(f"{name}: exact is {group['exact']!r}; expected True or False.")
    for p in group["params"]:
        if group.get("matrices_only") and p.ndim != 2:
            raise SteepestError(
                f"{name} takes matrices only, but got a parameter of shape {tuple(p.shape)}; give the others to another "
                "optimizer, or set matrices_only=False: vectors then take AdamW steps, and higher tensors count as matrices."
            )


def check_tensors(name: str, rule: Rule, graph: Graph, group: Group, p: Tensor) -> None:
    """Raise SteepestError for a parameter that no engine updates, or a gradient or sharding that the rule cannot use."""
    assert p.grad is not None
    if group.get("fused") and (p.is_meta or not p.is_floating_point()):
        what = "no memory (device meta)" if p.is_meta else f"no floating-point numbers ({p.dtype})"
        raise SteepestError(f"{name}: `fused=True` requires all the params to be floating point Tensors, and one has {what}.")
    if not (p.is_floating_point() or p.is_complex()):
        raise SteepestError(f"{name} got a parameter of {p.dtype}; it takes floating-point and complex ones.")
    if p.grad.is_sparse and rule.twin not in TAKES_SPARSE:
        raise SteepestError(f"{name} got a sparse gradient; it takes dense ones, and {' and '.join(TAKES_SPARSE)} both.")
    if p.grad.is_complex() and not graph.elementwise:
        raise SteepestError(f"{name} got a complex gradient; its row and column means need real ones.")
    if graph.reach != "element" and (hasattr(p, "_is_flat_param") or hasattr(p, "_fsdp_flattened")):
        raise SteepestError(
            f"{name} needs sums over a whole {graph.reach}, but FSDP1 splits parameters at arbitrary places; shard the model "
            "with torch.distributed.fsdp.fully_shard, or use an elementwise rule, such as AdamW."
        )
