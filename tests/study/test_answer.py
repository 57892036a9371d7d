"""The answer as a user reads it: six snapshots, and what its claims need to be said."""

import dataclasses
import re

import numpy as np
import pytest

from steepest import rules
from steepest.study import conclude as conclude_module
from steepest.study import race, sentences
from steepest.study.answer import Collapse, Longer, Named
from steepest.study.conclude import conclude
from steepest.study.question import Scale
from steepest.study.space import spaces
from steepest.study.table import UNTIMED, Table, arms, question, replay
from tests.study.tables import POINTS, asked, made

nan = np.nan
COSTS = {"sgd": (1e-4, 0), "adam": (1.2e-4, 80_000), "adamw": (1.2e-4, 80_000)}


def answered(table, scale=POINTS, costs=COSTS, **fields):
    clock = dataclasses.replace(UNTIMED, costs=costs)
    return conclude(replay(asked(table, scale, **fields), table, clock=clock))


def shown(answer):
    """The answer as it is printed: the headline, the short table and the first lines."""
    heading, rows = sentences.table(answer)
    return [answer.sentence, *(" | ".join(row) for row in [heading, *rows] if answer.rows), *answer.lines]


def margin():
    return answered(made("sgd,adam,adamw", rates=9, columns=80, spread=0.3))


def out_of_time():
    return answered(made("sgd,adam,adamw", rates=9, columns=20, spread=2.0), margin=0.1)


def one_candidate():
    return answered(made("sgd", rates=1, columns=20, spread=0.3), trials=1)


def a_pick_that_collapses_at_times():
    table = made("sgd,adam", rates=7, columns=60, spread=0.3)
    values = table.recorded
    values[:, 6:50:9] = nan  # on seeds that all share
    return answered(table, trials=7)


def an_edge():
    table = made("sgd,adam", rates=7, columns=60, spread=0.3)
    return answered(changed_to_edge(table), trials=7)


def changed_to_edge(table):
    """The table, with the best values at the highest rate of sgd."""
    top = max(lr for label, lr in table.rows if label == "sgd")
    table.recorded[table.rows["sgd", top]] += 12.0
    return table


def few_runs():
    return answered(made("sgd,adam", rates=7, columns=10, spread=0.3), trials=7)


