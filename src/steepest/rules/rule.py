"""What a rule is: one pure function as the paper writes it, and what its signature says about state and hyperparameters."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import SteepestError, unknown

Hyper = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class State:
    """How one state tensor starts: all zeros, or filled with the value of a hyperparameter."""

    fill: str | None = None
    condition: str | None = None

    def when(self, hyper: str) -> State:
        """The state exists only where this hyperparameter is not zero (or is true); elsewhere the rule receives None."""
        return dataclasses.replace(self, condition=hyper)


zeros = State()


def filled(hyper: str) -> State:
    """State that starts at the value of a hyperparameter."""
    return State(fill=hyper)


# Domain of each hyperparameter: its words, and the test.
_NONNEGATIVE = ("a finite number, 0 or more", lambda x: x >= 0)
_UNIT = ("a number in [0, 1)", lambda x: 0 <= x < 1)
DOMAINS: dict[str, tuple[str, Callable[[float], bool]]] = {
    **dict.fromkeys(("lr", "eps", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value", "alpha"), _NONNEGATIVE),
    **dict.fromkeys(("beta1", "beta2", "beta3"), _UNIT),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """An update rule.

    `step(p, g, t, *state, **hyper)` returns the new parameter and the new state, and writes to nothing; `t` counts from 1.
    `hyper` maps each hyperparameter to its default (a bool, int or str is static), `state` each letter to its start.
    `twin` names the class of `torch.optim` with the same numbers, `keys` maps letters to the keys of its state_dict.
    `rate` is the centre of the grid of rates searched by default, `base` the rule whose class a preset shares.
    """

    name: str
    step: Callable[..., Any]
    reference: str
    hyper: Mapping[str, Any]
    state: Mapping[str, State]
    digest: str
    class_name: str
    twin: str | None = None
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rate: float = 1e-2
    deviations: tuple[str, ...] = ()
    refused: tuple[tuple[str, Callable[[Hyper], bool]], ...] = ()
    fixed: frozenset[str] = frozenset()
    base: Rule | None = None

    def settings(self, **given: Any) -> Hyper:
        """Every hyperparameter with its value: the defaults, changed by what is given. SteepestError outside a domain."""
        for name in given:
            if name not in self.hyper:
                raise unknown(f"hyperparameter of {self.name}", name, self.hyper)
        settings = {**self.hyper, **given}
        for name, value in settings.items():
            words, inside = DOMAINS.get(name, ("a finite number", lambda x: True))
            static = isinstance(self.hyper[name], bool | str)
            if not static and not (_is_number(value) and math.isfinite(value) and inside(value)):
                raise SteepestError(f"{self.name}: {name} is {value!r}; expected {words}.")
        for sentence, breaks in self.refused:
            if breaks(settings):
                raise SteepestError(f"{self.name}: {sentence}")
        return settings

    def live_state(self, hyper: Mapping[str, Any]) -> dict[str, State]:
        """The state that exists at these hyperparameters, by letter."""
        return {k: s for k, s in self.state.items() if s.condition is None or hyper[s.condition]}

    def preset(self, name: str, **changes: Any) -> Rule:
        """The same rule under another name with other defaults, and registered.

        Changes are hyperparameters or fields of Rule; with a class of its own (`class_name`) its changed flags are fixed.
        """
        fields = {k: changes.pop(k) for k in list(changes) if k in {f.name for f in dataclasses.fields(Rule)}}
        if "class_name" in fields:
            fields["fixed"] = frozenset(k for k, v in changes.items() if isinstance(v, bool))
        else:
            fields["base"] = self.base or self
        return register(dataclasses.replace(self, name=name, hyper={**self.hyper, **changes}, **fields))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


RULES: dict[str, Rule] = {}


def register(rule: Rule) -> Rule:
    RULES[rule.name] = rule
    return rule


def get(name: str) -> Rule:
    """The rule of this name; SteepestError with the nearest name where there is none."""
    if name not in RULES:
        raise unknown("optimizer", name, RULES)
    return RULES[name]


def rule(reference: str, *, class_name: str | None = None, **fields: Any) -> Callable[[Callable[..., Any]], Rule]:
    """Make a registered Rule from a function `f(p, g, t, state=..., *, hyper=...)` that returns the new p and state."""

    def make(function: Callable[..., Any]) -> Rule:
        parameters = list(inspect.signature(function).parameters.values())[3:]
        state = {p.name: p.default for p in parameters if p.kind is not p.KEYWORD_ONLY}
        hyper = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        name = getattr(function, "__name__", "rule")
        return register(
            Rule(
                name=name,
                step=function,
                reference=reference,
                hyper=hyper,
                state=state,
                digest=_digest(function),
                class_name=class_name or fields.get("twin") or name.title().replace("_", ""),
                **fields,
            )
        )

    return make


def _digest(function: Callable[..., Any]) -> str:
    """Hash of the rule's syntax tree and of the words and combinators it may use: comments and blank lines do not count."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError:
        raise SteepestError(
            "The source of this rule cannot be read; a rule must be defined in a file or a notebook cell."
        ) from None
    shared = [Path(__file__).with_name(f"{room}.py").read_text(encoding="utf-8") for room in ("vocabulary", "combinators")]
    trees = [ast.dump(ast.parse(text)) for text in (source, *shared)]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()
