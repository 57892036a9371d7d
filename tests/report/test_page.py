"""The report in a browser, offline: it makes no requests, its controls work, and its numbers are the store's."""

import functools
import html
import json
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import steepest
from steepest.report import page
from steepest_workshop import gallery

from ..browsing import opened


def shown(tab, selector):
    return tab.eval_on_selector_all(selector, "all => all.filter(e => e.getClientRects().length).length")


def test_the_code_is_copied(chromium, raced):
    study, path, _ = raced
    with opened(chromium, path) as tab:
        tab.click("[data-copy]")
        assert tab.inner_text("[data-copy]") == "Copied"
        copied = tab.evaluate("window.copied") or tab.inner_text("pre")
    assert copied == study.best().code()


def test_curves_show_the_first_three_and_others_seeds_axes_and_measures_on_demand(chromium, raced):
    _, path, _ = raced
    with opened(chromium, path) as tab:
        box = "[data-choices]"
        chips = tab.eval_on_selector_all(f"{box} [data-label]", "all => all.map(b => [b.dataset.label, b.ariaPressed])")
        assert [pressed for _, pressed in chips] == ["true"] * 3 + ["false"] * (len(chips) - 3)
        assert shown(tab, f"{box} g.line") == 3
        assert shown(tab, f"{box} g.thin") == 0
        tab.click(f"{box} [data-label]:nth-of-type(4)")
        assert shown(tab, f"{box} g.line") == 4
        tab.click(f"{box} [data-label]:nth-of-type(1)")
        assert shown(tab, f"{box} g.line") == 3
        tab.click(f"{box} [data-seeds]")
        assert shown(tab, f"{box} g.thin") == 3
        seen = set()
        for x in ("steps", "seconds"):
            tab.click(f'{box} [data-value="{x}"]')
            for scale in ("linear", "log"):
                tab.click(f'{box} [data-value="{scale}"]')
                for of in ("metric", "loss"):
                    tab.click(f'{box} [data-value="{of}"]')
                    (variant,) = tab.eval_on_selector_all(
                        f"{box} [data-variant]", "all => all.filter(e => !e.hidden).map(e => e.dataset.variant)"
                    )
                    assert variant == f"{x} {scale} {of}"
                    seen.add(tab.inner_text(f'{box} [data-variant="{variant}"]'))
                    assert shown(tab, f"{box} g.line") == 3
        assert len(seen) == 8  # each has different axis labels


def test_a_point_says_what_it_is_where_a_pointer_rests(chromium, raced):
    _, path, _ = raced
    with opened(chromium, path) as tab:
        points = tab.locator("[data-words]")
        count = points.count()
        assert count > 50
        for point in (points.nth(0), points.nth(count // 2)):
            if point.is_visible():
                point.scroll_into_view_if_needed()
                point.hover(force=True)
                assert tab.inner_text("#tip").strip()


def test_the_tables_hold_the_numbers_of_the_store(chromium, raced):
    study, path, store = raced
    with opened(chromium, path) as tab:
        tables = tab.eval_on_selector_all(
            "section section",
            "all => all.map(s => [s.id, [...s.querySelectorAll('tr')].map(r => [...r.children].map(c => c.textContent))])",
        )
        everything = tab.content()
    tables = {name.partition("-")[2]: rows for name, rows in tables if name}
    with sqlite3.connect(store) as db:
        rows = db.execute("SELECT optimizer, schedule, lr, seed, valid FROM runs WHERE steps = 100").fetchall()
    heading, *ranked = tables["ranking"]
    assert len(ranked) == 6
    for row in ranked:
        cells = dict(zip(heading, row, strict=True))
        optimizer, _, schedule = cells["optimizer"].partition("+")
        values = [v for o, s, lr, seed, v in rows if (o, s, lr) == (optimizer, schedule, float(cells["rate"])) and seed < 10**6]
        assert int(cells["n"]) == len(values)
        if values:
            assert float(cells["mean"]) == float(f"{np.mean(values):.5g}")
    heading, *tried = tables["sensitivity"]
    assert len(tried) == len({row[:3] for row in rows if row[3] >= 10**6})
    for label, rate, mean, n, _ in tried:
        optimizer, _, schedule = label.partition("+")
        values = [
            v for o, s, lr, seed, v in rows if (o, s, lr) == (optimizer, schedule, float(rate)) and 10**6 <= seed < 2 * 10**6
        ]
        assert (int(n), float(mean)) == (len(values), float(f"{np.mean(values):.5g}"))
    heading, *places = tables["regret"]
    answer = study.answer()
    assert places[0][0] == str(answer.pick)
    assert float(places[0][3]) == float(f"{answer.bound:.3g}")
    assert answer.sentence in html.unescape(everything)


def test_no_serious_fault_is_found_by_axe(chromium, raced):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    _, path, _ = raced
    with opened(chromium, path) as tab:
        tab.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
        faults = [v for v in axe.run(tab).response["violations"] if v["impact"] in ("serious", "critical")]
        assert not faults, json.dumps([(v["id"], v["nodes"][0]["html"]) for v in faults], indent=1)[:3000]
        tab.evaluate("document.querySelector('button').style.color = '#ddd'")  # a fault that must be seen
        assert any(v["id"] == "color-contrast" for v in axe.run(tab, "button").response["violations"])


def test_on_a_phone_nothing_scrolls_sideways_but_tables_in_their_frames(chromium, raced):
    _, path, _ = raced
    with opened(chromium, path, width=390) as tab:
        tab.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        wide = tab.eval_on_selector_all(
            "main *:not(.scroll *):not(pre *):not(svg *)",
            "all => all.filter(e => e.getBoundingClientRect().right > 391).length",
        )
        assert wide == 0
        reached = tab.eval_on_selector_all(
            ".scroll",
            "all => all.map(e => { e.scrollLeft = 1e6; return e.querySelector('th:last-child') })"
            ".map(last => last.getBoundingClientRect().right)",
        )
        assert all(right <= 391 for right in reached)


def test_on_paper_no_picture_is_cut(chromium, raced, tmp_path):
    _, path, _ = raced
    with opened(chromium, path, width=718) as tab:  # A4 at 96 dots per inch with margins of 1 cm
        tab.emulate_media(media="print")
        figures = tab.eval_on_selector_all(
            "figure:has(svg)", "all => all.map(e => [e.getBoundingClientRect().height, getComputedStyle(e).breakInside])"
        )
        assert len(figures) >= 9
        assert all(height < 1047 and inside == "avoid" for height, inside in figures)
        pdf = tab.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "1cm"))
    assert pdf.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) < 40


