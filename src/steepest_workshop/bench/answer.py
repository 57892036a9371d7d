"""Compare the picks of `compare`, Optuna's TPE and random search after some seconds, on a table of recorded runs.

Every method reads runs from the table at the speed at which this machine would train them; a simulated minute takes a second.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.util
import math
import os
import platform
import random
import statistics
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from steepest import rules
from steepest.errors import SteepestError, unknown
from steepest.problems.problem import Problem
from steepest.study.budget import Clock
from steepest.study.conclude import conclude
from steepest.study.statistics import mean_se
from steepest.study.table import question, replay
from steepest.training import ways
from steepest.training.stacked import Run
from steepest.training.timing import one_thread

from .. import tables
from ..tables import Recorded

Setting = tuple[str, str, float]  # optimizer, schedule, rate

OURS, TPE, RANDOM = "steepest compare", "Optuna's TPE", "random search"
WIDTH = 124  # of a line on the terminal
TABLES = {"digits": "digits", "mnist-mlp": "mnist", "diabetes": "diabetes"}  # recorded table of each problem
TIMED = 64  # runs that are timed


@dataclass(frozen=True)
class Pick:
    """A method's pick after some seconds: `claim` is its observed value, `bound` how much better another setting may be.

    `setting` is None if there is no pick yet, and `why` gives the reason.
    """

    repetition: int
    seconds: float
    runs: int
    setting: Setting | None
    claim: float | None = None
    bound: float | None = None
    why: str = ""


@dataclass
class Search:
    """A sequential search; each run takes its value from a random column of the table."""

    recorded: Recorded
    repetition: int
    seconds: float  # per run
    trials: list[tuple[float, float, Setting]] = field(default_factory=list)  # end in seconds, value, setting

    def __post_init__(self) -> None:
        self.draw = random.Random(self.repetition)
        self.spaces = {
            (s.name, s.schedule): [lr for label, lr in self.recorded.table.rows if label == s.label] for s in self.all
        }

    @property
    def all(self) -> Any:
        """The search spaces of the table."""
        return self.recorded.table.spaces

    @property
    def now(self) -> float:
        """Simulated seconds since the start of the search."""
        return self.seconds * len(self.trials)

    def run(self, optimizer: str, schedule: str, lr: float) -> float:
        """The value of one run at the nearest recorded rate; a diverged run counts as the worst recorded value."""
        near = min(self.spaces[optimizer, schedule], key=lambda own: abs(math.log(own / lr)))
        row = self.recorded.names.index((optimizer, schedule, near))
        value = self.recorded.values[row, self.draw.randrange(self.recorded.values.shape[1])]
        if math.isnan(value):
            value = self.recorded.sign * float(np.nanmin(self.recorded.sign * self.recorded.values))
        self.trials.append((self.now + self.seconds, float(value), (optimizer, schedule, near)))
        return float(value)

    def pick(self, seconds: float) -> Pick:
        """The best of the runs that ended within this time."""
        ended = [trial for trial in self.trials if trial[0] <= seconds]
        if not ended:
            return Pick(self.repetition, seconds, 0, None, why="no run had ended")
        _, value, setting = max(ended, key=lambda trial: self.recorded.sign * trial[1])  # the first of equals, as in Optuna
        return Pick(self.repetition, seconds, len(ended), setting, value)


def ours(recorded: Recorded, seconds: float, repetition: int, run: float) -> Pick:
    """The pick of `compare` within this budget, with its mean and bound; each repetition permutes the columns (seeds)."""
    count = recorded.values.shape[1]
    columns: Any = np.random.default_rng((repetition, 7)).permutation(count)
    asked = question(recorded.table, recorded.scale, budget=seconds, typed_optimizers=False)
    clock = Clock(reads_only=True, chunked=True)
    try:
        course = replay(asked, recorded.table.drawn(columns), clock=clock, seconds=run)
    except SteepestError as error:
        return Pick(repetition, seconds, 0, None, why=str(error))
    found, pick = conclude(course), course.pick
    if pick is None:
        return Pick(repetition, seconds, course.ran, None, why=found.sentence)
    values = [o.valid for o in pick.outcomes if o.valid is not None]
    setting = pick.candidate.space.name, pick.candidate.schedule, pick.lr
    return Pick(repetition, seconds, course.ran, setting, float(np.mean(values)) if values else None, found.bound)


def tpe(search: Search, seconds: float) -> None:
    """Run Optuna's TPE with default settings for this simulated time."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optimizers, schedules = (sorted({names[i] for names in search.spaces}) for i in (0, 1))
    rates = [lr for own in search.spaces.values() for lr in own]

    def objective(trial: optuna.Trial) -> float:
        name = trial.suggest_categorical("optimizer", optimizers)
        schedule = trial.suggest_categorical("schedule", schedules)
        return search.run(name, schedule, trial.suggest_float("lr", min(rates), max(rates), log=True))

    sampler = optuna.samplers.TPESampler(seed=search.repetition)
    study = optuna.create_study(direction="maximize" if search.recorded.sign > 0 else "minimize", sampler=sampler)
    study.optimize(objective, n_trials=int(seconds / search.seconds))


