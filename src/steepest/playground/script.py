"""The JavaScript of rules and surfaces for a page: each rule once for every choice that changes what it computes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import SteepestError
from ..report.rule import javascript
from ..report.surface import javascript as surface_javascript
from ..rules import Rule
from ..rules.definition import MATRIX, Hyper, State
from ..surfaces import Surface

HERE = Path(__file__).parent


def engine() -> str:
    """What walks: begins a rule's state, takes its steps, and finds the choice that hyperparameters make."""
    return (HERE / "run.js").read_text(encoding="utf-8")


def kept() -> str:
    """The parts of well-kept libraries that the page uses, `KEPT`; their licences are in kept/LICENSES.txt."""
    return (HERE / "kept" / "kept.js").read_text(encoding="utf-8")


def rules_script(rules: Sequence[Rule]) -> str:
    """`const RULES = {name: rule}`: defaults, how state starts, and a step for each choice; see `run.js`."""
    return _constant("RULES", (f"{json.dumps(rule.name)}: {_rule(rule)}" for rule in rules))


def surfaces_script(surfaces: Sequence[Surface]) -> str:
    """`const SURFACES = {name: surface}`: domain, start, minima, and `f(p, g)`: the height, and into g the gradient."""
    return _constant("SURFACES", (f"{json.dumps(surface.name)}: {_surface(surface)}" for surface in surfaces))


def _constant(name: str, entries: Iterator[str]) -> str:
    return f"const {name} = {{\n" + ",\n".join(entries) + "\n};\n"


def _rule(rule: Rule) -> str:
    data = {
        "name": rule.name,
        "reference": rule.reference,
        "rate": rule.rate,
        "evaluations": rule.evaluations,
        "hyper": {k: v for k, v in rule.hyper.items() if k != MATRIX},
        "state": {k: _state(s) for k, s in rule.state.items()},
    }
    chosen = ",\n".join(f"{{when: {json.dumps(when)}, step: {step}}}" for when, step in choices(rule))
    return f'{json.dumps(data)[:-1]}, "choices": [\n{chosen}]}}'


def _state(state: State) -> dict[str, Any]:
    return {
        "start": state.start,
        "copies": state.copies,
        "scalar": state.is_scalar,
        "condition": state.condition,
        "exists": state.exists,
    }


def choices(rule: Rule) -> Iterator[tuple[dict[str, bool], str]]:
    """The hyperparameters that a rule asks whether they are true or not zero, each way, and the step that this gives.

    A way that the rule refuses, or has no JavaScript for, is left out.
    """
    asked = {k for k, v in rule.hyper.items() if isinstance(v, bool) and k != MATRIX}
    asked |= {s.condition for s in rule.state.values() if s.condition and s.condition != MATRIX}
    while True:
        ways = [dict(zip(sorted(asked), way, strict=True)) for way in itertools.product((False, True), repeat=len(asked))]
        found = [(when, hyper) for when in ways if (hyper := settings(rule, when)) is not None]
        graphs = [rule.graph(hyper) for _, hyper in found]
        more = {k for graph in graphs for k, x in graph.inputs.items() if x.asked} - asked
        if not more:
            break
        asked |= more
    for when, hyper in found:
        yield when, javascript.function(rule, hyper, "step", notes=True)


def settings(rule: Rule, when: dict[str, bool]) -> Hyper | None:
    """Hyperparameters that are true, or not zero, as wanted; None where the rule refuses them."""
    changed: Hyper = {}
    for k, on in when.items():
        default = rule.hyper[k]
        changed[k] = on if isinstance(default, bool) else (default or 0.5) if on else 0.0
    try:
        return rule.settings(**changed)
    except SteepestError:
        return None


def _surface(surface: Surface) -> str:
    data = {
        "name": surface.name,
        "formula": surface.formula,
        "domain": surface.domain,
        "start": surface.start,
        "minima": surface.minima,
        "rates": dict(surface.rates),
    }
    return f'{json.dumps(data)[:-1]}, "f": {surface_javascript.function(surface)}}}'
