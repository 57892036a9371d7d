"""Many runs at once: parameters with the run axis in front, hyperparameters and rates of their own for each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import SteepestError
from ..rules import Rule
from ..rules.trace import Graph
from .kernels import Kernel
from .plain import Plain
from .work import Column, Index, Stack, Work, advance


@dataclass
class _Alike:
    """The runs that share a graph, and their work."""

    runs: Index
    work: Work
    engine: Any


class ManyRuns:
    """The updates of many runs of one model.

    `params` are the tensors of the model, each (runs, *shape), updated in place; `hypers` the hyperparameters of each run.
    A run never touches another: NaN in one leaves the bits of its neighbours as they would be without it.
    """

    def __init__(self, rule: Rule, params: Sequence[Tensor], hypers: Sequence[dict[str, Any]]) -> None:
        runs = len(hypers)
        for p in params:
            if p.ndim == 0 or len(p) != runs:
                raise SteepestError(f"A parameter has shape {tuple(p.shape)}; expected the {runs} runs in front.")
        self.rule, self.params = rule, list(params)
        self.hypers = [rule.settings(**hyper) for hyper in hypers]
        self.groups: list[_Alike] = []
        self.t = 0

    @property
    def engine(self) -> str:
        """What ran the last step: "kernel" or "plain"."""
        return " and ".join(sorted({group.engine.name for group in self.groups}))

    @torch.no_grad()
    def step(
        self,
        gradients: Sequence[Tensor],
        rates: Sequence[float] | None = None,
        ask: Callable[[], Sequence[Tensor]] | None = None,
    ) -> None:
        """One update of every run. `gradients` are (runs, *shape) each, `rates` the learning rate of each run at this step.

        `ask()` gives the gradients where the parameters then stand, for rules that ask for them at other points.
        """
        self.t += 1
        gradients = [g.contiguous() for g in gradients]
        lrs = np.array([h["lr"] for h in self.hypers] if rates is None else rates, float)
        if not self.groups:
            self._begin(gradients, lrs)

        def answer(work: Work) -> list[Tensor]:
            assert ask is not None
            return [g.contiguous() for g in ask()]

        for group in self.groups:
            work = group.work
            work.tensors["g"] = Stack(gradients, group.runs)
            work.numbers["t"] = float(self.t)
            work.numbers["lr"] = lrs[group.runs]
            advance(work, group.engine, answer)

    def _begin(self, gradients: Sequence[Tensor], lrs: Any) -> None:
        """Lay out the work: one for the runs of each graph."""
        alike: dict[Graph, list[int]] = {}
        for r, hyper in enumerate(self.hypers):
            alike.setdefault(self.rule.graph(hyper), []).append(r)
        for graph, members in alike.items():
            runs = np.array(members)
            hypers = [{**self.hypers[r], "lr": lrs[r]} for r in members]
            numbers: dict[str, Any] = {k: np.array([h[k] for h in hypers], float) for k in graph.numbers if k in hypers[0]}
            tensors: dict[str, Column] = {"p": Stack(self.params, runs), "g": Stack(gradients, runs)}
            for letter, kind in self.rule.live_state(hypers[0]).items():
                start = kind.start
                if kind.is_scalar:
                    numbers[letter] = numbers[start] if isinstance(start, str) else np.full(len(runs), float(start))
                else:
                    tensors[letter] = Stack(
                        [self._start(start, p, g, runs, numbers) for p, g in zip(self.params, gradients, strict=True)]
                    )
            which = np.tile(np.arange(len(runs)), len(self.params))
            models = which if graph.reach == "model" else None
            work = Work(graph, tensors, numbers, sets=len(runs), which=which, models=models)
            self.groups.append(_Alike(runs, work, Kernel() if Kernel.takes(work) else Plain()))

    @staticmethod
    def _start(start: float | str, p: Tensor, g: Tensor, runs: Index, numbers: dict[str, Any]) -> Tensor:
        """A piece of state before the first step, for some runs: (runs, *shape)."""
        rows = torch.from_numpy(runs).to(p.device)
        if start in ("copy of p", "copy of g"):
            return (p if start == "copy of p" else g)[rows].clone()
        values = numbers[start] if isinstance(start, str) else np.full(len(runs), float(start))
        column = torch.as_tensor(values, dtype=p.dtype, device=p.device).reshape(-1, *[1] * (p.ndim - 1))
        return column.expand(len(runs), *p.shape[1:]).clone()
