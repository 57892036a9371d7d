"""Rules: a pure function in the paper's notation whose signature declares its state and hyperparameters."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from ..errors import SteepestError, unknown
from ..notebook import Shown
from .about import About, parse
from .digest import digest
from .domains import DOMAINS, plain
from .domains import FINITE as FINITE
from .domains import Domain as Domain
from .trace import Graph, check_function, check_source, is_static, trace

Setting = bool | int | float | str  # a hyperparameter; all but floats are static
Hyper = dict[str, Any]  # settings by name


Shape = tuple[int, ...]
Present = tuple[tuple[bool, bool], ...]  # for each state variable: whether it exists, and whether it has p's shape
Shaping = Callable[[Shape], Shape | None]  # the shape of state from its parameter's; None where there is none
Beginning = Callable[[Any, Any, Shape], Any]  # makes state from p, the first g and the shape of the state
VECTOR, MATRIX = (7,), (5, 7)
SHAPES: tuple[Shape, ...] = (VECTOR, MATRIX, (), (3, 5, 7), (2, 3, 5, 7))  # example shapes at which rules are examined


@dataclasses.dataclass(frozen=True)
class State:
    """The initial value of a state variable: a number, a hyperparameter, a copy of p or of the first g, or a function's result.

    It has the parameter's shape or the one that `shape` returns, or is one number (`is_scalar`), which a parameter group may
    share. `precise` stores it in float32 or higher.
    """

    start: float | str = 0.0  # a number, or the hyperparameter of this name
    copies: str = ""  # "p" or "g", in place of a start
    is_scalar: bool = False
    per_group: bool = False
    condition: str | None = None
    exists: bool = True
    shape: Shaping | None = None
    begin: Beginning | None = None
    precise: bool = False

    @property
    def begins(self) -> float | str:
        """Its initial value in words."""
        if self.begin is not None:
            return self.begin.__name__
        return f"copy of {self.copies}" if self.copies else self.start

    def is_for(self, shape: Shape) -> bool:
        """Whether a parameter of this shape has this state."""
        return self.shape is None or self.shape(shape) is not None

    @property
    def is_certain(self) -> bool:
        """Whether it exists whatever the hyperparameters and the parameter's shape."""
        return self.condition is None and all(map(self.is_for, SHAPES))

    def is_like_p(self, shape: Shape) -> bool:
        """Whether it has the shape of a parameter of this shape."""
        return not self.is_scalar and (self.shape is None or self.shape(shape) == shape)

    @property
    def layout(self) -> str:
        """Its shape in words: "row" or "column" for one element per row or column, "" for the parameter's, else examples."""
        examples = [(shape, self.shape(shape)) for shape in SHAPES if self.shape and self.is_for(shape)]
        for word, usual in (("", tuple), ("row", _of_rows), ("column", _of_columns)):
            if all(own == usual(shape) for shape, own in examples):
                return word
        return str(examples)

    def number(self, hyper: Mapping[str, Any]) -> Any:
        """Its initial number with these hyperparameters (each one number, or an array of them)."""
        return hyper[self.start] if isinstance(self.start, str) else self.start

    def when(self, hyper: str) -> State:
        """Create the state only if this hyperparameter is not zero (or is true); otherwise the rule receives None."""
        return dataclasses.replace(self, condition=hyper)

    def unless(self, hyper: str) -> State:
        """Create the state only if this hyperparameter is zero (or is false)."""
        return dataclasses.replace(self, condition=hyper, exists=False)


def _of_rows(shape: Shape) -> Shape | None:
    return (*shape[:-1], 1) if len(shape) > 1 else None


def _of_columns(shape: Shape) -> Shape | None:
    return (*shape[:-2], 1, shape[-1]) if len(shape) > 1 else None


def _of_vectors(shape: Shape) -> Shape | None:
    return shape if len(shape) < 2 else None


def shaped(shape: Shaping, begin: Beginning | float | str = 0.0, *, precise: bool = False) -> State:
    """Declare state whose shape is a function of the parameter's; if it returns None, the rule receives None for the state.

    `begin` is a number or a hyperparameter's name, as in `filled`, or a function `begin(p, g, shape)` of the parameter, its
    first gradient and the shape, which makes the tensor with methods of p and g.

    >>> shaped(lambda shape: (*shape[:-1], 1), begin=1.0).shape((3, 4))
    (3, 1)
    """
    if callable(begin):
        return State(shape=shape, begin=begin, precise=precise)
    return State(begin, shape=shape, precise=precise)


zeros = State()
row_zeros, column_zeros = shaped(_of_rows), shaped(_of_columns)  # a zero for each row, for each column, of a matrix
vector_zeros = shaped(_of_vectors)  # zeros like p if p has fewer than two dimensions
copy_of_p = State(copies="p")
copy_of_g = State(copies="g")


def filled(start: float | str, *, precise: bool = False) -> State:
    """Declare state filled with a number or the value of a hyperparameter; `precise` stores it in float32 or higher."""
    return State(start, precise=precise)


