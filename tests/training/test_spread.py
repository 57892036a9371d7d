"""How a metric spreads over examples: on resamples where it is no mean over them, and its standard error on test data."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

import steepest
from steepest import rules
from steepest.problems import problem as problem_module
from steepest.problems.spread import DRAWS
from steepest.training import stacked
from steepest.training.single import train
from steepest.training.stacked import Run
from steepest.training.ways import named, train_all

GENERATOR = torch.Generator().manual_seed(1)
X = torch.randn(120, 4, generator=GENERATOR)
Y = (X[:, 0] + torch.randn(120, generator=GENERATOR) > 0.5).long()
VALID, TEST = slice(40, 77), slice(77, 120)


def f1(output, target):
    predicted = output.argmax(1) == 1
    hits = (predicted & (target == 1)).sum()
    return 2 * hits / (predicted.sum() + (target == 1).sum())


def problem(metric=f1, **changes):
    parts = {"model": lambda: nn.Linear(4, 2), "loss": nn.CrossEntropyLoss(), "direction": "max", "batch_size": 8}
    splits = {"train": (X[:40], Y[:40]), "valid": (X[VALID], Y[VALID]), "test": (X[TEST], Y[TEST])}
    return steepest.Problem(metric=metric, **{**parts, **splits, **changes})


def trained(one, seed=0, steps=40, **more):
    return train(one, rules.get("sgd"), lr=0.1, steps=steps, seed=seed, examples=True, test=True, **more)


def by_hand(predicted, target):
    """The F1 of 50 resamples, counted example by example with NumPy alone, from indices drawn as documented."""
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(50):
        rows = torch.randint(len(target), (len(target),), generator=generator).tolist()
        pairs = [(predicted[i], target[i]) for i in rows]
        hits, misses = pairs.count((1, 1)), pairs.count((0, 1)) + pairs.count((1, 0))
        found.append(2 * hits / (2 * hits + misses))
    return np.array(found)


@pytest.fixture
def outputs():
    """The outputs of the run of `trained` for validation and test data, and a callback that collects them."""
    seen = {}

    def on_step(k, model):
        with torch.no_grad():
            seen.update(valid=model(X[VALID]), test=model(X[TEST]))

    seen["on_step"] = on_step
    return seen


def test_a_metric_that_is_no_mean_is_computed_on_fifty_resamples_of_the_examples(outputs):
    outcome = trained(problem(), on_step=outputs["on_step"])
    assert outcome.examples is None
    assert outcome.draws.shape == (DRAWS,)
    assert outcome.draws.dtype == np.float32
    predicted, target = outputs["valid"].argmax(1).tolist(), Y[VALID].tolist()
    np.testing.assert_allclose(outcome.draws, by_hand(predicted, target), rtol=1e-6)
    assert len(set(outcome.draws.tolist())) > 10
    deviation = np.std(by_hand(outputs["test"].argmax(1).tolist(), Y[TEST].tolist()), ddof=1)
    assert outcome.test_se == pytest.approx(deviation, rel=1e-5)
    assert 0.02 < outcome.test_se < 0.2


def test_all_runs_have_the_same_resamples():
    """The difference of two runs that predict alike varies less than either; over separate resamples it would vary more."""
    one, other = (trained(problem(), steps=steps) for steps in (40, 60))
    assert one.valid != other.valid
    assert np.std(one.draws - other.draws) < 0.7 * np.std(one.draws)
    np.testing.assert_array_equal(trained(problem()).draws, one.draws)


def test_a_mean_that_a_function_computes_is_resampled_too():
    share = trained(problem(lambda output, target: (output.argmax(1) == target).double().mean()))
    known = trained(problem("accuracy"))
    assert (share.examples, known.draws) == (None, None)
    assert len(known.examples) == 37
    each = known.examples / 100
    assert np.std(share.draws, ddof=1) == pytest.approx(np.std(each) / math.sqrt(len(each)), rel=0.25)  # fifty draws
    assert np.mean(share.draws) == pytest.approx(share.valid, abs=0.05)


def test_the_standard_error_of_an_accuracy_is_that_of_a_share():
    outcome = trained(problem("accuracy"))
    share, count = outcome.test / 100, 43
    assert 0 < share < 1
    assert outcome.test_se == pytest.approx(100 * math.sqrt(share * (1 - share) / (count - 1)), rel=1e-9)


def test_the_standard_error_of_a_loss_is_that_of_a_mean(outputs):
    outcome = trained(problem(None, direction="min"), on_step=outputs["on_step"])
    losses = -outputs["test"].double().log_softmax(1)[torch.arange(43), Y[TEST]].numpy()
    assert outcome.test_se == pytest.approx(np.std(losses, ddof=1) / math.sqrt(43), rel=1e-5)


def refusing(output, target):
    if len(target) != len(torch.unique(output, dim=0)):  # an example is drawn twice
        raise ValueError("two examples are the same")
    return f1(output, target)


def undefined(output, target):
    return f1(output, target) if len(target) == len(torch.unique(output, dim=0)) else math.nan


class WithTable(nn.Linear):
    def forward(self, x):
        return super().forward(x), torch.ones(500)


UNKNOWN = {
    "a metric that raises for a resample": problem(refusing),
    "a metric that is not finite for a resample": problem(undefined),
    "outputs with a part whose rows are no examples": problem(
        lambda output, target: f1(output[0], target),
        model=lambda: WithTable(4, 2),
        loss=lambda output, target: nn.functional.cross_entropy(output[0], target),
    ),
}


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("plan", ["one", "many:2"])
def test_nothing_is_said_of_the_spread_where_it_cannot_be_computed(kind, plan):
    runs = [Run(rules.get("sgd"), lr, 0, 40, test=True, examples=True) for lr in (0.05, 0.1)]
    outcome = dict(train_all(UNKNOWN[kind], runs, named(plan)))[1]
    assert outcome.valid > 0
    assert outcome.test > 0
    assert (outcome.examples, outcome.draws, outcome.test_se) == (None, None, None)


def test_one_test_example_and_a_run_that_is_not_asked_or_diverges_have_no_spread():
    alone = trained(problem("accuracy", test=(X[:1], Y[:1])))
    assert alone.test is not None
    assert alone.test_se is None
    plain = train(problem(), rules.get("sgd"), lr=0.1, steps=40, seed=0)
    assert (plain.examples, plain.draws, plain.test_se) == (None, None, None)
    for metric in (f1, "accuracy"):
        runs = [Run(rules.get("sgd"), lr, 0, 40, test=True, examples=True) for lr in (1e30, 0.1)]
        lost, sound = stacked.StackedRuns(problem(metric), runs).train()
        assert lost.diverged_at is not None
        assert (lost.examples, lost.draws, lost.test_se) == (None, None, None)
        assert sound.test_se > 0


@pytest.mark.parametrize("how", ["together", "one by one"])
def test_runs_together_have_the_spread_of_runs_alone(how, monkeypatch):
    if how == "one by one":
        monkeypatch.setattr(stacked, "evaluation_room", lambda problem, model: (1, 0.0))
        calls = []
        one_by_one = stacked.StackedRuns._one_by_one
        monkeypatch.setattr(stacked.StackedRuns, "_one_by_one", lambda *args: calls.append(1) or one_by_one(*args))
    lrs = (0.05, 0.1, 0.2)
    for metric in (f1, "accuracy"):
        runs = [Run(rules.get("sgd"), lr, 0, 40, test=True, examples=True) for lr in lrs]
        found = stacked.StackedRuns(problem(metric), runs).train()
        alone = [outcome for _, outcome in sorted(train_all(problem(metric), runs, named("one")), key=lambda pair: pair[0])]
        assert len({outcome.valid for outcome in alone}) > 1
        for a, b in zip(found, alone, strict=True):
            ours, theirs = (o.draws if metric is f1 else o.examples for o in (a, b))
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
            assert a.test_se == pytest.approx(b.test_se, rel=1e-9)
    assert how == "together" or calls


def test_outputs_of_several_forward_passes_are_joined_for_resamples_if_they_fit(monkeypatch):
    whole, accuracy = trained(problem()), trained(problem("accuracy"))
    monkeypatch.setattr(problem_module, "evaluation_room", lambda problem, model: (7, 1e9))
    np.testing.assert_array_equal(trained(problem()).draws, whole.draws)
    monkeypatch.setattr(problem_module, "evaluation_room", lambda problem, model: (7, 0.0))
    calls = []
    in_pieces = trained(problem(lambda output, target: calls.append(1) or f1(output, target)))
    assert len(calls) < 200  # 22 evaluations in six or seven pieces, none of which is resampled
    assert (in_pieces.draws, in_pieces.test_se) == (None, None)
    again = trained(problem("accuracy"))
    np.testing.assert_array_equal(again.examples, accuracy.examples)
    assert again.test_se == pytest.approx(accuracy.test_se)


def restless(output, target):
    return f1(output, target) + 1e-3 * (torch.rand(()).item() + np.random.rand() + random.random())


class Counting(nn.Module):
    """A metric whose value depends on how often it was called."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, output, target):
        self.calls += 1
        return f1(output, target) + 1e-3 * self.calls


