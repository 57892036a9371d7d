"""Tracing: call a rule's function once with symbols, to get the graph that every engine runs."""

from __future__ import annotations

import ast
import contextlib
import functools
import linecache
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import SteepestError, listed
from . import vocabulary
from .symbols import NOISES, RefusedError, Static, Symbol, watching
from .words import WORDS

if TYPE_CHECKING:
    from .definition import Rule, Shape

FUTURE = annotations.compiler_flag  # a notebook may compile code with it, though the cell does not import it


@dataclass(eq=False)
class Graph:
    """A traced rule: its inputs and outputs as symbols.

    `inputs` maps p, g, t, hyperparameters and state letters to leaves; `outputs` maps p and state letters to their new
    values. `points` are the points of further gradients, in order; `gradients` are the leaves for these. `statics` has the
    bools, ints and strings of the trace; `names` maps local names in the rule's function to values; `shaped`: some state has
    another shape than the parameter.
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
        """The new p and the new tensor state, by letter."""
        return {k: x for k, x in self.outputs.items() if k == "p" or self.inputs[k].tensor}

    @functools.cached_property
    def scalars(self) -> dict[str, Any]:
        """The new scalar state, by letter."""
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
        """Whether a tensor's steps must be counted: the rule reads t, or checkpoints store the step with its state."""
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
    """Yield every symbol that the targets depend on, once, arguments first; skip those with known ids and their arguments."""
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


def trace(rule: Rule, hyper: Mapping[str, Any], maximize: bool, shape: Shape) -> Graph:
    """Trace a rule with these hyperparameters, for a parameter of this shape.

    Floats become symbols, so that their values may change; bools, ints and strings are constants. `maximize` negates every
    gradient. SteepestError with the line for an operation that rules may not use.
    """
    live = rule.live_state(hyper, shape)
    leaves = {x: Symbol("input", tensor=x != "t", name=x) for x in ("p", "g", "t")}
    for letter, state in live.items():
        leaves[letter] = Symbol("input", tensor=not state.is_scalar, name=letter)
    statics = {k: Static(k, v) for k, v in hyper.items() if is_static(rule.hyper[k])}
    for k, v in hyper.items():
        if k not in statics:
            leaves[k] = Symbol("input", name=k, flag=bool(v))
    shaped = not all(state.is_scalar or state.is_like_p(shape) for state in live.values())
    graph = Graph(leaves, {}, statics=statics, shaped=shaped)
    g = -leaves["g"] if maximize else leaves["g"]

    def gradient_at(point: Any) -> Any:
        """The gradient at a point: g for p, if that is the first point, else a new leaf."""
        if not graph.points and point is leaves["p"]:
            return g
        answer = Symbol("gradient", tensor=True, name=f"g{len(graph.points) + 2}")
        answer.stage = point.stage + 1
        graph.points.append(point)
        graph.gradients.append(answer)
        return -answer if maximize else answer

    arguments = [leaves["p"], gradient_at if rule.oracle else g, leaves["t"], *(leaves.get(letter) for letter in rule.state)]
    keywords = {k: statics.get(k, leaves.get(k)) for k in hyper}
    with _explained(rule, graph) as last:
        returned = rule.step(*arguments, **keywords)
        new = returned if isinstance(returned, tuple) else (returned,)
        letters = ["p", *rule.state]
        if len(new) != len(letters):
            raise RefusedError(
                f"returns {len(new)} values and has {len(rule.state)} states; return {', '.join(letters)}, in that order"
            )
        for letter, x in zip(letters, new, strict=True):
            if x is None and letter in rule.state and letter not in live:
                continue
            if not isinstance(x, Symbol | int | float):
                raise RefusedError(f"returns a {type(x).__name__} for {letter}")
            if isinstance(x, Symbol) and x.tensor and letter in live and live[letter].is_scalar:
                raise RefusedError(f"returns a tensor for {letter}, which is one number")
            graph.outputs[letter] = x
    graph.names = {k: v for frame in last for k, v in frame.f_locals.items() if isinstance(v, Symbol)}
    return graph


def is_static(value: Any) -> bool:
    """Whether a hyperparameter with this default is static: a bool, int or str."""
    return isinstance(value, bool | int | str)


def check_function(name: str, function: Callable[..., Any]) -> None:
    """Raise SteepestError if a rule reads outside values other than the vocabulary, since they could change unnoticed."""
    code = function.__code__
    free = {k: c.cell_contents for k, c in zip(code.co_freevars, function.__closure__ or (), strict=True)}
    read = {k: v for k, v in function.__globals__.items() if k in code.co_names} | free
    for k, v in read.items():
        if not isinstance(v, ModuleType) and getattr(v, "__module__", "") != vocabulary.__name__:
            shown = repr(v) if isinstance(v, int | float | str) else "..."
            raise SteepestError(
                f"Rule {name}, line {_line_of(code, k)}: reads {k} from outside the rule; make it a hyperparameter, "
                f"{k}={shown}, or use a word of the vocabulary."
            )


def _line_of(code: CodeType, word: str) -> int:
    linecache.checkcache(code.co_filename)
    for number in sorted({line for *_, line in code.co_lines() if line}):
        if word in linecache.getline(code.co_filename, number):
            return number
    return code.co_firstlineno


def check_source(function: Callable[..., Any]) -> None:
    """Raise SteepestError if a function's source is missing or differs from its code: errors and cards show its lines."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    written = None
    with contextlib.suppress(SyntaxError):
        written = _codes(text, code.co_filename, code.co_flags & FUTURE).get((code.co_name, code.co_firstlineno))
    if written != code or code.co_name == "<lambda>":
        raise SteepestError(
            f"Rule {function.__name__}: its source differs from the code that runs; write it as a def in a file or a notebook "
            "cell, and run the def again after an edit."
        )


@functools.lru_cache(32)
def _codes(text: str, file: str, flags: int) -> dict[tuple[str, int], CodeType]:
    """Compile a source and return the code of each function by name and line."""
    waiting = [compile(text, file, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)]
    codes: dict[tuple[str, int], CodeType] = {}
    while waiting:
        code = waiting.pop()
        codes[code.co_name, code.co_firstlineno] = code
        waiting += [x for x in code.co_consts if isinstance(x, CodeType)]
    return codes


@contextlib.contextmanager
def _explained(rule: Rule, graph: Graph) -> Iterator[list[FrameType]]:
    """Find the frame of the rule's function, also after the call; turn every exception into a SteepestError with the line."""
    code = rule.code
    last: list[FrameType] = []

    def watch() -> None:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code is not code:
            frame = frame.f_back
        if frame is not None:
            last[:] = [frame]

    before = watching.set(watch)
    try:
        yield last
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line = last[0].f_lineno if last else max(line for *_, line in code.co_lines() if line)
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
        refused = SteepestError(f"Rule {rule.name}, line {line} ({source}): {what}.")
        refused.graph = graph  # type: ignore[attr-defined]  # for what was asked before the error
        raise refused from error
    finally:
        watching.reset(before)


def words() -> list[str]:
    """The names in the vocabulary."""
    return [k for k, v in vars(vocabulary).items() if getattr(v, "__module__", "") == vocabulary.__name__]
