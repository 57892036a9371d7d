"""Parameter groups of a model: no decay where it does harm, rates layer by layer, every parameter once, by name."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping

from torch import nn

from ..errors import SteepestError
from .state import Group

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def groups(
    model: nn.Module,
    *,
    lr: float | Mapping[str, float] | None = None,
    weight_decay: float | None = None,
    no_decay: Iterable[str] = ("bias", "norm"),
) -> list[Group]:
    """The model's trainable parameters as groups for an optimizer: `Adam(steepest.optim.groups(model, ...), lr=1e-3)`.

    `weight_decay` is for all but what `no_decay` names: "bias" (every parameter so called), "norm" (everything in a
    normalization layer), or a part of a parameter's name, or a pattern such as "embed*". `lr` maps the beginning of names
    ("encoder", "encoder.layer.0") to rates, the longest that fits wins, the others keep the optimizer's rate; one number is
    for all. A shared parameter is taken once, under its first name. Names are kept, so that a `state_dict` of another
    model is refused. Raises SteepestError for a name that fits no parameter.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    >>> [(len(g["params"]), g["weight_decay"]) for g in groups(model, weight_decay=0.1)]
    [(1, 0.1), (3, 0.0)]
    """
    rates = dict(lr) if isinstance(lr, Mapping) else {}
    kept, used = list(no_decay), set()
    members: dict[tuple[float | None, bool], tuple[list[nn.Parameter], list[str]]] = {}
    normal = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        fits = [prefix for prefix in rates if name == prefix or name.startswith(prefix + ".")]
        used.update(fits)
        rate = rates[max(fits, key=len)] if fits else None if isinstance(lr, Mapping) else lr
        words = [word for word in kept if _spares(word, name, id(p) in normal)]
        used.update(words)
        params, names = members.setdefault((rate, bool(words) and weight_decay is not None), ([], []))
        params.append(p)
        names.append(name)
    for word in (*rates, *(word for word in kept if word not in ("bias", "norm"))):
        if word not in used:
            there = ", ".join(sorted({name.split(".")[0] for name, _ in model.named_parameters()})) or "none"
            raise SteepestError(f"groups: {word!r} fits no trainable parameter; the model's parts are {there}.")
    made = []
    for (rate, spared), (params, names) in members.items():
        group: Group = {"params": list(zip(names, params, strict=True))}
        if rate is not None:
            group["lr"] = rate
        if weight_decay is not None:
            group["weight_decay"] = 0.0 if spared else weight_decay
        made.append(group)
    return made


def _spares(word: str, name: str, normal: bool) -> bool:
    """Whether a word of `no_decay` names this parameter."""
    if word == "norm":
        return normal
    if word == "bias":
        return name.rpartition(".")[2].startswith("bias")
    return fnmatch.fnmatchcase(name, word) or word in name.split(".") or word in name
