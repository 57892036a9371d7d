"""Trajectories: a rule and a formula's gradient, compiled into one loop over the steps, in float64."""

from __future__ import annotations

import ctypes
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..errors import SteepestError
from ..rules import Rule
from ..rules.definition import Hyper, Setting
from ..rules.symbols import Expr, Reduction, Symbol
from ..rules.trace import Graph
from ..rules.vocabulary import maximum, sign, sqrt, where
from ..rules.words import WORDS
from ..surfaces import Surface
from ..update.engines.llvm.compiler import load
from ..update.engines.llvm.lowering import Body

Kind = TypeVar("Kind", np.float64, np.int64)
LIBRARY = ("sin", "cos", "tan", "exp", "log", "sinh", "cosh", "tanh", "atan")  # functions of C's library


@dataclass(frozen=True, eq=False)
class Formula:
    """A function of a few coordinates as symbols: the coordinates, the value and the gradient.

    With a `row` of symbols, the function is a mean over rows of data; value and gradient are those of one row.
    """

    at: tuple[Symbol, ...]
    value: Expr
    gradient: tuple[Expr, ...]
    row: tuple[Symbol, ...] = ()

    @classmethod
    def of(cls, value: Callable[..., Expr], gradient: Callable[..., Sequence[Expr]], dims: int, columns: int = 0) -> Formula:
        """Make a formula from Python functions of the coordinates and a row's columns, written in the vocabulary of rules."""
        at = tuple(Symbol("input", name=f"x{i}") for i in range(dims))
        row = tuple(Symbol("input", name=f"r{i}") for i in range(columns))
        return cls(at, value(*at, *row), tuple(gradient(*at, *row)), row)


@functools.lru_cache(maxsize=128)
def formula_of(surface: Surface) -> Formula:
    """A surface's value and gradient for the compiled loop, with common subexpressions computed once."""
    at = tuple(Symbol("input", name=str(v)) for v in surface.variables)
    shared, outputs = sympy.cse([surface.expression, *surface.gradient_expressions])
    known: dict[sympy.Basic, Expr] = dict(zip(surface.variables, at, strict=True))
    for name, expression in shared:
        known[name] = _symbols(expression, known)
    value, *gradient = (_symbols(expression, known) for expression in outputs)
    for kink in surface.kinks:
        off = functools.reduce(maximum, (abs(x - k) for x, k in zip(at, kink, strict=True)))
        gradient = [where(off > 0, g, 0.0) for g in gradient]
    return Formula(at, value, tuple(gradient))


def _symbols(e: sympy.Basic, known: Mapping[sympy.Basic, Expr]) -> Expr:
    """Convert a sympy formula to symbols; integer powers become products."""
    if e in known:
        return known[e]
    if e.is_number:
        return float(e)
    if isinstance(e, sympy.Pow):
        base, power = e.args
        x = _symbols(base, known)
        if power.is_Integer or (2 * power).is_Integer:
            root = x if power.is_Integer else sqrt(x)
            whole = _whole(root, abs(int(power if power.is_Integer else 2 * power)))
            return 1.0 / whole if power.is_negative else whole
        return Symbol("pow", (x, _symbols(power, known)))
    parts = [_symbols(a, known) for a in e.args]
    if isinstance(e, sympy.Add | sympy.Mul):
        join: Callable[[Expr, Expr], Expr] = operator.add if isinstance(e, sympy.Add) else operator.mul
        return functools.reduce(join, parts)
    if isinstance(e, sympy.Abs | sympy.sign):
        shape: Expr = abs(parts[0]) if isinstance(e, sympy.Abs) else sign(parts[0])
        return shape
    if type(e).__name__ in LIBRARY:
        return Symbol(type(e).__name__, tuple(parts))
    raise SteepestError(f"A surface's formula or gradient contains {type(e).__name__}, which cannot be compiled.")


