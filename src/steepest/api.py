"""What `import steepest` offers: `compare`, the `Study` it returns, and the `Choice` to go on with."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from . import problems
from . import schedules as multipliers
from .checks import bytes_of, names_in, seconds_of, whole
from .errors import SteepestError, absolute, place
from .prints import Once, Silence
from .problems.problem import Problem
from .report.study import file, summary, terminal
from .report.study.shown import shown
from .rules import Rule
from .schedules import Schedule
from .studies import defaults
from .studies import design as designs
from .studies.answers import Answer
from .studies.design import Design
from .studies.inspection import copied, merge
from .studies.race import Race
from .studies.rates import Rates, rates_of
from .studies.results import Entry, Result
from .studies.running import ShareDoneError
from .studies.store import Store
from .studies.verdicts import Verdict
from .training import ways
from .update.torch_class.optimizer import RuleOptimizer, build

if TYPE_CHECKING:
    import pandas

    from .paths.descent import Descent
    from .report.study.gallery import Figures
    from .surfaces import Surface


class Choice:
    """The first of a study: an optimizer at its best rate.

    >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
    >>> study.best().name in ("sgd", "adam")
    True
    """

    def __init__(self, entry: Entry, steps: int) -> None:
        self._entry, self._steps = entry, steps
        self.name, self.schedule, self.lr = entry.candidate.rule.name, entry.candidate.schedule, entry.rate

    def optimizer(self, params: Iterable[Any]) -> RuleOptimizer:
        """The optimizer on these parameters, as a `torch.optim.Optimizer`.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> import torch
        >>> study.best().optimizer(torch.nn.Linear(2, 1).parameters()).param_groups[0]["lr"] == study.best().lr
        True
        """
        return build(self._entry.candidate.rule, params, lr=self.lr)

    def code(self) -> str:
        """The same as lines of Python to paste.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> "model.parameters(), lr=" in study.best().code()
        True
        """
        return summary.code(self._entry, self._steps)

    def __repr__(self) -> str:
        return f"<Choice {self.name}, lr={self.lr:g}, {self.schedule}>"


class Study:
    """A comparison that ended.

    >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
    >>> len(study.verdicts()), study.best().lr
    (6, 0.1)
    """

    def __init__(self, result: Result, command: str) -> None:
        self.result, self.shown = result, shown(result, command)
        self.store = ""  # the file that keeps its runs

    def answer(self) -> Answer:
        """What to pick, and how far behind the best it could be; `str(answer)` are sentences.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.answer().sentence.startswith("Use ")
        True
        """
        assert self.result.answer is not None
        return self.result.answer

    def table(self) -> pandas.DataFrame:
        """One row for each optimizer, best first: schedule, lr, mean, se, n, diverged, seconds_per_step, state_bytes.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.table().columns.tolist()
        ['schedule', 'lr', 'mean', 'se', 'n', 'diverged', 'seconds_per_step', 'state_bytes']
        """
        return summary.table(self.result)

    def verdicts(self) -> list[Verdict]:
        """A verdict on every pair; `str(verdict)` is a sentence.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.verdicts()[0].verdict
        'undecided'
        """
        return list(self.result.verdicts)

    def best(self) -> Choice:
        """The optimizer that the answer picks; SteepestError where it picks none.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.best()
        <Choice ...>
        """
        if self.answer().pick is None:
            raise SteepestError(self.answer().sentence)
        return Choice(self.result.chosen, self.result.design.steps)

    def report(self, path: str | Path) -> Path:
        """Write the HTML report, or leave alone a file that is it already; SteepestError where the folder does not exist.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.report("report.html").exists()
        True
        """
        return file.write([self.shown], path)

    @property
    def figures(self) -> Figures:
        """Matplotlib figures: `.regret()`, `.ranking()`, `.race()`, `.sensitivity()`, `.curves()`, `.schedules()`, `.cost()`.

        >>> study = compare("digits", "sgd,adam", lrs=0.02, seeds=5, steps=60, store=":memory:")
        >>> [*study.figures]
        ['regret', 'ranking', 'curves', 'schedules', 'cost']
        >>> study.figures.regret()
        <Figure ...>
        """
        from .report.study.gallery import Figures

        return Figures(self.shown, self.record)

    def record(self) -> None:
        """Train the first two once more and watch them from inside, for `figures.insides()`, `.landscape()` and the report.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=5, steps=20, store=":memory:")
        >>> study.record()
        >>> study.figures.landscape()
        <Figure ...>
        """
        from .studies.recording import record

        if "recorded" not in self.shown:
            with Silence():
                self.shown["recorded"] = record(self.result)

    def to_dict(self) -> dict[str, Any]:
        """What `steepest compare --json` writes.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.to_dict()["optimizers"][0]["seeds"]
        [0, 1]
        """
        return summary.as_dict(self.result)

    def _repr_html_(self) -> str:
        """The answer, the code and how far behind each could be, as a notebook shows them; it needs no script."""
        from .report.study import page  # with matplotlib, which takes a while to import

        return page.section(self.shown)

    def __str__(self) -> str:
        console = Console(width=160, no_color=True, force_terminal=False, highlight=False)
        with console.capture() as capture:
            terminal.show(self.result, console)
        return capture.get()


@dataclasses.dataclass(frozen=True)
class Share:
    """A share that is trained: the store that keeps it, its runs, and those that are left for other shares."""

    store: str
    trained: int
    left: int


def compare(
    problem: Problem | str = defaults.PROBLEM,
    optimizers: Sequence[str | Rule] | Rule | str = defaults.OPTIMIZERS,
    *,
    schedules: Sequence[str | Schedule] | Schedule | str = defaults.SCHEDULES,
    lrs: Rates = None,
    trials: int = defaults.TRIALS,
    seeds: int | None = None,
    steps: int | None = None,
    budget: str | float | None = None,
    margin: float | None = None,
    store: str | Path = defaults.STORE,
    device: str = "cpu",
    plan: str = "auto",
    memory: str | int | None = None,
    engine: str = "local",
    address: str | None = None,
    go_on: bool = False,
    record: bool = False,
    command: str | None = None,
    began: float | None = None,
) -> Study:
    """Which optimizer, rate and schedule does this problem need, and how sure is that?

    problem: a `Problem`, a built-in one's name, or the path of a Python file that defines `problem`.
    optimizers, schedules: names, rules or schedules; every optimizer runs under every schedule, at equal work. A schedule may
        have arguments: "step(size=30)", "warmup(0.1) * cosine".
    lrs: None or "auto" to search a log grid; rates for all, or {name: rate or rates}. One rate is taken as given.
    trials: rates in each grid at first. steps: of each run (default: the problem's own).
    budget: time for the study, such as "60s", the default, or "5min", or seconds; float("inf") for none. seeds: in place of a
        race, this many confirming runs of each, all pairs compared; a budget then sets the steps. go_on: race on where a race
        had ended.
    margin: the difference that matters, in units of the metric (default 0.5 points of accuracy, 1 % of a loss).
    plan: how runs are trained: "auto" takes the fastest way here that agrees with runs trained one by one; "one", or "many:N"
        for N at once. memory: what those at once may take, such as "4GiB".
    engine: "local", or "ray" to train on the Ray cluster at `address` ("auto" for the one this machine is part of; None begins
        one here).
    store: the SQLite file that keeps every run; ":memory:" keeps nothing. record: `Study.record` at the end, for the report.

    What your code prints appears once, as the problem is checked, and not again in its runs.

    The protocol is in docs/protocol.md. SteepestError for what cannot be done.

    >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
    >>> print(study.best().code())
    import steepest
    ...
    >>> study.table().shape
    (4, 8)
    """
    began = time.perf_counter() if began is None else began
    kept = absolute(store)  # before code of the user's runs
    more: dict[str, Any] = {"device": device, "plan": plan, "memory": memory, "engine": engine, "address": address}
    sizes = {"trials": trials, "seeds": seeds, "steps": steps}
    asked = {"schedules": schedules, "lrs": lrs, "budget": budget, "margin": margin, **sizes, **more}
    printed = Once()
    with printed:
        design, seconds, given = _designed(problem, optimizers, **asked)
    with Store(kept) as opened, terminal.Bar(Console(stderr=True)) as bar:
        with printed:
            race = Race(design, opened, bar, seconds, began, go_on)
        with Silence():
            result = race.run()
        study = Study(result, command or f"steepest.compare({design.problem.name!r}{given})")
        if record:
            bar.say("watching the first two from inside")
            study.record()
        opened.keep_study(study.shown)
        study.store = opened.path
    return study


def _designed(
    problem: Problem | str,
    optimizers: Sequence[str | Rule] | Rule | str,
    *,
    schedules: Sequence[str | Schedule] | Schedule | str = defaults.SCHEDULES,
    lrs: Rates = None,
    trials: int = defaults.TRIALS,
    seeds: int | None = None,
    steps: int | None = None,
    budget: str | float | None = None,
    margin: float | None = None,
    device: str = "cpu",
    plan: str = "auto",
    memory: str | int | None = None,
    engine: str = "local",
    address: str | None = None,
) -> tuple[Design, float | None, str]:
    """The design of what `compare` was asked, its seconds, and what of it is not by default, as arguments in Python."""
    if steps is not None and budget is not None and seeds is not None:
        raise SteepestError(
            "Seeds, steps and a budget were given; at equal seeds a budget sets the steps: give one of the two."
        )
    if margin is not None and not 0 <= margin < float("inf"):
        raise SteepestError(f"The margin is {margin!r}; expected a finite number, 0 or more, in units of the metric.")
    budget = defaults.BUDGET if budget is None and seeds is None else budget
    seconds = None if budget in (None, math.inf) else seconds_of(budget)
    if seeds is not None:
        whole("seeds", seeds)
    whole("trials", trials)
    if steps is not None:
        whole("steps", steps)
    names = _names(optimizers)
    typed = names != list(defaults.OPTIMIZERS)
    candidates = designs.candidates(names, _names(schedules), lrs)
    _check_device(device)
    if isinstance(problem, str):
        problem = problems.get(problem)
    if not isinstance(problem, Problem):
        raise SteepestError(f"The problem is a {type(problem).__name__}; expected a steepest.Problem, a name or a file.")
    assert problem.steps is not None
    given = {"lrs": lrs, "seeds": seeds, "steps": steps, "budget": seconds if seeds is None else None, "margin": margin}
    asked = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
    if plan not in ("auto", "show"):
        ways.named(plan)
    memory_bound = None if memory is None else bytes_of(memory)
    if engine not in ("local", "ray"):
        raise SteepestError(f"The engine is {engine!r}; expected local or ray.")
    if address is not None and engine != "ray":
        raise SteepestError(f"The address {address!r} is a Ray cluster's; give --engine ray with it.")
    more = (device, plan, memory_bound, typed, engine, address)
    design = Design(problem, candidates, seeds or 0, steps or problem.steps, trials, margin, *more)
    return design, seconds, asked


def work(
    problem: Problem | str,
    optimizers: Sequence[str | Rule] | Rule | str = defaults.OPTIMIZERS,
    *,
    store: str | Path,
    share: tuple[int, int] = (1, 1),
    command: str | None = None,
    **asked: Any,
) -> Study | Share:
    """One share (i, n) of the runs that a study needs next, for machines that share a folder and no more.

    What else is asked is as in `compare`, without a budget: a race goes on to its margin. A share goes to a store of its own
    beside the study's, `STORE-slice-i-of-n`; `steepest store merge` brings all together, and what the study needs after that
    depends on them. A `Share` says how many runs are left for the others; a `Study` is returned, and kept, where none is left.
    """
    which, of = share
    if not 1 <= which <= of:
        raise SteepestError(f"The slice is {which}/{of}; expected i/n with i from 1 to n.")
    budget = math.inf if asked.get("seeds") is None else None
    study_store = absolute(place("store", store))  # before code of the user's runs
    printed = Once()
    with printed:
        design, _, given = _designed(problem, optimizers, **asked, budget=budget)
    own = place("store", f"{study_store}-slice-{which}-of-{of}") if of > 1 else study_store
    with Store(own) as opened, terminal.Bar(Console(stderr=True)) as bar:
        if of > 1 and study_store.is_file():
            with copied(study_store) as copy:
                merge(opened, copy)
        with printed:
            race = Race(dataclasses.replace(design, share=share), opened, bar, None, None, True)
        race.check_fingerprint()
        try:
            with Silence():
                result = race.run()
        except ShareDoneError as done:
            return Share(str(own), done.trained, done.left)
        study = Study(result, command or f"steepest.compare({design.problem.name!r}{given})")
        opened.keep_study(study.shown)
        study.store = opened.path
    return study


def trajectory(
    surface: Surface | str,
    optimizers: Sequence[str | Rule] | Rule | str,
    start: Sequence[float] | str | None = None,
    steps: int = 200,
    *,
    lrs: Rates = None,
    schedule: str | Schedule = "constant",
    noise: float = 0.0,
    seed: int = 0,
) -> Descent:
    """Paths of optimizers down a surface from one start, at equal work: a `Descent` with points, heights and insides.

    surface: a `Surface`, a built-in one's name, or a formula such as "x**2 + 3*sin(y)**2".
    lrs: a rate for all, or {name: rate}; "auto" searches a grid; None takes the surface's own where it has some, else searches.
    steps: gradients for each. noise: the size of normal noise on every gradient, from `seed`, the same for all.

    >>> descent = trajectory("bowl", "sgd,adam", start=(1, 1), steps=50, lrs=0.1)
    >>> [path.name for path in descent.paths], descent.paths[0].points.shape
    (['sgd', 'adam'], (51, 2))
    """
    from . import surfaces
    from .paths.descent import descend  # with sympy, which nothing else here needs

    chosen = surfaces.get(surface) if isinstance(surface, str) else surface
    rules = [candidate.rule for candidate in designs.candidates(_names(optimizers), ["constant"], None)]
    rates_by_name = rates_of(lrs, [rule.name for rule in rules])
    several = next((name for name, values in rates_by_name.items() if len(values) > 1), None)
    if several:
        raise SteepestError(f"{several} was given {len(rates_by_name[several])} rates; a path takes one.")
    rates = None if lrs is None else {name: values[0] for name, values in rates_by_name.items()}
    at = surfaces.points_of(chosen.start if start is None else start, chosen.dims)
    return descend(chosen, rules, at, whole("steps", steps), rates, multipliers.get(schedule), noise, seed)


def _names(names: Any) -> list[Any]:
    """What was chosen, one by one; what is no list is the only one."""
    if isinstance(names, str):
        return names_in(names)
    return list(names) if isinstance(names, Iterable) else [names]


def _check_device(device: str) -> None:
    import torch

    if device not in ("cpu", "cuda"):
        raise SteepestError(f"The device is {device!r}; expected cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise SteepestError("The device is cuda, but torch finds no GPU here; leave --device out to use the CPU.")


__all__ = ["Choice", "Study", "compare"]
