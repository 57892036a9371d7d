"""What the pictures of a study show, read back from the figures and from the page; and its numbers in words."""

import html
import math

import numpy as np
import pytest
from scipy import stats

import steepest
from steepest import rules
from steepest.report import palette
from steepest.report.study import summary
from tests.cases import glyphs_of, is_drawn, lines_of, plots_of


@pytest.fixture
def study(line, tmp_path):
    """A study on a logarithmic axis in which some runs diverge, at a rate where Adam does not."""
    rates = {"sgd": [0.001, 0.1, 300.0], "momentum": 300.0, "adam": [0.1, 0.5]}
    return steepest.compare(line, list(rates), lrs=rates, seeds=4, steps=60, schedules="constant", store=tmp_path / "runs.db")


def entries(study):
    return {entry.candidate.label: entry for entry in study.result.entries}


def test_ranking_shows_every_value_their_mean_and_interval(study):
    (axes,) = study.figures["ranking"].axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == study.table().index.tolist()
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best is on top
    assert (axes.get_xlabel(), axes.get_xscale()) == ("validation loss", "linear")
    for row, name in enumerate(names):
        values = entries(study)[name].values
        shown = lines_of(axes, name)
        if name == "momentum":
            assert values == [None] * 4
            assert not any(x for _, x, _ in shown)
            continue
        mean = np.mean(values)
        low, high = stats.t.interval(0.95, 3, mean, stats.sem(values))
        assert low < mean < high
        assert shown[0] == ("o", values, [row] * 4)
        assert sorted((m, x, y) for m, x, y in shown[1:]) == [
            ("None", pytest.approx([low, high]), [row, row]),
            ("o", pytest.approx([mean]), [row]),
        ]
    (note,) = axes.texts
    assert (note.get_text(), note.xy[1]) == ("4 diverged", names.index("momentum"))


def test_sensitivity_puts_diverged_runs_on_a_rail_beyond_the_worst_value(study):
    (axes,) = study.figures["sensitivity"].axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "validation loss")
    assert [words.get_text() for words in axes.get_legend().get_texts()] == study.table().index.tolist()
    every, rails = [], {}
    for name, entry in entries(study).items():
        shown = lines_of(axes, name)
        kept = {trial.lr: [v for v in trial.values if v is not None] for trial in entry.trials}
        means = {lr: np.mean(values) for lr, values in kept.items() if values}
        lost = [trial.lr for trial in entry.trials if trial.diverged]
        every += [v for values in kept.values() for v in values]
        assert ("None", [*means], pytest.approx([*means.values()])) in shown
        dots = [(lr, v) for lr, values in kept.items() for v in values]
        assert ("o", [lr for lr, _ in dots], [v for _, v in dots]) in shown
        chosen = [entry.lr] if entry.lr in means else []
        assert ("D", chosen, pytest.approx([means[lr] for lr in chosen])) in shown
        crosses = [(x, y) for marker, x, y in shown if marker == "x" and x]
        assert [x for x, _ in crosses] == ([lost] if lost else [])
        if lost:
            (rails[name],) = {*crosses[0][1]}
            assert ("None", [0, 1], [rails[name]] * 2) in shown  # the rail itself, from edge to edge
    assert list(rails) == ["sgd", "momentum"]
    assert len({*rails.values()}) == 2
    assert min(rails.values()) > max(every)
    assert entries(study)["sgd"].trials[2].diverged == 3
    assert "diverged" in [words.get_text() for words in axes.texts]


def test_rails_lie_below_the_worst_value_where_more_is_better(line, tmp_path):
    def near(output, target):
        return (output - target).abs().lt(0.3).double().mean()

    names = ["sgd", "momentum", "nesterov", "adagrad", "adam"]
    problem = steepest.Problem(
        model=line.model, loss=line.loss, train=line.train, valid=line.valid, metric=near, direction="max", batch_size=8
    )
    study = steepest.compare(problem, names, lrs=[0.05, 1e30], seeds=2, steps=20, schedules="constant", store=tmp_path / "r.db")
    (axes,) = study.figures["sensitivity"].axes
    assert axes.get_yscale() == "linear"
    worst = min(v for entry in study.result.entries for trial in entry.trials for v in trial.values if v is not None)
    rails = [y for name in names for marker, x, y in lines_of(axes, name) if marker == "x" and x == [1e30]]
    assert len({y for (y,) in rails}) == 5
    assert all(y < worst for (y,) in rails)


