"""The pictures of a study, read back from the figures and from the page, and its numbers in words."""

import math

import numpy as np
import pytest
from scipy import stats

import steepest
from steepest import rules
from steepest.report import palette
from steepest.study import sentences, summary
from tests.cases import is_drawn, lines_of


@pytest.fixture(scope="module")
def study(line):
    """A study on a logarithmic axis in which some runs diverge, at a rate where Adam does not."""
    rates = {"sgd": [0.001, 0.1, 300.0], "momentum": 300.0, "adam": [0.1, 0.5]}
    return steepest.compare(line, list(rates), lrs=rates, seeds=4, steps=60, schedules="constant", store=":memory:")


def entries(study):
    return {entry.candidate.label: entry for entry in study.result.entries}


def test_ranking_shows_every_value_their_mean_and_interval(study):
    (axes,) = study.figures.ranking().axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == study.table().index.tolist()
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best is first
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
    assert (note.get_text(), note.xy[1]) == ("4 of 4 diverged", names.index("momentum"))


def test_sensitivity_has_a_panel_for_each_optimizer_and_diverged_runs_on_a_rail_outside(study):
    panels = {axes.get_title(loc="left"): axes for axes in study.figures.sensitivity().axes if axes.get_title(loc="left")}
    assert list(panels) == study.table().index.tolist()
    means, rails = {}, set()
    for name, entry in entries(study).items():
        axes = panels[name]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        means |= {(name, t.lr): np.mean(t.values) for t in entry.trials if None not in t.values}
        crosses = [(x, y) for marker, x, y in lines_of(axes, name) if marker == "x" and x]
        lost = [trial.lr for trial in entry.trials if trial.diverged]
        assert [x for x, _ in crosses] == ([lost] if lost else [])
        rails |= {y for _, ys in crosses for y in ys}
    assert entries(study)["sgd"].trials[2].diverged == 3
    best = min(means.values())
    assert len(rails) == 1
    edge = min(rails) / 1.5
    assert edge >= 20 * best
    assert min(rails) < panels["sgd"].get_ylim()[1]
    for (name, lr), mean in means.items():
        shown = lines_of(panels[name], name)
        inside = [(x, y) for marker, xs, ys in shown if marker == "o" for x, y in zip(xs, ys, strict=True)]
        beyond = [x for marker, xs, _ in shown if marker == "^" for x in xs]
        if mean <= edge:
            assert any(x == lr and y == pytest.approx(mean) for x, y in inside)
        else:
            assert lr in beyond
        chosen = [x for marker, xs, _ in shown if marker == "D" for x in xs]
        assert (lr in chosen) == (lr == entries(study)[name].lr)


def test_curves_have_a_band_from_three_seeds_on_and_end_where_a_seed_ended(study, line, tmp_path):
    (axes,) = study.figures.curves(scale="log").axes
    assert (axes.get_yscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "step", "validation loss")
    assert len(axes.collections) == 3
    for (name, entry), band in zip(entries(study).items(), axes.collections, strict=True):
        curves = [outcome.curve for outcome in entry.outcomes]
        length = min(len(curve.steps) for curve in curves)
        assert (length < 21) == (name == "momentum")
        logs = np.log(np.array([curve.metric[:length] for curve in curves]))
        mean, se = logs.mean(0), logs.std(0, ddof=1) / 2
        shown = lines_of(axes, name)
        assert ("None", [*range(0, 3 * length, 3)], pytest.approx(np.exp(mean).tolist(), rel=1e-4)) in shown
        points = [(x, y) for _, xs, ys in shown for x, y in zip(xs, ys, strict=True) if not math.isnan(x)]
        for curve in curves:
            for at in zip(curve.steps, curve.metric, strict=True):
                assert any(x == at[0] and y == pytest.approx(at[1], rel=1e-5) for x, y in points)
        edges = sorted(float(y) for _, y in band.get_paths()[0].vertices)
        assert edges[0] == pytest.approx(np.exp(mean - se).min(), rel=1e-4)
        assert edges[-1] == pytest.approx(np.exp(mean + se).max(), rel=1e-4)
    seconds = study.figures.curves(x="seconds").axes[0]
    line_of = next(xs for marker, xs, _ in lines_of(seconds, "adam") if marker == "None" and not math.isnan(sum(xs)))
    assert line_of[-1] == pytest.approx(60 * entries(study)["adam"].seconds_per_step)
    two = steepest.compare(line, "sgd", lrs=0.1, seeds=2, steps=5, schedules="constant", store=tmp_path / "two.db")
    assert not two.figures.curves().axes[0].collections


