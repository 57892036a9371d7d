"""Hostile strings in every text of an untrusted store: they are displayed, and never executed."""

import ast
import csv
import dataclasses
import functools
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

import steepest
from steepest import escapes
from steepest.options import REPORT
from steepest.playground import play
from steepest.report import page
from steepest.report.safe import safe
from steepest.study.store import gate as kept
from steepest.study.store.runs import outcome_of
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
    """A store with a study recorded by --record, which includes pictures of examples."""
    path = tmp_path_factory.mktemp("whole") / "runs.db"
    asked = {"steps": 6, "seeds": 2, "lrs": 0.1, "schedules": "constant,cosine", "record": True}
    steepest.compare("digits", "sgd,adam", store=path, **asked)
    return path


def hostile(path, words):
    """Replace every text of a store that may be any text, by its schema and the types that it is read as."""
    with sqlite3.connect(path) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        count = 0
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'state'").fetchall():
            columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
            for number, *values in db.execute(f"SELECT rowid, * FROM {table}").fetchall():
                row = dict(zip(columns, values, strict=True))
                changed = {name: value for name in columns if (value := other(table, row, name, words)) != row[name]}
                for name, value in changed.items():
                    db.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", (value, number))
                count += len(changed)
    db.close()
    return count


def other(table, row, name, words):
    """The value of a column with every replaceable text replaced."""
    if not isinstance(row[name], str) or (table, name) == ("facts", "what"):
        return row[name]
    if (table, name) == ("facts", "value"):
        return filled(row["what"], row[name], words)
    changed = words.encode("utf-8", "ignore").decode() + (row[name] if name in ("key", "study") else "")
    try:
        if table == "runs":
            kept.one(changed if name == "key" else row["key"], kept.Key, "key")
            kept.one(changed if name == "created" else row["created"], kept.Time, "created")
            outcome_of({**row, name: changed})
    except kept.UnfitError:
        return row[name]
    return row[name] if name in ("spec", "curve") else changed


@functools.cache
def filled(what, text, words):
    """A fact with its strings replaced, wherever the fact can still be read."""
    data = json.loads(text)
    places = {}
    for keys, _ in strings(data):
        if keys:
            places.setdefault(tuple(key for key in keys if isinstance(key, str)), []).append(keys)
    for all_of_them in places.values():
        tried = json.loads(json.dumps(data))
        for *before, last in all_of_them:
            inner = tried
            for key in before:
                inner = inner[key]
            inner[last] = words.encode("utf-8", "ignore").decode()
        try:
            kept.fact(what, json.dumps(tried))
        except kept.UnfitError:
            continue
        data = tried
    assert what != "study" or sum(words[:20] in string for _, string in strings(data)) > 100
    return json.dumps(data)


def strings(data, keys=()):
    """The paths of all strings in JSON, and the strings."""
    if isinstance(data, str):
        yield keys, data
    elif isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from strings(value, (*keys, key))


SLOW = ("markup", "an address")


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in HOSTILE]
)
def there(request, whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(whole, folder / "runs.db")
    assert hostile(folder / "runs.db", HOSTILE[request.param]) > 30
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_text_of_a_store_acts_on_the_terminal(there, command):
    for more in ([], ["--json", "-"]):
        code, out, err = called([*command[:2], "runs.db", *command[2:], *more] if command[1:] else [*command, "runs.db", *more])
        assert code == 0 or "check" in command  # which sees that the keys of some facts are those of other words
        assert all(c.isprintable() or c in "\n\t" for c in out + err)
        assert out.isascii() or not more


def test_a_recorded_picture_whose_number_is_text_is_refused_and_would_be_escaped(whole):
    with sqlite3.connect(whole) as db:
        shown = [json.loads(value)["shown"] for (value,) in db.execute("SELECT value FROM facts WHERE what = 'study'")]
    ((data,),) = [[data for data in shown if data["recorded"]]]
    study, words = kept.study(json.loads(json.dumps(data))), HOSTILE["all"]
    data["recorded"]["examples"]["watched"][0]["target"] = "7"
    with pytest.raises(kept.UnfitError, match="Expected `int`"):
        kept.study(data)
    examples = study.recorded.examples
    watched = [dataclasses.replace(one, target=words, index=words) for one in examples.watched]
    examples = dataclasses.replace(examples, watched=watched, wrong=words, seeds=words, of=words)
    recorded = dataclasses.replace(study.recorded, examples=examples)
    drawn = page._examples(safe(dataclasses.replace(study, recorded=recorded)))
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
    assert called(["report", "runs.db"])[0] == 0  # drawn once, here or in the terminal's test
    dialogs = []
    with opened(chromium, there / REPORT) as tab:  # a fault on the console fails
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


@pytest.fixture(scope="module")
def made(whole, tmp_path_factory):
    """A report and the playground."""
    folder = tmp_path_factory.mktemp("pages")
    assert called(["report", str(whole), "--out", str(folder / "r.html")])[0] == 0
    return folder / "r.html", play("bowl").write(folder / "p.html")


@pytest.fixture
def pages(made, tmp_path):
    return [Path(shutil.copy(path, tmp_path)) for path in made]


def test_a_page_runs_its_own_script_and_no_other(pages, chromium):
    for path in pages:
        with opened(chromium, path):
            pass  # its own script runs without an error
        path.write_text(path.read_text().replace("</body>", f"{RAN}</body>"))
        tab = chromium.new_page()
        refused = []
        tab.on("console", lambda message, said=refused: said.append(message.text))
        tab.goto(path.as_uri())
        assert tab.evaluate("window.ran") is None
        assert sum("Content Security Policy" in text for text in refused) == 2
        tab.close()


def test_a_page_whose_script_was_changed_runs_nothing(pages, chromium):
    for path in pages:
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
    "dumps": {"escapes.py", "shell.py", "report/file.py"},
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
