"""Every verdict on a document's sentence can come out either way: the case it was made for, and a planted opposite."""

import numpy as np
import pytest

from steepest.rules import get
from steepest_workshop.lessons import Row, assignment, curves, ideas, kept, motion, searching, sweeps, tutorial

STARTS = sweeps.CHOOSING + sweeps.JUDGING


def accuracies(peak, at, count, width=1.0):
    """Accuracies (settings, starts) with their best mean at a setting, the starts a tenth of a point apart."""
    means = peak - width * np.abs(np.arange(count) - at)
    return means[:, None] + 0.1 * np.random.default_rng(count).standard_normal(STARTS)


def verdicts(made, *planted):
    return [made(*each).holds for each in planted]


@pytest.mark.parametrize(
    ("made", "right", "opposite"),
    [
        (motion.builds_up, "momentum", "adam"),
        (motion.builds_up, "momentum", "nesterov"),
        (motion.speeds_up, "momentum", "sgd"),
        (motion.speeds_up, "momentum", "nesterov"),
        (motion.everywhere, "momentum", "rmsprop"),
        (motion.everywhere, "momentum", "sgd"),
        (motion.settles, (0.05, 0.0005), (0.05, 0.05)),
        (ideas.restarts, 2.0, 1e9),
        (ideas.averaged, 0.9, 0.0),
        (ideas.evaluated, "adan", "nesterov_lookahead"),
        (ideas.projected, None, get("adam")),
        (ideas.stops, ("bowl", "valley"), ("valley", "saddle")),
        (assignment.fits, 10**6, 10**13),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_an_experiment_with_the_wrong_thing_says_no(made, right, opposite):
    assert made(right).holds is True
    assert made(opposite).holds is False


def test_the_boost_of_a_heavy_momentum_depends_on_the_condition(monkeypatch):
    assert motion.boost(motion.HEAVY).holds is None
    assert motion.boost((0.0, 0.5)).holds is False
    monkeypatch.setattr(motion, "CONDITIONS", (1e5, 1e7))
    assert motion.boost(motion.HEAVY).holds is True


def test_steps_to_arrive_are_those_of_the_iteration_itself():
    for condition, beta, rate in ((10.0, 0.9, 0.5), (100.0, 0.0, 1.9), (100.0, 0.8, 1.0)):
        matrices = [np.array([[1 + beta - rate * h, -beta], [1, 0]]) for h in (1, 1 / condition)]
        states, distances = [np.ones(2) for _ in matrices], []
        for _ in range(2000):
            states = [m @ s for m, s in zip(matrices, states, strict=True)]
            distances.append(sum(s[0] ** 2 for s in states))
        last = max(k for k, away in enumerate(distances, 1) if away >= 2 * motion.CLOSE)
        assert abs(motion._arrival(matrices, 2**20) - last) <= 0.1 * last + 2


def test_convex_surfaces_with_two_minima_would_be_seen(monkeypatch):
    assert searching.single(("bowl", "valley")).holds is True
    monkeypatch.setattr(searching.optimality, "convexity", lambda surface: (True, "planted"))
    assert searching.single(("bowl", "himmelblau")).holds is False


def test_searches_are_judged_by_their_shares():
    local, everywhere, nowhere = (1.0, 0.2), (1.0, 1.0), (0.3, 0.1)
    assert searching.assumed({"a": local, "b": local, "c": everywhere}).holds is True
    assert searching.assumed({"a": local, "b": everywhere, "c": everywhere}).holds is False
    assert searching.easy({"a": local, "b": local, "c": nowhere}).holds is True
    assert searching.easy({"a": local, "b": nowhere, "c": nowhere}).holds is False


def swept(name):
    """A verdict of `sweeps` on three tables: one that agrees, one that contradicts, one that cannot say."""
    high, low = 97.0, 95.0
    if name == "momenta":
        count = len(sweeps.MOMENTUM_RATES)
        return [
            [
                *sweeps.momenta(
                    {"sgd": accuracies(90, 2, count), "momentum": accuracies(m, 2, count), "nesterov": accuracies(n, 2, count)}
                )
            ][1]
            for m, n in ((low, high), (high, low), (low, low))
        ]
    if name == "stable":
        count = len(sweeps.STABLE_RATES)
        return [
            sweeps.stable(
                {n: accuracies(high, 6, count, w) for n, w in zip(("adabelief", "adam", "momentum"), widths, strict=True)}
            )
            for widths in ((0.1, 2, 2), (2, 0.1, 0.1), (2, 2, 0.1))
        ]
    if name == "crossed":
        count = len(sweeps.BETA_RATES)
        return [
            sweeps.crossed(
                {b: accuracies(above, 1, count) for b in sweeps.BETAS}
                | {b[::-1]: accuracies(below, 1, count) for b in sweeps.BETAS}
            )
            for above, below in ((low, high), (high, low), (low, low))
        ]
    if name == "switched":
        alone, count = {"Adam": accuracies(high, 1, len(sweeps.FIRST)), "SGD": accuracies(low, 1, len(sweeps.SECOND))}, 12
        return [sweeps.switched({**alone, "both": accuracies(peak, 5, count)}) for peak in (98.0, 96.0, 97.0)]
    raise NotImplementedError(name)


@pytest.mark.parametrize("name", ["momenta", "stable", "crossed", "switched"])
def test_a_comparison_of_optimizers_says_yes_no_and_undecided(name):
    assert [row.holds for row in swept(name)] == [True, False, None]


def test_a_best_rate_on_the_edge_decides_nothing():
    count = len(sweeps.MOMENTUM_RATES)
    table = {name: accuracies(peak, 0, count) for name, peak in (("sgd", 90), ("momentum", 95), ("nesterov", 97))}
    assert [(row.holds, row.reason) for row in sweeps.momenta(table)] == [(None, sweeps.ON_EDGE)] * 2
    orders = [pair for own in sweeps.BETAS for pair in (own, own[::-1])]
    betas = {b: accuracies(97 if b[0] > b[1] else 95, 0, len(sweeps.BETA_RATES)) for b in orders}
    assert sweeps.crossed(betas).reason == sweeps.ON_EDGE
    good = {beta: accuracies(97, 0, 4, 0.01) for beta in sweeps.SHARES}
    assert sweeps.usual(good).reason == sweeps.ON_EDGE  # a better one may lie beyond


def test_the_starts_that_choose_a_rate_do_not_judge_it():
    values = np.full((2, STARTS), 90.0)
    values[0, : sweeps.CHOOSING] = 99.0  # lucky where it is chosen
    assert sweeps.best(values) == 0
    assert sweeps.judged(values).tolist() == [90.0] * sweeps.JUDGING


def test_epsilon_matters_or_does_not():
    count = len(sweeps.EPSILON_RATES)
    equal = {eps: accuracies(97, 1, count) for eps in sweeps.EPSILONS}
    assert [row.holds for row in sweeps.epsilon(equal)] == [False, True]
    better = equal | {1e-6: accuracies(98, 1, count)}
    assert [row.holds for row in sweeps.epsilon(better)] == [True, False]


def test_a_schedule_of_another_optimizer_costs_or_does_not():
    def table(own, at=1):
        made = {("momentum", plan): accuracies(96 + (plan == "cosine"), at, 4) for plan in sweeps.PLANS}
        return made | {("madgrad", plan): accuracies(96 + (plan == own), 1, 5) for plan in sweeps.PLANS}

    assert sweeps.planned(table("cosine")).holds is True
    assert sweeps.planned(table("constant")).holds is False
    assert sweeps.planned(table("cosine", at=3)).reason == sweeps.ON_EDGE


def test_rho_and_the_usual_setting_are_good_or_not():
    rates = len(sweeps.RHO_RATES)
    even = {rho: accuracies(97, 1, rates) for rho in sweeps.RHOS}
    assert [row.holds for row in sweeps.robust(even)] == [True]
    assert [row.holds for row in sweeps.robust(even | {0.01: accuracies(90, 1, rates)})] == [False]
    good = {beta: accuracies(97 if beta == 0.9 else 95, 1, 4) for beta in sweeps.SHARES}
    assert sweeps.usual({**good, 0.9: accuracies(97, sweeps.SHARE_RATES.index(0.001), 4)}).holds is True
    assert sweeps.usual({**good, 0.9: accuracies(97, 0, 4, 2.0)}).holds is False


def test_a_plateaus_reduction_gains_or_loses():
    def ends(gain):
        return {f: [(97 + 0.01 * k + (gain if f else 0), 0.1) for k in range(5)] for f in (0, 2, 5, 10)}

    assert [tutorial.reduced(ends(gain)).holds for gain in (1.0, -1.0)] == [True, False]
    mixed = ends(1.0) | {10: ends(-1.0)[10]}
    assert tutorial.reduced(mixed).holds is None


def test_adam_is_king_until_somebody_is_better():
    assert tutorial.king({"sgd": (1.0, ""), "adan": (0.0, "")}).holds is True
    assert tutorial.king({"sgd": (1.0, ""), "adan": (-1.0, "")}).holds is False
    assert tutorial.king({"sgd": (None, ""), "adan": (0.0, "")}).holds is None


def test_a_formula_that_gives_the_printed_figures_holds():
    def rows(*holds):
        return [Row("000", "Adam", 93.0, 93.0, 0.005, hold) for hold in holds]

    right = rows(True, True, True)
    assert assignment.by_formula("f", right, rows(True, True, True)).holds is True
    assert assignment.by_formula("f", right, rows(True, False, True)).holds is False
    assert assignment.by_formula("f", rows(False, False, False), rows(True, True, True)).holds is None


def curve(end, spread=0.1):
    return np.array([[[1.0, end + spread * k]] for k in range(curves.STARTS)])


def test_curves_decide_where_they_lie_apart():
    plans = {name: curve(60.0) for name in curves.SCHEDULES}
    assert curves.schedules_of(plans).holds is None
    assert curves.schedules_of({name: curve(70.0 if name != "constant" else 60.0) for name in plans}).holds is True
    assert curves.schedules_of({name: curve(50.0 if name != "constant" else 60.0) for name in plans}).holds is False


def test_step_decay_is_as_good_as_exponential_steps_or_not():
    count = len(sweeps.DECAY_RATES)
    even = {plan: accuracies(97, 1, count) for plan in sweeps.DECAYS}
    assert sweeps.stepwise(even).holds is True
    three = "multi_step(milestones=(0.25, 0.5, 0.75))"
    assert sweeps.stepwise(even | {three: accuracies(98, 1, count)}).holds is False
    apart = accuracies(97 + sweeps.ACCURACY_MARGIN, 1, count)[:, ::-1]  # with other noise
    assert sweeps.stepwise(even | {three: apart}).holds is None
    assert sweeps.stepwise(even | {three: accuracies(98, 0, count)}).reason == sweeps.ON_EDGE


def test_the_order_of_optimizers_is_the_printed_one_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    assert curves.ordered({}).reason == "not trained"
    monkeypatch.setattr(curves, "compared", lambda name: [curves.Course(name, 0.1, "cosine", 1, 0)])
    adan, sgd, adam = (curve(end, spread) for end, spread in ((70.9, 0.1), (70.2, 0.5), (63.8, 0.1)))
    assert curves.ordered({"Adan": adan, "SGD": sgd, "Adam": adam}).holds is None  # the first two lie too near
    sure = {"Adan": curve(80.0, 0.0), "SGD": curve(70.0, 0.0), "Adam": curve(60.0, 0.0)}
    assert curves.ordered(sure).holds is True
    assert curves.ordered({**sure, "Adam": curve(90.0, 0.0)}).holds is False


def test_a_grid_is_trained_once_and_again_if_a_setting_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    asked = []

    def trained(problem, runs, *shape):
        asked.append([(run.lr, run.seed) for run in runs])
        return np.array([run.lr if run.seed else np.nan for run in runs]).reshape(len(runs) // shape[-1], shape[-1])

    monkeypatch.setattr(sweeps, "trained", trained)
    made = {name: [(get(name), lr, {}) for lr in (0.1, 0.2)] for name in ("sgd", "adam")}
    found = sweeps.swept(lambda: None, made, starts=3, keep=False)
    assert found["adam"].tolist() == [[0, 0.1, 0.1], [0, 0.2, 0.2]]
    assert not list(tmp_path.iterdir())

    def problem():
        return None

    first = sweeps.swept(problem, made, starts=3, keep=True)
    assert len(asked) == 2
    again = sweeps.swept(problem, made, starts=3)
    assert len(asked) == 2
    assert all((first[name] == again[name]).all() for name in made)
    made["adam"] = [(get("adam"), lr, {"beta1": 0.5}) for lr in (0.1, 0.2)]
    sweeps.swept(problem, made, starts=3)
    assert len(asked) == 3
    assert len(asked[-1]) == 6  # Adam's alone
