"""`steepest work`: merged slices of a study equal the study."""

import json
from pathlib import Path

import pytest

import steepest
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.study.store import Store

ASKED = ["digits", "--optimizers", "sgd,adam", "--lrs", "0.1,0.01", "--steps", "20", "--plan", "one"]


def run(*words):
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return ended.value.code


def keys(path):
    with Store(path) as store:
        return {key for (key,) in store.all("SELECT key FROM runs")}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_slices_share_what_is_missing_and_together_are_the_study(capsys):
    """Three rounds of three slices under the equal protocol: tuning, confirmation, the answer."""
    asked = [*ASKED, "--seeds", "5"]
    for round_ in range(3):
        before = keys("s.db") if round_ else set()
        for i in (1, 2, 3):
            again = [] if round_ else asked  # the store has the study's options
            assert run("work", *again, "--store", "s.db", "--slice", f"{i}/3") == 0
        new = [keys(f"s.db-slice-{i}-of-3") - before for i in (1, 2, 3)]
        if round_ < 2:
            assert min(map(len, new)) > 0
            assert sum(map(len, new)) == len(set.union(*new)), "a run was trained twice"
            assert max(map(len, new)) - min(map(len, new)) <= 1
        else:
            assert not any(new)
        assert run("store", "merge", "s.db", *(f"s.db-slice-{i}-of-3" for i in (1, 2, 3))) == 0
    capsys.readouterr()
    assert run("work", "--store", "s.db", "--json", "-") == 0
    answered = json.loads(capsys.readouterr().out)
    assert (answered["left"], answered["store"]) == (0, "s.db")
    straight = steepest.compare("digits", "sgd,adam", lrs="0.1,0.01", steps=20, plan="one", seeds=5, store=":memory:")
    names = ("name", "schedule", "lr", "values", "sweep")
    assert [{k: o[k] for k in names} for o in answered["study"]["optimizers"]] == [
        {k: o[k] for k in names} for o in straight.to_dict()["optimizers"]
    ]
    with Store("s.db") as store:
        assert len([*store.studies()]) == 1


def test_a_race_in_slices_ends_at_its_margin():
    asked = {"optimizers": "sgd,adam", "lrs": "0.1,0.01", "steps": 20, "margin": 8.0, "plan": "one", "store": "s.db"}
    for _ in range(10):
        done = []
        for i in (1, 2):
            done.append(steepest.api.work("digits", share=(i, 2), **asked))
            run("store", "merge", "s.db", f"s.db-slice-{i}-of-2")
        if all(isinstance(one, steepest.Study) for one in done):
            break
    assert [one.answer().limit for one in done] == ["margin"] * 2
    whole = steepest.api.work("digits", **asked)
    assert whole.result.trained == 0
    assert whole.answer().sentence == done[0].answer().sentence == done[1].answer().sentence


def test_a_slice_writes_nothing_to_the_studys_store():
    assert run("work", *ASKED, "--seeds", "5", "--store", "s.db") == 0
    before = Path("s.db").read_bytes()
    assert run("work", "--store", "s.db", "--slice", "2/2") == 0
    assert run("work", *ASKED, "--seeds", "7", "--store", "s.db", "--slice", "1/2") == 0
    assert Path("s.db").read_bytes() == before
    assert keys("s.db-slice-1-of-2") > keys("s.db")


def test_a_slice_that_is_asked_again_trains_no_run_of_another():
    for _ in range(2):
        assert run("work", *ASKED, "--seeds", "5", "--store", "s.db", "--slice", "1/2") == 0
    first = keys("s.db-slice-1-of-2")
    assert run("work", *ASKED, "--seeds", "5", "--store", "s.db", "--slice", "2/2") == 0
    assert first
    assert not first & keys("s.db-slice-2-of-2")


RACE = {"lrs": "0.1,0.01", "steps": 20, "margin": 8.0, "plan": "one", "store": "s.db"}


