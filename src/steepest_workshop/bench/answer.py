"""What is picked after so many seconds, and how good it is: `compare`, Optuna's TPE and random search on one problem."""

from __future__ import annotations

import datetime
import importlib.util
import math
import os
import platform
import random
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

import steepest
from steepest import problems, rules, schedules
from steepest.errors import SteepestError
from steepest.problems.data import Examples
from steepest.problems.problem import Problem
from steepest.training import ways
from steepest.training.recorder import Outcome
from steepest.training.single import train
from steepest.training.stacked import Run

from .. import tables

Setting = tuple[str, str, float]  # optimizer, schedule, rate

OURS, TPE, RANDOM = "steepest compare", "Optuna's TPE", "random search"
SCHEDULES = ("constant", "cosine")
LOWEST, HIGHEST = 1e-5, 10.0  # rates of the two searches
WIDTH = 124  # of a line on the screen
TRUTH_SEEDS = range(3_000_000, 3_000_030)  # of every pick; no method trains on them
TRIAL_SEEDS = 10_000_000  # the first seed of the searches, a million for each repetition
TABLES = {"digits": "digits", "mnist-mlp": "mnist"}  # problem: the recorded table whose best is trained again beside the picks


@dataclass(frozen=True)
class Pick:
    """What a method picks after some seconds: `claim` is the value that it saw, `bound` how much better another may be.

    `took` are the seconds until it ended, `runs` those trained by then; no setting where there is nothing to pick yet, and
    `why` says so.
    """

    repetition: int
    seconds: float
    took: float
    runs: int
    setting: Setting | None
    claim: float | None = None
    bound: float | None = None
    why: str = ""


@dataclass
class Search:
    """A search under way, one run after the other in the careful loop, each on a seed of its own."""

    problem: Problem
    repetition: int
    began: float = field(default_factory=time.perf_counter)
    trials: list[tuple[float, float, Setting]] = field(default_factory=list)  # seconds at its end, value, setting

    def run(self, setting: Setting) -> float:
        """The validation metric of one run."""
        name, schedule, lr = setting
        seed = TRIAL_SEEDS + 1_000_000 * self.repetition + len(self.trials)
        course, steps = schedules.get(schedule), self.problem.steps or 0
        value = _value(train(self.problem, rules.get(name), lr=lr, steps=steps, seed=seed, schedule=course))
        self.trials.append((time.perf_counter() - self.began, value, setting))
        return value

    def pick(self, seconds: float) -> Pick:
        """The best of the runs that had ended by then."""
        ended = [trial for trial in self.trials if trial[0] <= seconds and math.isfinite(trial[1])]
        if not ended:
            return Pick(self.repetition, seconds, seconds, 0, None, why="no run had ended")
        sign = _sign(self.problem)
        _, value, setting = max(ended, key=lambda trial: sign * trial[1])  # the first of equals, as Optuna has it
        return Pick(self.repetition, seconds, seconds, len(ended), setting, value)


def _sign(problem: Problem) -> float:
    return 1.0 if problem.direction == "max" else -1.0


def _value(outcome: Outcome) -> float:
    """The metric at a run's end; one that diverged counts as it began."""
    if outcome.valid is not None:
        return outcome.valid
    start = outcome.curve.metric[0] if outcome.curve.metric else None
    return math.nan if start is None else start


def varied(problem: Problem, repetition: int) -> Problem:
    """The same problem with other initial weights and batches for every seed."""
    count = len(problem.train)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(repetition))
    changed: dict[str, Any] = {"name": f"{problem.name}, repetition {repetition}"}
    make = problem.model
    if not isinstance(make, nn.Module):

        def model() -> nn.Module:
            torch.rand(1000 * repetition)  # moves torch's generator on
            return make()

        changed["model"] = model
    if problem.shuffle and problem.train.in_memory:
        changed["train"] = Examples(tuple(t[order.to(t.device)] for t in problem.train.tensors), problem.train.names)
    return replace(problem, **changed)


def ours(problem: Problem, seconds: float, repetition: int) -> Pick:
    """The pick of `compare` with this budget, its mean in the race, and its bound."""
    problem = varied(problem, repetition)
    began = time.perf_counter()
    try:
        study = steepest.compare(problem, budget=seconds, store=":memory:")
    except SteepestError as error:
        return Pick(repetition, seconds, time.perf_counter() - began, 0, None, why=str(error))
    took, answer = time.perf_counter() - began, study.answer()
    runs = study.result.trained
    if answer.pick is None:
        return Pick(repetition, seconds, took, runs, None, why=answer.sentence)
    pick = answer.pick
    values = [v for outcome in pick.outcomes if (v := outcome.valid) is not None]
    setting = pick.candidate.rule.name, pick.candidate.schedule, pick.lr
    return Pick(repetition, seconds, took, runs, setting, float(np.mean(values)) if values else None, answer.bound)


