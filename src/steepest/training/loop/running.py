"""Call a user's training function with a run, in this process, and turn what it reports and returns into an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, ParamsT

from ... import rules
from ...errors import SteepestError, message_of
from ...problems.seeds import seeded
from ...schedules.torch import Scheduler
from ...update.torch_class.optimizer import RuleOptimizer
from ..recorder import Outcome
from . import returned
from .watching import Asked as Asked
from .watching import Ending, RaisedError, RefusedError, Stopped, Watch

if TYPE_CHECKING:
    from .definition import Loop

RATE = 1e-3  # of Adam, in a plain call
RAISED = "it raised"  # begins the reason of a run whose function raised


class Config(Mapping[str, Any]):
    """The values of the loop's own settings in a run. SteepestError for one that is not declared."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            raise RefusedError(
                f"The training function reads run.config[{key!r}], which is not declared; add config={{{key!r}: [...]}} to "
                "@steepest.loop."
            )
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class LoopRun:
    """The argument of a training function: one run of a candidate with a seed.

    seed: the run's seed; the generators of torch, NumPy and Python start from it.
    device: where to train, "cpu" or "cuda".
    config: the values of the settings that `steepest.loop` declares.
    lr: the candidate's learning rate, for groups that have a multiple of it.
    epochs: of a loop with epochs, else None.
    final: whether test data may be evaluated.
    """

    def __init__(self, watch: Watch) -> None:
        asked = watch.asked
        self._watch = watch
        self.seed, self.device, self.final = asked.seed, asked.device, asked.final
        self.config = Config({**watch.loop.defaults, **asked.config})

    def __repr__(self) -> str:
        asked = self._watch.asked
        return f"<run of {asked.maker.name} at {asked.lr:g}, seed {asked.seed}>"

    @property
    def steps(self) -> int:
        """The number of optimizer steps to take; with epochs, known after `steps_per_epoch`."""
        return self._watch.length()

    @property
    def epochs(self) -> int | None:
        """The number of epochs to train, of a loop with epochs."""
        return self._watch.epochs

    @property
    def lr(self) -> float:
        """The candidate's learning rate."""
        self._watch.read_rate = True
        return self._watch.asked.lr

    def steps_per_epoch(self, n: int) -> int:
        """Set the number of steps of an epoch, and return those of the run."""
        return self._watch.per_epoch(n)

    def optimizer(self, params: ParamsT | nn.Module, name: str | None = None) -> Optimizer:
        """Make the candidate's optimizer for a model, its parameters or groups of them.

        A loop with several optimizers gives each a `name`, such as "generator".
        """
        return self._watch.make(params, name)

    def scheduler(self, optimizer: Optimizer) -> Scheduler:
        """Make the candidate's schedule for its optimizer, a torch LRScheduler; call its `step()` after each optimizer step."""
        return self._watch.schedule(optimizer)

    def report(self, loss: Tensor | float, /, **metrics: Tensor | float) -> None:
        """Report the training loss of a step, and now and then a metric on validation data, by which a run may end early."""
        self._watch.report(loss, metrics)


