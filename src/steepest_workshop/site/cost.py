"""What a step of each rule costs: beside plain SGD's, the speed of memory and torch's own, on ResNet-50's parameters; kept.

`python -m steepest_workshop.site.cost` measures what is not kept, five minutes on two cores that do nothing else.
"""

from __future__ import annotations

from typing import Any

from steepest.rules import RULES, Rule

from ..bench import step
from ..lessons import kept

FILE, SHAPES, ROUNDS = "step", "resnet50", 7


def made_by(rule: Rule) -> str:
    """The digest of what is timed."""
    return kept.digest(rule.digest, SHAPES, ROUNDS)


def record() -> None:
    """Time all rules in one run, if any is not kept: ratios are of the same hour of the same machine."""
    if all(of(rule) for rule in RULES.values()):
        return
    found = step.measure(list(RULES), SHAPES, ROUNDS, progress=print)
    plain = next(row["ms"] for row in found["rules"] if row["name"] == "sgd")
    for row in found["rules"]:
        told = {name: row[name] for name in ("ms", "of_memory", "over_default", "over_fused")} | {
            "over_sgd": row["ms"] / plain,
            "threads": found["threads"],
        }
        kept.keep(FILE, {row["name"]: (made_by(RULES[row["name"]]), told)})


def of(rule: Rule) -> dict[str, Any] | None:
    """What was timed of a rule: ms, times of SGD's step, share of memory's speed, and of torch's ways over ours."""
    found: dict[str, Any] | None = kept.value(FILE, rule.name, made_by(rule))
    return found


if __name__ == "__main__":
    record()
