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
OURS = "steepest_workshop"
CHANGES = ("append", "extend", "insert", "update", "setdefault", "add", "pop", "remove", "clear", "sort", "reverse")
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
    names: frozenset[str]  # that it defines


def read(path: Path) -> Submission:
    """Read a notebook. SteepestError, in one sentence, if it is none, or has no exercise of the lessons."""
    place("notebook", path)
    if path.is_symlink():
        raise SteepestError(f"The notebook {path} is a link, perhaps to another's answers; replace it by its file.")
    if path.exists() and not path.is_file():
        raise SteepestError(f"The notebook {path} is not a file.")
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
    last: dict[str, tuple[ast.expr, int]] = {}  # an answer, and how many statements there are up to it
    code = {}
    for number, text in cells.items():
        try:
            code[number], tree = parsed(text)
        except UNREADABLE as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            fault = f"Cell {number}{line}: this is not Python ({getattr(error, 'msg', type(error).__name__)})."
            found = [name for name in CALL.findall(text) if name in EXERCISES]
            attempts |= {name: Attempt(fault=fault) for name in found}
            last = {name: each for name, each in last.items() if name not in found}
            continue
        for index, node in enumerate(tree.body):
            before.append(_Statement(number, index, node, frozenset(_bound(node))))
            for name, answer in checks(node):
                last[name] = answer, len(before)
    definers = _definers(before)
    return Submission(code, attempts | {name: _attempt(answer, before[:end], definers) for name, (answer, end) in last.items()})


def _definers(statements: list[_Statement]) -> dict[str, list[int]]:
    """The statements that define a name, by the name."""
    found: dict[str, list[int]] = {}
    for k, each in enumerate(statements):
        for name in each.names:
            found.setdefault(name, []).append(k)
    return found


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
            plain = "\n".join(map(_without_magic, text.split("\n")))
            return plain, ast.parse(plain)


def _without_magic(line: str) -> str:
    """A line of a cell with `pass` for a magic, a shell command or a question."""
    code = line.strip()
    magic = code.startswith(("%", "!", "?")) or code.endswith("?")
    return f"{line[: len(line) - len(line.lstrip())]}pass" if magic else line


def checks(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The calls of `check` outside of functions: the name of the exercise, and the expression of the answer."""
    for node in _outside(tree):
        if isinstance(node, ast.Call) and _called(node.func) == "check":
            given = dict(zip(("name", "mine"), node.args, strict=False)) | {word.arg: word.value for word in node.keywords}
            name = getattr(given.get("name"), "value", None)
            if isinstance(name, str) and name in EXERCISES and "mine" in given:
                yield name, given["mine"]


def _outside(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a syntax tree, however deep it is, in their order; none that is in a function or a class."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        yield node
        inner = [each for each in ast.iter_child_nodes(node) if not isinstance(node, Definition | ast.Lambda)]
        nodes += reversed(inner)


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _attempt(answer: ast.expr, before: list[_Statement], definers: dict[str, list[int]]) -> Attempt:
    """An answer with the statements before it that it needs, directly or through others."""
    try:
        expression = ast.unparse(answer)
        chosen = _needed(expression, before, definers)
    except UNREADABLE as error:
        return Attempt(fault=f"The answer cannot be read ({type(error).__name__}).")
    modules = [name for each in chosen for name in _imported(each.node)]
    return Attempt(expression, [(each.cell, each.index) for each in chosen], list(dict.fromkeys(modules)))


def _needed(expression: str, before: list[_Statement], definers: dict[str, list[int]]) -> list[_Statement]:
    """Imports, definitions and assignments of names that an expression uses, in their order."""
    seen, chosen, names = set[str](), set[int](), ["*", *_free(expression)]
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        for k in definers.get(name, ()):
            if k < len(before) and k not in chosen:
                chosen.add(k)
                names += _free(ast.unparse(before[k].node))
    return [before[k] for k in sorted(chosen)]


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement defines or changes; none of one that is not run, such as a loop or an import of the lessons."""
    if isinstance(node, ast.If | ast.Try | ast.With):
        return set[str]().union(*(_bound_here(each) for each in _outside(node) if isinstance(each, ast.stmt)))
    return _bound_here(node)


def _bound_here(node: ast.stmt) -> set[str]:
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, Assignment):
        return set(map(_base, _targets(*(node.targets if isinstance(node, ast.Assign) else [node.target]))))
    if isinstance(node, ast.Import | ast.ImportFrom) and not any(name.split(".")[0] == OURS for name in _imported(node)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        return {_base(node.value.func.value)} if node.value.func.attr in CHANGES else set()
    return set()


def _targets(*targets: ast.expr) -> Iterator[ast.expr]:
    """What is assigned to, one by one."""
    nodes = list(targets)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Tuple | ast.List):
            nodes += node.elts
        else:
            yield node.value if isinstance(node, ast.Starred) else node


def _base(node: ast.expr) -> str:
    """The name at the beginning of `name.attribute[index]`; empty if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


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
