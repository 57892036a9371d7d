"""Export the runs of a store: a table as CSV or Parquet, curves for TensorBoard, runs for MLflow."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...checks import replacing, writable
from ...errors import SteepestError, place
from ...escapes import cell
from .ledger import Store
from .runs import COLUMNS

Row = dict[str, Any]
CURVES = {"train": "train/loss", "valid": "valid/loss", "metric": "valid/metric"}


def export(store: Store, out: str | Path, to: str | None = None) -> int:
    """Write every run of a store to `out`, a .csv or .parquet file, or a folder for tensorboard or mlflow; return how many.

    `to` is csv, parquet, tensorboard or mlflow; None infers it from the name of the file. Raises SteepestError if a package is
    missing, or the folder is not empty.
    """
    path = place("export", out)
    to = to or path.suffix.lower().removeprefix(".")
    if to not in WAYS:
        raise SteepestError(
            f"The export {out} would be '{to or 'a folder'}'; give a .csv or .parquet file, or a folder with --to "
            "tensorboard or --to mlflow."
        )
    if to in FOLDERS and path.exists() and (path.is_file() or any(path.iterdir())):
        raise SteepestError(f"The folder {out} is not empty, or is a file; give a new folder.")
    rows = [*store.rows()]
    if to in FOLDERS:
        WAYS[to](rows, path)
    else:
        with replacing("export", writable("export", path, f"runs.{to}")) as part:
            WAYS[to](rows, part)
    return len(rows)


def _package(name: str, pip: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise SteepestError(f"This export needs {pip}; install it with: pip install 'steepest[exports]'.") from None


def _frame(rows: list[Row]) -> Any:
    import pandas

    frame = pandas.DataFrame([{key: row[key] for key in COLUMNS} for row in rows], columns=[*COLUMNS])
    return frame.astype({"diverged_at": "Int64"})


def _csv(rows: list[Row], path: Path) -> None:
    _frame([{key: cell(row[key]) for key in COLUMNS} for row in rows]).to_csv(path, index=False)


def _parquet(rows: list[Row], path: Path) -> None:
    _package("pyarrow", "pyarrow")
    _frame(rows).to_parquet(path, index=False)


def _tensorboard(rows: list[Row], path: Path) -> None:
    _package("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for row in rows:
        name = "_".join([row["problem"], row["optimizer"], row["schedule"], f"{row['lr']:g}", f"seed{row['seed']}"])
        with SummaryWriter(str(path / _safe(name))) as writer:
            for key, tag in CURVES.items():
                for step, value in _points(row, key):
                    writer.add_scalar(tag, value, step)
            settings = {key: row[key] for key in COLUMNS[:6]}
            ended = {f"end/{key}": row[key] for key in ("valid", "test", "loss") if row[key] is not None}
            writer.add_hparams(settings, ended, run_name=".")


def _mlflow(rows: list[Row], path: Path) -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # an export stays offline
    _package("mlflow", "mlflow")
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    path.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(f"sqlite:///{(path / 'mlflow.db').resolve()}")
    experiments = {}
    for row in rows:
        name = row["problem"]
        if name not in experiments:
            known = client.get_experiment_by_name(name)
            folder = (path / "artifacts" / _safe(name)).resolve().as_uri()
            experiments[name] = known.experiment_id if known else client.create_experiment(name, folder)
        run = client.create_run(
            experiments[name], run_name=f"{row['optimizer']} {row['schedule']} {row['lr']:g} seed {row['seed']}"
        )
        params = [Param(key, str(row[key])) for key in COLUMNS[1:6]]
        metrics = [
            Metric(tag.replace("/", "_"), value, 0, step) for key, tag in CURVES.items() for step, value in _points(row, key)
        ]
        metrics += [
            Metric(f"end_{key}", row[key], 0, row["steps"]) for key in ("valid", "test", "loss") if row[key] is not None
        ]
        client.log_batch(run.info.run_id, metrics[:1000], params, [RunTag("status", row["status"])])
        client.set_terminated(run.info.run_id, "FINISHED" if row["status"] == "finished" else "FAILED")


def _points(row: Row, key: str) -> Iterator[tuple[int, float]]:
    """The finite points of a curve."""
    for step, value in zip(row["curve"]["steps"], row["curve"][key], strict=True):
        if value is not None and math.isfinite(value):
            yield step, value


def _safe(name: str) -> str:
    """The name with characters that any file system accepts."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lstrip(".")[:150] or "-"


WAYS: dict[str, Callable[[list[Row], Path], None]] = {
    "csv": _csv,
    "parquet": _parquet,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}
FOLDERS = ("tensorboard", "mlflow")
