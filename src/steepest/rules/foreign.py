"""Optimizers that are not rules: anybody's class or function, and candidates of several optimizers.

They have the attributes of a `Rule` that a study reads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..errors import SteepestError, unknown
from .about import About, parse
from .definition import Hyper, Rule, State
from .domains import plain
from .lookup import changed, written

RATE = "lr"
MARK = "foreign-1:"  # prefix of digests of what is not a rule
NAMED = f"{MARK}named:"  # and of what is only a name, which the program of a command understands
NOTHING: Mapping[str, Any] = types.MappingProxyType({})


class _Unlike:
    """The attributes of a `Rule` for an optimizer whose update cannot be traced."""

    oracle: ClassVar[bool] = False
    view: ClassVar[str | None] = None
    noisy: ClassVar[bool] = False
    is_ours: ClassVar[bool] = False
    keys: ClassVar[Mapping[str, str]] = NOTHING
    state: ClassVar[Mapping[str, State]] = NOTHING
    reach: ClassVar[str] = "unknown"
    reference: ClassVar[str] = ""
    deviations: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[About] = parse("")

    def domain(self, name: str) -> None:
        """None: any value is passed on, and the optimizer itself rejects it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Foreign(_Unlike):
    """An optimizer class or function that is not a rule: `make(params, lr=..., **settings)` returns the optimizer.

    `name` is as typed, else "module:Class", with changed settings in brackets. `hyper` maps its keyword arguments, without
    the rate, to their defaults after changes; `given` has the changes alone, and `required` names arguments without a default.
    `rate` is the centre of the grid of rates, `takes_lr` the name of the rate's argument. `digest` hashes the user's source,
    or a library's name and version. `wants_model`: it takes the model in place of parameters. `evaluations` counts gradients
    in a step, `steps_with` is what its step is called with: "" for what its signature says, else "nothing", "closure",
    "loss", or "gradients and closure". `matrices_only`: it rejects vectors. `twin` is the rule with the same numbers, `base`
    the optimizer without changes.
    `takes_any`: a function that accepts any setting. `imports` and `called` are code to paste.
    """

    name: str
    make: Callable[..., Any]
    hyper: Mapping[str, Any]
    rate: float
    digest: str
    wants_model: bool = False
    takes_lr: str = RATE
    evaluations: int = 1
    twin: Rule | None = None
    base: Foreign | None = None
    imports: tuple[str, ...] = ()
    called: str = ""
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    required: tuple[str, ...] = ()
    takes_any: bool = False
    steps_with: str = ""
    matrices_only: bool = False

    def __repr__(self) -> str:
        return f"<Foreign {self.name}>"

    @property
    def class_name(self) -> str:
        """The name of the class or function."""
        return str(getattr(self.make, "__name__", self.called.rpartition(".")[2]))

    def settings(self, **changes: Any) -> Hyper:
        """Return the rate and all settings: the defaults with these changes. SteepestError for an unknown name.

        An element of a tuple is named by its index: "betas.1".
        """
        settings = {RATE: self.rate, **self.hyper}
        for typed, value in changes.items():
            name = self._own_name(typed)
            whole, dot, index = name.partition(".")
            if dot and index.isdecimal() and isinstance(settings.get(whole), tuple) and int(index) < len(settings[whole]):
                elements = [*settings[whole]]
                elements[int(index)] = _like(elements[int(index)], value)
                settings[whole] = tuple(elements)
            elif name in settings or name in self.required or self.takes_any:
                settings[name] = _like(settings.get(name), value)
            else:
                raise unknown(f"setting of {self.name}", name, [*settings, *self.required])
        return settings

    def _own_name(self, name: str) -> str:
        """The name of a setting here: the rate's argument, whatever its name, is "lr"."""
        return RATE if name == self.takes_lr else name

    def changed(self, **settings: Any) -> Foreign:
        """The optimizer with other defaults, and a name that says which."""
        after = self.settings(**settings)
        own = map(self._own_name, settings)
        names = dict.fromkeys([*self.given, *(name if name in after else name.partition(".")[0] for name in own)])
        given = {name: after[name] for name in names}
        base = self.base or self
        return dataclasses.replace(
            self,
            name=written(base.name, given),
            hyper={name: value for name, value in after.items() if name != RATE},
            rate=float(after[RATE]),
            base=base,
            given=given,
        )


