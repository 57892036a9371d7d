"""Accumulation, autocast and clipping as options of a problem."""

import dataclasses

import pytest
import torch
from torch import nn

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.problems.fingerprint import fingerprint
from steepest.training.forward import NotStackableError
from steepest.training.single import train
from steepest.training.stacked import Run, StackedRuns


@pytest.fixture
def wide():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(45, 3, generator=generator, dtype=torch.float64)
    y = 3 * x.sum(1, keepdim=True)
    return steepest.Problem(
        model=lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)),
        loss=nn.MSELoss(),
        train=(x, y),
        valid=(x, y),
        batch_size=10,
        dtype=torch.float64,
        name="wide",
    )


def halved(problem):
    """The same in float32, with the forward pass in half precision."""
    data = tuple(t.float() for t in problem.train.tensors)
    return dataclasses.replace(problem, train=data, valid=data, dtype=torch.float32, autocast=torch.bfloat16)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("parts", [2, 3, 7, 50])
@pytest.mark.parametrize("name", ["sgd", "adam", "sam", "schedule_free_adamw"])
def test_parts_of_a_batch_make_the_step_of_the_whole(name, parts, reduction, wide):
    wide = dataclasses.replace(wide, loss=nn.MSELoss(reduction=reduction))
    how = {"lr": 0.001, "steps": 23, "seed": 1}  # the last batch of an epoch has five examples
    whole = train(wide, rules.get(name), **how)
    cut = train(dataclasses.replace(wide, accumulate=parts), rules.get(name), **how)
    for a, b in ((whole.curve.train, cut.curve.train), (whole.curve.valid, cut.curve.valid)):
        assert b == pytest.approx(a, rel=1e-12, abs=1e-14)


def test_fewer_examples_go_through_the_model_at_once(wide):
    seen = []

    class Told(nn.Linear):
        def forward(self, x):
            if self.training:
                seen.append(len(x))
            return super().forward(x)

    cut = dataclasses.replace(wide, model=lambda: Told(3, 1), accumulate=4)
    train(cut, rules.get("sgd"), lr=0.01, steps=5, seed=0)
    assert seen == [3, 3, 2, 2] * 4 + [2, 1, 1, 1]


def test_gradients_are_clipped_as_torch_clips_them_alone_and_together(wide):
    clipped = dataclasses.replace(wide, clip=0.5)
    runs = [Run(rules.get(name), lr, seed, 20) for name in ("sgd", "adam") for lr in (0.01, 0.1) for seed in (0, 1)]
    together = StackedRuns(clipped, runs).train()
    for run, outcome in zip(runs, together, strict=True):
        alone = train(clipped, run.rule, lr=run.lr, steps=20, seed=run.seed)
        ruled = train(wide, rules.clip_by_norm(run.rule, 0.5), lr=run.lr, steps=20, seed=run.seed)
        assert outcome.curve.train == pytest.approx(alone.curve.train, rel=1e-9)
        assert ruled.curve.train == pytest.approx(alone.curve.train, rel=1e-9)
    free = train(wide, rules.get("sgd"), lr=0.1, steps=20, seed=0)
    assert free.curve.train[-1] != pytest.approx(together[4].curve.train[-1], rel=1e-3)


def test_the_forward_pass_is_in_bfloat16_and_the_loss_is_not(wide):
    inside, losses = [], []

    class Told(nn.Sequential):
        def forward(self, x):
            y = super().forward(x)
            inside.append(y.dtype)
            return y

    def loss(output, target):
        losses.append(output.dtype)
        return ((output - target) ** 2).mean()

    half = dataclasses.replace(halved(wide), model=lambda: Told(nn.Linear(3, 1)), loss=loss)
    outcome = train(half, rules.get("adam"), lr=0.05, steps=60, seed=0)
    assert set(inside) == {torch.bfloat16}
    assert set(losses) == {torch.float32}
    assert outcome.curve.valid[-1] < 0.5 * outcome.curve.valid[0]


def test_such_runs_train_one_by_one_where_they_must_and_are_other_runs(wide):
    half = halved(wide)
    cut, clipped = dataclasses.replace(wide, accumulate=2), dataclasses.replace(wide, clip=1.0)
    assert len({fingerprint(one) for one in (wide, cut, clipped, half, dataclasses.replace(half, autocast=None))}) == 5
    for one in (cut, half):
        with pytest.raises(NotStackableError):
            StackedRuns(one, [Run(rules.get("sgd"), 0.1, 0, 5)])
    study = steepest.compare(
        dataclasses.replace(wide, accumulate=2), "sgd,adam", lrs=0.01, seeds=2, steps=5, schedules="constant", store=":memory:"
    )
    assert study.result.trained == 4


@pytest.mark.parametrize(
    "how",
    [{"accumulate": 0}, {"accumulate": 1.5}, {"clip": 0}, {"clip": float("nan")}, {"clip": "1"}, {"autocast": torch.float16}],
)
def test_options_out_of_their_domain_are_one_sentence(how, wide):
    with pytest.raises(SteepestError, match=f"{next(iter(how))} is .*; expected"):
        dataclasses.replace(wide, **how)
