"""The teacher's kit: notebooks that are handed out, filled in, and graded, and answers that are not honest."""

import ast
import json
import os
import re
import time
from pathlib import Path

import jupytext
import nbformat
import pytest
from typer.testing import CliRunner

from steepest.cli import app
from steepest.errors import SteepestError
from steepest_workshop.lessons import solution
from steepest_workshop.lessons.classroom import grader, handout, marks, sources, submission

LIMITS = grader.Limits(seconds=1, memory=256 << 20)
QUICK = grader.Limits(seconds=5)


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class") / "lessons"
    handout.hand_out(folder)
    return folder


def code_of(path):
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def notebook(path, *cells):
    """A notebook of code cells."""
    data = {"cells": [{"cell_type": "code", "source": text} for text in cells], "metadata": {}, "nbformat": 4}
    path.write_text(json.dumps(data))
    return path


def filled(text):
    """A cell of a hand-out with the right answers in its blanks."""
    tree = ast.parse(text.replace("%matplotlib", "#"))
    for name, answer in submission.checks(tree):
        if isinstance(answer, ast.Name):
            (blank,) = [node for node in tree.body if getattr(node, "name", "") == answer.id]
            text = text.replace(ast.get_source_segment(text, blank), solution(name).strip())
        else:
            text = text.replace(f'check("{name}", ...)', f'check("{name}", {solution(name)})')
    return text


def graded(path, limits=QUICK):
    (marked,) = grader.grade([path], limits)
    return marked


@pytest.mark.parametrize("path", sources.lessons(), ids=lambda path: path.stem)
def test_a_source_is_read_as_jupytext_reads_it(path):
    cells = [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]
    assert [tuple(cell) for cell in sources.cells(path)] == cells


def test_a_wheel_contains_the_sources_and_uses_them(tmp_path, monkeypatch):
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    built = wheel.WheelBuilder(str(Path(__file__).parents[2]))
    files = {file.distribution_path: file.path for file in built.recurse_included_files()}
    package = "steepest_workshop/lessons/classroom/notebooks"
    packaged = {Path(name).name: path for name, path in files.items() if name.startswith(package)}
    assert sorted(packaged) == [path.name for path in sources.lessons()]
    assert "steepest_workshop/lessons/classroom/students.md" in files
    monkeypatch.setattr(sources, "CHECKOUT", tmp_path / "none")
    monkeypatch.setattr(sources, "PACKAGED", tmp_path)
    for name, path in packaged.items():
        (tmp_path / name).write_bytes(Path(path).read_bytes())
    assert [path.parent for path in sources.lessons()] == [tmp_path] * 5


def test_a_hand_out_is_five_notebooks_without_outputs_and_answers(handed_out):
    names = [path.name for path in sources.lessons()]
    assert sorted(path.name for path in handed_out.iterdir()) == sorted(
        ["README.md", *(f"{Path(name).stem}.ipynb" for name in names)]
    )
    found = set()
    for path in handed_out.glob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs")
            assert "](../" not in "".join(cell["source"])
        for text in code_of(path):
            tree = ast.parse(text.replace("%matplotlib", "#"))
            defined = {node.name: node for node in tree.body if hasattr(node, "name")}
            for name, answer in submission.checks(tree):
                found.add(name)
                at = handout._function(defined[answer.id])[1] if isinstance(answer, ast.Name) else None
                blank = at.body[-1].value if at else answer
                assert isinstance(blank, ast.Constant), text
                assert blank.value is ..., text
    assert len(found) >= 30
    with pytest.raises(SteepestError, match=r"000-assignment.ipynb exists, and may have answers"):
        handout.hand_out(handed_out)


def test_the_teachers_page_has_the_number_of_exercises_of_each_lesson():
    page = (Path(__file__).parents[2] / "docs" / "teaching.md").read_text(encoding="utf-8")
    written = dict(re.findall(r"^\| (\d{3}) [^|]* \| (\d+) \|", page, re.MULTILINE))
    counted, names = {}, []
    for path in sources.lessons():
        cells = {k: cell.text for k, cell in enumerate(sources.cells(path)) if cell.kind == "code"}
        found = submission._submission(cells).attempts
        counted[path.stem[:3]] = str(len(found))
        names += found
    assert written == counted
    assert len(names) == len(set(names))


