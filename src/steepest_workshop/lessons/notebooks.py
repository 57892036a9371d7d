"""The lessons as notebooks: `notebooks/*.py` run from top to bottom, and kept beside as `.ipynb` with what they show.

`python -m steepest_workshop.lessons.notebooks [NAMES]` makes those of these names again, or all, from the repository's root.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path("notebooks")
LIMIT = 300  # seconds for a cell


def make(path: Path) -> Any:
    """The notebook of a lesson, run; a cell that fails raises nbclient's CellExecutionError."""
    import jupytext
    from nbclient import NotebookClient

    os.environ["OMP_NUM_THREADS"] = "1"  # the networks are small: threads would wait for one another
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm asks for widgets, which nothing here shows
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for k, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{k}"  # so that a notebook made again differs where it shows something else
        cell["metadata"] = {}
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(names: Sequence[str]) -> None:
    """Run the lessons and write their notebooks."""
    import nbformat

    for path in sorted(FOLDER.glob("*.py")):
        if not names or any(path.stem.startswith(name) for name in names):
            nbformat.write(make(path), path.with_suffix(".ipynb"))  # type: ignore[no-untyped-call]
            print(path.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
