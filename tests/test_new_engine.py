"""A custom engine: one class, registered by one call, and every step uses it."""

import pytest
import torch

import steepest
from steepest import rules
from steepest.rules.definition import RULES
from steepest.rules.trace import walk
from steepest.update.engines.choose import register
from steepest.update.engines.plain import Plain
from steepest.update.many import ManyRuns
from steepest_workshop import conformance


class Counting:
    """Counts the bytes that a step reads and writes, and delegates to torch's operations."""

    name = "counting"
    reads_memory = False
    wave = 1

    def __init__(self):
        self.read = self.written = 0
        self.plain = Plain()

    def takes(self, graph, tensors):
        return tensors[0].dtype if tensors[0].dtype is torch.float64 else None

    def _bytes(self, work, symbols):
        letters = {x.name for x in walk(symbols)} & set(work.tensors)
        return sum(work.tensors[k][i].nbytes for k in letters for i in range(len(work)))

    def reduce(self, work, symbols, known):
        self.read += self._bytes(work, [x.args[0] for x in symbols])
        return self.plain.reduce(work, symbols, known)

    def write(self, work, targets, known):
        self.read += self._bytes(work, list(targets.values()))
        self.written += sum(work.tensors[k][i].nbytes for k in targets for i in range(len(work)))
        self.plain.write(work, targets, known)


@pytest.fixture
def counting():
    made = Counting()
    unregister = register(made)
    yield made
    unregister()


@pytest.mark.parametrize(("name", "read", "written"), [("gd", 2, 1), ("momentum", 3, 2), ("adam", 4, 3), ("lion", 3, 2)])
def test_it_counts_what_the_paper_says_a_step_moves(name, read, written, counting):
    """p, g and each state are read; p and each state are written: 8 bytes each."""
    p = torch.nn.Parameter(torch.ones(1000, dtype=torch.float64))
    p.grad = torch.ones_like(p)
    optimizer = getattr(steepest.optim, rules.get(name).class_name)(
        [p], lr=0.1, **({"momentum": 0.9} if name == "momentum" else {})
    )
    optimizer.step()
    assert optimizer.engine == "counting"
    assert (counting.read, counting.written) == (8000 * read, 8000 * written)


def test_what_it_does_not_take_goes_to_the_next(counting):
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = steepest.optim.Adam([p])
    optimizer.step()
    assert optimizer.engine == "kernel"
    assert counting.written == 0


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.is_ours])
def test_every_rule_equals_its_paper_on_it(name, counting):
    assert conformance.against_paper(RULES[name]) < 1e-12
    assert counting.written


def test_many_runs_go_through_it(counting):
    stacked = [torch.ones(4, 3, dtype=torch.float64)]
    many = ManyRuns(rules.get("adam"), stacked, [{"lr": 0.1 * k} for k in range(4)])
    many.step([torch.ones(4, 3, dtype=torch.float64)])
    assert many.engine == "counting"
    assert counting.written == 3 * 4 * 3 * 8


def test_one_that_is_taken_out_again_updates_nothing():
    made = Counting()
    unregister = register(made)
    unregister()
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    p.grad = torch.ones_like(p)
    optimizer = steepest.optim.Adam([p])
    optimizer.step()
    assert optimizer.engine == "kernel"
    assert made.written == 0
