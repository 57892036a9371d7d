"""Messages are true: of changed code, runs that do not repeat, edges, shortened runs, the batch size."""

import math
import os
import sqlite3
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import steepest
from steepest.errors import SteepestError
from steepest.problems.fingerprint import fingerprint, identify
from steepest.study import race
from steepest.study.conclude import conclude
from steepest.study.lab import Lab
from steepest.study.machine import Machine
from steepest.study.protocol import StoppedError
from steepest.study.table import replay
from tests.study.tables import asked, made

X = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
Y = 2 * X
TYPED = {"optimizers": "sgd,adam", "lrs": 0.05, "schedules": "constant", "steps": 8, "margin": 1.0, "plan": "one"}


def problem(**changes):
    parts = {"model": lambda: nn.Linear(1, 1), "loss": nn.MSELoss(), "train": (X, Y), "valid": (X, Y), "batch_size": 8}
    return steepest.Problem(name="line", steps=20, **{**parts, **changes})


FILE = """
import torch, steepest
from torch import nn

torch.manual_seed(0)
x = torch.randn(600, 1)

SCALE = {scale}

def loss(output, target):
    {comment}
    return SCALE * ((output - target) ** 2).mean()

def metric(output, target):
    error = (output - target) ** 2
    return {metric}

problem = steepest.Problem(model=lambda: nn.Linear(1, 1), loss=loss, metric=metric,
                           train=(x, 2 * x), valid=(x, 2 * x), batch_size=60, steps=20)
"""
USUAL = {"scale": 1.0, "comment": "# squared", "metric": "error.mean()"}
ASKED = {"optimizers": "sgd", "lrs": [0.05, 0.1], "schedules": "constant", "margin": 1.0, "plan": "one"}


def compared(folder, **changes):
    """The output of `steepest compare` for the current file; its store is next to it."""
    (folder / "mine.py").write_text(FILE.format(**(USUAL | changes)))
    return str(steepest.compare(str(folder / "mine.py"), **ASKED, store=folder / "steepest.db"))


def test_a_repaired_metric_is_noticed_and_a_comment_is_not(tmp_path):
    """The metric is not finite if one of 600 examples counts; the first batch does not contain it."""
    broken = "float('nan') if (output[417] - target[417]).abs() < 1 else error.mean()"
    printed = compared(tmp_path, metric=broken)
    assert "Nothing can be picked" in printed
    assert "metric was nan at step 20" in printed
    printed = compared(tmp_path)
    assert "Use sgd at" in printed
    assert "Trained" in printed
    assert "is not what it was when this store first saw it" in printed
    printed = compared(tmp_path, comment="pass  # the same, in other words")
    assert "Trained" in printed  # one more statement
    printed = compared(tmp_path, comment="# said in other words\n\n")
    assert "from the store, " in printed
    assert "Trained" not in printed
    printed = compared(tmp_path, scale=2.0)
    assert "Trained" in printed


def test_a_file_that_was_moved_is_the_same_problem(tmp_path):
    keys = set()
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mine.py").write_text(FILE.format(**USUAL))
        keys.add(fingerprint(steepest.problems.get(str(tmp_path / folder / "mine.py"))))
    assert len(keys) == 1


def test_an_answer_from_the_store_says_so_with_its_runs_and_their_day(tmp_path):
    first = steepest.compare(problem(), **TYPED, store=tmp_path / "s.db")
    second = steepest.compare(problem(), **TYPED, store=tmp_path / "s.db")
    (day,) = sqlite3.connect(first.store).execute("SELECT substr(max(created), 1, 10) FROM runs").fetchone()
    assert f"from the store, {first.result.trained} runs of {day}" in str(second)
    assert "from the store" not in str(first)
    assert first.to_dict() == second.to_dict()