SNAPSHOTS = {
    margin: [
        "Use sgd at 0.22 for 100 steps. With 95 % confidence, none of the 2 others compared is better.",
        " | optimizer | rate | mean, same seeds | pick ahead by | 95 % interval | step | state",
        "pick | sgd | 0.22 | 90.071 |  |  | 100 µs | 0 B",
        "rival | adam | 0.0046 | 88.47 | 1.6 | 0.6 to 2.6 | 120 µs | 78.1 KiB",
        "On the same validation examples: 90.084 ± 0.36 (95 %, 5 fresh seeds).",
    ],
    out_of_time: [
        "Use sgd at 0.46 for 100 steps. With 95 % confidence, none of the 2 others compared is better by more than 2.8 points.",
        " | optimizer | rate | mean, same seeds | pick ahead by | 95 % interval | step | state",
        "pick | sgd | 0.46 | 88.485 |  |  | 100 µs | 0 B",
        "rival | adam | 0.0022 | 88.035 | 0.45 | -2.4 to 2.9 | 120 µs | 78.1 KiB",
        "On the same validation examples: 90.359 ± 2.4 (95 %, 5 fresh seeds).",
        "A bound of 0.1 points takes more than 47 further runs (47 s); --continue resumes.",
    ],
    one_candidate: [
        "Use sgd at 0.22 for 100 steps. Nothing else was tried, so there is nothing to compare it with.",
        " | optimizer | rate | mean, same seeds | pick ahead by | 95 % interval | step | state",
        "pick | sgd | 0.22 | 90.131 |  |  | 100 µs | 0 B",
        "On the same validation examples: 89.992 ± 0.28 (95 %, 5 fresh seeds).",
    ],
    a_pick_that_collapses_at_times: [
        "Use sgd at 0.22 for 100 steps. With 95 % confidence, the other one compared is not better.",
        " | optimizer | rate | mean, same seeds | pick ahead by | 95 % interval | step | state",
        "pick | sgd | 0.22 | 90.097 |  |  | 100 µs | 0 B",
        "rival | adam | 0.0046 | 88.665 | 1.4 | 0.21 to 2.7 | 120 µs | 78.1 KiB",
        "On the same validation examples: 89.51 ± 0.33 (95 %, 5 fresh seeds).",
        "1 of 6 runs of the pick collapsed: at most 65 % do (95 %).",
    ],
    an_edge: [
        "Use sgd at 2.2 for 100 steps. With 95 % confidence, the other one compared is not better.",
        " | optimizer | rate | mean, same seeds | pick ahead by | 95 % interval | step | state",
        "pick | sgd | 2.2 | 92.839 |  |  | 100 µs | 0 B",
        "rival | adam | 0.0046 | 88.759 | 4.1 | 3.4 to 4.8 | 120 µs | 78.1 KiB",
        "On the same validation examples: 93.083 ± 0.23 (95 %, 5 fresh seeds).",
        "2.2 is the highest rate tried: a higher one may be better.",
    ],
    few_runs: [
        "Use sgd at 0.22 for 100 steps. "
        "It was 1.6 points ahead of adam at 0.0046 on 2 shared seeds: too few seeds to say how much better another could be.",
        " | optimizer | rate | mean, same seeds | pick ahead by | 95 % interval | step | state",
        "pick | sgd | 0.22 | 90.113 |  |  | 100 µs | 0 B",
        "rival | adam | 0.0046 | 88.47 | 1.6 | 2 seeds | 120 µs | 78.1 KiB",
        "On the same validation examples: 90.111 ± 0.31 (95 %, 5 fresh seeds).",
        "The time was spent before enough seeds had run; --continue resumes.",
    ],
}


@pytest.mark.parametrize("case", SNAPSHOTS, ids=lambda case: case.__name__)
def test_an_answer_reads_so(case):
    assert shown(case()) == SNAPSHOTS[case]


@pytest.mark.parametrize("case", SNAPSHOTS, ids=lambda case: case.__name__)
def test_an_answer_is_a_headline_with_the_steps_and_at_most_five_short_lines(case):
    answer = case()
    assert f"for {answer.steps} steps" in answer.sentence
    assert len(answer.lines) <= sentences.MOST_LINES
    assert max(map(len, answer.lines), default=0) <= 100
    assert {*answer.lines} <= {*answer.details}
    assert str(answer) == "\n".join([answer.sentence, *answer.lines])


def test_every_line_has_a_kind_of_claim_or_only_reports():
    kinds = {line.kind for case in SNAPSHOTS for line in sentences._lines(case())}
    assert kinds <= {*sentences.KINDS, ""}


def test_the_smaller_rate_is_picked_of_those_within_the_margin_if_none_is_calmer():
    rng = np.random.default_rng(0)
    values = np.array([[90.0], [90.2]]) + 0.05 * rng.standard_normal((2, 60))
    table = Table(spaces(["sgd"], ["constant"], None), [(0.1, 0.22)], values)
    assert answered(table).pick.lr == 0.1
    assert answered(table, margin=0.15).pick.lr == 0.22


def test_of_equal_rates_the_one_that_spreads_less_is_picked_from_eight_shared_seeds_on():
    rng, picked = np.random.default_rng(1), {True: 0, False: 0}
    for seeds in (20, 7):
        for _ in range(40):
            values = 90 + np.array([[0.31], [1.37]]) * rng.standard_normal((2, 3 + seeds))
            table = Table(spaces(["sgd"], ["constant"], None), [(0.1, 0.22)], values[::-1])
            picked[seeds >= 8] += replay(question(table, Scale("accuracy", "max", in_points=True)), table).pick.lr == 0.22
    assert picked[True] >= 33  # of 40, where 36 are expected
    assert picked[False] < 30


