"""Schedulers in every order of construction and loading, with groups added later, pickled, and with several groups."""

import copy
import functools
import pickle

import pytest
import torch
from torch.optim import lr_scheduler as theirs

import steepest
from steepest import schedules
from steepest.errors import SteepestError

STEPS, SPLIT = 12, 5
DRIVEN = {
    "cosine": lambda: schedules.get("cosine"),
    "cycled momentum": lambda: schedules.get("one_cycle"),
    "a product": lambda: schedules.get("warmup(4) * cosine(floor=0.1)"),
    "one after another": lambda: schedules.get("warmup(3).then(linear, at=3)"),
    "a metric's": lambda: schedules.get("plateau(factor=0.5, patience=1)"),
}
ORDERS = [
    "optimizer made, optimizer loaded, scheduler made, scheduler loaded",
    "optimizer made, scheduler made, optimizer loaded, scheduler loaded",
    "optimizer made, scheduler made, scheduler loaded, optimizer loaded",
    "optimizer made, scheduler made, scheduler loaded, optimizer loaded, scheduler loaded",
    "optimizer made, optimizer loaded, scheduler made at its last epoch",
]
MADE = [steepest.optim.SGD, steepest.optim.AdamW, torch.optim.SGD, torch.optim.AdamW]
RATES = {"floats": lambda x: x, "tensors": torch.tensor}


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()


def made(cls, net, rate):
    groups = [{"params": list(net[0].parameters())}, {"params": list(net[2].parameters()), "lr": rate(0.2)}]
    return cls(groups, lr=rate(0.1), **({"momentum": 0.9} if cls.__name__ == "SGD" else {}))


def train(net, optimizer, scheduler, steps):
    for k in steps:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        optimizer.zero_grad()
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step(*([float(loss.detach())] if scheduler.schedule.reads else []))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("cls", MADE, ids=lambda c: c.__module__.split(".")[0] + " " + c.__name__)
@pytest.mark.parametrize("name", DRIVEN)
def test_in_every_order_a_resumed_run_is_the_uninterrupted_one_to_the_bit(name, cls, rate, order):
    if "last epoch" in order and DRIVEN[name]().reads:
        pytest.skip("last_epoch does not hold what a metric was")
    schedule, rate = DRIVEN[name](), RATES[rate]
    whole = model()
    optimizer = made(cls, whole, rate)
    scheduler = schedule.to_torch(optimizer, STEPS)
    train(whole, optimizer, scheduler, range(SPLIT))
    saved = copy.deepcopy((whole.state_dict(), optimizer.state_dict(), scheduler.state_dict()))
    train(whole, optimizer, scheduler, range(SPLIT, STEPS))

    net = model()
    net.load_state_dict(saved[0])
    for what in order.split(", "):
        if what == "optimizer made":
            optimizer = made(cls, net, rate)
        elif what == "optimizer loaded":
            optimizer.load_state_dict(copy.deepcopy(saved[1]))
        elif what == "scheduler made":
            scheduler = schedule.to_torch(optimizer, STEPS)
        elif what == "scheduler made at its last epoch":
            scheduler = schedule.to_torch(optimizer, STEPS, last_epoch=SPLIT - 1)
        else:
            scheduler.load_state_dict(copy.deepcopy(saved[2]))
    assert [float(x) for x in scheduler.get_last_lr()] == [float(group["lr"]) for group in optimizer.param_groups]
    train(net, optimizer, scheduler, range(SPLIT, STEPS))
    for p, q in zip(net.parameters(), whole.parameters(), strict=True):
        assert torch.equal(p, q)