def _whole(x: Expr, power: int) -> Expr:
    half = x if power == 1 else _whole(x, power // 2)
    return half if power == 1 else half * half if power % 2 == 0 else half * half * x


class _Loop(Body):
    """The body of the loop, all inline: tensors are computed for each coordinate, numbers once."""

    vector = False

    def __init__(self, graph: Graph, formula: Formula, noisy: bool) -> None:
        super().__init__("double")
        self.graph, self.formula, self.noisy, self.dim = graph, formula, noisy, 0
        self.cells: dict[tuple[Symbol, int], str] = {}

    def emit(self, x: Symbol) -> str:
        key = x, self.dim if x.tensor else -1
        if key not in self.cells:
            self.cells[key] = (
                self._reduction(x, x.reduction)
                if x.reduction
                else self._gradient(x)
                if x.op == "gradient"
                else self._compute(x)
            )
        return self.cells[key]

    def inline(self, x: Expr) -> bool:
        return isinstance(x, Symbol) and x.op in WORDS and WORDS[x.op].is_condition

    def read(self, array: str, index: str | int, type_: str = "double") -> str:
        """An element of an argument of the function."""
        place = self.add(f"getelementptr {type_}, ptr %{array}, i64 {index}")
        return self.add(f"load {type_}, ptr {place}")

    def write(self, array: str, index: str | int, value: str) -> None:
        """Write an element of an argument of the function."""
        place = self.add(f"getelementptr double, ptr %{array}, i64 {index}")
        self.lines.append(f"  store double {value}, ptr {place}")

    def every(self, x: Expr) -> list[str]:
        """A tensor's value at each coordinate."""
        before, values = self.dim, []
        for dim in range(len(self.formula.at)):
            self.dim = dim
            values.append(self.value(x))
        self.dim = before
        return values

    def _compute(self, x: Symbol) -> str:
        if x.op not in LIBRARY:
            return super()._compute(x)
        self.declared.add(f"declare double @{x.op}(double)")
        return self.add(f"call double @{x.op}(double {self.value(x.args[0])})")

    def evaluate(self, point: Sequence[str], step: str) -> tuple[str, list[str]]:
        """The formula's value and gradient at a point, for this step's batch and noise."""
        if self.formula.row:
            arguments = "".join(f", double {name}" for name in point)
            self.lines.append(f"  call void @batch(ptr %data, ptr %rows, i64 %batch, i64 {step}, ptr %sums{arguments})")
            *gradient, value = [self.read("sums", d) for d in range(len(point) + 1)]
        else:
            before, self.cells = self.cells, {(x, -1): name for x, name in zip(self.formula.at, point, strict=True)}
            value, *gradient = [self.value(x) for x in (self.formula.value, *self.formula.gradient)]
            self.cells = before
        if self.noisy:
            base = self.add(f"mul i64 {step}, {len(point)}")
            for d, clean in enumerate(gradient):
                noise = self.read("noise", self.add(f"add i64 {base}, {d}"))
                gradient[d] = self.add(f"fadd double {clean}, {noise}")
        return value, gradient

    def _reduction(self, x: Symbol, reduction: Reduction) -> str:
        values = self.every(x.args[0])
        terms = [self.add(f"fmul double {v}, {v}") for v in values] if reduction.kind == "squares" else values
        total = functools.reduce(lambda a, b: self.add(f"fadd double {a}, {b}"), terms)
        return self.add(f"fdiv double {total}, {self.constant(len(terms))}") if reduction.kind == "mean" else total

    def _gradient(self, x: Symbol) -> str:
        number = [id(y) for y in self.graph.gradients].index(id(x))
        _, answers = self.evaluate(self.every(self.graph.points[number]), "%i")
        for dim, name in enumerate(answers):
            self.cells[x, dim] = name
        return answers[self.dim]


def _batch(formula: Formula) -> tuple[set[str], list[str]]:
    """The LLVM function `batch`, which averages gradient and value over a step's rows, and the functions it declares."""
    body, dims = _Loop(Graph({}, {}), formula, False), len(formula.at)
    row = body.read("rows", body.add("add i64 %begin, %k"), "i64")
    first = body.add(f"mul i64 {row}, {len(formula.row)}")
    for d, x in enumerate(formula.at):
        body.cells[x, -1] = f"%p{d}"
    for c, x in enumerate(formula.row):
        body.cells[x, -1] = body.read("data", body.add(f"add i64 {first}, {c}"))
    terms = [body.value(x) for x in (*formula.gradient, formula.value)]
    sums = [body.add(f"fadd double %sum{d}, {term}") for d, term in enumerate(terms)]
    looped = len(body.lines)
    count = body.add("sitofp i64 %count to double")
    for d, total in enumerate(sums):
        body.write("sums", d, body.add(f"fdiv double {total}, {count}"))
    at = "".join(f", double %p{d}" for d in range(dims))
    return body.declared, [
        f"define internal void @batch(ptr %data, ptr %rows, i64 %count, i64 %step, ptr %sums{at}) alwaysinline {{",
        "entry:",
        "  %begin = mul i64 %step, %count",
        "  br label %loop",
        "loop:",
        "  %k = phi i64 [0, %entry], [%next, %loop]",
        *(f"  %sum{d} = phi double [0.0, %entry], [{total}, %loop]" for d, total in enumerate(sums)),
        *body.lines[:looped],
        "  %next = add i64 %k, 1",
        "  %end = icmp eq i64 %next, %count",
        "  br i1 %end, label %done, label %loop",
        "done:",
        *body.lines[looped:],
        "  ret void",
        "}",
    ]


def _columns(graph: Graph, dims: int) -> list[tuple[str, Expr, int]]:
    """The values of a step by name: its gradient, the rule's named values, the new state; each with its coordinate or -1."""
    named = {k: x for k, x in graph.names.items() if isinstance(x, Symbol) and x.args and k not in graph.outputs}
    gradient = {"g": graph.inputs["g"]} if not graph.gradients else {f"g{i}": x for i, x in enumerate(graph.gradients)}
    values = {**gradient, **named, **{k: x for k, x in graph.outputs.items() if k != "p"}}
    columns: list[tuple[str, Expr, int]] = []
    for name, x in values.items():
        is_tensor = isinstance(x, Symbol) and x.tensor
        columns += [(name, x, d) for d in (range(dims) if is_tensor else [-1])]
    return columns


def _source(rule: Rule, graph: Graph, formula: Formula, noisy: bool, insides: bool, hyper: Hyper) -> tuple[str, list[str]]:
    """The loop as LLVM IR, and the names of the hyperparameters that it takes, in order."""
    dims, letters = len(formula.at), [k for k in graph.outputs if k != "p"]
    loop = _Loop(graph, formula, noisy)
    declared, batch = _batch(formula) if formula.row else (set(), [])
    taken = [k for k, x in graph.inputs.items() if k in hyper and k != "lr"]
    for i, k in enumerate(taken):
        loop.cells[graph.inputs[k], -1] = loop.read("hyper", i)
    slots = [("p", d) for d in range(dims)]
    slots += [(k, d) for k in letters for d in (range(dims) if graph.inputs[k].tensor else [-1])]
    starts = _starts(rule, graph, loop, slots)
    begun = len(loop.lines)
    point = [f"%now{d}" for d in range(dims)]
    for i, (k, d) in enumerate(slots):
        loop.cells[graph.inputs[k], d] = f"%now{i}"
    loop.cells[graph.inputs["lr"], -1] = loop.read("rates", "%i")
    loop.cells[graph.inputs["t"], -1] = loop.add("sitofp i64 %next to double")
    value, gradient = loop.evaluate(point, "%i")
    for d, name in enumerate(gradient):
        loop.cells[graph.inputs["g"], d] = name

    def at(x: Expr, d: int) -> str:
        loop.dim = max(d, 0)
        return loop.value(x)

    new = [at(graph.outputs[k], d) for k, d in slots]
    shown = [at(x, d) for _, x, d in _columns(graph, dims)] if insides else []
    stored = [*point, value, *shown]
    base = loop.add(f"mul i64 %i, {len(stored)}")
    for d, name in enumerate(stored):
        loop.write("points", loop.add(f"add i64 {base}, {d}"), name)
    lines = [
        *sorted(loop.declared | declared),
        *batch,
        "define void @table(i64 %steps, i64 %batch, "
        "ptr %start, ptr %rates, ptr %hyper, ptr %data, ptr %rows, ptr %noise, ptr %points) {",
        "entry:",
        f"  %sums = alloca double, i64 {dims + 1}",
        *loop.lines[:begun],
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %entry], [%next, %loop]",
        *(f"  %now{i} = phi double [{a}, %entry], [{b}, %loop]" for i, (a, b) in enumerate(zip(starts, new, strict=True))),
        "  %next = add i64 %i, 1",
        *loop.lines[begun:],
        "  %end = icmp eq i64 %i, %steps",
        "  br i1 %end, label %done, label %loop",
        "done:",
        "  ret void",
        "}",
    ]
    return "\n".join(lines) + "\n", taken


