"""Schedules against torch's schedulers: formulas, composition, resumed runs, and use in training."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

import steepest
from steepest import rules, schedules
from steepest.errors import SteepestError
from steepest.study import summary
from steepest.training.single import batches, train
from steepest.training.stacked import Run
from steepest.training.ways import Plan, train_all

STEPS = 1000


def optimizer(lr=1.0, **more):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))], lr=lr, **more)


def played(make, steps=STEPS, lr=1.0, **more):
    """Rates and momenta that a torch scheduler sets, by step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = optimizer(lr, **more)
        scheduler = make(own)
        rates, momenta = [], []
        for _ in range(steps):
            rates.append(float(own.param_groups[0]["lr"]))
            momenta.append(own.param_groups[0].get("momentum", 0.0))
            own.step()
            scheduler.step()
    return np.array(rates), np.array(momenta)


# name -> ours, torch's, and the largest relative difference over 1,000 steps (above rounding where torch's recursion drifts)
TWINS = {
    "step": (schedules.step(30, 0.7), lambda o: theirs.StepLR(o, 30, 0.7), 1e-12),
    "multi_step": (schedules.multi_step((50, 80, 100), 0.1), lambda o: theirs.MultiStepLR(o, [50, 80, 100], 0.1), 1e-12),
    "exponential": (schedules.exponential(0.99), lambda o: theirs.ExponentialLR(o, 0.99), 1e-12),
    "constant": (schedules.constant(0.25, 40), lambda o: theirs.ConstantLR(o, 0.25, 40), 1e-12),
    "linear": (schedules.linear(0.2, 0.9, 700), lambda o: theirs.LinearLR(o, 0.2, 0.9, 700), 1e-12),
    "polynomial": (schedules.polynomial(2.5, 1200), lambda o: theirs.PolynomialLR(o, 1200, 2.5), 1e-12),
    "cosine": (schedules.cosine(0.1, 300), lambda o: theirs.CosineAnnealingLR(o, 300, 0.1), 1e-10),
    "restarts": (
        schedules.cosine_restarts(20, 2, 0.1),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 20, 2, 0.1),
        1e-12,
    ),
    "equal restarts": (schedules.cosine_restarts(37, 1), lambda o: theirs.CosineAnnealingWarmRestarts(o, 37), 1e-12),
    "lambda": (schedules.function(lambda k: 0.65**k), lambda o: theirs.LambdaLR(o, lambda k: 0.65**k), 1e-12),
    "multiplicative": (
        schedules.multiplicative(lambda k: 1 - 1 / (k + 5)),
        lambda o: theirs.MultiplicativeLR(o, lambda k: 1 - 1 / (k + 5)),
        1e-12,
    ),
    "one_cycle": (schedules.one_cycle(), lambda o: theirs.OneCycleLR(o, 1.0, STEPS), 1e-12),
    "one_cycle, linear": (
        schedules.one_cycle(0.4, "linear", 10.0, 100.0),
        lambda o: theirs.OneCycleLR(
            o, 1.0, STEPS, pct_start=0.4, anneal_strategy="linear", div_factor=10, final_div_factor=100
        ),
        1e-12,
    ),
    "one_cycle, three phases": (
        schedules.one_cycle(three_phase=True),
        lambda o: theirs.OneCycleLR(o, 1.0, STEPS, three_phase=True),
        1e-12,
    ),
    "triangular": (schedules.cyclic(0.1, 70, 30), lambda o: theirs.CyclicLR(o, 0.1, 1.0, 70, 30), 1e-12),
    "triangular2": (
        schedules.cyclic(0.1, 64, mode="triangular2"),
        lambda o: theirs.CyclicLR(o, 0.1, 1.0, 64, mode="triangular2"),
        1e-12,
    ),
    "exp_range": (
        schedules.cyclic(0.1, 50, mode="exp_range", gamma=0.999),
        lambda o: theirs.CyclicLR(o, 0.1, 1.0, 50, mode="exp_range", gamma=0.999),
        1e-12,
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_thousand_steps_equal_torchs(name):
    ours, make, tolerance = TWINS[name]
    rates, momenta = played(make, momentum=0.9)
    np.testing.assert_allclose(ours.values(STEPS), rates, rtol=tolerance, atol=tolerance)
    if ours.momentum:
        np.testing.assert_allclose(ours.momenta(STEPS), momenta, rtol=1e-12)
    else:
        assert set(momenta) == {0.9}


@pytest.mark.parametrize("name", TWINS)
def test_to_torch_drives_an_optimizer_and_goes_on_after_a_resume(name, tmp_path):
    ours = TWINS[name][0]
    rates, momenta = played(lambda o: ours.to_torch(o, STEPS), lr=0.3, momentum=0.9)
    np.testing.assert_allclose(rates, 0.3 * np.array(ours.values(STEPS)), rtol=1e-13)
    own = optimizer(0.3, momentum=0.9)
    scheduler = ours.to_torch(own, STEPS)
    for _ in range(417):
        own.step()
        scheduler.step()
    torch.save({"optimizer": own.state_dict(), "scheduler": scheduler.state_dict()}, tmp_path / "saved")
    again = optimizer(0.3, momentum=0.9)
    resumed = ours.to_torch(again, STEPS)
    saved = torch.load(tmp_path / "saved", weights_only=True)
    again.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["scheduler"])
    found = []
    for _ in range(417, STEPS):
        found.append((again.param_groups[0]["lr"], again.param_groups[0]["momentum"]))
        again.step()
        resumed.step()
    assert found == list(zip(rates[417:], momenta[417:], strict=True))  # bit for bit
    with pytest.raises(SteepestError, match="expected step"):
        schedules.step(7).to_torch(optimizer(), STEPS).load_state_dict(saved["scheduler"])