def scalar(start: float | str, *, per: str = "parameter") -> State:
    """Declare one number for each parameter, or with per="group" for each parameter group; `start` as in `filled`."""
    return State(start, is_scalar=True, per_group=per == "group")


@dataclasses.dataclass(frozen=True, eq=False)
class Rule(Shown):
    """An update rule.

    `step(p, g, t, *state, **hyper)` returns the new parameter and the new state, and modifies nothing; `t` counts from 1.
    `hyper` maps each hyperparameter to its default (a bool, int or str is static), `state` each letter to its `State`.
    `twin` names the class of `torch.optim` with the same numbers, `keys` maps letters to the keys of its state_dict.
    `oracle`: step takes the gradient as a function in place of g; `view` names the state that is evaluated in place of p.
    `domains` has the domains that differ from `DOMAINS`. `origin` is the source of the defaults (torch if there is a twin).
    `matrices_only`: its class rejects all but matrices by default, though the rule can update others. `refused` lists
    invalid combinations of settings, each as an error message and a test. `fixed` names hyperparameters that its class does
    not take. `rate` is the centre of the default grid of rates, `base` the rule whose class a preset shares. `doc` is the
    docstring (see `about`), which is not part of the digest. `traced` caches graphs.
    """

    name: str
    step: Callable[..., Any]
    reference: str
    hyper: Mapping[str, Any]
    state: Mapping[str, State]
    class_name: str
    code: CodeType
    oracle: bool = False
    view: str | None = None
    twin: str | None = None
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rate: float = 1e-2
    deviations: tuple[str, ...] = ()
    origin: str = "the paper"
    domains: Mapping[str, Domain] = dataclasses.field(default_factory=dict)
    matrices_only: bool = False
    refused: tuple[tuple[str, Callable[[Hyper], bool]], ...] = ()
    fixed: frozenset[str] = frozenset()
    base: Rule | None = None
    doc: str = ""
    traced: list[tuple[Hyper, dict[str, bool], Graph]] = dataclasses.field(default_factory=list, repr=False)

    @property
    def is_ours(self) -> bool:
        """Whether the rule is built in."""
        return RULES.get(self.name) is self and self.code.co_filename.startswith((*FOLDERS,))

    @property
    def about(self) -> About:
        """The idea, when to use the rule, and when to avoid it, as its docstring says."""
        return parse(self.doc)

    def __repr__(self) -> str:
        return f"<Rule {self.name}>"

    def settings(self, **changes: Any) -> Hyper:
        """Return all hyperparameters: the defaults with these changes. SteepestError for a value outside its domain.

        >>> steepest.rules.get("momentum").settings(lr=1.0)["lr"]
        1.0
        """
        for name in changes:
            if name not in self.hyper:
                raise unknown(f"hyperparameter of {self.name}", name, self.hyper)
        settings = {**self.hyper, **changes}
        for name, value in settings.items():
            if value is None and isinstance(self.hyper[name], str | float):
                value = self.hyper[name]  # in torch, None means the default
            value = settings[name] = plain(value)
            domain = self.domain(name) or FINITE
            if not isinstance(self.hyper[name], bool | str) and value not in domain:
                raise SteepestError(f"{self.name}: {name} is {value!r}; expected {domain.words}.")
        for sentence, breaks in self.refused:
            if breaks(settings):
                raise SteepestError(f"{self.name}: {sentence}")
        return settings

    def domain(self, name: str) -> Domain | None:
        """The domain of a hyperparameter: the rule's own, else the default for its name; None allows any number."""
        return self.domains.get(name) or DOMAINS.get(name)

    def key(self, letter: str) -> str:
        """The key of a letter's state in checkpoints."""
        return self.keys.get(letter, letter)

    def live_state(self, hyper: Mapping[str, Any], shape: Shape = VECTOR) -> dict[str, State]:
        """The state that exists with these hyperparameters for a parameter of this shape, by letter."""
        live = {k: s for k, s in self.state.items() if s.is_for(shape)}
        return {k: s for k, s in live.items() if s.condition is None or bool(hyper[s.condition]) == s.exists}

    def present(self, shape: Shape) -> Present:
        """Whether each state variable exists for a parameter of this shape, and whether it has that shape."""
        return tuple((state.is_for(shape), state.is_like_p(shape)) for state in self.state.values())

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """One example shape for each distinct set of state; a single one if the state does not depend on the shape."""
        found: dict[Present, Shape] = {}
        for shape in SHAPES:
            found.setdefault(self.present(shape), shape)
        return tuple(found.values())

    @functools.cached_property
    def noisy(self) -> bool:
        """Whether the engine must draw random numbers for the rule, with some hyperparameters."""
        return bool(self.graph({k: 0.5 if isinstance(v, float) else v for k, v in self.hyper.items()}).noises)

    def graph(self, hyper: Mapping[str, Any], maximize: bool = False, shape: Shape = VECTOR) -> Graph:
        """The graph of the rule for a parameter of this shape, cached.

        Floats change the graph only where an `if` tests whether they are zero.
        """
        static = {k: v for k, v in hyper.items() if is_static(self.hyper[k])}
        static |= {"maximize": maximize, "present": self.present(shape)}
        for statics, asked, graph in self.traced:
            if statics == static and all(bool(hyper[k]) == flag for k, flag in asked.items()):
                return graph
        graph = trace(self, hyper, maximize, shape)
        asked = {k: bool(hyper[k]) for k in hyper if k not in static and graph.inputs[k].asked}
        asked |= {s.condition: bool(hyper[s.condition]) for s in self.state.values() if s.condition}
        self.traced.append((static, asked, graph))
        return graph

    @functools.cached_property
    def digest(self) -> str:
        """A hash of what the rule computes, independent of names, docstrings and the version of Python."""
        return digest(self)

    @functools.cached_property
    def evaluations(self) -> int:
        """The number of gradients in one step."""
        return 1 + len(self.graph(self.settings()).points)

    @functools.cached_property
    def reach(self) -> str:
        """The scope of an update with the defaults: "element", "tensor" or "model"."""
        return self.graph(self.settings(), shape=MATRIX).reach

    def preset(self, name: str, **changes: Any) -> Rule:
        """Register the same rule under another name with other defaults.

        Changes are hyperparameters or fields of Rule, such as `doc`. If `class_name` gives it its own class, changed flags
        are fixed.

        >>> steepest.rules.get("sgd").preset("heavy", momentum=0.99).hyper["momentum"]
        0.99
        """
        fields = {k: changes.pop(k) for k in list(changes) if k in {f.name for f in dataclasses.fields(Rule)}}
        if "class_name" in fields:
            fields["fixed"] = self.fixed | {k for k, v in changes.items() if isinstance(v, bool)}
        else:
            fields["base"] = self.base or self
        return register(dataclasses.replace(self, name=name, hyper={**self.hyper, **changes}, traced=[], **fields))


