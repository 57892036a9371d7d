"""Watch a run as it trains: count steps by hooks, collect reports, and end it where it diverges or cannot be compared."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from torch import Tensor
from torch.optim.optimizer import Optimizer

from ...errors import SteepestError, described
from ...rules.definition import Rule
from ...rules.foreign import Foreign, Maker, part_of
from ...schedules import Schedule, constant
from ...schedules.torch import Scheduler
from ...update.foreign import made, steps_with
from ...update.torch_class.optimizer import RuleOptimizer
from .reported import Reports, number_of

if TYPE_CHECKING:
    from .definition import Loop

CONSTANT = constant()
SEEN = 5  # steps after which a scheduler that never stepped is called that
MORE, FEWER = 1.05, 0.95  # shares of the steps of a run outside which it has too many or too few
APART = 0.02  # share of the steps by which a scheduler may differ, as gradient scalers skip steps
Numbers = Mapping[str, Any]


class Stopped(BaseException):
    """Ends a run; not an Exception, so that a training function does not catch it by accident."""


class RefusedError(SteepestError):
    """A training function that cannot be compared as it is."""


class RaisedError(SteepestError):
    """A training function raised after `step` steps."""

    def __init__(self, sentence: str, step: int = 0) -> None:
        super().__init__(sentence)
        self.step = step

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.step)


@dataclass(frozen=True)
class Asked:
    """A run to train: a candidate at a rate and with a schedule, a seed, and the values of the loop's own settings.

    `steps` is its length, 0 for a loop with epochs. `until` ends it early, at the first mark from that step on. `probe` ends
    it after so many reports. `final`: it may return test values. `exact`: rules update by torch operations.
    """

    maker: Maker
    lr: float
    seed: int
    steps: int = 0
    schedule: Schedule = CONSTANT
    until: int = 0
    config: Numbers = field(default_factory=dict)
    device: str = "cpu"
    final: bool = False
    probe: int = 0
    exact: bool = False


@dataclass(frozen=True)
class Ending:
    """How a run was ended before its function returned: diverged, at a mark, as a probe, without marks, or refused."""

    kind: str
    step: int
    why: str = ""
    value: float | None = None


@dataclass
class Watched:
    """An optimizer of a run, its number of steps, and its scheduler. `seen` are the rates after its last step.

    `needs` is what a step is called with, `calls` counts those of a closure in a step. `stepping` is the frame of the step
    that runs now: a class whose step calls that of its base class has its hooks called twice.
    """

    name: str
    maker: Rule | Foreign
    optimizer: Optimizer
    needs: str
    seen: list[float]
    count: int = 0
    calls: int = 0
    stepping: FrameType | None = None
    scheduler: Scheduler | None = None
    has_view: bool = False
    was_viewed: bool = False


class Watch:
    """Everything that is known of a run as it trains.

    `on_steps(n)` is called with further steps. `swallowed()` is called when the run goes on after it was ended.
    """

    def __init__(self, loop: Loop, asked: Asked, on_steps: Callable[[int], None], swallowed: Callable[[], None]) -> None:
        self.loop, self.asked, self.on_steps, self.swallowed = loop, asked, on_steps, swallowed
        self.steps: int | None = asked.steps or loop.steps if loop.epochs is None else None
        self.epochs = loop.epochs
        self.reports = Reports()
        self.optimizers: dict[str, Watched] = {}
        self.notices: dict[str, str] = {}
        self.ending: Ending | None = None
        self.count = 0  # the largest number of steps of an optimizer
        self.read_rate = False  # whether the function read run.lr
        self.began = time.perf_counter()
        self.first = self.last = 0.0  # clock at the first step or report, and after the last step

    # Ending a run

    def check(self) -> None:
        """Called when the function reports or steps: end it again if it went on after it was ended."""
        if self.ending is not None:
            self.swallowed()
            raise Stopped
        if not self.first:
            self.first = time.perf_counter()

    def stop(self, kind: str, why: str = "", value: float | None = None, step: int | None = None) -> NoReturn:
        """End the run."""
        self.ending = Ending(kind, max(self.count, 1) if step is None else step, why, value)
        raise Stopped

    def refuse(self, why: str) -> NoReturn:
        """End the run as one that cannot be compared."""
        self.ending = Ending("refused", self.count, why)
        raise RefusedError(why)

    # Optimizers and schedulers

    def length(self) -> int:
        """The steps of the run. RefusedError if they depend on the steps of an epoch, which are not known yet."""
        if self.steps is None:
            self.refuse(
                f"{self.loop.name} trains for epochs={self.loop.epochs}, so that run.steps is unknown before "
                "run.steps_per_epoch(n); call it with the number of steps of an epoch."
            )
        return self.steps

    def per_epoch(self, n: Any) -> int:
        """Set the steps from those of an epoch, and return them."""
        if self.loop.epochs is None:
            self.refuse(
                f"{self.loop.name} calls run.steps_per_epoch, which is for @steepest.loop(epochs=...), and was given "
                f"steps={self.loop.steps}; train for run.steps steps, or give epochs in place of steps."
            )
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            self.refuse(f"{self.loop.name} calls run.steps_per_epoch({n!r}); expected the number of steps of an epoch.")
        if self.asked.steps:
            self.steps, self.epochs = self.asked.steps, math.ceil(self.asked.steps / n)
        else:
            self.steps = self.loop.epochs * n
        return self.steps

    def make(self, params: Any, name: str | None) -> Optimizer:
        """Make the candidate's optimizer, or that of its part with this name, and count its steps."""
        if name is not None and not isinstance(name, str):
            self.refuse(f"{self.loop.name} calls run.optimizer with name={described(name)}; expected a text.")
        key = name or ""
        if key in self.optimizers:
            again = f"twice with the name {name!r}" if name else "twice"
            hint = (
                "give each optimizer a name of its own" if name else "call it once, or give each a name, such as name='critic'"
            )
            self.refuse(f"{self.loop.name} calls run.optimizer {again}; {hint}.")
        maker, lr = part_of(self.asked.maker, self.asked.lr, name)
        self._refuse_several(maker)
        optimizer = made(maker, params, lr=lr, seed=self.asked.seed, exact=self.asked.exact)
        needs = steps_with(optimizer, maker.name) if isinstance(maker, Foreign) else "nothing"
        needs = (getattr(maker, "steps_with", "") or needs) if isinstance(maker, Foreign) else needs
        if needs == "gradients and closure":
            self._refuse_several(maker, always=True)
        watched = self.optimizers[key] = Watched(key, maker, optimizer, needs, rates(optimizer))
        self._look_at_groups(watched, lr)
        self._look_at_views(watched)
        optimizer.register_step_pre_hook(partial(self._before, watched))
        optimizer.register_step_post_hook(partial(self._after, watched))
        return optimizer

    def _refuse_several(self, maker: Rule | Foreign, always: bool = False) -> None:
        """Refuse an optimizer whose step evaluates the gradient an unknown number of times, as work would not be equal."""
        if always or (maker.evaluations > 1 and not maker.oracle):
            self.refuse(
                f"{maker.name} evaluates several gradients in a step, so its work would not be that of the others; leave it "
                "out of a comparison on a training function."
            )

    def _look_at_groups(self, watched: Watched, lr: float) -> None:
        """Note groups with a rate of their own, unless the function computes it from run.lr."""
        others = [rate for rate in watched.seen if rate != lr]
        if others and not self.read_rate and watched.maker is self.asked.maker:
            self.notices["group rates"] = (
                f"{self.loop.name} gives a parameter group lr={others[0]:g}, which the candidate's rate does not change; "
                "leave it out, or write it as a multiple of run.lr."
            )

    def _look_at_views(self, watched: Watched) -> None:
        """Notice whether an optimizer with other weights to evaluate is put into evaluation mode."""
        optimizer: Any = watched.optimizer
        if isinstance(optimizer, RuleOptimizer):
            name = "view" if optimizer.rule.view else ""
        else:
            name = "eval" if all(callable(getattr(optimizer, mode, None)) for mode in ("eval", "train")) else ""
            if name:
                optimizer.train()
        if name:
            watched.has_view = True
            setattr(optimizer, name, partial(_viewed, watched, getattr(optimizer, name)))

    def schedule(self, optimizer: Any) -> Scheduler:
        """Make the scheduler of an optimizer that `make` returned, perhaps wrapped by a trainer."""
        watched = self._found(optimizer)
        if watched.scheduler is not None:
            self.refuse(f"{self.loop.name} calls run.scheduler twice for one optimizer; call it once.")
        watched.scheduler = Scheduler(watched.optimizer, self.asked.schedule, self.length(), self.loop.direction)
        return watched.scheduler

    def _found(self, optimizer: Any) -> Watched:
        inner = optimizer
        while inner is not None:
            for watched in self.optimizers.values():
                if watched.optimizer is inner:
                    return watched
            inner = getattr(inner, "optimizer", None)
        self.refuse(
            f"{self.loop.name} calls run.scheduler with {described(optimizer)}; expected the optimizer that run.optimizer "
            f"returned."
        )

    # Steps

    def _before(self, watched: Watched, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Called before each step."""
        if watched.stepping is not None and _is_running(watched.stepping):
            return None
        self.check()
        self._end_early()
        if self.steps is not None and min(w.count for w in self.optimizers.values()) >= MORE * self.steps + 1:
            why = (
                f"{self.loop.name} went on after step {self.count}, and run.steps is {self.steps} in this run, which may be a "
                "shortened one; take run.steps optimizer steps, so that all candidates train equally long."
            )
            self.stop("refused", why)
        self._look_at_rates(watched)
        watched.stepping = sys._getframe(1)
        return self._with_closure(watched, args, kwargs)

    def _end_early(self) -> None:
        """End a probe of a function without reports, and a shortened run without marks."""
        if self.asked.probe and self.count >= self.asked.probe and not len(self.reports):
            self.stop("probe")
        if self.asked.until and self.count >= self.asked.until and not self.reports.marks:
            self.stop("no marks")

    def _look_at_rates(self, watched: Watched) -> None:
        now = rates(watched.optimizer)
        if now == watched.seen or "scheduler" in self.notices:
            return
        own = [float(rate) for rate in watched.scheduler.get_last_lr()] if watched.scheduler else watched.seen
        if any(a not in (b, c) for a, b, c in zip(now, watched.seen, own, strict=False)):
            self.notices["scheduler"] = (
                f"{self.loop.name} changes the rate of run.optimizer by something else than run.scheduler, so candidates do "
                "not train at the rates that are compared; use run.scheduler alone."
            )

    def _with_closure(self, watched: Watched, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Check the arguments of a step, and count how often it calls its closure."""
        given = [*args[1:], *kwargs.values()]
        if watched.needs in ("closure", "loss") and not any(x is not None for x in given):
            self.refuse(
                f"{watched.maker.name} needs the {watched.needs} in its step; call optimizer.step({watched.needs}), or leave "
                "it out of the comparison."
            )
        watched.calls = 0
        if watched.maker.oracle or not given or not callable(given[0]) or isinstance(given[0], Tensor):
            return None
        counted = partial(_counted, watched, given[0])
        if len(args) > 1:
            return (args[0], counted, *args[2:]), kwargs
        return args, {**kwargs, next(iter(kwargs)): counted}

    def _after(self, watched: Watched, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called after each step."""
        if watched.stepping is not sys._getframe(1):
            return
        watched.stepping = None
        if watched.calls > 1:
            self._refuse_several(watched.maker, always=True)
        watched.count += 1
        watched.seen = rates(optimizer)
        self.last = time.perf_counter()
        if watched.count > self.count:
            self.count = watched.count
            self.on_steps(1)

    # Reports

    def report(self, loss: Any, metrics: Numbers) -> None:
        """Record a loss, and at a mark the loop's metric. Ends a run that diverged, or that was to end here."""
        self.check()
        value = self._number("loss", loss)
        seen = {name: self._number(name, x) for name, x in metrics.items()}
        known = len(self.reports.losses)
        self.reports.add(self.count, value)
        self.end_lost(known)
        if self.loop.metric in seen:
            self._mark(float(seen[self.loop.metric]))
        if self.asked.probe and len(self.reports) >= self.asked.probe:
            self.stop("probe")

    def end_lost(self, since: int = 0) -> None:
        """End the run if a loss from this one on was not finite."""
        k = self.reports.lost(since)
        if k is not None:
            losses, step = self.reports.losses, max(self.reports.at[k], 1)
            after = f", after {losses[k - 1]:.4g}" if k else ""
            self.stop("diverged", f"the reported loss was {losses[k]:.4g} at step {step}{after}", step=step)

    def _mark(self, value: float) -> None:
        self.reports.mark(self.count, value)
        for watched in self.optimizers.values():
            if watched.scheduler is not None and self.asked.schedule.reads:
                watched.scheduler.history.append(watched.scheduler.sign * value)
        if self.asked.until and self.count >= self.asked.until:
            self.reports.read()
            self.end_lost()
            self.stop("mark", value=value)

    def _number(self, name: str, value: Any) -> float | Tensor:
        number = number_of(value)
        if number is None:
            shape = getattr(value, "shape", None)
            what = described(value) if shape is None else f"{described(value)} of shape {tuple(shape)}"
            self.refuse(f"{self.loop.name} reports {what} as its {name}; expected a number, such as run.report(loss.mean()).")
        return number

    # At the end

    def fault(self) -> str:
        """Why the run cannot be compared, as far as it was seen; "" if it can."""
        name, returned = self.loop.name, self.ending is None
        if not self.optimizers:
            return f"{name} never calls run.optimizer; make its optimizer by run.optimizer(model), which is what is compared."
        if returned and not self.count:
            return (
                f"{name} takes no step with the optimizer of run.optimizer; call optimizer.step() in each of run.steps steps."
            )
        if returned and self.steps is None:
            return (
                f"{name} has epochs={self.loop.epochs} and never calls run.steps_per_epoch(n); call it, so that run.steps is "
                f"known."
            )
        return self._schedule_fault(returned)

    def _schedule_fault(self, returned: bool) -> str:
        schedule, name = self.asked.schedule, self.loop.name
        if schedule.name == CONSTANT.name or (self.count < SEEN and not returned):
            return ""
        schedulers = [(w, w.scheduler) for w in self.optimizers.values() if w.scheduler is not None]
        if not schedulers:
            return (
                f"{name} never calls run.scheduler, so that every schedule would train alike; call run.scheduler(optimizer), "
                "or compare with --schedules constant."
            )
        for watched, scheduler in schedulers:
            if abs(scheduler.last_epoch - watched.count) > max(1, APART * watched.count):
                return (
                    f"{name} calls scheduler.step() {scheduler.last_epoch} times in {watched.count} optimizer steps; call it "
                    "once after each optimizer.step()."
                )
        if schedule.reads and not self.reports.marks and returned:
            return (
                f"{name} does not report its {self.loop.metric}, which {schedule.name} reads; call run.report(loss, "
                f"{self.loop.metric}=...) at marks, or leave this schedule out."
            )
        return ""

    def note(self) -> None:
        """Add the notices of a run whose function returned."""
        name = self.loop.name
        if not len(self.reports):
            self.notices["report"] = (
                f"{name} never calls run.report, so that its runs have no curves, and diverged ones train to their end; call "
                "run.report(loss) after each step."
            )
        if self.steps is not None and self.count < FEWER * self.steps:
            self.notices["steps"] = (
                f"{name} took {self.count:,} optimizer steps of run.steps = {self.steps:,}; schedules end at run.steps, so "
                "take as many."
            )
        trained = [w for w in self.optimizers.values() if w.has_view and not w.was_viewed]
        if trained:
            maker = trained[0].maker
            self.notices[f"train mode: {(maker.base or maker).name}"] = _train_mode(trained[0])


def _train_mode(watched: Watched) -> str:
    optimizer: Any = watched.optimizer
    call = "view" if isinstance(optimizer, RuleOptimizer) and optimizer.rule.twin else "eval"
    return (
        f"{watched.maker.name} was evaluated in train mode: call optimizer.{call}() before evaluating and "
        f"optimizer.train() after."
    )


def rates(optimizer: Optimizer) -> list[float]:
    """The rate of each parameter group."""
    return [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]


def _is_running(frame: FrameType) -> bool:
    """Whether a frame is among those that called this function: one whose step raised is not."""
    caller: FrameType | None = sys._getframe(1)
    while caller is not None and caller is not frame:
        caller = caller.f_back
    return caller is frame


def _viewed(watched: Watched, method: Callable[[], Any]) -> Any:
    watched.was_viewed = True
    return method()


def _counted(watched: Watched, closure: Callable[[], Any]) -> Any:
    watched.calls += 1
    return closure()