def test_last_epoch_is_torchs():
    def rates(make):
        optimizer = torch.optim.SGD([{"params": [torch.ones(1)], "lr": 0.0, "initial_lr": 0.3}], lr=0.1)
        scheduler = make(optimizer)
        found = []
        for _ in range(4):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    ours = rates(lambda o: schedules.function(lambda k: 0.5**k).to_torch(o, last_epoch=2))
    assert ours == rates(lambda o: theirs.LambdaLR(o, lambda k: 0.5**k, last_epoch=2))
    assert ours[0] == 0.3 * 0.5**3
    fresh = torch.optim.SGD([torch.ones(1)], lr=0.1)
    with pytest.raises(SteepestError, match="no 'initial_lr'; load the optimizer's state first"):
        schedules.get("cosine").to_torch(fresh, 5, last_epoch=2)
    with pytest.raises(SteepestError, match="plateau needs its history, which last_epoch lacks"):
        schedules.get("plateau").to_torch(fresh, 5, last_epoch=2)
    with pytest.raises(SteepestError, match="last_epoch is -2; expected a whole number"):
        schedules.get("cosine").to_torch(fresh, 5, last_epoch=-2)


@pytest.mark.parametrize("rate", RATES)
def test_a_group_that_is_added_later_follows_from_its_own_rate(rate):
    make = RATES[rate]
    optimizer = torch.optim.SGD([torch.ones(1)], lr=make(0.1))
    scheduler = schedules.get("linear").to_torch(optimizer, 10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    optimizer.add_param_group({"params": [torch.ones(1)], "lr": make(0.5)})
    early = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    optimizer.step()
    scheduler.step()
    torch.testing.assert_close([float(g["lr"]) for g in optimizer.param_groups], [0.1 * 0.5, 0.5 * 0.5])
    late = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    for state, k in ((early, 4), (late, 5)):
        again = torch.optim.SGD([{"params": [torch.ones(1)]}, {"params": [torch.ones(1)], "lr": make(0.5)}], lr=make(0.1))
        resumed = schedules.get("linear").to_torch(again, 10)
        again.load_state_dict(state[0])
        resumed.load_state_dict(state[1])
        for _ in range(k, 6):
            again.step()
            resumed.step()
        torch.testing.assert_close([float(g["lr"]) for g in again.param_groups], [0.1 * 0.4, 0.5 * 0.4])
    alone = torch.optim.SGD([torch.ones(1)], lr=0.1)
    with pytest.raises(SteepestError, match="drives 2 parameter groups, and the optimizer has 1"):
        schedules.get("linear").to_torch(alone, 10).load_state_dict(late[1])


def test_a_state_that_was_asked_for_does_not_change_by_later_steps():
    optimizer = torch.optim.SGD([torch.ones(1)], lr=0.1)
    scheduler = schedules.get("plateau(patience=0)").to_torch(optimizer, 10)
    scheduler.step(1.0)
    state = scheduler.state_dict()
    before = copy.deepcopy(state)
    scheduler.step(2.0)
    assert state == before


def halved(k):
    return 0.5**k


class Power:
    """A multiplier that is a callable object."""

    def __init__(self, base):
        self.base = base

    def __call__(self, k):
        return self.base**k


def power(base, k):
    return base**k


PICKLED = {name: schedules.get(name) for name in schedules.FORMULAS} | {
    "a product": schedules.get("warmup(4) * cosine(floor=0.1)"),
    "one after another": schedules.get("warmup(3).then(one_cycle, at=0.3)"),
    "cycled": schedules.get("cyclic(up=3).then(one_cycle, at=0.3)"),
    "milestones": schedules.multi_step((2, 0.5), 0.3),
    "a function": schedules.function(halved),
    "a factor": schedules.multiplicative(halved) * schedules.cosine(),
    "an object": schedules.function(Power(0.7)),
    "a part": schedules.function(functools.partial(power, 0.7)),
    "torch's": schedules.from_torch(theirs.OneCycleLR(torch.optim.SGD([torch.ones(1)], lr=0.1, momentum=0.9), 1.0, 100)),
}


@pytest.mark.parametrize("name", PICKLED)
@pytest.mark.parametrize("again", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_schedule_is_the_same_out_of_a_pickle(name, again):
    found = again(PICKLED[name])
    assert found.name == PICKLED[name].name
    assert found.values(30) == PICKLED[name].values(30)
    assert found.momenta(30) == PICKLED[name].momenta(30)
    assert found.reads is PICKLED[name].reads
    metrics = [1.0] * 15
    assert found(15, 30, metrics) == PICKLED[name](15, 30, metrics)


@pytest.mark.parametrize("again", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("cls", MADE, ids=lambda c: c.__module__.split(".")[0] + " " + c.__name__)
@pytest.mark.parametrize("name", DRIVEN)
def test_a_scheduler_goes_on_out_of_a_pickle_with_its_optimizer(name, cls, again):
    net = model()
    optimizer = made(cls, net, float)
    scheduler = DRIVEN[name]().to_torch(optimizer, STEPS)
    train(net, optimizer, scheduler, range(SPLIT))
    other, moved, driver = again((net, optimizer, scheduler))
    assert driver.optimizer is moved
    train(net, optimizer, scheduler, range(SPLIT, STEPS))
    train(other, moved, driver, range(SPLIT, STEPS))
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))


def test_the_name_of_a_function_says_what_it_computes_and_is_the_same_in_every_process():
    def scaled(k, by=0.5):
        return by**k

    def other(k, by=0.6):
        return by**k

    assert schedules.function(scaled) != schedules.function(other)
    assert schedules.function(Power(0.5)) != schedules.function(Power(0.6))
    assert schedules.function(Power(0.5)) == schedules.function(Power(0.5))
    parts = [schedules.function(functools.partial(power, base)) for base in (0.5, 0.5, 0.6)]
    assert parts[0] == parts[1] != parts[2]

    def nested(by):
        return lambda k: sum(by**i for i in range(k))

    sums = [schedules.function(nested(by)) for by in (0.5, 0.5, 0.6)]
    assert sums[0] == sums[1] != sums[2]


def two_groups(rates=(0.1, 0.2)):
    return torch.optim.SGD([{"params": [torch.ones(1)], "lr": rate} for rate in rates], lr=0.1, momentum=0.9)


APART = {
    "lambdas": lambda o: theirs.LambdaLR(o, [lambda k: 0.5**k, lambda k: 0.6**k]),
    "factors": lambda o: theirs.MultiplicativeLR(o, [lambda k: 0.5, lambda k: 0.6]),
    "a floor under two rates": lambda o: theirs.CosineAnnealingLR(o, 10, eta_min=0.01),
    "a floor of restarts": lambda o: theirs.CosineAnnealingWarmRestarts(o, 10, eta_min=0.01),
    "floors of a plateau": lambda o: theirs.ReduceLROnPlateau(o, min_lr=[0.01, 0.0]),
    "low rates of cycles": lambda o: theirs.CyclicLR(o, [0.1, 0.1], [0.2, 0.3]),
}
TOGETHER = {
    "one lambda": lambda o: theirs.LambdaLR(o, lambda k: 0.5**k),
    "lambdas of one code": lambda o: theirs.LambdaLR(o, [lambda k: 0.5**k for _ in range(2)]),
    "no floor": lambda o: theirs.CosineAnnealingLR(o, 10),
    "one cycle up to two rates": lambda o: theirs.OneCycleLR(o, [0.1, 0.2], 10),
    "steps": lambda o: theirs.StepLR(o, 3),
}


@pytest.mark.parametrize("name", APART)
def test_groups_that_follow_different_multiples_are_refused(name):
    with pytest.raises(SteepestError, match="gives its groups different multiples of their rates; a schedule is one"):
        schedules.from_torch(APART[name](two_groups()))


@pytest.mark.parametrize("name", TOGETHER)
def test_groups_that_follow_one_multiple_are_taken_and_each_gets_its_rate(name):
    torchs = two_groups()
    schedule = schedules.from_torch(TOGETHER[name](two_groups()))
    top = [0.1, 0.2]
    scheduler = TOGETHER[name](torchs)
    for k in range(8):
        torch.testing.assert_close([rate * schedule(k, 10) for rate in top], [g["lr"] for g in torchs.param_groups])
        torchs.step()
        scheduler.step()
