"""The command line, end to end."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from steepest.cli import app

QUICK = ["--optimizers", "sgd,adam", "--lrs", "sgd=0.5,adam=0.01", "--seeds", "5", "--steps", "20", "--schedules", "constant"]
README = Path(__file__).parents[2] / "README.md"

KEYS = {
    *("batch_size", "answer", "problem", "metric", "direction", "steps", "device", "versions", "optimizers", "verdicts"),
    *("optimum", "notes"),
}
OPTIMIZER_KEYS = {
    *("name", "schedule", "lr", "hyper", "lr_at_edge", "seeds", "values", "mean", "se", "diverged"),
    *("seconds_per_step", "state_bytes", "loss", "sweep"),
}
VERDICT_KEYS = {"a", "b", "difference", "low", "high", "p", "probability", "verdict", "seeds_needed"}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def steepest(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A command that trained ten runs, and the folder with its output; do not modify it."""
    folder = tmp_path_factory.mktemp("compared")
    with contextlib.chdir(folder):
        return steepest("compare", *QUICK, "--pairs", "--json", "out.json"), folder


@pytest.fixture
def full_store(compared):
    """The store of that command, copied to this test's folder."""
    shutil.copy(compared[1] / "steepest.db", "steepest.db")


def test_compare_prints_table_verdict_and_code_and_writes_report_and_json(compared, strict):
    result, folder = compared
    assert result.exit_code == 0, result.output
    assert "optimizer  learning rate  test accuracy ± SE" in result.stdout
    assert re.search(r"(adam|sgd) (is better than|and \w+ are tied|against \w+ is undecided)", result.stdout)
    assert "optimizer = steepest.optim." in result.stdout
    found = strict((folder / "out.json").read_text())
    page = (folder / "steepest-report.html").read_text()
    for o in found["optimizers"]:
        printed = next(words for words in result.stdout.splitlines() if words.startswith(o["name"] + " ")).split()
        cells = re.search(rf"<tr><td>{o['name']}</td><td>{printed[1]}</td>(.*?)</tr>", page.partition("at its best rate<")[2])[
            1
        ]
        assert cells.startswith(f"<td>{' '.join(printed[2:5])}</td>")
        for value in o["values"]:
            assert f"{o['name']}, a seed: {value:.5g}" in page
    assert set(found) == KEYS
    assert all(set(o) == OPTIMIZER_KEYS for o in found["optimizers"])
    assert all(set(v) == VERDICT_KEYS for v in found["verdicts"])
    assert all(set(t) == {"lr", "values", "diverged"} for o in found["optimizers"] for t in o["sweep"])
    assert (found["problem"], found["metric"], found["direction"], found["steps"]) == ("digits", "accuracy", "max", 20)


@pytest.mark.usefixtures("full_store")
def test_json_on_standard_output_is_all_there_is_on_it(strict):
    result = CliRunner().invoke(app, ["compare", *QUICK, "--json", "-"])
    assert strict(result.stdout)["problem"] == "digits"
    assert "Use " in result.stderr


def test_several_problems_give_a_list_and_one_report(strict):
    arguments = ["--optimizers", "sgd", "--lrs", "0.001", "--seeds", "2", "--steps", "5", "--json", "-"]
    result = steepest("compare", "digits", "breast-cancer", *arguments)
    assert [p["problem"] for p in strict(result.stdout)] == ["digits", "breast-cancer"]
    page = Path("steepest-report.html").read_text()
    assert "<h1>digits</h1>" in page
    assert "<h1>breast-cancer</h1>" in page


@pytest.mark.usefixtures("full_store")
def test_the_same_command_again_trains_nothing_and_says_so(compared):
    first, second = compared[0].stdout, steepest("compare", *QUICK, "--pairs", "--json", "out.json").stdout
    assert "Trained 10 runs" in first
    assert "Nothing to train: all 10 runs are in the store." in second
    answers = [[line for line in text.splitlines() if "10 runs" not in line] for text in (first, second)]
    assert answers[0] == answers[1]


