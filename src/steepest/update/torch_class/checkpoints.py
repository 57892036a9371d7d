"""Checks that a checkpoint belongs to an optimizer class, by the keys of its groups and of its state."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...errors import SteepestError, listed
from ...rules import RULES, Rule
from ...rules.domains import DOMAINS
from .signature import by_class_name, signature_of

# Keys that torch added in later versions, or that do not change the numbers; a checkpoint may lack them.
LATE = {"foreach", "fused", "maximize", "capturable", "differentiable", "decoupled_weight_decay"}
LATE |= {"state_dtype", "exact", "seed", "matrices_only"}
# What checkpoint_wrapper, torch.compile, FSDP and DataParallel put into the names of what they wrap.
WRAPPERS = ("_checkpoint_wrapped_module", "_orig_mod", "_fsdp_wrapped_module", "module")


class Keys(NamedTuple):
    """The keys of a class's checkpoints: allowed ones, required ones, and flags, which our old checkpoints lack."""

    groups: frozenset[str]
    core: frozenset[str]
    flags: frozenset[str]
    state: frozenset[str]
    needed: frozenset[str]  # where there is state at all


@functools.cache
def keys_of(rule: Rule) -> Keys:
    """The keys of the class of a rule; where it has a twin, `core` has only those of torch's checkpoints."""
    parameters = {k: p for k, p in signature_of(rule).parameters.items() if k not in ("self", "params")}
    twins = {k for k, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD} if rule.twin else parameters
    own = {k: p.default for k, p in parameters.items() if k not in LATE and (k in twins or not rule.twin)}
    flags = {k for k, default in own.items() if isinstance(default, bool) and not rule.twin}
    pieces = {rule.key(letter): state for letter, state in rule.state.items()}
    shared = {key for key, state in pieces.items() if state.per_group}
    return Keys(
        groups=frozenset({*parameters, *shared, *rule.fixed, *LATE}),
        core=frozenset(own.keys() - flags),
        flags=frozenset(flags),
        state=frozenset(pieces),
        needed=frozenset(key for key, state in pieces.items() if state.is_certain and key not in shared),
    )


def _contradiction(keys: Keys, groups: set[str], stores: list[set[str]], known: tuple[set[str], set[str]]) -> str:
    """Why a checkpoint does not have these keys, in words; "" if it has. A flag may be missing."""
    odd = sorted((groups & known[0]) - keys.groups) + sorted({key for store in stores for key in store & known[1]} - keys.state)
    if odd:
        return f"it has {listed(odd)}"
    missing = sorted(keys.core - groups) + sorted({key for store in stores for key in keys.needed - store})
    return f"it lacks {listed(missing)}" if missing else ""


def check_class(rule: Rule, checkpoint: Mapping[str, Any]) -> None:
    """Raise SteepestError for a checkpoint of another class.

    A checkpoint without state is checked by its groups only. Keys of no class, such as a scheduler's `initial_lr`, are ignored.
    """
    others = {name: keys_of(other) for name, other in by_class_name().items() if other is not rule}
    own = keys_of(rule)
    known = set(DOMAINS).union(own.groups, *(keys.groups for keys in others.values()))
    of_state = {r.key(letter) for r in (*RULES.values(), rule) for letter in r.state} - {"step"}
    stores = [set(store) - {"step"} for store in checkpoint["state"].values() if isinstance(store, dict)]
    stores = [store for store in stores if store & of_state]
    for group in checkpoint["param_groups"]:
        keys = set(group)
        lacking = sorted(own.flags - keys)
        against = _contradiction(own, keys, stores, (known, of_state))
        if not against and not lacking:
            continue
        fitting = [name for name, other in others.items() if other.flags <= keys]
        fitting = [name for name in fitting if not _contradiction(others[name], keys, stores, (known, of_state))]
        if against or fitting:
            whose = f", as one of {listed(fitting)}" if fitting else ""
            raise SteepestError(
                f"The checkpoint is not one of {rule.class_name}: {against or f'it lacks {listed(lacking)}'}{whose}; "
                "load it into an optimizer of its own class, or begin without it."
            )


def warn_of_kin(rule: Rule, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Warn where a flag differs that a class of the same rule fixes, such as the decay of Adam and AdamW."""
    fixed = {flag for other in by_class_name().values() if other.step is rule.step for flag in other.fixed}
    for flag in sorted(fixed):
        pairs = [(a.get(flag), b[flag]) for a, b in zip(ours, theirs, strict=False) if flag in b]
        differ = next(((a, b) for a, b in pairs if bool(a) != bool(b)), None)
        if differ:
            stays = differ[0] if flag in rule.fixed else differ[1]
            warnings.warn(
                f"The checkpoint has {flag}={differ[1]}, this {rule.class_name} has {differ[0]}; {stays} is used.",
                UserWarning,
                stacklevel=2,
            )


def check_names(own: list[dict[str, Any]], groups: list[dict[str, Any]]) -> None:
    """Raise SteepestError where parameters have other names, apart from wrappers' parts and a prefix common to all."""
    for ours, theirs in zip(own, groups, strict=False):
        pairs = [*zip(theirs.get("param_names") or (), ours.get("param_names") or (), strict=False)]
        prefixes = {_prefixes(a, b) for a, b in pairs}
        if None in prefixes or len(prefixes) > 1:
            first = _prefixes(*pairs[0])
            a, b = next((a, b) for a, b in pairs if _prefixes(a, b) is None or _prefixes(a, b) != first)
            raise SteepestError(f"The checkpoint is another model's: it has {a!r} where this optimizer has {b!r}.")


def _prefixes(a: str, b: str) -> tuple[str, str] | None:
    """Two names without the parts in which they end alike; None where even the last part differs.

    The parts that wrappers put into names are ignored.
    """
    ours, theirs = ([part for part in name.split(".") if part not in WRAPPERS] for name in (a, b))
    while ours and theirs and ours[-1] == theirs[-1]:
        ours.pop()
        theirs.pop()
    same = a.rpartition(".")[2] == b.rpartition(".")[2]
    return (".".join(ours), ".".join(theirs)) if same else None
