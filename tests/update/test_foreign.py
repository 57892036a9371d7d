"""Anybody's optimizer: found by what is typed or given, made, stepped with a hand-written loop's numbers, tried, or refused."""

import copy
import dataclasses
import functools
import pickle
import random
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import steepest
from steepest import SteepestError, rules
from steepest.rules.definition import FILES
from steepest.rules.foreign import Foreign, Parts, part_of
from steepest.update.foreign import Driven, driven, every, find, made, same, tried
from steepest.update.torch_class.optimizer import RuleOptimizer

TORCH = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop")
FILE = """
import torch
import steepest
from torch.optim import Adam

class MyOpt(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, decay=0.5, flags=(1, 2)):
        super().__init__(params, {"lr": lr, "decay": decay})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-group["lr"] * group["decay"])

class Kin(Adam):
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)

def two_rates(params, lr, scale=2.0):
    return torch.optim.SGD(params, lr=lr * scale)

def of_model(net, lr=0.1):
    return torch.optim.SGD([{"params": net.parameters()}], lr=lr)

@steepest.rules.rule("mine")
def halved(p, g, t, *, lr=0.1):
    return p - lr / 2 * g

instance = MyOpt([torch.zeros(1)])
number = 3
"""


class Faulty(torch.optim.SGD):
    """Raises in its step."""

    def step(self, closure=None):
        """Raise."""
        raise IndexError("no such moment")


class Unmade(torch.optim.SGD):
    """Raises in __init__."""

    def __init__(self, params, lr=0.1):
        raise TypeError("forgot the betas")


class Rateless(torch.optim.SGD):
    """Takes no rate."""

    def __init__(self, params, strength=0.1):
        super().__init__(params, lr=strength)


class Alpha(torch.optim.SGD):
    """Calls its rate alpha."""

    def __init__(self, params, alpha=0.3):
        super().__init__(params, lr=alpha)


class OfLoss(torch.optim.SGD):
    """Its step takes the loss, and steps by lr times the loss."""

    def step(self, loss):
        """Step by the loss."""
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-group["lr"] * float(loss.detach()))


class Half(torch.optim.SGD):
    """Has two halves of a step, and a step that takes no closure."""

    first_step = second_step = torch.optim.SGD.step

    def step(self):
        """Refuse."""
        raise NotImplementedError


class Demanding(torch.optim.SGD):
    """Its step takes more than a run has."""

    def step(self, batch, closure):
        """Need a batch."""


class NeedsClosure(torch.optim.SGD):
    """Its step has an optional closure that it needs, as AliG's has."""

    def step(self, closure=None):
        """Call the closure."""
        if closure is None:
            raise ValueError("a closure, please")
        loss = closure()
        super().step()
        return loss


def model():
    """The same small network at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def batches(steps):
    """The same batches at each call."""
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(4, 5, generator=generator), torch.randn(4, 3, generator=generator)) for _ in range(steps)]


def by_hand(net, optimizer, steps=20):
    """A loop as anybody writes it: the losses."""
    losses = []
    for x, y in batches(steps):
        loss = mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def by_closures(net, optimizer, steps=20):
    """The same loop by `Driven`: the losses."""
    losses = []
    for x, y in batches(steps):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = mse_loss(net(x), y)
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    return losses


def weights(net):
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.fixture
def mine(tmp_path, monkeypatch, registry):
    """The path of a user's file of optimizers."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "my_optimizers.py"
    path.write_text(FILE)
    yield path
    sys.modules.pop("my_optimizers", None)


@pytest.fixture
def module(monkeypatch):
    """A module of optimizers that exports a fit one, several unfit ones, and one of torch's."""
    made_up = types.ModuleType("zoo")
    for cls in (Alpha, Faulty, Rateless, Unmade):
        own = type(cls.__name__, (cls,), {"__module__": "zoo", "__init__": cls.__init__})
        setattr(made_up, cls.__name__, own)
    made_up.Again = made_up.Alpha
    made_up.Adam = torch.optim.Adam
    made_up._Hidden = type("_Hidden", (Alpha,), {"__module__": "zoo"})
    made_up.VECTORS = torch.nn
    monkeypatch.setitem(sys.modules, "zoo", made_up)


