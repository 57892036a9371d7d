"""The options of a study, with their help, defaults and checks: shared by Python, the command line and the store."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import grammar, rules
from .checks import bytes_of, names_in, seconds_of, whole
from .errors import SteepestError, absolute, unknown
from .rules import CLASSICS, Rule
from .schedules import Schedule, shape
from .study.axes import LEVELS
from .study.rates import Rates, rates_of

if TYPE_CHECKING:
    from .problems.problem import Problem
    from .training.command import Command
    from .training.loop.definition import Loop

PROBLEM, STORE, REPORT = "digits", "steepest.db", "steepest-report.html"
SCHEDULES = ("constant", "cosine")  # by default
SEARCHES = LEVELS[1:]  # those at random
RATES, POINTS = 7, 32  # rates of a first grid, and points of each optimizer in a search without a budget
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

    problem: Problem | Loop | Command | str | None = None
    optimizers: Any = option(
        CLASSICS,
        "Names, separated by commas, or classes (torch.optim.NAdam, FILE.py:NAME); adamw(weight_decay=?) searches a setting. "
        "May be repeated.",
        text=[",".join(CLASSICS)],
        typed=list[str],
    )
    _: KW_ONLY
    schedules: Sequence[str | Schedule] | Schedule | str = option(
        SCHEDULES,
        "Names, separated by commas, optionally with arguments: 'step(size=30)'; 'warmup(?) * cosine' searches one.",
        text=",".join(SCHEDULES),
    )
    lrs: Rates = option(None, "auto; rates for all (0.1,0.01); or by name (sgd=0.1,adam=0.001).", text="auto")
    search: str | None = option(
        None,
        "rate: only learning rates; standard: with weight decay and warm-up; full: all settings, at random. "
        "Default: rates, then further settings of the leaders.",
    )
    trials: int | None = option(
        None,
        f"Rates in each optimizer's first grid, by default {RATES}; in a search, points of each, as many as fit.",
        typed=int,
    )
    batch_size: str | int | Sequence[int] | None = option(
        None,
        "Batch sizes to compare, such as 32,64: runs see as many examples, in more or fewer steps. Default: the problem's.",
    )
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
    command: str | None = option(
        None,
        "In place of a problem: a program to run, with {optimizer}, {lr}, {steps} and {seed} where their values go.",
        stored=False,
        metavar="'PROGRAM ...'",
    )
    metric: str | None = option(
        None, "With --command: a regular expression for the metric in its output; the last match counts.", stored=False
    )
    direction: str | None = option(None, "With --command: min or max.", stored=False)
    timeout: str | float | None = option(None, "With --command: the longest time of a run, such as 10min.", stored=False)
    unseeded: bool = option(
        False, "With --command: accept a program without {seed}.", flag="--unseeded", typed=bool, stored=False
    )
    workers: int | None = option(None, "Runs to train at the same time. Default: one for each core.", typed=int, stored=False)
    exact: bool = option(False, "Update by torch's operations, bit for bit as torch.optim does.", flag="--exact", typed=bool)
    plan: str = option("auto", "How to train: auto takes the fastest way, show prints it; one; many:N for N together.")
    memory: str | int | None = option(None, "Memory limit for runs trained together, such as 4GiB.")
    engine: str = option("local", "local, or ray: train on a Ray cluster.", commands=COMPARE, stored=False)
    address: str | None = option(
        None,
        "Address of the Ray cluster; auto for the one this machine is part of. Default: start one here.",
        commands=COMPARE,
        stored=False,
    )
    gpus_per_run: float = option(
        1.0, "GPUs for each run on a Ray cluster; may be a share of one.", typed=float, commands=COMPARE, stored=False
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
        object.__setattr__(self, "optimizers", tuple(_optimizers(self.optimizers)))
        object.__setattr__(self, "schedules", tuple(_names(self.schedules)))
        self._check_command()
        if self.problem is None and self.command is None:
            object.__setattr__(self, "problem", PROBLEM)
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
        for name in ("seeds", "trials", "steps", "workers"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name))

    def _check_words(self) -> None:
        """Check names and quantities, but not names from a user's file."""
        is_command = self.command is not None or hasattr(self.problem, "template")
        names = [] if is_command else [_checked(given) for given in self.optimizers]
        schedules: Any = self.schedules
        for schedule in schedules:
            shape.of(schedule)
        known = [name for name in names if name is not None]
        if len(known) == len(names):
            rates_of(self.lrs, known)
        _ = self.seconds, self.bytes, self.batch_sizes
        if self.search not in (None, *LEVELS):
            raise unknown("search", str(self.search), LEVELS)
        if self.search in SEARCHES and self.seeds is not None:
            raise SteepestError(f"A {self.search} search ends in a race, and seeds asks for none; leave one of them out.")
        if self.engine not in ("local", "ray"):
            raise SteepestError(f"The engine is {self.engine!r}; expected local or ray.")
        if self.address is not None and self.engine != "ray":
            raise SteepestError(f"The address {self.address!r} needs the engine ray; give --engine ray with it.")
        if not 0 < self.gpus_per_run < math.inf:
            raise SteepestError(f"gpus_per_run is {self.gpus_per_run!r}; expected a number above 0, such as 1 or 0.5.")
        if self.device not in ("cpu", "cuda"):
            raise SteepestError(f"The device is {self.device!r}; expected cpu or cuda.")

    def _check_command(self) -> None:
        """Check that a command has a metric, and that nothing else is asked of it."""
        asked = [name for name in ("metric", "direction", "timeout") if getattr(self, name) is not None]
        if self.command is None and (asked or self.unseeded):
            raise SteepestError(f"--{(asked or ['unseeded'])[0]} is for a command; give --command 'PROGRAM ...' with it.")
        if self.command is not None and self.problem is not None:
            raise SteepestError("A problem and a command were given; give one of them.")

    @property
    def trained(self) -> Any:
        """What is trained: the problem, or the command. SteepestError for a command without a metric."""
        if self.command is None:
            return self.problem
        from .training.command import Command

        if self.metric is None or self.direction is None:
            raise SteepestError(
                "A command needs --metric, a regular expression for the number in its output, and --direction min or max."
            )
        return Command(self.command, self.metric, self.direction, self.steps, self.timeout, self.unseeded)

    @property
    def seconds(self) -> float | None:
        """The budget in seconds, None for no limit."""
        if self.budget is None:
            return BUDGET if self.seeds is None else None
        return None if self.budget == math.inf else seconds_of(self.budget)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes to compare. SteepestError for one that is no whole number, or that is given twice."""
        given = self.batch_size
        if given is None:
            return ()
        sizes = names_in(given) if isinstance(given, str) else [given] if isinstance(given, int) else [*given]
        numbers = (int(size) if isinstance(size, str) and size.isdecimal() else size for size in sizes)
        read = tuple(whole("batch size", size) for size in numbers)
        if len({*read}) < len(read) or not read:
            raise SteepestError(f"The batch sizes are {given!r}; expected different whole numbers, such as 32,64.")
        return read

    @property
    def bytes(self) -> int | None:
        """The memory limit for runs trained together, None for what the machine has."""
        return None if self.memory is None else bytes_of(self.memory)

    def call(self, problem: str) -> str:
        """The Python call of `compare` on a problem with these options."""
        skipped = ("problem", "store", "go_on", "record", "command", "metric", "direction", "timeout", "unseeded")
        chosen = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self) if f.name not in skipped}
        values = {name: value for name, (value, default) in chosen.items() if str(value) != str(default)}
        values["budget"] = self.seconds if self.seeds is None else None
        asked = "".join(f", {name}={_typed(value)!r}" for name, value in values.items() if value is not None)
        return f"steepest.compare({problem!r}{asked})"


def _typed(value: Any) -> Any:
    """An option as one would type it: rules and schedules by name."""
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    if isinstance(value, type) or callable(value):
        return getattr(value, "name", None) or f"{value.__module__}:{getattr(value, '__qualname__', value)}"
    return value.name if isinstance(value, Rule | Schedule) else value


def taken(command: str) -> list[dataclasses.Field[Any]]:
    """The options that a command takes."""
    fields = dataclasses.fields(Options)
    return [field for field in fields if field.metadata and command in field.metadata.get("commands", BOTH)]


def stored() -> dict[str, Any]:
    """The options that a store records with a question, with their defaults on the command line."""
    fields = [field for field in dataclasses.fields(Options) if field.metadata.get("stored", bool(field.metadata))]
    defaults = {field.name: field.metadata.get("text", field.default) for field in fields}
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in defaults.items()}


def _names(names: Any) -> list[Any]:
    """Split names or a list into its items; anything else is a single item."""
    if isinstance(names, str):
        return names_in(names)
    return list(names) if isinstance(names, Iterable) else [names]


def _optimizers(given: Any) -> list[Any]:
    """Split optimizers into candidates: texts at their commas; a dict of parts and a pair with its settings are one each."""
    if isinstance(given, str):
        return grammar.split(given)
    is_pair = (
        isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping) and not isinstance(given[0], Mapping)
    )
    if isinstance(given, Mapping) or is_pair or not isinstance(given, Iterable):
        return [given]
    return [one for each in given for one in (grammar.split(each) if isinstance(each, str) else [each])]


def _checked(given: Any) -> str | None:
    """The name of an optimizer that can be checked without running a file or importing a library; None for any other.

    Raises SteepestError for a name that is unknown, or a setting that it does not have.
    """
    if isinstance(given, Rule):
        return given.name
    if not isinstance(given, str):
        return None
    one = grammar.candidate(given)
    if isinstance(one, grammar.Parts) or any(letter in one.name for letter in ":./"):
        return None
    rule = rules.get(one.name)
    fixed = {name: value for name, value in one.fixed.items() if name != "lr"}
    changed = rules.changed(rule, **fixed) if fixed else rule
    return None if one.searched or "lr" in one.fixed else changed.name
