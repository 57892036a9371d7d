"""Tracing: a rule's function is called once with symbols; the result is the graph that every engine runs."""

from __future__ import annotations

import ast
import contextlib
import functools
import linecache
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..errors import SteepestError, listed
from . import vocabulary
from .symbols import NOISES, RefusedError, Static, Symbol
from .words import WORDS


@dataclass(eq=False)
class Graph:
    """A traced rule: its inputs and outputs as symbols.

    `inputs` maps p, g, t, hyperparameters and state letters to leaves; `outputs` maps p and state letters to their new
    values. `points` are where further gradients are taken, in order; `gradients` are the leaves for these. `statics` has the
    bools, ints and strings of the trace; `names` the local names of values in the rule's function;
    `shaped` says that some state has another shape than the parameter.
    """

    inputs: dict[str, Symbol]
    outputs: dict[str, Any]
    points: list[Any] = field(default_factory=list)
    gradients: list[Symbol] = field(default_factory=list)
    statics: dict[str, Static] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    shaped: bool = False

    @functools.cached_property
    def stages(self) -> int:
        """The number of passes over memory."""
        return 1 + max((x.stage for x in self.targets()), default=0)

    @functools.cached_property
    def tensors(self) -> dict[str, Any]:
        """The new p and the new state that is tensors, by letter."""
        return {k: x for k, x in self.outputs.items() if k == "p" or self.inputs[k].tensor}

    @functools.cached_property
    def scalars(self) -> dict[str, Any]:
        """The new state that is numbers, by letter."""
        return {k: x for k, x in self.outputs.items() if k not in self.tensors}

    @functools.cached_property
    def numbers(self) -> dict[str, Symbol]:
        """The leaves that are numbers, by name: t, hyperparameters and state."""
        return {k: x for k, x in self.inputs.items() if not x.tensor}

    @functools.cached_property
    def epsilons(self) -> list[Symbol]:
        """The symbols for the machine epsilon of a leaf's dtype."""
        return [x for x in walk(self.targets()) if x.op == "epsilon" and not x.args[0].args]

    @functools.cached_property
    def early(self) -> dict[str, Symbol]:
        """The state that the first of several passes can write, because no later pass reads its old value."""
        if not self.reductions:
            return {}
        early = {k: x for k, x in self.tensors.items() if k != "p" and isinstance(x, Symbol) and x.args and x.stage == 0}
        while True:
            done = {id(x) for x in early.values()}
            later = [x for k, x in self.tensors.items() if k not in early and isinstance(x, Symbol)]
            later += [*self.points, *(x.args[0] for x in self.reductions if x.args[0].stage)]
            needed = {x.name for x in walk(later, done) if not x.args}
            kept = {k: x for k, x in early.items() if k not in needed}
            if len(kept) == len(early):
                return kept
            early = kept

    @functools.cached_property
    def noises(self) -> list[Symbol]:
        """The random tensors that the engine must draw."""
        return [x for x in walk(self.targets()) if x.op in NOISES]

    @functools.cached_property
    def elementwise(self) -> bool:
        """Whether a loop over elements can run it: nothing depends on rows or columns."""
        return not self.shaped and not any(x.op in WORDS and WORDS[x.op].llvm is None for x in walk(self.targets()))

    @functools.cached_property
    def counts(self) -> bool:
        """Whether the steps of a tensor must be counted: the rule reads t, or checkpoints store its state with the step."""
        return len(self.outputs) > 1 or any(x is self.inputs["t"] for x in walk(self.targets()))

    def targets(self) -> list[Symbol]:
        """The symbols of all outputs and points."""
        return [x for x in (*self.outputs.values(), *self.points) if isinstance(x, Symbol)]

    @functools.cached_property
    def reductions(self) -> list[Symbol]:
        """Every reduction, earliest stage first."""
        return sorted((x for x in walk(self.targets()) if x.reduction), key=lambda x: x.stage)

    @functools.cached_property
    def reach(self) -> str:
        """The scope of an update: "element", "tensor" or "model"."""
        overs = {x.reduction.over for x in self.reductions if x.reduction}
        return "model" if "model" in overs or self.points else "tensor" if overs or not self.elementwise else "element"