def _like(before: Any, value: Any) -> Any:
    """A new value of a setting: a float where the value before was one, a tuple for a list."""
    value = plain(value)
    if isinstance(value, list | tuple):
        olds = before if isinstance(before, tuple) and len(before) == len(value) else [None] * len(value)
        return tuple(_like(old, new) for old, new in zip(olds, value, strict=True))
    return float(value) if type(value) is int and isinstance(before, float) else value


@dataclasses.dataclass(frozen=True, eq=False)
class Parts(_Unlike):
    """One candidate of several optimizers, each for a part of the training, such as a generator and a discriminator.

    Its rate is that of the first part. The rate of each other part is a setting, such as "discriminator.lr".
    """

    parts: Mapping[str, Rule | Foreign]

    class_name: ClassVar[str] = "Parts"
    matrices_only: ClassVar[bool] = False
    twin: ClassVar[Rule | None] = None
    base: ClassVar[Rule | None] = None

    def __repr__(self) -> str:
        return f"<Parts {self.name}>"

    @property
    def first(self) -> str:
        """The name of the first part."""
        return next(iter(self.parts))

    @property
    def name(self) -> str:
        """The candidate as it is typed."""
        return f"{{{', '.join(f'{key}: {part.name}' for key, part in self.parts.items())}}}"

    @property
    def digest(self) -> str:
        """A hash of the names and digests of the parts."""
        lines = "\n".join(f"{key}\n{part.digest}" for key, part in self.parts.items())
        return MARK + hashlib.sha256(lines.encode()).hexdigest()

    @property
    def rate(self) -> float:
        """The centre of the grid of rates of the first part."""
        return next(iter(self.parts.values())).rate

    @property
    def evaluations(self) -> int:
        """The largest number of gradients in a step of a part."""
        return max(part.evaluations for part in self.parts.values())

    @property
    def hyper(self) -> Hyper:
        """The settings of all parts, by the part's name and their own, and the rates of all but the first."""
        settings: Hyper = {}
        for key, part in self.parts.items():
            if key != self.first:
                settings[f"{key}.{RATE}"] = part.rate
            settings.update({f"{key}.{name}": value for name, value in part.hyper.items() if name != RATE})
        return settings

    def settings(self, **changes: Any) -> Hyper:
        """Return the first part's rate and all settings with these changes. SteepestError for an unknown name."""
        after = self.changed(**changes)
        return {RATE: after.rate, **after.hyper}

    def changed(self, **settings: Any) -> Parts:
        """The candidate with other settings of its parts, such as {"discriminator.lr": 0.1}."""
        own: dict[str, Hyper] = {key: {} for key in self.parts}
        for name, value in settings.items():
            key, inside = self._split(name)
            own[key][inside] = value
        return Parts({key: changed(part, **own[key]) if own[key] else part for key, part in self.parts.items()})

    def _split(self, name: str) -> tuple[str, str]:
        """The part of a setting, and the setting's name there."""
        if name == RATE:
            return self.first, RATE
        for key in self.parts:
            inside = name.removeprefix(f"{key}.")
            if inside != name and (key, inside) != (self.first, RATE):
                return key, inside
        raise unknown(f"setting of {self.name}", name, [RATE, *self.hyper])


Maker = Rule | Foreign | Parts


def part_of(maker: Maker, lr: float, name: str | None = None) -> tuple[Rule | Foreign, float]:
    """The optimizer of the part with this name, and its rate, if the candidate's rate is `lr`.

    A candidate of one optimizer is the same for each name. SteepestError for a part that is missing or not named.
    """
    if not isinstance(maker, Parts):
        return maker, lr
    if name is None:
        raise SteepestError(f"The candidate {maker.name} has several parts; give name=, one of {', '.join(maker.parts)}.")
    if name not in maker.parts:
        raise unknown("part", name, maker.parts)
    part = maker.parts[name]
    return part, lr if name == maker.first else part.rate
