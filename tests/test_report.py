"""What the pictures show, as numbers, and that they can be drawn."""

import numpy as np
import pytest
from bokeh.models import Scatter
from matplotlib.figure import Figure

import steepest
from steepest import rules
from steepest.report import palette
from steepest.report.study import page, series, summary


@pytest.fixture
def study(line, tmp_path):
    """A study on a logarithmic axis in which some runs diverge, at a rate where Adam does not."""
    rates = {"sgd": [0.001, 0.1, 300.0], "momentum": 300.0, "adam": [0.1, 0.5]}
    return steepest.compare(line, list(rates), lrs=rates, seeds=4, steps=60, schedules="constant", store=tmp_path / "runs.db")


def test_ranking_shows_every_value_their_mean_and_interval(study):
    rows = {row.label: row for row in series.ranking(study.result)}
    adam = next(e for e in study.result.entries if e.candidate.label == "adam")
    assert rows["adam"].values == adam.values
    assert rows["adam"].low < rows["adam"].mean < rows["adam"].high
    assert rows["adam"].mean == pytest.approx(np.mean(adam.values))
    assert (rows["momentum"].values, rows["momentum"].mean, rows["momentum"].diverged) == ([], None, 4)


def test_sensitivity_puts_diverged_runs_on_a_rail_beyond_the_worst_value(study):
    sweeps, axis = series.sweeps(study.result)
    by_label = {s.label: s for s in sweeps}
    assert by_label["sgd"].diverged == [(300.0, 3, 3)]
    assert by_label["sgd"].rates == [0.001, 0.1]
    assert axis.log
    worst = max(v for s in sweeps for _, v in s.points)
    assert len({s.rail for s in sweeps if s.rail > worst}) == 3
    assert all(lane < 90.0 for lane in series._rails([90.0, 95.0], False, "max", 5))


def test_curves_have_a_band_from_three_seeds_on_and_end_where_a_seed_ended(study, line, tmp_path):
    made, _ = series.curves(study.result)
    momentum = next(c for c in made if c.label == "momentum")
    assert len(momentum.mean) == min(len(steps) for steps, _ in momentum.seeds) < 21
    adam = next(c for c in made if c.label == "adam")
    assert adam.steps == list(range(0, 61, 3))
    assert adam.se[-1] == pytest.approx(np.std([v[-1] for _, v in adam.seeds], ddof=1) / 2)
    two = steepest.compare(line, "sgd", lrs=0.1, seeds=2, steps=5, schedules="constant", store=tmp_path / "two.db")
    assert series.curves(two.result)[0][0].se is None


def test_the_page_is_written_with_diverged_runs_on_a_logarithmic_axis(study, tmp_path):
    text = study.report(tmp_path / "report.html").read_text()
    assert "momentum diverged in 4 of 4 runs" in text
    assert text.count("<figure") == 3
    crosses = [g for g in page._sensitivity(study.result).renderers if isinstance(g.glyph, Scatter) and g.glyph.marker == "x"]
    assert [list(g.data_source.data["x"]) for g in crosses] == [[300.0], [300.0]]


def test_figures_are_three_matplotlib_figures_that_can_be_saved(study, tmp_path):
    assert list(study.figures) == ["ranking", "sensitivity", "curves"]
    for name, figure in study.figures.items():
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{name}.png")


def test_an_optimizer_has_one_style_and_the_seven_classics_have_seven_colours():
    assert palette.style("adam") == palette.style("adam")
    assert len({palette.style(name).colour for name in rules.RULES}) == 7
    assert palette.style("adam", 0).dash != palette.style("adam", 1).dash


@pytest.mark.parametrize(
    ("mean", "se", "words"),
    [
        (97.4543, 0.0683, "97.454 ± 0.068"),
        (0.00123456, 0.0000123, "0.001235 ± 0.000012"),
        (3.0, None, "3"),
        (1234.5, 23.4, "1234 ± 23"),
    ],
)
def test_a_mean_is_printed_to_two_digits_of_its_error(mean, se, words):
    assert summary.spread(mean, se) == words


def test_times_and_sizes_are_printed_in_the_unit_that_reads_best():
    assert [summary.duration(s) for s in (2.5, 0.0123, 0.000184)] == ["2.5 s", "12.3 ms", "184 µs"]
    assert [summary.size(b) for b in (0, 9640, 3 * 2**20)] == ["0 B", "9.41 KiB", "3 MiB"]
