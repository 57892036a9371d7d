"""Parameter groups of a model by name: without decay for biases and norms, with rates layer by layer, and for Muon."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, TypedDict, Unpack, overload

from torch import nn

from ...errors import SteepestError, described, listed
from .stores import Group

logger = logging.getLogger(__name__)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Split(NamedTuple):
    """Groups of the hidden layers' matrices, for Muon, and of all other parameters, for another optimizer."""

    muon: list[Group]
    rest: list[Group]

    def __str__(self) -> str:
        return "\n".join(f"{what}: {_described(part)}" for what, part in (("Muon", self.muon), ("the rest", self.rest)))


class Options(TypedDict, total=False):
    """The arguments of `groups` that do not decide what it returns."""

    lr: float | Mapping[str, float] | None
    weight_decay: float | None
    no_decay: str | Iterable[str]


@overload
def groups(model: nn.Module, *, muon: Literal[False] = False, **options: Unpack[Options]) -> list[Group]: ...


@overload
def groups(model: nn.Module, *, muon: Literal[True] | Iterable[str], **options: Unpack[Options]) -> Split: ...


def groups(
    model: nn.Module,
    *,
    lr: float | Mapping[str, float] | None = None,
    weight_decay: float | None = None,
    no_decay: str | Iterable[str] = ("bias", "norm"),
    muon: bool | Iterable[str] = False,
) -> list[Group] | Split:
    """The model's trainable parameters as groups for an optimizer: `Adam(steepest.optim.groups(model, ...), lr=1e-3)`.

    `weight_decay` is for all parameters but those of `no_decay`: "bias" (every parameter so called, also `in_proj_bias` and a
    bias with a parametrization), "norm" (everything in a normalization layer), or a part of a parameter's name, or a pattern
    such as "embed*". `lr` maps prefixes of names ("encoder", "encoder.layer.0") to rates, of which the longest wins; the
    others have the optimizer's rate; one number is for all. A shared parameter is taken once, under its first name. Names
    are stored, so that a `state_dict` of another model is refused. Raises SteepestError for a name that fits no parameter.

    With `muon` it returns two lists, and logs the split, which `str` shows: the matrices of hidden layers, for Muon (ours or
    torch's), and all else, for a second optimizer. Hidden are all matrices but those of embeddings, of the first layer, and
    of the last (where it is not tied to an embedding); or those whose names fit one of the patterns of `muon`.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    >>> [(len(g["params"]), g["weight_decay"]) for g in groups(model, weight_decay=0.1)]
    [(1, 0.1), (3, 0.0)]
    """
    if not isinstance(model, nn.Module):
        raise SteepestError(f"groups takes a model, a torch.nn.Module, and got {described(model)}; give the model itself.")
    rates = {word: lr[word] for word in _words("lr", lr)} if isinstance(lr, Mapping) else {}
    rate_of_all = None if isinstance(lr, Mapping) else lr
    no_decay = _words("no_decay", no_decay)
    _check_used(model, rates, _begins)
    _check_used(model, [word for word in no_decay if word not in ("bias", "norm")], _spares)
    hidden = _hidden(model, muon)
    made: dict[tuple[bool, float | None, bool], Group] = {}
    normal = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    for name, p in _trainable(model):
        fits = [prefix for prefix in rates if _begins(prefix, name)]
        rate = rates[max(fits, key=len)] if fits else rate_of_all
        spared = weight_decay is not None and any(_spares(word, name, id(p) in normal) for word in no_decay)
        group = made.setdefault((name in hidden, rate, spared), {"params": []})
        group["params"].append((name, p))
        if rate is not None:
            group["lr"] = rate
        if weight_decay is not None:
            group["weight_decay"] = 0.0 if spared else weight_decay
    if muon is False:
        return [*made.values()]
    split = Split(*([group for (own, *_), group in made.items() if own is is_hidden] for is_hidden in (True, False)))
    logger.info("%s", split)
    return split


