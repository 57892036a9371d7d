"""Checkpoints: hooks, names, precision, and checkpoints saved in a view."""

import contextlib
import copy
import io

import pytest
import torch

import steepest
from steepest.errors import SteepestError
from steepest.update.torch_class.optimizer import build
from steepest.update.torch_class.signature import by_class_name

ALL = sorted(by_class_name())
VIEWS = [name for name, rule in by_class_name().items() if rule.view]


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))


def make(name, net):
    chosen = {"ASGD": {"t0": 2.0}, "SGD": {"momentum": 0.9}}.get(name, {})
    return build(by_class_name()[name], net.parameters(), lr=0.02, **chosen)


def train(net, optimizer, steps):
    for k in steps:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(k))

        def closure(x=x):
            optimizer.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_of_groups_that_differ_is_loaded_by_torchs_safe_default(name):
    """torch.load rejects NumPy numbers there."""
    params = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(3)]
    optimizer = build(by_class_name()[name], [{"params": params[:2]}, {"params": params[2:], "lr": 0.3}])
    for late in (True, False):

        def closure(late=late):
            for p in params[late:]:
                p.grad = torch.ones(2, 2)

        optimizer.step(closure)
    assert str(through_a_file(optimizer.state_dict())) == str(optimizer.state_dict())


@pytest.mark.parametrize("name", ALL)
def test_what_a_hook_makes_of_a_checkpoint_is_loaded(name):
    """The checkpoint has two groups in another order and other keys; a hook corrects it, by return value or in place."""
    net = model()
    optimizer = make(name, net)
    train(net, optimizer, range(3))
    saved = copy.deepcopy(optimizer.state_dict())
    wrapped = {"theirs": saved, "param_groups": [{"params": []}], "state": {}}
    for how in ("return", "in place"):

        def hook(_, given, how=how):
            if how == "return":
                return dict(given["theirs"])
            given.update(given.pop("theirs"))
            return None

        other = copy.deepcopy(net)
        loaded, called = make(name, other), []
        loaded.register_load_state_dict_pre_hook(hook)
        loaded.register_load_state_dict_post_hook(lambda opt, called=called: called.append(opt.state_dict()))
        loaded.load_state_dict(copy.deepcopy(wrapped))  # torch adopts the loaded tensors
        assert len(called) == 1
        again = copy.deepcopy(net)
        plainly = make(name, again)
        plainly.load_state_dict(copy.deepcopy(saved))
        train(other, loaded, range(3, 6))
        train(again, plainly, range(3, 6))
        for p, q in zip(other.parameters(), again.parameters(), strict=True):
            assert torch.equal(p, q)


TWINS = [n for n in ALL if by_class_name()[n].twin]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", TWINS)
def test_a_checkpoint_cast_to_16_bits_continues_with_counters_that_count(name, dtype):
    """And from step 3,000, as far as a cast number stays exact: float16 counts to 2,048, bfloat16 to 256."""
    net = torch.nn.Sequential(torch.nn.Linear(4, 6, bias=False))
    optimizer = make(name, net)
    train(net, optimizer, range(2))
    for store in optimizer.state.values():
        store["step"].fill_(3072.0)  # exact in both
    saved = copy.deepcopy(optimizer.state_dict())
    for store in saved["state"].values():
        store.update({k: x.to(dtype) for k, x in store.items() if isinstance(x, torch.Tensor)})
    loaded = make(name, net)
    loaded.load_state_dict(saved)
    before = [p.detach().clone() for p in net.parameters()]
    train(net, loaded, range(2, 5))
    for p, was in zip(net.parameters(), before, strict=True):
        assert torch.isfinite(p).all()
        assert not torch.equal(p, was)
        assert loaded.state[p]["step"].item() == 3075
        assert all(x.dtype is torch.float32 for x in loaded.state[p].values())


