"""Parse a schedule: a name, a name with arguments, products, and `a.then(b, at=...)`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from ..errors import SteepestError, unknown
from .schedule import Schedule, check_length

LONGEST = 500  # characters of a typed schedule


def parse(text: str, known: dict[str, Callable[..., Schedule]]) -> Schedule:
    """Parse a schedule, as `schedules.get` does; `known` are the formulas by name."""

    def refuse(node: ast.AST) -> SteepestError:
        what = ast.unparse(node)
        return SteepestError(
            f"Schedule '{text}': '{what}' cannot be used; write a name, name(argument=value), a * b or a.then(b, at=...)."
        )

    def build(node: ast.expr) -> Schedule:
        if isinstance(node, ast.Name):
            return make(node.id, [], {})
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return build(node.left) * build(node.right)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return make(node.func.id, node.args, {k.arg: k.value for k in node.keywords})
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "then":
            named = {k.arg: k.value for k in node.keywords}
            if len(node.args) == 1 and set(named) == {"at"}:
                at = literal(named["at"])
                check_length("at", at)
                return build(node.func.value).then(build(node.args[0]), at)
        raise refuse(node)

    def make(name: str, args: list[ast.expr], named: dict[str | None, ast.expr]) -> Schedule:
        if name not in known:
            raise unknown("schedule", name, known)
        try:
            return known[name](*map(literal, args), **{str(k): literal(v) for k, v in named.items()})
        except OverflowError:
            raise SteepestError(f"Schedule '{text}': a number in it is too large.") from None
        except TypeError as error:
            said = str(error).split(") ", 1)[-1].replace("() ", " ")
            raise SteepestError(f"Schedule '{text}': {said}; `steepest list schedules` lists the arguments.") from None

    def literal(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise refuse(node) from None

    if len(text) > LONGEST:
        raise SteepestError(f"Schedule '{text}' has {len(text):,} characters; expected at most {LONGEST}.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise SteepestError(f"Schedule '{text}' cannot be read; write a name such as cosine, or step(size=30).") from None
    return build(tree.body)
