"""The refinement of leaders: which settings are tried, what is kept, and what the user's own choices leave out."""

import math

import pytest
import torch

import steepest
from steepest import rules, schedules
from steepest.errors import SteepestError
from steepest.schedules import shape
from steepest.study import axes, budget, refine
from steepest.study.budget import TUNING_SEEDS, Clock, Refined
from steepest.study.conclude import conclude
from steepest.study.space import spaces
from steepest.study.table import _outcome, question, replay
from steepest.update import foreign
from tests.study.tables import POINTS

GAINS = {"warmup": 2.0, "beta2": 1.0, "decay": -1.0, "weight_decay": -0.5}  # points of accuracy, whatever the value


class World(dict):
    """Runs whose value is a parabola over the rate, with gains for settings, and noise by seed that all candidates share."""

    def __init__(self, gains, spread=0.3):
        super().__init__()
        self.gains, self.spread = gains, spread

    def get(self, job, default=None):
        c = job.candidate
        noise = torch.randn((), generator=torch.Generator().manual_seed(job.seed)).item()
        value = 90 - 8 * (math.log10(c.lr / c.space.rate.centre)) ** 2 + self.spread * noise
        return _outcome(value + sum(self.gains.get(name, 0.0) for name, _ in c.settings) + (c.space.name == "adamw"))


def ask(optimizers="adamw,sgd", courses="constant,cosine", **fields):
    made = spaces(optimizers.split(","), courses.split(","), None, refines=True, shapes=True)
    table = type("Spaces", (), {"spaces": made})
    return question(table, POINTS, **({"trials": 5, "margin": 0.5} | fields))


def test_changes_that_gain_are_kept_and_the_others_are_not():
    batches = []
    found = conclude(replay(ask(), World(GAINS), watch=batches.append))
    assert found.pick.name == "adamw"
    assert found.pick.settings.keys() == {"beta2", "warmup"}
    assert found.pick.schedule.startswith("warmup(over=")
    assert found.hyper["beta2"] == found.pick.settings["beta2"]
    assert found.bound <= 0.5
    tried = {name for batch in batches for job in batch.jobs for name, _ in job.candidate.settings}
    assert tried == {"warmup", "decay", "beta2", "weight_decay"}
    assert {axis.name for axis in found.axes} == {"lr", "warmup", "decay", "beta2", "weight_decay"}
    assert "beta2 0.9" in found.sentence
    assert "warmup 0" not in found.sentence  # the schedule's name has it


def test_where_no_setting_matters_nothing_is_changed():
    found = conclude(replay(ask(), World({})))
    assert found.pick.settings == {}
    assert found.pick.schedule in ("constant", "cosine")


def test_every_change_is_compared_with_its_leader_on_the_same_seeds():
    batches = []
    replay(ask(), World(GAINS), watch=batches.append)
    seeds = {}
    for batch in batches:
        for job in batch.jobs:
            if job.candidate.settings and job.seed >= TUNING_SEEDS[0]:
                seeds.setdefault(job.candidate, set()).add(job.seed)
    assert seeds
    screened = {job.candidate: set() for batch in batches for job in batch.jobs}
    for batch in batches:
        for job in batch.jobs:
            screened[job.candidate].add(job.seed)
    plain = [c for c in screened if not c.settings]
    for candidate, own in seeds.items():
        assert any(own & screened[c] for c in plain if c.space is candidate.space)


@pytest.mark.parametrize(("left", "allowed"), [(1060.0, 200), (70.0, 2), (60.0, 0), (0.0, 0)])
def test_a_budget_allows_a_share_of_the_runs_that_it_has_time_for_beside_a_race(left, allowed):
    assert budget.RACED == 60
    assert Refined(ask(), "adamw 0").decide(Clock(left=left, pace=1.0)) == allowed


def test_rates_that_were_typed_and_searches_of_rates_are_not_refined():
    assert all(not s.further for s in spaces(["adamw"], ["constant"], "0.1,0.01", refines=True, shapes=True))
    assert all(not s.further for s in spaces(["adamw"], ["constant"], None))
    (typed,) = spaces(["adamw"], ["constant"], None, refines=True)
    assert {axis.name for axis in typed.further} == {"weight_decay", "beta1", "beta2"}  # and not the schedule
    (fixed,) = spaces(["adamw(beta2=0.99)"], ["constant"], None, refines=True)
    assert "beta2" not in {axis.name for axis in fixed.further}


