"""Interrupted training resumes from its checkpoint bit for bit; damaged files are ignored."""

import contextlib
import dataclasses
import functools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import steepest
from steepest import schedules
from steepest.rules import RULES, get
from steepest.training import checkpoints, ways
from steepest.training.checkpoints import Slot
from steepest.training.processes import OutOfTimeError
from steepest.training.single import train
from steepest.training.stacked import Run, StackedRuns
from tests.cases import COMPOSED

STEPS, STOPPED = 40, 23  # with an evaluation on each side
ALL = {name: rule for name, rule in RULES.items() if rule.is_ours} | {name: rule for name, (rule, *_) in COMPOSED.items()}


class Restless(nn.Module):
    """A network with BatchNorm and dropout, and noise from the generators of torch, NumPy and Python."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.ReLU(), nn.Linear(6, 2))

    def forward(self, x):
        y = self.layers(x)
        return y + 0.01 * (torch.randn(()) + np.random.normal() + random.random()) if self.training else y


@pytest.fixture
def restless():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(48, 3, generator=generator)
    y = (x[:, 0] > 0).long()
    about = {"name": "restless", "loss": nn.CrossEntropyLoss(), "batch_size": 7, "dtype": torch.float32}
    return steepest.Problem(model=Restless, train=(x, y), valid=(x, y), test=(x, y), metric="accuracy", **about)


@pytest.fixture(autouse=True)
def worth_a_file(monkeypatch):
    monkeypatch.setattr(checkpoints, "SHORT", 0.0)


def at(step):
    """A callback that stops the run at this step."""

    def heard(k, *_):
        if k == step:
            raise OutOfTimeError

    return heard


def same(a, b):
    assert a.curve == b.curve
    assert (a.valid, a.test, a.loss, a.diverged_at) == (b.valid, b.test, b.loss, b.diverged_at)
    np.testing.assert_array_equal(a.examples, b.examples)
    np.testing.assert_array_equal(a.draws, b.draws)
    assert a.test_se == b.test_se


def f1(output, target):
    hits = ((output.argmax(1) == 1) & (target == 1)).sum()
    return 2 * hits / ((output.argmax(1) == 1).sum() + (target == 1).sum())


@pytest.mark.parametrize("metric", ["accuracy", f1], ids=["accuracy", "f1"])
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_a_run_that_was_stopped_after_its_last_step_has_all_its_results(metric, together, restless, tmp_path):
    test = tuple(t[:30] for t in restless.test.tensors)
    one = dataclasses.replace(restless, metric=metric, direction="max", model=lambda: nn.Linear(3, 2), test=test)

    def train_them(slot=checkpoints.NOWHERE, on_step=None):
        runs = [Run(get("sgd"), lr, 0, STEPS, test=True, examples=True) for lr in (0.01, 0.02)]
        if together:
            return StackedRuns(one, runs).train(on_step, slot)
        return [train(one, **runs[0].arguments, slot=slot, on_step=on_step)]

    whole, slot = train_them(), Slot(tmp_path / "run.safetensors")
    with pytest.raises(OutOfTimeError):
        train_them(slot, at(STEPS))
    for a, b in zip(train_them(slot), whole, strict=True):
        same(a, b)
        assert a.test_se > 0
        assert (a.draws if metric is f1 else a.examples) is not None


@pytest.mark.parametrize("name", ALL)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, restless, tmp_path):
    rule = ALL[name]
    how = {"lr": 0.3 * rule.rate, "steps": STEPS, "seed": 3, "schedule": schedules.one_cycle(), "test": True, "examples": True}
    whole = train(restless, rule, **how)
    slot = Slot(tmp_path / "run.safetensors")
    with pytest.raises(OutOfTimeError):
        train(restless, rule, **how, slot=slot, on_step=at(STOPPED))
    heard = []
    same(train(restless, rule, **how, slot=slot, on_step=lambda k, _: heard.append(k)), whole)
    assert heard == list(range(STOPPED + 1, STEPS + 1))  # nothing is trained twice
    slot.path.write_bytes(slot.path.read_bytes()[:100])
    heard.clear()
    same(train(restless, rule, **how, slot=slot, on_step=lambda k, _: heard.append(k)), whole)
    assert heard == list(range(1, STEPS + 1))  # a damaged file counts as missing


@pytest.mark.parametrize("name", [name for name, rule in ALL.items() if not rule.oracle])
def test_runs_together_that_were_stopped_end_as_those_that_were_not(name, line, tmp_path):
    rule = ALL[name]
    runs = [Run(rule, lr * rule.rate, seed, STEPS, schedules.one_cycle()) for lr in (0.1, 0.3) for seed in (1, 2)]
    whole = StackedRuns(line, runs).train()
    slot = Slot(tmp_path / "runs.safetensors")
    with pytest.raises(OutOfTimeError):
        StackedRuns(line, runs).train(at(STOPPED), slot)
    heard = []
    for a, b in zip(StackedRuns(line, runs).train(heard.append, slot), whole, strict=True):
        same(a, b)
    assert heard == list(range(STOPPED + 1, STEPS + 1))


def test_it_is_written_every_minute_and_gone_when_all_is_kept(restless, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: clock[0])
    folder, written = tmp_path / "s.db-unfinished", []
    monkeypatch.setattr(
        Slot, "write", lambda self, state, write=Slot.write: (written.append(state[1]["step"]), write(self, state))
    )

    def tick(steps):
        clock[0] += 25.0 / ways.OFTEN * steps  # seconds

    runs = [Run(get("adam"), 0.01, 0, 200)]
    slots = checkpoints.beside(str(tmp_path / "s.db"), ["key"], "one")
    for _ in ways.train_all(restless, runs, ways.Plan(), on_step=tick, slots=slots):
        assert len(list(folder.iterdir())) == 1  # until the outcome is collected
    assert written == [75, 150]  # called every 25 steps of 25 seconds: after more than a minute
    assert not folder.exists()
    assert checkpoints.beside(":memory:", ["key"], "one")([0]).path is None
    assert slots([0]).path != checkpoints.beside(str(tmp_path / "s.db"), ["other"], "one")([0]).path
    assert slots([0]).path != checkpoints.beside(str(tmp_path / "s.db"), ["key"], "one:compiled")([0]).path


SLOW = """
import time, torch, steepest
from torch import nn

