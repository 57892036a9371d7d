"""Updates of many runs of one model together, each with its own hyperparameters and rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import SteepestError
from ..rules import Rule
from ..rules.definition import Hyper
from ..rules.trace import Graph
from .engines.choose import PLAIN, Engine, choose
from .numbers import Index, Number, Numbers
from .state import initial_state
from .step import advance
from .torch_class.layout import differs
from .work import Column, Stack, Work


@dataclass
class _SameGraph:
    """The runs that share a graph, and their work."""

    runs: Index
    params: list[int]
    work: Work
    engine: Engine


class ManyRuns:
    """The updates of many runs of one model.

    `params` are the tensors of the model, each (runs, *shape), updated in place; `hypers` the hyperparameters of each run,
    `keys` the seeds of the runs' noise (default: their numbers). Runs do not affect each other, to the bit, even by NaN.
    """

    def __init__(
        self, rule: Rule, params: Sequence[Tensor], hypers: Sequence[Hyper], keys: Sequence[int] | None = None
    ) -> None:
        runs = len(hypers)
        for p in params:
            if p.ndim == 0 or len(p) != runs:
                raise SteepestError(f"A parameter has shape {tuple(p.shape)}; expected the {runs} runs in front.")
        self.rule, self.params = rule, list(params)
        self.hypers = [rule.settings(**hyper) for hyper in hypers]
        self.keys = range(runs) if keys is None else keys
        self.groups: list[_SameGraph] = []
        self.t = 0

    @property
    def engine(self) -> str:
        """The engine of the last step: "kernel" or "plain"."""
        return " and ".join(sorted({group.engine.name for group in self.groups}))

    def view(self) -> list[Tensor]:
        """The parameters to evaluate, (runs, *shape): those of the rule's view, where it has one."""
        if not self.rule.view or not self.groups:
            return self.params
        evaluated = [p.clone() for p in self.params]
        for group in self.groups:
            state = group.work.tensors[self.rule.view].tensors
            for i, place in enumerate(group.params):
                evaluated[place][torch.from_numpy(group.runs)] = state[i]
        return evaluated

    def state_bytes(self) -> int:
        """Bytes of state of all runs."""
        columns = [c for group in self.groups for k, c in group.work.tensors.items() if k in self.rule.state]
        return sum(t.nbytes for c in columns for t in c.tensors)

    def state(self) -> dict[str, Tensor]:
        """The state of all runs by name, and the number of steps, for `put_back`."""
        found = {"t": torch.tensor(self.t)}
        for i, group in enumerate(self.groups):
            found |= {f"{i}.{k}": torch.as_tensor(x, dtype=torch.float64) for k, x in group.work.numbers.items()}
            for k, column in group.work.tensors.items():
                if k in self.rule.state:
                    found |= {f"{i}.{k}.{j}": t for j, t in enumerate(column.tensors)}
        return found

    @torch.no_grad()
    def put_back(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; the caller restores the parameters."""
        self._begin([torch.zeros_like(p) for p in self.params], np.array([h["lr"] for h in self.hypers], float))
        self.t = int(state["t"])
        for i, group in enumerate(self.groups):
            for k in group.work.numbers:
                group.work.numbers[k] = state[f"{i}.{k}"].cpu().numpy()
            for k, column in group.work.tensors.items():
                for j, t in enumerate(column.tensors if k in self.rule.state else ()):
                    t.copy_(state[f"{i}.{k}.{j}"])

    @torch.no_grad()
    def step(
        self,
        gradients: Sequence[Tensor],
        rates: Sequence[float] | None = None,
        ask: Callable[[], Sequence[Tensor]] | None = None,
        momenta: Sequence[float | None] = (),
    ) -> None:
        """One update of every run. `gradients` are (runs, *shape) each, `rates` the learning rate of each run at this step.

        `momenta` are the momentum (or beta1) of each run at this step where it is cycled, else None. `ask()` evaluates the
        gradients at the current parameters, for rules that need them at other points.
        """
        self.t += 1
        gradients = [g.resolve_neg().to(p.dtype).contiguous() for g, p in zip(gradients, self.params, strict=True)]
        lrs = np.array([h["lr"] for h in self.hypers] if rates is None else rates, float)
        if not self.groups:
            self._begin(gradients, lrs)

        def answer() -> list[Tensor]:
            assert ask is not None
            # of all parameters: a rule with a second gradient has one work
            return [g.resolve_neg().contiguous() for g in ask()]

        for group in self.groups:
            work = group.work
            work.tensors["g"] = Stack([gradients[i] for i in group.params], group.runs)
            work.numbers["t"] = float(self.t)
            work.numbers["lr"] = lrs[work.runs]
            if any(m is not None for m in momenta):
                cycled = np.array([np.nan if m is None else m for m in momenta])[work.runs]
                for letter in {"beta1", "momentum"} & set(work.numbers):
                    before = work.numbers[letter]
                    work.numbers[letter] = np.where(np.isnan(cycled) | (before == 0), before, cycled)
            advance(work, group.engine, answer)

    def _begin(self, gradients: Sequence[Tensor], lrs: Numbers) -> None:
        """Create the works: one for the runs and parameters of each graph."""
        alike: dict[Graph, tuple[list[int], list[int]]] = {}
        for r, hyper in enumerate(self.hypers):
            for i, p in enumerate(self.params):
                graph = self.rule.graph(hyper, shape=tuple(p.shape[1:]))
                runs_of, params_of = alike.setdefault(graph, ([], []))
                if r not in runs_of[-1:]:
                    runs_of.append(r)
                if i not in params_of:
                    params_of.append(i)
        looks = [graph for graph in alike if graph.reach == "model"]
        if any(len(places) < len(self.params) for graph, (_, places) in alike.items() if graph in looks):
            raise differs(self.rule)
        for graph, (members, places) in alike.items():
            runs, ps = np.array(members), [self.params[i] for i in places]
            gs = [gradients[i] for i in places]
            hyper = self.hypers[members[0]]
            hypers = [{**self.hypers[r], "lr": lrs[r]} for r in members]
            numbers: dict[str, Number] = {k: np.array([h[k] for h in hypers], float) for k in graph.numbers if k in hyper}
            tensors: dict[str, Column] = {"p": Stack(ps, runs), "g": Stack(gs, runs)}
            begun = [
                [initial_state(self.rule, p[r], g[r], own) for r, own in zip(members, hypers, strict=True)]
                for p, g in zip(ps, gs, strict=True)
            ]
            for letter, state in self.rule.live_state(hyper, tuple(ps[0].shape[1:])).items():
                if state.is_scalar:
                    numbers[letter] = np.array([own[letter] for own in begun[0]], float)
                else:
                    tensors[letter] = Stack([torch.stack([own[letter] for own in of_runs]) for of_runs in begun])  # type: ignore[misc]
            of_tensors: dict[str, Number] = {k: np.tile(x, len(ps)) for k, x in numbers.items()}
            work = Work(graph, tensors, of_tensors, apart=True, runs=np.tile(runs, len(ps)))
            work.keys, work.places = [self.keys[r] for _ in places for r in members], [i for i in places for _ in members]
            self.groups.append(_SameGraph(runs, places, work, self._engine(work)))

    @staticmethod
    def _engine(work: Work) -> Engine:
        """The engine of the work, chosen by the tensors of its first run."""
        columns = list(work.tensors.values())
        each = len(work) // len(columns[0].tensors)  # runs
        chosen = {choose(work.graph, [column[i] for column in columns]) for i in range(0, len(work), each)}
        are_rows = all(t.is_contiguous() for column in columns for t in column.tensors)
        return next(iter(chosen))[0] if len(chosen) == 1 and are_rows else PLAIN
