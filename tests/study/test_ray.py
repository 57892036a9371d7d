"""The Ray executor against local training, on a Ray cluster of two nodes on this machine."""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import steepest
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.study.store import Store
from steepest.training.executors import ray as engine

ray = pytest.importorskip("ray", reason="Ray is in the test extra")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

FILE = """
import os, signal
import torch, steepest
from pathlib import Path
from torch import nn
import beside  # a module that only this folder has

HERE = Path(__file__).parent
torch.manual_seed(0)
x = torch.randn(64, 4)
y = x.sum(1, keepdim=True)

def die():
    if os.getpid() != int((HERE / "driver").read_text()):
        os.kill(os.getpid(), signal.SIGKILL)

def loss(output, target):
    beside.visit(HERE, float(output.detach().abs().max()), die)
    return ((output - target) ** 2).mean()

problem = steepest.Problem(model=lambda: nn.Linear(4, 1), loss=loss, train=(x, y), valid=(x, y), steps=60)
"""
HARMLESS = "def visit(here, size, die): pass\n"
ONCE = """
def visit(here, size, die):
    import os
    if os.getpid() != int((here / "driver").read_text()) and not (here / "died").exists():
        (here / "died").touch()
        die()
"""
SLOW = """
import os, time
def visit(here, size, die):
    (here / f"process-{os.getpid()}").touch()
    time.sleep(0.02)
"""
ASKED = {"lrs": [0.1, 0.01], "seeds": 2, "steps": 60, "store": ":memory:"}


def test_no_cluster_at_an_address_is_said():
    with pytest.raises(SteepestError, match="No Ray cluster can be used at 'nowhere:1': "):
        engine.connect("nowhere:1")


