"""Changes made between two steps from outside: a step caches what it read, and torch does not."""

import fractions
import weakref
from collections import defaultdict

import numpy as np
import pytest
import torch

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.update.torch_class.optimizer import build
from steepest.update.torch_class.signature import by_class_name

STATEFUL = ["SGD", "Adam", "NAdam", "Adagrad", "RMSprop", "ASGD"]  # with counters, numbers and tensors as state


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)  # the dtype of the numbers of torch's NAdam and ASGD too
    yield
    torch.set_default_dtype(torch.float32)


def gradients(k, params):
    generator = torch.Generator().manual_seed(k)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)


def arguments(name):
    return {"lr": 0.05} | ({"momentum": 0.9} if name == "SGD" else {})


def both(name, change):
    """Parameters and optimizer, ours and torch's: changed in the same way after three steps, then stepped three times."""
    ends = []
    for library in (steepest.optim, torch.optim):
        generator = torch.Generator().manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (5,), ())]
        optimizer = getattr(library, name)(params, **arguments(name))
        for k in range(3):
            gradients(k, params)
            optimizer.step()
        change(optimizer, params)
        for k in range(3, 6):
            gradients(k, params)
            optimizer.step()
        ends.append((params, optimizer))
    return ends


def agree(ends):
    (params, ours), (others, twin) = ends
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
        mine, theirs = ours.state[p], twin.state[q]
        assert mine.keys() - theirs.keys() <= {"step"}  # which torch's SGD does not count
        for key, value in theirs.items():
            torch.testing.assert_close(torch.as_tensor(mine[key]), torch.as_tensor(value), rtol=1e-12, atol=1e-12)


def replace_state(optimizer, params):
    optimizer.state = defaultdict(dict)


def clear_state(optimizer, params):
    optimizer.state.clear()


def delete_one(optimizer, params):
    del optimizer.state[params[1]]


def put_another_dict(optimizer, params):
    old = optimizer.state[params[0]]
    optimizer.state[params[0]] = {k: v.clone() * 2 if torch.is_tensor(v) and k != "step" else v for k, v in old.items()}


def put_another_tensor(optimizer, params):
    for store in optimizer.state.values():
        for key, value in store.items():
            if key != "step" and torch.is_tensor(value):
                store[key] = value.clone() / 3


def put_new_counters(optimizer, params):
    for store in optimizer.state.values():
        if "step" in store:
            store["step"] = torch.tensor(40.0)


def put_an_equal_counter(optimizer, params):
    """The new counter equals the old one, but must be the one that is incremented from now on."""
    for store in optimizer.state.values():
        if "step" in store:
            store["step"] = store["step"].clone()


def write_to_the_counters(optimizer, params):
    for store in optimizer.state.values():
        if "step" in store:
            store["step"].fill_(17.0)


def swap_in_the_list(optimizer, params):
    new = torch.nn.Parameter(torch.full((3, 4), 0.5))
    params[0] = optimizer.param_groups[0]["params"][0] = new


def put_another_list(optimizer, params):
    optimizer.param_groups[0]["params"] = [params[2], params[0], params[1]]


def put_another_group(optimizer, params):
    optimizer.param_groups[0] = {**optimizer.param_groups[0], "lr": 0.5}


def put_another_list_of_groups(optimizer, params):
    optimizer.param_groups = [{**optimizer.param_groups[0], "weight_decay": 0.3}]


def give_new_memory(optimizer, params):
    params[0].data = torch.ones(3, 4)


def turn_on_decay(optimizer, params):
    optimizer.param_groups[0]["weight_decay"] = 0.1