@pytest.mark.parametrize("name", TWINS)
def test_from_torch_gives_the_same_rates(name):
    _, make, tolerance = TWINS[name]
    found = schedules.from_torch(make(optimizer(1.0, momentum=0.9)))
    rates, _ = played(make, momentum=0.9)
    np.testing.assert_allclose(found.values(STEPS), rates, rtol=tolerance, atol=tolerance)


def test_to_torch_needs_the_steps_only_where_a_length_is_a_share():
    scheduler = schedules.step(30, 0.7).to_torch(optimizer())
    assert scheduler.get_last_lr() == [1.0]
    with pytest.raises(SteepestError, match="give to_torch its steps"):
        schedules.cosine().to_torch(optimizer())


def test_torchs_cosine_drifts_where_it_is_chained_and_ours_does_not():
    """Its recursion multiplies a thousand quotients; near the minimum of a cycle its error is above rounding."""
    exact = np.array([(1 + math.cos(math.pi * k / 50)) / 2 for k in range(STEPS)])
    rates, _ = played(lambda o: theirs.CosineAnnealingLR(o, 50))
    assert np.abs(np.array(schedules.cosine(over=50).values(STEPS)) - exact).max() < 1e-15
    assert np.abs(rates - exact).max() > 1e-15


def test_a_sequence_is_what_sequential_lr_is_meant_to_be():
    """SequentialLR starts its second scheduler with an extra step; a recursive scheduler then starts from a wrong value."""

    def make(o):
        return theirs.SequentialLR(o, [theirs.LinearLR(o, 0.1, 1.0, 100), theirs.CosineAnnealingLR(o, 900)], [100])

    ours = schedules.linear(0.1, 1.0, 100).then(schedules.cosine(), at=100)
    rates, _ = played(make)
    np.testing.assert_allclose(ours.values(STEPS), rates, rtol=1e-9, atol=1e-12)
    exact = [0.1 + 0.9 * k / 100 if k < 100 else (1 + math.cos(math.pi * (k - 100) / 900)) / 2 for k in range(STEPS)]
    np.testing.assert_allclose(ours.values(STEPS), exact, rtol=1e-14, atol=1e-15)


def test_products_are_what_chained_scheduler_gives():
    ours = schedules.exponential(0.995) * schedules.step(200, 0.5)
    rates, _ = played(lambda o: theirs.ChainedScheduler([theirs.ExponentialLR(o, 0.995), theirs.StepLR(o, 200, 0.5)]))
    np.testing.assert_allclose(ours.values(STEPS), rates, rtol=1e-12)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_is_a_pure_function_of_the_history(relative, mode):
    rng = np.random.default_rng(0)
    metrics = np.exp(-np.arange(300) / 60) + 0.02 * rng.normal(size=300) + 0.1
    metrics = metrics if mode == "min" else 2 - metrics  # torch's relative threshold has the wrong sign for a negative best
    own = optimizer()
    torchs = theirs.ReduceLROnPlateau(
        own, mode, 0.5, 4, threshold=0.01, threshold_mode="rel" if relative else "abs", cooldown=3, min_lr=1e-3
    )
    ours = schedules.plateau(0.5, 4, 0.01, relative, 3, 1e-3)
    assert schedules.from_torch(torchs).name == ours.name
    driven = optimizer()
    scheduler = ours.to_torch(driven, 300)
    scheduler.sign = -1.0 if mode == "max" else 1.0
    history = []
    for metric in metrics:
        torchs.step(metric)
        scheduler.step(metric)
        history.append(metric if mode == "min" else -metric)
        assert ours(0, 1, history) == pytest.approx(own.param_groups[0]["lr"], rel=1e-12)
        assert driven.param_groups[0]["lr"] == pytest.approx(own.param_groups[0]["lr"], rel=1e-12)
    assert own.param_groups[0]["lr"] < 0.1  # it did reduce the rate