def by_chance(search: Search, seconds: float) -> None:
    """Run random search over the recorded settings for this simulated time."""
    draw = random.Random(search.repetition)
    while search.now + search.seconds <= seconds:
        (optimizer, schedule), rates = draw.choice([*search.spaces.items()])
        search.run(optimizer, schedule, draw.choice(rates))


def paces(problem: Problem) -> tuple[float, float]:
    """Seconds per run on this machine: trained together with others, as in `compare`, and alone on one thread."""
    rule = rules.get("adam")
    runs = [Run(rule, 0.003, seed, problem.steps or 0) for seed in range(TIMED)]
    began = time.perf_counter()
    for _ in ways.train_all(problem, runs, ways.choose(problem, runs)):
        pass
    beside = (time.perf_counter() - began) / len(runs)
    with one_thread():
        taken = []
        for run in runs[:5]:
            began = time.perf_counter()
            for _ in ways.train_all(problem, [run], ways.named("one")):
                pass
            taken.append(time.perf_counter() - began)
    return beside, statistics.median(taken)


def measure(
    name: str = "digits",
    seconds: Sequence[float] = (10, 30, 60),
    repetitions: int = 20,
    pace: tuple[float, float] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the three methods for each of these times and evaluate their picks by their means over all recorded seeds."""
    if name not in TABLES:
        raise unknown("problem with a recorded table", name, TABLES)
    recorded = tables.load(TABLES[name])
    problem, steps = tables.RECORDED[TABLES[name]][0](), tables.RECORDED[TABLES[name]][1]
    together, alone = pace or paces(dataclasses.replace(problem, steps=steps))
    there = importlib.util.find_spec("optuna") is not None
    picks: dict[str, list[Pick]] = {OURS: [], TPE: [], RANDOM: []}
    for repetition in range(repetitions):
        picks[OURS] += [ours(recorded, limit, repetition, together) for limit in seconds]
        for method, searching in ((TPE, tpe), (RANDOM, by_chance)):
            if method == RANDOM or there:
                search = Search(recorded, repetition, alone)
                searching(search, max(seconds))
                picks[method] += [search.pick(limit) for limit in seconds]
        say(f"repetition {repetition + 1} of {repetitions}")
    means = _truths(recorded)
    best = max(means, key=lambda setting: recorded.sign * means[setting][0])
    rows = []
    for method, some in picks.items():
        missing = "" if some else "Optuna is not installed: pip install optuna"
        for limit in seconds:
            judged = [_judged(p, means, best, recorded.sign) for p in some if p.seconds == limit]
            rows.append({"method": method, "seconds": limit, "missing": missing, "picks": judged})
    return {
        "problem": problem.name,
        "steps": steps,
        "metric": problem.metric_name,
        "unit": " points" if problem.in_points else "",
        "repetitions": repetitions,
        "columns": recorded.values.shape[1],
        "run_seconds": {"beside others": together, "alone": alone},
        "best": {**_named(best), "truth": means[best][0], "se": means[best][1]},
        "rows": rows,
        "machine": _machine(there),
    }


def _truths(recorded: Recorded) -> dict[Setting, tuple[float, float]]:
    """Each setting's mean over all columns and its standard error; a diverged run counts as the worst recorded value."""
    worst = recorded.sign * float(np.nanmin(recorded.sign * recorded.values))
    mean, se, _ = mean_se(np.where(np.isnan(recorded.values), worst, recorded.values))
    return {name: (float(m), float(s)) for name, m, s in zip(recorded.names, mean, se, strict=True)}


def _named(setting: Setting) -> dict[str, Any]:
    return dict(zip(("optimizer", "schedule", "lr"), setting, strict=True))


def _judged(pick: Pick, means: dict[Setting, tuple[float, float]], best: Setting, sign: float) -> dict[str, Any]:
    """A pick for JSON: its true mean, its loss to the best setting, and by how much its claim was too good."""
    row = {
        "repetition": pick.repetition,
        "runs": pick.runs,
        **_named(pick.setting or ("", "", 0.0)),
        "claim": pick.claim,
        "bound": pick.bound,
        "why": pick.why,
    }
    if pick.setting is None:
        return {**row, "truth": None, "loss": None, "too_good": None, "bound_holds": None}
    truth = means[pick.setting][0]
    loss = sign * (means[best][0] - truth)
    too_good = None if pick.claim is None else sign * (pick.claim - truth)
    holds = None if pick.bound is None else loss <= pick.bound
    return {**row, "truth": truth, "loss": loss, "too_good": too_good, "bound_holds": holds}


def _machine(optuna: bool) -> str:
    """One line with the processor, the versions and the date."""
    names = ["torch", *(["optuna"] if optuna else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    day = datetime.date.today().isoformat()
    return f"{os.cpu_count()} processors ({platform.machine()}), Python {platform.python_version()}, {versions}, {day}"


def _words(optimizer: str, schedule: str, lr: float) -> str:
    if not optimizer:
        return "nothing"
    course = "" if schedule == "constant" else f"+{schedule}"
    return f"{optimizer}{course} {lr:.2g}"


HEAD = (
    f"{'method':<17}{'seconds':>8}{'runs':>7}{'truth':>9}{'worst':>9}{'loss':>8}{'worst':>8}"
    f"{'claimed':>10}{'too good':>10}{'worst':>8}{'bound':>8}  bound holds"
)


def text(result: dict[str, Any]) -> str:
    """Format the result for the terminal."""
    best, pace = result["best"], result["run_seconds"]
    words = _words(best["optimizer"], best["schedule"], best["lr"])
    lines = [
        f"{result['problem']}, {result['steps']} steps a run, {result['repetitions']} repetitions on a table of "
        f"{result['columns']} runs of each setting; {result['metric']} on validation data",
        f"a run takes {pace['beside others']:.2g} s as compare trains it, {pace['alone']:.2g} s alone",
        f"best: {words}, {best['truth']:.5g} ± {best['se']:.2g}",
        "",
        HEAD,
        *(_row(row) for row in result["rows"]),
        "",
        "picks",
    ]
    for row in result["rows"]:
        named = [_words(p["optimizer"], p["schedule"], p["lr"]) for p in row["picks"]]
        counts = sorted(((named.count(name), name) for name in set(named)), key=lambda pair: (-pair[0], pair[1]))
        shown = ", ".join(f"{name} ({count})" for count, name in counts[:6])
        lines += _wrapped(f"{row['method']:<17}{row['seconds']:>8g}  ", shown) if shown else []
    whys = dict.fromkeys(p["why"] for row in result["rows"] for p in row["picks"] if p["why"])
    return "\n".join([*lines, *(line for why in whys for line in _wrapped("nothing: ", why))])


def _wrapped(lead: str, words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead))


def _row(row: dict[str, Any]) -> str:
    """Format a row: means over the repetitions, and the worst."""
    lead = f"{row['method']:<17}{row['seconds']:>8g}"
    if row["missing"]:
        return f"{lead}  {row['missing']}"

    def all_of(key: str) -> list[float]:
        return [p[key] for p in row["picks"] if p[key] is not None]

    def mean(key: str, form: str) -> str:
        values = all_of(key)
        return format(float(np.mean(values)), form) if values else "-"

    def most(key: str, form: str) -> str:
        return format(max(all_of(key)), form) if all_of(key) else "-"

    worst = max((p for p in row["picks"] if p["loss"] is not None), key=lambda p: p["loss"], default=None)
    lowest = format(worst["truth"], ".5g") if worst else "-"
    holds = all_of("bound_holds")
    kept = f"{sum(map(bool, holds))} of {len(holds)}" if holds else "none said"
    return (
        f"{lead}{mean('runs', '.0f'):>7}{mean('truth', '.5g'):>9}{lowest:>9}"
        f"{mean('loss', '.2f'):>8}{most('loss', '.2f'):>8}{mean('claim', '.5g'):>10}"
        f"{mean('too_good', '+.2f'):>10}{most('too_good', '+.2f'):>8}{mean('bound', '.2f'):>8}  {kept}"
    )


PAGE = """# The answer after so many seconds

`steepest compare` against the searches that a user could run instead: `{command}`

Nothing is trained here except a few runs for timing. Every method reads recorded runs, 100 seeds of each setting, at the speed
of this machine: runs of `compare` are trained together, runs of a search one after the other on one thread. `compare` runs the
product's protocol with this budget.

- **steepest compare**: screening, race and clock as in the product; each repetition uses different seeds of the table.
- **Optuna's TPE**: `TPESampler(seed=repetition)`, default settings, over the optimizers, schedules and rates of the table; a
  trial is one run on a random seed at the nearest recorded rate.
- **random search**: random settings of the table.

The columns:

- *truth*: the mean metric of the pick over all recorded seeds.
- *loss*: how much better the best setting of the table is.
- *claimed*: the best value that a search observed; for `compare`, the mean of its pick in the race. *too good*: claimed minus
  truth.
- *bound*: by how much another compared candidate could be better than the pick of `compare`, with 95 % confidence; it holds if
  the loss is not larger, although the best setting may not be among the compared candidates.

Values are means over the repetitions, with the worst next to them; picks without a claim are excluded from the claims
(`compare`, if there was no time for a race). A diverged run counts as the worst value of the table.

```text
{table}
```

The machine: {machine}.
"""


def page(result: dict[str, Any], command: str) -> str:
    """Format the result as a Markdown page."""
    return PAGE.format(command=command, table=text(result), machine=result["machine"])
