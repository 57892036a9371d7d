"""The registry of pictures, a further axis in the picture of rates, and pictures of untrusted data."""

import math
import re
from dataclasses import replace

import pytest

import steepest
from steepest.report import gallery, page, registry, tables
from steepest.report.palette import style
from steepest.report.picture import Mark, Panel, Picture, Series
from steepest.report.pictures import pictures_of
from steepest.report.safe import safe
from steepest.study.data import Trial
from tests.cases import lines_of


@pytest.fixture(scope="module")
def study():
    return steepest.compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=5, schedules="constant", store=":memory:").data


@pytest.fixture
def registered():
    """A picture registered for one test."""

    @registry.picture("steps", order=2.5)
    def steps(study, factor=1.0):
        """The steps of a run."""
        first = study.optimizers[0]
        mark = Mark("mean", [factor * study.steps], [0.0], words=["a word for a pointer"])
        series = Series(first.label, style(first.name), [mark])
        return Picture("Steps of a run", "Only a test.", [Panel([series])], (["steps"], [[f"{study.steps} steps"]]))

    yield
    del registry.PICTURES["steps"]


def figures_of(study):
    return gallery.Figures(study, lambda: study)


def test_a_registered_picture_is_in_the_figures(study, registered):
    figures = figures_of(study)
    assert [*figures][1:3] == ["steps", "curves"]
    assert "steps" in dir(figures)
    assert figures.steps.__doc__ == "The steps of a run."
    (axes,) = figures.steps(factor=2.0).axes
    assert axes.lines[0].get_xdata() == [10.0]
    with pytest.raises(TypeError, match="nonsense"):
        figures.steps(nonsense=1)


def test_a_registered_picture_is_in_the_page_with_its_data(study, registered):
    text = page.text([study])
    assert '<section id="s0-steps"><h2>Steps of a run</h2>' in text
    assert 'data-words="a word for a pointer"' in text
    assert "<td>5 steps</td>" in text


def test_a_picture_that_is_not_registered_is_not_there(study):
    figures = figures_of(study)
    assert "steps" not in [*figures]
    assert "s0-steps" not in page.text([study])
    with pytest.raises(AttributeError, match="no picture is named 'steps'; there are regret, ranking"):
        _ = figures.steps


def test_a_picture_with_nothing_to_show_says_which_have(study):
    with pytest.raises(steepest.SteepestError, match=r"no data for the picture 'race'; choose one of ranking, curves"):
        figures_of(study).race()


def test_only_pictures_of_what_is_recorded_record(study):
    recorded = []
    figures = gallery.Figures(study, lambda: recorded.append(1) or study)
    figures.ranking()
    assert not recorded
    with pytest.raises(steepest.SteepestError, match="insides"):
        figures.insides()
    assert recorded == [1]


def searched(study):
    """The study with a search of the first optimizer's weight decay: rates at 0.01, then decays at the best rate."""
    entry = study.optimizers[0]
    trials = [
        Trial(lr=lr, values=[value], diverged=0, diverged_at=[None], settings={"weight_decay": decay})
        for lr, decay, value in [(0.01, 0.01, 90.0), (0.1, 0.01, 91.0), (1.0, 0.01, 90.5), (0.1, 0.0, 90.2), (0.1, 0.1, 92.0)]
    ]
    first = replace(entry, lr=0.1, settings={"weight_decay": 0.1}, trials=trials)
    return replace(study, direction="max", optimizers=[first, *study.optimizers[1:]])


def test_an_axis_that_was_searched_has_a_panel_of_its_own(study):
    study = searched(study)
    name = study.optimizers[0].name
    rates, _, decays = [axes for axes in figures_of(study).sensitivity().axes if axes.get_title(loc="left")]
    assert decays.get_title(loc="left") == f"{name}: weight_decay"
    (line,) = [(x, y) for marker, x, y in lines_of(rates, name) if marker == "None"]
    assert line == ([0.01, 0.1, 1.0], [90.0, 91.0, 90.5])
    (line,) = [(x, y) for marker, x, y in lines_of(decays, name) if marker == "None"]
    assert line == ([0.001, 0.01, 0.1], [90.2, 91.0, 92.0])  # a decay of 0 is drawn at a tenth of the smallest
    assert "0" in [text.get_text().strip() for text in decays.texts]
    for axes, at in ((rates, 0.1), (decays, 0.1)):
        assert [(x, y) for marker, x, y in lines_of(axes, name) if marker == "D"] == [([at], [92.0])]


def test_tables_list_the_settings_of_a_searched_axis(study):
    study = searched(study)
    heading, rows = pictures_of(study)["sensitivity"].table
    assert heading == ["optimizer", "rate", "weight_decay", "mean", "n", "diverged"]
    first = study.optimizers[0].label
    assert [row[1:4] for row in rows if row[0] == first][-1] == ["0.1", "0.1", "92"]
    frame = tables.table(study)
    assert frame["weight_decay"].iloc[0] == 0.1
    assert math.isnan(frame["weight_decay"].iloc[1])
    assert "weight_decay" not in tables.table(replace(study, optimizers=study.optimizers[1:])).columns


def test_data_of_someone_else_have_no_control_characters_and_no_number_that_cannot_be_drawn(study):
    long = 1_990 * "a" + "\x1b[31m\x9b"  # a name of the maximal length, which escaping makes longer
    run = study.optimizers[0].runs[0]
    curve = replace(run, metric=[1e300, *run.metric[1:]])
    entry = replace(study.optimizers[0], label=long, hyper={"\x1b": "\x07"}, runs=[curve])
    optimum = (-1e301, "\u202e")
    shown = safe(replace(study, problem="a\x1b]52;c", optimizers=[entry], optimum=optimum, code="line\n\tline"))
    assert shown.problem == r"a\x1b]52;c"
    assert shown.optimizers[0].label.endswith(r"\x1b[31m\x9b")
    assert shown.optimizers[0].hyper == {r"\x1b": r"\x07"}
    assert shown.optimizers[0].runs[0].metric[0] == 1e100
    assert shown.optimum == (-1e100, r"\u202e")
    assert shown.code == "line\n\tline"
    text = page.text([replace(study, problem="a\x1b]52;c", optimizers=[entry, study.optimizers[1]])])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