def test_what_cannot_be_digested_is_named(tmp_path):
    stream = Path(os.devnull).open()  # noqa: SIM115 - a metric that keeps a file open

    def metric(output, target):
        return ((output - target) ** 2).mean() + 0 * len(stream.name)

    one = problem(metric=metric)
    assert any("stream" in name for name in identify(one).undigested)
    notes = steepest.compare(one, **TYPED, store=tmp_path / "s.db").result.notes
    assert any("stream" in note and "would not be noticed" in note for note in notes)
    stream.close()


COUNT = {"n": 0}


def annealed(output, target):
    """A loss whose weight decreases with every call, in any run."""
    COUNT["n"] += 1
    return ((output - target) ** 2).mean() / (1 + 0.01 * COUNT["n"])


class Annealed(nn.Module):
    """The same as a module with a buffer, which every run resets."""

    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))

    def forward(self, output, target):
        self.n += 1
        return ((output - target) ** 2).mean() / (1 + 0.01 * self.n)


def drawn(output, target):
    """A metric that draws from the seeded generator."""
    return ((output - target) ** 2).mean() * (1 + 0.01 * torch.rand(()))


class Forgetful:
    """A metric that stores its best value between runs."""

    def __init__(self):
        self.least = math.inf

    def __call__(self, output, target):
        self.least = min(self.least, ((output - target) ** 2).mean().item())
        return self.least


@pytest.mark.parametrize(
    ("changes", "repeats"),
    [
        ({"loss": annealed}, False),
        ({"metric": Forgetful()}, False),
        ({"loss": Annealed()}, True),
        ({"metric": drawn}, True),
        ({}, True),
    ],
    ids=["a counter", "a best value", "a counter of its own", "seeded draws", "nothing"],
)
def test_a_memory_between_runs_is_noticed_and_said(changes, repeats, tmp_path):
    study = steepest.compare(problem(**changes), **TYPED, store=tmp_path / "s.db")
    assert study.to_dict()["answer"]["repeats"] is repeats
    assert any("Runs do not repeat" in note for note in study.result.notes) is not repeats


def test_whether_runs_repeat_is_not_tried_where_that_takes_over_three_hundredths_of_the_budget(line, monkeypatch, tmp_path):
    monkeypatch.setattr(Machine, "timed", lambda self, question: (1.0, 1.0))
    monkeypatch.setattr(Lab, "_run_seconds", lambda self, question: 0.1)
    answer = steepest.compare(line, **TYPED, budget="60s", store=tmp_path / "s.db").to_dict()["answer"]
    assert answer["repeats"] is None
    assert "repeat" in answer["status"]


def edgy(tmp_path, monkeypatch, seconds, budget=60):
    """A study whose best rate is far above the first grid of three rates, of a model with runs of this duration."""
    monkeypatch.setattr(Lab, "_run_seconds", lambda self, question: seconds)
    far = problem(train=(0.01 * X, 0.02 * X), valid=(0.01 * X, 0.02 * X))
    asked = {"schedules": "constant", "steps": 20, "budget": budget, "plan": "one", "store": tmp_path / "s.db"}
    return steepest.compare(far, ["momentum", "sgd"], **asked)


def test_a_best_rate_at_the_edge_is_grown_past_while_half_of_the_budget_is_left(tmp_path, monkeypatch):
    study = edgy(tmp_path, monkeypatch, seconds=1.2)
    entry = study.result.chosen
    tried = sorted(t.lr for t in entry.trials)
    assert len(tried) > 3
    assert entry.lr not in (tried[0], tried[-1])
    assert study.to_dict()["answer"]["axes"][0]["edge"] is False
    assert "edge" not in study.answer().sentence


def test_a_pick_at_the_edge_of_what_can_be_tried_says_so():
    table = made("sgd", rates=7, spread=0.1)
    lowest = min(lr for _, lr in table.rows)
    table.recorded[table.rows["sgd", lowest]] = 99.0
    bounded = conclude(replay(asked(table, trials=7), table))
    assert bounded.to_dict()["axes"][0]["edge"] is True
    assert f"{lowest:g} is the lowest rate tried: a lower one may be better." in bounded.lines