CHANGES = [
    *(replace_state, clear_state, delete_one, put_another_dict, put_another_tensor, put_new_counters, put_an_equal_counter),
    *(write_to_the_counters, swap_in_the_list, put_another_list, put_another_group, put_another_list_of_groups),
    *(give_new_memory, turn_on_decay),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", STATEFUL)
def test_a_change_from_outside_is_noticed_as_torch_notices_it(name, change):
    agree(both(name, change))


TWINS = sorted({rule.twin for rule in by_class_name().values() if rule.twin})


@pytest.mark.parametrize("before", ["contiguous", "turned"])
@pytest.mark.parametrize("name", TWINS)
def test_a_parameter_turned_at_its_place_is_updated_in_its_new_order(name, before):
    """Its address and its number of bytes stay the same."""
    ends = []
    for library in (steepest.optim, torch.optim):
        generator = torch.Generator().manual_seed(0)
        first = torch.randn(4, 4, generator=generator)
        p = torch.nn.Parameter(first if before == "contiguous" else first.t())
        optimizer = getattr(library, name)([p], lr=0.05)
        for k in range(4):
            if k == 2:
                place = p.data_ptr()
                p.data = p.data.t()
                assert p.data_ptr() == place
            gradients(k, [p])
            optimizer.step()
        ends.append(p.detach())
    tolerance = 1e-3 if name == "Muon" else 1e-9  # it computes in bfloat16
    torch.testing.assert_close(*ends, rtol=tolerance, atol=tolerance)


def test_a_complex_parameter_turned_at_its_place_is_updated_in_its_new_order():
    ends = []
    for library in (steepest.optim, torch.optim):
        generator = torch.Generator().manual_seed(0)
        p = torch.nn.Parameter(torch.randn(4, 4, generator=generator, dtype=torch.complex128))
        optimizer = library.Adam([p], lr=0.05)
        for k in range(4):
            if k == 2:
                p.data = p.data.t()
            p.grad = torch.randn(4, 4, generator=generator, dtype=torch.complex128)
            optimizer.step()
        ends.append(p.detach())
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


def test_what_a_user_keeps_beside_the_state_is_left_alone():
    ends = []
    for library in (steepest.optim, torch.optim):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = library.Adam([p], lr=0.1)
        optimizer.state["steps so far"] = 0
        for k in range(3):
            gradients(k, [p])
            optimizer.step()
            optimizer.state["steps so far"] += 1
        ends.append(p.detach())
        assert optimizer.state["steps so far"] == 3
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["sparse", "none"])
def test_a_later_gradient_of_another_kind_is_noticed_by_torchs_operations_too(kind):
    p = torch.nn.Parameter(torch.ones(4, 2, dtype=torch.float16))
    optimizer = steepest.optim.Adam([p], lr=0.1)
    p.grad = torch.ones_like(p)
    optimizer.step()
    assert optimizer.engine == "plain"
    if kind == "sparse":
        p.grad = torch.ones_like(p).to_sparse()
        with pytest.raises(SteepestError, match="got a sparse gradient"):
            optimizer.step()
    else:
        before = p.detach().clone()
        p.grad = None
        optimizer.step()
        assert torch.equal(p, before)


def test_a_step_that_was_interrupted_leaves_nothing_of_its_gradient(monkeypatch):
    from steepest.update.engines.plain import Plain

    ends = []
    for interrupt in (True, False):
        p = torch.nn.Parameter(torch.eye(3))
        optimizer = steepest.optim.Adafactor([p], lr=0.1)
        for k in range(3):
            gradients(k, [p])
            if k == 1 and interrupt:
                p.grad = p.grad * 100
                with monkeypatch.context() as patch:
                    patch.setattr(Plain, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
                    with pytest.raises(KeyboardInterrupt):
                        optimizer.step()
                gradients(k, [p])
            optimizer.step()
        ends.append(p.detach())
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


def test_a_list_edited_in_place_is_seen():
    ends = []
    for library in (steepest.optim, torch.optim):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = library.Adam([p], lr=0.1)
        optimizer.param_groups[0]["betas"] = [0.9, 0.99]
        for k in range(4):
            gradients(k, [p])
            if k == 2:
                optimizer.param_groups[0]["betas"][0] = 0.0
            optimizer.step()
        ends.append(p)
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


def test_a_number_kept_in_a_tensor_and_written_to_is_seen():
    ends = []
    for library in (steepest.optim, torch.optim):
        p, lr, betas = torch.nn.Parameter(torch.ones(3)), torch.tensor(0.1), (torch.tensor(0.9), torch.tensor(0.99))
        optimizer = library.Adam([p], lr=lr, betas=betas)
        for k in range(6):
            gradients(k, [p])
            if k == 2:
                lr.fill_(0.5)
            if k == 4:
                betas[0].fill_(0.2)
            optimizer.step()
        ends.append(p)
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)  # torch computes with 0-dim tensors there


