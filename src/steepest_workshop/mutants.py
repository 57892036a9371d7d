"""Rules with one thing wrong: beta for 1 - beta, a bias correction dropped, eps moved, a root dropped, a sign flipped."""

from __future__ import annotations

import ast
import copy
import dataclasses
import linecache
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from steepest import surfaces
from steepest.errors import SteepestError
from steepest.paths.loop import formula_of, trajectory
from steepest.rules import RULES, Rule

SAME = 1e-12  # relative: an error that moves a path by no more than rounding does is none, such as eps moved where it is 0


def source(rule: Rule) -> ast.FunctionDef:
    """The function that a rule is written as."""
    tree = ast.parse(Path(rule.code.co_filename).read_text(encoding="utf-8"))
    return next(x for x in tree.body if isinstance(x, ast.FunctionDef) and x.name == rule.code.co_name)


def of(rule: Rule, hyper: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
    """Each rule with one error, and what it is: those that run, and whose path is another."""
    right, seen = _path(rule, hyper), Counter[str]()
    for number, (what, changed) in enumerate(mutants(source(rule))):
        seen[what] += 1
        what = f"{what} ({seen[what]})" if seen[what] > 1 else what
        try:
            made = build(dataclasses.replace(rule), changed, number)
            made = dataclasses.replace(made, name=f"{rule.name}, {what}", hyper={**made.hyper, **rule.hyper}, traced=[])
            wrong = _path(made, hyper)
        except (SteepestError, RuntimeError, ZeroDivisionError):
            continue
        if not np.allclose(right, wrong, rtol=SAME, atol=0, equal_nan=True):
            yield what, made


def _path(rule: Rule, hyper: Mapping[str, Any]) -> np.ndarray:
    surface = surfaces.get("beale")
    with np.errstate(all="ignore"):
        return trajectory(rule, formula_of(surface), surface.start, 25, **{"lr": 0.01} | dict(hyper))[0]


def mutants(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Each changed copy of a function, with what was changed."""
    count = len(list(ast.walk(function)))
    for i in range(count):
        for kind in ("beta", "bias", "eps", "root", "sign"):
            changed = copy.deepcopy(function)
            node = list(ast.walk(changed))[i]
            if any(
                node is x for default in changed.args.kw_defaults + changed.args.defaults if default for x in ast.walk(default)
            ):
                continue
            if any(node is x for d in changed.decorator_list for x in ast.walk(d)):
                continue
            new = mutate(node, kind)
            if new is not None:
                replace(changed, node, new)
                yield f"{kind}: {ast.unparse(node)} -> {ast.unparse(new)}", ast.fix_missing_locations(changed)


def mutate(node: Any, kind: str) -> Any:
    """The node (an `ast.expr`) with one thing wrong, or None where this kind of wrong does not apply."""
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    if kind == "beta" and called in ("ema", "debias"):
        place = 2 if called == "ema" else 1
        args = list(node.args)
        args[place] = ast.BinOp(ast.Constant(1), ast.Sub(), args[place])
        return ast.Call(node.func, args, node.keywords)
    if kind == "bias" and called == "debias":
        return node.args[0]
    if kind == "root" and called in ("sqrt", "cbrt"):
        return node.args[0]
    if kind == "eps" and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and is_eps(node.right):
        if isinstance(node.left, ast.Call) and getattr(node.left.func, "id", "") in ("sqrt", "cbrt"):
            inner = ast.BinOp(node.left.args[0], ast.Add(), node.right)
            return ast.Call(node.left.func, [inner, *node.left.args[1:]], [])
        return node.left
    if kind == "eps" and called == "sqrt" and isinstance(node.args[0], ast.BinOp) and is_eps(node.args[0].right):
        return ast.BinOp(ast.Call(node.func, [node.args[0].left], []), ast.Add(), node.args[0].right)
    if kind == "sign" and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        return ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)
    if kind == "sign" and isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return node.operand
    return None


def is_eps(node: ast.AST) -> bool:
    """Whether this is eps."""
    return isinstance(node, ast.Name) and node.id == "eps"


def replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put a node in the place of another."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                setattr(parent, field, [new if x is old else x for x in value])


def build(rule: Rule, tree: ast.FunctionDef, number: int) -> Rule:
    """The rule of a changed function, with the decorators of the original."""
    tree = copy.deepcopy(tree)
    tree.name = f"mutant_{number}"
    text, name = ast.unparse(tree) + "\n", f"<mutant {number} of {rule.name}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    room = next(dict(vars(m)) for m in list(sys.modules.values()) if getattr(m, "__file__", "") == rule.code.co_filename)
    exec(compile(text, name, "exec"), room)
    RULES.pop(tree.name, None)
    made: Rule = room[tree.name]
    return made
