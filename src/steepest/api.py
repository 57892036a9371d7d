"""The public API: `compare`, the `Study` that it returns, and the `Choice` that makes the chosen optimizer."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from rich.console import Console

from . import schedules as multipliers
from .checks import whole
from .errors import SteepestError, place
from .options import POINTS, RATES, SCHEDULES, SEARCHES, Options
from .prints import Once, Silence
from .report import file, tables, terminal
from .rules import CLASSICS, Rule
from .rules.foreign import part_of
from .schedules import Schedule, shape
from .study import space as designs
from .study.answer import Answer
from .study.candidates import spaces_of
from .study.data import StudyData
from .study.lab import Lab, ShareDoneError
from .study.question import Question, Scale
from .study.rates import Rates, rates_of
from .study.result import Entry, Result
from .study.store import Store
from .study.store.inspection import copied, merge
from .study.summary import code, study_data
from .study.verdicts import Verdict
from .training.executors.local import Local
from .training.executors.protocol import Executor
from .training.executors.ray import Cluster
from .training.loading import training_of
from .training.protocol import Training
from .update import foreign

if TYPE_CHECKING:
    import pandas

    from .paths.descent import Descent
    from .report.gallery import Figures
    from .surfaces import Surface


class Choice:
    """The optimizer and schedule that a study picks, at their best learning rate.

    >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
    >>> study.best().name in ("sgd", "adam")
    True
    """

    def __init__(self, entry: Entry, steps: int, names: Sequence[str] = ()) -> None:
        self._entry, self._steps, self._names = entry, steps, names
        self.name, self.schedule, self.lr = entry.candidate.space.name, entry.candidate.schedule, entry.candidate.lr

    def optimizer(self, params: Iterable[Any] | torch.nn.Module, name: str | None = None) -> torch.optim.Optimizer:
        """Create the optimizer for these parameters, as a `torch.optim.Optimizer`; `name` is its part, if it has several.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> import torch
        >>> study.best().optimizer(torch.nn.Linear(2, 1).parameters()).param_groups[0]["lr"] == study.best().lr
        True
        """
        maker, lr = part_of(self._entry.candidate.rule, self.lr, name)
        return foreign.made(maker, params, lr=lr)

    def code(self) -> str:
        """Return the Python code that creates the optimizer and its schedule.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> "model.parameters(), lr=" in study.best().code()
        True
        """
        return code(self._entry, self._steps, self._names)

    def __repr__(self) -> str:
        return f"<Choice {self.name}, lr={self.lr:g}, {self.schedule}>"


class Study:
    """The result of a comparison.

    >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
    >>> len(study.verdicts()), study.best().lr
    (6, 0.1)
    """

    def __init__(self, result: Result, command: str) -> None:
        self.result, self.data = result, study_data(result, command)
        self.store = ""  # the file with its runs

    def answer(self) -> Answer:
        """The pick, and how far behind the best it could be; `str(answer)` puts this into sentences.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.answer().sentence.startswith("Use ")
        True
        """
        return self.result.answer

    def table(self) -> pandas.DataFrame:
        """One row for each optimizer, best first: schedule, lr, mean, se, n, diverged, seconds_per_step, state_bytes.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.table().columns.tolist()
        ['schedule', 'lr', 'mean', 'se', 'n', 'diverged', 'seconds_per_step', 'state_bytes']
        """
        return tables.table(self.data)

    def verdicts(self) -> list[Verdict]:
        """One verdict for every pair; `str(verdict)` is a sentence.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.verdicts()[0].verdict
        'undecided'
        """
        return list(self.result.verdicts)

    def best(self) -> Choice:
        """The optimizer that the answer picks; SteepestError if it picks none.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.best()
        <Choice ...>
        """
        if self.answer().pick is None:
            raise SteepestError(self.answer().sentence)
        return Choice(self.result.chosen, self.result.question.steps, self.result.training.searched.parts or ())

    def report(self, path: str | Path) -> Path:
        """Write the HTML report, unless the file is this report already; SteepestError if the folder does not exist.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.report("report.html").exists()
        True
        """
        return file.write([self.data], path)

    @property
    def figures(self) -> Figures:
        """Matplotlib figures: `.regret()`, `.ranking()`, `.race()`, `.sensitivity()`, `.curves()`, `.schedules()`, `.cost()`.

        >>> study = compare("digits", "sgd,adam", lrs=0.02, seeds=5, steps=60, store=":memory:")
        >>> [*study.figures]
        ['regret', 'ranking', 'curves', 'schedules', 'cost']
        >>> study.figures.regret()
        <Figure ...>
        """
        from .report.gallery import Figures

        return Figures(self.data, self._recorded)

    def record(self) -> None:
        """Train the best two once more and record their internals, for `figures.insides()`, `.landscape()` and the report.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=5, steps=20, store=":memory:")
        >>> study.record()
        >>> study.figures.landscape()
        <Figure ...>
        """
        from .study.recording import record

        if self.data.recorded is None:
            with Silence():
                self.data = dataclasses.replace(self.data, recorded=record(self.result))

    def _recorded(self) -> StudyData:
        """The data of the study, including the recording."""
        self.record()
        return self.data

    def markdown(self) -> str:
        """A table for a paper in Markdown: mean, interval, n, and how each optimizer was tuned.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> print(study.markdown())
        | optimizer | schedule ...
        """
        return tables.markdown(self.data)

    def latex(self) -> str:
        """The table of `markdown` in LaTeX; it needs the package booktabs.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> print(study.latex())
        \\begin{table}
        ...
        """
        return tables.latex(self.data)

    def to_dict(self) -> dict[str, Any]:
        """The dict that `steepest compare --json` writes.

        >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
        >>> study.to_dict()["optimizers"][0]["seeds"]
        [0, 1]
        """
        return self.data.as_json()

    def _repr_html_(self) -> str:
        """The answer, the code and each candidate's bound as HTML for a notebook, without scripts."""
        from .report import page  # with matplotlib, which takes a while to import

        return page.section(self.data)

    def __str__(self) -> str:
        console = Console(width=160, no_color=True, force_terminal=False, highlight=False)
        with console.capture() as capture:
            terminal.show(self.result, self.data, console)
        return capture.get()


