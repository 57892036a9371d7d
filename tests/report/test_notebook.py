"""Notebook output: text and SVG without scripts, for every type, also after an export to static HTML."""

import re
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import pytest

import steepest
from steepest import notebook, rules, schedules, surfaces


def adams():
    return rules.get("adam"), ["Kingma", "def adam(p, g, t", "beta2"]


def cosines():
    return schedules.get("cosine"), ["cosine", "<svg"]


def rosenbrocks():
    return surfaces.get("rosenbrock"), ["rosenbrock", "<svg", "minimum"]


def high():
    return surfaces.get("x1**2 + x2**2 + x3**2"), ["minimum"]


def descents():
    return steepest.trajectory("bowl", "sgd,adam", start=(1, 1), steps=20, lrs=0.1), ["<svg", "<td>adam</td><td>0.1</td>"]


@pytest.mark.parametrize("make", [adams, cosines, rosenbrocks, high, descents])
def test_a_notebook_shows_it(make):
    thing, words = make()
    text = thing._repr_html_()
    for word in words:
        assert word in text
    assert "<script" not in text
    for drawn in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        root = ElementTree.fromstring(drawn)
        assert root.get("role") == "img"
        assert root.get("aria-label")


def test_other_things_have_no_html():
    with pytest.raises(TypeError, match="no HTML for a int"):
        notebook.html_of(3)


def test_a_type_of_anyone_registers_how_it_is_drawn():
    class Mine(notebook.Shown):
        pass

    notebook.html_of.register(Mine, lambda mine: "<b>mine</b>")
    assert Mine()._repr_html_() == "<b>mine</b>"


def test_the_drawings_are_imported_for_the_first_object_and_not_before():
    script = """
        import sys
        from steepest import schedules
        shown = schedules.get("cosine")
        assert "steepest.report" not in sys.modules
        assert "matplotlib" not in sys.modules
        print(shown._repr_html_()[:4])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.stdout == "<div\n", done.stderr


def test_the_pictures_of_two_things_share_no_id():
    first, second = (schedules.get(name)._repr_html_() for name in ("cosine", "step(size=3)"))
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in (first, second)]
    assert ids[0]
    assert not {*ids[0]} & {*ids[1]}
