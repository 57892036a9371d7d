"""Write the lessons as notebooks for students: no outputs, and every exercise blank."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from steepest.checks import written
from steepest.errors import SteepestError, place

from . import sources
from .submission import checks

README = Path(__file__).parent / "students.md"
LINK = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")  # to a page of the repository, which students do not have
Span = tuple[
    ast.stmt | ast.expr, ast.stmt | ast.expr, bool
]  # of a text: its first and last node, and whether to its line's end


def hand_out(folder: Path) -> list[Path]:
    """Write the notebooks and a README in a new or empty folder; SteepestError if a file is already there."""
    folder = place("folder", folder)
    texts = {f"{path.stem}.ipynb": notebook(path) for path in sources.lessons()}
    texts["README.md"] = README.read_text(encoding="utf-8")
    there = [name for name in texts if (folder / name).exists()]
    if there:
        raise SteepestError(f"{folder / there[0]} exists, and may have answers in it; give another folder.")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SteepestError(f"The folder {folder} cannot be created: {error.strerror}.") from error
    return [written("notebook", folder / name, text) for name, text in texts.items()]


def notebook(path: Path) -> str:
    """A lesson as the JSON of a notebook."""
    cells = [_cell(number, *cell) for number, cell in enumerate(sources.cells(path))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    text = blank(text) if kind == "code" else LINK.sub(r"\1", text)
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def blank(text: str) -> str:
    """A cell without answers: `...` for the body of a function that is checked, or for a value that is."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a magic
        return text
    functions = {name: node for name, node in map(_function, tree.body) if node}
    spans: list[Span] = []
    for _, answer in checks(tree):
        if isinstance(answer, ast.Name) and answer.id in functions:
            spans += _body(functions[answer.id])
        elif not isinstance(answer, ast.Name):
            spans.append((answer, answer, False))
    for first, last, line in sorted(spans, key=lambda span: -span[0].lineno):
        text = _without(text, first, last, line)
    return text


def _function(node: ast.stmt) -> tuple[str, ast.FunctionDef | None]:
    """The function to write in a definition, by the definition's name: of a class it is `forward`."""
    if isinstance(node, ast.ClassDef):
        methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
        return node.name, next((each for each in methods if each.name == "forward"), None)
    return (node.name, node) if isinstance(node, ast.FunctionDef) else ("", None)


def _body(function: ast.FunctionDef) -> list[Span]:
    """What follows a function's docstring."""
    code = function.body[bool(ast.get_docstring(function)) :]
    return [(code[0], code[-1], True)] if code else []


def _without(text: str, first: Any, last: Any, line: bool) -> str:
    """A text with `...` from one node to another; `line`: to the end of the line, with its comment."""
    lines = text.encode().splitlines(keepends=True)
    before = b"".join(lines[: first.lineno - 1]) + lines[first.lineno - 1][: first.col_offset]
    rest = lines[last.end_lineno - 1][last.end_col_offset :]
    after = (b"\n" if rest.endswith(b"\n") else b"") if line else rest
    return str(before + b"..." + after + b"".join(lines[last.end_lineno :]), "utf-8")