# Numbers


@pytest.mark.parametrize(
    ("name", "by"),
    [
        *((f"torch.optim.{name}", getattr(torch.optim, name)) for name in TORCH),
        ("pytorch_optimizer:Lion", "pytorch_optimizer"),
        ("pytorch_optimizer:AdaBelief", "pytorch_optimizer"),
        ("lion_pytorch:Lion", "lion_pytorch"),
    ],
)
def test_twenty_steps_equal_a_hand_written_loop_to_the_bit(name, by):
    make = getattr(pytest.importorskip(by), name.rpartition(":")[2]) if isinstance(by, str) else by
    net, other = model(), model()
    losses = by_hand(net, make(net.parameters(), lr=0.01))
    driver = driven(find(name), other, lr=0.01)
    assert isinstance(driver, Driven)
    assert by_closures(other, driver) == losses
    assert torch.equal(weights(net), weights(other))


def test_settings_reach_the_optimizer():
    net, other = model(), model()
    losses = by_hand(net, torch.optim.NAdam(net.parameters(), lr=0.01, betas=(0.5, 0.9), momentum_decay=0.1))
    maker = find("torch.optim.NAdam(betas=(0.5, 0.9), momentum_decay=0.1)")
    assert by_closures(other, driven(maker, other.parameters(), lr=0.01)) == losses
    third = model()
    optimizer = driven(find("torch.optim.NAdam"), third, lr=0.01, momentum_decay=0.1, **{"betas.0": 0.5, "betas.1": 0.9})
    assert by_closures(third, optimizer) == losses


def test_lbfgs_is_stepped_with_its_closure():
    net, other = model(), model()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)
    losses = []
    for x, y in batches(5):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = mse_loss(net(x), y)
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    assert by_closures(other, driven(find("torch.optim.LBFGS(max_iter=4)"), other, lr=0.5), steps=5) == losses
    assert torch.equal(weights(net), weights(other))
    assert tried(find("torch.optim.LBFGS(max_iter=4)")).evaluations == 4


def test_schedule_free_trains_in_train_mode_and_is_evaluated_in_eval_mode():
    schedulefree = pytest.importorskip("schedulefree")
    net, other = model(), model()
    optimizer = schedulefree.AdamWScheduleFree(net.parameters(), lr=0.01)
    optimizer.train()
    losses = by_hand(net, optimizer)
    driver = driven(tried(find("schedulefree:AdamWScheduleFree")), other, lr=0.01)
    assert by_closures(other, driver) == losses
    assert torch.equal(weights(net), weights(other))
    trained = weights(other).clone()
    optimizer.eval()
    driver.view()
    assert torch.equal(weights(net), weights(other))
    assert not torch.equal(weights(other), trained)
    driver.train()
    assert torch.allclose(weights(other), trained)


def test_a_sharpness_aware_step_has_the_first_gradients_and_a_closure_for_the_second():
    sam = pytest.importorskip("pytorch_optimizer").SAM
    maker = tried(find(functools.partial(sam, base_optimizer=torch.optim.SGD, rho=0.1)))
    assert maker.evaluations == 2
    assert maker.hyper["rho"] == 0.1
    net, other = model(), model()
    optimizer = sam(net.parameters(), base_optimizer=torch.optim.SGD, rho=0.1, lr=0.05)
    losses = []
    for x, y in batches(20):

        def closure(x=x, y=y):
            loss = mse_loss(net(x), y)
            loss.backward()
            return loss

        optimizer.zero_grad()
        losses.append(closure().item())
        optimizer.step(closure)
    assert by_closures(other, driven(maker, other, lr=0.05)) == losses
    assert torch.equal(weights(net), weights(other))


