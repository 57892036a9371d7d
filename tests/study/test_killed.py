"""A study killed at any write to its store: the same command resumes and ends in the same answer."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

import steepest
from steepest.study.course import Course
from steepest.study.protocol import StoppedError
from steepest.study.store import Store

ASKED = {
    "optimizers": "sgd,adam",
    "lrs": "0.3,0.1",
    "schedules": "constant",
    "budget": 600,  # large: the clock decides nothing
    "plan": "one",
    "margin": 0.1,
}
TIMES = {"seconds_per_step", "seconds_to_margin", "beside", "details"}  # keys of JSON that depend on a clock


class Killed(BaseException):
    """Ends the process; nothing catches it."""


def bare(data):
    """JSON without measurements of a clock."""
    if isinstance(data, dict):
        return {key: bare(value) for key, value in data.items() if key not in TIMES}
    return [bare(item) for item in data] if isinstance(data, list) else data


@pytest.fixture(scope="module")
def problem():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, generator=generator)
    y = 2 * x + 0.1 * torch.randn(64, 1, generator=generator)
    data = {"train": (x, y), "valid": (x, y), "test": (x, y)}
    return steepest.Problem(name="line", model=lambda: nn.Linear(1, 1), loss=nn.MSELoss(), **data, batch_size=8, steps=8)


def study(problem, path, dies_at=0):
    """Run the study and return its writes in order; None if it was killed at the write of this number."""
    wrote, put = [], Store.put

    def counted(self, table, values):
        wrote.append(values.get("what") or f"{values.get('steps')} steps")
        if len(wrote) == dies_at:
            raise Killed
        return put(self, table, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "put", counted)
        try:
            return steepest.compare(problem, **ASKED, store=path), wrote
        except Killed:
            return None, wrote


@pytest.fixture(scope="module")
def whole(problem, tmp_path_factory):
    made, wrote = study(problem, tmp_path_factory.mktemp("whole") / "runs.db")
    answer = made.to_dict()["answer"]
    assert answer["test"]["n"] == 5
    assert answer["longer"]["seeds"] == 5
    return bare(made.to_dict()), wrote


def test_an_answer_is_finished_when_all_of_it_is_stored(whole):
    """The order of writes: the end of the race, the fresh runs, the decision on longer runs, these runs, "finished"."""
    _, wrote = whole
    longer = [k for k, what in enumerate(wrote) if what == "40 steps"]
    assert len(longer) == 2 * 5
    assert wrote.index("ended") == max(k for k, what in enumerate(wrote) if what == "at once") + 1
    assert wrote[wrote.index("ended") + 1 :][:5] == ["8 steps"] * 5  # on fresh seeds
    assert wrote.index("ended") < wrote.index("later") < longer[0]
    assert longer[-1] < wrote.index("finished") < wrote.index("study")


@pytest.mark.parametrize("share", [1, pytest.param(0, marks=pytest.mark.slow)], ids=["the last tenth", "every write"])
def test_a_study_that_is_killed_at_a_write_ends_as_one_that_was_not(share, problem, whole, tmp_path):
    data, wrote = whole
    after = wrote.index("ended")  # the last run of the race
    points = range(after, len(wrote) + 1, 2) if share else range(1, len(wrote) + 1)
    for at in points:
        path = tmp_path / f"{at}.db"
        assert study(problem, path, at)[0] is None
        again, _ = study(problem, path)
        assert bare(again.to_dict()) == data, wrote[at - 1]
        third, _ = study(problem, path)
        assert third.result.trained == 0
        assert bare(third.to_dict()) == data


def test_a_race_that_the_clock_ended_is_not_carried_on_by_the_same_command(problem, tmp_path, monkeypatch):
    """Killed between the end of the race and the fresh runs: with a new budget, the race still ends at the same point."""
    look, path = Course.look, tmp_path / "runs.db"

    def out_of_time(self):
        now = look(self)
        if len(self.looks) == 2:
            raise StoppedError([], interrupted=False)
        return now

    monkeypatch.setattr(Course, "look", out_of_time)
    _, wrote = study(problem, path, dies_at=10_000)
    ended = wrote.index("ended")
    path.unlink()
    assert study(problem, path, dies_at=ended + 2)[0] is None
    monkeypatch.undo()
    again, _ = study(problem, path)
    assert again.to_dict()["answer"]["limit"] == "time"
    assert again.to_dict()["answer"]["test"]["n"] == 5


COMMAND = [sys.executable, "-m", "steepest", "compare", "digits", "--optimizers", "sgd,adam", "--lrs", "0.1,0.03"]
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
COMMAND += ["--schedules", "constant", "--budget", "10min", "--plan", "one", "--margin", "2", "--json", "result.json"]


@pytest.mark.slow
def test_fifty_processes_that_are_killed_leave_stores_that_end_in_the_same_answer(tmp_path):
    """SIGKILL: thirty times at any point, ten times in the last tenth, ten times after the last run of the race."""

    def run(folder, seconds=None):
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(COMMAND, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ALONE)
        if seconds is not None:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        return process.returncode, said

    began = time.perf_counter()
    code, said = run(tmp_path / "whole")
    took = time.perf_counter() - began
    assert code == 0, said
    whole = bare(json.loads((tmp_path / "whole" / "result.json").read_text()))
    draw, ended = random.Random(0), 0.0
    with Store(tmp_path / "whole" / "steepest.db") as store:
        rows = [*store.all("SELECT seed, seconds FROM runs")]
    fresh = sum(seconds for seed, seconds in rows if seed >= 2_000_000) + 1.0  # and later writes
    ended = took - fresh
    times = [draw.uniform(0.1, took) for _ in range(30)]
    times += [draw.uniform(0.9 * took, took) for _ in range(10)]
    times += [draw.uniform(ended, took) for _ in range(10)]
    for k, seconds in enumerate(times):
        folder = tmp_path / str(k)
        code, said = run(folder, seconds)
        assert code in (0, -signal.SIGKILL), said
        code, said = run(folder)
        assert code == 0, said
        assert "Traceback" not in said
        assert bare(json.loads((folder / "result.json").read_text())) == whole, (k, seconds, took)