def walk(targets: list[Any], known: Iterable[int] = ()) -> Iterator[Symbol]:
    """Yield every symbol that the targets depend on, once, arguments first; without those of known ids and what is below."""
    seen: set[int] = set(known)

    def visit(x: Symbol) -> Iterator[Symbol]:
        if id(x) not in seen:
            seen.add(id(x))
            for a in x.args:
                if isinstance(a, Symbol):
                    yield from visit(a)
            yield x

    for target in targets:
        yield from visit(target)


class Oracle:
    """The gradient as a function, for rules that need it at other points than p."""

    def __init__(self, graph: Graph, g: Any, maximize: bool) -> None:
        self.graph, self.g, self.maximize = graph, g, maximize

    def __call__(self, point: Any) -> Any:
        """The gradient at a point; the first point must be p, where the gradient is known."""
        if not self.graph.points and point is self.graph.inputs["p"]:
            return self.g
        answer = Symbol("gradient", tensor=True, name=f"g{len(self.graph.points) + 2}")
        answer.stage = point.stage + 1
        self.graph.points.append(point)
        self.graph.gradients.append(answer)
        return -answer if self.maximize else answer


def trace(
    name: str,
    step: Callable[..., Any],
    code: CodeType,
    state: Mapping[str, Any],
    live: Mapping[str, Any],
    hyper: Mapping[str, Any],
    oracle: bool = False,
    maximize: bool = False,
) -> Graph:
    """Trace `step` with these hyperparameters; `code` is the function that the user wrote, for the line in errors.

    Floats become symbols, so that their values may change; bools, ints and strings are constants. `maximize` negates every
    gradient. SteepestError for operations that rules may not use, with the line.
    """
    leaves = {x: Symbol("input", tensor=x != "t", name=x) for x in ("p", "g", "t")}
    for letter in live:
        leaves[letter] = Symbol("input", tensor=not state[letter].is_scalar, name=letter)
    statics = {k: Static(k, v) for k, v in hyper.items() if is_static(v)}
    for k, v in hyper.items():
        if k not in statics:
            leaves[k] = Symbol("input", name=k, flag=bool(v))
    graph = Graph(leaves, {}, statics=statics)
    g = -leaves["g"] if maximize else leaves["g"]
    gradient = Oracle(graph, g, maximize) if oracle else g
    arguments = [leaves["p"], gradient, leaves["t"], *(leaves.get(letter) for letter in state)]
    keywords = {k: statics.get(k, leaves.get(k)) for k in hyper}
    names = _Names(code)
    with _explained(name, names, graph), names:
        returned = step(*arguments, **keywords)
        new = returned if isinstance(returned, tuple) else (returned,)
        if len(new) != 1 + len(state):
            expected = ", ".join(["p", *state])
            raise RefusedError(f"returns {len(new)} values and has {len(state)} states; return {expected}, in that order")
        for letter, x in zip(("p", *state), new, strict=True):
            if x is None and letter in state and letter not in live:
                continue
            if not isinstance(x, Symbol | int | float):
                raise RefusedError(f"returns a {type(x).__name__} for {letter}")
            scalar = letter != "p" and state[letter].is_scalar
            if scalar and isinstance(x, Symbol) and x.tensor:
                raise RefusedError(f"returns a tensor for {letter}, which is one number")
            graph.outputs[letter] = x
    graph.names = {k: v for k, v in names.values.items() if isinstance(v, Symbol)}
    return graph


def is_static(value: Any) -> bool:
    """Whether a hyperparameter with this default is static: a bool, int or str."""
    return isinstance(value, bool | int | str)


def check_function(name: str, function: Callable[..., Any]) -> None:
    """Raise SteepestError if a rule reads outside values other than the vocabulary: they could change unnoticed."""
    code = function.__code__
    free = {k: c.cell_contents for k, c in zip(code.co_freevars, function.__closure__ or (), strict=True)}
    read = {k: v for k, v in function.__globals__.items() if k in code.co_names} | free
    for k, v in read.items():
        if not isinstance(v, ModuleType) and getattr(v, "__module__", "") != vocabulary.__name__:
            line = _line_of(code, k)
            raise SteepestError(
                f"Rule {name}, line {line}: reads {k} from outside the rule; make it a hyperparameter, {k}={_shown(v)}, or use "
                "a word of the vocabulary."
            )


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, int | float | str) else "..."


