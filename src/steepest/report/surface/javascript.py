"""A surface as a JavaScript function: its value, and its gradient, by sympy's own printer."""

from __future__ import annotations

import sympy

from ...surfaces import Surface


def function(surface: Surface, name: str = "f") -> str:
    """A function `(p, g)`: it gives the height at the point p, an array, and writes the gradient to the array g."""
    shared, outputs = sympy.cse([surface.expression, *surface.gradient_expressions], sympy.numbered_symbols("c"))
    value, *gradient = map(sympy.jscode, outputs)
    lines = [f"function {name}(p, g) {{"]
    lines += [f"  const {v} = p[{k}];" for k, v in enumerate(surface.variables)]
    lines += [f"  const {c} = {sympy.jscode(expression)};" for c, expression in shared]
    lines += [f"  g[{k}] = {part};" for k, part in enumerate(gradient)]
    for kink in surface.kinks:
        here = " && ".join(f"{v} === {x!r}" for v, x in zip(surface.variables, kink, strict=True))
        lines.append(f"  if ({here}) g.fill(0);")
    return "\n".join([*lines, f"  return {value};", "}"])
