"""Pictures of paths on a surface and of schedules: the drawn data, and the written files."""

import io
import itertools
import re
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image, ImageSequence

from steepest import rules, schedules, surfaces
from steepest.paths.descent import descend
from steepest.report.palette import style
from steepest.report.surface import pictures
from tests.cases import colours_near, is_drawn, lines_of

VIEWS = {
    "map": pictures.contour,
    "space": pictures.surface3d,
    "panels": pictures.panels,
    "heights": pictures.heights,
    "insides": lambda d: pictures.insides(d.paths[-1], d.surface),
}


def saddle():
    return descend(surfaces.get("saddle"), [rules.get(n) for n in ("sgd", "adam")], (1.0, 1e-3), 60)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_pictures_are_written_with_words(view, kind, tmp_path, monkeypatch):
    if view == "space":  # a surface of 900 pieces; 57 121 take seconds to write
        plane = pictures._plane
        monkeypatch.setattr(pictures, "_plane", lambda surface: tuple(part[::8, ::8] for part in plane(surface)))
    figure = VIEWS[view](saddle())
    path = tmp_path / f"p.{kind}"
    pictures.save(figure, path)
    words = figure.get_gid()
    assert "adam" in words
    content = path.read_bytes()
    colours = [pictures.COLOURS[0]] if view == "insides" else [style(name).colour for name in ("sgd", "adam")]
    size = figure.get_size_inches() * 72  # points
    if kind == "png":
        assert Image.open(io.BytesIO(content)).text["Description"] == words
        is_drawn(path, figure, colours)
    elif kind == "svg":
        assert b"saddle" in content
        drawn = ElementTree.fromstring(content)
        assert [float(drawn.get(k).removesuffix("pt")) for k in ("width", "height")] == pytest.approx(size)
        assert words in [e.text for e in drawn.iter("{http://purl.org/dc/elements/1.1/}description")]
        axes = [e for e in drawn.iter("{http://www.w3.org/2000/svg}g") if e.get("id", "").startswith("axes_")]
        looks = [e.get("style", "") for part in axes for e in part.iter("{http://www.w3.org/2000/svg}path")]
        assert all(any(f"stroke: {colour.lower()}" in look for look in looks) for colour in colours)
    else:
        box = re.search(rb"/MediaBox \[ *0 0 ([\d.]+) ([\d.]+) *\]", content)
        assert [float(x) for x in box.groups()] == pytest.approx(size)
        streams = [inflated(s) for s in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)]
        inks = [ink for stream in streams for ink in re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) RG", stream)]
        drawn = {tuple(round(255 * float(x)) for x in ink) for ink in inks}
        assert {tuple(bytes.fromhex(colour[1:])) for colour in colours} <= drawn


def inflated(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_a_map_shows_each_path_until_it_leaves_the_frame():
    found = saddle()
    (axes,) = (figure := pictures.contour(found)).axes
    assert (axes.get_xlim(), axes.get_ylim()) == found.surface.domain
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    assert axes.get_title(loc="left") == "saddle: 60 gradients each"
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "start"
    for path in found.paths:
        on_the_map(axes, path, found.surface)
    start = next(line for line in axes.lines if line.get_label() == "start")
    assert start.get_xydata().tolist() == [[1.0, 1e-3]]
    assert len(axes.collections) == 2  # areas and contour lines
    levels = axes.collections[1].levels
    x, y = np.meshgrid(*(np.linspace(*side, 200) for side in found.surface.domain))
    height = found.surface.value(np.stack([x, y], -1))
    assert height.min() < levels[0] < levels[-1] < height.max()
    assert len(levels) > 10


def on_the_map(axes, path, surface):
    """Check that axes draw a path until it leaves the frame, with a cross there, or with a dot at its end."""
    left = path.leaves(surface.domain)
    expected = path.points[: None if left is None else left + 1]
    shown = lines_of(axes, path.name)
    way = max(shown, key=lambda mark: len(mark[1]))
    np.testing.assert_array_equal(np.transpose(way[1:]), expected)
    ends = [mark for mark in shown if len(mark[1]) == 1]
    if left is None:
        assert ends == [("o", [expected[-1][0]], [expected[-1][1]])]
        return
    ((marker, *at),) = ends
    assert marker == "X"
    assert any(point[0] == pytest.approx(side) for point, sides in zip(at, surface.domain, strict=True) for side in sides)
    assert any(f"out at step {left}" in str(line.get_label()) for line in axes.lines)


def test_a_path_that_stays_ends_in_a_dot_and_minima_are_stars():
    found = descend(surfaces.get("himmelblau"), [rules.get("sgd")], (1.0, 4.0), 40, {"sgd": 0.01})
    (axes,) = pictures.contour(found).axes
    assert found.paths[0].leaves(found.surface.domain) is None
    on_the_map(axes, found.paths[0], found.surface)
    stars = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "*"]
    assert stars == [tuple(minimum) for minimum in found.surface.minima]


