"""Shared test fixtures: a small problem, short timings, browsers, kernels, and MNIST."""

import functools
import json
import os
import platform
from pathlib import Path

# Tests run in one process per core; waiting threads of one would occupy the cores of the others.
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = max(1, (os.cpu_count() or 1) // PROCESSES)
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import pytest

pytest.register_assert_rewrite("tests.cases")
import torch
from hypothesis import settings
from torch import nn

import steepest
from steepest import rules
from steepest.paths import loop as trajectory
from steepest.training import supervised, timing, ways
from steepest.update.engines import kernel
from steepest_workshop import gallery

settings.register_profile("steepest", derandomize=True, deadline=None)  # --hypothesis-profile=default for new examples
settings.load_profile("steepest")
MNIST_FILE = "mnist/train-images-idx3-ubyte.gz"


@pytest.fixture(scope="session", autouse=True)
def short_timings():
    """Time steps for 0.01 s per slice in studies; tests need no better precision."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (supervised, ways):
            patch.setattr(module, "time_steps", functools.partial(timing.time_steps, slice_seconds=0.01))
        yield


@pytest.fixture(scope="session")
def line():
    """A problem that fits a noisy line: one input, one output, batches of 8. Do not modify it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, generator=generator)
    y = 2 * x + 0.1 * torch.randn(64, 1, generator=generator)
    return steepest.Problem(
        name="line", model=lambda: nn.Linear(1, 1), loss=nn.MSELoss(), train=(x, y), valid=(x, y), batch_size=8, steps=20
    )


@pytest.fixture(scope="session")
def chromium():
    """An installed Chromium; skips if it or playwright is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    try:
        path = gallery.browser()
    except steepest.SteepestError as error:
        pytest.skip(str(error))
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=path)
        yield started
        started.close()


@pytest.fixture(params=["", "x86-64-v3"], ids=["this processor", "x86-64-v3"])
def processor(request, monkeypatch):
    """Compile kernels for this processor, and for x86-64-v3, without AVX-512."""
    if request.param and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("this processor cannot run x86-64 code")
    monkeypatch.setenv("STEEPEST_TARGET", request.param or os.environ.get("STEEPEST_TARGET", ""))
    monkeypatch.setattr(kernel, "_programs", {})
    monkeypatch.setattr(trajectory, "_compiled", {})


@pytest.fixture
def registry():
    """The registry of rules; rules that a test adds are removed afterwards."""
    before = dict(rules.RULES)
    yield rules.RULES
    rules.RULES.clear()
    rules.RULES.update(before)


@pytest.fixture
def two_threads():
    """Run kernels and torch on two threads, regardless of the number of test processes."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture
def one_thread():
    """Run on one thread, for steps that are too small for two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def strict():
    """A JSON parser that raises for NaN and infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    return lambda text: json.loads(text, parse_constant=refuse)


@pytest.fixture
def mnist_folder():
    """The folder in $STEEPEST_DATA with mnist/; skips if it is missing."""
    folder = Path(os.environ.get("STEEPEST_DATA", ""))
    if not os.environ.get("STEEPEST_DATA") or not (folder / MNIST_FILE).exists():
        pytest.skip("MNIST is missing: set STEEPEST_DATA to a folder with mnist/")
    return folder


@pytest.fixture
def own_rules():
    """Remove the rules that the test registered from files."""
    before = {**rules.RULES}
    yield
    rules.RULES.clear()
    rules.RULES.update(before)
