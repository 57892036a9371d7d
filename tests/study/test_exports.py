"""Exports of a store, read back by the programs they are for."""

import sqlite3

import pandas as pd
import pytest
from typer.testing import CliRunner

import steepest
from steepest.cli import app


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    import torch

    path = tmp_path_factory.mktemp("store") / "runs.db"
    x = torch.linspace(-1, 1, 20)[:, None]
    problem = steepest.Problem(
        name="a/b: c",
        model=lambda: torch.nn.Linear(1, 1),
        loss=torch.nn.MSELoss(),
        train=(x, 2 * x),
        valid=(x, 2 * x),
        steps=20,
    )
    steepest.compare(problem, "sgd,adam", lrs=[0.1, 1e6], seeds=2, schedules="constant", store=path)
    return path


@pytest.fixture(scope="module")
def runs(store):
    with sqlite3.connect(store) as db:
        return db.execute(
            "SELECT optimizer, lr, seed, valid, diverged_at, json_array_length(curve, '$.steps') FROM runs"
        ).fetchall()


def export(store, *arguments):
    return CliRunner().invoke(app, ["store", "export", str(store), *map(str, arguments)])


@pytest.mark.parametrize(("name", "read"), [("runs.csv", pd.read_csv), ("runs.parquet", pd.read_parquet)])
def test_tables_hold_every_run(store, runs, tmp_path, name, read):
    done = export(store, "--out", tmp_path / name)
    assert done.exit_code == 0, done.output
    table = read(tmp_path / name)
    kept = [(o, lr, seed) for o, lr, seed, *_ in runs]
    assert [*zip(table.optimizer, table.lr, table.seed, strict=True)] == kept
    for row, (*_, valid, diverged_at, _) in zip(table.itertuples(), runs, strict=True):
        assert (pd.isna(row.valid) and valid is None) or row.valid == valid
        assert (pd.isna(row.diverged_at) and diverged_at is None) or row.diverged_at == diverged_at
        assert row.status == ("finished" if diverged_at is None else "diverged")


def test_tensorboard_reads_every_curve(store, runs, tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    done = export(store, "--out", tmp_path / "tb", "--to", "tensorboard")
    assert done.exit_code == 0, done.output
    folders = sorted(path for path in (tmp_path / "tb").iterdir())
    assert len(folders) == len(runs)
    for optimizer, lr, seed, valid, _, points in runs:
        (folder,) = [f for f in folders if f.name.endswith(f"_{optimizer}_constant_{lr:g}_seed{seed}".replace("+", "-"))]
        events = accumulators.EventAccumulator(str(folder))
        events.Reload()
        curve = events.Scalars("valid/metric")
        assert len(curve) == points
        if valid is not None:
            assert curve[-1].value == pytest.approx(valid, rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mlflow's own
def test_mlflow_reads_every_run(store, runs, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking", reason="no mlflow")
    done = export(store, "--out", tmp_path / "ml", "--to", "mlflow")
    assert done.exit_code == 0, done.output
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'ml' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("a/b: c")
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == len(runs)
    by_key = {(r.data.params["optimizer"], float(r.data.params["lr"]), int(r.data.params["seed"])): r for r in found}
    for optimizer, lr, seed, valid, diverged_at, points in runs:
        run = by_key[optimizer, lr, seed]
        assert run.info.status == ("FINISHED" if diverged_at is None else "FAILED")
        assert len(client.get_metric_history(run.info.run_id, "valid_metric")) == points
        assert run.data.metrics.get("end_valid") == (None if valid is None else pytest.approx(valid))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "runs.txt"], "would be 'txt'; give a .csv or .parquet file"),
        (["--out", "folder"], "would be 'a folder'"),
        (["--out", "nowhere/runs.csv"], "nowhere"),
        (["--out", "full", "--to", "tensorboard"], "is not empty, or is a file"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(store, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = export(store, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_a_missing_package_or_store_is_said(store, tmp_path, monkeypatch):
    import importlib

    load = importlib.import_module

    def missing(name, *more, **most):
        if name == "pyarrow":
            raise ImportError(name)
        return load(name, *more, **most)

    monkeypatch.setattr(importlib, "import_module", missing)
    done = export(store, "--out", tmp_path / "runs.parquet")
    assert done.exit_code == 2
    assert "pip install 'steepest[exports]'" in done.stderr
    for command in (["store", "export", "no.db", "--out", "x.csv"], ["report", "no.db"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2
        assert "There is no store no.db" in done.stderr