def test_right_answers_have_full_marks_and_blanks_have_none(handed_out, tmp_path):
    paths = []
    for path in sorted(handed_out.glob("*.ipynb")):
        data = json.loads(path.read_text())
        for cell in data["cells"]:
            if cell["cell_type"] == "code":
                cell["source"] = filled("".join(cell["source"]))
        paths.append(tmp_path / path.name)
        paths[-1].write_text(json.dumps(data))
    paths.append(handed_out / "002-lab.ipynb")
    seen = []
    *right, empty = grader.grade(paths, QUICK, lambda done, total: seen.append((done, total)))
    for marked in right:
        wrong = {name: answer.words for name, answer in marked.answers.items() if not answer}
        assert not wrong
        assert marked.answers
    assert empty.right == 0
    assert {answer.words for answer in empty.answers.values()} == {"Blank: put your answer in the place of its `...`."}
    total = sum(len(each.answers) for each in (*right, empty))
    assert seen == [(done, total) for done in range(total + 1)]


RIGHT = "def inverse_time(t, k):\n    return 1 / (1 + k * t)\ncheck('inverse_time', inverse_time)"
STEP = "def sgd(w, g, t, state):\n    {}\n    return w - 0.1 * g\ncheck('sgd', sgd)"
SLOW = " s"  # of processor time, or of the clock where others use the processor
SOLUTIONS = "steepest_workshop/lessons/exercises/steps.py"
SOURCE = f"import os, sys; root = [p for p in sys.path if p.endswith('src')][0]; file = root + '/{SOLUTIONS}'"
HOSTILE = {  # a line before the right answer, and what is said
    "endless": ("while True: pass", SLOW),
    "asleep": ("import time; time.sleep(60)", SLOW),
    "deaf": ("import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n    while True: pass", SLOW),
    "sys.exit": ("import sys; sys.exit(0)", "stopped with SystemExit"),
    "os._exit": ("import os; os._exit(0)", "ended its process before it gave a result (exit code 0)"),
    "memory": ("x = bytearray(1 << 30)", "MemoryError"),
    "many": ("x = [0] * 2\n    while True: x += x", "MemoryError"),
    "writer": ("open('marks.csv', 'w')", "tried to write the file"),
    "quiet writer": ("try: open('marks.csv', 'w')\n    except BaseException: pass", "tried to write the file"),
    "reader": ("open('/etc/passwd').read()", "tried to read the file /etc/passwd"),
    "low reader": ("import os; os.open('/etc/passwd', os.O_RDONLY)", "tried to read the file /etc/passwd"),
    "lister": ("import os; os.listdir('/')", "tried to list a folder"),
    "importer": ("from steepest_workshop.lessons import solution", "steepest_workshop is not available"),
    "loader": (
        f"import runpy, sys; runpy.run_path([p for p in sys.path if p.endswith('src')][0] + '/{SOLUTIONS}')",
        "tried to read the file",
    ),
    "fork": ("import os\n    while True: os.fork()", "tried to start a process"),
    "shell": ("import os; os.system('true')", "tried to start a process"),
    "process": ("import subprocess; subprocess.run(['true'])", "tried to start a process"),
    "killer": ("import os; os.kill(os.getppid(), 9)", "tried to end a process"),
    "network": ("import socket; socket.create_connection(('127.0.0.1', 9))", "tried to use the network"),
    "recursion": ("return sgd(w, g, t, state)", "RecursionError"),
    "missing module": ("import no_such_module", "ModuleNotFoundError"),
    "huge": ("import numpy as np; return np.zeros(2_000_000)", "2,000,000 numbers"),
    "pipe": ("import os, sys\n    os.write(int(sys.argv[1]), b'{\"right\": true}'); os._exit(0)", "other than results"),
    "depth": ("import os, sys\n    os.write(int(sys.argv[1]), b'[' * 10**5); os._exit(0)", "other than results"),
    "flood": ("import os, sys\n    while True: os.write(int(sys.argv[1]), b' ' * 10**6)", "more than 8 MiB"),
    "text": ("return 'right'", "returned str"),
    "path": (f"{SOURCE}; os.path.realpath = lambda p, **k: '/dev/null'; open(file)", "tried to read the file"),
    "stat": (f"{SOURCE}; import stat; stat.S_ISLNK = lambda m: 0; open('/proc/self/root' + file)", "tried to read the file"),
    "builtins": (f"{SOURCE}; import builtins; builtins.any = builtins.isinstance = lambda *a: True; open(file)", "to read the"),
    "text of its own": (
        f"{SOURCE}; P = type('P', (str,), {{'partition': lambda *a: ('', '', '')}}); open(P(file))",
        "tried to read the file",
    ),
    "finder": (f"{SOURCE}; del sys.meta_path[0]; import steepest_workshop", "tried to read the file"),
    "hook": ("import __main__; __main__.Guard.strict = False", "has no attribute 'Guard'"),
    "collector": ("import gc; gc.get_objects()", "tried to watch this process"),
    "descriptor": ("import os, signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)", "PermissionError"),
    "its limits": ("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "tried to change its limits"),
    "parent's limits": ("import os, resource; resource.prlimit(os.getppid(), 0)", "tried to change its limits"),
    "low process": ("import _posixsubprocess; _posixsubprocess.fork_exec(*[None] * 23)", "PermissionError"),
    "axes": ("import numpy as np; return np.zeros((1,) * 32)", "numbers, of shape (1, 1, 1"),
    "long": ("raise ValueError('x' * 10**6)", "ValueError: xxx"),
}
CELLS = {  # whole cells, and what is said
    "a printed mark": ("print('sgd: 1')\ncheck('sgd', lambda w, g, t, state: w)", "w does not move"),
    "a patched check": ("def check(*answer):\n    return True\ncheck('sgd', lambda w, g, t, state: w)", "w does not move"),
    "a patched NumPy": (
        "import numpy as np\ndef sgd(w, g, t, state):\n    np.allclose = lambda *a, **k: True\n    return w\ncheck('sgd', sgd)",
        "w does not move",
    ),
    "an evil class": (
        "class Evil:\n    def __eq__(self, other): return True\n    def __array__(self, *a, **k): raise SystemExit\n"
        "check('sgd', lambda w, g, t, state: Evil())",
        "SystemExit",
    ),
    "a pickle": (
        "import os\nclass Evil:\n    def __reduce__(self): return os.system, ('touch pwned',)\n"
        "check('sgd', lambda w, g, t, state: Evil())",
        "returned Evil; expected numbers",
    ),
    "no Python": ("def sgd(w, g:\n    pass\ncheck('sgd', sgd)", "line 1: this is not Python"),
    "no name": ("check('sgd', nowhere)", "stopped with NameError: name 'nowhere' is not defined"),
    "a broken import": ("import no_such_module as m\ncheck('sgd', lambda w, g, t, s: m.f(w))", "ModuleNotFoundError"),
    "an exit at the top": ("import sys\nleave = sys.exit()\ncheck('sgd', lambda w, g, t, s: leave)", "stopped with SystemExit"),
    "not a number": ("check('sgd', lambda w, g, t, state: w * float('nan'))", "not finite"),
}


def test_a_dishonest_or_broken_answer_has_no_mark_and_costs_no_other(tmp_path):
    cells = {name: (STEP.format(line), words) for name, (line, words) in HOSTILE.items()} | CELLS
    paths = [notebook(tmp_path / f"{k}.ipynb", text, RIGHT) for k, (text, _) in enumerate(cells.values())]
    for (name, (_, words)), marked in zip(cells.items(), grader.grade(paths, LIMITS), strict=True):
        assert not marked.fault
        assert not marked.answers["sgd"], name
        assert words in marked.answers["sgd"].words, (name, marked.answers["sgd"])
        assert "\n" not in marked.answers["sgd"].words
        assert marked.answers["inverse_time"], (name, marked.answers["inverse_time"])
    assert sorted(tmp_path.iterdir()) == sorted(paths)  # nothing was written


def test_an_answer_may_use_what_is_defined_above_it_and_nothing_else_is_run(tmp_path):
    path = notebook(
        tmp_path / "mine.ipynb",
        "%matplotlib inline\nimport numpy as np\nfrom steepest_workshop.lessons import check, ask",
        "!pip install torch",
        "%%bash\nexit 1",
        "RATE, two = 0.1, 2\nw = g = undefined_data()",
        "while True:\n    train()",
        "def scaled(g):\n    return RATE * np.multiply(g, one)",
        "one = two / 2",
        "def sgd(w, g, t, state):\n    return w - scaled(g)\ncheck('sgd', sgd)",
        "answer = check(name='inverse_time', mine=lambda t, k: 1 / (1 + k * t))\nassert answer",
    )
    marked = graded(path)
    assert marked.right == 2, marked


def test_an_answer_is_found_in_a_branch_and_by_the_names_of_its_arguments(tmp_path):
    path = notebook(
        tmp_path / "mine.ipynb",
        "try:\n    import numpy as np\nexcept ImportError:\n    np = None\nRATES = []",
        "RATES.append(0.1)\nhistory = {}",
        "history[np.argmin(losses)] = train()\nhistory[RATES[0]] = train()",
        "if True:\n    def sgd(w, g, t, state):\n        return np.subtract(w, RATES[0] * g)\n    ok = check('sgd', sgd)",
        "check(mine=lambda t, k: 1 / (1 + k * t), name='inverse_time')",
        "with np.errstate(all='ignore'):\n    def mine(epoch):\n        return 0.5 ** (epoch // 5)",
        "check('step_decay', mine)",
    )
    marked = graded(path)
    assert marked.right == len(marked.answers) == 3, marked


@pytest.mark.parametrize(
    "cells",
    [
        [RIGHT] * 5000,
        [*(f"a{k + 1} = a{k}" for k in range(5000)), "check('inverse_time', a5000)"],
        [f"{' ' * 5000}\n" * 1000 + "x = (", RIGHT],
        [f"x = {'-' * 50_000}1", RIGHT],
        [f"x = a{'.a' * 50_000}", RIGHT],
        ["\n".join("  " * k + "if 1:" for k in range(45)) + f"\n{' ' * 90}x = 1", RIGHT],
    ],
    ids=["checks", "chain", "blanks", "signs", "attributes", "branches"],
)
def test_a_notebook_of_any_shape_is_read_in_seconds(cells, tmp_path):
    started = time.process_time()
    assert "inverse_time" in submission.read(notebook(tmp_path / "large.ipynb", *cells)).attempts
    assert time.process_time() - started < 5


def test_a_link_to_anothers_notebook_and_a_pipe_have_no_marks(tmp_path):
    notebook(tmp_path / "ada.ipynb", RIGHT)
    (tmp_path / "bob.ipynb").symlink_to("ada.ipynb")
    os.mkfifo(tmp_path / "eve.ipynb")
    (tmp_path / "joe.ipynb").mkdir()
    ada, bob, eve, joe = grader.grade(marks.notebooks([tmp_path]), QUICK)
    assert ada.right == 1
    assert "bob.ipynb is a link" in bob.fault
    assert "eve.ipynb is not a file" in eve.fault
    assert "joe.ipynb is not a file" in joe.fault


def test_a_name_and_a_sentence_are_one_line_each(tmp_path):
    folder = tmp_path / "eve\neve: 9 of 9 right"
    folder.mkdir()
    forged = 'import os, sys\ndef f(t, k):\n    os.write(int(sys.argv[1]), b\'{"refused": "a\\\\nb"}\'); os._exit(0)\n'
    paths = [notebook(folder / "a.ipynb", f"{forged}check('inverse_time', f)"), notebook(folder / "b.ipynb", "print()")]
    marked = grader.grade(paths, QUICK)
    assert marked[0].answers["inverse_time"].words == "a\\nb"
    assert len(list(marks.lines(marked))) == len("\n".join(marks.lines(marked)).splitlines()) == 2
    assert len(marks.table(marked).splitlines()) == 3


def test_what_an_answer_says_is_cut(tmp_path):
    forged = (
        "import json, os, sys\nclass Mine:\n    def __str__(self):\n"
        "        os.write(int(sys.argv[1]), json.dumps({'texts': {'answer': 'x' * 10**6}}).encode())\n        os._exit(0)\n"
        "check('updates', Mine())"
    )
    assert len(graded(notebook(tmp_path / "a.ipynb", forged)).answers["updates"].words) < 1000


def test_the_last_of_two_answers_counts(tmp_path):
    wrong = RIGHT.replace("1 + k", "2 + k")
    assert graded(notebook(tmp_path / "a.ipynb", RIGHT, wrong)).right == 0
    assert graded(notebook(tmp_path / "b.ipynb", wrong, RIGHT)).right == 1
    assert graded(notebook(tmp_path / "c.ipynb", RIGHT, "check('inverse_time',")).right == 0


def test_an_optimizer_of_ours_is_right_and_a_wrong_one_is_described(tmp_path):
    path = notebook(
        tmp_path / "o.ipynb",
        "from steepest import optim\nimport torch",
        "check('optimizer_momentum', lambda params: optim.SGD(params, lr=0.1, momentum=0.9))",
        "check('optimizer_sgd', lambda params: torch.optim.SGD(params, lr=0.01))",
    )
    marked = graded(path)
    assert marked.answers["optimizer_momentum"], marked
    assert "lr is 0.01" in marked.answers["optimizer_sgd"].words


def test_a_batch_goes_on_past_files_that_are_no_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "class"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    notebook(folder / "=ada.ipynb", RIGHT, "check('updates', 'perhaps')")
    notebook(folder / ".ipynb_checkpoints" / "old.ipynb", RIGHT)
    (folder / "broken.ipynb").write_text("{")
    (folder / "deep.ipynb").write_text('{"cells": ' + "[" * 100_000)
    (folder / "binary.ipynb").write_bytes(b"\xff\xfe\x00")
    notebook(folder / "other.ipynb", "print('hello')")
    command = ["lessons", "grade", "class", "missing.ipynb", "--sentences", "said.csv", "--json", "marks.json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2, done.output
    assert "class/=ada.ipynb: 1 of 2 right; not right: updates" in done.stdout
    faults = done.stderr.splitlines()
    assert len([line for line in faults if "is not a Jupyter notebook" in line]) == 3
    assert len([line for line in faults if "has no exercise" in line]) == 1
    assert "The notebook missing.ipynb cannot be read: No such file or directory." in faults
    header, *rows = Path("marks.csv").read_text().splitlines()
    assert header == "notebook,right,exercises,inverse_time,updates,fault"
    assert rows[0] == "class/=ada.ipynb,1,2,1,0,"
    assert len(rows) == 6
    assert rows[-1].startswith("missing.ipynb,,,,,")
    said = Path("said.csv").read_text()
    assert "class/=ada.ipynb,updates,0,\"Given 'perhaps'; expected one of 10, 600, 6000, 600000.\"" in said
    assert json.loads(Path("marks.json").read_text())[0]["answers"]["inverse_time"]["right"] is True


def test_a_table_has_no_formula_for_a_spreadsheet():
    answers = {"sgd": grader.Answer(False, "=1+1"), "adam": grader.Answer(True, "Right.")}
    marked = [grader.Marked("=a.ipynb", answers), grader.Marked("b.ipynb", fault="Broken.")]
    assert marks.table(marked) == "notebook,right,exercises,sgd,adam,fault\n'=a.ipynb,1,2,0,1,\nb.ipynb,,,,,Broken.\n"
    assert marks.sentences(marked).splitlines()[1] == "'=a.ipynb,sgd,0,'=1+1"


def test_an_interrupt_writes_no_marks_and_says_so(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(grader, "judged", interrupted)
    notebook(tmp_path / "ada.ipynb", RIGHT)
    done = CliRunner().invoke(app, ["lessons", "grade", "ada.ipynb"])
    assert done.exit_code == 130
    assert done.stderr == "steepest: interrupted; no marks were written.\n"
    assert not Path("marks.csv").exists()


def test_the_commands_hand_out_and_grade(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["lessons", "hand-out", "class"])
    assert done.exit_code == 0, done.output
    assert "class/README.md" in done.stdout
    again = CliRunner().invoke(app, ["lessons", "hand-out", "class"])
    assert again.exit_code == 2
    assert "give another folder" in again.stderr
    nowhere = CliRunner().invoke(app, ["lessons", "hand-out", "no/such/class"])
    assert nowhere.exit_code == 2
    assert "cannot be created" in nowhere.stderr
    notebook(tmp_path / "ada.ipynb", RIGHT)
    done = CliRunner().invoke(app, ["lessons", "grade", "ada.ipynb", "--seconds", "2", "--memory", "500MB"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "ada.ipynb: 1 of 1 right\n\nMarks: marks.csv\n"
    (tmp_path / "none").mkdir()
    assert "has no notebook" in CliRunner().invoke(app, ["lessons", "grade", "none"]).stderr