FOLDERS = [str(Path(__file__).parent)]  # of the built-in rules
RULES: dict[str, Rule] = {}
FILES: dict[Rule, tuple[Path, str]] = {}  # the origin of rules from a user's file: path, and name in it


def register(rule: Rule) -> Rule:
    """Add a rule to the registry. SteepestError if its name is that of a built-in rule."""
    known = RULES.get(rule.name)
    if known and known.is_ours and not rule.is_ours:
        raise SteepestError(f"Rule {rule.name}: a built-in rule has this name; choose another name.")
    RULES[rule.name] = rule
    return rule


def rule(reference: str, *, class_name: str | None = None, **fields: Any) -> Callable[[Callable[..., Any]], Rule]:
    """Decorate a function `f(p, g, t, state=..., *, hyper=...)` that returns the new p and state, to register it as a Rule.

    >>> @rule("mine")
    ... def halved(p, g, t, *, lr=0.1):
    ...     return p - lr / 2 * g
    >>> halved
    <Rule halved>
    """

    def make(function: Callable[..., Any]) -> Rule:
        name = function.__name__
        check_function(name, function)
        check_source(function)
        made = Rule(
            name=name,
            step=function,
            code=function.__code__,
            reference=reference,
            class_name=class_name or fields.get("twin") or name.title().replace("_", ""),
            doc=function.__doc__ or "",
            **_signature(name, function),
            **fields,
        )
        for shape, hyper in itertools.product(made.shapes, _flips(made.hyper)):
            made.graph(hyper, shape=shape)  # so that mistakes are reported at the definition
        return register(made)

    return make


def _signature(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Read a rule's signature: state and hyperparameters with their defaults, and whether it takes the gradient's function."""
    parameters = list(inspect.signature(function).parameters.values())
    where = f"Rule {name}, line {function.__code__.co_firstlineno}"
    first = [p.name for p in parameters[:3]]
    if first not in (["p", "g", "t"], ["p", "f", "t"]):
        raise SteepestError(
            f"{where}: begins with {', '.join(first)}; a rule begins with p, g, t (or p, f, t to evaluate gradients)."
        )
    for p in parameters[3:]:
        if p.default is p.empty:
            what = "hyperparameter" if p.kind is p.KEYWORD_ONLY else "state"
            example = "0.1" if what == "hyperparameter" else "zeros"
            raise SteepestError(
                f"{where}: the {what} {p.name} has no default, which says how it starts; write {p.name}={example}."
            )
        if (p.kind is not p.KEYWORD_ONLY) != isinstance(p.default, State):
            raise SteepestError(
                f"{where}: {p.name}={p.default!r} stands on the wrong side of the *: state comes before it and starts as "
                "zeros, copy_of_p, filled(...) or scalar(...); hyperparameters come after it, as a number, bool or str."
            )
    return {
        "oracle": first[1] == "f",
        "state": {p.name: p.default for p in parameters[3:] if p.kind is not p.KEYWORD_ONLY},
        "hyper": {p.name: p.default for p in parameters[3:] if p.kind is p.KEYWORD_ONLY},
    }


def _flips(hyper: Mapping[str, Any]) -> list[Hyper]:
    """The defaults, and the defaults with one bool flipped, for each bool."""
    bools = [k for k, v in hyper.items() if isinstance(v, bool)]
    return [dict(hyper), *({**hyper, k: not hyper[k]} for k in bools)]
