"""Links from the notebooks and the documentation to the playground's lessons."""

import re
from pathlib import Path

import pytest

from steepest.playground import script

ROOT = Path(__file__).parents[2]
TITLES = re.findall(r'^    title: "(.+)",$', script.file("lessons.js"), re.MULTILINE)
LINK = re.compile(r"\[([^\[\]]+)\]\([^()]*playground\.md#lesson-(\d+)\)")
ANCHOR = re.compile(r'<a id="lesson-(\d+)"></a>!\[([^\]]+)\]\(pictures/play-lesson-(\d+)\.png\)')
PAGES = [
    path
    for folder, kind in (("notebooks", "*.py"), ("notebooks", "*.ipynb"), ("docs", "*.md"))
    for path in (ROOT / folder).glob(kind)
]


def links():
    for path in PAGES:
        for text, place in LINK.findall(path.read_text(encoding="utf-8")):
            yield path.name, text, int(place)


def test_a_link_to_a_lesson_has_its_title_as_its_text():
    found = list(links())
    wrong = [
        (name, text, place) for name, text, place in found if place > len(TITLES) or text.lower() != TITLES[place - 1].lower()
    ]
    assert not wrong
    assert len(found) > 20


def test_a_notebook_and_its_script_link_to_the_same_lessons():
    for path in (ROOT / "notebooks").glob("*.py"):
        mine = [link[1:] for link in links() if link[0] == path.name]
        assert mine == [link[1:] for link in links() if link[0] == path.with_suffix(".ipynb").name]


def test_the_documentation_has_an_anchor_and_a_picture_for_each_lesson():
    page = (ROOT / "docs" / "playground.md").read_text(encoding="utf-8")
    assert [(int(a), title, int(b)) for a, title, b in ANCHOR.findall(page)] == [
        (k, title, k) for k, title in enumerate(TITLES, 1)
    ]


@pytest.mark.parametrize(
    ("topic", "title"), [("how long Adam remembers", "Forgetting"), ("well tuned heavy ball", "Rate and momentum")]
)
def test_a_text_on_a_lessons_topic_links_to_that_lesson(topic, title):
    cells = [cell for path in PAGES if path.suffix == ".py" for cell in path.read_text(encoding="utf-8").split("# %%")]
    (cell,) = (cell for cell in cells if topic in " ".join(cell.replace("#", "").split()))
    assert f"#lesson-{TITLES.index(title) + 1})" in cell