SLOW = ("twenty", "saturated")  # to train and draw


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in gallery.STUDIES if name != "race"],
)
def test_studies_that_are_hard_to_show_give_readable_pages(chromium, name, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "line", functools.partial(gallery.line, steps=20))
    study = gallery.STUDIES[name]()
    path = study.report(tmp_path / "report.html")
    assert path.stat().st_size < 2e6
    with opened(chromium, path, width=390) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        assert tab.inner_text(".answer") == re.sub(r"\s+", " ", study.answer().sentence)
        assert tab.inner_text("h1") == re.sub(r"\s+", " ", study.data.problem)
        words = tab.inner_text("main")
    assert "nan" not in re.sub(r"[^a-z ]", " ", words.lower()).split()
    expected = {"diverged": "diverged", "saturated": "Saturated", "one-seed": "too few"}
    assert expected.get(name, "") in words


def test_a_report_is_made_from_the_store_alone_and_is_the_same(raced, tmp_path):
    study, path, store = raced
    code = (
        "import sys\nfrom steepest.cli import main\nsys.argv = ['steepest', 'report', sys.argv[1], '--out', sys.argv[2]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\nassert 'torch' not in sys.modules\n"
    )
    again = tmp_path / "again.html"
    done = subprocess.run([sys.executable, "-c", code, str(store), str(again)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert study.answer().sentence in done.stdout
    assert again.read_text() == path.read_text()


def test_a_notebook_shows_the_answer_without_a_script(raced):
    study, _, _ = raced
    text = study._repr_html_()
    assert html.escape(study.answer().sentence) in text
    assert "<svg" in text
    assert "<script" not in text


def test_the_page_of_two_studies_has_both_and_no_id_twice(raced, line):
    _, path, _ = raced
    small = steepest.compare(line, "sgd", lrs=[0.05, 0.1], schedules="constant", seeds=3, steps=20, store=":memory:").data
    both = page.text([small, small])
    for text in (path.read_text(), both):
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len({*ids}) > 100
    assert both.count('class="answer"') == 2


def test_a_store_reports_each_question_once_and_keeps_what_was_watched(line, tmp_path):
    from steepest.study.store import Store

    store = tmp_path / "runs.db"
    for record in (False, True, False):
        steepest.compare(line, "sgd,adam", lrs=0.05, seeds=5, steps=20, store=store, record=record)
    steepest.compare(line, "sgd", lrs=0.05, seeds=5, steps=20, store=store)
    with Store(store) as opened:
        first, second = opened.studies()
    assert first.recorded
    assert len(second.optimizers) == 2
