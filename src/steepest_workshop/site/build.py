"""Collect the pages and build the site with Sphinx; its warnings are errors."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from steepest.errors import SteepestError
from steepest.playground.page import play

from . import rules
from .rules import PLAYGROUND

REFERENCE = {
    "steepest": "Comparing, paths, stores",
    "steepest.problems": "Problems",
    "steepest.schedules": "Schedules",
    "steepest.surfaces": "Surfaces",
    "steepest.rules": "Rules and combinators",
    "steepest.playground": "The playground",
}
CSS = """.formula { overflow-x: auto; padding: 0.3rem 0; text-align: left; }
.formula math { font-size: 1.1rem; }
/* fonts without a table for formulas draw accents on their letters, and roots on what is under them */
mover > :last-child { font-size: 0.75em; padding-bottom: 0.2em; }
msqrt > * { padding-top: 0.15em; }
mfrac > * { padding: 0.15em 0.1em; }
.cell_output pre { white-space: pre-wrap; }
article img[src*="report-bounds"] { max-width: min(100%, 32rem); }
.genindextable td { overflow-wrap: anywhere; }
@media (min-width: 67em) { /* beside the sidebar: output of 128 columns fits, longer lines wrap */
  .sidebar-drawer { width: max(15em, calc(50% - 40em)); }
  .main { min-width: 0; }
  .content { flex: 1; max-width: 62em; min-width: 0; padding: 0 2em; width: auto; }
  article p, article li, article dd { max-width: 46em; }
  article table.docutils { margin-left: 0; }
  article td code { overflow-wrap: anywhere; white-space: normal; }
  article pre { font-size: 0.7rem; overflow-wrap: anywhere; white-space: pre-wrap; }
}
"""
DOWNLOAD = (
    "{download}`Download this notebook <../notebooks/NAME>` and open it with Jupyter where steepest is installed from a "
    "checkout. It does not run in this page: "
    "[PyTorch and NumPy for browsers](../architecture.md#the-site) are on no package index."
)
LESSON = re.compile(r"\[([^\[\]]+)\]\(\.\./docs/playground\.md#lesson-(\d+)\)")  # becomes a link into the playground
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<path d="M1 2 C5 2 6 13 9 13 S12 9 15 9" fill="none" stroke="#0072B2" stroke-width="2.4" stroke-linecap="round"/></svg>
"""


def build(out: Path) -> None:
    """Build the site in a folder. Raises SteepestError if Sphinx is missing or warns, or a link is broken."""
    try:
        from sphinx.cmd.build import main
    except ImportError:
        raise SteepestError("The site needs Sphinx; install it with `pip install '.[docs]'`.") from None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        _gather(source)
        if main(["-q", "-W", "--keep-going", "-b", "html", str(source), str(out)]):
            raise SteepestError("Sphinx has warnings, above; each is an error.")
    for path in out.rglob("*.html"):  # accessibility: wide blocks scroll by keyboard, captions are headings
        text = path.read_text(encoding="utf-8")
        text = text.replace('role="heading">', 'role="heading" aria-level="2">').replace("<pre>", '<pre tabindex="0">')
        text = text.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
        path.write_text(text, encoding="utf-8")
    lost = list(dead(out))
    if lost:
        raise SteepestError(f"{len(lost)} links are broken, the first from {lost[0]}.")
    print(out / "index.html")


def _gather(source: Path) -> None:
    """Write all input of Sphinx to a folder: pages, pictures, lessons, rules, reference, playground."""
    root = Path.cwd()
    if not (root / "docs" / "index.md").is_file():
        raise SteepestError("There is no docs/index.md here; run it in the repository's root.")
    shutil.copytree(root / "docs", source, dirs_exist_ok=True)
    (source / "optimizers.md").unlink()  # replaced by the pages of the rules
    shutil.copy(Path(__file__).parent / "conf.py", source)
    shutil.copy(root / "CHANGELOG.md", source / "changelog.md")
    (source / "lessons").mkdir()
    (source / "notebooks").mkdir()
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, source / "notebooks")
        (source / "lessons" / notebook.name).write_text(_lesson(notebook), encoding="utf-8")
    rules.write(source / "rules")
    (source / "reference").mkdir()
    for module, title in REFERENCE.items():
        options = "   :members:\n   :imported-members:\n" if module != "steepest.rules" else "   :members:\n"
        lines = [f"# {title}", "", "```{eval-rst}", f".. automodule:: {module}", options + "```", ""]
        (source / "reference" / f"{module}.md").write_text("\n".join(lines), encoding="utf-8")
    static = source / "_static"
    static.mkdir()
    (static / "site.css").write_text(CSS, encoding="utf-8")
    (static / "icon.svg").write_text(ICON, encoding="utf-8")
    play().write(source / PLAYGROUND)
    page = source / "playground.md"
    opened = f'# The playground\n\n<a href="{PLAYGROUND}"><b>Open it here.</b></a>\n'
    page.write_text(page.read_text(encoding="utf-8").replace("# The playground\n", opened, 1), encoding="utf-8")
    for path in source.rglob("*.md"):
        path.write_text(_linked(path.read_text(encoding="utf-8")), encoding="utf-8")


def _lesson(notebook: Path) -> str:
    """A notebook as a page: a link to download it under its title, and links that lead into the site."""
    text = LESSON.sub(rf"<a href='../{PLAYGROUND}#lesson=\2'>\1</a>", notebook.read_text(encoding="utf-8"))
    page = json.loads(text.replace("](../docs/", "](../"))
    words = DOWNLOAD.replace("NAME", notebook.name)
    page["cells"].insert(1, {"cell_type": "markdown", "id": "download", "metadata": {}, "source": words})
    return json.dumps(page)


def _linked(text: str) -> str:
    """Rewrite a page's links from paths in the repository to paths on the site."""
    text = re.sub(r"\]\((?:\.\./)?docs/([\w./-]+)", r"](\1", text)
    return text.replace("](optimizers.md", "](rules/index.md").replace("](../notebooks/", "](lessons/")


class _Links(HTMLParser):
    """Collects a page's links and anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.found.append(value)
            if name in ("id", "name") and value:
                self.names.add(value)


def dead(out: Path) -> Iterator[str]:
    """Yield the internal links of a site whose file or anchor does not exist."""
    pages: dict[Path, _Links] = {}
    for path in out.rglob("*.html"):
        pages[path.resolve()] = _Links()
        pages[path.resolve()].feed(path.read_text(encoding="utf-8"))
    for path, links in pages.items():
        for address in links.found:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            plays = target == out.resolve() / PLAYGROUND  # its fragment is its settings
            named = parts.fragment and target in pages and not plays
            if not target.exists() or (named and unquote(parts.fragment) not in pages[target].names):
                yield f"{path.relative_to(out.resolve())} to {address}"