def test_a_step_that_takes_the_loss_receives_it():
    net, other = model(), model()
    optimizer, losses = OfLoss(net.parameters(), lr=0.05), []
    for x, y in batches(20):
        loss = mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(loss)
        losses.append(loss.item())
    assert by_closures(other, driven(tried(find(OfLoss)), other, lr=0.05)) == losses
    assert torch.equal(weights(net), weights(other))


def test_a_step_that_needs_its_optional_closure_gets_it_once_tried():
    maker = tried(find(NeedsClosure))
    assert (maker.steps_with, maker.evaluations, maker.matrices_only) == ("closure", 1, False)
    net, other = model(), model()
    losses = by_hand(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert by_closures(other, driven(maker, other, lr=0.1)) == losses


def test_adamw_of_torch_and_ours_agree_over_a_hundred_steps():
    net, other = model(), model()
    losses = by_closures(net, driven(find(torch.optim.AdamW), net, lr=0.01), steps=100)
    ours = by_closures(other, driven(rules.get("adamw"), other, lr=0.01), steps=100)
    assert ours == pytest.approx(losses, rel=1e-4)
    assert weights(other).numpy() == pytest.approx(weights(net).numpy(), rel=1e-4, abs=1e-7)


def test_a_rule_is_its_own_optimizer():
    net, other = model(), model()
    ours = driven(rules.get("adam"), net, lr=0.01, beta1=0.5)
    assert isinstance(ours, RuleOptimizer)
    losses = by_closures(net, ours)
    assert by_hand(other, steepest.optim.Adam(other.parameters(), lr=0.01, betas=(0.5, 0.999))) == losses


# Making


def test_a_model_goes_to_an_optimizer_that_wants_it_and_its_parameters_to_others(mine):
    of_model = find(f"{mine}:of_model")
    assert of_model.wants_model
    assert len(made(of_model, model(), lr=0.2).param_groups[0]["params"]) == 4
    with pytest.raises(SteepestError, match=r"of_model needs the model, not its parameters: run.optimizer\(model\)"):
        made(of_model, model().parameters(), lr=0.2)
    assert len(made(find(torch.optim.SGD), model(), lr=0.2).param_groups[0]["params"]) == 4
    assert len(made(rules.get("sgd"), model(), lr=0.2).param_groups[0]["params"]) == 4


def test_an_annotation_says_that_the_model_is_wanted():
    def plain(it: nn.Module, lr: float):
        return torch.optim.SGD(it.parameters(), lr=lr)

    def text(it: "torch.nn.Module", lr: float):
        return torch.optim.SGD(it.parameters(), lr=lr)

    def params(it: list, lr: float):
        return torch.optim.SGD(it, lr=lr)

    assert [find(one).wants_model for one in (plain, text, params)] == [True, True, False]


@pytest.mark.parametrize("maker", ["torch.optim.Adam", "adam"])
def test_parameter_groups_pass_through(maker):
    net = model()
    groups = [{"params": net[0].parameters(), "lr": 0.5}, {"params": net[2].parameters()}]
    assert [group["lr"] for group in made(find(maker), groups, lr=0.1).param_groups] == [0.5, 0.1]


def test_the_rate_may_have_another_name():
    maker = find(Alpha)
    assert (maker.takes_lr, maker.rate, dict(maker.hyper)) == ("alpha", 0.3, {})
    assert made(maker, model(), lr=0.7).param_groups[0]["lr"] == 0.7
    assert maker.changed(alpha=0.5).rate == 0.5


def test_arguments_that_a_class_passes_on_are_those_of_its_base(mine):
    maker = find(f"{mine}:Kin(weight_decay=0.5)")
    assert maker.hyper["betas"] == (0.9, 0.999)
    group = made(maker, model(), lr=0.7).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.7, 0.5)


def test_what_is_made_must_be_an_optimizer():
    def make(params, lr):
        return [*params]

    with pytest.raises(SteepestError, match="make returned an object of the class list; expected"):
        made(find(make), model(), lr=0.1)


