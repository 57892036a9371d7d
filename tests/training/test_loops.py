"""Training functions: what a run does and returns, the sentence for each mistake, and the processes that train them."""

import dataclasses
import os
import random
import signal
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from steepest import SteepestError, rules, schedules
from steepest.errors import run_file
from steepest.rules.foreign import Parts
from steepest.training.loop.client import Pool
from steepest.training.loop.definition import Loop, Source, loop
from steepest.training.loop.running import Asked, Failed, Ran, train
from steepest.training.loop.watching import RaisedError, RefusedError
from steepest.training.processes import OutOfTimeError
from steepest.update import foreign

STEPS = 20
ADAM, COSINE = rules.get("adam"), schedules.get("cosine")


def of(function, **arguments):
    """A loop from a function; 20 steps unless it has epochs."""
    given = {} if "epochs" in arguments else {"steps": STEPS}
    return loop(**given, **arguments)(function)


def asked(maker=ADAM, seed=0, steps=STEPS, schedule="constant", **how):
    return Asked(maker, 0.01, seed, steps, schedules.get(schedule), **how)


def batches(steps):
    """A model and batches, drawn from torch's generator."""
    model = nn.Linear(3, 1)
    return model, [(x, x.sum(1, keepdim=True)) for x in torch.randn(steps, 8, 3)]


def stepped(optimizer, model, x, y):
    """One step of a plain loop; returns the loss."""
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def plain(run):
    model, data = batches(run.steps)
    optimizer = run.optimizer(model)
    scheduler = run.scheduler(optimizer)
    for x, y in data:
        loss = stepped(optimizer, model, x, y)
        scheduler.step()
        run.report(loss)
    return loss


# What is declared


def test_a_loop_is_the_function_with_what_was_declared():
    @loop(metric="accuracy", steps=5, config={"width": [4, 8]}, about="an example")
    def train_it(run):
        """Train it."""
        return run

    assert train_it.__name__ == "train_it"
    assert train_it.__doc__ == "Train it."
    assert train_it.is_unnamed
    assert (train_it.direction, train_it.defaults, train_it.name) == ("max", {"width": 4}, "train_it")
    assert train_it("the run") == "the run"
    assert of(lambda run: 1.0, metric="perplexity").direction == "min"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "given neither of steps and epochs"),
        ({"steps": 5, "epochs": 2}, "given both of steps and epochs"),
        ({"steps": 0}, "steps of @steepest.loop is 0; expected a whole number"),
        ({"epochs": 1.5}, "epochs of @steepest.loop is 1.5; expected a whole number"),
        ({"steps": 5, "metric": "two words"}, "The metric of @steepest.loop is 'two words'; expected a name"),
        ({"steps": 5, "direction": "up"}, "direction of @steepest.loop is 'up'; expected min or max"),
        ({"steps": 5, "config": [1]}, "config of @steepest.loop is an object of the class list"),
        ({"steps": 5, "config": {"lr": [1]}}, "has the key 'lr', which a study sets itself"),
        ({"steps": 5, "config": {"batch size": [1]}}, "has the key 'batch size'; expected a name"),
        ({"steps": 5, "config": {"batch": []}}, r"config\['batch'\] of @steepest.loop is \[\]; expected a list"),
        ({"steps": 5, "config": {"batch": 3}}, r"config\['batch'\] of @steepest.loop is 3; expected a list"),
        ({"steps": 5, "config": {"net": [nn.Linear]}}, "has the class torch.nn.modules.linear.Linear among its values"),
        ({"steps": 5, "config": {"batch": [3, 3]}}, "has a value twice"),
        ({"steps": 5, "data": "train.csv"}, "data of @steepest.loop is 'train.csv'; expected a list of paths"),
        ({"steps": 5, "data": [3]}, "data of @steepest.loop has 3 in it"),
        ({"steps": 5, "name": ""}, "The name of @steepest.loop is ''"),
    ],
)
def test_arguments_of_a_loop_that_do_not_fit_are_refused(arguments, sentence):
    with pytest.raises(SteepestError, match=sentence):
        loop(**arguments)(plain)


def test_a_function_that_cannot_be_called_with_a_run_is_refused():
    with pytest.raises(SteepestError, match="needs brackets with the length of a run"):
        loop(plain)
    with pytest.raises(SteepestError, match=r"takes run, model; @steepest.loop calls it with one argument"):
        of(lambda run, model: 1.0)
    with pytest.raises(SteepestError, match="takes nothing"):
        of(lambda: 1.0)
    with pytest.raises(SteepestError, match=r"decorated with @steepest.loop already"):
        of(of(plain))
    with pytest.raises(SteepestError, match=r"decorates the class torch.nn.modules.linear.Linear"):
        of(nn.Linear)


