"""The JavaScript of rules and surfaces on the page: a step of each rule for every choice that changes what it computes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import SteepestError
from ..escapes import script as quoted
from ..report.palette import style
from ..rules import Rule
from ..rules.definition import FINITE, Domain, Hyper, State
from ..surfaces import Surface
from . import javascript

HERE = Path(__file__).parent
MATRICES = "it looks at the rows and columns of a matrix, and a point has none"


def file(name: str) -> str:
    """The text of a file of the page."""
    return (HERE / name).read_text(encoding="utf-8")


def engine() -> str:
    """The code that initialises a rule's state, takes its steps, and finds the choice that hyperparameters make."""
    return file("run.js")


def kept() -> str:
    """The parts of other libraries that the page uses, `KEPT`; their licences are in kept/LICENSES.txt."""
    return file("kept/kept.js")


def rules_script(rules: Sequence[Rule], offered: Mapping[str, Sequence[str]] | None = None) -> str:
    """`const RULES = {name: rule}`: defaults, initial state, and a step for each choice; see `run.js`.

    `offered` has, by rule, the only hyperparameters that a reader may change; choices of others are omitted.
    """
    return _constant("RULES", (f"{quoted(rule.name)}: {_rule(rule, (offered or {}).get(rule.name))}" for rule in rules))


def surfaces_script(surfaces: Sequence[Surface]) -> str:
    """`const SURFACES = {name: surface}`: domain, start, minima, and `f(p, g, h)`: the height, which sets g and h."""
    return _constant("SURFACES", (f"{quoted(surface.name)}: {_surface(surface)}" for surface in surfaces))


def _constant(name: str, entries: Iterator[str]) -> str:
    return f"const {name} = {{\n" + ",\n".join(entries) + "\n};\n"


def _rule(rule: Rule, offered: Sequence[str] | None) -> str:
    open_ = [k for k in rule.hyper if k != "lr"] if offered is None else offered
    data = {
        "name": rule.name,
        "reference": rule.reference,
        "rate": rule.rate,
        "evaluations": rule.evaluations,
        "reach": rule.reach,
        "style": asdict(style(rule.name)),
        "hyper": rule.hyper,
        "domains": {k: _domain(rule.domain(k) or FINITE) for k, v in rule.hyper.items() if not isinstance(v, bool | str)},
        "offered": list(open_),
        "refused": list(_refused(rule)),
        "apart": MATRICES if len(rule.shapes) > 1 else "",
        "state": {k: _state(s) for k, s in rule.state.items()},
    }
    kept = (
        (when, step) for when, step in choices(rule) if all(k in open_ or on == bool(rule.hyper[k]) for k, on in when.items())
    )
    chosen = ",\n".join(f"{{when: {quoted(when)}, step: {step}}}" for when, step in kept)
    return f'{quoted(data)[:-1]}, "choices": [\n{chosen}]}}'


def _domain(domain: Domain) -> list[Any]:
    """The bounds, or None, the excluded values, and the words of a domain."""
    return [*(x if math.isfinite(x) else None for x in (domain.low, domain.high)), list(domain.without), domain.words]


def _refused(rule: Rule) -> Iterator[dict[str, Any]]:
    """The combinations of hyperparameters that a rule rejects: which are true, or not zero, and its sentence."""
    for sentence, breaks in rule.refused:
        named = [k for k, v in rule.hyper.items() if not isinstance(v, str) and k in breaks.__code__.co_consts]
        for way in itertools.product((False, True), repeat=len(named)):
            when = dict(zip(named, way, strict=True))
            if breaks({**rule.hyper, **_changed(rule, when)}):
                yield {"when": when, "words": sentence}


def _state(state: State) -> dict[str, Any]:
    return {
        "start": state.start,
        "copies": state.copies,
        "scalar": state.is_scalar,
        "condition": state.condition,
        "exists": state.exists,
    }


def choices(rule: Rule) -> Iterator[tuple[dict[str, bool], str]]:
    """Every combination of the hyperparameters that a rule tests for truth or zero, and its step.

    Combinations that the rule rejects are omitted.
    """
    asked = {k for k, v in rule.hyper.items() if isinstance(v, bool)}
    asked |= {s.condition for s in rule.state.values() if s.condition}
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
    """Hyperparameters that are true, or not zero, as given; None if the rule rejects them."""
    try:
        return rule.settings(**_changed(rule, when))
    except SteepestError:
        return None


def _changed(rule: Rule, when: dict[str, bool]) -> Hyper:
    """A value for each hyperparameter, true or not zero as given."""
    wanted = ((k, on, rule.hyper[k]) for k, on in when.items())
    return {k: on if isinstance(default, bool) else (default or 0.5) if on else 0.0 for k, on, default in wanted}


def _surface(surface: Surface) -> str:
    data = {
        "name": surface.name,
        "formula": surface.formula,
        "domain": surface.domain,
        "start": surface.start,
        "minima": surface.minima,
        "rates": dict(surface.rates),
    }
    return f'{quoted(data)[:-1]}, "f": {javascript.height(surface)}}}'
