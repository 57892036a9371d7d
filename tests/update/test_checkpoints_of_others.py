"""Checkpoints of other classes, over all pairs: loaded if keys and meaning agree, with a warning, or rejected."""

import copy
import itertools
import warnings

import pytest
import torch

import steepest
from steepest import rules
from steepest.errors import SteepestError
from steepest.update.torch_class.optimizer import build, optimizer_class
from steepest.update.torch_class.signature import by_class_name

ALL = by_class_name()
TWINS = [name for name, rule in ALL.items() if rule.twin]
KIN = {("Adam", "AdamW"), ("AdamW", "Adam")}
ALIKE = {"Adamax", "RAdam", "LAMB", "Adai"}  # their hyperparameters have the same names: only their state differs


def parameters(name):
    shapes = [(3, 2)] if ALL[name].matrices_only else [(3, 2), (2,)]
    return [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]


def trained(optimizer, steps=2):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for _ in range(steps):

        def closure():
            for p in params:
                p.grad = torch.full_like(p, 0.5) + 0.1 * p.detach()

        closure()
        optimizer.step(closure if getattr(getattr(optimizer, "rule", None), "oracle", False) else None)
    return optimizer


def ours(name, params=None, **more):
    return getattr(steepest.optim, name)(params or parameters(name), lr=0.1, **more)


def shaped(name, other):
    """Parameters that both classes accept."""
    return parameters(name if ALL[name].matrices_only else other)


@pytest.mark.parametrize("state", ["with state", "without state"])
@pytest.mark.parametrize(("theirs", "mine"), list(itertools.permutations(ALL, 2)), ids=lambda x: x)
def test_of_every_pair_of_classes_a_checkpoint_is_refused_but_of_kin(theirs, mine, state):
    source = ours(theirs, shaped(theirs, mine))
    saved = copy.deepcopy((trained(source) if state == "with state" else source).state_dict())
    target = ours(mine, shaped(theirs, mine))
    before = copy.deepcopy(target.state_dict())
    if (theirs, mine) in KIN:
        with pytest.warns(UserWarning, match="The checkpoint has decoupled_weight_decay=") as found:
            target.load_state_dict(saved)
        assert len(found) == 1
        return
    if {theirs, mine} <= ALIKE and state == "without state":
        target.load_state_dict(saved)
        return
    with pytest.raises(SteepestError, match=f"The checkpoint is not one of {mine}: it (has|lacks) .*; load it into") as refused:
        target.load_state_dict(saved)
    assert theirs in str(refused.value)
    assert str(target.state_dict()) == str(before)


@pytest.mark.parametrize(("theirs", "mine"), list(itertools.product(TWINS, TWINS)), ids=lambda x: x)
@pytest.mark.parametrize("state", ["with state", "without state"])
def test_torchs_checkpoints_are_taken_by_their_twin_and_refused_by_the_others(theirs, mine, state):
    source = getattr(torch.optim, theirs)(shaped(theirs, mine), lr=0.1)
    saved = (trained(source) if state == "with state" else source).state_dict()
    target = ours(mine, shaped(theirs, mine))
    if theirs == mine or (theirs, mine) in KIN or (state == "without state" and {theirs, mine} <= ALIKE):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            target.load_state_dict(saved)
        assert len(found) == ((theirs, mine) in KIN)
    else:
        with pytest.raises(SteepestError, match=f"The checkpoint is not one of {mine}"):
            target.load_state_dict(saved)


@pytest.mark.parametrize("name", ["SparseAdam", "LBFGS"])
def test_torchs_classes_that_we_do_not_have_are_refused(name):
    source = getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2))])
    for mine in set(ALL) - {"Muon"}:
        with pytest.raises(SteepestError, match=f"not one of {mine}"):
            ours(mine, [torch.nn.Parameter(torch.ones(2))]).load_state_dict(source.state_dict())


@pytest.mark.parametrize("name", ALL)
def test_each_class_takes_its_own_without_what_was_added_with_time_and_with_what_others_added(name):
    """Flags that older versions lack, and keys of a scheduler and a user in groups and state."""
    saved = copy.deepcopy(trained(ours(name)).state_dict())
    flags = [k for k, v in rules.get(ALL[name].name).hyper.items() if isinstance(v, bool)]
    late = ["foreach", "fused", "maximize", "capturable", "differentiable", "state_dtype", "seed", "matrices_only"]
    for group in saved["param_groups"]:
        for key in [*late, *([] if ALL[name].twin else flags)]:
            group.pop(key, None)
        group |= {"initial_lr": 0.1, "max_lr": 1.0, "mine": 3}
    for store in saved["state"].values():
        store["mine"] = torch.ones(1)
    target = ours(name)
    target.load_state_dict(saved)
    trained(target)


@pytest.mark.parametrize("name", ALL)
def test_choices_that_change_the_state_are_the_same_class(name):
    flags = [k for k, v in ALL[name].hyper.items() if isinstance(v, bool) and k not in ALL[name].fixed]
    for flag in flags:
        momentum = {"momentum": 0.9} if flag == "nesterov" else {}
        changed = {flag: not ALL[name].hyper[flag], **momentum}
        for theirs, mine in ((changed, {}), ({}, changed)):
            saved = copy.deepcopy(trained(build(ALL[name], parameters(name), lr=0.1, **theirs)).state_dict())
            target = build(ALL[name], parameters(name), lr=0.1, **mine)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The checkpoint has decoupled_weight_decay")
                target.load_state_dict(saved)
            trained(target)


COMBINED = {
    "sam": lambda: rules.sam(rules.get("adam")),
    "lookahead": lambda: rules.lookahead(rules.get("momentum")),
    "clipped": lambda: rules.clip_by_norm(rules.get("adamw")),
    "switch": lambda: rules.switch(rules.get("adam"), rules.get("momentum"), at=3),
    "noisy": lambda: rules.noisy(rules.get("sgd"), noise=0.1),
}


@pytest.mark.parametrize("name", COMBINED)
def test_what_combinators_make_takes_its_own_and_not_that_of_the_rule_inside(name):
    made = optimizer_class(COMBINED[name]())
    shapes = [(3, 2), (2,)]

    def anew(cls):
        return cls([torch.nn.Parameter(torch.ones(shape)) for shape in shapes], lr=0.1)

    saved = copy.deepcopy(trained(anew(made)).state_dict())
    anew(made).load_state_dict(copy.deepcopy(saved))
    for inside in (steepest.optim.Adam, steepest.optim.AdamW, steepest.optim.SGD):
        with pytest.raises(SteepestError, match="The checkpoint is not one of"):
            anew(inside).load_state_dict(copy.deepcopy(saved))


def test_the_first_step_out_of_another_class_cannot_be_too_large():
    """The three pairs observed in practice: each is rejected, and the rejected load changes nothing."""
    for theirs, mine in (("AdamW", "ScheduleFreeAdamW"), ("SGD", "AdamW"), ("AdamW", "Lion")):
        target = ours(mine)
        rate, params = target.param_groups[0]["lr"], [p.detach().clone() for p in target.param_groups[0]["params"]]
        with pytest.raises(SteepestError):
            target.load_state_dict(trained(ours(theirs)).state_dict())
        assert target.param_groups[0]["lr"] == rate
        assert not target.state
        assert all(torch.equal(p, q) for p, q in zip(target.param_groups[0]["params"], params, strict=True))
