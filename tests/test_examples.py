"""The examples in docstrings of the public API: every name has one, and its output is correct."""

import doctest
import inspect

import pytest

import steepest
from steepest import schedules
from steepest.rules import Rule
from steepest.surfaces import Surface
from steepest.update.torch_class.optimizer import RuleOptimizer

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
EXPORTED = {
    "steepest": (steepest, steepest.__all__),
    "steepest.schedules": (schedules, schedules.__all__),
    "steepest.optim": (steepest.optim, getattr(steepest.optim, "__all__", dir(steepest.optim))),
}
CLASSES = {  # classes whose methods have examples; of others only the methods that users call
    steepest.Study: None,
    steepest.Choice: None,
    schedules.Schedule: None,
    Rule: {"settings", "preset"},
    Surface: {"value", "gradient", "hessian"},
}


def own(thing):
    """Whether it is a function or class of ours, not generated from a rule."""
    if not getattr(thing, "__module__", "").startswith("steepest"):  # torch's
        return False
    return inspect.isfunction(thing) or (inspect.isclass(thing) and not issubclass(thing, RuleOptimizer))


def function_of(member):
    """The function of a class member: a method, a property or a cached property."""
    for wrapper in ("fget", "func", "__func__"):
        member = getattr(member, wrapper, member)
    return member


def public():
    """Name -> function, class or method: the exports, and the public methods of classes that users receive."""
    found = {f"{module}.{name}": getattr(space, name) for module, (space, names) in EXPORTED.items() for name in names}
    found = {name: thing for name, thing in found.items() if own(thing)}
    for kind, chosen in CLASSES.items():
        home = next((name for name, thing in found.items() if thing is kind), kind.__name__)
        methods = {name: function_of(member) for name, member in vars(kind).items() if not name.startswith("_")}
        methods = {name: method for name, method in methods.items() if chosen is None or name in chosen}
        found |= {f"{home}.{name}": method for name, method in methods.items() if inspect.isfunction(method)}
    return found


PUBLIC = public()


def test_the_walk_meets_what_it_should():
    kinds = {f"{kind.__name__}." for kind in CLASSES}
    assert {"steepest.compare", "steepest.schedules.cosine", "steepest.optim.groups", "steepest.optim.from_rule"} <= set(PUBLIC)
    assert all(any(kind in name for name in PUBLIC) for kind in kinds)
    assert not any(name.startswith("steepest.optim.A") for name in PUBLIC)


def test_every_public_name_has_an_example():
    missing = [name for name, thing in PUBLIC.items() if ">>> " not in (inspect.getdoc(thing) or "")]
    assert not missing, f"{len(missing)} of {len(PUBLIC)} public names have no example: {', '.join(missing)}"


@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_shows_what_happens(name, tmp_path, monkeypatch, registry):
    """Run each in a new folder, with the names of its module, and restore the registry of rules."""
    monkeypatch.chdir(tmp_path)
    thing, failures = PUBLIC[name], []
    space = {**vars(inspect.getmodule(thing)), "steepest": steepest}
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", space, name, inspect.getsourcefile(thing), None)
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=failures.append)
    assert not failures, "".join(failures)