@pytest.mark.parametrize("where", ["made", "added", "set"])
def test_an_array_without_dimensions_is_its_number(where):
    """np.where returns one."""
    ends = []
    for make in (float, np.array):
        p = torch.nn.Parameter(torch.ones(3))
        group = {"lr": make(0.1), "betas": (make(0.8), 0.99)}
        optimizer = steepest.optim.Adam([p], **group if where == "made" else {})
        if where == "added":
            optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(3))], **group})
            p = optimizer.param_groups[1]["params"][0]
        if where == "set":
            optimizer.param_groups[0].update(group)
        for k in range(4):
            gradients(k, [p])
            if k == 2 and where == "set" and make is float:
                optimizer.param_groups[0]["lr"] = 0.5
            elif k == 2 and where == "set":
                group["lr"][...] = 0.5
            optimizer.step()
        ends.append(p.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize("lr", [10**400, -(10**400), fractions.Fraction(10**400)], ids=["above", "below", "a fraction"])
def test_a_rate_past_all_floats_is_refused(lr):
    with pytest.raises(SteepestError, match=r"lr is -?inf; expected a finite number, 0 or more"):
        steepest.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=lr)
    with pytest.raises(SteepestError, match=r"lr is -?inf; expected a finite number, 0 or more"):
        rules.get("adam").settings(lr=lr)


def test_a_seed_changed_in_its_group_changes_the_noise():
    made = steepest.optim.from_rule(rules.noisy(rules.get("gd"), noise=1.0))
    ends = []
    for change in (False, True):
        p = torch.nn.Parameter(torch.zeros(4))
        optimizer = made([p], lr=1.0, seed=1)
        for k in range(2):
            p.grad = torch.zeros(4)
            if k and change:
                optimizer.param_groups[0]["seed"] = 2
            optimizer.step()
        ends.append(p.detach())
    assert not torch.equal(*ends)


@pytest.mark.parametrize("name", sorted(by_class_name()))
def test_a_gradient_is_not_kept_alive_between_steps(name):
    """Otherwise a step needs the memory of one gradient more than torch's."""
    p = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = build(by_class_name()[name], [p])
    for _ in range(3):

        def closure():
            p.grad = torch.ones(3, 2)
            return 0.0

        optimizer.step(closure)
        seen = weakref.ref(p.grad)
        optimizer.zero_grad()
        assert seen() is None


PER_GROUP = [rule for rule in by_class_name().values() if any(state.per_group for state in rule.state.values())]
PER_GROUP += [rules.sam(rule) for rule in PER_GROUP]
NEIGHBOURS = {
    "float32": lambda: torch.ones(2, dtype=torch.float32),
    "bfloat16": lambda: torch.ones(2, dtype=torch.bfloat16),
    "complex": lambda: torch.ones(2, dtype=torch.complex128),
    "strided": lambda: torch.ones(2, 4)[:, ::2],
}


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", NEIGHBOURS)
@pytest.mark.parametrize("rule", PER_GROUP, ids=lambda rule: rule.name)
def test_a_number_of_the_group_goes_on_once_a_step_whatever_updates_its_parameters(rule, kind, place):
    """Each parameter ends where it ends alone, also when another group's parameters are updated together with it."""

    def run(*groups):
        optimizer = build(rule, [{"params": params, "lr": 0.1 * (i + 1)} for i, params in enumerate(groups)])
        for k in range(4):

            def closure(k=k):
                for params in groups:
                    for p in params:
                        p.grad = torch.full_like(p, 1.0 + k)

            closure()
            optimizer.step(closure if rule.oracle else None)
        return optimizer.param_groups[0]

    own, neighbour = (lambda: torch.nn.Parameter(torch.ones(2))), (lambda: torch.nn.Parameter(NEIGHBOURS[kind]()))
    alone, alone_too = own(), neighbour()
    numbers = run([alone])
    run([alone_too])
    pair = p, q = own(), neighbour()
    together = run([*pair[:: 1 if place == "behind" else -1]], [neighbour(), own()])
    torch.testing.assert_close(p, alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(q, alone_too, rtol=1e-6, atol=1e-6)
    for letter in (letter for letter, state in rule.state.items() if state.per_group):
        assert together[letter] == pytest.approx(numbers[letter], rel=1e-12)
