"""Extensions by one registration: an axis to search, and a measure to race on."""

import json
import math
import shutil

import pytest

import steepest
from steepest import cli
from steepest.errors import SteepestError
from steepest.study import axes, measures
from steepest.study.axes import Axis
from steepest.study.conclude import conclude
from steepest.study.measures import Cost, measure
from steepest.study.space import Candidate
from steepest.study.store import Store
from steepest.study.table import replay
from tests.study.tables import POINTS, asked, made

ASK = {"search": "rate", "schedules": "constant", "steps": 20, "trials": 3, "plan": "one", "budget": math.inf}


DECAY = Axis("weight_decay", centre=0.01, per_decade=1, low=1e-4, high=1.0, zero=True, source="a test")


@pytest.fixture
def decay(monkeypatch):
    """Weight decay as an axis: one value a decade, and 0."""
    monkeypatch.setattr(axes, "AXES", {})
    return axes.register(DECAY)


@pytest.fixture(scope="module")
def searched(line, tmp_path_factory):
    """A study with that axis; to be read only."""
    path = tmp_path_factory.mktemp("searched") / "s.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(axes, "AXES", {})
        axes.register(DECAY)
        return steepest.compare(line, "adamw(weight_decay=?),sgd", **ASK, margin=0.05, store=path)


@pytest.fixture
def study(decay, searched):
    return searched


def test_an_axis_is_searched_beside_the_rate_and_its_best_value_raced(study):
    entry = next(e for e in study.result.entries if e.candidate.space.name == "adamw(weight_decay=?)")
    tried = {dict(t.candidate.settings)["weight_decay"] for t in entry.trials}
    assert {0.0, 0.001, 0.01, 0.1} <= tried
    assert entry.candidate.rule.hyper["weight_decay"] == dict(entry.candidate.settings)["weight_decay"]
    at_centre = [t for t in entry.trials if dict(t.candidate.settings)["weight_decay"] == 0.01]
    assert len({t.lr for t in at_centre}) >= 3  # the rates were searched first
    assert all(t.candidate.settings == () for e in study.result.entries if e is not entry for t in e.trials)


def test_an_axis_is_in_json_table_report_code_and_figures(study, tmp_path):
    found = study.to_dict()
    row = next(o for o in found["optimizers"] if o["name"] == "adamw(weight_decay=?)")
    value = row["settings"]["weight_decay"]
    assert row["hyper"]["weight_decay"] == value
    assert {swept["settings"]["weight_decay"] for swept in row["sweep"]} >= {0.0, 0.1}
    assert "settings" not in next(o for o in found["optimizers"] if o["name"] == "sgd")
    assert "weight_decay" in study.data.table[0]
    page = study.report(tmp_path / "report.html").read_text()
    assert "weight_decay" in page
    assert any("weight_decay" in (axes.get_xlabel() + axes.get_title("left")) for axes in study.figures.sensitivity().axes)
    if found["answer"]["optimizer"] == row["name"]:
        assert [axis["name"] for axis in found["answer"]["axes"]] == ["lr", "weight_decay"]
        assert f"weight_decay={value}" in study.best().code()


def test_a_point_of_an_axis_is_the_run_that_the_same_setting_typed_is(study, line, tmp_path):
    """Typing the value that was searched trains nothing."""
    entry = next(e for e in study.result.entries if e.candidate.settings)
    name = f"adamw(weight_decay={dict(entry.candidate.settings)['weight_decay']})"
    path = shutil.copy(study.store, tmp_path / "s.db")
    with Store(path) as store:
        ((before,),) = store.all("SELECT count(*) FROM runs WHERE seed < 5")
    typed = steepest.compare(line, name, lrs=entry.lr, **ASK, margin=5.0, store=path)
    again = next(iter(typed.result.entries))
    assert [o.valid for o in again.outcomes[:5]] == [o.valid for o in entry.outcomes[:5]]
    with Store(path) as store:
        ((after,),) = store.all("SELECT count(*) FROM runs WHERE seed < 5")
    assert after == before


def test_on_a_table_the_values_of_an_axis_get_one_seed_at_the_best_rate(decay):
    table = made("adamw(weight_decay=?)", rates=7)
    best = table.recorded.max()

    class Decayed(dict):
        def get(self, job, default=None):
            plain = table.get(job._replace(candidate=Candidate(job.candidate.space, job.candidate.lr)))
            gain = {0.0: -1.0, 0.001: 0.0, 0.01: 0.0, 0.1: 2.0}.get(dict(job.candidate.settings)["weight_decay"], -5.0)
            value = plain.valid + gain
            return type(plain)(plain.curve, value, value, None, None, 1.0)

    batches = []
    course = replay(asked(table, POINTS, margin=0.5), Decayed(), watch=batches.append)
    found = conclude(course)
    assert found.pick.settings == {"weight_decay": 0.1}
    assert str(found.pick).endswith(", weight_decay 0.1")
    assert found.figure.mean > best - 3
    second = {dict(job.candidate.settings)["weight_decay"] for job in batches[1].jobs}
    assert len({job.candidate.lr for job in batches[1].jobs}) == 1
    assert 0.0 in second
    assert "weight_decay 0.1" in found.sentence


