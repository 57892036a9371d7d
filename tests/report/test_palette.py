"""The styles of optimizers: distinct for any number of rules, and unaffected by a new rule."""

import dataclasses
import itertools

from steepest import rules
from steepest.report.palette import DASHES, FIRST, style

LOOKS = {"sgd": "#0072B2 solid", "adam": "#56B4E9 dashed", "adadelta": "#000000 dashdot", "muon": "#CC79A7 dotted"}


def added(registry, count):
    """Copies of rules under other names, the first of them before all others in the registry."""
    names = [f"new{k}" for k in range(count)]
    made = {name: dataclasses.replace(rules.get("sgd"), name=name) for name in names}
    before = dict(registry)
    registry.clear()
    registry |= dict(itertools.islice(made.items(), 1)) | before | made
    return names


def test_looks_differ_for_any_number_of_rules_and_neighbours_in_dash_too(registry):
    order = [*FIRST, *added(registry, 100)]
    looks = [style(name) for name in order]
    assert len(set(looks)) == len(order)
    for one, other in itertools.pairwise(looks):
        assert one.dash != other.dash
        assert one.colour != other.colour
    assert {look.dash for look in looks} == {*DASHES}


def test_a_new_rule_changes_no_look(registry):
    before = {name: style(name) for name in FIRST}
    assert {name: f"{before[name].colour} {before[name].dash}" for name in LOOKS} == LOOKS
    first = added(registry, 10)[:5]
    looks = {name: style(name) for name in first}
    assert {name: style(name) for name in FIRST} == before
    added(registry, 20)
    assert {name: style(name) for name in first} == looks


def test_variants_of_a_rule_differ_in_dash_only():
    looks = [style("adam", k) for k in range(4)]
    assert {look.dash for look in looks} == {*DASHES}
    assert {look.colour for look in looks} == {style("adam").colour}
    assert style("unregistered").colour == "#000000"
