"""The card of a rule: its idea, source, hyperparameters and state, and one step with real numbers."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import torch

from ... import rules
from ...rules import Rule, combinators
from ...rules.definition import MATRIX, VECTOR, State
from ...rules.symbols import Symbol
from ...rules.trace import is_static
from ...update.engines import plain
from ...update.numbers import evaluate
from ...update.state import initial_state
from ...update.work import Column

P, G = (1.0, -2.0, 0.5), (0.1, -0.4, 0.0)  # parameter and gradient of the example step
WIDTH = 100  # characters of a paragraph on the screen


def describe(name: str | Rule) -> dict[str, Any]:
    """The description of a rule, as `steepest show --json` prints it. Raises SteepestError for an unknown name."""
    rule = rules.get(name)
    return {
        "name": rule.name,
        "class": rule.class_name,
        "twin": f"torch.optim.{rule.twin}" if rule.twin else None,
        "reference": rule.reference,
        **rule.about._asdict(),
        "reach": rule.reach,
        "source": source(rule),
        "hyper": [{"name": k, "default": v, "domain": _domain(rule, k), "static": is_static(v)} for k, v in rule.hyper.items()],
        "state": [{"name": k, "starts": _start(s), "key": rule.keys.get(k, k)} for k, s in rule.state.items()],
        "deviations": list(rule.deviations),
        "step": _step(rule),
    }


def source(rule: Rule) -> str:
    """The source of a rule without its docstring, preceded by the combinator's if one makes it, as for SAM."""
    own = textwrap.dedent("".join(inspect.getsourcelines(rule.code)[0])).rstrip()
    maker = getattr(combinators, rule.name, None)
    return f"{inspect.getsource(maker)}\n\n{_undocumented(own)}" if maker else _undocumented(own)


def _undocumented(source: str) -> str:
    """The source of a function without its docstring."""
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    if ast.get_docstring(function) is None:
        return source
    first, lines = function.body[0], source.splitlines()
    return "\n".join([*lines[: first.lineno - 1], *lines[first.end_lineno :]])


def _domain(rule: Rule, name: str) -> str:
    if isinstance(rule.hyper[name], bool):
        return "True or False"
    if isinstance(rule.hyper[name], str):
        return "a word"
    domain = rule.domain(name)
    return domain.words if domain else "a finite number, unchecked: the rule gives no domain"


def _start(state: State) -> str:
    where = "" if not state.is_scalar else ", one number for each " + ("group" if state.per_group else "parameter")
    only = f", only where {state.condition} is {'not ' if state.exists else ''}0" if state.condition else ""
    if not state.is_for(VECTOR):
        only = ", only for tensors of two dimensions or more"
    if not state.is_for(MATRIX):
        only = ", only for tensors of fewer dimensions"
    each = f", one for each {state.layout}" if state.layout else ""
    return f"{state.begins}{where}{each}{only}"


def _step(rule: Rule) -> list[dict[str, Any]]:
    """The first step on three elements: every named value of the rule, in the order of computation."""
    hyper = rule.settings()
    graph = rule.graph(hyper)
    p, g = (torch.tensor(x, dtype=torch.float64) for x in (P, G))
    state = initial_state(rule, p, g, hyper)
    work = plain.of_one(rule, p, g, 1, state, hyper)
    work.tensors |= {x.name: Column([g]) for x in graph.gradients}
    known = work.known().of(0)

    def leaf(x: Symbol) -> torch.Tensor:
        return work.tensors[x.name][0]

    for x in graph.reductions:
        inner = evaluate(x.args[0], known, leaf)
        assert x.reduction
        assert isinstance(inner, torch.Tensor)
        known[x] = float(x.reduction.of(x.reduction.term(inner).sum(), inner.numel()))
    inputs = [{"name": k, "value": _plain(v)} for k, v in (("p", p), ("g", g), ("t", 1), *state.items())]
    inputs += [{"name": f"{x.name}, here as g", "value": _plain(g)} for x in graph.gradients]
    inner_names = {k: x for k, x in graph.names.items() if isinstance(x, Symbol) and x.args and k not in graph.outputs}
    named = {**inner_names, **{f"new {k}": x for k, x in graph.outputs.items()}}
    return inputs + [{"name": k, "value": _plain(evaluate(x, known, leaf))} for k, x in named.items()]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, torch.Tensor) else value


def text(card: dict[str, Any]) -> str:
    """The card as text for the screen."""
    twin = f", same results as {card['twin']}" if card["twin"] else ""
    lines = [f"{card['name']}  (steepest.optim.{card['class']}{twin}; reach: {card['reach']})", card["reference"], ""]
    said = [card["idea"], *(f"{word} it {card[key]}" for word, key in (("Use", "use"), ("Avoid", "avoid")) if card[key])]
    lines += [*(line for part in said for line in textwrap.wrap(part, WIDTH)), ""] if card["idea"] else []
    lines += [*("    " + line for line in card["source"].splitlines()), "", "Hyperparameters"]
    for h in card["hyper"]:
        lines.append(f"  {h['name']:26} {h['default']!s:8} {h['domain']}{'  (static)' if h['static'] else ''}")
    lines += ["", "State"] + [f"  {s['name']:26} starts at {s['starts']}; in a checkpoint: {s['key']}" for s in card["state"]]
    lines += ["  none"] if not card["state"] else []
    lines += ["", "Deviations from the source"] + [f"  - {d}" for d in card["deviations"]] if card["deviations"] else []
    lines += ["", "The first step, on three elements"]
    lines += [f"  {x['name']:26} {_shown(x['value'])}" for x in card["step"]]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return "  ".join(f"{v:< 12.6g}" for v in (value if isinstance(value, list) else [float(value)])).rstrip()