def test_in_space_paths_lie_on_the_surface():
    found = saddle()
    (axes,) = pictures.surface3d(found).axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("x", "y", "height")
    for path in found.paths:
        left = path.leaves(found.surface.domain)
        colour = style(path.name).colour.lower()
        ways = [np.array(line.get_data_3d()) for line in axes.lines if to_hex(line.get_color()) == colour]
        way = max(ways, key=np.size)
        np.testing.assert_array_equal(way[:2].T, path.points[:left])
        np.testing.assert_allclose(way[2], found.surface.value(path.points[:left]), rtol=1e-12)


def test_panels_show_one_optimizer_each_with_its_rate():
    found = descend(surfaces.get("saddle"), [rules.get(n) for n in ("sgd", "momentum", "adam")], (1.0, 1e-3), 60, {"adam": 0.1})
    axes = pictures.panels(found).axes
    for ax, path in zip(axes, found.paths, strict=True):
        how = "best of a grid" if path.tuned else "given"
        assert ax.get_title(loc="left") == f"{path.name}: rate {path.lr:g} ({how})"
        on_the_map(ax, path, found.surface)
        assert not any(lines_of(ax, other.name) for other in found.paths if other is not path)


@pytest.mark.parametrize("name", ["saddle", "bowl"])
def test_heights_are_the_paths_values_against_the_gradients_taken(name):
    surface = surfaces.get(name)
    found = descend(surface, [rules.get("sgd"), rules.get("sam")], surface.start, 40, {"sgd": 0.01, "sam": 0.01})
    (axes,) = pictures.heights(found).axes
    assert axes.get_yscale() == ("linear" if name == "saddle" else "log")
    assert (axes.get_xlabel(), axes.get_ylabel().split()[0]) == ("gradients", "height")
    for path, each in zip(found.paths, (1, 2), strict=True):
        line = next(line for line in axes.lines if str(line.get_label()).startswith(f"{path.name}, rate 0.01"))
        assert to_hex(line.get_color()) == style(path.name).colour.lower()
        np.testing.assert_array_equal(line.get_xdata(), each * np.arange(40 // each + 1))
        least = float(surface.value(surface.minima[0])) if surface.minima else 0.0
        np.testing.assert_allclose(line.get_ydata(), np.maximum(path.values - least, 1e-16 if surface.minima else -np.inf))


def test_insides_are_drawn_as_they_were():
    path = descend(surfaces.get("rosenbrock"), [rules.get("adam")], (-1.2, 1.0), 40, {"adam": 0.05}).paths[0]
    top, middle, bottom = pictures.insides(path, surfaces.get("rosenbrock")).axes
    g, moved = surfaces.get("rosenbrock").gradient(path.points[:-1]), np.diff(path.points, axis=0)
    size, steepness = np.linalg.norm(moved, axis=1), np.linalg.norm(g, axis=1)
    shown = {line.get_label(): line.get_ydata() for line in top.lines}
    assert list(shown) == ["‖g‖, the gradient", "‖m̂‖", "√v̂ of x", "√v̂ of y"]
    expected = [steepness, np.linalg.norm(path.insides["m_hat"], axis=1), *np.sqrt(path.insides["v_hat"]).T]
    for drawn, values in zip(shown.values(), expected, strict=True):
        np.testing.assert_allclose(drawn, values, rtol=1e-10)
    np.testing.assert_allclose(middle.lines[0].get_ydata(), size / steepness, rtol=1e-10)
    assert [*middle.lines[1].get_ydata()] == [0.05, 0.05]
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), -(moved * g).sum(1) / (size * steepness), rtol=1e-10)
    assert [axes.get_yscale() for axes in (top, middle, bottom)] == ["log", "log", "linear"]