def test_a_pick_that_was_seen_in_shortened_runs_alone_says_so_everywhere(line, tmp_path, monkeypatch):
    """The budget is spent before any run of full length."""
    monkeypatch.setattr(Lab, "_run_seconds", lambda self, question: 9.0)

    def screening_alone(course):
        raise StoppedError([], interrupted=True)

    monkeypatch.setattr(race, "raced", screening_alone)
    study = steepest.compare(line, schedules="constant", steps=40, budget=60, plan="one", store=tmp_path / "s.db")
    answer, text = study.to_dict()["answer"], str(study)
    assert answer["fidelity"] == 0.25
    assert "in runs that ended after 10 of 40 steps" in answer["sentence"]
    assert "10 of 40 steps each" in text
    assert "40 steps each" not in text.replace("10 of 40 steps each", "")
    assert "screened, 10 of 40 steps" in text
    assert {row["fidelity"] for row in study.to_dict()["optimizers"]} == {0.25}
    assert "optimizer = " in text  # the code is printed anyway


def test_a_study_of_whole_runs_has_fidelity_one(line, tmp_path):
    study = steepest.compare(line, **TYPED, store=tmp_path / "s.db")
    assert study.to_dict()["answer"]["fidelity"] == 1
    assert " of 8 steps" not in str(study)


def test_the_batch_size_and_the_sampler_stand_in_the_heading(tmp_path):
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, sampler=WeightedRandomSampler([1.0] * 64, 64))
    for train, words in (((X, Y), "batch 8"), (loader, "batch 16 by WeightedRandomSampler")):
        one = problem(train=train, batch_size=None if train is loader else 8)
        study = steepest.compare(one, **TYPED, store=":memory:")
        found = study.to_dict()
        assert found["batch_size"] == one.batch_size
        assert f"8 steps each, {words}, " in str(study)
    assert words in study.report(tmp_path / "report.html").read_text()


def test_a_range_of_rates_is_null_in_json_with_the_reason_where_it_is_not_said():
    table = made("sgd", rates=7, spread=0.1)  # neighbours are a point worse
    answer = conclude(replay(asked(table, margin=0.2), table)).to_dict()
    (axis,) = answer["axes"]
    assert axis == {"name": "lr", "low": None, "high": None, "cost_under": None, "edge": False, "status": axis["status"]}
    assert "seed" in axis["status"]


def test_an_optimizer_that_was_made_already_is_answered_with_what_to_give():
    made = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])
    with pytest.raises(SteepestError, match="give the class"):
        steepest.compare("digits", ["adam", made])


def test_runs_of_an_earlier_version_are_kept_and_told(line, tmp_path):
    store = tmp_path / "s.db"
    steepest.compare(line, **TYPED, store=store)
    with sqlite3.connect(store) as db:  # problems identified by their first batch only: keys without a mark
        db.execute("DROP TRIGGER runs_no_UPDATE")
        db.execute("UPDATE runs SET spec = json_set(spec, '$.fingerprint', 'ab12'), key = 'old' || key")
    study = steepest.compare(line, **TYPED, store=store)
    assert study.result.trained > 0
    assert any("of an earlier version, which did not identify problems or rules by their code" in n for n in study.result.notes)


def test_the_status_of_an_answer_names_what_it_lacks(line):
    asked = {"lrs": 0.05, "schedules": "constant", "steps": 8, "plan": "one", "store": ":memory:"}
    few = steepest.compare(line, "sgd,adam", seeds=3, **asked).to_dict()["answer"]
    equal = steepest.compare(line, "sgd,adam", seeds=6, **asked).to_dict()["answer"]
    assert few["status"] == "under five shared seeds without a collapsed run: no bound"
    assert equal["status"].startswith("no bound on new examples")