def test_the_digest_changes_with_the_function_its_arguments_and_its_data(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text("1,2")
    kinds = [
        of(plain),
        of(lambda run: plain(run)),
        of(plain, direction="max"),
        of(plain, config={"a": [1, 2]}),
        of(plain, config={"a": [2, 1]}),
        of(plain, epochs=2),
        of(plain, data=[file]),
    ]
    digests = [one.digest()[0] for one in kinds]
    assert len({*digests}) == len(digests)
    assert of(plain).digest()[0] == digests[0]
    file.write_text("1,3")
    assert kinds[-1].digest()[0] != digests[-1]
    file.unlink()
    with pytest.raises(SteepestError, match=r"data.csv of @steepest.loop cannot be read: No such file"):
        kinds[-1].digest()


def test_a_call_without_arguments_trains_once_as_a_plain_script():
    value = of(plain)()
    assert isinstance(value, torch.Tensor)
    assert float(value.detach()) == by_hand(torch.optim.Adam, 1e-3)[1][-1]


def test_a_plain_call_whose_loss_is_nan_ends_with_a_sentence():
    def broken(run):
        run.optimizer(nn.Linear(1, 1))
        run.report(float("nan"))

    with pytest.raises(SteepestError, match=r"broken: the reported loss was nan at step 1, at adam's rate of 0.001"):
        of(broken)()


# The numbers


def by_hand(cls, lr, schedule=None, seed=0, **how):
    """The parameters' sum and the losses of a loop that is written without steepest."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    model, data = batches(STEPS)
    optimizer = cls(model.parameters(), lr=lr, **how)
    scheduler = schedule and torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    for x, y in data:
        losses.append(float(stepped(optimizer, model, x, y).detach()))
        if scheduler:
            scheduler.step()
    return sum(float(p.detach().double().sum()) for p in model.parameters()), losses


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(
    ("maker", "cls"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD), ("foreign", torch.optim.Adam)]
)
def test_20_steps_equal_a_loop_by_hand_to_the_bit(maker, cls, seed):
    with torch.random.fork_rng():
        end, losses = by_hand(cls, 0.01, seed=seed)
    found = foreign.find(cls) if maker == "foreign" else rules.get(maker)
    ran = train(of(plain), asked(found, seed, exact=True))
    assert (ran.end, ran.reports) == (end, losses)
    assert ran.steps == STEPS
    assert ran.outcome.valid == losses[-1]
    assert ran.outcome.curve.train == [losses[0], *losses]


def test_a_schedule_sets_the_rates_of_every_step():
    seen = []

    def looks(run):
        parameter = nn.Parameter(torch.ones(1))
        optimizer = run.optimizer([parameter])
        scheduler = run.scheduler(optimizer)
        assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
        for _ in range(run.steps):
            seen.append(optimizer.param_groups[0]["lr"])
            parameter.sum().backward()
            optimizer.step()
            scheduler.step()
            run.report(1.0)
        return 1.0

    ran = train(of(looks), asked(schedule="cosine"))
    assert seen == [0.01 * COSINE(k, STEPS) for k in range(STEPS)]
    assert ran.scheduler_steps == STEPS
    assert not ran.notices


def test_the_generators_of_torch_numpy_and_python_start_from_the_seed_and_are_restored():
    def draws(run):
        return plain(run) * 0 + torch.rand(()) + float(np.random.rand()) + random.random()

    torch.manual_seed(1)
    state = torch.get_rng_state()
    values = [train(of(draws), asked(seed=seed)).outcome.valid for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_curve_has_means_of_the_losses_between_20_points_and_the_final_value_at_its_end():
    def long(run):
        model, data = batches(1)
        optimizer = run.optimizer(model)
        for k in range(run.steps):
            stepped(optimizer, model, *data[0])
            run.report(float(k), **({"accuracy": k / 100} if k == 49 else {}))
        return 0.75

    curve = train(of(long, metric="accuracy"), asked(steps=100)).outcome.curve
    assert curve.steps == [0, *range(5, 101, 5)]
    assert curve.train == [0.0, *(np.arange(100).reshape(20, 5).mean(1))]
    assert [k for k, value in zip(curve.steps, curve.metric, strict=True) if value is not None] == [50, 100]
    assert (curve.metric[10], curve.metric[-1]) == (0.49, 0.75)


def test_settings_of_the_loop_are_in_the_run_and_no_others():
    def configured(run):
        plain(run)
        assert len(run.config) == 2
        assert "other" not in run.config
        return run.config["width"] + run.config["depth"]

    settings = of(configured, config={"width": [4, 8], "depth": [1, 2]})
    assert train(settings, asked()).outcome.valid == 5
    assert train(settings, asked(config={"width": 8})).outcome.valid == 9
    with pytest.raises(RefusedError, match=r"reads run.config\['other'\], which is not declared; add config={'other'"):
        train(of(lambda run: run.config["other"]), asked())


def test_epochs_give_the_steps_once_those_of_an_epoch_are_known():
    def by_epoch(run):
        assert run.epochs == 3
        assert run.steps_per_epoch(7) == run.steps == 21
        return plain(run)

    ran = train(of(by_epoch, epochs=3), asked(steps=0, schedule="cosine"))
    assert (ran.steps, ran.length, ran.scheduler_steps) == (21, 21, 21)
    assert not ran.notices


def test_parts_are_made_by_their_names_each_at_its_own_rate():
    def two(run):
        models = {name: batches(run.steps) for name in ("critic", "actor")}
        optimizers = {name: run.optimizer(model, name=name) for name, (model, _) in models.items()}
        rates = {name: o.param_groups[0]["lr"] for name, o in optimizers.items()}
        for name, (model, data) in models.items():
            for x, y in data:
                run.report(stepped(optimizers[name], model, x, y))
        return rates["actor"] if run.config["which"] == "actor" else rates["critic"]

    parts = Parts({"actor": rules.get("sgd"), "critic": ADAM})
    both = of(two, config={"which": ["actor", "critic"]})
    ran = train(both, asked(parts))
    assert ran.outcome.valid == 0.01
    assert ran.names == ["critic", "actor"]
    assert ran.steps == STEPS
    assert train(both, asked(parts, config={"which": "critic"})).outcome.valid == ADAM.rate
    assert train(both, asked()).outcome.valid == 0.01  # one optimizer for both
    with pytest.raises(SteepestError, match="Unknown part 'critic'"):
        train(both, asked(Parts({"actor": ADAM, "extra": ADAM})))


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.5), torch.tensor([0.5]), {"loss": 0.5, "other": "text"}],
)
def test_a_metric_may_be_returned_as_any_number(value):
    outcome = train(of(lambda run: (plain(run), value)[1]), asked()).outcome
    assert outcome.valid == 0.5
    assert outcome.examples is None
    assert outcome.status == "finished"


@pytest.mark.parametrize(
    "values", [torch.tensor([1.0, 0.0, 0.0, 1.0]), np.array([1, 0, 0, 1]), [1, 0.0, 0, True], torch.tensor([1, 0, 0, 1]) == 1]
)
def test_a_metric_may_be_returned_for_each_example(values):
    outcome = train(of(lambda run: (plain(run), values)[1]), asked()).outcome
    assert outcome.valid == 0.5
    assert outcome.examples.dtype == np.float32
    assert outcome.examples.tolist() == [1, 0, 0, 1]


def test_test_values_count_on_final_runs_alone_and_are_dropped_elsewhere_with_a_notice():
    tested = of(lambda run: (plain(run), {"loss": 0.5, "test": [1.0, 2.0, 3.0]})[1])
    final = train(tested, asked(final=True))
    assert final.outcome.test == 2.0
    assert final.outcome.test_se == pytest.approx(1 / 3**0.5)
    assert not final.notices
    earlier = train(tested, asked())
    assert earlier.outcome.test is None
    assert "evaluate test data only where run.final is true" in earlier.notices["test"]


def test_groups_may_follow_the_rate_of_the_candidate():
    def grouped(rate):
        def grouped(run):
            model, data = batches(run.steps)
            groups = [{"params": [model.weight], "lr": rate(run)}, {"params": [model.bias]}]
            optimizer = run.optimizer(groups)
            for x, y in data:
                run.report(stepped(optimizer, model, x, y))
            return optimizer.param_groups[0]["lr"]

        return train(of(grouped), asked())

    followed, own = grouped(lambda run: run.lr / 10), grouped(lambda run: 0.5)
    assert followed.outcome.valid == 0.001
    assert not followed.notices
    assert "gives a parameter group lr=0.5, which the candidate's rate does not change" in own.notices["group rates"]


# Ending early


def marked(run):
    model, data = batches(run.steps)
    optimizer = run.optimizer(model)
    for k, (x, y) in enumerate(data, 1):
        loss = stepped(optimizer, model, x, y)
        run.report(loss, **({"loss": k / 10} if k % 4 == 0 else {}))
    return 9.0


def test_a_shortened_run_ends_at_its_first_mark_from_that_step_on():
    ran = train(of(marked), asked(until=10))
    assert (ran.steps, ran.length, ran.outcome.valid, ran.marks) == (12, STEPS, 1.2, True)
    assert ran.outcome.curve.steps[-1] == 12
    assert ran.outcome.curve.metric[-1] == 1.2


def test_a_shortened_run_without_marks_is_trained_again_with_so_many_steps_in_all():
    seen = []
    ran = train(of(lambda run: (seen.append(run.steps), plain(run))[1]), asked(until=5, schedule="cosine"))
    assert seen == [STEPS, 5]
    assert (ran.steps, ran.length, ran.marks) == (5, 5, False)
    assert ran.outcome.valid == train(of(plain), asked(steps=5, schedule="cosine")).outcome.valid


def test_a_probe_ends_after_so_many_reports_or_without_any_so_many_steps():
    probed = train(of(plain), asked(probe=6, schedule="cosine"))
    assert (probed.steps, len(probed.reports), probed.length) == (6, 6, STEPS)
    assert not probed.notices
    assert probed.reports == train(of(plain), asked(probe=6, schedule="cosine")).reports
    silent = train(of(lambda run: silently(run)), asked(probe=6))
    assert (silent.steps, silent.reports) == (6, [])
    assert probed.end != 0
    assert probed.seconds_per_step > 0
    assert probed.state_bytes > 0
    assert probed.started > 0


@pytest.mark.parametrize("lost", [float("nan"), float("inf"), torch.tensor(float("nan"))])
def test_a_loss_that_is_not_finite_ends_the_run_as_diverged_there(lost):
    def diverges(run):
        model, data = batches(run.steps)
        optimizer = run.optimizer(model)
        for k, (x, y) in enumerate(data, 1):
            stepped(optimizer, model, x, y)
            run.report(lost if k == 7 else 0.5)
        return 0.1

    outcome = train(of(diverges), asked()).outcome
    assert outcome.diverged_at == 7
    assert outcome.valid is None
    assert outcome.curve.steps[-1] == 6
    assert outcome.why.startswith(f"the reported loss was {float(lost):.4g} at step 7, after 0.5")


def test_a_run_without_reports_has_one_point():
    curve = train(of(silently), asked()).outcome.curve
    assert (curve.steps, curve.train, curve.valid, curve.metric) == ([STEPS], [None], [None], [1.0])


def test_an_exit_says_what_to_do():
    for code, hint in ((0, "return instead of ending Python"), (2, "parse no arguments")):
        with pytest.raises(RaisedError, match=hint):
            train(of(lambda run, code=code: (plain(run), sys.exit(code))), asked())


@pytest.mark.parametrize("lost", [float("nan"), -np.inf, torch.tensor([0.1, float("nan")]), 1e200, 10**400])
def test_a_metric_that_is_not_finite_is_a_diverged_run(lost):
    outcome = train(of(lambda run: (plain(run), lost)[1]), asked()).outcome
    assert outcome.diverged_at == STEPS
    assert outcome.valid is None
    assert "the function returned" in outcome.why


def test_a_function_that_swallows_the_end_of_its_run_is_ended_by_what_the_caller_gives():
    class EndedError(BaseException):
        pass

    results = []

    def swallows(run):
        model, data = batches(run.steps)
        optimizer = run.optimizer(model)
        for x, y in data:
            try:
                stepped(optimizer, model, x, y)
                run.report(float("nan"))
            except EndedError:
                raise
            except BaseException:  # the mistake that is tested
                pass
        return 0.5

    def ended(result):
        results.append(result)
        raise EndedError

    assert train(of(swallows), asked()).outcome.diverged_at == 1  # and what it returns is not read
    with pytest.raises(RaisedError, match="EndedError"):
        raise_through(swallows, ended)
    assert results[0].outcome.diverged_at == 1


def raise_through(function, ended):
    """Train, and report whether `ended` got out of the function, as an exit of the process would."""
    left = []

    def outside(result):
        try:
            ended(result)
        except BaseException as error:
            left.append(error)
            raise

    train(of(function), asked(), ended=outside)
    raise RaisedError(f"it raised {type(left[0]).__name__}")


# Mistakes and what is said


def silently(run):
    model, data = batches(run.steps)
    optimizer = run.optimizer(model)
    for x, y in data:
        stepped(optimizer, model, x, y)
    return 1.0


def reporting(what):
    def reports(run):
        run.optimizer(nn.Linear(1, 1))
        run.report(what)

    return reports


def returning(what):
    return lambda run: (plain(run), what)[1]


def scheduled(times, per=1, own=False):
    """A loop whose scheduler steps so many times after each so many steps."""

    def function(run):
        model, data = batches(run.steps)
        optimizer = run.optimizer(model)
        scheduler = run.scheduler(optimizer)
        for k, (x, y) in enumerate(data, 1):
            run.report(stepped(optimizer, model, x, y))
            for _ in range(times if k % per == 0 else 0):
                scheduler.step()
            if own:
                optimizer.param_groups[0]["lr"] = 0.5
        return 1.0

    return function


def of_length(share):
    def function(run):
        model, data = batches(1)
        optimizer = run.optimizer(model)
        for _ in range(int(share * run.steps)):
            run.report(stepped(optimizer, model, *data[0]))
        return 1.0

    return function


def twice(run):
    run.optimizer(nn.Linear(1, 1))
    run.optimizer(nn.Linear(1, 1))


def twice_named(run):
    run.optimizer(nn.Linear(1, 1), name="a")
    run.optimizer(nn.Linear(1, 1), name="a")


def unstepped(run):
    run.optimizer(nn.Linear(1, 1))
    return 1.0


def early(run):
    return range(run.steps)


def others_scheduler(run):
    run.optimizer(nn.Linear(1, 1))
    run.scheduler(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0))


def two_schedulers(run):
    optimizer = run.optimizer(nn.Linear(1, 1))
    run.scheduler(optimizer)
    run.scheduler(optimizer)


class Half(torch.optim.SGD):
    """An optimizer that needs a closure, and calls it once."""

    def step(self, closure):
        loss = closure()
        super().step()
        return loss


@pytest.mark.parametrize(
    ("function", "how", "sentence"),
    [
        (lambda run: 1.0, {}, "never calls run.optimizer; make its optimizer by run.optimizer"),
        (unstepped, {}, "takes no step with the optimizer of run.optimizer"),
        (silently, {"schedule": "cosine"}, "never calls run.scheduler, so that every schedule would train alike"),
        (scheduled(0), {"schedule": "cosine"}, r"calls scheduler.step\(\) 0 times in 20 optimizer steps"),
        (scheduled(2), {"schedule": "cosine"}, r"calls scheduler.step\(\) 40 times in 20 optimizer steps"),
        (scheduled(1, per=10), {"schedule": "cosine"}, r"calls scheduler.step\(\) 2 times in 20 optimizer steps"),
        (scheduled(0), {"schedule": "cosine", "probe": 6}, r"calls scheduler.step\(\) 0 times in 6 optimizer steps"),
        (plain, {"schedule": "plateau"}, "does not report its loss, which plateau"),
        (of_length(1.5), {}, "went on after step 22, and run.steps is 20 in this run"),
        (twice, {}, "calls run.optimizer twice; call it once, or give each a name"),
        (twice_named, {}, "calls run.optimizer twice with the name 'a'; give each optimizer a name of its own"),
        (others_scheduler, {}, "calls run.scheduler with an object of the class torch.optim.sgd.SGD"),
        (two_schedulers, {}, "calls run.scheduler twice for one optimizer"),
        (lambda run: run.steps_per_epoch(3), {}, "calls run.steps_per_epoch, which is for @steepest.loop.epochs=...."),
        (reporting("low"), {}, "reports an object of the class str as its loss"),
        (reporting(None), {}, "reports None as its loss; expected a number"),
        (reporting(torch.ones(3)), {}, r"reports an object of the class torch.Tensor of shape \(3,\) as its loss"),
        (reporting(True), {}, "reports True as its loss"),
        (returning(None), {}, "returned None; expected its loss as a number"),
        (returning("0.5"), {}, "returned an object of the class str"),
        (returning(True), {}, "returned True"),
        (returning((1.0, 2.0)), {}, "returned an object of the class tuple"),
        (returning({"accuracy": 1.0}), {}, "returned a dict without 'loss'"),
        (returning(torch.ones(2, 2)), {}, r"returned an array of shape \(2, 2\)"),
        (returning([]), {}, "returned an empty array"),
        (returning(["a", "b"]), {}, "returned an object of the class list"),
        (returning(1j), {}, "returned an object of the class complex"),
        (silently, {"maker": rules.get("sam")}, "SAM needs gradients at two points"),
        (silently, {"maker": foreign.find(Half)}, r"Half needs the closure in its step; call optimizer.step\(closure\)"),
        (
            silently,
            {"maker": dataclasses.replace(foreign.find(torch.optim.SGD), evaluations=3)},
            "evaluates several gradients in a step",
        ),
    ],
)
def test_a_function_that_cannot_be_compared_is_refused_with_a_sentence(function, how, sentence):
    with pytest.raises(SteepestError, match=sentence) as raised:
        train(of(function), asked(**how))
    assert not isinstance(raised.value, RaisedError)


@pytest.mark.parametrize(
    ("function", "code", "sentence"),
    [
        (silently, "report", "never calls run.report, so that its runs have no curves"),
        (of_length(0.5), "steps", "took 10 optimizer steps of run.steps = 20"),
        (scheduled(1, own=True), "scheduler", "changes the rate of run.optimizer by something else than run.scheduler"),
    ],
)
def test_a_function_that_misleads_is_said_to(function, code, sentence):
    ran = train(of(function), asked())
    assert ran.outcome.status == "finished"
    assert sentence in ran.notices[code]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "warmup(0.1) * cosine"])
def test_a_right_function_gets_no_notice(schedule):
    assert train(of(plain), asked(schedule=schedule)).notices == {}


def test_epochs_without_their_steps_are_refused():
    for function in (early, silently_three):
        with pytest.raises(RefusedError, match=r"call it"):
            train(of(function, epochs=3), asked(steps=0))
    with pytest.raises(RefusedError, match=r"run.steps_per_epoch\(0\); expected the number of steps of an epoch"):
        train(of(lambda run: run.steps_per_epoch(0), epochs=3), asked(steps=0))


def silently_three(run):
    model, data = batches(3)
    optimizer = run.optimizer(model)
    for x, y in data:
        run.report(stepped(optimizer, model, x, y))
    return 1.0


def test_an_optimizer_with_other_weights_to_evaluate_must_be_put_into_its_evaluation_mode():
    def evaluates(run):
        model, data = batches(run.steps)
        optimizer = run.optimizer(model)
        for x, y in data:
            run.report(stepped(optimizer, model, x, y))
        if run.config["eval"]:
            optimizer.eval()
        return 1.0

    both, averaged = of(evaluates, config={"eval": [False, True]}), rules.get("schedule_free_sgd")
    said = train(both, asked(averaged)).notices[f"train mode: {averaged.name}"]
    assert said.startswith(f"{averaged.name} was evaluated in train mode: call optimizer.eval() before evaluating")
    assert not train(both, asked(averaged, config={"eval": True})).notices


def test_a_closure_that_is_called_several_times_in_a_step_is_refused():
    def closes(run):
        model, data = batches(1)
        optimizer = run.optimizer(model)

        def closure():
            optimizer.zero_grad()
            loss = (model(data[0][0]) - data[0][1]).square().mean()
            loss.backward()
            return loss

        for _ in range(run.steps):
            run.report(optimizer.step(closure))
        return 1.0

    with pytest.raises(RefusedError, match="evaluates several gradients in a step"):
        train(of(closes), asked(foreign.find(torch.optim.LBFGS)))
    for maker in (ADAM, rules.get("sam"), foreign.find(torch.optim.SGD), foreign.find(Half)):
        ran = train(of(closes), asked(maker))
        assert (ran.outcome.valid, ran.steps) == (1.0, STEPS)  # Half's step calls that of SGD, and is one


@pytest.mark.parametrize(("error", "text"), [(ValueError("oh"), "ValueError"), (SystemExit(3), "SystemExit")])
def test_what_the_function_raises_is_named_with_its_line_and_step(error, text):
    def raises(run):
        plain(run)
        raise error

    with pytest.raises(RaisedError, match=f"it raised {text} at .*test_loops.py, line") as raised:
        train(of(raises), asked())
    assert raised.value.step == STEPS


# Processes


FILE = """
import os, sys, time
import torch
import steepest


@steepest.loop(steps=20, config={"do": ["train", "other"], "at": ["", "."]})
def train(run):
    run.config["do"]
    model = torch.nn.Linear(3, 1)
    optimizer = run.optimizer(model)
    for x in torch.randn(run.steps, 8, 3):
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.report(loss)
        time.sleep(0.02 if run.config["do"] == "slow" else 0.0)
    do, at = run.config["do"], run.config["at"]
    if do == "spoil":
        os.chdir("/")
        sys.argv[:] = ["other"]
        os.environ["STEEPEST_SPOILED"] = "yes"
        os.environ.pop("STEEPEST_GIVEN")
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.manual_seed(1)
        print("noise")
    if do == "look":
        spoiled = os.getcwd() == "/", sys.argv == ["other"], "STEEPEST_SPOILED" in os.environ
        rest = "STEEPEST_GIVEN" not in os.environ, torch.get_default_dtype() != torch.float32, not torch.is_grad_enabled()
        return float(sum([*spoiled, *rest]))
    if do == "exit":
        sys.exit("enough")
    if do == "end":
        os._exit(3)
    if do == "once" and not os.path.exists(at):
        open(at, "w").close()
        os.kill(os.getpid(), 9)
    if do == "sleep":
        with open(at, "a") as file:
            print(os.getpid(), file=file, flush=True)
        time.sleep(60)
    if do == "swallow":
        for _ in range(3):
            try:
                run.report(float("nan"))
            except BaseException:
                pass
    if do == "nothing":
        return None
    return loss


@steepest.loop(steps=1)
def empty(run):
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = run.optimizer([p])
    p.sum().backward()
    optimizer.step()
    run.report(1.0)
    return 1.0
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("loops") / "my_training.py"
    path.write_text(FILE)
    return path


def in_file(path, name="train"):
    """A loop of the file, as a study finds it."""
    return dataclasses.replace(run_file(path, "problem")[name], file=(str(path), name))


@pytest.fixture(scope="module", params=["fork", "reuse"])
def pool(request, file):
    """Processes of each kind, for two runs at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEEPEST_GIVEN", "yes")
        with Pool(Source.of(in_file(file)), 2, mode=request.param) as pool:
            yield pool


def wanted(do="train", at="", **how):
    return asked(config={"do": do, "at": str(at)}, **how)


def values(results):
    return [result.outcome.valid if isinstance(result, Ran) else result for _, result in sorted(results, key=lambda r: r[0])]


def test_runs_in_processes_equal_those_in_this_process_to_the_bit(pool, file):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = [wanted(seed=seed, maker=maker) for seed in range(2) for maker in (ADAM, foreign.find(torch.optim.NAdam))]
        here = [train(in_file(file), one).outcome for one in runs]
    finally:
        torch.set_num_threads(before)
    steps = []
    results = [*pool.run_all(runs, steps.append)]
    assert values(results) == [outcome.valid for outcome in here]
    assert sum(steps) == STEPS * len(runs)
    assert all(result.outcome.curve == here[index].curve for index, result in results)


def test_what_a_run_does_to_its_process_touches_no_other(pool):
    results = [*pool.run_all([wanted("spoil"), wanted("spoil", seed=1), *[wanted("look")] * 4])]
    assert values(results)[2:] == [0.0] * 4


def test_a_run_that_exits_or_dies_is_said_to_and_the_others_are_untouched(pool, tmp_path):
    wants = [wanted(), wanted("exit"), wanted("end"), wanted("once", tmp_path / "tried"), wanted(), wanted("swallow")]
    results = values(pool.run_all(wants))
    plain_value = results[0]
    assert isinstance(plain_value, float)
    assert results[4] == plain_value
    assert results[1].kind == "raised"
    assert "it raised SystemExit" in results[1].why
    assert results[1].step == STEPS
    assert results[2] == Failed("its process ended with exit code 3, 2 times", "died")
    assert results[3] == plain_value  # killed by signal 9 once, trained again
    assert results[5] is None  # diverged, and ended by its process


def test_steps_are_counted_while_a_run_trains(pool):
    steps = []
    ((_, ran),) = pool.run_all([wanted("slow")], steps.append)
    assert isinstance(ran, Ran)
    assert sum(steps) == STEPS
    assert len([n for n in steps if n]) >= 3


def test_a_refusal_comes_from_the_process_as_its_sentence(pool):
    result = pool.one(wanted("nothing"))
    assert result.kind == "refused"
    assert "returned None; expected its loss" in result.why


def gone(pid):
    """Whether a process has ended; waits for it for a while."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z" and os.getppid() != pid:
            return True
        time.sleep(0.05)
    return False


def pids(path, count):
    """The numbers of the processes that wrote them, once there are so many."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        lines = path.read_text().split() if path.exists() else []
        if len(lines) >= count:
            return [int(line) for line in lines]
        time.sleep(0.02)
    raise AssertionError("no process started")


def test_an_exception_of_the_caller_kills_all_runs_at_once(pool, tmp_path):
    at = tmp_path / "pids"

    def stop(_):
        if at.exists() and len(at.read_text().split()) == 2:
            raise OutOfTimeError

    began = time.monotonic()
    with pytest.raises(OutOfTimeError):
        list(pool.run_all([wanted("sleep", at), wanted("sleep", at)], stop))
    assert time.monotonic() - began < 20
    assert all(gone(pid) for pid in pids(at, 2))
    assert isinstance(pool.one(wanted()), Ran)  # and it still trains


def test_a_forked_run_takes_at_most_a_tenth_of_a_second_beyond_its_own_time(file):
    with Pool(Source.of(in_file(file, "empty")), 1) as pool:
        pool.one(asked(steps=1))
        assert pool.mode == "fork"
        beyond = []
        for _ in range(10):
            began = time.perf_counter()
            ran = pool.one(asked(steps=1))
            beyond.append(time.perf_counter() - began - ran.outcome.seconds)
    assert statistics.median(beyond) <= 0.1, beyond


def test_a_process_that_is_used_again_is_replaced_after_so_many_runs_or_if_it_grows(pool, monkeypatch):
    seen = []
    for runs in (1000, 1000, 1):
        monkeypatch.setattr("steepest.training.loop.client.RUNS", runs)
        pool.one(wanted())
        seen.append(pool._servers[0].process.pid)
    assert seen[0] == seen[1]
    assert (seen[2] != seen[1]) == (pool.mode == "reuse")
    monkeypatch.setattr("steepest.training.loop.client.RUNS", 1000)
    server = pool._servers[0]
    assert not server.is_worn
    monkeypatch.setattr(server, "bytes", 2 * server.first_bytes + 2**30)
    assert server.is_worn == (pool.mode == "reuse")


def test_functions_of_a_session_are_sent_with_what_they_capture():
    width, lock = 3, threading.Lock()

    def captures(run):
        return float(plain(run)) * 0 + width

    with Pool(Source.of(of(captures)), 1) as pool:
        assert pool.one(asked()).outcome.valid == 3.0
    large = torch.ones(1 << 18)  # a megabyte, more than a pipe holds
    with Pool(Source.of(of(lambda run: float(plain(run)) * 0 + large.sum())), 1) as pool:
        assert pool.one(asked()).outcome.valid == float(1 << 18)
    with pytest.raises(SteepestError, match=r"cannot be sent to a process: .* make them inside"):
        Source.of(of(lambda run: lock))


def test_a_loop_whose_file_changed_or_raises_is_not_trained(tmp_path):
    path = tmp_path / "changing.py"
    path.write_text(FILE)
    source = Source.of(in_file(path))
    path.write_text(FILE + "\n")
    with (
        Pool(source, 1) as pool,
        pytest.raises(SteepestError, match="was changed during the study; run the same command again"),
    ):
        pool.one(wanted())
    path.write_text(FILE + '\nif "steepest.training.loop.server" in sys.modules:\n    os._exit(4)\n')
    source = dataclasses.replace(source, digest=Source.of(in_file(path)).digest)
    with Pool(source, 1) as pool, pytest.raises(SteepestError, match=r"cannot be loaded in another process: .* exit code 4"):
        pool.one(wanted())


CLIENT = """
    import dataclasses, sys
    from pathlib import Path
    from steepest import rules
    from steepest.errors import run_file
    from steepest.training.loop.client import Pool
    from steepest.training.loop.definition import Source
    from steepest.training.loop.running import Asked

    path, at, mode = sys.argv[1:]
    loop = dataclasses.replace(run_file(Path(path), "problem")["train"], file=(path, "train"))
    pool = Pool(Source.of(loop), 2, mode=mode)
    asked = Asked(rules.get("adam"), 0.01, 0, 20, config={"do": "sleep", "at": at})

    def look(_):
        pids = [server.process.pid for server in pool._servers.values()]
        Path(at + ".servers").write_text(" ".join(map(str, pids)))

    list(pool.run_all([asked, asked], look))
"""


@pytest.mark.parametrize(("way", "mode"), [(signal.SIGKILL, "fork"), (signal.SIGINT, "fork"), (signal.SIGKILL, "reuse")])
def test_a_client_that_is_killed_or_interrupted_leaves_no_process(file, tmp_path, way, mode):
    at = tmp_path / "pids"
    command = [sys.executable, "-c", textwrap.dedent(CLIENT), str(file), str(at), mode]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as client:
        children = pids(at, 2)
        servers = pids(Path(f"{at}.servers"), 1 if mode == "fork" else 2)
        os.killpg(client.pid, way)  # as a terminal does for Ctrl-C
        _, printed = client.communicate(timeout=20)
    assert client.returncode in (-way, 130)
    assert printed.count("KeyboardInterrupt") == (way == signal.SIGINT)
    assert all(gone(pid) for pid in (*children, *servers))


def test_a_loop_is_what_users_call_it():
    assert isinstance(of(plain), Loop)
    assert repr(of(plain, epochs=2)) == "<Loop plain: loss, min, epochs=2>"