def test_settings_of_a_class_are_found_by_their_names():
    maker = foreign.find(torch.optim.AdamW)
    found = {axis.name: axis.centre for axis in axes.axes_of(maker)}
    assert found == {"weight_decay": 0.01, "betas.0": 0.9, "betas.1": 0.999}
    (space,) = spaces([torch.optim.AdamW], ["constant"], None, find=foreign.find, refines=True)
    moved = refine.apply(space.at(1e-3), (("betas.1", 0.99),))
    assert moved.rule.hyper["betas"] == (0.9, 0.99)
    assert moved.settings == (("betas.1", 0.99),)
    assert refine.apply(moved, (("betas.1", 0.999),)).settings == ()  # back at the default


def test_a_default_on_a_further_axis_is_the_plain_candidate():
    (space,) = spaces(["adamw"], ["cosine"], None, refines=True, shapes=True)
    plain = space.at(0.01)
    moved = plain.moved("warmup", 0.1)
    assert (str(moved), moved.schedule) == ("adamw+warmup(over=0.1) * cosine at 0.01", "warmup(over=0.1) * cosine")
    assert moved.moved("warmup", 0.0) == plain
    assert plain.rule is moved.rule is space.rule
    assert plain.moved("decay", 1.0).schedule == "linear"
    assert plain.moved("decay", 0.3).schedule == "warmup_stable_decay(over=1, decay=0.3)"


@pytest.mark.parametrize("steps", [10, 137])
def test_the_schedules_of_a_shape_are_those_that_can_be_typed(steps):
    constant, cosine = shape.of("constant"), shape.of("cosine")
    pairs = [
        (constant.at({"warmup": 0.2}), "warmup(0.2)"),
        (constant.at({"decay": 1.0}), "linear"),
        (constant.at({"warmup": 0.2, "decay": 1.0}), "warmup(0.2) * linear"),
        (constant.at({"warmup": 0.2, "decay": 0.3}), "warmup_stable_decay(over=0.2, decay=0.3)"),
        (cosine.at({"warmup": 0.2}), "warmup(0.2) * cosine"),
        (shape.of("warmup(?) * cosine(floor=?)").at({"warmup": 0.0, "floor": 0.1}), "cosine(0.1)"),
        (shape.of("step(size=0.1..0.4)").at({"step.size": 0.25}), "step(size=0.25)"),
    ]
    for made, typed in pairs:
        assert made.values(steps) == schedules.get(typed).values(steps)
        assert schedules.get(made.name) == made


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("warmup(?) * cosine", ["warmup"]),
        ("warmup(0.05..0.3) * cosine(floor=?)", ["warmup", "floor"]),
        ("warmup_stable_decay(?, decay=0.1..0.5)", ["warmup", "decay"]),
        ("cosine", []),
    ],
)
def test_arguments_to_search_are_axes_of_a_study(text, names):
    made = spaces(["sgd"], [text], None)
    assert [axis.name for axis in made[0].others] == names
    assert made[0].label == "sgd"
    assert all(axis.of == "schedule" for axis in made[0].others)


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(SteepestError, match="has over to search, which a study does; give it a value, such as"):
        schedules.get("warmup(?) * cosine")
    with pytest.raises(SteepestError, match=r"axis 'step\.size'.* give a range, such as step"):
        spaces(["sgd"], ["step(size=?)"], None)
    with pytest.raises(SteepestError, match="is empty; write the lower end first"):
        shape.of("warmup(0.5..0.1)")
    with pytest.raises(SteepestError, match="two settings named warmup"):
        spaces(["sgd"], ["warmup(?)"], None, config={"warmup": [0, 10]})


def test_a_study_searches_the_warm_up_of_a_schedule(tmp_path):
    made = {"schedules": "warmup(?) * cosine", "steps": 40, "trials": 3, "margin": 5.0, "budget": math.inf}
    study = steepest.compare("digits", "sgd", **made, store=tmp_path / "s.db")
    tried = {trial.candidate.value("warmup") for entry in study.result.entries for trial in entry.trials}
    assert {0.0, 0.1} < tried
    pick = study.answer().pick
    assert schedules.get(pick.schedule).values(40) == study.result.chosen.candidate.multiplier.values(40)
    again = steepest.compare("digits", "sgd", **made, store=tmp_path / "s.db")
    assert again.result.trained == 0
    assert str(again.answer().pick) == str(pick)
    typed = steepest.compare("digits", "sgd", lrs=pick.lr, schedules=pick.schedule, steps=40, seeds=3, store=tmp_path / "s.db")
    assert typed.result.trained <= 3


def test_rules_have_axes_with_a_usual_range_and_its_source():
    for name in ("sgd", "momentum", "adam", "adamw", "muon", "lion"):
        for axis in axes.axes_of(rules.get(name)):
            low, high = axis.usual
            assert axis.low <= low < high <= axis.high
            assert axis.source
            assert low <= axis.drawn(0.5) <= high