def fragile(worse, columns=60):
    """A table of one rule whose rate above the best is this much worse."""
    table = made("sgd", rates=7, columns=columns, spread=0.3)
    best = max(table.rows, key=lambda name: table.recorded[table.rows[name]].mean())
    above = min(lr for _, lr in table.rows if lr > best[1])
    table.recorded[table.rows["sgd", above]] = table.recorded[table.rows[best]] - worse
    return table, above


@pytest.mark.parametrize(
    ("worse", "fails"), [(2.5, False), (7.5, True), (nan, True)]
)  # 5 and 15 margins, and runs that diverge
def test_the_next_rate_is_run_and_said_to_fail_where_it_is_far_worse(worse, fails):
    table, above = fragile(worse)
    batches = []
    course = replay(asked(table, trials=7), table, watch=batches.append)
    cliff = conclude(course).cliff
    assert {job.candidate.lr for batch in batches for job in batch.jobs if job.candidate.lr == above and job.seed < 60} == {
        above
    }
    assert (cliff is not None) == fails
    if fails:
        assert cliff.lr == above
        assert cliff.collapsed == (cliff.of if np.isnan(worse) else 0)


def test_rates_next_to_the_pick_take_a_tenth_of_the_runs_on_seeds_of_the_race():
    table = made("sgd,adam,adamw", rates=9, columns=200, spread=1.0)
    course = replay(asked(table), table)
    runs = sum(map(len, course.nearby.values()))
    raced = {one.candidate: len(one.outcomes) for one in course.contenders}
    assert runs - sum(raced.get(candidate, 0) for candidate in course.nearby) <= max(0.1 * course.ran, 5)
    for candidate, outcomes in course.nearby.items():
        assert [o.valid for o in outcomes] == [table.get(_job(table, candidate, seed)).valid for seed in range(len(outcomes))]


def _job(table, candidate, seed):
    from steepest.study.protocol import Job

    return Job(candidate, seed, 100)


def test_a_range_of_rates_ends_where_a_rate_costs_two_margins():
    """Neighbours of the best are a point worse: with a margin of 2 they cost less than two of them, with 0.3 more."""
    table = made("sgd", rates=9, columns=200, spread=0.3)
    rate = answered(table, margin=2.0).axes[0]
    assert rate.low < rate.high
    values = {lr: table.recorded[row].mean() for (_, lr), row in table.rows.items()}
    pick = answered(table, margin=2.0).pick.lr
    assert values[pick] - min(values[lr] for lr in values if rate.low <= lr <= rate.high) < rate.cost_under < 4
    assert answered(table, margin=0.3).axes[0].cost_under is None
    one = arms(np.random.default_rng(0).standard_normal((2, 60)))
    assert conclude(replay(question(one, Scale("value", "max"), margin=0.5), one)).axes[0].cost_under is None


def test_what_could_be_better_is_sorted_by_its_mean_and_lists_nothing_far_behind():
    rng = np.random.default_rng(5)
    values = np.array([[90.0], [89.8], [89.9], [88.0]]) + np.array([[0.5], [0.5], [0.5], [6.0]]) * rng.standard_normal((4, 9))
    table = arms(values)
    answer = conclude(replay(question(table, POINTS, margin=0.1), table))
    assert "003" in {one.label for one in answer.possible}  # it spreads so widely that it may be the best
    (line,) = [line for line in answer.details if line.startswith("Could still be better")]
    assert "003" not in line
    assert answer.rival.label == answer.possible[0].label