def _trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters that require gradients, with their first names."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _check_used(model: nn.Module, words: Iterable[str], fits: Callable[[str, str], bool]) -> None:
    """Raise SteepestError for a word that fits no trainable parameter: a frozen one, another name of one, or none."""
    for word in words:
        if any(fits(word, name) for name, _ in _trainable(model)):
            continue
        firsts: dict[nn.Parameter, str] = {}
        for name, p in model.named_parameters(remove_duplicate=False):
            first = firsts.setdefault(p, name)
            if fits(word, name) and not p.requires_grad:
                raise SteepestError(f"groups: {word!r} fits {name}, which is frozen; leave it out, or call requires_grad_().")
            if fits(word, name):
                raise SteepestError(f"groups: {word!r} fits {name}, which is the same parameter as {first}; give that name.")
        there = ", ".join(sorted({name.split(".")[0] for name, _ in model.named_parameters()})) or "none"
        raise SteepestError(f"groups: {word!r} fits no trainable parameter; the model's parts are {there}.")


def _hidden(model: nn.Module, muon: bool | Iterable[str]) -> set[str]:
    """The names of the matrices that are Muon's; SteepestError where there are none, or a pattern fits none."""
    if muon is False:
        return set()
    embedded = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    tied = any(id(getattr(m, "weight", None)) in embedded for m in model.modules() if isinstance(m, nn.Linear))
    named = _trainable(model)
    matrices = [name for name, p in named if p.ndim == 2]
    if muon is True:
        weights = [name for name, p in model.named_parameters() if p.ndim > 1]  # frozen ones too, so that the ends are the same
        ends = {weights[0], *weights[-1 if not tied else len(weights) :]} if weights else set()
        hidden = {name for name, p in named if p.ndim == 2 and id(p) not in embedded and name not in ends}
    else:
        patterns = _words("muon", muon)
        _check_used(model, patterns, _matches)
        for pattern in patterns:
            fitting = [(name, p) for name, p in named if _matches(pattern, name)]
            if all(p.ndim != 2 for _, p in fitting):
                raise _no_matrix(pattern, *fitting[0])
        hidden = {name for name in matrices if any(_matches(pattern, name) for pattern in patterns)}
    if not hidden:
        raise SteepestError(
            "groups: the model has no matrix between its first layer and its last, which Muon would be for "
            f"(its matrices: {listed(matrices) or 'none'}); give all parameters to one optimizer, such as AdamW."
        )
    return hidden


def _no_matrix(pattern: str, name: str, p: nn.Parameter) -> SteepestError:
    what = f"{pattern!r} is" if name == pattern else f"{pattern!r} fits no matrix: {name} is"
    return SteepestError(
        f"groups: {what} of shape {tuple(p.shape)}, and Muon takes matrices, which have two dimensions; leave it to the rest."
    )


def _described(part: list[Group]) -> str:
    """Groups in words: the numbers of tensors and elements, and the names of the first."""
    named = [pair for group in part for pair in group["params"]]
    names = ", ".join(name for name, _ in named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
    return f"{len(named)} tensors, {sum(p.numel() for _, p in named):,} numbers ({names})"


def _words(argument: str, words: str | Iterable[str]) -> list[str]:
    """One word or several as a list; SteepestError for anything else."""
    words = [words] if isinstance(words, str) else list(words)
    for word in words:
        if not isinstance(word, str):
            raise SteepestError(f"groups: {argument} names parameters, such as 'encoder', and has {described(word)}.")
    return words


def _begins(prefix: str, name: str) -> bool:
    """Whether a key of `lr` is a prefix of a parameter's name."""
    return name == prefix or name.startswith(prefix + ".")


def _matches(pattern: str, name: str) -> bool:
    """Whether a pattern of `muon` matches a parameter's name."""
    return fnmatch.fnmatchcase(name, pattern)


def _spares(word: str, name: str, normal: bool = False) -> bool:
    """Whether a word of `no_decay` names this parameter."""
    if word == "norm":
        return normal
    if word == "bias":
        return any(part.startswith("bias") or part.endswith("_bias") for part in name.split("."))
    return fnmatch.fnmatchcase(name, word) or word in name.split(".") or word in name