@pytest.mark.parametrize("metric", [restless, Counting], ids=["random", "with state"])
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_resampling_changes_no_result_and_no_random_state(metric, together):
    results = []
    for examples in (False, True):
        one = problem(metric() if metric is Counting else metric)
        runs = [Run(rules.get("sgd"), lr, 0, 40, test=True, examples=examples) for lr in (0.05, 0.1)]
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        found = stacked.StackedRuns(one, runs).train() if together else [train(one, **run.arguments) for run in runs]
        states = torch.rand(()).item(), np.random.rand(), random.random()
        results.append([states, [(o.valid, o.test, o.curve) for o in found]])
    assert results[0] == results[1]
    assert found[0].draws is not None


def test_a_run_sees_the_same_random_numbers_after_its_last_evaluation_with_resamples():
    seen = []

    def on_step(k, _):
        if k == 40:
            seen.append((torch.rand(()).item(), np.random.rand(), random.random()))

    for examples in (False, True):
        train(problem(restless), rules.get("sgd"), lr=0.1, steps=40, seed=0, examples=examples, on_step=on_step)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("plan", ["one", "many:2"])
def test_a_loss_that_writes_to_its_arguments_has_the_same_value_with_results_of_examples(plan):
    def in_place(output, target):
        return output.sub_(target).square().mean()

    found = []
    for examples in (False, True):
        runs = [Run(rules.get("sgd"), lr, 0, 40, examples=examples) for lr in (0.05, 0.1)]
        data = (X[:40], X[:40, :2])
        one = problem(None, loss=in_place, train=data, valid=data, test=None, direction="min")
        found.append([outcome.valid for _, outcome in sorted(train_all(one, runs, named(plan)), key=lambda pair: pair[0])])
    assert found[0] == found[1]


def test_a_metric_that_writes_to_its_arguments_is_resampled_from_what_the_model_returned():
    def in_place(output, target):
        output -= output.mean(0)  # another result if done twice to other rows
        return f1(output, target)

    def apart(output, target):
        return in_place(output.clone(), target)

    for plan in ("one", "many:2"):
        runs = [Run(rules.get("sgd"), lr, 0, 40, test=True, examples=True) for lr in (0.05, 0.1)]
        ours, theirs = (dict(train_all(problem(metric), runs, named(plan)))[0] for metric in (in_place, apart))
        np.testing.assert_array_equal(ours.draws, theirs.draws)
        assert ours.test_se == theirs.test_se
