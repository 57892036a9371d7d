"""The names that the package exports."""

import ast
from pathlib import Path

import pytest
import torch

import steepest
from steepest import rules
from steepest_workshop import architecture, stubs

PUBLIC = {
    "Choice",
    "Command",
    "Loop",
    "Problem",
    "SteepestError",
    "Study",
    "axis",
    "compare",
    "loop",
    "optim",
    "problems",
    "reproduce",
    "rule",
    "schedules",
    "trajectory",
}
TORCHS = {name for name in torch.optim.__all__ if name not in {r.class_name for r in rules.RULES.values()}}
BESIDE = {"from_rule", "groups", "still", *TORCHS}  # the classes of `steepest.optim`


def test_the_package_exports_its_public_names_and_no_others():
    assert set(steepest.__all__) == PUBLIC == set(dir(steepest))
    assert all(getattr(steepest, name) is not None for name in PUBLIC)


def test_optim_exports_a_class_for_every_rule_under_its_public_name():
    promised = {"SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Rprop", "Adagrad", "ASGD"}
    promised |= {"MADGRAD", "ScheduleFreeAdamW", "LAMB", "SAM", "Adai"}
    assert set(dir(steepest.optim)) == {r.class_name for r in rules.RULES.values()} | BESIDE
    assert promised <= set(dir(steepest.optim))
    assert steepest.optim.Adam is steepest.optim.Adam


def test_an_import_of_all_names_gives_every_class():
    names = {}
    exec("from steepest.optim import *", names)
    assert names.keys() - {"__builtins__"} == set(dir(steepest.optim)) == set(steepest.optim.__all__)
    assert names["Adam"] is steepest.optim.Adam


@pytest.mark.parametrize("name", sorted({"LBFGS", "SparseAdam"} | TORCHS))
def test_what_torch_has_beside_our_classes_is_torchs(name):
    assert getattr(steepest.optim, name) is getattr(torch.optim, name)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(steepest, "nonsense")
    assert not hasattr(steepest.optim, "Adma")


def test_the_stub_of_the_classes_is_current():
    stub = Path(steepest.__file__).with_name("optim.pyi").read_text()
    assert ast.dump(ast.parse(stub)) == ast.dump(ast.parse(stubs.page())), "run `steepest conformance`, which makes it"
    classes = {node.name for node in ast.parse(stub).body if isinstance(node, ast.ClassDef)}
    assert classes == set(dir(steepest.optim)) - BESIDE


def test_the_picture_of_the_house_shows_every_floor_and_only_stairs_that_go_down():
    names = [name for floor in architecture.FLOORS for name in floor]
    source = Path(steepest.__file__).parent
    folders = {p.name for p in source.iterdir() if any(p.glob("*.py"))}
    files = {p.stem for p in source.glob("*.py")} - {"__init__", "__main__"}
    assert set(names) == folders | files
    assert set(architecture.WORDS) == set(names)
    floor = {name: i for i, row in enumerate(architecture.FLOORS) for name in row}
    arrows = architecture._arrows(names)
    assert ("study", "training") in arrows
    assert all(floor[a] > floor[b] for a, b in arrows)
