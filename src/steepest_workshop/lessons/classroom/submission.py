"""Find the answers in a student's notebook, and what each needs of the other cells. Nothing of it is run here."""

from __future__ import annotations

import ast
import re
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from steepest.errors import SteepestError, place

from ..exercises import EXERCISES

MOST = 64 << 20  # bytes of a notebook
CALL = re.compile(r"\bcheck\(\s*['\"](\w+)['\"]")  # in a cell that is not Python
MAGIC = re.compile(r"^(\s*)(?:[%!?].*|.*\?)$", re.MULTILINE)
OURS = "steepest_workshop"
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # of text that is not Python
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Assignment = ast.Assign | ast.AnnAssign | ast.AugAssign


class _Cell(msgspec.Struct):
    cell_type: str
    source: str | list[str] = ""


class _Notebook(msgspec.Struct):
    cells: list[_Cell]


@dataclass(frozen=True)
class Attempt:
    """An answer: its expression, and the statements that it needs, each as its cell and its place in there.

    `modules` are those that it imports. `fault` says why it cannot be run.
    """

    expression: str = ""
    statements: list[tuple[int, int]] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    fault: str = ""


@dataclass(frozen=True)
class Submission:
    """The code of a notebook by cell, counted from 1, and the last answer to each of its exercises."""

    cells: dict[int, str]
    attempts: dict[str, Attempt]


@dataclass(frozen=True)
class _Statement:
    cell: int
    index: int
    node: ast.stmt


def read(path: Path) -> Submission:
    """Read a notebook. SteepestError, in one sentence, if it is none, or has no exercise of the lessons."""
    place("notebook", path)
    try:
        with path.open("rb") as file:
            text = file.read(MOST + 1)
    except OSError as error:
        raise SteepestError(f"The notebook {path} cannot be read: {error.strerror or error}.") from error
    if len(text) > MOST:
        raise SteepestError(f"The notebook {path} is larger than {MOST >> 20} MiB; clear its outputs.")
    try:
        found = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf"), type=_Notebook)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SteepestError(f"{path} is not a Jupyter notebook (JSON with cells); save it again as .ipynb.") from None
    cells = {k: "".join(cell.source) for k, cell in enumerate(found.cells, 1) if cell.cell_type == "code"}
    submission = _submission(cells)
    if not submission.attempts:
        raise SteepestError(f"{path} has no exercise: none of its cells calls `check` with the name of one.")
    return submission


def _submission(cells: dict[int, str]) -> Submission:
    """The answers in cells; the last one to an exercise counts."""
    before: list[_Statement] = []
    attempts: dict[str, Attempt] = {}
    code = {}
    for number, text in cells.items():
        try:
            code[number], tree = parsed(text)
        except UNREADABLE as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            fault = f"Cell {number}{line}: this is not Python ({getattr(error, 'msg', type(error).__name__)})."
            attempts |= {name: Attempt(fault=fault) for name in CALL.findall(text) if name in EXERCISES}
            continue
        for index, node in enumerate(tree.body):
            before.append(_Statement(number, index, node))
            for name, answer in checks(node):
                attempts[name] = _attempt(answer, before)
    return Submission(code, attempts)


def parsed(text: str) -> tuple[str, ast.Module]:
    """A cell as Python and its syntax tree; IPython's magics do nothing. One of UNREADABLE is raised if it is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backslashes in strings
        try:
            return text, ast.parse(text)
        except SyntaxError:
            if text.startswith("%%"):
                magic, _, rest = text.partition("\n")
                text = f"\n{rest}" if magic.split()[0] in ("%%time", "%%timeit", "%%capture") else ""
            plain = MAGIC.sub(r"\1pass", text)
            return plain, ast.parse(plain)


def checks(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The calls of `check` outside of functions: the name of the exercise, and the expression of the answer."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition | ast.Lambda):
            continue
        if isinstance(node, ast.Call) and _called(node.func) == "check":
            given = [*node.args, *(word.value for word in node.keywords if word.arg in ("name", "mine"))]
            name = given[0].value if given and isinstance(given[0], ast.Constant) else None
            if isinstance(name, str) and name in EXERCISES and len(given) == 2:
                yield name, given[1]
        yield from checks(node)


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _attempt(answer: ast.expr, before: list[_Statement]) -> Attempt:
    """An answer with the statements before it that it needs, directly or through others."""
    expression = ast.unparse(answer)
    try:
        chosen = _needed(expression, before)
    except UNREADABLE as error:
        return Attempt(fault=f"The answer cannot be read ({type(error).__name__}).")
    modules = [name for each in chosen for name in _imported(each.node)]
    return Attempt(expression, [(each.cell, each.index) for each in chosen], list(dict.fromkeys(modules)))


def _needed(expression: str, before: list[_Statement]) -> list[_Statement]:
    """Imports, definitions and assignments of names that an expression uses, in their order."""
    names, chosen = _free(expression), set[int]()
    while True:
        more = [k for k, each in enumerate(before) if k not in chosen and _bound(each.node) & (names | {"*"})]
        if not more:
            return [before[k] for k in sorted(chosen)]
        chosen.update(more)
        names = names.union(*(_free(ast.unparse(before[k].node)) for k in more))


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement defines; none of one that is not run, such as a loop or an import of the lessons."""
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, Assignment):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    if isinstance(node, ast.Import | ast.ImportFrom) and not any(name.split(".")[0] == OURS for name in _imported(node)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return set()


def _imported(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported in a statement, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _free(code: str) -> set[str]:
    """Names that code takes from its module: those it reads there, and those its functions read that are not their own."""
    top = symtable.symtable(code, "<cell>", "exec")
    names = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    inner = list(top.get_children())
    while inner:
        table = inner.pop()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        inner += table.get_children()
    return names