def test_what_cannot_be_an_axis_is_refused(decay, line):
    with pytest.raises(SteepestError, match="axis 'beta1'"):
        steepest.compare(line, "adamw(beta1=?)", **ASK, store=":memory:")
    axes.register(Axis("momentum"))
    with pytest.raises(SteepestError, match="hyperparameter of adamw 'momentum'"):
        steepest.compare(line, "adamw(momentum=?)", **ASK, store=":memory:")


def test_an_axis_of_one_minus_a_value_is_registered_by_the_problem_file(line, tmp_path, monkeypatch):
    monkeypatch.setattr(axes, "AXES", {})
    axis = Axis("beta2", centre=0.999, scale="one minus")
    assert axis.values(axis.first(7)) == (0.99, 0.9954, 0.9978, 0.999, 0.99954, 0.99978, 0.9999)[::-1]
    assert all(axis.index(axis.value(k)) == k for k in range(-20, 0))
    (tmp_path / "mine.py").write_text(
        "import torch, steepest\nfrom steepest.study.axes import Axis, register\n"
        'register(Axis("beta2", centre=0.999, scale="one minus"))\n'
        "x = torch.linspace(-1, 1, 32)[:, None]\n"
        "problem = steepest.Problem(model=lambda: torch.nn.Linear(1, 1), loss=torch.nn.MSELoss(), train=(x, x), valid=(x, x))\n"
    )
    study = steepest.compare(str(tmp_path / "mine.py"), "adamw(beta2=?)", **ASK, store=":memory:")
    tried = {dict(trial.candidate.settings)["beta2"] for entry in study.result.entries for trial in entry.trials}
    assert {0.9978, 0.999, 0.99954} <= tried
    assert max(tried) < 1


@pytest.fixture
def steps_to_half():
    """Time to target: the steps until the loss is half of its initial value, interpolated between evaluations."""
    before = {**measures.MEASURES}

    @measure("steps to half", direction="min", unit=" steps")
    def steps_to_half(outcome, cost):
        curve = outcome.curve
        for k, value in enumerate(curve.metric):
            if value is not None and value <= curve.metric[0] / 2:
                high, low = curve.metric[k - 1], value
                share = (high - curve.metric[0] / 2) / (high - low)
                return curve.steps[k - 1] + share * (curve.steps[k] - curve.steps[k - 1])
        return None

    yield steps_to_half
    measures.MEASURES.clear()
    measures.MEASURES.update(before)


def test_a_measure_is_raced_on(steps_to_half, line, tmp_path):
    asked_for = {"lrs": {"sgd": [0.02, 0.2], "adam": [0.01, 0.1]}, **ASK, "margin": 0.5, "store": tmp_path / "s.db"}
    study = steepest.compare(line, "sgd,adam", measure="steps to half", **asked_for)
    found = study.to_dict()
    assert (found["metric"], found["direction"]) == ("steps to half", "min")
    for entry in study.result.entries:
        assert entry.values == [steps_to_half(o, Cost(0.0, 0, 1)) for o in entry.outcomes]
        tried = {t.lr: t.outcomes[0] for t in entry.trials}
        fastest = min(tried, key=lambda lr: steps_to_half(tried[lr], None) or math.inf)
        assert entry.lr == fastest
    assert found["answer"]["optimizer"] == min(found["optimizers"], key=lambda o: o["mean"] or math.inf)["name"]
    assert study.answer().unit == " steps"
    by_loss = steepest.compare(line, "sgd,adam", **asked_for).to_dict()
    assert by_loss["metric"] == "loss"
    assert by_loss["answer"]["question"] == 2  # another question, answered from the same runs and some new ones


@pytest.mark.parametrize("name", ["bytes of state", "metric at equal time"])
def test_a_measure_of_cost_is_raced_on(name, line):
    """Its values need the cost of a candidate in screening, in the race and in what is shown."""
    lrs = None if name == "bytes of state" else {"sgd": [0.02, 0.2], "adam": [0.01, 0.1]}
    study = steepest.compare(line, "sgd,adam", measure=name, lrs=lrs, **ASK, margin=0.05, store=":memory:")
    found, answer = study.to_dict(), study.answer()
    assert found["metric"] == name
    for row in found["optimizers"]:
        swept = [value for trial in row["sweep"] for value in trial["values"]]
        assert row["values"]
        assert all(value is not None for value in swept)
        if name == "bytes of state":
            assert {*swept, *row["values"]} == {{"sgd": 0, "adam": 16}[row["name"]]}
    if name == "bytes of state":
        assert answer.pick.name == "sgd"
        assert answer.rejected == []


def test_a_measure_is_named_on_the_command_line(steps_to_half, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["compare", "digits", "--optimizers", "sgd", "--lrs", "0.1,0.3", "--schedules", "constant", "--steps", "10"]
    command += ["--plan", "one"]
    with pytest.raises(SystemExit) as ended:
        cli.app([*command, "--measure", "validation loss", "--margin", "0.2", "--json", "r.json"])
    assert ended.value.code == 0
    assert json.loads((tmp_path / "r.json").read_text())["metric"] == "validation loss"
    with pytest.raises(SystemExit) as ended:
        cli.app([*command, "--measure", "nonsense"])
    assert ended.value.code == 2
    assert "measure 'nonsense'" in capsys.readouterr().err
