"""Imports by a string, which import-linter cannot see, refer to other packages or to the package's own modules."""

import ast
from pathlib import Path

import pytest

import steepest

SOURCE = Path(steepest.__file__).parent
IMPORTERS = {"import_module", "__import__", "run_module"}
FILES = sorted(SOURCE.rglob("*.py"))


def called(node):
    """The name of the called function."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def start(node):
    """The prefix of a string expression; None if it is unknown before run time."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        first = str(node.values[0].value)
        return f"{first}module" if first == "." else first  # a relative import
    return None


def imported(tree):
    """The prefixes of all module names imported by a string; for a parameter, those of the file's calls."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    inside = {id(node): function for function in functions for node in ast.walk(function)}
    for call in (call for call in calls if called(call) in IMPORTERS):
        name, function = call.args[0], inside.get(id(call))
        parameters = [argument.arg for argument in function.args.args] if function else []
        if isinstance(name, ast.Name) and name.id in parameters:
            place = parameters.index(name.id)
            yield from (start(other.args[place]) for other in calls if called(other) == function.name)
        else:
            yield start(name)


def points_up(name):
    """Whether a module name may refer to another package of ours; unknown names may."""
    return name is None or name.startswith(("..", "steepest")) or name in (".", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_import_by_a_string_points_up(path):
    if path == SOURCE / "__init__.py":
        return  # the top layer may import everything
    if path == SOURCE / "update" / "lookup.py":
        return  # it imports the module of an optimizer that a user names
    for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
        assert not points_up(name), f"{path} imports {name} by a string"
        if name.startswith("."):
            assert path.name == "__init__.py", f"{path} imports a neighbour by a string"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("importlib.import_module('steepest.report.notebook')", True),
        ("import_module('..report', __name__)", True),
        ("__import__(f'steepest.{name}')", True),
        ("importlib.import_module(name)", True),
        ("def _package(name): return import_module(name)\n_package('steepest.cli')", True),
        ("def _package(name): return import_module(name)\n_package('pyarrow')", False),
        ("importlib.import_module(f'.built_in.{module}', __name__)", False),
        ("importlib.import_module(f'.{module}', __name__)", False),
        ("importlib.import_module(f'..{module}', __name__)", True),
    ],
)
def test_such_an_import_is_recognised(text, found):
    assert any(map(points_up, imported(ast.parse(text)))) == found