def test_a_required_argument_is_given_in_brackets():
    pytest.importorskip("pytorch_optimizer")
    maker = find("pytorch_optimizer:BSAM")
    with pytest.raises(SteepestError, match=r"BSAM needs num_data, which has no default; give it in brackets, such as .*"):
        made(maker, model(), lr=0.1)
    assert tried(find("pytorch_optimizer:BSAM(num_data=100)")).evaluations == 3


# Finding


def test_names_of_rules_are_rules():
    assert find("adam") is rules.get("adam")
    assert find("sgd(momentum=0.5)").hyper["momentum"] == 0.5
    assert find(steepest.optim.Adam) is rules.get("adam")
    assert find("steepest.optim.AdamW") is rules.get("adamw")
    assert find(rules.get("lion")) is rules.get("lion")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (torch.optim.NAdam, "torch.optim.NAdam"),
        ("torch.optim.NAdam", "torch.optim.NAdam"),
        ("torch.optim:NAdam", "torch.optim:NAdam"),
        ("torch.optim.nadam.NAdam", "torch.optim.nadam.NAdam"),
    ],
)
def test_a_class_of_torch_is_found_by_each_of_its_names(given, name):
    maker = find(given)
    assert (maker.name, maker.make, maker.twin) == (name, torch.optim.NAdam, rules.get("nadam"))
    assert (maker.imports, maker.called, maker.class_name) == (("import torch",), "torch.optim.NAdam", "NAdam")
    assert maker.rate == rules.get("nadam").rate


def test_a_class_of_a_package_has_its_shortest_name():
    lion = pytest.importorskip("pytorch_optimizer").Lion
    maker = find(lion)
    assert (maker.name, maker.called, maker.imports) == (
        "pytorch_optimizer:Lion",
        "pytorch_optimizer.Lion",
        ("import pytorch_optimizer",),
    )
    assert (maker.twin, maker.rate) == (None, 1e-4)


def test_a_file_defines_rules_classes_and_functions(mine):
    halved = find(f"{mine}:halved")
    assert FILES[halved] == (mine, "halved")
    maker = find(f"{mine}:MyOpt(decay=1)")
    assert (maker.name, maker.rate) == (f"{mine}:MyOpt(decay=1.0)", 0.02)
    assert (maker.imports, maker.called) == (("from my_optimizers import MyOpt",), "MyOpt")
    assert maker.settings() == {"lr": 0.02, "decay": 1.0, "flags": (1, 2)}
    net = model()
    made(find(f"{mine}:two_rates"), net, lr=0.1)
    assert made(find(f"{mine}:two_rates"), net, lr=0.1).param_groups[0]["lr"] == 0.2


