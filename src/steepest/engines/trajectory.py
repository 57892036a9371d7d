"""Trajectories: a rule and a formula's gradient compiled together into one loop over the steps, in float64."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SteepestError
from ..rules import Rule
from ..rules.symbols import CONDITIONS, Symbol
from ..rules.trace import Graph
from .compiler import load
from .lowering import Body


@dataclass(frozen=True, eq=False)
class Formula:
    """A function of a few numbers as symbols: its coordinates, its value and its gradient."""

    at: tuple[Symbol, ...]
    value: Any
    gradient: tuple[Any, ...]

    @classmethod
    def of(cls, value: Callable[..., Any], gradient: Callable[..., Sequence[Any]], dims: int) -> Formula:
        """From Python functions of the coordinates, written with the words of a rule."""
        at = tuple(Symbol("input", name=f"x{i}") for i in range(dims))
        return cls(at, value(*at), tuple(gradient(*at)))


class _Loop(Body):
    """The body of the loop: a tensor's symbols are computed once for each coordinate, numbers once, all inline."""

    vector = False

    def __init__(self, graph: Graph, formula: Formula) -> None:
        super().__init__("double")
        self.graph, self.formula, self.dim = graph, formula, 0
        self.cells: dict[tuple[Symbol, int], str] = {}

    def emit(self, x: Symbol) -> str:
        key = x, self.dim if x.tensor else -1
        if key not in self.cells:
            self.cells[key] = (
                self._reduction(x) if " over " in x.op else self._gradient(x) if x.op == "gradient" else self._compute(x)
            )
        return self.cells[key]

    def inline(self, x: Any) -> bool:
        return isinstance(x, Symbol) and x.op in CONDITIONS

    def every(self, x: Any) -> list[str]:
        """A tensor's value at each coordinate."""
        before, found = self.dim, []
        for dim in range(len(self.formula.at)):
            self.dim = dim
            found.append(self.value(x))
        self.dim = before
        return found

    def evaluate(self, symbols: Sequence[Any], point: Sequence[str]) -> list[str]:
        """What symbols of the formula are at a point."""
        before, self.cells = self.cells, {(x, -1): name for x, name in zip(self.formula.at, point, strict=True)}
        found = [self.value(x) for x in symbols]
        self.cells = before
        return found

    def _reduction(self, x: Symbol) -> str:
        values = self.every(x.args[0])
        terms = [self.add(f"fmul double {v}, {v}") for v in values] if "squares" in x.op else values
        total = functools.reduce(lambda a, b: self.add(f"fadd double {a}, {b}"), terms)
        return self.add(f"fdiv double {total}, {self.constant(len(terms))}") if x.op.startswith("mean") else total

    def _gradient(self, x: Symbol) -> str:
        number = [id(y) for y in self.graph.gradients].index(id(x))
        answers = self.evaluate(self.formula.gradient, self.every(self.graph.points[number]))
        for dim, name in enumerate(answers):
            self.cells[x, dim] = name
        return answers[self.dim]


