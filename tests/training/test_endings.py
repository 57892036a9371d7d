"""Why a run has no value: a non-finite loss, metric or data; divergence; a crash; never tried. Each has its own message."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.study.store import Store
from steepest.study.store.exports import export
from steepest.training.recorder import Recorder
from steepest.training.single import train
from steepest.training.stacked import Run
from steepest.training.ways import named, train_all

X = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
Y = 2 * X
PLANS = ["one", "many:4"]


def problem(**changes):
    parts = {"model": lambda: nn.Linear(1, 1), "loss": nn.MSELoss(), "train": (X, Y), "valid": (X, Y), "batch_size": 8}
    return steepest.Problem(name="line", steps=40, **{**parts, **changes})


def ended(one, lr, plan, steps=40):
    runs = [Run(rules.get("sgd"), lr, seed, steps) for seed in (0, 1)]
    return [outcome for _, outcome in sorted(train_all(one, runs, named(plan)), key=lambda pair: pair[0])]


def at_times(calls, value=math.nan):
    """A metric that is not finite at these calls of a run; a call before the first step has number 0."""
    state = {"n": -1}

    def metric(output, target):
        state["n"] += 1
        error = ((output - target) ** 2).mean().item()
        return value if state["n"] in calls else error

    return metric


def test_a_metric_that_is_not_finite_at_one_mark_leaves_a_gap_and_the_run_goes_on():
    one = problem(metric=at_times({5}))
    outcome = train(one, rules.get("sgd"), lr=0.05, steps=40, seed=0)
    assert (outcome.status, outcome.diverged_at, outcome.curve.metric[5]) == ("finished", None, None)
    assert outcome.valid == pytest.approx(outcome.loss)
    assert len(outcome.curve.steps) == 21
    assert outcome.curve.valid[5] is not None


def test_a_metric_that_is_not_finite_at_the_end_is_no_divergence():
    one = problem(metric=at_times({20}))
    outcome = train(one, rules.get("sgd"), lr=0.05, steps=40, seed=0)
    assert (outcome.status, outcome.diverged_at, outcome.valid) == ("no metric", None, None)
    assert outcome.why.startswith("the metric was nan at step 40, where the validation loss was 0.")
    assert outcome.loss < outcome.curve.valid[0]


@pytest.mark.parametrize("plan", PLANS)
def test_a_loss_that_breaks_down_says_at_which_step_and_from_what(plan):
    outcome = ended(problem(), 30.0, plan)[0]
    assert outcome.status == "diverged"
    assert outcome.why.startswith("the training loss was ")
    assert f"at step {outcome.diverged_at}, after" in outcome.why or "times its start" in outcome.why


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", ["loss", "data"])
def test_one_example_that_breaks_the_loss_is_named_and_no_rate_is_blamed(kind, plan):
    """In training data outside the first batch; detected before the runs, or by the run that reaches it."""
    x = X.clone()
    x[50] = 7.0

    class Broken(nn.Module):
        def forward(self, output, target):
            return ((output - target) ** 2 * torch.where(target.abs() > 13, math.nan, 1.0)).mean()

    class Rows(torch.utils.data.Dataset):
        """Read batch by batch, so that the check of data in memory does not apply."""

        def __len__(self):
            return 600  # too many to check each in advance

        def __getitem__(self, k):
            x = X[k % 64] + 1e-6 * torch.rand(1)
            return (x, Y[k % 64]) if k != 50 else (x * math.nan, Y[k % 64])

    one = problem(loss=Broken(), train=(x, 2 * x)) if kind == "loss" else problem(train=Rows())
    words = "1 of its 8 examples is not finite by itself" if kind == "loss" else "NaN or infinity in 1 of"
    with pytest.raises(SteepestError, match=f"with the initial weights too, so that no rate could train on it: .*{words}"):
        ended(one, 0.05, plan, 80)
    if kind == "loss":
        with pytest.raises(SteepestError, match="loss of training batch 7 is nan with the initial weights"):
            steepest.compare(one, "sgd", lrs=0.05, store=":memory:")


def test_a_run_that_starts_at_a_tiny_loss_is_not_ended_for_a_rise():
    """Pre-trained: momentum first increases the loss more than a thousandfold, yet a plain loop ends far below the start."""

    class Near(nn.Linear):
        def __init__(self):
            super().__init__(1, 1, dtype=torch.float64)
            nn.init.constant_(self.weight, 2 + 1e-3)
            nn.init.zeros_(self.bias)

    one = problem(model=Near, dtype=torch.float64, train=(X.double(), 2 * X.double()), valid=(X.double(), 2 * X.double()))
    outcome = train(one, rules.get("adam"), lr=0.3, steps=1500, seed=0, schedule=steepest.schedules.get("cosine"))
    start = outcome.curve.valid[0]
    assert start < 2e-6
    assert max(outcome.curve.train) > 1000 * start
    assert outcome.status == "finished"
    assert outcome.valid < start


def recorded(losses, valid=None):
    """A recorder of one run with these losses, one per mark, from a loss of 1 at the start."""
    recorder = Recorder(20, "min")
    recorder.begin(1.0, 1.0)
    for k in range(1, 21):
        recorder.step(k, 1.0 if k == 1 else losses[k - 1])
        value = (valid or losses)[k - 1]
        recorder.evaluate(k, value, value)
    return recorder.outcomes(0.0)[0]


@pytest.mark.parametrize(
    ("losses", "diverged_at"),
    [
        ([1.0] * 5 + [2e3, 3e3] + [4e3] * 13, 7),  # grows from mark to mark
        ([1.0] * 5 + [3e3, 2e3] + [1.0] * 13, None),  # recovers
        ([1.0] * 19 + [2e3], 20),  # is high at the end
        ([1.0] * 5 + [2e3] + [0.5] * 14, None),  # one rise
        ([1.0] * 5 + [9e2] * 15, None),  # below the limit
    ],
)
def test_a_run_has_diverged_where_it_stays_over_a_thousand_times_its_start(losses, diverged_at):
    assert recorded(losses).diverged_at == diverged_at


def test_numbers_in_json_are_finite_where_a_metric_is_not(tmp_path, strict):
    one = problem(metric=lambda output, target: math.nan if 2.5 < output.abs().max() < 4 else 1.0)
    study = steepest.compare(one, "sgd,adam", lrs=0.05, seeds=3, schedules="constant", steps=40, store=tmp_path / "s.db")
    found = strict(json.dumps(study.to_dict(), allow_nan=False))
    study.report(tmp_path / "report.html")
    gaps = [run.curve.metric for entry in study.result.entries for run in entry.outcomes]
    assert any(None in curve for curve in gaps)
    assert found["optimizers"]
    with Store(tmp_path / "s.db") as store:
        for kind in ("csv", "tensorboard"):
            assert export(store, tmp_path / f"out.{kind}", kind) == study.result.trained


def test_runs_without_a_finite_metric_are_told_from_diverged_ones(tmp_path):
    """Every run trains, and its final metric is 0/0. No rate is rejected for it."""
    one = problem(metric=lambda output, target: 1.0 if (output - target).abs().max() > 3.5 else float(np.float64(math.nan)))
    study = steepest.compare(one, "sgd", lrs=[0.05, 0.1], schedules="constant", store=tmp_path / "s.db", plan="one", margin=1)
    answer, row = study.to_dict()["answer"], study.to_dict()["optimizers"][0]
    assert answer["optimizer"] is None
    assert "without a finite metric" in answer["sentence"]
    assert "Fix the metric" in answer["sentence"]
    assert "smaller rates" not in str(study)
    assert row["diverged"] == 0
    again = steepest.compare(one, "sgd", lrs=[0.05, 0.1], schedules="constant", store=tmp_path / "s.db", plan="one", margin=1)
    assert again.to_dict() == study.to_dict()


@pytest.mark.parametrize("how", [{"seeds": 2}, {"seeds": 6}, {"budget": "30s"}])
def test_what_collapsed_is_never_recommended(how, tmp_path):
    study = steepest.compare(
        problem(), "sgd,momentum", lrs=300.0, schedules="constant", store=tmp_path / "s.db", plan="one", **how
    )
    assert study.answer().sentence.startswith("Nothing can be picked")
    assert "Use " not in str(study)
    assert "optimizer = " not in str(study)
    with pytest.raises(SteepestError, match="Nothing can be picked"):
        study.best()


def test_one_that_collapses_on_most_seeds_is_not_picked_though_its_other_runs_are_best():
    from steepest.study.bounds import standing

    values = np.array([[9.0, np.nan, np.nan, np.nan, 9.0, np.nan], [1.0, 1.1, 1.0, 0.9, 1.0, 1.1]])
    assert standing(values, [6, 6], disfavoured=[0], excluded=[0]).pick == 1
    assert standing(values[:1], [6], excluded=[0]).pick == 0


def test_what_was_never_tried_says_so(tmp_path, monkeypatch):
    from steepest.study.lab import Lab
    from steepest.training.processes import OutOfTimeError

    keep, kept = Lab._keep, []

    def stop(self, *args):
        keep(self, *args)
        kept.append(1)
        raise OutOfTimeError

    monkeypatch.setattr(Lab, "_keep", stop)
    study = steepest.compare(
        problem(),
        "sgd,adam",
        lrs={"sgd": [0.01, 0.02], "adam": [0.01, 0.02]},
        schedules="constant",
        store=tmp_path / "s.db",
        plan="one",
    )
    rows = {row["name"]: row for row in study.to_dict()["optimizers"]}
    untried = [row for row in rows.values() if row["lr"] is None]
    assert [(row["sweep"], row["status"]) for row in untried] == [([], "never tried")]
    assert "never tried" in str(study)
    assert "diverged at" not in str(study)
    study.report(tmp_path / "report.html")
