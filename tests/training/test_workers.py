"""Worker processes: a worker that crashes, and a parent that ends."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import steepest
from steepest.cli import app
from steepest.errors import SteepestError

QUICK = {"optimizers": "sgd,adam", "lrs": 0.05, "seeds": 4, "steps": 30, "schedules": "constant", "plan": "processes"}


class Deadly(nn.Linear):
    """Kills its process when `when` says so, unless it is the process of the study."""

    def __init__(self, when):
        super().__init__(1, 1)
        self.when, self.at, self.home = when, float(self.weight.detach()), os.getpid()

    def __deepcopy__(self, _):
        made = Deadly(self.when)
        made.load_state_dict(self.state_dict())
        made.at, made.home = self.at, self.home
        return made

    def forward(self, x):
        if self.training and os.getpid() != HOME and self.when(self.at):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


HOME = os.getpid()


@pytest.fixture
def deadly(line):
    def make(when):
        import dataclasses

        return dataclasses.replace(line, model=lambda: Deadly(when))

    return make


@pytest.mark.parametrize("plan", ["processes", "many:2"])
def test_a_worker_that_is_killed_once_costs_nothing(plan, line, deadly, tmp_path):
    flag = tmp_path / "killed"

    def once(_):
        try:
            flag.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    asked = QUICK | {"plan": plan}
    whole = steepest.compare(line, **asked, store=":memory:")
    study = steepest.compare(deadly(once), **asked, store=":memory:")
    assert flag.exists()
    assert study.result.trained == 8
    for a, b in zip(study.result.entries, whole.result.entries, strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-6)


def test_a_run_that_kills_its_worker_twice_is_named_and_the_others_are_kept(line, deadly, tmp_path):
    import torch

    store = tmp_path / "runs.db"
    torch.manual_seed(2)
    wanted = float(nn.Linear(1, 1).weight.detach())  # of seed 2
    with pytest.raises(
        SteepestError, match=r"at rate 0.05, seed 2 died twice: killed, or out of memory. The jobs that ended, \d+ of 8"
    ):
        steepest.compare(deadly(lambda at: at == wanted), **QUICK, store=store)
    with sqlite3.connect(store) as db:
        kept = db.execute("SELECT seed FROM runs").fetchall()
    assert len(kept) >= 2
    assert (2,) not in kept


SLOW = """
import os, time, torch, steepest
class Slow(torch.nn.Linear):
    def forward(self, x):
        open(f"pid-{os.getpid()}", "w").close()
        time.sleep(0.02)
        return super().forward(x)
x = torch.randn(64, 1)
problem = steepest.Problem(model=lambda: Slow(1, 1), loss=torch.nn.MSELoss(), train=(x, x), valid=(x, x), steps=100000)
"""


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes under /proc")
def test_workers_end_with_the_process_that_wanted_their_work(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    command = [
        sys.executable,
        "-m",
        "steepest",
        "compare",
        "slow.py",
        "--optimizers",
        "sgd,adam",
        "--lrs",
        "0.01",
        "--seeds",
        "4",
    ]
    parent = subprocess.Popen(
        [*command, "--plan", "processes"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    workers = []
    deadline = time.time() + 60
    while len(workers) < 2 and time.time() < deadline:
        time.sleep(0.2)
        pids = [int(p.name.removeprefix("pid-")) for p in tmp_path.glob("pid-*")]
        workers = [pid for pid in pids if pid != parent.pid and alive(pid)]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    deadline = time.time() + 10  # workers check once a second
    while any(map(alive, workers)) and time.time() < deadline:
        time.sleep(0.2)
    assert not any(map(alive, workers))


EXITS = {
    "the file": "import sys\nsys.exit(0)\n",
    "a model": "def model():\n    sys.exit(0)\n",
    "a loss": "def loss(a, b):\n    sys.exit(0)\n",
    "a loss after a while": (
        "calls = []\ndef loss(a, b):\n    calls.append(1)\n    if len(calls) > 200:\n        sys.exit(0)\n"
        "    return ((a - b) ** 2).mean()\n"
    ),
    "a metric": "def metric(a, b):\n    sys.exit(0)\n",
    "an exception of its own": "class Stop(BaseException): ...\ndef loss(a, b):\n    raise Stop('enough')\n",
    "a backward pass": (
        "class F(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, x):\n        return x\n"
        "    @staticmethod\n    def backward(ctx, g):\n        sys.exit(0)\n"
        "def loss(a, b):\n    return ((F.apply(a) - b) ** 2).mean()\n"
    ),
    "a function that returns the problem": "late = True\n",
    "a copy": (
        "class M(torch.nn.Linear):\n    def __deepcopy__(self, _):\n        sys.exit(0)\ndef model():\n    return M(1, 1)\n"
    ),
}
HEAD = """import sys, torch, steepest
x = torch.randn(40, 1, generator=torch.Generator().manual_seed(0))
model, loss, metric, late = (lambda: torch.nn.Linear(1, 1)), torch.nn.MSELoss(), None, False
"""
TAIL = """
problem = steepest.Problem(model=model, loss=loss, metric=metric, train=(x, x), valid=(x, x))
if late:
    problem = lambda: sys.exit(0)
"""


@pytest.mark.parametrize("plan", ["one", "processes", "many:4"])
@pytest.mark.parametrize("where", EXITS)
def test_code_that_exits_ends_in_a_sentence_and_code_2(where, plan, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(HEAD + EXITS[where] + TAIL)
    asked = ["--optimizers", "sgd,adam", "--lrs", "0.01", "--seeds", "5", "--steps", "60", "--plan", plan]
    result = CliRunner().invoke(app, ["compare", "mine.py", *asked])
    assert result.exit_code == 2, result.output
    assert "mine.py" in result.stderr or "Problem 'mine'" in result.stderr
    assert ("Stop" if "own" in where else "SystemExit") in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert not Path("steepest-report.html").exists()