def test_rates_too_small_right_and_too_large_are_drawn_beside_each_other():
    surface, sgd = surfaces.get("valley"), rules.get("sgd")
    axes = pictures.rates(surface, sgd, (-4.5, 1.2), 100).axes
    titles = [re.fullmatch(r"(.*): rate (.*)", ax.get_title(loc="left")).groups() for ax in axes]
    assert [what for what, _ in titles] == ["too small", "right", "too large"]
    small, right, large = (descend(surface, [sgd], (-4.5, 1.2), 100, {"sgd": float(lr)}).paths[0] for _, lr in titles)
    assert right.values[-1] < small.values[-1] < surface.value((-4.5, 1.2))
    assert not large.values[-1] < surface.value((-4.5, 1.2))
    best = descend(surface, [sgd], (-4.5, 1.2), 100, {}).paths[0]
    way = max(lines_of(axes[1], "sgd"), key=lambda mark: len(mark[1]))
    np.testing.assert_array_equal(np.transpose(way[1:]), best.points)


def test_schedules_are_drawn_as_the_rates_they_give():
    chosen = [schedules.get(name) for name in ("cosine", "one_cycle", "step")]
    figure = pictures.schedules(chosen, 30, rate=0.5)
    above, below = figure.axes
    assert (above.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == ("learning rate", "momentum", "step")
    assert [line.get_label() for line in above.lines] == [schedule.name for schedule in chosen]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [schedule.name for schedule in chosen]
    for line, schedule in zip(above.lines, chosen, strict=True):
        np.testing.assert_allclose(line.get_ydata(), 0.5 * np.array(schedule.values(30)), rtol=1e-12)
    assert [[*line.get_ydata()] for line in below.lines] == [[*chosen[1].momenta(30)]]
    assert len({(line.get_color(), line.get_linestyle()) for line in above.lines}) == 3


def test_an_animation_grows_and_leaves_a_poster(tmp_path):
    found = descend(surfaces.get("valley"), [rules.get("momentum")], (-4.5, 1.2), 8, {"momentum": 0.01})
    poster = pictures.animate(found, tmp_path / "a.gif")
    colour = style("momentum").colour
    with Image.open(tmp_path / "a.gif") as moving:
        assert 9 <= moving.n_frames <= 9 + 10  # every step, and a pause at the end
        assert moving.size == (int(11.5 * 80), int(4.4 * 80))
        grown = [colours_near(frame, colour, 40) for frame in ImageSequence.Iterator(moving)]
        moving.seek(0)
        first = np.asarray(moving.convert("RGB"), int)
        moving.seek(moving.n_frames - 1)
        assert np.abs(np.asarray(moving.convert("RGB"), int) - first).sum() > 1000
    assert all(later > 0.97 * earlier for earlier, later in itertools.pairwise(grown))  # lines may cross a dot
    assert grown[-1] > 3 * grown[0] > 0
    assert poster == tmp_path / "a.png"
    assert poster.exists()
    with Image.open(poster) as picture:
        assert picture.size == (int(11.5 * 150), int(4.4 * 150))
        assert colours_near(picture, colour) > 2 * grown[-1]
