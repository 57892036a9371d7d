"""A repeated command reads its answer from the store, and does not import what only training or drawing needs."""

import gc
import subprocess
import sys

import pytest

from steepest.shell import loading

RACE = ["compare", "--optimizers", "sgd,adam", "--lrs", "sgd=0.5,adam=0.01", "--steps", "20", "--margin", "30"]
HEAVY = {"matplotlib", "pandas", "sklearn", "sympy", "llvmlite", "platformdirs", "requests", "scipy.stats", "torch._dynamo"}
CODE = (
    "import sys; from steepest.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules, file=open('modules', 'w'))"
)


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A folder with the store and the report of a finished race."""
    folder = tmp_path_factory.mktemp("stored")
    steepest(folder, *RACE)
    return folder


def steepest(folder, *arguments):
    """The imports and the output of a command in its own process."""
    code = f"import sys\nsys.argv[0] = 'steepest'\n{CODE}"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {*(folder / "modules").read_text().split()}, done.stdout


def touched(folder):
    return (folder / "steepest-report.html").stat().st_mtime_ns


def test_a_stored_answer_imports_nothing_heavy_and_leaves_the_report_alone(answered):
    before = touched(answered)
    modules, printed = steepest(answered, *RACE)
    assert "Nothing to train" in printed
    assert not modules & HEAVY
    assert touched(answered) == before


def test_a_report_that_is_there_is_made_from_the_store_without_drawing_it_again(answered):
    before = touched(answered)
    modules, printed = steepest(answered, "report", "steepest.db")
    assert "digits: Use " in printed
    assert not modules & {*HEAVY, "torch"}
    assert touched(answered) == before


def test_libraries_load_without_the_garbage_collector_which_is_on_again_after(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_where_torch_is_there_nothing_is_done_to_the_garbage_collector():
    with loading():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