def test_an_order_is_neither_said_of_rounding_nor_of_few_seeds():
    base = {"name": "sgd", "schedule": "constant", "lr": 0.1, "label": "sgd", "steps": 500}
    assert Longer(**base, seeds=5, ahead=4.7e-15, low=-1e-14, high=1e-14).order == "undecided"
    assert Longer(**base, seeds=3, ahead=1.0).order == "undecided"
    assert Longer(**base, seeds=5, ahead=-1.0, low=-2.0, high=-0.1).order == "behind"


def test_the_limit_of_the_collapse_rate_holds_for_the_best_of_many():
    """The pick may be the one of 20 candidates that collapsed least by luck."""
    rng = np.random.default_rng(6)
    values = 90 + 0.1 * rng.standard_normal((20, 12))
    alone = conclude(replay(question(arms(values[:1]), POINTS), arms(values[:1]))).collapse
    many = conclude(replay(question(arms(values), POINTS), arms(values))).collapse
    assert isinstance(many, Collapse)
    assert many.at_most > alone.at_most


def test_test_data_that_are_worse_than_chance_explains_are_remarked():
    rng = np.random.default_rng(7)
    examples = 100.0 * (rng.random((2, 23, 300)) < 0.94)
    for tested, remarked in ((94.0, False), (88.0, True)):
        plain = arms(examples.mean(2)[:, 3:], 5)
        table = Table(
            plain.spaces, [(1.0,)] * 2, plain.recorded, 5, examples=examples,
            tested=(np.full((2, 23), tested), np.full((2, 23), 1.4)),
        )  # fmt: skip
        scale = Scale("accuracy", "max", True, 300, "test", tested=300)
        answer = conclude(replay(question(table, scale), table))
        assert (answer.figure.worse is not None) == remarked
        assert answer.figure.half > 1.96 * 1.4  # test examples are part of the interval
        assert answer.figure.examples == 300
        assert any("worse than on validation data" in line for line in answer.lines) == remarked


def test_reasons_for_what_is_missing_are_true():
    assert "nothing to compare" in one_candidate().to_dict()["status"]
    assert "single examples" in margin().to_dict()["status"]
    assert "under five shared seeds" in few_runs().to_dict()["status"]


def test_the_words_of_a_name_are_those_of_the_user():
    assert str(Named(name="adamw", schedule="constant", lr=0.1, label="adamw(weight_decay=0.1)")).startswith("adamw(")
    assert re.match(r"Use adamw? with|Use \w+ at", margin().sentence)


def test_a_rate_next_to_the_pick_that_is_better_joins_the_race():
    """One seed of screening hid the best rate, which the race finds beside its pick."""
    table, above = fragile(-3.0)
    table.recorded[table.rows["sgd", above], 0] = 50.0
    answer = conclude(replay(asked(table, trials=7), table))
    assert answer.pick.lr == above
    assert answer.better is None
    assert answer.compared == 3


def test_a_better_rate_that_came_too_late_is_said(monkeypatch):
    monkeypatch.setattr(race, "_join", lambda course, candidate: False)
    table, above = fragile(-3.0)
    table.recorded[table.rows["sgd", above], 0] = 50.0
    answer = answered(table, trials=7)
    assert answer.pick.lr != above
    assert str(answer.better) == f"sgd at {above:g}"
    assert any(line.startswith(f"sgd at {above:g} did ") and "too late to be raced" in line for line in answer.lines)
    assert answer.to_dict()["better"]["seeds"] == answer.better.seeds


def test_one_rival_that_always_diverges_deletes_no_bound():
    values = 90 + np.array([[1.0], [0.0], [0.5]]) + 0.3 * np.random.default_rng(8).standard_normal((3, 40))
    values[2] = nan
    answer = conclude(replay(question(arms(values), POINTS), arms(values)))
    assert answer.bound is not None
    assert [str(one) for one in answer.rejected] == ["002 at 1"]
    assert "the other one compared is not better" in answer.sentence
    assert answer.ruled_out == [] or "002" not in {one.label for one in answer.ruled_out}
    values[1] = nan
    alone = conclude(replay(question(arms(values), POINTS), arms(values)))
    assert alone.bound is None
    assert "collapsed" in alone.sentence


