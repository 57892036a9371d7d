"""The plain engine off the CPU: results of reductions stay on the device, and no step synchronises."""

import functools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from steepest import rules
from steepest.rules.vocabulary import norm
from steepest.update.engines import plain
from steepest.update.engines.plain import Plain
from steepest.update.state import initial_state
from steepest.update.step import advance
from steepest.update.work import Column, Work


def path_length():
    """A rule whose state is a number that depends on a reduction."""
    begin = rules.scalar(0.0)

    @rules.rule("mine")
    def path_length(p, g, t, long=begin, *, lr=0.1):
        long = long + lr * norm(g)
        return p - lr * g / (1 + long), long

    return path_length


RULES = {name: functools.partial(rules.get, name) for name in ("lamb", "lars", "adai", "adafactor", "sam")}
RULES |= {"clipped": lambda: rules.clip_by_norm(rules.get("adam"), 0.5), "path length": path_length}


class NoReads(TorchDispatchMode):
    """Raises if a number is read from a tensor, which on a GPU waits for all queued work."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a step reads a number from a tensor"
        return func(*args, **(kwargs or {}))


def parameters(name, runs=None):
    """Two matrices after three steps of the plain engine."""
    rule = RULES[name]()
    generator = torch.Generator().manual_seed(0)
    ps, *gradients = [[torch.randn(shape, generator=generator) for shape in ((4, 3), (5, 3))] for _ in range(4)]
    hyper = rule.settings()
    graph = rule.graph(hyper, shape=(4, 3))
    states = [initial_state(rule, p, g, hyper) for p, g in zip(ps, gradients[0], strict=True)]
    columns = {"p": Column(ps)} | {k: Column([state[k] for state in states]) for k in graph.tensors if k != "p"}
    work = Work(graph, columns, {**hyper, **{k: states[0][k] for k in graph.scalars}}, runs=runs)
    for t, gs in enumerate(gradients, start=1):
        work.tensors["g"] = Column(gs)
        work.numbers["t"] = float(t)
        advance(work, Plain(), lambda gs=gs: [g + 0.1 * p for p, g in zip(ps, gs, strict=True)])
    return ps


@pytest.mark.parametrize("runs", [None, np.array([0, 1])], ids=["one run", "two runs"])
@pytest.mark.parametrize("name", RULES)
@pytest.mark.usefixtures("registry")
def test_a_step_reads_no_number_back_and_comes_out_as_on_the_cpu(name, runs, monkeypatch):
    on_cpu = parameters(name, runs)
    monkeypatch.setattr(plain, "reads_back", lambda p: False)
    with NoReads():
        on_device = parameters(name, runs)
    for a, b in zip(on_cpu, on_device, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_the_guard_sees_a_number_that_is_read():
    with pytest.raises(AssertionError, match="reads a number"), NoReads():
        parameters("lamb")