@dataclasses.dataclass(frozen=True)
class Share:
    """The result of one share: its store, the number of runs it trained, and the number left for other shares."""

    store: str
    trained: int
    left: int


P = ParamSpec("P")
T = TypeVar("T")


def _takes(options: Callable[P, Options]) -> Callable[[Callable[[Options], T]], Callable[P, T]]:
    """Make a function of `Options` take the fields of `Options` as its arguments."""

    def make(function: Callable[[Options], T]) -> Callable[P, T]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(options(*args, **kwargs))

        wrapped.__signature__ = inspect.signature(options).replace(return_annotation=Study)  # type: ignore[attr-defined]
        return wrapped

    return make


@_takes(Options)
def compare(options: Options) -> Study:
    """Find the optimizer, learning rate and schedule that a problem needs, and how certain that is.

    problem: a `Problem`, a function decorated with `steepest.loop`, a `Command`, a built-in problem's name, or the path of a
        Python file that defines a `problem` or a loop.
    optimizers, schedules: names, rules or schedules; every optimizer runs under every schedule, at equal work. A schedule may
        have arguments: "step(size=30)", "warmup(0.1) * cosine". An optimizer may also be a class such as torch.optim.NAdam,
        or a function of parameters and lr. "adamw(weight_decay=?)" also searches a setting, as does a pair of a class and
        {"weight_decay": steepest.axis(1e-4, 1)} or {"weight_decay": [0, 0.1]}. {"generator": "adam", "discriminator": "sgd"}
        is one candidate of two parts.
    search: "rate" for learning rates alone; None to refine the leaders along further axes: warm-up, decay, beta2 or momentum;
        "standard" to search rate, weight decay and warm-up at random, "full" for all settings.
    lrs: None or "auto" to search a log grid; rates for all optimizers, or {name: rate or rates}. A single rate is not tuned.
    trials: rates in each grid at first; points of each optimizer in a search. steps: of each run (default: the problem's own).
    budget: time for the study in seconds or such as "5min" (default "60s"); float("inf") for no limit. seeds: in place of a
        race, this many confirming runs of each optimizer, all pairs compared; a budget then sets the steps.
    go_on: resume a race that has ended.
    batch_size: batch sizes to compare on a Problem, such as "32,64": runs see as many examples, in more or fewer steps.
    margin: the difference that matters, in units of the metric (default 0.5 points of accuracy, 1 % of a loss).
    measure: what runs are compared by: "metric", the problem's own, or another of `steepest.study.measures`.
    workers: runs that train at the same time (default: one for each core). exact: update by torch's operations, bit for bit as
        torch.optim does.
    plan: how runs are trained: "auto" takes the fastest way here that agrees with runs trained one by one; "one", or "many:N"
        for N together. memory: the limit for runs trained together, such as "4GiB".
    engine: "local", or "ray" to train on the Ray cluster at `address` ("auto" for the one that this machine is part of; None
        starts one here).
    store: the SQLite file for the runs; ":memory:" for none. record: call `Study.record` at the end, for the report.

    Output of your code is printed once, while the problem is checked, and not again in its runs.

    The protocol is described in docs/protocol.md. SteepestError for invalid options or an invalid problem.

    >>> study = compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=20, store=":memory:")
    >>> print(study.best().code())
    import steepest
    ...
    >>> study.table().shape
    (4, 8)
    """
    return run(options)