class Slow(nn.Linear):
    def forward(self, x):
        if self.training and x.dim() > 0:
            with open("steps.txt", "a") as file:
                file.write("x")
            time.sleep(0.002)
        return super().forward(x)

x = torch.linspace(-1, 1, 32)[:, None]
data = (x, 2 * x)
problem = steepest.Problem(model=lambda: nn.Sequential(Slow(1, 1)), loss=nn.MSELoss(), train=data, valid=data, batch_size=8)
"""
ASK = ["compare", "slow.py", "--optimizers", "sgd,adam", "--lrs", "0.01", "--schedules", "constant", "--seeds", "2"]
STARTED = """
import functools, sys
from steepest.cli import main
from steepest.report import file
from steepest.training import checkpoints, supervised
checkpoints.SHORT = checkpoints.EVERY = 0.02
supervised.time_steps = functools.partial(supervised.time_steps, slice_seconds=0.01)
file.write = lambda studies, path: path  # a report takes longer than these runs
sys.argv[0] = "steepest"
main()
"""
CALL = [sys.executable, "-c", STARTED, *ASK, "--steps", "80", "--plan"]
# the plan, whether it is killed or interrupted, and after how many gradients, including those of timing
ENDED = (("one", "Ctrl-C", 120), ("processes", "killed", 150))
CROSSED = (("one", "killed", 120), ("processes", "Ctrl-C", 120), ("many:2", "a worker killed", 100))
_random = random.Random(0)
DRAWN = [
    (
        _random.choice(("one", "processes", "many:2")),
        _random.choice(("Ctrl-C", "killed", "a worker killed")),
        _random.randint(1, 330),
    )
    for _ in range(50)
]


def outcomes(folder):
    """The four runs of a command in its store."""
    with sqlite3.connect(folder / "steepest.db") as db:
        runs = db.execute("SELECT key, valid, loss, curve FROM runs ORDER BY key").fetchall()
    db.close()
    assert len(runs) == 4
    return runs


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The runs of the command under a plan without interruption: `undisturbed("one")`, computed once."""

    def made(plan):
        folder = tmp_path_factory.mktemp("undisturbed")
        (folder / "slow.py").write_text(SLOW)
        subprocess.run([*CALL, plan], cwd=folder, check=True, capture_output=True, timeout=120)
        return outcomes(folder)

    return functools.cache(made)


@pytest.mark.parametrize(
    ("plan", "how", "after"),
    [
        *ENDED,
        *(pytest.param(*case, marks=pytest.mark.slow) for case in CROSSED),
        *(pytest.param(*case, marks=pytest.mark.slow, id=f"drawn-{k}") for k, case in enumerate(DRAWN)),
    ],
)
def test_a_command_that_is_ended_goes_on_where_it_was(plan, how, after, undisturbed, tmp_path):
    call, steps = [*CALL, plan], tmp_path / "steps.txt"
    (tmp_path / "slow.py").write_text(SLOW)
    first = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 120
    while first.poll() is None and (not steps.exists() or steps.stat().st_size < after):
        assert time.monotonic() < until
        time.sleep(0.02)
    made = steps.stat().st_size
    if how == "a worker killed":
        workers = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split() if first.poll() is None else []
        for worker in workers[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(worker), signal.SIGKILL)
        if not workers and first.poll() is None:
            first.kill()
    elif first.poll() is None:
        os.killpg(first.pid, signal.SIGINT) if how == "Ctrl-C" else first.kill()
    first.wait(60)
    time.sleep(2.5 if how == "killed" and plan != "one" else 0)  # workers notice that their parent has ended
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    most = 320 + 60  # 4 runs of 80 steps, plus timing and planning
    assert steps.stat().st_size < most + 100, made  # and little is repeated
    assert outcomes(tmp_path) == undisturbed(plan)
    assert not list(tmp_path.glob("*-unfinished"))
