"""Draw docs/pictures/architecture.png: the layers of the product, their modules with sizes, and the imports among them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

SOURCE = Path(__file__).parents[1] / "steepest"
FLOORS = (  # from the lowest, as in pyproject.toml
    ("notebook", "prints", "escapes", "errors", "checks", "plugins", "shell"),
    ("grammar",),
    ("problems", "schedules", "rules", "surfaces"),
    ("update",),
    ("training", "paths"),
    ("study",),
    ("report",),
    ("playground",),
    ("options", "optim"),
    ("api", "trainers"),
    ("cli",),
)
WORDS = {
    "notebook": "HTML by type",
    "plugins": "added by packages",
    "prints": "output of users' code",
    "errors": "the one error class",
    "escapes": "untrusted text, escaped",
    "checks": "counts, files to write",
    "grammar": "what people type\nfor optimizers and rates",
    "shell": "shared by commands",
    "rules": "rules as papers write them,\ntraced to graphs",
    "schedules": "the rate's multiplier\nas a formula",
    "surfaces": "a formula and\nits derivatives",
    "problems": "model, loss, data",
    "update": "ONE STEP\nstate, numbers, passes, engines, the torch class",
    "training": "RUNS\none or many, recorded",
    "paths": "A POINT\non a surface",
    "study": "A STUDY\nspace, protocol, laboratory, answer, store",
    "options": "of compare and work",
    "report": "page, figures, text",
    "playground": "a page that runs rules\nin the browser",
    "api": "compare, trajectory",
    "optim": "the classes",
    "trainers": "callbacks",
    "cli": "parse, call, print",
}


def main(out: str = "docs/pictures/architecture.png") -> None:
    """Draw the picture and save it as `out`."""
    figure, axes = plt.subplots(figsize=(10, 8.2))
    boxes: dict[str, Any] = {}
    for floor, names in enumerate(FLOORS):
        for i, name in enumerate(names):
            label = f"$\\bf{{{name}}}$  ({_lines(name)} lines)\n{WORDS[name]}"
            box = {"boxstyle": "round,pad=0.4", "facecolor": "#ffffff", "edgecolor": "#0072B2", "linewidth": 1.4}
            place = (i + 0.5) / len(names), float(floor)
            boxes[name] = axes.text(*place, label, ha="center", va="center", fontsize=8.5, bbox=box, zorder=3)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(FLOORS) - 0.4))
    axes.set_title("Imports; those implied by other arrows, and those of errors, escapes and checks, are omitted", fontsize=10)
    figure.canvas.draw()  # computes the sizes of the boxes
    for name, other in _arrows(list(boxes)):
        ends = {"patchA": boxes[name].get_bbox_patch(), "patchB": boxes[other].get_bbox_patch(), "shrinkA": 2, "shrinkB": 2}
        arrow = {"arrowstyle": "-|>", "color": "#666666", "linewidth": 1.2, **ends}
        axes.annotate("", boxes[other].get_position(), boxes[name].get_position(), arrowprops=arrow, zorder=1)
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def _arrows(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of importing and imported module, without the imports that others imply (transitive reduction)."""
    direct = {name: _imports(name) & set(names) - {name, "errors", "escapes", "checks"} for name in names}
    below: dict[str, set[str]] = {}
    for name in names:  # from the lowest layer
        below[name] = direct[name].union(*(below[other] for other in direct[name]))
    return [
        (name, other)
        for name in names
        for other in sorted(direct[name])
        if not any(other in below[between] for between in direct[name] - {other})
    ]


def _files(name: str) -> list[Path]:
    folder = SOURCE / name
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [SOURCE / f"{name}.py"]


def _lines(name: str) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in _files(name))


def _imports(name: str) -> set[str]:
    """The top-level modules of the product that this one imports, including imports inside functions."""
    names = set()
    for path in _files(name):
        package = ["steepest", *path.relative_to(SOURCE).parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
                heads = [base[1]] if len(base) > 1 and base[1] else [alias.name for alias in node.names]
                names.update(heads)
    return names


if __name__ == "__main__":
    main(*sys.argv[1:])
