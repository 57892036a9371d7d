"""A store from elsewhere with hostile words wherever it has words: what is shown of it acts nowhere, it is only seen."""

import ast
import csv
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

import steepest
from steepest import escapes
from steepest.playground import play
from steepest.report.study import page
from tests.browsing import opened
from tests.fuzz.test_hostile import called

CONTROLS = "\x1b]52;c;cm0gLXJm\x07\x1b[31m\x9b2J\x7f\b\r\n"
MARKS = "\u202e\u2066\u200b\ud800"
MARKUP = "\"><img src=x onerror=alert(1)></script><script>alert(2)</script><svg onload=alert(3)>' onclick='alert(4)"
HOSTILE = {
    "all": f'=HYPERLINK("http://x"){MARKUP}{CONTROLS}{MARKS}[red]x[/blue]:bomb: $\\frac{{1}}$',
    "markup": f"{MARKUP} {MARKS}",
    "an address": "javascript:alert(5)",
    "a picture with a script": "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='alert(6)'/>",
}
COMMANDS = (("store", "ls"), ("store", "show"), ("store", "check"), ("report",), ("store", "export", "--out", "runs.csv"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with a study that was watched from inside: it has pictures of examples too."""
    path = tmp_path_factory.mktemp("whole") / "runs.db"
    asked = {"steps": 6, "seeds": 2, "lrs": 0.1, "schedules": "constant,cosine", "record": True}
    steepest.compare("digits", "sgd,adam", store=path, **asked)
    return path


def filled(data, words):
    """Data of JSON with every string in them replaced."""
    if isinstance(data, dict):
        return {key: filled(value, words) for key, value in data.items()}
    if isinstance(data, list):
        return [filled(value, words) for value in data]
    return words if isinstance(data, str) else data


def hostile(path, words):
    """Replace every text of a store, in columns of text as its schema has them, and in the JSON that some of them hold."""
    with sqlite3.connect(path) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        count = 0
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [name for _, name, kind, *_ in db.execute(f"PRAGMA table_info({table})") if kind == "TEXT"]
            for row, *values in db.execute(f"SELECT rowid, {', '.join(columns)} FROM {table}").fetchall():
                for column, value in zip(columns, values, strict=True):
                    changed = other(table, column, value, words, row)
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row))
                    count += changed != value
    db.close()
    return count


def other(table, column, value, words, row):
    if (table, column) in (("facts", "what"), ("state", "name")):
        return value  # under which a fact is looked for
    try:
        data = json.loads(value)
    except (TypeError, ValueError):
        return words.encode("utf-8", "ignore").decode() + (str(row) if column in ("key", "study") else "")
    return json.dumps(filled(data, words)) if isinstance(data, dict | list) else value


SLOW = ("markup", "an address")


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in HOSTILE]
)
def there(request, whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(whole, folder / "runs.db")
    assert hostile(folder / "runs.db", HOSTILE[request.param]) > 50
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_text_of_a_store_acts_on_the_terminal(there, command):
    for more in ([], ["--json", "-"]):
        code, out, err = called([*command[:2], "runs.db", *command[2:], *more] if command[1:] else [*command, "runs.db", *more])
        assert code == (2 if "check" in command else 0)
        assert all(c.isprintable() or c in "\n\t" for c in out + err)
        assert out.isascii() or not more


def test_numbers_of_recorded_pictures_that_are_text_are_escaped_too(whole):
    with sqlite3.connect(whole) as db:
        shown = [json.loads(value)["shown"] for (value,) in db.execute("SELECT value FROM facts WHERE what = 'study'")]
    ((data),) = [data for data in shown if "recorded" in data]
    words = HOSTILE["all"]
    seen = {key: value if isinstance(value, list) else words for key, value in data["recorded"]["examples"].items()}
    assert words in seen.values()
    for one in (*seen["watched"], *seen["errors"]):
        one |= {key: words for key in one if key != "image"}
    recorded = data["recorded"] | {"examples": seen}
    drawn = page._examples(escapes.every({"recorded": recorded}))
    assert "&lt;img src=x" in drawn
    assert "<img src=x" not in drawn
    assert "\x1b" not in drawn


def test_no_field_of_a_store_makes_lines_of_its_own(there):
    code, out, _ = called(["store", "show", "runs.db"])
    with sqlite3.connect("runs.db") as db:
        ((count,),) = db.execute("SELECT count(*) FROM runs")
    assert (code, len(out.splitlines())) == (0, 1 + count)


def test_no_cell_of_an_export_is_a_formula(there):
    code, _, _ = called(["store", "export", "runs.db", "--out", "runs.csv"])
    assert code == 0
    with open("runs.csv", encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) > 24
    for cell in cells:
        assert not cell.startswith(("=", "+", "@", "\t", "\r")), cell
        assert not cell.startswith("-") or float(cell) < 0


def test_no_text_of_a_store_acts_on_its_page(there, chromium):
    assert called(["report", "runs.db", "--out", "r.html"])[0] == 0
    dialogs = []
    with opened(chromium, there / "r.html") as tab:  # a fault on the console fails
        tab.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
        tab.reload()
        assert tab.eval_on_selector_all("script", "all => all.length") == 1
        assert tab.eval_on_selector_all("[onclick], [onerror], [onload]", "all => all.length") == 0
        sources = tab.eval_on_selector_all("img, iframe, object, embed, a", "all => all.map(e => e.src || e.href || e.data)")
        assert all(escapes.is_picture(source) for source in sources)
        for button in tab.query_selector_all("button"):
            assert button.inner_text().strip()
            button.evaluate("b => b.click()")
        assert not any(mark in tab.inner_text("body") for mark in "\u202e\u2066\x1b")
    assert not dialogs


RAN = "<script>window.ran = 1</script><img src='data:,' onerror='window.ran = 2'>"


def pages(folder, whole):
    """A report and the playground."""
    assert called(["report", str(whole), "--out", str(folder / "r.html")])[0] == 0
    return folder / "r.html", play("bowl").write(folder / "p.html")


def test_a_page_runs_its_own_script_and_no_other(whole, tmp_path, chromium):
    for path in pages(tmp_path, whole):
        with opened(chromium, path):
            pass  # its own does, without a fault
        path.write_text(path.read_text().replace("</body>", f"{RAN}</body>"))
        tab = chromium.new_page()
        refused = []
        tab.on("console", lambda message, said=refused: said.append(message.text))
        tab.goto(path.as_uri())
        assert tab.evaluate("window.ran") is None
        assert sum("Content Security Policy" in text for text in refused) == 2
        tab.close()


def test_a_page_whose_script_was_changed_runs_nothing(whole, tmp_path, chromium):
    for path in pages(tmp_path, whole):
        path.write_text(path.read_text().replace('"use strict";', '"use strict"; window.ran = 3;', 1))
        tab = chromium.new_page()
        tab.goto(path.as_uri())
        assert tab.evaluate("window.ran") is None
        tab.close()


def test_a_measure_without_a_name_has_a_button_that_says_so(chromium, tmp_path):
    import torch

    x = torch.linspace(-1, 1, 16)[:, None]
    line = {"model": lambda: torch.nn.Linear(1, 1), "loss": torch.nn.MSELoss(), "train": (x, x), "valid": (x, x)}
    problem = steepest.Problem(
        name="line", metric=lambda output, target: (output - target).abs().mean(), direction="min", **line
    )
    study = steepest.compare(problem, "sgd", lrs=0.1, seeds=1, steps=6, schedules="constant", store=":memory:")
    with opened(chromium, study.report(tmp_path / "r.html")) as tab:
        assert tab.inner_text("[data-value=metric]") == "<lambda>"


def test_words_typed_cannot_end_the_script_of_the_playground(chromium, tmp_path):
    for words in ("valley(condition=100) # </script><script>window.ran = 1</script>", "x**2+y**2 # <!--<script>"):
        with opened(chromium, play(words).write(tmp_path / "p.html")) as tab:
            assert tab.evaluate("window.ran") is None
            assert tab.eval_on_selector_all("script", "all => all.length") == 1


def test_a_picture_in_a_page_is_a_png_and_all_in_it():
    assert escapes.is_picture("data:image/png;base64,iVBORw0KGgo=")
    for address in (
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:text/html;base64,PHN2Zz4=",
        'data:image/png;base64,iVBO" onerror="alert(1)',
        "data:image/png;base64,iVBO\n",
        "http://192.0.2.1/a.png",
        "",
        None,
        3,
    ):
        assert not escapes.is_picture(address)


@pytest.mark.parametrize("words", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1"])
def test_a_text_that_a_spreadsheet_would_compute_begins_with_an_apostrophe(words):
    assert escapes.cell(words).startswith("'")
    assert escapes.plain(words) in escapes.cell(words)


@pytest.mark.parametrize("value", [-1.5, 3, None, "adam(lr=0.1)", "a - b", "Größe"])
def test_numbers_and_other_text_are_cells_as_they_are(value):
    assert escapes.cell(value) == value


GATES = {
    "echo": {"shell.py"},
    "escape": {"escapes.py", "playground/page.py"},
    "dumps": {"escapes.py", "shell.py", "report/study/file.py"},
}
WRITES = ("cli", "report", "playground", "shell.py", "escapes.py")


def test_nothing_is_shown_but_by_the_one_module_that_escapes():
    source = Path(steepest.__file__).parent
    for path in source.rglob("*.py"):
        name = path.relative_to(source).as_posix()
        if name.startswith(WRITES):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and name not in GATES.get(node.attr, {name}):
                    pytest.fail(f"{name}, line {node.lineno}: {node.attr} shows what it is given as it is")