@dataclass
class Ran:
    """What a run gave: its outcome, and what was seen of the training function.

    `reports` are the reported losses, `length` the steps of a whole run, `steps` those that were taken. `started` are the
    seconds before the first step or report. `marks`: whether the metric was reported before the end. `end` is a checksum of
    the parameters.
    """

    outcome: Outcome
    notices: dict[str, str] = field(default_factory=dict)
    reports: list[float] = field(default_factory=list)
    steps: int = 0
    length: int = 0
    scheduler_steps: int = 0
    seconds_per_step: float = 0.0
    state_bytes: int = 0
    names: list[str] = field(default_factory=list)
    started: float = 0.0
    marks: bool = False
    end: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A run without an outcome: "refused" as it cannot be compared, "raised" after `step` steps, or its process "died"."""

    why: str
    kind: str
    step: int = 0


def ignore(steps: int) -> None:
    """Ignore further steps."""


def train(
    loop: Loop,
    asked: Asked,
    on_steps: Callable[[int], None] = ignore,
    ended: Callable[[Ran | SteepestError], None] | None = None,
) -> Ran:
    """Train one run by calling the loop's function. `on_steps(n)` is called with further steps.

    A run with `until` whose function reports no metric before that step is trained again with so many steps in all. `ended`
    is called with the result if the function goes on after its run was ended, and is expected to end the process.

    RefusedError for a function that cannot be compared, RaisedError if it raised; other SteepestErrors pass.
    """
    began = time.perf_counter()
    ran = _called(loop, asked, on_steps, ended, began)
    if ran is None:
        ran = _called(loop, replace(asked, steps=asked.until, until=0), on_steps, ended, began)
    assert ran is not None
    return ran


def _called(
    loop: Loop,
    asked: Asked,
    on_steps: Callable[[int], None],
    ended: Callable[[Ran | SteepestError], None] | None,
    began: float,
) -> Ran | None:
    """The result of one call of the function; None if it reports no marks and a shorter run is wanted."""

    def swallowed() -> None:
        if ended is not None and watch.ending is not None and watch.ending.kind != "no marks":
            ended(_ended(watch, began))

    watch = Watch(loop, asked, on_steps, swallowed)
    result: Any = None
    with seeded(asked.seed):
        try:
            result = loop.function(LoopRun(watch))
        except KeyboardInterrupt:
            raise
        except (Stopped, SteepestError):
            if watch.ending is None:
                raise
        except BaseException as error:  # sys.exit() too
            if watch.ending is None:
                raise RaisedError(f"{RAISED} {message_of(error)}{_hint(error)}", watch.count) from error
        if watch.ending is not None and watch.ending.kind == "no marks":
            return None
        return _result(watch, result, began)


def _hint(error: BaseException) -> str:
    """What to do about an exit of the function."""
    if not isinstance(error, SystemExit):
        return ""
    parsed = ", and parse no arguments, of which a run has none" if error.code == 2 else ""
    return f"; return instead of ending Python{parsed}"


def _ended(watch: Watch, began: float) -> Ran | SteepestError:
    """The result of a run that was ended, or the error."""
    try:
        return _result(watch, None, began)
    except SteepestError as error:
        return error


def _result(watch: Watch, result: Any, began: float) -> Ran:
    """The result of a run. RefusedError if it cannot be compared."""
    if watch.ending is not None and watch.ending.kind == "refused":
        raise RefusedError(watch.ending.why)
    _look_at_reports(watch)
    fault = watch.fault()
    if fault:
        raise RefusedError(fault)
    value = _value(watch, result) if watch.ending is None else returned.Returned(_at_mark(watch.ending))
    if watch.ending is None:
        watch.note()
        if not value.valid.is_finite:
            what = f"the function returned {value.valid.mean:.4g} as its {watch.loop.metric}"
            watch.ending = Ending("diverged", max(watch.count, 1), f"{what} after step {watch.count}")
    elif watch.ending.kind == "mark" and not value.valid.is_finite:
        what = f"the reported {watch.loop.metric} was {value.valid.mean:.4g}"
        watch.ending = Ending("diverged", watch.ending.step, f"{what} at step {watch.count}")
    return _ran(watch, _outcome(watch, value, time.perf_counter() - began))


def _look_at_reports(watch: Watch) -> None:
    """Read the last reports, and end a run whose loss was not finite."""
    watch.reports.read()
    if watch.ending is None or watch.ending.kind in ("mark", "probe"):
        try:
            watch.end_lost()
        except Stopped:
            return


def _at_mark(ending: Ending) -> returned.Value:
    return returned.Value(float("nan") if ending.value is None else ending.value)


def _value(watch: Watch, result: Any) -> returned.Returned:
    """What the function returned, without test values that were not wanted. RefusedError for anything else than numbers."""
    loop = watch.loop
    try:
        value = returned.read(result, loop.metric)
    except returned.UnfitError as error:
        raise RefusedError(
            f"{loop.name} returned {error}; expected its {loop.metric} as a number, as one number for each validation "
            "example, or in a dict {{loop.metric!r}: ...}."
        ) from None
    if value.test is not None and not watch.asked.final:
        watch.notices["test"] = (
            f"{loop.name} returns a test value in runs that choose a candidate, where it is dropped; evaluate test data only "
            "where run.final is true."
        )
        return replace(value, test=None)
    return value


def _outcome(watch: Watch, value: returned.Returned, seconds: float) -> Outcome:
    ending, reports = watch.ending, watch.reports
    length = watch.steps or watch.count
    if ending is not None and ending.kind == "diverged":
        curve = reports.curve(length, ending.step, None)
        return Outcome(curve, None, None, None, ending.step, seconds, why=ending.why)
    if ending is not None and ending.kind == "probe":
        return Outcome(reports.curve(length, watch.count, None), None, None, None, None, seconds)
    valid, test = value.valid, value.test if value.test is not None and value.test.is_finite else None
    with np.errstate(over="ignore"):
        examples = None if valid.examples is None else valid.examples.astype(np.float32)
    return Outcome(
        reports.curve(length, watch.count, valid.mean),
        valid.mean,
        None if test is None else test.mean,
        None,
        None,
        seconds,
        examples=examples,
        test_se=None if test is None else test.error,
    )


def _ran(watch: Watch, outcome: Outcome) -> Ran:
    first, optimizers = watch.first or watch.began, [*watch.optimizers.values()]
    schedulers = [w.scheduler.last_epoch for w in optimizers if w.scheduler is not None]
    return Ran(
        outcome,
        watch.notices,
        watch.reports.losses,
        watch.count,
        watch.steps or watch.count,
        max(schedulers, default=0),
        max(watch.last - first, 0.0) / max(watch.count, 1),
        sum(_state_bytes(w.optimizer) for w in optimizers),
        [w.name for w in optimizers],
        first - watch.began,
        bool(watch.reports.marks),
        _checksum([w.optimizer for w in optimizers]),
    )


def _state_bytes(optimizer: Optimizer) -> int:
    """Bytes of an optimizer's state, without counters."""
    if isinstance(optimizer, RuleOptimizer):
        return optimizer.state_bytes()
    return sum(_bytes({k: x for k, x in state.items() if k != "step"}) for state in optimizer.state.values())


def _bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return sum(map(_bytes, parts))


@torch.no_grad()
def _checksum(optimizers: list[Optimizer]) -> float:
    """The sum of all parameters, in double precision."""
    params = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    return sum(float(p.detach().double().sum()) for p in params if not p.is_complex())


def plain(loop: Loop) -> Any:
    """Call a loop's function once at the defaults, as a script does, and return what it returns.

    SteepestError if its loss is not finite, or if it cannot be compared.
    """
    asked = Asked(rules.get("adam"), RATE, 0, loop.steps or 0, config=loop.defaults)
    watch = Watch(loop, asked, ignore, lambda: None)
    with seeded(0):
        try:
            return loop.function(LoopRun(watch))
        except Stopped:
            ending = watch.ending
            why = ending.why if ending is not None else "it was ended"
            raise SteepestError(f"{loop.name}: {why}, at {asked.maker.name}'s rate of {RATE:g}.") from None