def _starts(rule: Rule, graph: Graph, loop: _Loop, slots: Sequence[tuple[str, int]]) -> list[str]:
    """The initial value of the point's coordinates and of each number of the state."""
    copies = {k: rule.state[k].copies for k, _ in slots if k != "p"} | {"p": "p"}
    point = [loop.read("start", d) for d in range(len(loop.formula.at))]
    gradient = loop.evaluate(point, "0")[1] if "g" in copies.values() else []
    starts = []
    for k, d in slots:
        if copies[k]:
            starts.append(point[d] if copies[k] == "p" else gradient[d])
            continue
        start = rule.state[k].start
        if start == "lr":
            starts.append(loop.read("rates", 0))
        else:
            starts.append(loop.cells[graph.inputs[start], -1] if isinstance(start, str) else loop.constant(start))
    return starts


def trajectory(
    rule: Rule,
    formula: Formula,
    start: ArrayLike,
    steps: int,
    *,
    lr: float | ArrayLike,
    data: ArrayLike | None = None,
    batches: ArrayLike | None = None,
    noise: ArrayLike | None = None,
    insides: dict[str, NDArray[np.float64]] | None = None,
    **hyper: Setting,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run a rule on a formula. Returns the points (steps + 1, dims), the start first, and the formula's value at each.

    lr: one learning rate, or one for each step.
    data, batches: for a formula with rows, the rows (rows, columns) and the numbers of each step's rows (steps, batch). Values
        are then means over the next batch; the last batch is used again at the end.
    noise: (steps, dims), added to every gradient of its step.
    insides: a dict to fill with the values of each step, (steps, dims) or (steps,): gradient g, the rule's named values, and
        the new state.
    """
    dims, columns = len(formula.at), len(formula.row)
    rates = _lasting(np.asarray(lr, float), steps, ())  # the loop reads one past the last step, without effect
    settings = rule.settings(**hyper, lr=float(rates[0]))
    graph = rule.graph(settings)
    if not graph.elementwise:
        raise SteepestError(f"{rule.name} uses rows and columns, or state of another shape; expected an elementwise rule.")
    origin = np.ascontiguousarray(start, float)
    if origin.shape != (dims,):
        raise SteepestError(f"The start has shape {origin.shape}; the formula has {dims} coordinates.")
    table, rows = _data(columns, data, batches, steps)
    shaken = np.zeros(1) if noise is None else _lasting(np.asarray(noise, float), steps, (dims,))
    key = graph, formula, noise is not None, insides is not None
    if key not in _compiled:
        source, taken = _source(rule, graph, formula, noise is not None, insides is not None, settings)
        (address,) = load(source, "table")
        _compiled[key] = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 7)(address), taken
    function, taken = _compiled[key]
    values = np.array([settings[k] for k in taken] or [0.0])
    names = _columns(graph, dims) if insides is not None else []
    output = np.empty((steps + 1, dims + 1 + len(names)))
    places = [ctypes.c_void_p(a.ctypes.data) for a in (origin, rates, values, table, rows, shaken, output)]
    function(steps, rows.shape[-1], *places)
    if insides is not None:
        for name in dict.fromkeys(name for name, _, _ in names):
            chosen = [dims + 1 + i for i, (other, _, _) in enumerate(names) if other == name]
            one = output[:-1, chosen]
            insides[name] = one[:, 0] if [d for other, _, d in names if other == name] == [-1] else one
    return output[:, :dims], output[:, dims]


def _data(
    columns: int, data: ArrayLike | None, batches: ArrayLike | None, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Check a formula's data (rows, columns) and the numbers of each step's rows, (steps + 1, batch) in the result."""
    if any((given is None) == (columns > 0) for given in (data, batches)):
        raise SteepestError("A formula with rows takes data and batches; one without takes neither.")
    if not columns:
        return np.zeros((1, 0)), np.zeros((1, 1), np.int64)
    table, rows = np.ascontiguousarray(data, float), np.asarray(batches)
    if table.ndim != 2 or table.shape[1] != columns:
        raise SteepestError(f"The data have shape {table.shape}; expected (rows, {columns}).")
    if rows.ndim != 2 or not rows.shape[1] or rows.dtype.kind not in "iu":
        raise SteepestError(f"The batches have shape {rows.shape}; expected (steps, batch), the numbers of rows.")
    if rows.size and (rows.min() < 0 or rows.max() >= len(table)):
        raise SteepestError(
            f"The batches name rows from {rows.min()} to {rows.max()}; the data have rows 0 to {len(table) - 1}."
        )
    return table, _lasting(rows.astype(np.int64), steps, rows.shape[1:])


def _lasting(series: NDArray[Kind], steps: int, of: tuple[int, ...]) -> NDArray[Kind]:
    """Broadcast numbers to each step, (steps + 1, *of), repeating those of the last step."""
    if series.shape != of and series.shape != (steps, *of):
        raise SteepestError(f"Given for each step: shape {series.shape}; expected {(steps, *of)}.")
    each = np.broadcast_to(series, (max(steps, 1), *of))
    return np.ascontiguousarray(np.concatenate([each, each[-1:]]))


_compiled: dict[tuple[Graph, Formula, bool, bool], tuple[Any, list[str]]] = {}
