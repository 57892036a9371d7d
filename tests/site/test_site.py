"""The site builds without a warning, and its pages are self-contained and accessible, in wide and narrow windows."""

import functools
import http.server
import io
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from steepest.errors import SteepestError
from steepest.rules import RULES
from steepest_workshop.lessons import kept
from steepest_workshop.site import build, cost, sensitivity

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The whole site, built once."""
    pytest.importorskip("sphinx", reason="sphinx is not installed")
    folder = tmp_path_factory.mktemp("site")
    made = subprocess.run([sys.executable, "-m", "steepest_workshop.site", folder], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder


def test_there_is_a_page_for_everything(site):
    for name in RULES:
        text = (site / "rules" / f"{name}.html").read_text()
        assert "<math" in text
        assert text.count(f"{name}-paths.png") >= 1
        assert text.count(f"{name}-rates.png") >= 1
    assert len(list((site / "lessons").glob("*.html"))) == 5
    for page in ("tutorial", "glossary", "reading", "changelog", "protocol", "reproduction", "how-to-model"):
        assert (site / f"{page}.html").is_file()
    assert "steepest.compare" in (site / "reference" / "steepest.html").read_text()
    assert not list(build.dead(site))
    assert "#surface=valley&amp;rules=sgd,adam,lion'" in (site / "rules" / "lion.html").read_text().replace('"', "'")
    assert f"{build.PLAYGROUND}#lesson=1" in (site / "lessons" / "002-lab.html").read_text()


@pytest.fixture
def served(site):
    """The site on a loopback server, since pages opened as files may not read their own styles."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("width", "pages"),
    [(1300, slice(0, None, 16)), (390, slice(8, None, 16))]  # an eighth of the pages; the slow tier covers all in both widths
    + [pytest.param(width, slice(None), marks=pytest.mark.slow) for width in (1300, 390)],
)
def test_no_page_asks_for_anything_or_is_closed_to_anyone(site, served, chromium, width, pages):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    context, found = chromium.new_context(viewport={"width": width, "height": 800}), {}
    for path in sorted(site.rglob("*.html"))[pages]:
        name = path.relative_to(site).as_posix()
        if name in ("genindex.html", "py-modindex.html", "search.html", build.PLAYGROUND):
            continue
        tab, faults = context.new_page(), []
        tab.on(
            "request",
            lambda request, faults=faults: (
                faults.append(request.url) if not request.url.startswith((served, "data:")) else None
            ),
        )
        tab.on(
            "console",
            lambda message, faults=faults: faults.append(message.text) if message.type in ("error", "warning") else None,
        )
        tab.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
        tab.goto(f"{served}/{name}")
        faults += [
            f"{v['id']}: {v['nodes'][0]['html'][:200]}"
            for v in axe.run(tab).response["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        if tab.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
            faults.append("wider than the window")
        if faults:
            found[name] = faults
        tab.close()
    context.close()
    assert found == {}


WIDE = """() => {
  const wide = [...document.querySelectorAll("html, .content")].filter(e => e.scrollWidth > e.clientWidth + 1)
  const blocks = [...document.querySelectorAll("article pre, article .table-wrapper, article .formula, article img")]
  const boxed = blocks.filter(e => e.scrollWidth > e.clientWidth + 1 && innerWidth > 1200)
  return [...wide, ...boxed].map(e => `${innerWidth}: ${e.tagName} ${e.textContent.trim().slice(0, 40)}`)
}"""


def test_no_code_block_table_or_picture_runs_off_a_page(site, served, chromium):
    """In a narrow window it scrolls in its own box; in a wide one it fits."""
    context, found = chromium.new_context(viewport={"width": 1300, "height": 800}), {}
    context.route("**/*.js", lambda route: route.abort())
    context.route("**/*.gif", lambda route: route.abort())
    tab = context.new_page()
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        if name == build.PLAYGROUND:
            continue
        tab.goto(f"{served}/{name}", wait_until="domcontentloaded")
        faults = []
        for width in (1300, 390):
            tab.set_viewport_size({"width": width, "height": 800})
            faults += tab.evaluate(WIDE)
        if faults:
            found[name] = faults
    context.close()
    assert found == {}


def _bands(picture):
    """How many bands of ink a picture has, from top to bottom, with blank rows between them."""
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    inked = (np.asarray(image.open(io.BytesIO(picture)).convert("L")) < 160).any(1)
    return int(inked[0]) + int((np.diff(inked.astype(int)) == 1).sum())


def test_a_hat_touches_neither_its_letter_nor_the_bar_of_a_root(served, chromium):
    context = chromium.new_context(viewport={"width": 1300, "height": 800}, device_scale_factor=4)
    tab = context.new_page()
    tab.goto(f"{served}/rules/adam.html")
    hats = tab.locator("mover").all()
    assert len(hats) >= 4
    for hat in hats:
        assert _bands(hat.screenshot()) == 2  # the hat and its letter
    root, hat = tab.locator("msqrt").first.bounding_box(), tab.locator("msqrt mover").first.bounding_box()
    clip = {"x": hat["x"], "y": root["y"], "width": hat["width"], "height": hat["y"] + hat["height"] - root["y"]}
    assert _bands(tab.screenshot(clip=clip)) == 3  # the bar too
    context.close()


def test_every_lesson_can_be_downloaded_as_it_is_in_the_repository(site):
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for notebook in notebooks:
        text = (site / "lessons" / f"{notebook.stem}.html").read_text()
        (address,) = re.findall(r'href="(\.\./_downloads/[^"]+\.ipynb)"', text)
        assert (site / "lessons" / address).read_bytes() == notebook.read_bytes()
        assert "It does not run in this page" in text
    assert len(notebooks) == 5


def test_the_first_page_has_a_picture(site):
    assert 'src="_images/report-bounds.png"' in (site / "index.html").read_text()
    assert (site / "_images" / "report-bounds.png").is_file()


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a><a href="c.html">c</a><a id="top" href="#top">a</a>')
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="https://example.org/none">x</a>')
    assert sorted(build.dead(tmp_path)) == ["a.html to b.html#here", "a.html to c.html"]


def test_the_site_is_built_where_its_pages_are(tmp_path, monkeypatch):
    pytest.importorskip("sphinx", reason="sphinx is not installed")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SteepestError, match="run it in the repository's root"):
        build.build(tmp_path / "out")


def test_the_curves_and_times_of_rules_are_current():
    """Rules without a recorded curve are new; curves of changed rules must be recorded again (see the modules)."""
    for name in sensitivity.STEPS:
        measured = {key.partition(", ")[2] for key in kept.load(sensitivity.FILE) if key.startswith(f"{name}, ")}
        assert len(measured) >= 28
        for rule in map(RULES.get, measured):
            curve = sensitivity.curve(name, rule)
            assert curve is not None, (name, rule.name)
            assert curve.shape == (sensitivity.RATES, sensitivity.SEEDS)
            found = sensitivity.facts(name, rule)
            assert found.lr in sensitivity.rates(rule)
            assert 0 < found.decades <= sensitivity.RATES / 3
    assert all(0.8 < cost.of(RULES[name])["over_sgd"] < 500 for name in kept.load(cost.FILE))  # plain SGD is the fastest
