"""Rules and surfaces as JavaScript functions; a rule's values keep their names, one line each, in the order of computation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import sympy

from ..errors import SteepestError
from ..rules import Rule
from ..rules.definition import Hyper
from ..rules.symbols import Symbol
from ..rules.trace import Graph, walk
from ..rules.words import WORDS
from ..surfaces import Surface

SIGN = "const sign = (x) => (x > 0) - (x < 0); // 0 of NaN"
OWN = ("p", "g", "t", "i", "f", "state", "note", "hyper", "sign")  # names that a step's function uses itself
RESERVED = (
    *("arguments", "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete", "do"),
    *("else", "enum", "eval", "export", "extends", "false", "finally", "for", "function", "if", "implements", "import", "in"),
    *("instanceof", "interface", "let", "new", "null", "package", "private", "protected", "public", "return", "static"),
    *("super", "switch", "this", "throw", "true", "try", "typeof", "undefined", "var", "void", "while", "with", "yield"),
)
TAKEN = frozenset((*OWN, *RESERVED))
LONGEST = 12  # operations; longer unnamed values that are used twice get a line of their own


def function(rule: Rule, hyper: Hyper, name: str | None = None, notes: bool = False) -> str:
    """The rule's step on one tensor as a JavaScript function `(p, g, t, state, hyper)` that writes to p and state.

    p and g are arrays; `state` has an array or a number for each letter, `hyper` the hyperparameters. A rule that takes
    gradients at other points has a last argument `f`, which returns the gradient at an array. With `notes` every rule has it,
    followed by an optional callback `note(name, i, value)` for each named value, with i -1 for a number. Sums over the whole
    model are over this tensor. SteepestError for a rule without a form in JavaScript.
    """
    return "\n".join(_Writer(rule, rule.graph(hyper), notes).lines(name or rule.name))


def text(rule: Rule, hyper: Hyper | None = None) -> str:
    """The function as readable JavaScript, with the functions it calls."""
    settings = rule.settings(**(hyper or {}))
    body = function(rule, settings, "".join(c if c.isalnum() else "_" for c in rule.name).strip("_"))
    above = [f"// {rule.reference}"]
    if any(x.reduction and x.reduction.over == "model" for x in rule.graph(settings).reductions):
        above.append("// p is all there is: what the rule sums over the whole model is summed over it.")
    if len(rule.shapes) > 1:
        above.append("// p is no matrix: a matrix takes another step, which looks at rows and columns.")
    if "sign(" in body:
        above.append(SIGN)
    return "\n".join([*above, body])


def expression(x: Any, strength: int = 0, known: Mapping[Symbol, str] | None = None, bare: bool = False) -> str:
    """A value as JavaScript, in parentheses if it binds less than `strength`; a bare choice has none.

    `known` has the text of symbols; other leaves are written by their names.
    """
    names = known or {}
    if not isinstance(x, Symbol):
        return _number(x, strength)
    if x in names or not x.args:
        return names.get(x, x.name)
    form = WORDS[x.op].javascript
    if isinstance(form, str):
        return f"{form}({', '.join(expression(a, 0, names, True) for a in x.args)})"
    assert form is not None
    shown, own = form(lambda a, needed=0: expression(a, needed, names), *x.args)
    return f"({shown})" if own < strength or (own == 0 and not bare) else str(shown)


def height(surface: Surface) -> str:
    """The function `f(p, g, h)`: returns the height at the point p, an array, and writes the gradient to the array g.

    If there is an array h, it writes the Hessian there, row by row from the diagonal on.
    """
    shared, outputs = sympy.cse([surface.expression, *surface.gradient_expressions], sympy.numbered_symbols("c"))
    value, *gradient = map(sympy.jscode, outputs)
    curved = [part for k, row in enumerate(surface.hessian_expressions) for part in row[k:]]
    lines = ["function f(p, g, h) {"]
    lines += [f"  const {v} = p[{k}];" for k, v in enumerate(surface.variables)]
    lines += [f"  const {c} = {sympy.jscode(expression)};" for c, expression in shared]
    lines += [f"  g[{k}] = {part};" for k, part in enumerate(gradient)]
    within, outputs = sympy.cse(curved, sympy.numbered_symbols("d"))
    named = [f"const {d} = {sympy.jscode(expression)};" for d, expression in within]
    named += [f"h[{k}] = {sympy.jscode(part)};" for k, part in enumerate(outputs)]
    lines += ["  if (h) {", *(f"    {line}" for line in named), "  }"]
    for kink in surface.kinks:
        here = " && ".join(f"{v} === {x!r}" for v, x in zip(surface.variables, kink, strict=True))
        lines.append(f"  if ({here}) g.fill(0);")
    return "\n".join([*lines, f"  return {value};", "}"])


class _Writer:
    """Writes the lines of a function: numbers once, and a loop over the elements for each pass of the rule."""

    def __init__(self, rule: Rule, graph: Graph, notes: bool) -> None:
        self.graph, self.notes = graph, notes
        if graph.noises or graph.shaped or any(x.op in WORDS and WORDS[x.op].javascript is None for x in walk(graph.targets())):
            what = "draws noise" if graph.noises else "looks at the rows and columns of a matrix"
            raise SteepestError(f"Rule {rule.name} {what}, which its form in JavaScript has not; it has one without that.")
        self.names: dict[Symbol, str] = {}
        self.used = set(TAKEN) | set(graph.inputs)
        self.letters = {k: self._free(f"{k}1") if k in TAKEN - set("pgt") else k for k in graph.inputs}
        for k, x in graph.inputs.items():
            self.names[x] = f"{self.letters[k]}[i]" if x.tensor else self.letters[k]
        for x in graph.gradients:
            self.names[x] = f"{x.name}[i]"
        self.wanted = self._wanted()

    def _wanted(self) -> dict[Symbol, str]:
        """The values that get a line, with their preferred names."""
        wanted: dict[Symbol, str] = {}
        for k, x in self.graph.outputs.items():
            if isinstance(x, Symbol) and x.args:
                wanted.setdefault(x, f"{k}_t")
        for k, x in self.graph.names.items():
            if x.args and not x.reduction:
                wanted.setdefault(x, f"{k}1" if k in self.graph.inputs else k)
        symbols = list(walk(self.graph.targets()))
        users = Counter(a for x in symbols for a in x.args if isinstance(a, Symbol))
        sizes: dict[Symbol, int] = {}
        for x in symbols:
            sizes[x] = 1 + sum(sizes[a] for a in x.args if isinstance(a, Symbol) and a not in wanted)
            if users[x] > 1 and sizes[x] > LONGEST and x.args and not x.reduction:
                wanted.setdefault(x, "a1")
        return wanted

    def lines(self, name: str) -> list[str]:
        """The function."""
        graph = self.graph
        read = {x.name for x in walk(graph.targets()) if not x.args}
        hyper = [k for k in graph.inputs if k in read and k not in ("p", "g", "t") and k not in graph.outputs]
        more = ["f", "note"] if self.notes else ["f"] * bool(graph.points)
        state = [k for k in graph.outputs if k != "p"]
        lines = [f"function {name}({', '.join(['p', 'g', 't', 'state', self._taken(hyper), *more])}) {{"]
        lines += [f"  const {self._taken(state)} = state;"] if state else []
        for stage in range(graph.stages):
            lines += self._numbers(stage)
            lines += self._sums([x for x in graph.reductions if x.args[0].stage == stage])
            lines += self._asked(stage)
        lines += self._last()
        return [*lines, "}"]

    def _taken(self, letters: list[str]) -> str:
        """Destructure these letters from an object; reserved words get another name."""
        return f"{{ {', '.join(k if self.letters[k] == k else f'{k}: {self.letters[k]}' for k in letters)} }}"

    def _numbers(self, stage: int) -> Iterator[str]:
        """The named numbers that are known at this pass."""
        for x in walk(self.graph.targets()):
            if x in self.wanted and x not in self.names and not x.tensor and x.stage == stage:
                yield f"  {self._line(x)}"

    def _line(self, x: Symbol) -> str:
        shown = self.show(x, bare=True)
        self.names[x] = self._free(self.wanted[x])
        return f"const {self.names[x]} = {shown};"

    def _free(self, name: str) -> str:
        """This name, or a numbered one if it is used already."""
        stem, number = name.rstrip("0123456789"), 2
        while name in self.used:
            name, number = f"{stem}{number}", number + 1
        self.used.add(name)
        return name

    def _loop(
        self, targets: list[Any], last: list[str], strengths: dict[int, int] | None = None, notes: bool = False
    ) -> list[str]:
        """A loop over the elements: the named values that the targets need, then lines formatted with the targets' text."""
        outside, used = dict(self.names), set(self.used)
        lines = ["  for (let i = 0; i < p.length; i++) {"]
        calls = [f'note("{x.name}", i, {x.name}[i]);' for x in self.graph.gradients]
        for x in walk([x for x in targets if isinstance(x, Symbol)], map(id, outside)):
            if x in self.wanted and x.tensor:
                lines.append(f"    {self._line(x)}")
                calls.append(f'note("{self.names[x]}", i, {self.names[x]});')
        if notes and calls:
            lines.append(f"    if (note) {{ {' '.join(calls)} }}")
        bound = strengths or {}
        shown = [self.show(x, bound.get(k, 0), bare=k not in bound) for k, x in enumerate(targets)]
        lines += [f"    {line.format(*shown)}" for line in last]
        self.names, self.used = outside, used
        return [*lines, "  }"]

    def _sums(self, reductions: list[Symbol]) -> list[str]:
        """Sums over the elements, in one loop."""
        if not reductions:
            return []
        kinds = [x.reduction.kind for x in reductions if x.reduction]
        names = [self._free("sum1") for _ in reductions]
        squares = {k: 4 for k, kind in enumerate(kinds) if kind == "squares"}
        terms = [f"{name} += {{{k}}}{f' * {{{k}}}' if k in squares else ''};" for k, name in enumerate(names)]
        lines = [f"  let {name} = 0;" for name in names]
        lines += self._loop([x.args[0] for x in reductions], terms, squares)
        for x, kind, name in zip(reductions, kinds, names, strict=True):
            self.names[x] = self._free("mean1") if kind == "mean" else name
            lines += [f"  const {self.names[x]} = {name} / p.length;"] if kind == "mean" else []
        return lines

    def _asked(self, stage: int) -> Iterator[str]:
        """The gradients at other points."""
        for x, point in zip(self.graph.gradients, self.graph.points, strict=True):
            if point.stage == stage:
                at = self.show(point)
                yield f"  const {x.name} = f(p.map((_, i) => {at}));"

    def _last(self) -> list[str]:
        """The loop that writes the results, and the numbers of the state."""
        graph = self.graph
        tensors = {k: x for k, x in graph.tensors.items() if x is not graph.inputs[k]}
        last = [f"{self.letters[k]}[i] = {{{n}}};" for n, k in enumerate(tensors)]
        lines = self._loop(list(tensors.values()), last, notes=self.notes)
        numbers = {k: x for k, x in graph.scalars.items() if x is not graph.inputs[k]}
        calls = [f'note("{name}", -1, {name});' for x, name in self.names.items() if x.args and not x.tensor]
        lines += [f"  if (note) {{ {' '.join(calls)} }}"] if self.notes and calls else []
        return lines + [f"  state.{k} = {self.show(x, bare=True)};" for k, x in numbers.items()]

    def show(self, x: Any, strength: int = 0, bare: bool = False) -> str:
        """An expression, with named values by their names."""
        return expression(x, strength, self.names, bare)


def _number(x: float, strength: int) -> str:
    if x != x or x in (float("inf"), float("-inf")):
        return "NaN" if x != x else "Infinity" if x > 0 else "(-Infinity)"
    shown = str(int(x)) if float(x).is_integer() and abs(x) < 1e15 else repr(float(x))
    return f"({shown})" if x < 0 and strength > 2 else shown