def test_a_slice_that_is_interrupted_ends_no_study(monkeypatch):
    from steepest.training import ways

    full = ways.train_all

    def stopped(*given, **named):
        yield next(iter(full(*given, **named)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ways, "train_all", stopped)
        with pytest.raises(KeyboardInterrupt):
            steepest.api.work("digits", "sgd,adam", share=(1, 2), **RACE)
    assert len(keys("s.db-slice-1-of-2")) == 1
    assert steepest.api.work("digits", "sgd,adam", share=(1, 2), **RACE).trained > 0


def test_a_race_that_was_ended_goes_on(monkeypatch):
    """`work` continues to the margin where `compare` would only read."""
    from steepest.study import race

    def no_time(course):
        yield from ()
        return "time"

    with monkeypatch.context() as patch:
        patch.setattr(race, "raced", no_time)
        ended = steepest.compare("digits", "sgd,adam", budget=float("inf"), **RACE)
    assert ended.answer().limit == "time"
    study = steepest.api.work("digits", "sgd,adam", **RACE)
    assert study.answer().limit == "margin"
    assert study.result.trained > 0


@pytest.mark.parametrize("problem", [["breast-cancer"], []])
def test_continue_asks_again_what_an_interrupted_study_asked(problem, monkeypatch, tmp_path):
    from steepest.study import lab

    def interrupted(self):
        raise KeyboardInterrupt

    asked = ["--optimizers", "sgd", "--lrs", "0.1,0.3", "--schedules", "constant", "--steps", "5", "--store", "s.db"]
    with monkeypatch.context() as patch:
        patch.setattr(lab.Lab, "run", interrupted)
        assert run("compare", "breast-cancer", *asked) == 130
    assert run("compare", *problem, "--continue", "--store", "s.db", "--json", "found.json") == 0
    found = json.loads(Path("found.json").read_text())
    assert found["problem"] == "breast-cancer"
    assert [row["name"] for row in found["optimizers"]] == ["sgd"]
    assert found["steps"] == 5
    assert found["answer"]["question"] == 1


def test_continue_without_a_study_is_refused(capsys):
    assert run("compare", "--continue", "--store", "none.db") == 2
    assert "The store none.db has no study to continue; name a problem." in capsys.readouterr().err


def test_runs_that_all_collapse_end_a_race_without_a_budget():
    asked = {**RACE, "lrs": {"sgd": 1e6, "adam": 1e6}, "store": ":memory:"}
    study = steepest.compare("digits", "sgd,adam", schedules="constant", budget=float("inf"), **asked)
    assert study.answer().limit == "time"


def test_another_problem_of_the_same_name_is_not_shared():
    """Simulate a processor with different rounding."""
    assert run("work", *ASKED, "--seeds", "5", "--store", "s.db", "--slice", "1/2") == 0
    with Store("s.db-slice-2-of-2") as store:
        store.remember("fingerprint", {"problem": "digits", "device": "cpu"}, "another")
    with pytest.raises(SteepestError, match="digits is not the problem that the store knows by this name"):
        steepest.api.work("digits", "sgd,adam", lrs="0.1,0.01", steps=20, seeds=5, plan="one", store="s.db", share=(2, 2))


def test_the_last_that_was_asked_is_what_work_goes_on_with():
    from steepest.cli import working

    for seeds in (2, 3, 2):
        working.remember("s.db", {"problem": "digits", "seeds": seeds})
    assert working.last_asked("s.db")["seeds"] == 2


@pytest.mark.parametrize("slice_", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "９/９"])
def test_a_slice_that_is_none_is_refused(slice_, capsys):
    assert run("work", *ASKED, "--store", "s.db", f"--slice={slice_}") == 2
    assert f"The slice is '{slice_}'; expected i/n" in " ".join(capsys.readouterr().err.split())


def test_without_a_study_the_problem_must_be_named(capsys):
    assert run("work", "--store", "s.db", "--slice", "1/2") == 2
    assert "The store s.db has no study; name a problem" in " ".join(capsys.readouterr().err.split())


def test_what_compare_was_asked_is_what_work_goes_on_with():
    assert run("compare", *ASKED, "--seeds", "2", "--store", "s.db") == 0
    assert run("work", "--store", "s.db", "--json", "answered.json") == 0
    with open("answered.json", encoding="utf-8") as file:
        answered = json.load(file)["study"]
    assert [o["seeds"] for o in answered["optimizers"]] == [[0, 1]] * 4
    with pytest.raises(SteepestError, match="The slice is 3/2"):
        steepest.api.work("digits", store="s.db", share=(3, 2))