def test_a_partial_has_its_arguments_as_settings():
    maker = find(functools.partial(torch.optim.AdamW, weight_decay=0.5, lr=0.3))
    assert (maker.name, maker.rate, maker.twin) == ("torch.optim.AdamW(weight_decay=0.5)", 0.3, rules.get("adamw"))
    assert made(maker, model(), lr=0.1).param_groups[0]["weight_decay"] == 0.5
    ours = find(functools.partial(steepest.optim.AdamW, betas=(0.8, 0.9), lr=0.3))
    assert (ours.name, ours.rate, ours.hyper["beta2"]) == ("adamw(beta1=0.8, beta2=0.9)", 0.3, 0.9)
    with pytest.raises(SteepestError, match="positional arguments; give them by their names"):
        find(functools.partial(torch.optim.AdamW, [torch.zeros(1)]))
    with pytest.raises(SteepestError, match="Unknown argument of AdamW 'bets'; did you mean 'betas'"):
        find(functools.partial(steepest.optim.AdamW, bets=(0.8, 0.9)))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("adamx", "Unknown optimizer 'adamx'; did you mean 'adamax'?"),
        ("torch.optim.NAdm", "Unknown optimizer of torch.optim 'NAdm'; did you mean"),
        ("torch.optim:Nadam2", "Unknown optimizer of torch.optim 'Nadam2'; did you mean"),
        ("nosuchlib:SOAP", "There is no module nosuchlib; install it with: pip install nosuchlib, or give FILE.py:NAME."),
        ("torch.nope:X", "The package torch has no module torch.nope; give one that it has."),
        ("torch.optim.Adam.nope", "Adam has no nope; expected the name of an optimizer"),
        ("nofile.py:X", "There is no rule file nofile.py; give FILE.py:NAME."),
        ("mine.py", "mine.py is a file; name the optimizer in it, such as mine.py:MyOptimizer."),
        ("torch.nn.Linear", "The optimizer torch.nn.Linear is the class torch.nn.modules.linear.Linear; expected"),
        ("a b:c", "The optimizer 'a b:c' is not a name; expected"),
        ("torch.optim.Adam(0.9)", "The optimizer 'torch.optim.Adam(0.9)' cannot be read; write it such as"),
        ("torch.optim.Adam(weight=0)", "Unknown setting of torch.optim.Adam 'weight'; did you mean 'weight_decay'?"),
        ("torch.optim.Adam(**{})", "cannot be read"),
        (3, "The optimizer is 3; expected the name of an optimizer, FILE.py:NAME, module:NAME, or a class or function"),
        (torch.optim.Optimizer, "The optimizer is the class torch.optim.optimizer.Optimizer; expected"),
        (nn.Linear(1, 1), "an object of the class torch.nn.modules.linear.Linear; expected"),
        (lambda: None, "lambda takes no parameters to train; an optimizer is made by (params, lr)."),
        (lambda params: None, "takes no learning rate (lr); its arguments are params; give a function (params, lr)"),
        (Rateless, "Rateless takes no learning rate (lr); its arguments are params, strength; give a function"),
        (torch.optim.SGD([torch.zeros(1)]), "an object of the class torch.optim.sgd.SGD; give the class, with settings"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_what_is_no_optimizer_is_refused_in_a_sentence(given, sentence):
    with pytest.raises(SteepestError) as refused:
        find(given)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "defines no nothing; it defines Adam, MyOpt, Kin, halved."),
        ("number", "is 3; expected the name of an optimizer"),
        ("instance", "give the class, with settings in functools.partial, as each run makes its own."),
    ],
)
def test_a_name_of_a_file_that_is_no_optimizer_is_refused(mine, name, sentence):
    with pytest.raises(SteepestError) as refused:
        find(f"{mine}:{name}")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("raise KeyError('x')", "The module broken_zoo raised KeyError at"),
        ("import sys; sys.exit(3)", "The module broken_zoo raised SystemExit at"),
        ("import nosuchlib.sub", "The module broken_zoo needs nosuchlib, which is missing; pip install nosuchlib."),
    ],
)
def test_a_module_that_fails_to_import_is_a_sentence(tmp_path, monkeypatch, text, sentence):
    (tmp_path / "broken_zoo.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SteepestError) as refused:
        find("broken_zoo:Opt")
    assert sentence in str(refused.value)


def test_the_import_of_a_module_shows_no_warnings(tmp_path, monkeypatch):
    (tmp_path / "loud_zoo.py").write_text("import warnings, torch\nwarnings.warn('old')\nOpt = torch.optim.SGD\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find("loud_zoo:Opt").twin is rules.get("sgd")
    del sys.modules["loud_zoo"]


# Settings


def test_a_change_renames_and_sets():
    maker = find("torch.optim.Adam").changed(weight_decay=0.1).changed(betas=[0.5, 1], lr=1)
    assert maker.name == "torch.optim.Adam(lr=1.0, weight_decay=0.1, betas=(0.5, 1.0))"
    assert (maker.rate, maker.hyper["betas"], maker.base.name) == (1.0, (0.5, 1.0), "torch.optim.Adam")
    again = find(maker.name)
    assert (again.name, again.settings(), again.digest) == (maker.name, maker.settings(), maker.digest)
    assert maker.changed(**{"betas.1": 0.99}).hyper["betas"] == (0.5, 0.99)
    assert next(iter(maker.settings())) == "lr"


def test_unknown_settings_are_refused_unless_a_function_takes_any():
    def open_to_all(params, lr, **settings):
        return torch.optim.SGD(params, lr=lr, **settings)

    maker = find(open_to_all)
    assert made(maker.changed(momentum=0.5), model(), lr=0.1).param_groups[0]["momentum"] == 0.5
    with pytest.raises(SteepestError, match="did you mean 'momentum'"):
        find(torch.optim.SGD).settings(momentun=0.5)
    for name in ("betas.2", "betas.x", "eps.0"):
        with pytest.raises(SteepestError, match="Unknown setting"):
            find(torch.optim.Adam).settings(**{name: 0.5})


def test_a_changed_rule_is_named_after_its_changes():
    sgd = rules.get("sgd")
    once = rules.changed(sgd, momentum=1)
    twice = rules.changed(once, nesterov=True, momentum=0.5, lr=0.3)
    assert (once.name, once.hyper["momentum"], once.base) == ("sgd(momentum=1.0)", 1.0, sgd)
    assert (twice.name, twice.rate, twice.base) == ("sgd(lr=0.3, momentum=0.5, nesterov=True)", 0.3, sgd)
    assert once.digest == sgd.digest


@pytest.mark.parametrize(
    ("theirs", "ours", "equal"),
    [
        ("torch.optim.AdamW", "adamw", True),
        ("torch.optim.AdamW(foreach=False)", "adamw", True),
        ("torch.optim.AdamW(weight_decay=0.5)", "adamw", False),
        ("torch.optim.AdamW(betas=(0.5, 0.9))", "adamw(beta1=0.5, beta2=0.9)", True),
        ("torch.optim.AdamW(betas=(0.5, 0.9))", "adamw(beta1=0.5, beta2=0.91)", False),
        ("torch.optim.AdamW(maximize=True)", "adamw", False),
        ("torch.optim.AdamW", "adam", False),
        ("torch.optim.SGD", "sgd", True),
        ("torch.optim.SGD", "momentum", False),
        ("torch.optim.SGD(momentum=0.9)", "momentum", True),
        ("torch.optim.LBFGS", "sgd", False),
    ],
)
def test_the_same_optimizer_is_recognised(theirs, ours, equal):
    assert same(find(theirs), find(ours)) is equal
    assert same(find(ours), find(theirs)) is equal


def test_a_setting_that_a_rule_lacks_makes_another_optimizer():
    plain = find("torch.optim.SGD")
    later = dataclasses.replace(plain, hyper={**plain.hyper, "damping": 0.0})  # a setting of a later torch
    assert same(later, rules.get("sgd"))
    assert not same(later.changed(damping=0.5), rules.get("sgd"))


def test_a_digest_follows_the_source_of_a_users_class(mine):
    before = find(f"{mine}:MyOpt").digest
    assert find(f"{mine}:MyOpt").digest == before
    mine.write_text("# a comment\n" + FILE)
    assert find(f"{mine}:MyOpt").digest == before
    mine.write_text(FILE.replace('alpha=-group["lr"]', 'alpha=-2 * group["lr"]'))
    assert find(f"{mine}:MyOpt").digest != before


def test_a_digest_stays_when_an_instance_is_made():
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    def by_function(params, lr):
        return Own(params, lr=lr)

    before = find(Own).digest, find(by_function).digest
    made(find(Own), model(), lr=0.1)
    assert Own.step.hooked
    assert (find(Own).digest, find(by_function).digest) == before
    assert Own.step.hooked  # so that the hooks of its instances are called


def test_digests_of_classes_of_a_library_differ():
    assert len({find(f"torch.optim.{name}").digest for name in TORCH}) == len(TORCH)


def test_a_found_optimizer_pickles():
    maker = find("torch.optim.LBFGS(max_iter=3)")
    assert pickle.loads(pickle.dumps(maker)).settings() == maker.settings()


# Parts


@pytest.fixture
def parts():
    """A candidate of two optimizers."""
    return Parts({"generator": find("torch.optim.Adam"), "discriminator": find("sgd(momentum=0.9)")})


def test_parts_have_the_settings_of_all(parts):
    assert parts.name == "{generator: torch.optim.Adam, discriminator: sgd(momentum=0.9)}"
    assert parts.rate == rules.get("adam").rate
    hyper = parts.hyper
    assert (hyper["generator.betas"], hyper["discriminator.momentum"]) == ((0.9, 0.999), 0.9)
    assert hyper["discriminator.lr"] == rules.get("sgd").rate
    assert "generator.lr" not in hyper
    assert parts.settings() == {"lr": parts.rate, **hyper}


def test_parts_change_by_name(parts):
    after = parts.changed(**{"discriminator.lr": 1, "generator.betas.0": 0.5, "lr": 0.2})
    assert after.name == ("{generator: torch.optim.Adam(lr=0.2, betas=(0.5, 0.999)), discriminator: sgd(lr=1.0, momentum=0.9)}")
    assert part_of(after, 0.3, "generator")[1] == 0.3
    assert part_of(after, 0.3, "discriminator") == (after.parts["discriminator"], 1.0)
    for name in ("generator.lr", "encoder.lr", "momentum"):
        with pytest.raises(SteepestError, match=f"Unknown setting of .* '{name}'"):
            parts.changed(**{name: 0.1})


def test_the_digest_of_parts_follows_their_names_and_optimizers(parts):
    optimizers = [*parts.parts.values()]
    other = Parts({"generator": optimizers[0], "critic": optimizers[1]})
    swapped = Parts({"generator": optimizers[1], "discriminator": optimizers[0]})
    assert len({parts.digest, other.digest, swapped.digest}) == 3
    assert parts.changed(**{"discriminator.lr": 1}).digest == parts.digest


def test_a_part_must_be_named(parts):
    with pytest.raises(SteepestError, match="has several parts; give name=, one of generator, discriminator"):
        part_of(parts, 0.1)
    with pytest.raises(SteepestError, match="Unknown part 'generater'; did you mean 'generator'"):
        part_of(parts, 0.1, "generater")
    with pytest.raises(SteepestError, match="several parts; make the optimizer of each part"):
        made(parts, model(), lr=0.1)
    assert part_of(find("adam"), 0.1, "any") == (rules.get("adam"), 0.1)


def test_parts_count_the_gradients_of_the_most_expensive():
    lbfgs = tried(find("torch.optim.LBFGS(max_iter=3)"))
    assert Parts({"a": rules.get("sgd"), "b": lbfgs}).evaluations == lbfgs.evaluations == 3


# State


def test_state_is_counted_without_counters_and_inside_lists():
    net = model()
    count = sum(p.numel() for p in net.parameters())
    adam = driven(find("torch.optim.Adam"), net, lr=0.1)
    assert adam.state_bytes() == 0
    by_closures(net, adam, steps=1)
    assert adam.state_bytes() == 2 * 4 * count
    lbfgs = driven(find("torch.optim.LBFGS(max_iter=4)"), net, lr=0.1)
    by_closures(net, lbfgs, steps=1)
    vectors = sum(len(lbfgs.optimizer.state_dict()["state"][0][name]) for name in ("old_dirs", "old_stps"))
    assert vectors == 6
    assert lbfgs.state_bytes() >= 4 * count * vectors


def test_a_checkpoint_continues_to_the_bit():
    net = model()
    optimizer = driven(find("torch.optim.NAdam"), net, lr=0.01)
    by_closures(net, optimizer)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    losses = by_closures(net, optimizer)
    other = model()
    other.load_state_dict(saved[0])
    again = driven(find("torch.optim.NAdam"), other, lr=0.01)
    again.load_state_dict(saved[1])
    assert by_closures(other, again) == losses


# Trying


@pytest.mark.parametrize("name", TORCH)
def test_an_ordinary_optimizer_takes_one_gradient(name):
    maker = tried(find(f"torch.optim.{name}"))
    assert (maker.evaluations, maker.matrices_only) == (1, False)


def test_an_optimizer_of_matrices_is_marked():
    maker = tried(find("torch.optim.Muon"))
    assert (maker.matrices_only, maker.evaluations) == (True, 1)
    with pytest.raises(SteepestError, match="Muon raised ValueError: Muon only supports 2D parameters"):
        made(maker, model(), lr=0.1)


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (Faulty, r"Faulty raised IndexError at .*test_foreign.py, line \d+: no such moment"),
        (Unmade, r"Unmade raised TypeError at .*test_foreign.py, line \d+: forgot the betas"),
        (Half, "Half needs first_step and second_step, and its step takes no closure; a run steps by"),
        (Demanding, r"Demanding needs batch, closure in its step; expected step\(\), step\(closure\) or step\(loss\)."),
        (torch.optim.SparseAdam, "SparseAdam raised RuntimeError: SparseAdam does not support dense gradients"),
    ],
)
def test_an_optimizer_that_cannot_step_is_refused_by_name_and_reason(cls, sentence):
    with pytest.raises(SteepestError, match=sentence):
        tried(find(cls))