def _line_of(code: CodeType, word: str) -> int:
    linecache.checkcache(code.co_filename)
    for number in sorted({line for *_, line in code.co_lines() if line}):
        if word in linecache.getline(code.co_filename, number):
            return number
    return code.co_firstlineno


class _Names:
    """The local names of a rule's function when it returns, and the line."""

    def __init__(self, code: CodeType) -> None:
        self.code, self.values, self.line = code, dict[str, Any](), code.co_firstlineno

    def __enter__(self) -> _Names:
        self.before = _listening.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _listening.reset(self.before)


_listening: ContextVar[_Names | None] = ContextVar("listening", default=None)
_NOTE = "<note>"  # not a valid identifier, so no program uses it


def with_notes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Rewrite `return x` to `return note(x)` in a function's syntax tree, which records its local names.

    A profiling hook could do that too, but there is only one, and profilers need it. SteepestError if the source cannot be
    read, or is not what runs.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    key = code.co_name, code.co_firstlineno
    plain = noted = None
    with contextlib.suppress(SyntaxError):
        plain, noted = (_codes(text, code.co_filename, notes).get(key) for notes in (False, True))
    if plain is None or noted is None or code.co_name == "<lambda>" or not _are_equal(plain, code):
        raise SteepestError(
            f"Rule {function.__name__}: its source is not what runs; a rule is a def in a file or a notebook cell, and one "
            "that was edited is defined anew."
        )
    names = {**function.__globals__, _NOTE: _note}
    made = FunctionType(noted, names, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


@functools.lru_cache(32)
def _codes(text: str, file: str, notes: bool) -> dict[tuple[str, int], CodeType]:
    """Compile a source, with or without notes, and return the code of each function by name and line."""
    tree = ast.parse(text, file)
    if notes:
        tree = ast.fix_missing_locations(_Returns().visit(tree))
    waiting, codes = [compile(tree, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)], dict[Any, CodeType]()
    while waiting:
        code = waiting.pop()
        codes[code.co_name, code.co_firstlineno] = code
        waiting += [x for x in code.co_consts if isinstance(x, CodeType)]
    return codes


def _are_equal(a: CodeType, b: CodeType) -> bool:
    """Whether two code objects are the same but for their position in a file."""
    inner = [[x for x in code.co_consts if isinstance(x, CodeType)] for code in (a, b)]
    constants = [[repr(x) for x in code.co_consts if not isinstance(x, CodeType)] for code in (a, b)]
    same = (a.co_code, a.co_names, a.co_varnames, a.co_freevars) == (b.co_code, b.co_names, b.co_varnames, b.co_freevars)
    return same and constants[0] == constants[1] and len(inner[0]) == len(inner[1]) and all(map(_are_equal, *inner))


class _Returns(ast.NodeTransformer):
    """Wraps the value of every return."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        value = node.value or ast.Constant(None)
        node.value = ast.copy_location(ast.Call(ast.Name(_NOTE, ast.Load()), [value], []), node)
        return node


def _note(returned: Any) -> Any:
    names, frame = _listening.get(), sys._getframe(1)
    if names is not None and frame.f_code is names.code:
        names.values, names.line = dict(frame.f_locals), frame.f_lineno
    return returned


@contextlib.contextmanager
def _explained(name: str, names: _Names, graph: Graph) -> Iterator[None]:
    """Inside, every exception becomes a SteepestError with the rule's name and line."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        code, line = names.code, names.line
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code is code:
                line = number
        linecache.checkcache(code.co_filename)
        source = linecache.getline(code.co_filename, line).strip()
        if isinstance(error, RefusedError):
            what = str(error)
        elif isinstance(error, NameError):
            what = f"{error}; the vocabulary has {listed(words())}"
        else:
            what = f"raises {type(error).__name__}: {error}; a rule uses + - * / ** and the vocabulary: {listed(words())}"
        refused = SteepestError(f"Rule {name}, line {line} ({source}): {what}.")
        refused.graph = graph  # type: ignore[attr-defined]  # for what was asked before the error
        raise refused from error


def words() -> list[str]:
    """The names in the vocabulary."""
    return [k for k, v in vars(vocabulary).items() if getattr(v, "__module__", "") == vocabulary.__name__]