FORMULAS = {
    "inverse_time(k=0.1)": lambda k, n: 1 / (1 + 0.1 * k),
    "exponential(k=0.03)": lambda k, n: math.exp(-0.03 * k),
    "exponential(gamma=0.5, epoch=10)": lambda k, n: 0.5 ** (k // 10),
    "warmup(8)": lambda k, n: min((k + 1) / 8, 1),
    "inverse_sqrt(16)": lambda k, n: min((k + 1) / 16, 4 / math.sqrt(k + 1)),
    "exponential_steps(beta=2.0)": lambda k, n: ((2 / n) ** (1 / n)) ** k,
    "warmup_stable_decay(10, 20)": lambda k, n: min((k + 1) / 10, 1, (n - k) / 20),
    "warmup(0.1) * cosine": lambda k, n: min((k + 1) / (n / 10), 1) * (1 + math.cos(math.pi * k / n)) / 2,
    "constant.then(linear, at=0.5)": lambda k, n: 1 if k < n / 2 else 1 - (k - n / 2) / (n / 2),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_the_others_equal_their_formulas(text):
    found = schedules.get(text)
    np.testing.assert_allclose(found.values(200), [FORMULAS[text](k, 200) for k in range(200)], rtol=1e-12)
    assert schedules.get(found.name).values(200) == found.values(200)  # a name is enough


@pytest.mark.parametrize("name", schedules.FORMULAS)
def test_every_schedule_is_finite_documented_and_at_most_one_by_default(name):
    schedule = schedules.get(name)
    assert schedule.name == name
    for steps in (1, 2, 3, 7, 500):
        values = schedule.values(steps)
        assert all(math.isfinite(v) and 0 <= v <= 1 + 1e-12 for v in values)
    assert schedules.FORMULAS[name].__doc__


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cosin", "did you mean 'cosine'"),
        ("step(size=0)", "size is 0; expected a number of steps, or a share"),
        ("step(size=1.5)", "share of the run above 0 and up to 1.0"),
        ("step(gamma=2)", "gamma is 2; expected a number from 0 to 1"),
        ("cosine(x=1)", "unexpected keyword argument 'x'"),
        ("cosine + step", "'cosine \\+ step' cannot be used"),
        ("__import__('os')", "Unknown schedule '__import__'"),
        ("cosine(", "cannot be read"),
        ("exponential(gamma=0.5, k=1)", "one of gamma and k"),
        ("one_cycle(anneal='x')", "'cos' or 'linear'"),
        ("cosine.then(step)", "cannot be used"),
        ("plateau(factor=1)", "from 0 to below 1"),
        ("cosine(floor=[].x)", "cannot be used"),
    ],
)
def test_a_mistake_gets_a_sentence(text, sentence):
    with pytest.raises(SteepestError, match=sentence):
        schedules.get(text)


def test_a_scheduler_under_way_is_refused_where_it_must_be_played():
    own = optimizer(1.0, momentum=0.9)
    scheduler = theirs.CyclicLR(own, 0.1, 1.0)
    own.step()
    scheduler.step()
    with pytest.raises(SteepestError, match="pass a new scheduler"):
        schedules.from_torch(scheduler)


def test_the_trainers_follow_a_schedule_and_cycle_momentum_for_each_run(line):
    """Rates and momentum of one_cycle and plateau, together and alone, against an explicit loop."""
    names = ("one_cycle", "warmup(0.2) * cosine", "plateau(patience=0, factor=0.5)", "constant")
    runs = [Run(rules.get(r), lr, 0, 40, schedules.get(n)) for r in ("momentum", "adam") for n in names for lr in (0.02, 0.05)]
    found = dict(train_all(line, runs, Plan(8, 1)))
    for i, run in enumerate(runs):
        alone = train(line, run.rule, lr=run.lr, steps=40, seed=0, schedule=run.schedule)
        np.testing.assert_allclose(found[i].curve.train, alone.curve.train, rtol=1e-4)
    for which in (0, 8):  # one_cycle with momentum and with Adam
        run = runs[which]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = line.start(0)
        kind = {"lr": run.lr, "momentum": 0.9} if run.rule.name == "momentum" else {"lr": run.lr}
        own = (torch.optim.SGD if run.rule.name == "momentum" else torch.optim.Adam)(model.parameters(), **kind)
        scheduler = theirs.OneCycleLR(own, run.lr, 40)
        losses = []
        stream = batches(line, 0)
        for _ in range(40):
            (x,), y = next(stream)
            own.zero_grad()
            loss = line.loss(model(x), y)
            loss.backward()
            own.step()
            scheduler.step()
            losses.append(loss.item())
        means = [losses[0], *(np.mean(losses[a : a + 2]) for a in range(0, 40, 2))]
        np.testing.assert_allclose(found[which].curve.train, means, rtol=1e-4)


def test_schedules_are_compared_at_equal_work_and_taken_as_objects(line, tmp_path):
    own = schedules.function(lambda k: 0.9**k)
    chosen = ["step(size=5)", own]
    study = steepest.compare(line, "sgd,adam", schedules=chosen, lrs=0.05, seeds=5, steps=10, store=tmp_path / "s.db")
    labels = {entry.candidate.label for entry in study.result.entries}
    assert labels == {f"{o}+{s}" for o in ("sgd", "adam") for s in ("step(size=5)", own.name)}
    entry = next(e for e in study.result.entries if e.candidate.schedule == "step(size=5)")
    assert "steepest.schedules.get('step(size=5)').to_torch(optimizer, 10)" in summary.code(entry, 10)