@pytest.fixture
def raced(raced):
    """The race that pages are made of, without its page."""
    return raced[0]


def test_regret_shows_the_bounds_of_the_standing_with_the_pick_on_top(raced):
    (axes,) = raced.figures.regret().axes
    places = [place for place in raced.answer().places if place.at_most is not None]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [*map(str, places)]
    assert str(places[0]) == str(raced.answer().pick)
    assert places[0].at_most == raced.answer().bound
    right = axes.get_xlim()[1]
    for row, place in enumerate(places):
        name = place.name
        bars = [x for marker, x, y in lines_of(axes, name) if marker == "None" and y == [row, row]]
        assert bars == [pytest.approx([place.at_least, min(place.at_most, right)])]
    for place in places[1:]:
        assert place.at_least <= place.at_most
        assert (place.standing == "ruled out") == (place.at_least > 0)


def test_race_shows_the_bound_at_every_look_and_where_each_stopped(raced):
    bound, lanes = raced.figures.race().axes
    looks = raced.answer().looks
    (drawn,) = [line for line in bound.lines if line.get_marker() == "None" and len(line.get_xdata()) == len(looks)]
    assert drawn.get_ydata() == pytest.approx([look.bound for look in looks])
    assert looks[-1].bound == raced.answer().bound
    assert [look.runs for look in looks] == sorted({look.runs for look in looks})
    assert len(lanes.get_yticklabels()) == len(raced.answer().places)
    for place in raced.answer().places:
        seeds = [look.seeds[str(place)] for look in looks]
        assert seeds == sorted(seeds)
        assert seeds[-1] == place.n
    assert not [*steepest.compare("digits", "sgd", lrs=0.1, seeds=2, steps=20, store=":memory:").figures].count("race")


def test_cost_names_those_that_no_other_beats(raced):
    seconds, state = raced.figures.cost().axes
    rows = raced.table().reset_index()
    for axes, key in ((seconds, "seconds_per_step"), (state, "state_bytes")):
        named = [text.get_text() for text in axes.texts]
        front = [
            f"{row['name']}+{row.schedule}"
            for _, row in rows.iterrows()
            if not any((other[key] <= row[key]) & (other["mean"] > row["mean"]) for _, other in rows.iterrows())
            and not any((other[key] < row[key]) & (other["mean"] >= row["mean"]) for _, other in rows.iterrows())
        ]
        assert set(named) <= set(front)
        assert named


def test_schedules_are_drawn_as_they_were_applied(raced):
    rates, losses = raced.figures.schedules().axes
    name = raced.answer().pick.name
    for row in raced.data.optimizers:
        if row.name == name:
            course = steepest.schedules.get(row.schedule)
            expected = [row.lr * course(k, 100) for k in range(100)]
            lines = [ys for marker, xs, ys in lines_of(rates, name) if marker == "None" and len(xs) == 100]
            assert any(ys == pytest.approx(expected, rel=1e-5, abs=1e-9) for ys in lines)
    assert losses.get_ylabel() == "training loss"


def test_figures_can_be_saved_and_each_has_words_of_its_own(raced, line, tmp_path):
    small = steepest.compare(line, "sgd,adam", lrs=0.1, seeds=2, steps=5, schedules="constant", store=":memory:")
    before = {*small.figures}
    small.record()
    assert {*small.figures} - before == {"insides", "landscape"}
    names = [*raced.figures]
    assert names == [
        "regret", "ranking", "race", "sensitivity", "curves", "schedules", "cost", "insides", "landscape",
    ]  # fmt: skip
    words = set()
    for name in names:
        figure = getattr(raced.figures, name)()
        figure.savefig(tmp_path / f"{name}.png", dpi=150)
        pick = raced.answer().pick.name
        is_drawn(tmp_path / f"{name}.png", figure, [palette.style(pick).colour])
        words.add(figure.get_gid())
    assert len(words) == len(names)


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
    assert [sentences.duration(s) for s in (2.5, 0.0123, 0.000184)] == ["2.5 s", "12.3 ms", "184 µs"]
    assert [sentences.size(b) for b in (0, 9640, 3 * 2**20)] == ["0 B", "9.41 KiB", "3 MiB"]
