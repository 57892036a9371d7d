"""The examples of trainers inside a training function: each trains at its defaults, and is compared for a few steps."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import steepest
from steepest.errors import run_file
from steepest.training.loop.definition import Loop

EXAMPLES = Path(__file__).parents[2] / "examples" / "loops"
NAMES = ["with_accelerate", "with_lightning", "with_transformers"]
LINES = 60  # of an example at most
STEPS = {"with_accelerate": 4 * 22, "with_lightning": 100, "with_transformers": 100}
SHORT = 12  # steps of a comparison


@pytest.fixture(autouse=True)
def one_thread():
    """Train with one thread: with more, such small steps are many times slower while the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def loop_of(name):
    loop = run_file(EXAMPLES / f"{name}.py", "problem")["train"]
    assert isinstance(loop, Loop)
    return loop


def test_every_example_is_tested_and_short():
    assert [path.stem for path in sorted(EXAMPLES.glob("*.py"))] == NAMES
    assert all(len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= LINES for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_trains_at_its_defaults_with_the_optimizer_of_the_run(name):
    steps = Counter()
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: steps.update([type(optimizer)]))
    try:
        right = loop_of(name)()
    finally:
        hook.remove()
    assert steps == {steepest.optim.Adam: STEPS[name]}
    assert right.mean() > 70


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_compared(name):
    steps = None if name == "with_accelerate" else SHORT  # it trains for epochs
    path = str(EXAMPLES / f"{name}.py")
    study = steepest.compare(path, "sgd,adam", lrs=0.05, seeds=2, steps=steps, schedules="cosine", store=":memory:")
    entries = {entry.candidate.space.name: entry for entry in study.result.entries}
    assert set(entries) == {"sgd", "adam"}
    for entry in entries.values():
        assert len(entry.outcomes) >= 2
        assert all(len(outcome.curve.train) > 1 for outcome in entry.outcomes)
        assert len({outcome.curve.train[-1] for outcome in entry.outcomes}) > 1  # seeds differ
        assert all(0 <= outcome.valid <= 100 for outcome in entry.outcomes)
    ends = [entry.outcomes[0].curve.train[-1] for entry in entries.values()]
    assert ends[0] != ends[1]  # each trained with its own optimizer
    assert not any("scheduler" in note or "report" in note for note in study.result.notes), study.result.notes
