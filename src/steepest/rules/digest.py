"""A hash of what a rule computes: the same on every version of Python, and independent of names and docstrings."""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import SteepestError
from .symbols import VALUE, Symbol
from .trace import Graph, is_static, trace, walk

if TYPE_CHECKING:
    from .definition import Rule, State

MARK = "traced-1:"  # prefix of these digests; older stores have digests of the rule's text, without a prefix


def digest(rule: Rule) -> str:
    """Hash the rule's graphs for every outcome of its branches, on statics and on whether a number is zero."""
    variants = [f"{choice}\n{text}" for choice, text in _variants(rule)]
    view = [*rule.state].index(rule.view) if rule.view else None
    return MARK + hashlib.sha256("\n".join([f"view {view}", *sorted(variants)]).encode()).hexdigest()


def _variants(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield each distinct set of branch outcomes, with its graph as text.

    Starting from the defaults, every branch that a trace takes is flipped, until no new outcomes appear. A rule whose state
    depends on the parameter's shape is traced at each kind of shape.
    """
    waiting, seen = [(dict(rule.hyper), shape) for shape in rule.shapes], set[str]()
    while waiting:
        hyper, shape = waiting.pop()
        try:
            graph = trace(rule, hyper, False, shape)
            text = _words(rule, graph, rule.live_state(hyper, shape))
        except SteepestError as error:  # an invalid setting, such as an unknown string
            graph, text = error.graph, "refused"  # type: ignore[attr-defined]
        asked = _asked(rule, graph)
        answers = {k: _answers(hyper[k], asked[k]) for k in asked}
        if len(rule.shapes) > 1:
            answers["matrix"] = [f"None: {len(shape) > 1}", *([] if shape in rule.shapes[:2] else [str(shape)])]
        choice = ", ".join(f"{k}={answers[k]}" for k in sorted(answers))
        if choice in seen:
            continue
        seen.add(choice)
        yield choice, text
        for k, questions in asked.items():
            waiting += [({**hyper, k: other}, shape) for other in _others(hyper[k], questions)]


def _asked(rule: Rule, graph: Graph) -> dict[str, list[Any]]:
    """The comparisons made with each hyperparameter, in a trace or in the conditions of the state (see `Static.asked`)."""
    asked = {k: list(dict.fromkeys(static.asked)) for k, static in graph.statics.items() if static.asked}
    asked |= {k: [None] for k in rule.hyper if not is_static(rule.hyper[k]) and graph.inputs[k].asked}
    for state in rule.state.values():
        if state.condition and None not in asked.setdefault(state.condition, [None]):
            asked[state.condition].append(None)
    return asked


def _answers(value: Any, questions: list[Any]) -> list[str]:
    def answer(q: Any) -> Any:
        return bool(value) if q is None else value if q is VALUE else (value > q) - (value < q)

    return sorted(f"{q!r}: {answer(q)}" for q in questions)


def _others(value: Any, questions: list[Any]) -> list[Any]:
    """Values for which these comparisons have other outcomes."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, float):
        return [0.0 if value else 0.5]
    values: list[Any] = []
    for q in [q for q in questions if q is not VALUE]:
        if isinstance(value, str):
            values += [q or "", "?"]
        else:
            values += [0, 1] if q is None else range(math.floor(q) - 1, math.ceil(q) + 2)
    return values


def _start(state: State) -> Any:
    """The initial value of a state: its number or copy, or the source of the function that makes it."""
    if state.begin is None:
        return state.begins
    return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(state.begin))))


def _words(rule: Rule, graph: Graph, live: dict[str, State]) -> str:
    """A graph as text: the start of each state, each operation once, the new p and the new state."""
    places = {letter: i for i, letter in enumerate(rule.state)}
    numbers = dict[Symbol, int]()

    def shown(x: Any) -> str:
        if isinstance(x, Symbol):
            return f"%{numbers[x]}"
        return "none" if x is None else float(x).hex()

    lines = [f"state {places[k]}: {_start(s)} {s.is_scalar} {s.per_group} {s.layout}" for k, s in live.items()]
    for x in walk(graph.targets()):
        numbers[x] = len(numbers)
        leaf = f"state {places[x.name]}" if x.name in places else x.name
        arguments = ", ".join(shown(a) for a in x.args) if x.args else leaf
        lines.append(f"%{numbers[x]} = {x.reduction or x.op}({arguments})")
    lines += [f"ask {shown(x)}" for x in graph.points]
    return "\n".join([*lines, *(f"-> {shown(x)}" for x in graph.outputs.values())])
