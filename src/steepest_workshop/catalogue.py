"""docs/optimizers.md: every rule with its idea, source, equations, hyperparameters, state and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from steepest import rules
from steepest.report.rule.card import describe
from steepest.report.rule.latex import equations
from steepest.rules import Rule
from steepest.rules.definition import MATRIX

from .site import cost, sensitivity

SOURCES = ("paper", "author", "torch")

HEAD = """# Optimizers

Every rule of steepest, made by `steepest conformance`. The site (`python -m steepest_workshop.site`) has a page for each, with
its path beside those of SGD and Adam, and its accuracy by rate.
"""
UNDER = """
*State*: bytes for each float32 parameter. *Step*: the time of a step on ResNet-50's 25.6 million numbers, in steps of plain
SGD (`python -m steepest_workshop.site.cost`). *Digits*, *MNIST*: validation accuracy at the best rate of a grid, constant,
three seeds (`python -m steepest_workshop.site.sensitivity`); half a point is noise. *Decades*: of rates within a point of the
best on MNIST. *Error*: the largest relative one of 50 steps in float64, against a NumPy oracle written from the paper, the
author's package, and torch.
"""


def state_bytes(rule: Rule) -> int:
    """Bytes of state for each float32 parameter at the defaults; rows, columns and single numbers count nothing."""
    live = rule.live_state(rule.settings(), MATRIX).values()
    return 4 * sum(state.is_like_p(MATRIX) for state in live)


def compared(rows: Sequence[dict[str, Any]], link: Callable[[Rule], str]) -> Iterator[str]:
    """Yield one table of all rules: state, time and accuracy of each, and its error from the rows of the conformance table."""
    yield "| rule | state | step | digits, % | rate | MNIST, % | rate | decades | error |"
    yield "|" + "---|" * 9
    for row in rows:
        rule = rules.get(row["name"])
        time = cost.of(rule)
        cells = [link(rule), str(state_bytes(rule)), f"{time['over_sgd']:.1f}" if time else "-"]
        for name in sensitivity.STEPS:
            own = sensitivity.facts(name, rule)
            cells += [f"{own.accuracy:.1f}", f"{own.lr:g}"] if own else ["-", "-"]
        cells += [f"{own.decades:.1f}" if own else "-", _error(max(row[k] for k in SOURCES if row[k] is not None))]
        yield f"| {' | '.join(cells)} |"
    yield UNDER.rstrip()


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Make the document from the rows of the conformance table."""
    lines = [HEAD, *compared(rows, lambda rule: f"[{rule.name}](#{rule.name})")]
    for row in rows:
        lines += ["", *_section(row)]
    return "\n".join(lines) + "\n"


def _error(x: float | None) -> str:
    return "" if x is None else "0" if x == 0 else f"{x:.0e}"


def _section(row: dict[str, Any]) -> list[str]:
    rule = rules.get(row["name"])
    card = describe(rule.name)
    twin = f", the numbers of `{card['twin']}`" if card["twin"] else ""
    lines = [f"## {rule.name}", "", card["idea"], ""]
    lines += [
        f"**Use it** {card['use']} **Avoid it** {card['avoid']}",
        "",
        f"`steepest.optim.{rule.class_name}`{twin}. {card['reference']}.",
        "",
    ]
    lines += ["```python", card["source"], "```", "", "$$", "\\begin{aligned}"]
    lines += [line.replace(" = ", " &= ", 1) + " \\\\" for line in equations(rule)] + ["\\end{aligned}", "$$", ""]
    origin = "torch" if rule.twin else rule.origin
    lines += [f"| hyperparameter | default (from {origin}) | domain |", "|---|---|---|"]
    lines += [f"| {h['name']} | {h['default']} | {h['domain']} |" for h in card["hyper"]]
    lines += ["", f"State: {state_bytes(rule)} bytes for each float32 parameter at the defaults."]
    lines += [f"- `{s['name']}` starts at {s['starts']}; in a checkpoint `{s['key']}`." for s in card["state"]]
    if rule.deviations:
        lines += ["", "Where it departs from the source:", ""] + [f"- {d}" for d in rule.deviations]
    return [*lines, "", *errors(row)]


def errors(row: dict[str, Any]) -> Iterator[str]:
    """Yield the errors of a rule, and how its author's class differs, a sentence each."""
    yield f"Largest errors: {', '.join(f'{k} {_error(row[k])}' for k in SOURCES if row[k] is not None)}."
    for a in row["authors"]:
        if a["differs"] and a["error"] is not None:
            yield f"`{a['package']}.{a['class']}` differs by {a['error']:.0e}: {a['differs']}."