def test_curves_have_a_band_from_three_seeds_on_and_end_where_a_seed_ended(study, line, tmp_path):
    (axes,) = study.figures["curves"].axes
    assert (axes.get_yscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "step", "validation loss")
    assert [words.get_text() for words in axes.get_legend().get_texts()] == study.table().index.tolist()
    assert len(axes.collections) == 3
    for (name, entry), band in zip(entries(study).items(), axes.collections, strict=True):
        curves = [outcome.curve for outcome in entry.outcomes]
        length = min(len(curve.steps) for curve in curves)
        assert (length < 21) == (name == "momentum")
        table = np.array([curve.metric[:length] for curve in curves])
        mean, se = table.mean(0), table.std(0, ddof=1) / 2
        shown = lines_of(axes, name)
        assert ("None", [*range(0, 3 * length, 3)], pytest.approx(mean.tolist())) in shown
        points = [(x, y) for _, xs, ys in shown for x, y in zip(xs, ys, strict=True) if not math.isnan(x)]
        for curve in curves:
            assert {*zip(curve.steps, curve.metric, strict=True)} <= {*points}
        assert len(points) == length + sum(len(curve.steps) for curve in curves)
        edges = {(float(x), round(float(y), 9)) for x, y in band.get_paths()[0].vertices}
        assert edges == {(3.0 * k, round(float(y), 9)) for side in (mean - se, mean + se) for k, y in enumerate(side)}
    two = steepest.compare(line, "sgd", lrs=0.1, seeds=2, steps=5, schedules="constant", store=tmp_path / "two.db")
    assert not two.figures["curves"].axes[0].collections


def test_the_page_is_written_with_diverged_runs_on_a_logarithmic_axis(study, tmp_path):
    text = study.report(tmp_path / "report.html").read_text()
    assert "momentum diverged in 4 of 4 runs" in text
    assert text.count("<figure") == 3
    for name in ("sgd", "adam"):
        values = entries(study)[name].values
        assert f"<td>{summary.spread(np.mean(values), stats.sem(values))}</td>" in text
    for verdict in study.verdicts():
        assert html.escape(verdict.sentence) in text
    shown = [(plot.xaxis[0].axis_label, type(plot.x_scale).__name__, type(plot.y_scale).__name__) for plot in plots_of(text)]
    assert shown == [
        ("validation loss", "LinearScale", "LinearScale"),
        ("learning rate", "LogScale", "LogScale"),
        ("step", "LinearScale", "LogScale"),
    ]
    _, sensitivity, _ = plots_of(text)
    assert [g["x"] for g in glyphs_of(sensitivity, "Scatter", marker="x") if g["x"]] == [[300.0], [300.0]]


def test_the_page_draws_the_same_numbers_as_the_figures(study, tmp_path):
    plots = plots_of(study.report(tmp_path / "report.html").read_text())
    for plot, figure in zip(plots, study.figures.values(), strict=True):
        (axes,) = figure.axes
        for name in ("sgd", "adam", "momentum"):
            colour = palette.style(name).colour
            glyphs = glyphs_of(plot, "Scatter", fill_color=colour)
            glyphs += glyphs_of(plot, "Line", line_color=colour)
            drawn = [(x, y) for _, x, y in lines_of(axes, name)]
            drawn = [xy for xy in drawn if len(xy[0]) != 2 or xy[1][0] != xy[1][1]]  # bars and rails are other glyphs
            expected = sorted((flat(x), flat(y)) for x, y in drawn)
            assert sorted((flat(g["x"]), flat(g["y"])) for g in glyphs) == expected, name
    bars = glyphs_of(plots[0], "Segment")
    assert len(bars) == 2
    for name, bar in zip(("sgd", "adam"), sorted(bars, key=lambda bar: bar["y0"]), strict=True):
        ends = [bar["x0"][0], bar["x1"][0]]
        assert ("None", pytest.approx(ends), bar["y0"] * 2) in lines_of(study.figures["ranking"].axes[0], name)


def flat(numbers):
    """Numbers without the gaps between curves."""
    return [float(x) for x in numbers if not math.isnan(x)]


def test_figures_are_three_matplotlib_figures_that_can_be_saved(study, tmp_path):
    assert list(study.figures) == ["ranking", "sensitivity", "curves"]
    for name, figure in study.figures.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=150)
        is_drawn(tmp_path / f"{name}.png", figure, [palette.style(label).colour for label in ("sgd", "adam")])


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
