"""Studies of a training function and of a program that are killed or interrupted: nothing is left running, and they resume."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

LOOP = """
    import time
    import steepest, torch

    @steepest.loop(metric="loss", steps=10)
    def train(run):
        w = torch.nn.Parameter(torch.randn(3))
        optimizer = run.optimizer([w])
        for step in range(run.steps):
            loss = (w - 1).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.report(loss)
            time.sleep(0.06)
        return (w - 1).square().sum()
"""
PROGRAM = """
    import random, sys, time
    lr, seed = float(sys.argv[1]), int(sys.argv[2])
    w = random.Random(seed).gauss(0, 1)
    for k in range(10):
        w -= lr * 2 * (w - 1)
        time.sleep(0.06)
    print("loss:", (w - 1) ** 2)
"""
ASK = [
    "--optimizers",
    "sgd",
    "--lrs",
    "0.1,0.01",
    "--schedules",
    "constant",
    "--seeds",
    "5",
    "--workers",
    "2",
    "--store",
    "s.db",
]
ALL = 2 * 3 + 8  # runs: two rates on three seeds, and the better one on eight
KINDS = {
    "a loop": ["train.py"],
    "a command": ["--command", f"{sys.executable} prog.py {{lr}} {{seed}}", "--metric", "loss: (.*)", "--direction", "min"],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(LOOP))
    (tmp_path / "prog.py").write_text(textwrap.dedent(PROGRAM))
    return tmp_path


def begun(folder, kind, *more):
    words = [sys.executable, "-m", "steepest", "compare", *KINDS[kind], *ASK, *more]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def runs(folder):
    """The number of runs in the store."""
    path = folder / "s.db"
    if not path.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=0.1)) as db:
            return db.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def left(folder):
    """The processes that still work in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.readlink(process / "cwd") == str(folder):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def results(folder, kind):
    process = begun(folder, kind, "--json", "out.json")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    found = json.loads((folder / "out.json").read_text())
    return {row["name"]: (row["lr"], row["values"]) for row in found["optimizers"]}, output


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_a_study_that_is_killed_or_interrupted_leaves_no_process_and_resumes(kind, folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("whole")
    for name in ("train.py", "prog.py"):
        (other / name).write_text((folder / name).read_text())
    whole, _ = results(other, kind)
    for how, least in ((signal.SIGKILL, 2), (signal.SIGINT, 5)):
        process = begun(folder, kind)
        until = time.monotonic() + 60
        while runs(folder) < least and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(how)
        process.communicate(timeout=30)
        until = time.monotonic() + 15
        while left(folder) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left(folder)
    before = runs(folder)
    assert 5 <= before < ALL
    again, output = results(folder, kind)
    assert again == whole
    assert "from the store" in output
