"""Plain formulas with one thing wrong: a sign, an index, a factor of 2, n for n - 1, a constant that is 10 % off."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import numpy as np

Node = ast.FunctionDef | ast.Lambda
HERE = __name__.rpartition(".")[0]  # functions of this package are a formula's own words, those of libraries are not
OFF = (0.9, 1.1)  # factors of a constant


def variants(formula: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Wrong forms of a formula, each after its words: one thing wrong in it or in a function of the lessons that it calls."""
    if not isinstance(formula, FunctionType):
        return
    node = node_of(formula)
    for what, changed in mutants(node):
        yield what, rebuilt(formula, changed)
    for name in formula.__code__.co_names:
        helper = formula.__globals__.get(name)
        if isinstance(helper, FunctionType) and helper.__module__.startswith((HERE, formula.__module__)):
            for what, wrong in variants(helper):
                yield f"{name}: {what}", rebuilt(formula, node, {name: wrong})


def node_of(formula: FunctionType) -> Node:
    """The function in the source of its module."""
    nodes = _nodes(inspect.getfile(formula))[formula.__code__.co_firstlineno]
    return next(node for node in nodes if _print(_code(node)) == _print(formula.__code__))


def _print(code: CodeType) -> tuple[Any, ...]:
    """What tells the functions of a line apart."""
    plain = [x for x in code.co_consts if not isinstance(x, CodeType | str | tuple)]
    return sorted({*code.co_names, *code.co_freevars}), code.co_varnames, plain


@functools.cache
def _nodes(file: str) -> dict[int, list[Node]]:
    """The functions of a file by the line in which they begin."""
    found: dict[int, list[Node]] = {}
    with open(file, encoding="utf-8") as source:
        for node in ast.walk(ast.parse(source.read())):
            if isinstance(node, Node):
                found.setdefault(node.lineno, []).append(node)
    return found


def _code(node: Node) -> CodeType:
    """The compiled function, without decorators, defaults and annotations."""
    bare = copy.deepcopy(node)
    bare.args.defaults = [ast.Constant(None) for _ in bare.args.defaults]
    bare.args.kw_defaults = [each and ast.Constant(None) for each in bare.args.kw_defaults]
    if isinstance(bare, ast.FunctionDef):
        bare.decorator_list, bare.returns = [], None
        for each in (*bare.args.posonlyargs, *bare.args.args, *bare.args.kwonlyargs):
            each.annotation = None
        body: list[ast.stmt] = [bare]
    else:
        body = [ast.Expr(bare)]
    whole = compile(ast.fix_missing_locations(ast.Module(body, [])), inspect.__file__, "exec")
    return next(x for x in whole.co_consts if isinstance(x, CodeType))


def rebuilt(formula: FunctionType, node: Node, named: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """A function like the formula, with another node and some names replaced."""
    cells = zip(formula.__code__.co_freevars, formula.__closure__ or (), strict=True)
    room = formula.__globals__ | {name: cell.cell_contents for name, cell in cells} | dict(named or {})
    made = FunctionType(_code(node), room, argdefs=formula.__defaults__)
    made.__kwdefaults__ = formula.__kwdefaults__
    return made


def mutants(function: Node) -> Iterator[tuple[str, Node]]:
    """Each changed copy of a function, with what was changed; defaults and annotations are left alone."""
    for what, place, new in changes(function, _wrong):
        yield f"{what}: {ast.unparse(place)} -> {ast.unparse(new)}", with_node(function, place, new)


def changes(
    function: Node, wrong: Callable[[ast.AST], Iterator[tuple[str, ast.AST]]]
) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    """What may be wrong at each node of a function, in words, the node, and the wrong one."""
    body = function.body if isinstance(function.body, list) else [function.body]
    for place in [node for part in body for node in ast.walk(part)]:
        for what, new in wrong(place):
            yield what, place, new


def with_node(function: Node, place: ast.AST, new: ast.AST) -> Node:
    """A copy of a function with another node in a place; the rest is shared."""

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return new if node is place else self.generic_visit(copy.copy(node))

        def generic_visit(self, node: ast.AST) -> ast.AST:
            for name, value in ast.iter_fields(node):
                if isinstance(value, list):
                    setattr(node, name, [self.visit(x) if isinstance(x, ast.AST) else x for x in value])
                elif isinstance(value, ast.AST):
                    setattr(node, name, self.visit(value))
            return node

    changed: Node = Swap().visit(function)
    return changed


def _wrong(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may be wrong at a node."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield "sign", ast.BinOp(node.left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), node.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", node.operand
    value = node.value if isinstance(node, ast.Constant) and not isinstance(node.value, bool) else None
    if isinstance(value, int | float) and value:
        yield from (("constant", ast.Constant(factor * value)) for factor in OFF)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name):
        yield "index", ast.Subscript(node.value, ast.BinOp(node.slice, ast.Sub(), ast.Constant(1)), node.ctx)
    if isinstance(node, ast.Return) and node.value is not None:
        yield "factor", ast.Return(ast.BinOp(ast.Constant(2), ast.Mult(), node.value))
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "len":
            yield "n - 1", ast.BinOp(node, ast.Sub(), ast.Constant(1))
        given = next((word.value for word in node.keywords if word.arg == "ddof"), ast.Constant(0))
        if called in ("std", "var") and isinstance(given, ast.Constant):
            more = [word for word in node.keywords if word.arg != "ddof"]
            other = 1 if len(more) == len(node.keywords) else 0
            yield "n - 1", ast.Call(node.func, node.args, [*more, ast.keyword("ddof", ast.Constant(other))])


def comes_to(apart: Callable[[], float], near: float) -> bool:
    """Whether a wrong formula gives what the right one does; one that does not run gives nothing."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return apart() <= near
        except (ArithmeticError, AttributeError, IndexError, LookupError, TypeError, ValueError):
            return False


def identity(function: Any) -> str:
    """What a function computes, as text: functions with equal identities are the same comparison."""
    if isinstance(function, functools.partial):
        return f"{identity(function.func)}{function.args}{function.keywords}"
    code = function.__code__
    plain = [x for x in code.co_consts if not isinstance(x, CodeType)]
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return f"{code.co_code.hex()} {code.co_names} {plain} {function.__defaults__} {cells}"