def test_a_rule_of_two_gradients_a_step_is_recommended_for_its_own_steps():
    twice = next(rule for rule in rules.RULES.values() if rule.evaluations == 2)
    (space,) = spaces([twice], ["constant"], None)
    table = Table([space], [(0.1,)], 90 + np.zeros((1, 30)))
    assert "for 10 steps" in conclude(replay(question(table, POINTS, steps=20), table)).sentence


@pytest.mark.parametrize(("limit", "printed"), [(1.0499, 1.1), (0.6249, 0.63), (0.5, 0.5), (3, 3), (0.0, 0.0), (12.01, 13)])
def test_limits_are_rounded_up(limit, printed):
    assert sentences.rounded_up(limit) == printed


def test_fresh_runs_that_collapse_are_counted():
    values = 90 + 0.3 * np.random.default_rng(9).standard_normal((2, 40))
    values[:, -4:-1] = nan
    answer = conclude(replay(question(arms(values, 5), POINTS), arms(values, 5)))
    assert (answer.figure.n, answer.figure.lost) == (2, 3)
    assert any("3 more runs collapsed" in line for line in answer.lines)


def test_longer_runs_that_were_cut_short_claim_nothing():
    values = 90 + np.array([[1.0], [0.0]]) + 0.3 * np.random.default_rng(10).standard_normal((2, 40))
    table = arms(values, 5)
    course = replay(question(table, POINTS), table)
    for outcomes in ([], [course.contenders[0].outcomes[0]]):
        course.longer = course.contenders[1], outcomes
        assert conclude(course).longer is None


def test_the_next_best_of_screening_is_named_if_no_run_of_the_race_ended():
    table = made("sgd,adam", rates=7, columns=8, spread=0.1)  # screening and fresh seeds alone
    answer = answered(table, trials=7)
    means = {name: table.recorded[row, :3].mean() for name, row in table.rows.items()}
    best, second = sorted(means, key=means.get)[:-3:-1]
    gap = table.recorded[table.rows[best], :3] - table.recorded[table.rows[second], :3]
    assert (answer.pick.label, answer.pick.lr, answer.second.label, answer.second.lr) == (*best, *second)
    assert np.isclose(answer.second.ahead, gap.mean())
    assert f"it was {gap.mean():.2g} points ahead of {second[0]} at {second[1]:g} on 3 screening seeds" in answer.sentence
    assert "The time was spent before enough seeds had run; --continue resumes." in answer.lines
    assert answer.to_dict()["second"]["lr"] == second[1]


def test_optimizers_that_there_was_no_time_to_race_are_named():
    table = made("sgd,adam,adamw", rates=7, columns=40, spread=0.3)
    course = replay(asked(table, trials=7), table)
    answer = conclude(course)
    assert answer.unraced == answer.to_dict()["unraced"] == []
    course.contenders = [one for one in course.contenders if one.candidate.label != "adam"]  # as if there had been no time
    assert conclude_module._unraced(course) == ["adam"]
    line = "Only screened, for lack of time, and so not compared: adam."
    assert line in [one.text for one in sentences._lines(dataclasses.replace(answer, unraced=["adam"]))]


def test_all_that_could_be_better_are_counted_with_the_largest_bound():
    answer = out_of_time()
    close = [dataclasses.replace(answer.possible[0], is_close=True, ahead_at_most=1.0)]
    far = [dataclasses.replace(answer.possible[0], lr=1e3 + k, is_close=False, ahead_at_most=7.7 + 0.01 * k) for k in range(3)]
    line = sentences._possible(dataclasses.replace(answer, possible=close + far))
    assert line.endswith("(by at most 1 points), and 3 with worse means (by at most 7.8 points).")