def tpe(problem: Problem, seconds: float, repetition: int) -> Search:
    """Optuna's TPE with its default settings, for some seconds."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = Search(problem, repetition)

    def objective(trial: optuna.Trial) -> float:
        name = trial.suggest_categorical("optimizer", rules.CLASSICS)
        schedule = trial.suggest_categorical("schedule", SCHEDULES)
        return search.run((name, schedule, trial.suggest_float("lr", LOWEST, HIGHEST, log=True)))

    sampler = optuna.samplers.TPESampler(seed=repetition)
    study = optuna.create_study(direction="maximize" if problem.direction == "max" else "minimize", sampler=sampler)
    study.optimize(objective, timeout=seconds)
    return search


def by_chance(problem: Problem, seconds: float, repetition: int) -> Search:
    """Random search over the same space, for some seconds."""
    search, draw = Search(problem, repetition), random.Random(repetition)
    while time.perf_counter() - search.began < seconds:
        lr = math.exp(draw.uniform(math.log(LOWEST), math.log(HIGHEST)))
        search.run((draw.choice(rules.CLASSICS), draw.choice(SCHEDULES), lr))
    return search


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def truths(problem: Problem, settings: Sequence[Setting]) -> dict[Setting, np.ndarray]:
    """The validation metric of each setting on the seeds of the truth."""
    steps = problem.steps or 0
    runs = [Run(rules.get(o), lr, seed, steps, schedules.get(s)) for o, s, lr in settings for seed in TRUTH_SEEDS]
    values = np.full(len(runs), math.nan)
    for i, outcome in ways.train_all(problem, runs, ways.named("many:32")):
        values[i] = _value(outcome)
    return dict(zip(settings, values.reshape(len(settings), -1), strict=True))


def _recorded(name: str) -> list[Setting]:
    """The best of the recorded table of this problem, where there is one."""
    if name not in TABLES:
        return []
    table = tables.load(TABLES[name])
    merits = np.nan_to_num(table.sign * table.values.mean(1), nan=-math.inf)
    return [table.names[int(merits.argmax())]]


def measure(
    name: str = "digits",
    seconds: Sequence[float] = (10, 30, 60),
    repetitions: int = 3,
    steps: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The picks of the three methods after each of these times, and what they are worth on fresh seeds."""
    problem = problems.get(name)
    problem = replace(problem, steps=steps or problem.steps)
    there = importlib.util.find_spec("optuna") is not None
    if there:
        import optuna  # noqa: F401  before any clock starts
    picks: dict[str, list[Pick]] = {OURS: [], TPE: [], RANDOM: []}
    for repetition in range(repetitions):
        for limit in seconds:
            picks[OURS].append(ours(problem, limit, repetition))
            say(_line(OURS, picks[OURS][-1]))
        with _one_thread():
            for method, search in ((TPE, tpe), (RANDOM, by_chance)):
                if method == TPE and not there:
                    continue
                ended = search(problem, max(seconds), repetition)
                picks[method] += [ended.pick(limit) for limit in seconds]
                say(_line(method, picks[method][-1]))
    recorded = _recorded(name)
    settings = list(dict.fromkeys([*recorded, *(p.setting for some in picks.values() for p in some if p.setting)]))
    say(f"training {len(settings)} settings on {len(TRUTH_SEEDS)} fresh seeds")
    values = truths(problem, settings)
    sign = _sign(problem)
    best = max(settings, key=lambda setting: float(sign * values[setting].mean()), default=None)
    rows = []
    for method, some in picks.items():
        for limit in seconds:
            judged = [_judged(p, values, best, sign) for p in some if p.seconds == limit]
            missing = "" if judged else "Optuna is not installed: pip install optuna"
            rows.append({"method": method, "seconds": limit, "missing": missing, "picks": judged})
    return {
        "problem": problem.name,
        "steps": problem.steps,
        "metric": problem.metric_name,
        "unit": " points" if problem.in_points else "",
        "repetitions": repetitions,
        "truth_seeds": list(TRUTH_SEEDS),
        "best": {**_named(best), **_summary(values[best])} if best else None,
        "recorded": {**_named(recorded[0]), **_summary(values[recorded[0]])} if recorded else None,
        "rows": rows,
        "machine": _machine(there),
    }


def _named(setting: Setting) -> dict[str, Any]:
    return dict(zip(("optimizer", "schedule", "lr"), setting, strict=True))


def _summary(values: np.ndarray) -> dict[str, float]:
    return {"truth": float(values.mean()), "se": float(values.std(ddof=1) / math.sqrt(len(values)))}


def _judged(pick: Pick, values: dict[Setting, np.ndarray], best: Setting | None, sign: float) -> dict[str, Any]:
    """A pick as JSON has it: its truth, what it loses to the best known, and by how much its claim was too good."""
    row = {
        "repetition": pick.repetition,
        "took": pick.took,
        "runs": pick.runs,
        **_named(pick.setting or ("", "", 0.0)),
        "claim": pick.claim,
        "bound": pick.bound,
        "why": pick.why,
    }
    if pick.setting is None or best is None:
        return {**row, "truth": None, "se": None, "loss": None, "too_good": None, "bound_holds": None}
    own = _summary(values[pick.setting])
    loss = sign * (float(values[best].mean()) - own["truth"])
    too_good = None if pick.claim is None else sign * (pick.claim - own["truth"])
    return {**row, **own, "loss": loss, "too_good": too_good, "bound_holds": None if pick.bound is None else loss <= pick.bound}


