"""The search at random: its points, what goes on, what it says of luck, and how well short runs rank."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import steepest
from steepest.errors import SteepestError
from steepest.study import budget, luck
from steepest.study.budget import TUNING_SEEDS, Clock, Fit
from steepest.study.conclude import conclude
from steepest.study.search import HALF, KEPT, SAMPLED, SURVIVORS, best_of, expected_best, points, rank_correlation, sample
from steepest.study.space import spaces
from steepest.study.table import _outcome, question, replay
from tests.study.tables import POINTS


def made(optimizers=("adamw", "momentum"), courses=("constant", "cosine")):
    return spaces([*optimizers], [*courses], None, refines=True, shapes=True)


class World(dict):
    """Runs whose value is a parabola over rate and warm-up, with noise; `agrees` says how well short runs rank."""

    def __init__(self, agrees=1.0, spread=0.2, steps=100):
        super().__init__()
        self.agrees, self.spread, self.steps = agrees, spread, steps

    def value(self, c):
        rate = math.log10(c.lr / c.space.rate.centre)
        return 90 - 3 * rate**2 - 20 * (c.value("warmup") - 0.1) ** 2 + (c.space.name == "adamw")

    def get(self, job, default=None):
        rng = np.random.default_rng([job.seed, sum(map(ord, str(job.candidate)))])
        noise = rng.standard_normal(2)
        if job.length < self.steps:
            return _outcome(self.agrees * self.value(job.candidate) + (1 - self.agrees) * 90 + 3 * (1 - self.agrees) * noise[1])
        return _outcome(self.value(job.candidate) + self.spread * noise[0])


def ask(level="standard", trials=32, **fields):
    table = type("Spaces", (), {"spaces": made()})
    return question(table, POINTS, **({"steps": 100, "trials": trials, "search": level, "margin": 0.5} | fields))


def run(world, **fields):
    batches = []
    course = replay(ask(**fields), world, watch=batches.append)
    return course, batches


@pytest.mark.parametrize("level", ["standard", "full"])
def test_points_are_in_their_ranges_the_defaults_first_and_the_same_each_time(level):
    group = made(["adamw"])
    found = points(group, level, 64)
    assert found == points(group, level, 64)
    assert len({*found}) == 64
    assert [c.settings for c in found[:2]] == [(), ()]
    assert {c.space.schedule for c in found} == {"constant", "cosine"}
    names = {name for c in found for name, _ in c.settings}
    assert names == {"weight_decay", "warmup"} | ({"beta1", "beta2", "decay"} if level == "full" else set())
    for c in found[2:]:
        assert 0.03 < c.lr / c.space.rate.centre < 32
        for name, value in c.settings:
            axis = c.space.axis(name)
            assert value == 0 or axis.usual[0] <= value <= axis.usual[1]
    rates = np.log10([c.lr for c in found[2:]])
    assert stats.kstest((rates - rates.min()) / np.ptp(rates), "uniform").pvalue > 0.5  # evenly over the decades


def test_every_optimizer_gets_the_same_work_and_at_least_two_of_each_race():
    course, batches = run(World())
    short, full, *_ = batches
    assert {job.length for job in short.jobs} == {100 // HALF}
    for name in ("adamw", "momentum"):
        assert sum(job.candidate.space.name == name for job in short.jobs) == 32
        kept = [job for job in full.jobs if job.candidate.space.name == name and job.candidate not in course.sampled]
        assert len(kept) == 32 // KEPT
        assert sum(one.candidate.space.name == name for one in course.contenders) >= SURVIVORS
    assert len(course.sampled) == SAMPLED
    assert {job.seed for job in full.jobs} == {TUNING_SEEDS[0]}
    assert {job.seed for batch in batches if batch.jobs[0].seed < 10**6 for job in batch.jobs}.isdisjoint(TUNING_SEEDS)
    found = conclude(course)
    assert found.pick.name == "adamw"
    assert abs(math.log10(found.pick.lr / 0.01)) < 1
    assert found.not_followed == 64 - len(course.contenders)


def test_what_survives_is_the_best_quarter_by_the_short_runs():
    course, batches = run(World())
    going_on = {job.candidate for job in batches[1].jobs} - {*course.sampled}
    for name in ("adamw", "momentum"):
        own = [c for c in course.short if c.space.name == name]
        kept = [c for c in own if c in going_on]
        assert min(map(course.short_merit, kept)) >= max(course.short_merit(c) for c in own if c not in kept)


@pytest.mark.parametrize(("agrees", "low", "high"), [(1.0, 0.9, 1.0), (0.0, -0.6, 0.6)])
def test_the_rank_correlation_of_short_runs_is_reported(agrees, low, high):
    course, _ = run(World(agrees=agrees))
    ranked = conclude(course).searched.ranked
    assert low <= ranked.correlation <= high
    assert ranked.low <= ranked.correlation <= ranked.high
    assert ranked.n == 2 * 32 // KEPT + SAMPLED


def test_the_rank_correlation_is_spearmans_and_its_interval_covers():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 30))
    found, _, _ = rank_correlation(x, y, np.ones(30), draws=50)
    assert found == pytest.approx(stats.spearmanr(x, y).statistic)
    weights = rng.integers(1, 4, 30)
    doubled, _, _ = rank_correlation(x, y, weights, draws=10)
    assert doubled == pytest.approx(stats.spearmanr(np.repeat(x, weights), np.repeat(y, weights)).statistic)
    truth = 6 / math.pi * math.asin(0.7 / 2)  # of normal values that correlate by 0.7
    inside = 0
    for k in range(200):
        pair = np.random.default_rng(k).multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 24)
        _, low, high = rank_correlation(*pair.T, np.ones(24), draws=200)
        inside += low <= truth <= high
    assert inside / 200 > 0.88  # a bootstrap of 24 pairs: somewhat under 0.95
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [1, 1, 1]) is None


def test_the_expected_best_is_the_mean_over_all_choices_of_trials():
    values = [3.0, 1.0, 4.0, 1.5]
    for trials in (1, 2, 3):
        chosen = [max(picked) for picked in itertools.product(values, repeat=trials)]
        assert best_of(values, [1] * 4, trials) == pytest.approx(np.mean(chosen))
    weighted = [max(picked) for picked in itertools.product([3.0, 1.0, 1.0, 1.0], repeat=2)]
    assert best_of([3.0, 1.0], [1, 3], 2) == pytest.approx(np.mean(weighted))
    low, high = expected_best(values, [1] * 4, 2)
    assert low <= best_of(values, [1] * 4, 2) <= high


def test_expected_bests_cross_where_the_distributions_say():
    """One optimizer is better on average, the other at its best: the curves cross between."""
    rng = np.random.default_rng(1)
    steady, lucky = rng.normal(90, 0.5, 400), rng.normal(88, 2.0, 400)
    crossing = next(k for k in range(1, 100) if best_of(lucky, [1] * 400, k) > best_of(steady, [1] * 400, k))
    drawn = np.random.default_rng(2)
    before, after = crossing - 2, crossing + 2  # far enough for the error of 20,000 draws
    means = {k: [drawn.choice(own, (20_000, k)).max(1).mean() for own in (steady, lucky)] for k in (before, after)}
    assert before >= 1
    assert means[before][0] > means[before][1]
    assert means[after][0] < means[after][1]


def test_the_best_run_claims_too_much_and_the_interval_on_other_seeds_holds():
    """Where candidates hardly differ, the best of many runs overstates its value; seeds of the race do not."""
    claimed, inside, seen = [], 0, 0
    for k in range(60):
        world = World(spread=1.0)
        world.value = lambda c: 90.0
        get = world.get
        world.get = lambda job, default=None, k=k, get=get: get(job._replace(seed=job.seed + 10_000 * k))
        found = luck.searched(run(world, trials=16)[0])
        claimed.append(found.claimed - 90.0)
        if found.half is not None:
            seen += 1
            inside += abs(found.mean - 90.0) <= found.half
    assert np.mean(claimed) > 0.8  # standard deviations of a run
    assert seen > 20
    assert inside / seen >= 0.85  # of 95 %, in at most 60 cases


def test_a_sample_of_the_dropped_is_random_and_the_same_each_time():
    every = points(made(["adamw"]), "standard", 32)
    assert sample(every, 8) == sample(every, 8)
    assert len({*sample(every, 8)}) == 8
    assert sample(every[:3], 8) == every[:3]


@pytest.mark.parametrize(
    ("runs", "typed", "names", "count"),
    [
        (1000, False, 7, 71),
        (300, False, 7, 21),
        (200, False, 3, 33),
        (60, False, 2, 15),
        (60, True, 7, 4),
        (4000, True, 7, 128),
    ],
)
def test_the_points_of_a_search_fit_its_budget(runs, typed, names, count):
    seven = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
    asked = question(type("S", (), {"spaces": made(seven)}), POINTS, search="standard", budget=100.0, typed_optimizers=typed)
    fits = Fit(asked).decide(Clock(left=runs * budget.SLACK + 1e-6, run=1.0))
    assert len({label.partition("+")[0] for label in fits.labels}) == names
    assert fits.trials == count
    assert f"and so for {count} points of" in fits.words


def test_a_budget_without_time_for_a_search_is_refused():
    asked = question(type("S", (), {"spaces": made()}), POINTS, search="full", budget=10.0)
    with pytest.raises(SteepestError, match="a search needs 4; give at least --budget"):
        Fit(asked).decide(Clock(left=5.0, run=1.0))


def test_a_search_of_digits_is_answered_and_resumed_without_training(tmp_path):
    ask = {"search": "full", "steps": 40, "trials": 8, "margin": 8.0, "budget": math.inf, "store": tmp_path / "s.db"}
    study = steepest.compare("digits", "adamw,sgd", **ask)
    found = study.to_dict()["answer"]["search"]
    assert found["points"] == 16
    assert {row["name"] for row in found["expected_best"]} == {"adamw", "sgd"}
    assert found["rank_correlation"]["n"] >= 4
    again = steepest.compare("digits", "adamw,sgd", **ask)
    assert again.result.trained == 0
    assert again.answer().sentence == study.answer().sentence
    assert study.report(tmp_path / "r.html").stat().st_size > 0
    with pytest.raises(SteepestError, match="ends in a race, and seeds asks for none"):
        steepest.compare("digits", "sgd", search="standard", seeds=3, store=":memory:")