@pytest.mark.parametrize("name", ALL)
def test_what_a_scheduler_ended_at_is_loaded_and_stepped_and_what_nobody_may_choose_is_refused(name):
    """LinearLR ends slightly below 0, its final value."""
    net = model()
    matrices = [p for p in net.parameters() if p.ndim == 2]
    optimizer = build(by_class_name()[name], matrices, lr=0.05)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, end_factor=0.0, total_iters=4)
    for k in range(4):
        train(net, optimizer, [k])
        scheduler.step()
    assert -1e-15 < optimizer.param_groups[0]["lr"] < 0
    saved = copy.deepcopy(optimizer.state_dict())
    loaded = build(by_class_name()[name], matrices, lr=0.05)
    loaded.load_state_dict(copy.deepcopy(saved))
    train(net, loaded, [4])
    assert all(torch.isfinite(p).all() for p in matrices)
    saved["param_groups"][0].pop("initial_lr")
    saved["param_groups"][0]["lr"] = -0.05
    with pytest.raises(SteepestError, match=r"lr is -0.05; expected "):
        build(by_class_name()[name], matrices).load_state_dict(saved)


def named(net, prefix=""):
    return [(prefix + name, p) for name, p in net.named_parameters()]


@pytest.mark.parametrize(("theirs", "ours"), [("", "module."), ("_orig_mod.", ""), ("encoder.", "decoder.")])
def test_names_with_another_prefix_load_by_order(theirs, ours):
    first, second = model(), model()
    source = steepest.optim.Adam(named(first, theirs), lr=0.02)
    train(first, source, range(3))
    target = steepest.optim.Adam(named(second, ours), lr=0.02)
    second.load_state_dict(first.state_dict())
    target.load_state_dict(copy.deepcopy(source.state_dict()))
    train(first, source, range(3, 6))
    train(second, target, range(3, 6))
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("wrapped", ["theirs", "ours", "both"])
@pytest.mark.parametrize("wrapper", ["_checkpoint_wrapped_module", "_orig_mod", "_fsdp_wrapped_module", "module"])
def test_names_with_a_wrapper_inside_load(wrapper, wrapped):
    """One of two layers is wrapped, as for activation checkpointing."""

    def make(inner):
        names = ["0.weight", "0.bias", f"2.{inner}weight", f"2.{inner}bias"]
        return steepest.optim.Adam([*zip(names, model().parameters(), strict=True)])

    source = make("" if wrapped == "ours" else f"{wrapper}.")
    target = make({"theirs": "", "ours": f"{wrapper}.", "both": "another._orig_mod."}[wrapped])
    if wrapped == "both":
        with pytest.raises(SteepestError, match=f"another model's: it has '2.{wrapper}.weight' where this optimizer has '2.an"):
            target.load_state_dict(source.state_dict())
    else:
        target.load_state_dict(source.state_dict())


def test_names_of_another_model_are_refused():
    net = model()
    source = steepest.optim.Adam(named(net))
    swapped = named(net)
    swapped[0], swapped[1] = swapped[1], swapped[0]
    with pytest.raises(SteepestError, match=r"another model's: it has '0.weight' where this optimizer has '0.bias'"):
        steepest.optim.Adam(swapped).load_state_dict(source.state_dict())
    shifted = [(name.replace("2.", "3."), p) for name, p in named(net)]
    with pytest.raises(SteepestError, match=r"it has '2.weight' where this optimizer has '3.weight'"):
        steepest.optim.Adam(shifted).load_state_dict(source.state_dict())


@pytest.mark.parametrize("name", [n for n in ALL if by_class_name()[n].twin])
def test_loading_adds_no_key_to_a_group(name):
    def optimizer(library):
        return getattr(library, name)([torch.nn.Parameter(torch.ones(2, 2))])

    ours, twin = optimizer(steepest.optim), optimizer(torch.optim)
    for given in (ours.state_dict(), twin.state_dict()):
        loaded = optimizer(steepest.optim)
        before = set(loaded.param_groups[0])
        loaded.load_state_dict(copy.deepcopy(given))
        assert set(loaded.param_groups[0]) == before
    pickled = copy.deepcopy(ours)
    assert set(pickled.param_groups[0]) == before


def test_a_checkpoint_without_a_flag_that_the_class_fixes_decays_as_the_class_does():
    """As in older versions of torch: AdamW's, and Adam's, which says that its decay is coupled."""
    ends = []
    for change in ("none", "absent", "adam's"):
        net = model()
        optimizer = steepest.optim.AdamW(net.parameters(), lr=0.02, weight_decay=0.3)
        train(net, optimizer, range(2))
        saved = copy.deepcopy(optimizer.state_dict())
        for group in saved["param_groups"]:
            if change == "absent":
                del group["decoupled_weight_decay"]
            if change == "adam's":
                group["decoupled_weight_decay"] = False
        loaded = steepest.optim.AdamW(net.parameters(), lr=0.02, weight_decay=0.3)
        said = pytest.warns(UserWarning, match="True is used") if change == "adam's" else contextlib.nullcontext()
        with said:
            loaded.load_state_dict(saved)
        train(net, loaded, range(2, 4))
        ends.append([p.detach() for p in net.parameters()])
    for other in ends[1:]:
        assert all(torch.equal(p, q) for p, q in zip(ends[0], other, strict=True))


