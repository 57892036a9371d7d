"""Many runs at once: parameters with the run axis in front, hyperparameters and rates of their own for each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import SteepestError
from ..rules import Rule
from ..rules.trace import Graph
from . import plain
from .kernels import Kernel


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
        self.states: list[list[dict[str, Any]]] = []
        self.t = 0
        kernel = Kernel() if all(p.is_contiguous() and p.dtype in Kernel.dtypes and not p.is_cuda for p in params) else None
        self.engine = kernel or plain.Plain()

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
        hypers = self.hypers if rates is None else [{**h, "lr": lr} for h, lr in zip(self.hypers, rates, strict=True)]
        if not self.states:
            self.states = [
                [plain.initial_state(self.rule, p[r], g[r], h) for r, h in enumerate(hypers)]
                for p, g in zip(self.params, gradients, strict=True)
            ]
        batches: dict[Graph, list[tuple[int, plain.Item]]] = {}
        for r, hyper in enumerate(hypers):
            batch = batches.setdefault(self.rule.graph(hyper), [])
            for i, (p, g) in enumerate(zip(self.params, gradients, strict=True)):
                batch.append((i, plain.Item(p[r], g[r], self.t, self.states[i][r], hyper, model=r)))
        for graph, numbered in batches.items():

            def answer(items: list[plain.Item], numbered: list[tuple[int, plain.Item]] = numbered) -> list[Tensor]:
                assert ask is not None
                found = ask()
                return [found[i][item.model].contiguous() for i, item in numbered]

            plain.advance(graph, [item for _, item in numbered], self.engine, answer)

    def state(self, letter: str) -> list[Tensor]:
        """A piece of state, for each parameter stacked with the runs in front."""
        return [torch.stack([torch.as_tensor(s[letter]) for s in of_param]) for of_param in self.states]
