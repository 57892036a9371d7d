"""Parameter groups of a model: no decay where it does harm, rates layer by layer, every parameter once, by name."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, overload

from torch import nn

from ...errors import SteepestError, described, listed
from .stores import Group

logger = logging.getLogger(__name__)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Split(NamedTuple):
    """The groups of the matrices of hidden layers, for Muon, and those of all else, for another optimizer."""

    muon: list[Group]
    rest: list[Group]

    def __str__(self) -> str:
        return "\n".join(f"{what}: {_told(part)}" for what, part in (("Muon", self.muon), ("the rest", self.rest)))


@overload
def groups(
    model: nn.Module,
    *,
    lr: float | Mapping[str, float] | None = None,
    weight_decay: float | None = None,
    no_decay: str | Iterable[str] = ("bias", "norm"),
    muon: Literal[False] = False,
) -> list[Group]: ...


@overload
def groups(
    model: nn.Module,
    *,
    lr: float | Mapping[str, float] | None = None,
    weight_decay: float | None = None,
    no_decay: str | Iterable[str] = ("bias", "norm"),
    muon: Literal[True] | Iterable[str],
) -> Split: ...


def groups(
    model: nn.Module,
    *,
    lr: float | Mapping[str, float] | None = None,
    weight_decay: float | None = None,
    no_decay: str | Iterable[str] = ("bias", "norm"),
    muon: bool | Iterable[str] = False,
) -> list[Group] | Split:
    """The model's trainable parameters as groups for an optimizer: `Adam(steepest.optim.groups(model, ...), lr=1e-3)`.

    `weight_decay` is for all but what `no_decay` names: "bias" (every parameter so called, also `in_proj_bias` and a bias
    with a parametrization), "norm" (everything in a normalization layer), or a part of a parameter's name, or a pattern such
    as "embed*". `lr` maps the beginning of names
    ("encoder", "encoder.layer.0") to rates, the longest that fits wins, the others keep the optimizer's rate; one number is
    for all. A shared parameter is taken once, under its first name. Names are kept, so that a `state_dict` of another
    model is refused. Raises SteepestError for a name that fits no parameter.

    With `muon` there are two lists, and the split, which `str` shows, is logged to this module's logger: the matrices of
    hidden layers, for Muon (ours or torch's), and all else, for a second optimizer. Hidden are all matrices but those of
    embeddings, of the first layer, and of the last (where it is not tied to an embedding); or those whose names fit one of
    the patterns that `muon` gives.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    >>> [(len(g["params"]), g["weight_decay"]) for g in groups(model, weight_decay=0.1)]
    [(1, 0.1), (3, 0.0)]
    """
    if not isinstance(model, nn.Module):
        raise SteepestError(f"groups takes a model, a torch.nn.Module, and got {described(model)}; give the model itself.")
    rates = {word: lr[word] for word in _words("lr", lr)} if isinstance(lr, Mapping) else {}
    kept, used = _words("no_decay", no_decay), set[str]()
    hidden = _hidden(model, muon)
    members: dict[tuple[bool, float | None, bool], tuple[list[nn.Parameter], list[str]]] = {}
    normal = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        fits = [prefix for prefix in rates if _begins(prefix, name)]
        used.update(fits)
        rate = rates[max(fits, key=len)] if fits else None if isinstance(lr, Mapping) else lr
        words = [word for word in kept if _spares(word, name, id(p) in normal)]
        used.update(words)
        spared = bool(words) and weight_decay is not None
        params, names = members.setdefault((name in hidden, rate, spared), ([], []))
        params.append(p)
        names.append(name)
    for word in rates:
        if word not in used:
            raise _unfit(model, word, _begins)
    for word in kept:
        if word not in used and word not in ("bias", "norm"):
            raise _unfit(model, word, lambda word, name: _spares(word, name, normal=False))
    made: dict[bool, list[Group]] = {True: [], False: []}
    for (is_hidden, rate, spared), (params, names) in members.items():
        group: Group = {"params": list(zip(names, params, strict=True))}
        if rate is not None:
            group["lr"] = rate
        if weight_decay is not None:
            group["weight_decay"] = 0.0 if spared else weight_decay
        made[is_hidden].append(group)
    if muon is False:
        return made[False]
    split = Split(made[True], made[False])
    logger.info("%s", split)
    return split


def _hidden(model: nn.Module, muon: bool | Iterable[str]) -> set[str]:
    """The names of the matrices that are Muon's; SteepestError where there are none, or a pattern fits none."""
    if muon is False:
        return set()
    embedded = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    tied = any(id(getattr(m, "weight", None)) in embedded for m in model.modules() if isinstance(m, nn.Linear))
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [name for name, p in named if p.ndim == 2]
    if muon is True:
        weights = [name for name, p in model.named_parameters() if p.ndim > 1]  # frozen ones too: a layer keeps its place
        ends = {weights[0], *weights[-1 if not tied else len(weights) :]} if weights else set()
        hidden = {name for name, p in named if p.ndim == 2 and id(p) not in embedded and name not in ends}
    else:
        patterns = _words("muon", muon)
        for pattern in patterns:
            if not fnmatch.filter(matrices, pattern):
                others = [(name, p) for name, p in named if fnmatch.fnmatchcase(name, pattern)]
                if others:
                    raise _no_matrix(pattern, *others[0])
                raise _unfit(model, pattern, lambda word, name: fnmatch.fnmatchcase(name, word))
        hidden = {name for name in matrices if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    if not hidden:
        raise SteepestError(
            "groups: the model has no matrix between its first layer and its last, which Muon would be for "
            f"(its matrices: {listed(matrices) or 'none'}); give all parameters to one optimizer, such as AdamW."
        )
    return hidden


def _unfit(model: nn.Module, word: str, fits: Callable[[str, str], bool]) -> SteepestError:
    """What is said of a word that fits no trainable parameter, or one that is frozen, or another name of one."""
    firsts: dict[nn.Parameter, str] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        first = firsts.setdefault(p, name)
        if fits(word, name):
            if not p.requires_grad:
                return SteepestError(f"groups: {word!r} fits {name}, which is frozen; leave it out, or call requires_grad_().")
            return SteepestError(f"groups: {word!r} fits {name}, which is the same parameter as {first}; give that name.")
    there = ", ".join(sorted({name.split(".")[0] for name, _ in model.named_parameters()})) or "none"
    return SteepestError(f"groups: {word!r} fits no trainable parameter; the model's parts are {there}.")


def _no_matrix(pattern: str, name: str, p: nn.Parameter) -> SteepestError:
    what = f"{pattern!r} is" if name == pattern else f"{pattern!r} fits no matrix: {name} is"
    return SteepestError(
        f"groups: {what} of shape {tuple(p.shape)}, and Muon takes matrices, which have two dimensions; leave it to the rest."
    )


def _told(part: list[Group]) -> str:
    """Groups in words: how many tensors and numbers, and the names of the first."""
    named = [pair for group in part for pair in group["params"]]
    names = ", ".join(name for name, _ in named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
    return f"{len(named)} tensors, {sum(p.numel() for _, p in named):,} numbers ({names})"


def _words(argument: str, given: str | Iterable[str]) -> list[str]:
    """One word or several as a list; SteepestError for what is none."""
    words = [given] if isinstance(given, str) else list(given)
    for word in words:
        if not isinstance(word, str):
            raise SteepestError(f"groups: {argument} names parameters, such as 'encoder', and has {described(word)}.")
    return words


def _begins(prefix: str, name: str) -> bool:
    """Whether a key of `lr` is the beginning of a parameter's name."""
    return name == prefix or name.startswith(prefix + ".")


def _spares(word: str, name: str, normal: bool) -> bool:
    """Whether a word of `no_decay` names this parameter."""
    if word == "norm":
        return normal
    if word == "bias":
        return any(part.startswith("bias") or part.endswith("_bias") for part in name.split("."))
    return fnmatch.fnmatchcase(name, word) or word in name.split(".") or word in name
