"""The site builds without a warning, and its pages are self-contained and accessible, in wide and narrow windows."""

import functools
import http.server
import subprocess
import sys
import threading
from pathlib import Path

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
