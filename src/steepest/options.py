"""The options of a study, with their help, defaults and checks: shared by Python, the command line and the store."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import rules
from . import schedules as multipliers
from .checks import bytes_of, names_in, seconds_of, whole
from .errors import SteepestError, absolute
from .rules import CLASSICS, Rule
from .schedules import Schedule
from .study.rates import Rates, rates_of

if TYPE_CHECKING:
    from .problems.problem import Problem

PROBLEM, STORE, REPORT = "digits", "steepest.db", "steepest-report.html"
BUDGET = 60.0  # seconds of a race by default
BOTH, COMPARE = ("compare", "work"), ("compare",)  # the commands that take an option


def option(default: Any, words: str, **more: Any) -> Any:
    """A field of `Options`: `words` are its help on the command line.

    `typed` is its type there, str by default; `text` and `flag` are its default and name there, if they differ; `commands` are
    the commands that take it. An option that is not `stored` is not part of the question that a store records.
    """
    return dataclasses.field(default=default, metadata={"words": words, **more})


@dataclass(frozen=True)
class Options:
    """The options of a study. SteepestError for invalid values; Python files are not run to check them."""

    problem: Problem | str = PROBLEM
    optimizers: Sequence[str | Rule] | Rule | str = option(
        CLASSICS, "Names, separated by commas; adamw(weight_decay=?) searches a setting.", text=",".join(CLASSICS)
    )
    _: KW_ONLY
    schedules: Sequence[str | Schedule] | Schedule | str = option(
        ("constant", "cosine"),
        "Names, separated by commas, optionally with arguments: 'step(size=30)'.",
        text="constant,cosine",
    )
    lrs: Rates = option(None, "auto; rates for all (0.1,0.01); or by name (sgd=0.1,adam=0.001).", text="auto")
    trials: int = option(7, "Rates in each optimizer's first grid.", typed=int)
    seeds: int | None = option(
        None, "Instead of a race: this many confirming runs of each optimizer, all pairs compared.", typed=int
    )
    steps: int | None = option(None, "Steps of each run. Default: the problem's own.", typed=int)
    budget: str | float | None = option(None, "Time for the study, such as 5min. Default: 60s.", commands=COMPARE, stored=False)
    margin: float | None = option(
        None, "The difference that matters. Default: 0.5 points of accuracy, 1 % of a loss.", typed=float
    )
    measure: str = option("metric", "The measure that compares runs: the problem's metric, or one of `steepest list measures`.")
    store: str | Path = option(STORE, "The file for all runs.", metavar="FILE", stored=False)
    device: str = option("cpu", "cpu or cuda.")
    plan: str = option("auto", "How to train: auto takes the fastest way, show prints it; one; many:N for N together.")
    memory: str | int | None = option(None, "Memory limit for runs trained together, such as 4GiB.")
    engine: str = option("local", "local, or ray: train on a Ray cluster.", commands=COMPARE, stored=False)
    address: str | None = option(
        None,
        "Address of the Ray cluster; auto for the one this machine is part of. Default: start one here.",
        commands=COMPARE,
        stored=False,
    )
    go_on: bool = option(False, "Resume a race that has ended.", flag="--continue", typed=bool, commands=COMPARE, stored=False)
    record: bool = option(
        False,
        "Record the best two: loss landscape, updates and examples in the report.",
        flag="--record",
        typed=bool,
        commands=COMPARE,
        stored=False,
    )

    def __post_init__(self) -> None:
        for name in ("optimizers", "schedules"):
            object.__setattr__(self, name, tuple(_names(getattr(self, name))))
        object.__setattr__(self, "store", absolute(self.store))  # before user code runs
        self._check_sizes()
        self._check_words()

    def _check_sizes(self) -> None:
        if self.steps is not None and self.budget is not None and self.seeds is not None:
            raise SteepestError(
                "Seeds, steps and a budget were given; with seeds, a budget sets the steps: give either steps or a budget."
            )
        if self.margin is not None and not 0 <= self.margin < math.inf:
            raise SteepestError(f"The margin is {self.margin!r}; expected a finite number, 0 or more, in units of the metric.")
        for name in ("seeds", "trials", "steps"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name))

    def _check_words(self) -> None:
        """Check names and quantities, but not names from a user's file."""
        names: Any = self.optimizers
        named = [name for name in names if not isinstance(name, str) or (".py" not in name and "?" not in name)]
        chosen = [rules.get(name) for name in named]
        schedules: Any = self.schedules
        for schedule in schedules:
            multipliers.get(schedule)
        if len(named) == len(names):
            rates_of(self.lrs, [rule.name for rule in chosen])
        _ = self.seconds, self.bytes
        if self.engine not in ("local", "ray"):
            raise SteepestError(f"The engine is {self.engine!r}; expected local or ray.")
        if self.address is not None and self.engine != "ray":
            raise SteepestError(f"The address {self.address!r} needs the engine ray; give --engine ray with it.")
        if self.device not in ("cpu", "cuda"):
            raise SteepestError(f"The device is {self.device!r}; expected cpu or cuda.")

    @property
    def seconds(self) -> float | None:
        """The budget in seconds, None for no limit."""
        if self.budget is None:
            return BUDGET if self.seeds is None else None
        return None if self.budget == math.inf else seconds_of(self.budget)

    @property
    def bytes(self) -> int | None:
        """The memory limit for runs trained together, None for what the machine has."""
        return None if self.memory is None else bytes_of(self.memory)

    def command(self, problem: str) -> str:
        """The Python call of `compare` on a problem with these options."""
        skipped = ("problem", "store", "go_on", "record")
        chosen = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self) if f.name not in skipped}
        values = {name: value for name, (value, default) in chosen.items() if str(value) != str(default)}
        values["budget"] = self.seconds if self.seeds is None else None
        asked = "".join(f", {name}={_typed(value)!r}" for name, value in values.items() if value is not None)
        return f"steepest.compare({problem!r}{asked})"


def _typed(value: Any) -> Any:
    """An option as one would type it: rules and schedules by name."""
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    return value.name if isinstance(value, Rule | Schedule) else value


def taken(command: str) -> list[dataclasses.Field[Any]]:
    """The options that a command takes."""
    fields = dataclasses.fields(Options)
    return [field for field in fields if field.metadata and command in field.metadata.get("commands", BOTH)]


def stored() -> dict[str, Any]:
    """The options that a store records with a question, with their defaults on the command line."""
    fields = [field for field in dataclasses.fields(Options) if field.metadata.get("stored", bool(field.metadata))]
    return {field.name: field.metadata.get("text", field.default) for field in fields}


def _names(names: Any) -> list[Any]:
    """Split names or a list into its items; anything else is a single item."""
    if isinstance(names, str):
        return names_in(names)
    return list(names) if isinstance(names, Iterable) else [names]