@contextlib.contextmanager
def listening(answer):
    """A port with a server that is not a Ray cluster; it sends this text, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    if answer is not None:
                        held[-1].sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        for one in held:
            one.close()


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x"], ids=["silence", "a web page", "a byte"])
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_something_else_at_an_address_is_one_sentence_soon(answer, scheme, monkeypatch):
    assert engine.ANSWER <= 5
    monkeypatch.setattr(engine, "ANSWER", 1.0)
    command = ["compare", "digits", "--engine", "ray", "--store", ":memory:", "--address"]
    with listening(answer) as port:
        began = time.monotonic()
        done = CliRunner().invoke(app, [*command, f"{scheme}127.0.0.1:{port}"])
        assert time.monotonic() - began < 11
    assert done.exit_code == 2
    (said,) = done.stderr.strip().splitlines()
    assert "No Ray cluster can be used at" in said
    assert ("nothing answered" if answer is None else "something else than a cluster") in said


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    made.add_node(num_cpus=1, object_store_memory=100_000_000)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def problem(folder, beside):
    (folder / "beside.py").write_text(beside, encoding="utf-8")
    (folder / "driver").write_text(str(os.getpid()), encoding="utf-8")
    path = folder / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def forget():
    """Each test has its own module `beside`."""
    import sys

    yield
    sys.modules.pop("beside", None)
    sys.path[:] = [place for place in sys.path if not (Path(place) / "mine.py").exists()]


def values(study):
    return {e.candidate.label: (e.lr, e.values, [(t.lr, t.values) for t in e.trials]) for e in study.result.entries}


@pytest.mark.parametrize("plan", ["processes", pytest.param("many:4", marks=pytest.mark.slow)])
def test_runs_on_two_nodes_are_those_of_this_machine_and_the_users_file_travels(cluster, tmp_path, plan):
    mine = problem(tmp_path, HARMLESS)
    over, here = (steepest.compare(mine, "sgd,adam", plan=plan, engine=name, **ASKED) for name in ("ray", "local"))
    assert values(over) == values(here)
    assert "2 at once on a Ray cluster" in over.result.plan


@pytest.mark.slow
def test_a_race_over_the_cluster_ends_as_it_does_here(cluster):
    asked = {"lrs": [0.1, 0.01], "steps": 40, "margin": 3.0, "budget": float("inf"), "store": ":memory:", "plan": "processes"}
    over, here = (steepest.compare("digits", "sgd,adam", engine=name, **asked) for name in ("ray", "local"))
    assert values(over) == values(here)
    assert over.answer().sentence == here.answer().sentence
    assert over.answer().limit == "margin"


def test_a_worker_that_is_killed_is_tried_again(cluster, tmp_path):
    mine = problem(tmp_path, ONCE)
    over = steepest.compare(mine, "sgd", plan="processes", engine="ray", **ASKED)
    assert (tmp_path / "died").exists()
    here = steepest.compare(mine, "sgd", plan="processes", **ASKED)
    assert values(over) == values(here)
    assert not any("ended their process" in note for note in over.result.notes)


@pytest.mark.slow
def test_a_poisoned_block_is_split_until_the_culprit_is_marked_failed(cluster, tmp_path, monkeypatch):
    log = tmp_path / "blocks"

    def train(problem, runs, *more):
        import os
        import signal

        from steepest.training.executors.ray import _train

        with log.open("a", encoding="utf-8") as file:
            file.write(f"{len(runs)} ")
        if any(run.lr == 10 and run.seed == 1_000_001 for run in runs):
            os.kill(os.getpid(), signal.SIGKILL)
        return _train(problem, runs, *more)

    monkeypatch.setattr(engine, "_train", train)
    mine, store = problem(tmp_path, HARMLESS), tmp_path / "s.db"
    asked = {**ASKED, "lrs": [0.1, 10.0], "store": store, "plan": "many:8"}
    over = steepest.compare(mine, "sgd", schedules="constant", engine="ray", **asked)
    sizes = [int(size) for size in log.read_text().split()]
    assert sizes[0] > 1, "the culprit was in no block of several"
    assert sizes.count(1) >= 3, "it was not tried three times alone"
    (entry,) = over.result.entries
    assert {t.lr: t.diverged for t in entry.trials} == {0.1: 0, 10.0: 3}  # two of them alone
    note = "Runs that ended their process three times, or its node, count as diverged: sgd at 10."
    assert note in over.result.notes
    with Store(store) as kept:
        assert [*kept.all("SELECT lr, seed FROM runs WHERE status = 'failed'")] == [(10.0, 1_000_001)]
    again = steepest.compare(mine, "sgd", schedules="constant", engine="ray", **asked)
    assert again.result.trained == 0
    assert values(again) == values(over)


@pytest.mark.slow
def test_a_node_that_is_lost_loses_no_run(cluster, tmp_path, monkeypatch):
    lost, full = [], engine.Cluster._got

    def got(self, reference, block, runs):
        outcomes, again = full(self, reference, block, runs)
        lost.extend(again)
        return outcomes, again

    monkeypatch.setattr(engine.Cluster, "_got", got)
    mine = problem(tmp_path, SLOW)
    extra = cluster.add_node(num_cpus=2, object_store_memory=100_000_000)
    cluster.wait_for_nodes()

    def lose():
        """With a third worker besides the driver, one is on the node."""
        until = time.monotonic() + 60
        while len([*tmp_path.glob("process-*")]) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        cluster.remove_node(extra, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    over = steepest.compare(mine, "sgd,adam", schedules="constant", plan="processes", engine="ray", **ASKED)
    thread.join()
    assert lost, "no task was on the node"
    here = steepest.compare(problem(tmp_path, HARMLESS), "sgd,adam", schedules="constant", plan="processes", **ASKED)
    assert values(over) == values(here)


def test_what_the_users_code_raises_is_said_as_it_is_here(cluster, tmp_path):
    mine = problem(tmp_path, "def visit(here, size, die): raise ValueError('mine')\n")
    said = []
    for name in ("ray", "local"):
        with pytest.raises(SteepestError, match="mine") as caught:
            steepest.compare(mine, "sgd", plan="processes", engine=name, **ASKED)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.slow
def test_a_budget_ends_the_tasks(cluster, tmp_path):
    mine = problem(tmp_path, SLOW)
    began = time.perf_counter()
    study = steepest.compare(mine, "sgd,adam", budget="12s", engine="ray", plan="processes", store=tmp_path / "s.db")
    assert study.answer().limit == "time"
    assert time.perf_counter() - began < 30  # twice the budget, and the start of the workers


def test_what_no_node_has_is_said(cluster, monkeypatch):
    monkeypatch.setattr(engine.ways, "bytes_of", lambda *_: 2**50)
    with pytest.raises(SteepestError, match=r"runs together take .* MiB, and no node of the Ray cluster offers more"):
        steepest.compare("digits", "sgd", engine="ray", plan="processes", **ASKED)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "dask"], "The engine is 'dask'; expected local or ray."),
        (["--address", "here"], "The address 'here' needs the engine ray; give --engine ray with it."),
    ],
)
def test_words_of_the_engine_are_checked(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        app(["compare", "--budget", "1s", *words])
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_ray_it_is_said_how_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SteepestError, match=r"--engine ray needs Ray; install it by `pip install 'steepest\[ray\]'`"):
        engine.connect(None)