def test_a_fault_in_a_step_names_the_optimizer():
    net = model()
    with pytest.raises(SteepestError, match=r"Faulty raised IndexError at .* no such moment") as raised:
        by_closures(net, driven(find(Faulty), net, lr=0.1))
    assert isinstance(raised.value.__cause__, IndexError)


def test_groups_without_a_rate_are_refused():
    class Fixed(torch.optim.Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, {})
            self.rate = lr

    with pytest.raises(SteepestError, match="Fixed has no lr in its parameter groups, by which schedules change the rate"):
        tried(find(Fixed))


def test_trying_leaves_the_generators_and_shows_no_warnings():
    class Loud(torch.optim.SGD):
        def step(self, closure=None):
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            torch.rand(3), np.random.rand(), random.random()
            return super().step(closure)

    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    before = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    assert tried(find(Loud)).evaluations == 1
    assert before == (torch.rand(1), np.random.rand(), random.random())


def test_every_optimizer_of_a_module_is_tried(module):
    fit, unfit = every("zoo")
    assert [(maker.name, maker.evaluations) for maker in fit] == [("zoo:Alpha", 1)]
    assert unfit["zoo:Adam"] == "it is torch.optim.Adam"
    assert unfit["zoo:Rateless"] == "takes no learning rate (lr)"
    assert unfit["zoo:Unmade"].startswith("raised TypeError at")
    assert unfit["zoo:Faulty"].startswith("raised IndexError at")
    assert len(unfit) == 4


def test_every_optimizer_of_pytorch_optimizer_has_a_verdict():
    pytest.importorskip("pytorch_optimizer")
    fit, unfit = every("pytorch_optimizer")
    names = [maker.name for maker in fit]
    assert len(names) > 50
    assert {"pytorch_optimizer:Lion", "pytorch_optimizer:SOAP", "pytorch_optimizer:AdamMini"} <= {*names}
    assert not {*names} & {*unfit}
    assert unfit["pytorch_optimizer:AdamW"] == "it is torch.optim.AdamW"
    assert unfit["pytorch_optimizer:TRAC"] == "wraps another optimizer"
    assert all(0 < len(reason) < 200 for reason in unfit.values())
    assert all(isinstance(maker, Foreign) and find(maker.name).digest == maker.digest for maker in fit[:3])


def test_a_module_without_optimizers_is_refused():
    with pytest.raises(SteepestError, match="The module json has no optimizer classes; name a package such as"):
        every("json")
    with pytest.raises(SteepestError, match="There is no module nosuchlib; install it"):
        every("nosuchlib")