def _machine(optuna: bool) -> str:
    """The machine and the versions, in a line."""
    names = ["torch", *(["optuna"] if optuna else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    day = datetime.date.today().isoformat()
    return f"{os.cpu_count()} processors ({platform.machine()}), Python {platform.python_version()}, {versions}, {day}"


def _words(optimizer: str, schedule: str, lr: float) -> str:
    if not optimizer:
        return "nothing"
    course = "" if schedule == "constant" else f"+{schedule}"
    return f"{optimizer}{course} {lr:.2g}"


def _line(method: str, pick: Pick) -> str:
    """A pick, as it is made."""
    what = _words(*pick.setting) if pick.setting else f"nothing ({pick.why})"
    return f"repetition {pick.repetition}: {method}, {pick.seconds:g} s, {pick.runs} runs: {what}"


HEAD = (
    f"{'method':<17}{'seconds':>8}{'took':>7}{'runs':>7}{'truth':>9}{'worst':>9}{'loss':>8}{'worst':>8}"
    f"{'claimed':>10}{'too good':>10}{'worst':>8}{'bound':>8}  bound holds"
)


def text(result: dict[str, Any]) -> str:
    """The result for the screen."""
    seeds, best = len(result["truth_seeds"]), result["best"]
    lines = [
        f"{result['problem']}, {result['steps']} steps a run, {result['repetitions']} repetitions; {result['metric']} on "
        f"validation data, truth: mean of {seeds} fresh seeds",
    ]
    for what, setting in (("best known", best), ("best of the recorded table", result["recorded"])):
        if setting:
            words = _words(setting["optimizer"], setting["schedule"], setting["lr"])
            lines.append(f"{what}: {words}, {setting['truth']:.5g} ± {setting['se']:.2g}")
    lines += ["", HEAD, *(_row(row) for row in result["rows"]), "", "picks"]
    for row in result["rows"]:
        named = ", ".join(_words(p["optimizer"], p["schedule"], p["lr"]) for p in row["picks"])
        lines += _wrapped(f"{row['method']:<17}{row['seconds']:>8g}  ", named) if named else []
    whys = dict.fromkeys(p["why"] for row in result["rows"] for p in row["picks"] if p["why"])
    return "\n".join([*lines, *(line for why in whys for line in _wrapped("nothing: ", why))])


def _wrapped(lead: str, words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead))


def _row(row: dict[str, Any]) -> str:
    """Means over the repetitions, and the worst."""
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
        f"{lead}{mean('took', '.1f'):>7}{mean('runs', '.0f'):>7}{mean('truth', '.5g'):>9}{lowest:>9}"
        f"{mean('loss', '.2f'):>8}{most('loss', '.2f'):>8}{mean('claim', '.5g'):>10}"
        f"{mean('too_good', '+.2f'):>10}{most('too_good', '+.2f'):>8}{mean('bound', '.2f'):>8}  {kept}"
    )


PAGE = """# The answer after so many seconds

What a user would do instead of `steepest compare`, measured: `{command}`

- **steepest compare**: `steepest.compare(problem, budget=...)` with an empty store, each budget a run of its own, on all
  processors. For each repetition the training examples stand in another order and every seed has other initial weights.
- **Optuna's TPE**: `TPESampler(seed=repetition)`, default settings, over the seven classics, constant or cosine, and rates from
  {lowest:g} to {highest:g} on a log scale; a trial is one run on a seed of its own, trained by steepest's loop for one run on
  one thread. One study for the longest time, and its best after each time.
- **random search**: the same space, loop and seeds.

Clocks start after imports.

- *truth*: the mean metric of the pick on {seeds} seeds that no method trained on.
- *loss*: what the best known has more: the best truth of all picks and of the best of the recorded table. The best of many
  means of {seeds} seeds is itself a little too good, for all methods alike.
- *claimed*: the best value that a search saw; of `compare` the mean of its pick in the race. *too good*: claimed minus truth.
- *bound*: how much better than the pick `compare` says another of those compared could be, with 95 %; it holds where the loss
  is no larger, though the best known need not be among those compared.

Each is the mean over the repetitions, beside it the worst; a pick that claims nothing is left out of what is
claimed (`compare`, where the time did not reach for a race). A run that diverged counts as it began.

```text
{table}
```

The machine: {machine}.
"""


def page(result: dict[str, Any], command: str) -> str:
    """The result as Markdown."""
    seeds = len(result["truth_seeds"])
    return PAGE.format(
        command=command, lowest=LOWEST, highest=HIGHEST, seeds=seeds, table=text(result), machine=result["machine"]
    )