def run(options: Options, command: str = "", began: float | None = None) -> Study:
    """Run a comparison. `command` is the command line shown in the report, `began` the time at which the budget started."""
    began = time.perf_counter() if began is None else began
    printed = Once()
    with printed:
        training, question = _asked(options)
    with Store(options.store) as opened, terminal.Bar(Console(stderr=True)) as bar, contextlib.closing(training):
        with printed:
            executor: Executor = Cluster(options.address, options.gpus_per_run) if options.engine == "ray" else Local()
            lab = Lab(training, question, opened, bar, executor, **_training(options), began=began, goes_on=options.go_on)
        with Silence():
            result = lab.run()
        study = Study(result, command or options.call(training.facts.name))
        if options.record:
            bar.say("recording the best two")
            study.record()
        opened.keep_study(study.data)
        study.store = opened.path
    return study


def work(*asked: Any, share: tuple[int, int] = (1, 1), **more: Any) -> Study | Share:
    """Train share (i, n) of the runs that a study needs next, for machines that have only a folder in common.

    The arguments are those of `compare`, without a budget: a race ends when its bound is within the margin. Runs are stored in
    `STORE-slice-i-of-n`, next to the study's store. `steepest store merge` merges the stores; only then are the study's next
    runs known. Returns a `Share` while runs are left for other shares, else the `Study`, which is also stored.
    """
    which, of = share
    if not 1 <= which <= of:
        raise SteepestError(f"The slice is {which}/{of}; expected i/n with i from 1 to n.")
    options = Options(*asked, **more)
    options = dataclasses.replace(options, budget=math.inf if options.seeds is None else None)
    study_store = place("store", options.store)
    printed = Once()
    with printed:
        training, question = _asked(options)
    own = place("store", f"{study_store}-slice-{which}-of-{of}") if of > 1 else study_store
    with Store(own) as opened, terminal.Bar(Console(stderr=True)) as bar, contextlib.closing(training):
        if of > 1 and study_store.is_file():
            with copied(study_store) as copy:
                merge(opened, copy)
        with printed:
            lab = Lab(training, question, opened, bar, Local(share), **_training(options), goes_on=True)
        lab.check_fingerprint()
        try:
            with Silence():
                result = lab.run()
        except ShareDoneError as done:
            return Share(str(own), done.trained, done.left)
        study = Study(result, options.call(training.facts.name))
        opened.keep_study(study.data)
        study.store = opened.path
    return study


