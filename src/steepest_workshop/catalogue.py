"""docs/optimizers.md: every rule as it is written, as equations, with what it takes, keeps and how exact it is."""

from __future__ import annotations

from typing import Any

from steepest import rules
from steepest.report.rule.card import describe
from steepest.report.rule.latex import equations
from steepest.rules import Rule
from steepest.rules.definition import MATRIX

HEAD = """# Optimizers

Every rule of steepest, made by `steepest conformance`. Errors are the largest relative ones of 50 steps in float64: against
a NumPy oracle written from the paper, the author's package, and torch.
"""


def state_bytes(rule: Rule) -> int:
    """Bytes of state for each float32 parameter at the defaults; rows, columns and single numbers count nothing."""
    live = rule.live_state(rule.of(rule.settings(), 2)).values()
    return 4 * sum(not (state.is_scalar or state.shape) for state in live)


def page(rows: list[dict[str, Any]]) -> str:
    """The whole document, from the rows of the conformance table."""
    lines = [HEAD, "| rule | class | paper | author | torch | bytes of state |", "|---|---|---|---|---|---|"]
    for row in rows:
        rule = rules.get(row["name"])
        errors = " | ".join(_error(row[k]) for k in ("paper", "author", "torch"))
        lines.append(f"| [{rule.name}](#{rule.name}) | `{rule.class_name}` | {errors} | {state_bytes(rule)} |")
    for row in rows:
        lines += ["", *_section(row)]
    return "\n".join(lines) + "\n"


def _error(x: float | None) -> str:
    return "" if x is None else "0" if x == 0 else f"{x:.0e}"


def _section(row: dict[str, Any]) -> list[str]:
    rule = rules.get(row["name"])
    card = describe(rule.name)
    twin = f", the numbers of `{card['twin']}`" if card["twin"] else ""
    lines = [f"## {rule.name}", "", f"`steepest.optim.{rule.class_name}`{twin}. {card['reference']}.", ""]
    lines += ["```python", card["source"], "```", "", "$$", "\\begin{aligned}"]
    lines += [line.replace(" = ", " &= ", 1) + " \\\\" for line in equations(rule)] + ["\\end{aligned}", "$$", ""]
    origin = "torch" if rule.twin else rule.origin
    lines += [f"| hyperparameter | default (from {origin}) | domain |", "|---|---|---|"]
    lines += [f"| {h['name']} | {h['default']} | {h['domain']} |" for h in card["hyper"] if h["name"] != MATRIX]
    lines += ["", f"State: {state_bytes(rule)} bytes for each float32 parameter at the defaults."]
    lines += [f"- `{s['name']}` starts at {s['starts']}; in a checkpoint `{s['key']}`." for s in card["state"]]
    if rule.deviations:
        lines += ["", "Where it departs from the source:", ""] + [f"- {d}" for d in rule.deviations]
    errors_of = [f"{k} {_error(row[k])}" for k in ("paper", "author", "torch") if row[k] is not None]
    lines += ["", f"Largest errors: {', '.join(errors_of)}."]
    for a in row["authors"]:
        if a["differs"] and a["error"] is not None:
            lines.append(f"`{a['package']}.{a['class']}` differs by {a['error']:.0e}: {a['differs']}.")
    return lines