def _source(rule: Rule, graph: Graph, formula: Formula, hyper: dict[str, Any]) -> tuple[str, list[str]]:
    """The loop in LLVM's language, and the names of the hyperparameters it takes, in order."""
    dims, letters = len(formula.at), [k for k in graph.outputs if k != "p"]
    loop = _Loop(graph, formula)
    taken = [k for k, x in graph.inputs.items() if k in hyper and k != "lr"]
    head = [f"  %h{i} = getelementptr double, ptr %hyper, i64 {i}\n  %k{i} = load double, ptr %h{i}" for i in range(len(taken))]
    for i, k in enumerate(taken):
        loop.cells[graph.inputs[k], -1] = f"%k{i}"
    head += [f"  %s{d} = getelementptr double, ptr %start, i64 {d}\n  %p{d} = load double, ptr %s{d}" for d in range(dims)]
    head.append("  %first = load double, ptr %rates")
    slots = [("p", d) for d in range(dims)]
    slots += [(k, d) for k in letters for d in (range(dims) if graph.inputs[k].tensor else [-1])]
    starts = {("p", d): f"%p{d}" for d in range(dims)}
    copied = any(rule.state[k].start == "copy of g" for k in letters)
    at_start = loop.evaluate(formula.gradient, [f"%p{d}" for d in range(dims)]) if copied else []
    for k, d in slots[dims:]:
        start = rule.state[k].start
        if start == "copy of p":
            starts[k, d] = f"%p{d}"
        elif start == "copy of g":
            starts[k, d] = at_start[d]
        elif isinstance(start, str):
            starts[k, d] = "%first" if start == "lr" else loop.cells[graph.inputs[start], -1]
        else:
            starts[k, d] = loop.constant(start)
    head += loop.lines
    begun = len(loop.lines)
    point = [f"%now{d}" for d in range(dims)]
    for i, (k, d) in enumerate(slots):
        loop.cells[graph.inputs[k], d] = f"%now{i}"
    loop.cells[graph.inputs["lr"], -1], loop.cells[graph.inputs["t"], -1] = "%lr", "%t"
    value, *gradient = loop.evaluate([formula.value, *formula.gradient], point)
    for d, name in enumerate(gradient):
        loop.cells[graph.inputs["g"], d] = name
    new = {}
    for k, d in slots:
        loop.dim = max(d, 0)
        new[k, d] = loop.value(graph.outputs[k])
    lines = [
        *sorted(loop.declared),
        "define void @table(i64 %steps, ptr %start, ptr %rates, ptr %hyper, ptr %points) {",
        *("entry:", *head, "  br label %loop", "loop:", "  %i = phi i64 [0, %entry], [%next, %loop]"),
        *(f"  %now{i} = phi double [{starts[slot]}, %entry], [{new[slot]}, %loop]" for i, slot in enumerate(slots)),
        *("  %r = getelementptr double, ptr %rates, i64 %i", "  %lr = load double, ptr %r"),
        *("  %next = add i64 %i, 1", "  %t = sitofp i64 %next to double", f"  %base = mul i64 %i, {dims + 1}"),
        *loop.lines[begun:],
    ]
    for d, name in enumerate([*point, value]):
        lines += [f"  %o{d} = add i64 %base, {d}", f"  %q{d} = getelementptr double, ptr %points, i64 %o{d}"]
        lines.append(f"  store double {name}, ptr %q{d}")
    lines += ["  %end = icmp eq i64 %i, %steps", "  br i1 %end, label %done, label %loop", "done:", "  ret void", "}"]
    return "\n".join(lines) + "\n", taken


def trajectory(
    rule: Rule, formula: Formula, start: ArrayLike, steps: int, *, lr: float | ArrayLike, **hyper: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points (steps + 1, dims), the start first, and the formula's value at each. `lr` is one rate, or one a step."""
    given = np.broadcast_to(np.asarray(lr, float), (max(steps, 1),))
    rates = np.append(given, given[-1])  # the loop reads one rate past the last step, and does nothing with it
    settings = rule.settings(**hyper, lr=float(rates[0]))
    graph = rule.graph(settings)
    origin = np.ascontiguousarray(start, float)
    if origin.shape != (len(formula.at),):
        raise SteepestError(f"The start has shape {origin.shape}; the formula has {len(formula.at)} coordinates.")
    key = graph, formula
    if key not in _compiled:
        source, taken = _source(rule, graph, formula, settings)
        (address,) = load(source, "table")
        _compiled[key] = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 4)(address), taken
    function, taken = _compiled[key]
    values = np.array([settings[k] for k in taken] or [0.0])
    found = np.empty((steps + 1, len(formula.at) + 1))
    places = [ctypes.c_void_p(a.ctypes.data) for a in (origin, rates, values, found)]
    function(steps, *places)
    return found[:, :-1], found[:, -1]


_compiled: dict[tuple[Graph, Formula], tuple[Any, list[str]]] = {}
