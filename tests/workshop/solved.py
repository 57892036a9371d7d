"""A lesson as a learner leaves it who has done every exercise, and what its pictures then show."""

import ast

import jupytext

from steepest_workshop.lessons import solution

# shown after the imports of a lesson: the names of the curves in its pictures are printed
SPY = """
def _spied(draw):
    def spied(*args, **kwargs):
        print("curves:", *(name for one in args if isinstance(one, dict) for name in one), sep="|")
        return draw(*args, **kwargs)

    return spied


learner.lines, learner.paths = _spied(learner.lines), _spied(learner.paths)
"""


def checked(source):
    """The exercise of a cell and what it checks, as a syntax tree; (None, None) if it checks nothing."""
    for node in ast.walk(ast.parse(source)) if "check(" in source else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check":
            return node.args[0].value, node.args[1]
    return None, None


def blank_of(source, answer):
    """The function or class of a cell that is checked, as a syntax tree."""
    return next(node for node in ast.parse(source).body if getattr(node, "name", "") == answer.id)


def filled_in(source):
    """A cell with its blank replaced by the exercise's solution."""
    name, answer = checked(source)
    if name is None:
        return source
    if isinstance(answer, ast.Constant):
        return source.replace(f'check("{name}", ...)', f'check("{name}", {solution(name)})')
    node, lines = blank_of(source, answer), source.split("\n")
    return "\n".join([*lines[: node.lineno - 1], solution(name).strip(), *lines[node.end_lineno :]])


def lesson(path, made, solved):
    """Write a lesson to `made`, with solutions if `solved`, and with its curves' names printed."""
    notebook = jupytext.read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = filled_in(cell.source) if solved else cell.source
            if "import Mine" in cell.source or "import ask" in cell.source:
                cell.source += SPY
    jupytext.write(notebook, made, fmt="py:percent")


def printed(notebook):
    """All text that a notebook shows."""
    outs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    return "\n".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in outs)
