"""Parse a schedule: a name, a name with arguments, products, and `a.then(b, at=...)`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from ..errors import SteepestError, unknown
from ..grammar import RANGE, Ask, Between
from .schedule import Schedule, check_length

LONGEST = 500  # characters of a typed schedule
PLAIN = "constant"  # a factor that changes nothing
ASK, BETWEEN = "ask_", "between_"  # Python names in place of `?` and `a..b`
Fill = Callable[
    [str, str, Ask | Between], Any
]  # the value of an argument that is searched: its schedule, its name, what was typed


def parse(text: str, known: dict[str, Callable[..., Schedule]], fill: Fill) -> Schedule:
    """Parse a schedule, as `schedules.get` does; `known` are the formulas by name.

    A factor `warmup` whose argument is filled with 0 is left out.
    """

    def refuse(node: ast.AST) -> SteepestError:
        what = ast.unparse(node)
        return SteepestError(
            f"Schedule '{text}': '{what}' cannot be used; write a name, name(argument=value), a * b or a.then(b, at=...)."
        )

    def build(node: ast.expr) -> Schedule:
        if isinstance(node, ast.Name):
            return make(node.id, [], {})
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            left, right = build(node.left), build(node.right)
            return right if left.name == PLAIN else left if right.name == PLAIN else left * right
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
        names = [*inspect.signature(known[name]).parameters]
        try:
            given = [filled(name, names[k] if k < len(names) else "", node) for k, node in enumerate(args)]
            more = {str(k): filled(name, str(k), v) for k, v in named.items()}
            if name == "warmup" and 0 in (*given, *more.values()) and any(map(is_searched, (*args, *named.values()))):
                return known[PLAIN]()
            return known[name](*given, **more)
        except OverflowError:
            raise SteepestError(f"Schedule '{text}': a number in it is too large.") from None
        except TypeError as error:
            said = str(error).split(") ", 1)[-1].replace("() ", " ")
            raise SteepestError(f"Schedule '{text}': {said}; `steepest list schedules` lists the arguments.") from None

    def filled(name: str, argument: str, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id == ASK:
            return fill(name, argument, Ask())
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == BETWEEN:
            low, high = map(literal, node.args)
            return fill(name, argument, Between(low, high))
        return literal(node)

    def literal(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise refuse(node) from None

    return build(_tree(text))


def _tree(text: str) -> ast.expr:
    """The expression of a schedule, with Python names in place of what is searched."""
    if len(text) > LONGEST:
        raise SteepestError(f"Schedule '{text}' has {len(text):,} characters; expected at most {LONGEST}.")
    try:
        return ast.parse(RANGE.sub(rf"{BETWEEN}(\1, \2)", text.strip()).replace("?", ASK), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise SteepestError(f"Schedule '{text}' cannot be read; write a name such as cosine, or step(size=30).") from None


def is_searched(node: ast.expr) -> bool:
    """Whether an argument was typed as `?` or as a range."""
    name = node.func if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in (ASK, BETWEEN)