@pytest.mark.parametrize("asked", [True, False], ids=["train is called", "train is not called"])
@pytest.mark.parametrize("name", VIEWS)
def test_resumed_from_what_was_saved_after_eval_equals_whole_to_the_bit(name, asked):
    """As Hugging Face's Trainer does: eval(), evaluate, save model and optimizer, and continue."""
    net = model()
    optimizer = make(name, net)
    train(net, optimizer, range(5))
    trained = [p.detach().clone() for p in net.parameters()]
    optimizer.view()
    assert not all(torch.equal(p, q) for p, q in zip(net.parameters(), trained, strict=True))
    saved = through_a_file({"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    other = model()
    resumed = make(name, other)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    if asked:
        optimizer.train()
        resumed.train()
        assert all(torch.equal(p, q) for p, q in zip(other.parameters(), trained, strict=True))
    train(net, optimizer, range(5, 10))
    train(other, resumed, range(5, 10))
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))
    whole = model()
    one = make(name, whole)
    train(whole, one, range(10))
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), whole.parameters(), strict=True))
    assert set(optimizer.state_dict()["state"][0]) == set(one.state_dict()["state"][0])


def test_state_of_a_view_that_is_set_from_outside_is_taken_back_too():
    net, other = model(), model()
    optimizer, another = make("ScheduleFreeSGD", net), make("ScheduleFreeSGD", other)
    train(net, optimizer, range(4))
    optimizer.eval()
    other.load_state_dict(net.state_dict())
    another.param_groups[0].update({k: v for k, v in optimizer.param_groups[0].items() if k != "params"})
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        another.state[q] = copy.deepcopy(optimizer.state[p])
    optimizer.train()
    for params in (net.parameters(), other.parameters()):
        for k, p in enumerate(params):
            p.grad = torch.full_like(p, 0.1 * k + 0.1)
    optimizer.step()
    another.step()
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), other.parameters(), strict=True))


def test_eval_twice_keeps_what_is_trained():
    net = model()
    optimizer = make("ScheduleFreeAdamW", net)
    train(net, optimizer, range(3))
    trained = [p.detach().clone() for p in net.parameters()]
    optimizer.eval()
    optimizer.eval()
    optimizer.train()
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), trained, strict=True))


def test_a_trainer_that_calls_eval_leaves_asgd_where_torchs_ends():
    ends = []
    for library in (steepest.optim, torch.optim):
        net = model()
        optimizer = library.ASGD(net.parameters(), lr=0.1, t0=2)
        for begin in (0, 5):
            for mode in ("train", "eval"):
                if mode == "train":
                    getattr(optimizer, "train", lambda: None)()
                    train(net, optimizer, range(begin, begin + 5))
                else:
                    getattr(optimizer, "eval", lambda: None)()
        ends.append([p.detach() for p in net.parameters()])
    for p, q in zip(*ends, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("how", ["loaded", "set"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_momentum_buffer_that_is_none_begins_as_torchs_does(how, momentum):
    """Older versions of torch saved None where there was no momentum."""
    ends = []
    for library in (steepest.optim, torch.optim):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = library.SGD([p], lr=0.1, momentum=momentum, dampening=0.5)
        for k in range(6):
            p.grad = torch.full_like(p, 1.0 + k)
            if k == 2 and how == "loaded":
                saved = optimizer.state_dict()
                saved["state"] = {0: {"momentum_buffer": None}}
                optimizer.load_state_dict(saved)
            if k == 2 and how == "set":
                optimizer.state[p]["momentum_buffer"] = None
            if k == 4:
                optimizer.param_groups[0]["momentum"] = 0.9
            optimizer.step()
            if library is steepest.optim:
                assert optimizer.state_bytes() == (12 if momentum or k >= 4 else 0)
        ends.append(p.detach())
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)