def _asked(options: Options) -> tuple[Training, Question]:
    """Make the training and the question about it; this runs user code."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SteepestError("The device is cuda, but torch finds no GPU here; leave --device out to use the CPU.")
    schedules: Any = options.schedules
    training = training_of(
        options.trained,
        device=options.device,
        workers=options.workers,
        exact=options.exact,
        scheduled=any(shape.of(schedule).text != "constant" for schedule in schedules),
        budget=options.seconds,
        steps=options.steps,
        batch_sizes=options.batch_sizes,
    )
    try:
        return training, _question(options, training)
    except BaseException:
        training.close()
        raise


def _question(options: Options, training: Training) -> Question:
    """The question of a study about its training."""
    facts, searched = training.facts, training.searched
    if not searched.any_length and options.steps not in (None, facts.steps):
        raise SteepestError(f"{facts.name} sets the length of its runs itself; leave --steps out.")
    if not searched.any_length and options.seeds is not None and options.budget is not None:
        raise SteepestError(
            f"With seeds, a budget sets the steps, and {facts.name} sets the length of its runs itself; give seeds or a budget."
        )
    spaces, remarks = spaces_of(
        options.optimizers,
        options.schedules,  # type: ignore[arg-type]
        options.lrs,
        searched,
        refines=options.search != "rate" and options.seeds is None,
        shapes=options.schedules == SCHEDULES,
    )
    if options.plan not in ("auto", "show"):
        training.named_plan(options.plan)
    scale = Scale(
        facts.metric,
        facts.direction,
        facts.in_points,
        facts.examples,
        "validation" if facts.tested is None else "test",
        facts.is_loss,
        tested=facts.tested or 0,
        may_test=facts.may_test,
    ).by(options.measure)
    return Question(
        spaces,
        scale,
        options.steps or facts.steps,
        options.trials or (POINTS if options.search in SEARCHES else RATES),
        options.seeds or 0,
        options.margin,
        options.seconds,
        typed_optimizers=options.optimizers != CLASSICS,
        any_length=searched.any_length,
        search=options.search if options.search in SEARCHES else "",
        remarks=tuple(remarks),
    )


def _training(options: Options) -> dict[str, Any]:
    """The options of `Lab` for training."""
    return {"plan": options.plan, "memory": options.bytes}


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
    """Compute the paths of optimizers on a surface from one start, at equal work: a `Descent` with points and heights.

    surface: a `Surface`, a built-in one's name, or a formula such as "x**2 + 3*sin(y)**2".
    lrs: one rate for all, or {name: rate}; "auto" searches a grid; None uses the surface's own rates if it has any, else
        searches. steps: gradients for each optimizer.
    noise: standard deviation of the normal noise added to every gradient, drawn from `seed`, the same for all optimizers.

    >>> descent = trajectory("bowl", "sgd,adam", start=(1, 1), steps=50, lrs=0.1)
    >>> [path.name for path in descent.paths], descent.paths[0].points.shape
    (['sgd', 'adam'], (51, 2))
    """
    from . import surfaces
    from .paths.descent import descend  # with sympy, which nothing else here needs

    chosen = surfaces.get(surface) if isinstance(surface, str) else surface
    rules: list[Any] = [space.rule for space in designs.spaces(Options(optimizers=optimizers).optimizers, ["constant"], None)]
    rates_by_name = rates_of(lrs, [rule.name for rule in rules])
    several = next((name for name, values in rates_by_name.items() if len(values) > 1), None)
    if several:
        raise SteepestError(f"{several} was given {len(rates_by_name[several])} rates; a path takes one.")
    rates = None if lrs is None else {name: values[0] for name, values in rates_by_name.items()}
    at = surfaces.points_of(chosen.start if start is None else start, chosen.dims)
    return descend(chosen, rules, at, whole("steps", steps), rates, multipliers.get(schedule), noise, seed)


__all__ = ["Choice", "Study", "compare"]
