"""The lessons as notebooks: `notebooks/*.py` run from top to bottom, and kept beside as `.ipynb` with what they show.

`python -m steepest_workshop.lessons.notebooks [NAMES]` makes those of these names again, or all, from the repository's root.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..gallery import in_few, table_of

FOLDER = Path("notebooks")
LIMIT = 300  # seconds for a cell
COLOURS = 64  # of a stored picture


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
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = small(output["data"]["image/png"])
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def small(picture: str) -> str:
    """A PNG as base64 in COLOURS colours, those of optimizers among them: a third of the size."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as opened:
        whole = opened.convert("RGB")
    few = io.BytesIO()
    in_few(whole, table_of(whole, COLOURS)).save(few, "PNG", optimize=True)
    return base64.b64encode(few.getvalue()).decode()


def main(names: Sequence[str]) -> None:
    """Run the lessons and write their notebooks."""
    import nbformat

    for path in sorted(FOLDER.glob("*.py")):
        if not names or any(path.stem.startswith(name) for name in names):
            nbformat.write(make(path), path.with_suffix(".ipynb"))  # type: ignore[no-untyped-call]
            print(path.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
