"""The recorded time of a step of each rule on ResNet-50's parameters, relative to plain SGD, memory speed and torch.

`python -m steepest_workshop.site.cost` measures missing rules: five minutes on two otherwise idle cores.
"""

from __future__ import annotations

from typing import Any

from steepest.rules import RULES, Rule

from ..bench import step
from ..lessons import kept

FILE, SHAPES, ROUNDS = "step", "resnet50", 7


def made_by(rule: Rule) -> str:
    """The digest that identifies a measurement: the rule, the shapes, the rounds."""
    return kept.digest(rule.digest, SHAPES, ROUNDS)


def record() -> None:
    """If a rule has no recorded time, measure all rules in one run, so that ratios are from one session and machine."""
    if all(of(rule) for rule in RULES.values()):
        return
    found = step.measure(list(RULES), SHAPES, ROUNDS, progress=print)
    plain = next(row["ms"] for row in found["rules"] if row["name"] == "sgd")
    for row in found["rules"]:
        figures = {name: row[name] for name in ("ms", "of_memory", "over_default", "over_fused")} | {
            "over_sgd": row["ms"] / plain,
            "threads": found["threads"],
        }
        kept.keep(FILE, {row["name"]: (made_by(RULES[row["name"]]), figures)})


def of(rule: Rule) -> dict[str, Any] | None:
    """The recorded times of a rule: ms, and ratios to SGD, to memory speed, and of torch's implementations; None if missing."""
    found: dict[str, Any] | None = kept.value(FILE, rule.name, made_by(rule))
    return found


if __name__ == "__main__":
    record()
