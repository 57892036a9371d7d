"""Train many runs together, with one forward and backward pass; each has its own rule, rate, schedule, seed and weights."""

from __future__ import annotations

import copy
import functools
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..problems.data import Batch, Examples
from ..problems.memory import activation_bytes, evaluation_room
from ..problems.problem import Problem
from ..problems.resampling import spread_of
from ..problems.seeds import seeded
from ..problems.spread import Spread
from ..rules import Rule
from ..rules.definition import Hyper
from ..rules.foreign import Maker
from ..schedules import Schedule
from ..update.many import ManyRuns
from .checkpoints import NOWHERE, Slot, State, UnfitError
from .forward import Forward, NotStackableError, losses
from .norms import normalizes
from .recorder import Outcome, Recorder
from .single import CONSTANT, batches, ignore, orders, refuse_broken

Evaluated = tuple[list[float], list[float], list[Spread]]  # losses, metrics and spreads of runs; no spreads unless requested
EVALUATED = 2**26  # approximate bytes for an evaluation of all runs


@dataclass(frozen=True)
class Run:
    """One training run: a rule at a rate with a schedule, from a seed, for `steps` steps; `test` evaluates on test data too.

    `examples` records the metric of each validation example at the end, or the metric on resamples of them; `until` is the
    step, a mark of the recorder, after which the run ends early; 0 for none. `config` are settings of the user's own loop.
    """

    rule: Maker
    lr: float
    seed: int
    steps: int
    schedule: Schedule = CONSTANT
    test: bool = False
    examples: bool = False
    hyper: Hyper = field(default_factory=dict)
    until: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `single.train`."""
        return {name: value for name, value in vars(self).items() if name != "config"}

    @property
    def length(self) -> int:
        """The number of steps it trains."""
        return self.until or self.steps

    def __str__(self) -> str:
        return f"{self.rule.name} at rate {self.lr:g}, seed {self.seed}"

    @property
    def is_alone(self) -> bool:
        """Whether it can only train by itself, as only rules update many runs at once."""
        return not isinstance(self.rule, Rule)

    @property
    def together_key(self) -> tuple[int, int, bool, bool, str, bool]:
        """Runs with the same key may train together: a rule that needs a second gradient only with its own kind."""
        rule = self.rule.name if self.rule.oracle else ""
        return self.steps, self.until, self.test, self.examples, rule, bool(self.rule.view)


def draws_of_others() -> tuple[Any, ...]:
    """The states of NumPy's and Python's global generators, to detect draws from them."""
    legacy: Any = np.random.get_state()
    name, words, *rest = legacy
    return name, bytes(words), *rest, random.getstate()


class StackedRuns:
    """Runs with one `together_key`, trained step by step as one.

    A run that diverges continues to be computed, unread, so that the other runs' numbers do not change. Raises
    NotStackableError for a model or a loss that cannot be batched over runs.
    """

    def __init__(self, problem: Problem, runs: Sequence[Run], device: str = "cpu") -> None:
        self.problem, self.runs, self.device = problem, list(runs), device
        self.rules = [run.rule for run in runs if isinstance(run.rule, Rule)]
        if any(run.is_alone for run in runs):
            raise NotStackableError("an optimizer that is not a rule updates one run at a time")
        if problem.accumulate > 1 or problem.autocast is not None:
            raise NotStackableError("gradients are accumulated, or autocast is on: such runs train one by one")
        if problem.train.is_stream or not isinstance(problem.train.batch(torch.tensor([0]))[1], Tensor):
            raise NotStackableError("the data are a stream, or a target is several tensors")
        self.seeds = sorted({run.seed for run in runs})
        models = {}
        for seed in self.seeds:
            with seeded(seed):
                models[seed] = problem.start(seed, device)
        model = models[self.seeds[0]].train()
        self.forward = Forward(model, [run.seed for run in runs], problem.train.names)

        def stacked(of: Callable[[nn.Module], Iterator[tuple[str, Tensor]]]) -> dict[str, Tensor]:
            parts = {seed: dict(of(m)) for seed, m in models.items()}
            return {k: torch.stack([parts[run.seed][k].detach() for run in runs]) for k in parts[self.seeds[0]]}

        self.params, self.buffers = stacked(nn.Module.named_parameters), stacked(nn.Module.named_buffers)
        if normalizes(model) and any(run.rule.view for run in runs):
            raise NotStackableError("BatchNorm is refreshed where the rule evaluates, run by run")
        self.trained = [name for name, p in model.named_parameters() if p.requires_grad]
        self.place = [self.seeds.index(run.seed) for run in runs]
        self.orders = [orders(problem, seed) for seed in self.seeds]
        self.streams = [batches(problem, seed) for seed in self.seeds]  # read where the data are not in memory
        begins = [i for i, run in enumerate(runs) if not i or run.rule is not runs[i - 1].rule]
        self.spans = [*itertools.pairwise([*begins, len(runs)])]  # index ranges of runs with one rule
        self.many: list[ManyRuns] = []
        self.step_number = 0
        self.recorder = Recorder(runs[0].steps, problem.direction, len(runs))
        self.of_example: float | None = None  # bytes of activations per example and run

    def batch(self) -> tuple[Batch, bool]:
        """The next batch: a shared one, or with several seeds one per run along the first axis; and whether it is shared."""
        if not self.problem.train.in_memory:
            drawn = [next(stream) for stream in self.streams]
            if len(drawn) == 1:
                return drawn[0], True
            inputs = zip(*(drawn[i][0] for i in self.place), strict=True)
            return (tuple(map(torch.stack, inputs)), torch.stack([drawn[i][1] for i in self.place])), False
        chosen = [next(order) for order in self.orders]
        if len(chosen) == 1:
            return self.problem.train.batch(chosen[0]), True
        return self.problem.train.batch(torch.stack([chosen[i] for i in self.place])), False

    def _gradients(self, batch: Batch, shared: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Every run's loss, and the gradients of its trained parameters."""
        others = draws_of_others() if self.step_number == 1 else None
        inputs, target = batch
        leaves = {k: self.params[k].detach().requires_grad_() for k in self.trained}
        output = self.forward.outputs({**self.params, **leaves}, self.buffers, inputs, shared, self.step_number)
        if not isinstance(output, Tensor):
            raise NotStackableError("its output is no tensor")
        if others is not None and others != draws_of_others():
            raise NotStackableError("it draws from NumPy's or Python's generator, and each run has to draw its own")
        losses_before = losses(self.problem.loss, output, target, shared)
        if losses_before.shape != (len(self.runs),):
            raise NotStackableError("its loss is not one number for each run")
        found = torch.autograd.grad(losses_before.sum(), list(leaves.values()), allow_unused=True)
        gs = {k: g for k, g in zip(leaves, found, strict=True) if g is not None}
        if self.problem.clip is not None:
            self._clip(gs, self.problem.clip)
        return losses_before.detach(), gs

    def _clip(self, gs: dict[str, Tensor], most: float) -> None:
        """Clip each run's gradients to a norm, in place, as torch's clip_grad_norm_ does."""
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gs.values()]).norm(dim=0)
        shares = (most / (norms + 1e-6)).clamp(max=1.0)
        for g in gs.values():
            g.mul_(shares.view(-1, *[1] * (g.ndim - 1)))

    def step(self) -> Tensor:
        """Update every run once; return the losses before the update, (runs,)."""
        batch, shared = self.batch()
        self.step_number += 1
        losses_before, gs = self._gradients(batch, shared)
        if not self.many:
            self._begin([k for k in self.trained if k in gs])
        if list(gs) != self.trained:
            raise NotStackableError("which parameters have gradients changes from step to step")
        for (a, b), many in zip(self.spans, self.many, strict=True):
            rates, momenta = [], []
            for r in range(a, b):
                run, at = self.runs[r], (self.step_number - 1, self.runs[r].steps, self.recorder.histories[r])
                rates.append(run.lr * run.schedule(*at))
                momenta.append(run.schedule.momentum(*at) if run.schedule.momentum else None)
            many.step([g[a:b] for g in gs.values()], rates, lambda: [*self._gradients(batch, shared)[1].values()], momenta)
        return losses_before

    def _begin(self, trained: list[str]) -> None:
        """Create the updates of the parameters that have gradients."""
        self.trained = trained
        for a, b in self.spans:
            hypers = [{**run.hyper, "lr": run.lr} for run in self.runs[a:b]]
            keys = [run.seed for run in self.runs[a:b]]
            self.many.append(ManyRuns(self.rules[a], [self.params[k][a:b] for k in trained], hypers, keys))

    def state(self, seconds: float) -> State:
        """The checkpoint after `seconds` of training."""
        tensors = {f"model.{k}": t for k, t in (*self.params.items(), *self.buffers.items())}
        for i, many in enumerate(self.many):
            tensors |= {f"state.{i}.{k}": t for k, t in many.state().items()}
        facts = {"trained": self.trained, "step": self.step_number, "recorder": self.recorder.state()}
        return tensors, facts | {"seconds": seconds}

    @torch.no_grad()
    def put_back(self, state: State) -> None:
        """Restore all runs from what `state` returned."""
        tensors, facts = state
        for k, t in (*self.params.items(), *self.buffers.items()):
            t.copy_(tensors[f"model.{k}"])
        self._begin(facts["trained"])
        for i, many in enumerate(self.many):
            own = f"state.{i}."
            many.put_back({k.removeprefix(own): t for k, t in tensors.items() if k.startswith(own)})
        self.step_number = done = facts["step"]
        for order in self.orders:
            deque(itertools.islice(order, done), 0)
        self.streams = [batches(self.problem, seed, done) for seed in self.seeds]
        self.recorder.put_back(facts["recorder"])

    @torch.no_grad()
    def evaluate(self, split: str, spread: bool = False) -> Evaluated:
        """Loss and metric of every run over a split, at the rule's view; with `spread`, also how the metric spreads."""
        params = dict(self.params)
        if any(many.rule.view for many in self.many):
            for i, k in enumerate(self.trained):
                params[k] = torch.cat([many.view()[i] for many in self.many])
        data, model = getattr(self.problem, split), self.forward.model
        _, held = evaluation_room(self.problem, model)
        if self.of_example is None:
            with torch.enable_grad():
                batch = self.problem.first_batch()
                self.of_example = max(activation_bytes(self.problem, copy.deepcopy(model), batch), 1) / len(batch[1])
        if not data.in_memory:
            return self._one_by_one(params, data, spread)
        model.eval()
        size, outputs = max(int(EVALUATED / (len(self.runs) * self.of_example)), 1), list[Tensor]()
        try:
            for begin in range(0, len(data), size):
                inputs, _ = data.batch(slice(begin, begin + size))
                outputs.append(self.forward.outputs(params, self.buffers, inputs, True, 0))
                if not isinstance(outputs[0], Tensor):
                    raise NotStackableError("its output is no tensor")
                of_run = outputs[0][0].numel() * outputs[0].element_size() * len(data) / outputs[0].shape[1]
                if of_run > held:  # a single run would be measured in pieces too
                    raise NotStackableError("too many outputs to hold at once")
            output, target = torch.cat(outputs, 1), data.batch(slice(0, len(data)))[1]
            spreads = [spread_of(self.problem, one, target) for one in output] if spread else []
            return *self._measured(output, target), spreads
        except NotStackableError:
            return self._one_by_one(params, data, spread)
        finally:
            model.train()

    def _measured(self, output: Tensor, target: Tensor) -> tuple[list[float], list[float]]:
        """Loss and metric of outputs (runs, examples, ...)."""
        try:
            measured = losses(self.problem.loss, output, target, True).tolist()
            if self.problem.metric == "accuracy" and output.ndim == 3 and self._counts_all(output[0], target):
                return measured, (100 * (output.argmax(2) == target).double().mean(1)).tolist()
            if self.problem.metric is None:
                return measured, measured
        except NotStackableError:
            pass
        pairs = [self.problem._measure(one, target) for one in output]
        return [loss for loss, _ in pairs], [metric for _, metric in pairs]

    def _counts_all(self, output: Tensor, target: Tensor) -> bool:
        """Whether every label is that of a class, and counts."""
        within = output.shape[1] > 1 and int(target.min()) >= 0 and int(target.max()) < output.shape[1]
        return within and not self.problem.labels_in(output, target).ignored

    def _one_by_one(self, params: dict[str, Tensor], data: Examples, spread: bool) -> Evaluated:
        """`evaluate`, run by run."""
        model, made = copy.deepcopy(self.forward.model), []
        stacked = params | self.buffers
        for r in range(len(self.runs)):
            for k, v in (*model.named_parameters(), *model.named_buffers()):
                v.data.copy_(stacked[k][r])
            made.append(self.problem.evaluation(model, data, spread))
        return [loss for loss, _, _ in made], [metric for _, metric, _ in made], [own for *_, own in made]

    def train(self, on_step: Callable[[int], None] | None = None, slot: Slot = NOWHERE) -> list[Outcome]:
        """Train all runs until they end or diverge, as `single.train` would train each."""
        began, steps, recorder, kept = time.perf_counter(), self.runs[0].steps, self.recorder, slot.read()
        if kept:
            try:
                with slot.fitting(kept, self.runs[0].length):
                    self.put_back(kept)
                    began -= kept[1]["seconds"]
            except UnfitError:
                return StackedRuns(self.problem, self.runs, self.device).train(on_step, slot)
        else:
            recorder.begin(*self.evaluate("valid")[:2])

        def state() -> State:
            return self.state(time.perf_counter() - began)

        with slot.watching():
            for k in range(self.step_number + 1, self.runs[0].length + 1):
                with torch.enable_grad():
                    losses = self.step()
                values = losses.double().cpu().numpy()
                lost = np.flatnonzero(recorder.alive & ~np.isfinite(values))
                recorder.step(k, values)
                for seed in {self.runs[r].seed for r in lost.tolist()}:
                    refuse_broken(self.problem, seed, self.device, next(batches(self.problem, seed, k - 1)), k)
                if k in recorder.marks:
                    recorder.evaluate(k, *self.evaluate("valid", self.runs[0].examples and k == steps))
                if not recorder.alive.any():
                    break
                slot.tick(state, functools.partial(on_step or ignore, k))
            if self.runs[0].test and self.problem.test is not None and recorder.alive.any():
                recorder.test(*self.evaluate("test", True)[1:])
        return recorder.outcomes((time.perf_counter() - began) / len(self.runs))
