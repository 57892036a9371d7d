"""Every kind of sentence is judged on tables with a known truth, and one that is false too often is noticed."""

import dataclasses

import numpy as np
import pytest

from steepest.study import claims as said
from steepest.study import conclude, sentences
from steepest_workshop import calibrated, claims, judges, sources, worlds


def rows_of(name, races, seed=0):
    rows = list(claims.claims(name, races, seed))
    return {row["kind"]: row for row in rows if "kind" in row}, [row for row in rows if "kind" not in row]


def test_every_kind_of_sentence_is_judged_somewhere():
    assert {*judges.JUDGES} | {*judges.ELSEWHERE} == {*sentences.KINDS}
    assert not {*judges.JUDGES} & {*judges.ELSEWHERE}


def test_every_line_of_an_answer_with_a_number_that_could_be_wrong_has_a_kind():
    """Lines without a kind report what was done: no word of theirs claims anything of a true mean."""
    source = worlds.World("tuning")
    rng = np.random.default_rng(0)
    for _ in range(5):
        drawn = source.draw(rng, 20)
        answer = conclude.conclude(claims.replay(claims.question(drawn.table, drawn.scale), drawn.table))
        plain = [line.text for line in sentences._lines(answer) if not line.kind]
        assert not any(word in line for line in plain for word in ("at most", "±", "better by", "cost"))


@pytest.mark.parametrize("name", sources.SOURCES)
def test_claims_hold_on_every_table(name):
    rows, others = rows_of(name, 60)
    assert [kind for kind, row in rows.items() if row["holds"] is False] == []
    assert [row["what"] for row in others if row["holds"] is False] == []
    assert rows["bound"]["said"] == 60 or (rows["bound"]["said"] > 10 and "hurried" in name)
    assert {*rows} == {*judges.JUDGES}


@pytest.mark.parametrize("name", ["digits", "tuning", "tuning, hurried"])
def test_the_time_that_a_race_says_it_needs_holds(name):
    row = next(row for row in claims.times(name, 40) if "kind" in row)
    assert row["said"] > 10
    assert row["holds"]


def test_the_calmer_of_two_rates_is_picked():
    (row,) = claims.calmer(60)
    assert row["holds"]


def noticed(name, races=60):
    rows, others = rows_of(name, races)
    wrong = {kind for kind, row in rows.items() if row["holds"] is False}
    return wrong | {row["what"].partition(": ")[2] for row in others if row["holds"] is False}


def changed(monkeypatch, **values):
    """Answers with changed fields."""
    made = conclude.conclude

    def other(course):
        answer = made(course)
        return dataclasses.replace(answer, **{name: value(answer) for name, value in values.items()})

    monkeypatch.setattr(claims, "conclude", other)


def half(row):
    return dataclasses.replace(row, low=row.low and row.ahead + (row.low - row.ahead) / 8, high=row.high and row.ahead)


@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("spirals", "bound", {"bound": lambda a: 0.0}),
        ("teacher", "new examples", {"bound_new_data": lambda a: 0.0}),
        ("spirals", "difference", {"rows": lambda a: [half(row) for row in a.rows]}),
        ("tuning", "fresh", {"figure": lambda a: dataclasses.replace(a.figure, half=a.figure.se)}),
        ("tuning", "possible", {"possible": lambda a: [dataclasses.replace(p, ahead_at_most=-1.0) for p in a.possible]}),
    ],
)
def test_a_claim_that_is_too_narrow_is_noticed(name, kind, change, monkeypatch):
    changed(monkeypatch, **change)
    assert kind in noticed(name)


def test_a_range_that_one_seed_vouches_for_is_noticed(monkeypatch):
    """As it was said before: all rates that one seed does not tell apart."""
    monkeypatch.setattr(
        said, "paired", lambda one, other, level, least_sd=0.0: said.Interval(one[0] - other[0], 0, one[0] - other[0], 1)
    )
    assert "range" in noticed("spirals")


def test_a_cliff_that_is_only_a_collapsed_run_is_noticed(monkeypatch):
    monkeypatch.setattr(said, "is_cliff", lambda pick, above, *more: any(map(np.isnan, above)))
    assert any("and said to fail" in what for what in noticed("tuning"))


def test_a_cliff_at_any_worse_rate_is_noticed(monkeypatch):
    monkeypatch.setattr(said, "is_cliff", lambda pick, above, *more: np.mean(above) < np.mean(pick))
    assert "cliff" in noticed("symbols")


def test_a_single_number_of_runs_is_noticed(monkeypatch):
    runs = said.runs_to_margin

    def narrow(*args):
        found = runs(*args)
        return found and said.Runs(2 * found.least, 2 * found.least + 1)

    monkeypatch.setattr(conclude.claims, "runs_to_margin", narrow)
    row = next(row for row in claims.times("tuning", 30) if "kind" in row)
    assert row["holds"] is False


def test_worlds_have_every_rate_on_enough_seeds_past_the_rate_that_fails():
    for name in worlds.WORLDS:
        world = worlds.World(name)
        assert len(world.rates) >= 5
        assert min(map(len, world.rates)) >= 7
        assert world.examples.shape[1] >= 40
        assert world.examples.shape[2] == worlds.HELD_OUT
        means = world._means(world.examples.reshape(len(world.names), -1))
        for optimizer, rates in zip(worlds.OPTIMIZERS, world.rates, strict=True):
            own = [means[optimizer, lr] for lr in rates]
            assert 0 <= int(np.argmax(own)) < len(own) - 1  # the best is not the last
    assert sum(worlds.World(name).longer is not None for name in worlds.WORLDS) == 2
    assert {*worlds.UNTUNED} < {*worlds.WORLDS}


def test_what_is_recorded_is_what_is_trained_now():
    """Two runs of each world, with the values and the results of examples that its table has."""
    from steepest import rules
    from steepest.training import ways
    from steepest.training.stacked import Run

    for name in worlds.WORLDS:
        problem, rule = worlds.WORLDS[name](), rules.get("momentum")
        with np.load(worlds.path(name, "momentum")) as file:
            lr, values = float(file["rates"][0]), file["values"][0, :2, -1]
        runs = [Run(rule, lr, seed, problem.steps, examples=True) for seed in range(2)]
        ends = dict(ways.train_all(problem, runs, ways.named("one")))
        np.testing.assert_allclose([ends[k].valid for k in range(2)], values, rtol=0.05)


def test_the_table_of_claims_says_how_often_and_how_falsely():
    rows = [
        claims.claim("bound", "digits", 100, 1, 100),
        claims.claim("order", "digits", 0, 0, 100),
        claims.claim("range", "mnist", 100, 60, 100),
    ]
    lines = list(claims.matrix(rows))
    assert len(lines) == 1 + len(sentences.KINDS) + len(claims.ABSENT)
    assert "100: 1.0 <4.7" in next(line for line in lines if line.startswith("bound"))
    assert "!100: 60.0 <" in next(line for line in lines if line.startswith("range"))
    assert claims.cell(rows[1]) == "-"
    assert "never said" in calibrated.words(rows[1])
    assert claims.claim("time", "digits", 100, 25, 100)["holds"]
    assert claims.claim("time", "digits", 2_000, 500, 2_000)["holds"] is False