class Links(HTMLParser):
    """All external resources that a page requests."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [v for k, v in attributes if k in ("src", "href") and v and not v.startswith(("data:", "#"))]


@pytest.mark.usefixtures("full_store")
def test_the_report_holds_all_it_needs():
    steepest("compare", *QUICK, "--report", "r.html")
    page = Path("r.html").read_text()
    links = Links()
    links.feed(page)
    assert links.found == []
    assert not re.search(r"@import|url\(\s*['\"]?http", page)
    for words in ("has the best mean", "Confidence and", "All pairwise verdicts", "How these numbers were computed", "torch 2"):
        assert words in page
    assert "Made by <code>steepest" in page


CNN = re.compile(r"```python\n(# my_problem\.py.*?)```", re.DOTALL)


def test_the_readmes_problem_file_has_at_most_15_lines_and_works():
    text = CNN.search(README.read_text())[1]
    assert len(text.strip().splitlines()) <= 15
    Path("my_problem.py").write_text(text)
    result = steepest("compare", "my_problem.py", *QUICK[:4], "--seeds", "5", "--steps", "30")
    assert result.exit_code == 0, result.output
    assert "\nmy_problem\n" in result.stdout


def test_a_problem_file_with_pretrained_weights_works_and_says_that_every_seed_starts_there():
    Path("tuning.py").write_text(
        "import steepest, torch\n"
        "net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))\n"
        "net.load_state_dict(torch.load('weights.pt'))\n"
        "x, y = torch.randn(90, 4, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 3\n"
        "problem = steepest.Problem(model=net, loss=torch.nn.CrossEntropyLoss(), train=(x, y), valid=(x, y))\n"
    )
    import torch

    torch.save(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).state_dict(), "weights.pt")
    result = steepest("compare", "tuning.py", *QUICK)
    assert result.exit_code == 0, result.output
    assert "every seed starts from the same weights" in result.stdout


def test_the_readmes_python_runs():
    code = re.search(r"```python\n(import steepest\n.*?)```", README.read_text(), re.DOTALL)[1]
    assert len(code.strip().splitlines()) <= 8
    code = code.replace("steepest.compare(", "steepest.compare(optimizers=['sgd'], lrs=0.5, steps=5, problem=")
    import torch

    exec(code, {"model": torch.nn.Linear(2, 2)})


MISTAKES = {
    "unknown problem": (["compare", "digit"], "did you mean 'digits'?"),
    "unknown optimizer": (["compare", "--optimizers", "adm"], "did you mean 'adam'?"),
    "unknown optimizer in the rates": (["compare", "--lrs", "adma=0.1"], "did you mean 'adam'?"),
    "unknown schedule": (["compare", "--schedules", "cosin"], "did you mean 'cosine'?"),
    "schedule beyond floats": (["schedule", "constant(1e300) * constant(1e300)"], "overflows; expected finite multipliers"),
    "rate of zero": (["compare", "--lrs", "0"], "expected a finite number above 0"),
    "negative rate": (["compare", "--lrs", "sgd=-0.1"], "expected a finite number above 0"),
    "rate not a number": (["compare", "--lrs", "nan"], "expected a finite number above 0"),
    "infinite rate": (["compare", "--lrs", "inf"], "expected a finite number above 0"),
    "rate in words": (["compare", "--lrs", "small"], "The learning rate 'small' is not a number"),
    "half-named rates": (["compare", "--lrs", "sgd=0.1,0.2"], "'0.2' names no optimizer"),
    "no seeds": (["compare", "--seeds", "0"], "seeds is 0; expected a whole number, 1 or more"),
    "no steps": (["compare", "--steps", "0"], "steps is 0; expected a whole number, 1 or more"),
    "negative margin": (["compare", "--margin", "-1"], "expected a finite number, 0 or more"),
    "budget in words": (["compare", "--budget", "soon"], "expected a time above 0, such as 90s"),
    "steps and budget": (["compare", "--budget", "5s", "--steps", "5", "--seeds", "5"], "give either steps or a budget"),
    "unknown device": (["compare", "--device", "tpu"], "expected cpu or cuda"),
    "absent file": (["compare", "nowhere.py"], "There is no problem file nowhere.py"),
    "file does not parse": (["compare", "broken.py"], "broken.py does not parse: line 1"),
    "file raises": (["compare", "raises.py"], "raises.py, line 2: no luck"),
    "file defines nothing": (["compare", "empty.py"], "empty.py defines no problem"),
    "loss not a scalar": (["compare", "vector.py"], "expected one number per batch"),
    "labels out of range": (["compare", "labels.py"], "has label 9, but the model has 3 outputs"),
    "empty data": (["compare", "nothing.py"], "training data are empty"),
    "NaN in the data": (["compare", "holes.py"], "NaN or infinity in 1 of 8 examples"),
    "store not a database": (["compare", *QUICK, "--store", "text.db"], "file is not a database"),
    "store of another program": (["compare", *QUICK, "--store", "other.db"], "a database of another program"),
    "store read-only": (["compare", *QUICK, "--store", "locked.db"], "is read-only"),
    "store newer": (["compare", *QUICK, "--store", "newer.db"], "Upgrade steepest, or give"),
    "store damaged": (["compare", *QUICK, "--store", "damaged.db"], "cannot be used"),
    "store in no folder": (["compare", *QUICK, "--store", "no/where.db"], "a folder that does not exist"),
    "report in no folder": (["compare", *QUICK, "--report", "no/where.html"], "a folder that does not exist"),
    "report on a folder": (["compare", *QUICK, "--report", "."], "is a folder"),
    "json in no folder": (["compare", *QUICK, "--json", "no/where.json"], "a folder that does not exist"),
    "report over the store": (["compare", *QUICK, "--report", "steepest.db"], "given both as --store and as --report"),
    "second problem unknown": (["compare", "digits", "digit"], "did you mean 'digits'?"),
    "MNIST absent": (["compare", "mnist-mlp"], "Run: steepest data fetch mnist"),
    "MNIST corrupted": (["compare", "mnist-mlp"], "is corrupted: its checksum is not MNIST's"),
    "unknown data set": (["data", "fetch", "mnits"], "did you mean 'mnist'?"),
    "unknown list": (["list", "optimisers"], "did you mean 'optimizers'?"),
}
PROBLEM = (
    "import torch, steepest\n"
    "x, y, loss, n = torch.zeros(8, 2), torch.zeros(8, dtype=int), torch.nn.CrossEntropyLoss(), 3\n{edit}\n"
    "problem = steepest.Problem(model=lambda: torch.nn.Linear(2, n), loss=loss, train=(x, y), valid=(x, y))\n"
)
FILES = {
    "broken.py": "problem = (",
    "raises.py": "import torch\nraise RuntimeError('no luck')\n",
    "empty.py": "x = 1\n",
    "vector.py": PROBLEM.format(edit="loss = torch.nn.CrossEntropyLoss(reduction='none')"),
    "labels.py": PROBLEM.format(edit="y[3] = 9"),
    "nothing.py": PROBLEM.format(edit="x, y = x[:0], y[:0]"),
    "holes.py": PROBLEM.format(edit="x[1] = float('nan')"),
    "text.db": "these are my notes\n",
}


@pytest.fixture(scope="module")
def a_store(tmp_path_factory):
    from steepest.study.store import Store

    path = tmp_path_factory.mktemp("store") / "runs.db"
    with Store(path) as store:
        for i in range(200):
            store.remember("timing", {"i": i}, (1.0, i))
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    return path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_exit_code_2_and_leaves_stores_whole(mistake, a_store, monkeypatch):
    arguments, words = MISTAKES[mistake]
    for name, text in FILES.items():
        Path(name).write_text(text)
    for name in ("locked.db", "newer.db", "damaged.db"):
        shutil.copy(a_store, name)
    Path("locked.db").chmod(0o444)
    for name, statement in (("newer.db", "PRAGMA user_version = 99"), ("other.db", "CREATE TABLE mine (x)")):
        db = sqlite3.connect(name)
        db.execute(statement)
        db.close()
    damaged = bytearray(Path("damaged.db").read_bytes())
    damaged[4096:] = bytes(len(damaged) - 4096)
    Path("damaged.db").write_bytes(damaged)
    monkeypatch.setenv("STEEPEST_DATA", str(Path.cwd()))
    if mistake == "MNIST corrupted":
        Path("mnist").mkdir()
        Path("mnist/train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b not really")
    before = {p: p.read_bytes() for p in Path().glob("*.db")}
    result = steepest(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_help_imports_neither_torch_nor_any_other_heavy_library():
    code = (
        "import sys\nfrom steepest.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_the_version_is_printed():
    assert steepest("--version").stdout == version("steepest") + "\n"


@pytest.mark.parametrize("command", [[], ["compare"], ["list"], ["data"], ["data", "fetch"]])
def test_every_command_answers_help(command):
    result = steepest(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize(
    ("what", "name", "keys"),
    [
        ("optimizers", "adam", {"name", "class", "reference", "reach", "state", "hyper", "deviations"}),
        ("problems", "mnist-mlp", {"name"}),
        ("schedules", "cosine", {"name", "arguments", "formula"}),
        ("surfaces", "rosenbrock", {"name", "about"}),
        ("axes", "weight_decay", {"name", "scale", "usual", "of", "about"}),
        ("measures", "validation loss", {"name"}),
    ],
)
def test_list_names_what_there_is(what, name, keys, strict):
    assert name in steepest("list", what).stdout
    rows = strict(steepest("list", what, "--json", "-").stdout)
    assert all(keys == set(row) for row in rows)
    assert not any("matrix" in row.get("hyper", ()) for row in rows)  # set by the engine, not by the user
    assert name in {row["name"] for row in rows}


def test_selftest_prints_the_simulation_and_fails_where_a_claim_does_not_hold(monkeypatch):
    from steepest.study import statistics
    from steepest_workshop import calibration, simulations

    monkeypatch.setattr(calibration, "everything", simulations.simulate)  # the only rows that use Holm's method
    result = steepest("selftest", "statistics", "--studies", "300")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(": holds)") == 9
    assert "DOES NOT HOLD" not in result.stdout
    monkeypatch.setattr(statistics, "holm", lambda p, alpha: (p, 0 * p + alpha))
    result = steepest("selftest", "statistics", "--studies", "300")
    assert result.exit_code == 1
    assert "DOES NOT HOLD" in result.stdout


@pytest.mark.slow
def test_selftest_prints_every_row_of_the_calibration():
    result = steepest("selftest", "statistics", "--studies", "300")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(": holds)") > 9
    for words in ("its seeds drawn with replacement", "real studies", "the bound on new examples covers", "mean bound of 15"):
        assert words in result.stdout
    assert "DOES NOT HOLD" not in result.stdout


def test_what_a_problem_file_prints_is_not_part_of_the_json(strict):
    Path("loud.py").write_text("print('hello')\n" + PROBLEM.format(edit=""))
    result = steepest("compare", "loud.py", *QUICK, "--json", "-")
    assert strict(result.stdout)["problem"] == "loud"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--optimizers", "sgdd"],
        ["--optimizers", "sgd(momentm=1)"],
        ["--schedules", "cosin"],
        ["--lrs", "sgd=x"],
        ["--budget", "soon"],
        ["--memory", "much"],
        ["digit"],
    ],
)
def test_a_wrong_word_is_refused_before_torch_is_imported(arguments):
    code = "import sys; from steepest.cli import app; app(sys.argv[1:], standalone_mode=False)"
    lines = f"import atexit, sys\natexit.register(lambda: print('torch' in sys.modules, 'matplotlib' in sys.modules))\n{code}"
    ended = subprocess.run([sys.executable, "-c", lines, "compare", *arguments], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["False", "False"]
    assert ended.stderr.startswith("steepest: ")


def test_show_writes_a_step_in_a_language(tmp_path):
    script = steepest("show", "adam", "--language", "javascript").stdout
    assert "function adam(p, g, t, state, { lr, beta1, beta2, eps }) {" in script
    assert "const m_hat = m_t / (1 - beta1 ** t);" in script
    assert r"\hat{m}_t = \frac{m_t}{1 - \beta_1^{t}}" in steepest("show", "adam", "--language", "latex").stdout
    assert "m_hat = debias(m, beta1, t)" in steepest("show", "adam", "--language", "python", "--json", "a.json").stdout
    assert set(json.loads((tmp_path / "a.json").read_text())) == {"name", "language", "text"}
    refused = steepest("show", "adam", "--language", "rust")
    assert refused.exit_code == 2
    assert "'rust'; expected one of python, latex, javascript" in refused.stderr
