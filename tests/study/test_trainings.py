"""Studies of training functions and of programs: the answer, the store, and what is refused."""

import json
import math
import re
import sys
import textwrap

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import steepest
from steepest import cli
from steepest.errors import SteepestError
from steepest.study import notes, space
from steepest.study.store import Store
from steepest.training import single
from steepest.update.foreign import find

ASK = {"schedules": "constant", "trials": 3, "budget": math.inf, "margin": 10.0, "workers": 2}

TRAIN = """
    import steepest, torch

    {top}

    @steepest.loop(metric="loss", direction="min", steps=20{more})
    def train(run):
        # a comment
        w = torch.nn.Parameter(torch.randn(3))
        optimizer = run.optimizer([w])
        scheduler = run.scheduler(optimizer)
        for step in range(run.steps):
            loss = (w - {target}).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            run.report(loss)
        return (w - {target}).square().sum()
"""

PROGRAM = """
    import argparse, random, sys
    p = argparse.ArgumentParser()
    for name, kind in (("optimizer", str), ("lr", float), ("seed", int), ("steps", int), ("momentum", float)):
        p.add_argument("--" + name, type=kind, default=kind(0))
    a = p.parse_args()
    random.seed(a.seed)
    w = random.gauss(0, 1)
    for k in range(a.steps or 20):
        w -= a.lr * 2 * (w - 1)
        if k % 5 == 0:
            print("loss:", (w - 1) ** 2)
    print("loss:", (w - 1) ** 2 + 0.01)
"""


def written(folder, name, text):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def looped(folder, top="", more="", target="1.0", name="train.py"):
    return written(folder, name, TRAIN.format(top=top, more=more, target=target))


def run(*words):
    return CliRunner().invoke(cli.app, [*map(str, words)], catch_exceptions=False)


def counted(store):
    with Store(store) as opened:
        ((count,),) = opened.all("SELECT count(*) FROM runs")
    return count


def test_a_loop_in_a_file_gets_an_answer_and_trains_nothing_again(tmp_path):
    path, store = looped(tmp_path), tmp_path / "s.db"
    study = steepest.compare(str(path), "sgd,adam", **ASK, store=store)
    answer = study.answer()
    assert answer.pick.name in ("sgd", "adam")
    assert answer.bound is not None
    assert answer.repeats is True
    assert study.data.problem == "train"
    assert study.data.metric == "loss"
    before = counted(store)
    again = steepest.compare(str(path), "sgd,adam", **ASK, store=store)
    assert again.result.trained == 0
    assert counted(store) == before
    assert again.answer().sentence == answer.sentence


def test_a_study_of_a_loop_has_the_numbers_of_a_loop_by_hand(tmp_path):
    study = steepest.compare(str(looped(tmp_path)), "sgd", lrs=0.05, **ASK, store=":memory:", seeds=3)
    (entry,) = study.result.entries
    for seed, outcome in enumerate(entry.outcomes):
        torch.manual_seed(seed)
        w = nn.Parameter(torch.randn(3))
        optimizer = torch.optim.SGD([w], lr=0.05)
        for _ in range(20):
            loss = (w - 1.0).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert outcome.valid == pytest.approx((w - 1.0).square().sum().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "is_new"),
    [
        ({"target": "2.0"}, True),
        ({"top": "# only a comment"}, False),
        ({"more": ', config={"unused": [1]}'}, True),
    ],
)
def test_an_edit_of_the_file_trains_anew_and_a_comment_does_not(change, is_new, tmp_path):
    path, store = looped(tmp_path), tmp_path / "s.db"
    steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    looped(tmp_path, **change)
    again = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    assert (again.result.trained > 0) is is_new


def test_an_edit_of_a_named_data_file_trains_anew(tmp_path):
    data = written(tmp_path, "target.txt", "1.0")
    target = f"float(open({str(data)!r}).read())"
    path = looped(tmp_path, more=f", data=[{str(data)!r}]", target=target)
    store = tmp_path / "s.db"
    steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    data.write_text("2.0")
    again = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    assert again.result.trained > 0


def test_a_change_that_only_the_first_reports_show_trains_anew_and_is_noted(tmp_path):
    data = written(tmp_path, "target.txt", "1.0")
    path, store = looped(tmp_path, target=f"float(open({str(data)!r}).read())"), tmp_path / "s.db"
    steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    data.write_text("2.0")
    again = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    assert again.result.trained > 0
    assert any("first reports of train are not those of an earlier study" in note for note in again.result.notes)


def test_a_closure_is_compared_and_its_captured_value_is_part_of_its_identity(tmp_path):
    def made(target):
        @steepest.loop(metric="loss", steps=20)
        def train(run):
            w = nn.Parameter(torch.randn(3))
            optimizer = run.optimizer([w])
            for _ in range(run.steps):
                loss = (w - target).square().sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.report(loss)
            return (w - target).square().sum()

        return train

    store = tmp_path / "s.db"
    one = steepest.compare(made(1.0), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    assert one.result.trained > 0
    assert steepest.compare(made(1.0), "sgd", lrs=[0.1, 0.05], **ASK, store=store).result.trained == 0
    assert steepest.compare(made(3.0), "sgd", lrs=[0.1, 0.05], **ASK, store=store).result.trained > 0


def test_a_setting_of_a_loop_is_searched_at_the_best_rate_and_reported(tmp_path):
    path = looped(tmp_path, more=', config={"shift": [0.5, 0.0]}', target='(1.0 + 0 * run.config["shift"])').read_text()
    path = written(tmp_path, "shifted.py", path.replace("return (w", 'return run.config["shift"] + (w'))
    study = steepest.compare(str(path), "sgd", **ASK, store=":memory:")
    assert study.answer().pick.settings == {"shift": 0.0}
    assert "shift 0" in study.answer().sentence
    assert study.best().code().endswith("shift = 0.0")


PAIR = """
    import steepest, torch

    @steepest.loop(metric="loss", steps=20)
    def train(run):
        a, b = (torch.nn.Parameter(torch.randn(3)) for _ in range(2))
        one, two = run.optimizer([a], name="first"), run.optimizer([b], name="second")
        for _ in range(run.steps):
            loss = (a - 1).square().sum() + (b + 1).square().sum()
            one.zero_grad()
            two.zero_grad()
            loss.backward()
            one.step()
            two.step()
            run.report(loss)
        return (a - 1).square().sum() + (b + 1).square().sum()
"""


def test_a_candidate_of_several_parts_is_one_candidate(tmp_path):
    path = written(tmp_path, "pair.py", PAIR)
    study = steepest.compare(str(path), "{first: sgd, second: adam(lr=0.1)},sgd", **ASK, store=":memory:")
    names = {entry.candidate.space.name for entry in study.result.entries}
    assert names == {"{first: sgd, second: adam(lr=0.1)}", "sgd"}
    for candidate, sentence in (
        ("{first: sgd, other: adam}", "Unknown part 'other'. Known: first, second. These are the names"),
        ("{first: sgd}", "has no part second; the training function makes the optimizers first, second"),
    ):
        with pytest.raises(SteepestError, match=re.escape(sentence)):
            steepest.compare(str(path), candidate, **ASK, store=":memory:")
    with pytest.raises(SteepestError, match=r"calls run\.optimizer without a name"):
        steepest.compare(str(looped(tmp_path)), "{a: sgd, b: adam}", **ASK, store=":memory:")


def test_a_problem_refuses_a_candidate_of_parts(line):
    with pytest.raises(SteepestError, match="has several parts, and a Problem trains one model"):
        steepest.compare(line, "{a: sgd, b: adam}", **ASK, store=":memory:")


def test_the_command_line_compares_a_loop_and_resumes_only_with_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    looped(tmp_path)
    words = ["--optimizers", "sgd", "--optimizers", "adam", "--schedules", "constant", "--trials", 3, "--margin", 10]
    found = run("compare", "train.py", *words, "--budget", "30s", "--json", "out.json")
    assert found.exit_code == 0, found.output
    assert {row["name"] for row in json.loads((tmp_path / "out.json").read_text())["optimizers"]} == {"sgd", "adam"}
    refused = run("compare", "--continue")
    assert refused.exit_code == 2
    assert "a store never names a file to run" in refused.output
    resumed = run("compare", "train.py", "--continue", "--budget", "20s")
    assert resumed.exit_code == 0, resumed.output


# Programs


def program(folder, name="prog.py"):
    return f"{sys.executable} {written(folder, name, PROGRAM)}"


def test_a_command_gets_an_answer_keeps_its_output_and_trains_nothing_again(tmp_path):
    template = program(tmp_path) + " --lr {lr} --seed {seed} --steps {steps}"
    command = steepest.Command(template, metric="loss: (.*)", direction="min", steps=20)
    store = tmp_path / "s.db"
    study = steepest.compare(command, "sgd", lrs=[0.1, 0.01], **ASK | {"margin": 0.1}, store=store)
    assert study.answer().pick.lr == 0.1
    assert study.data.metric == "loss"
    outputs = [*(tmp_path / "s.db-output").iterdir()]
    assert outputs
    assert all(path.read_text().count("loss:") >= 5 for path in outputs)
    assert steepest.compare(command, "sgd", lrs=[0.1, 0.01], **ASK | {"margin": 0.1}, store=store).result.trained == 0
    written(tmp_path, "prog.py", PROGRAM.replace("0.01", "0.02"))
    assert steepest.compare(command, "sgd", lrs=[0.1, 0.01], **ASK, store=store).result.trained > 0


def test_the_last_match_is_the_metric_and_earlier_ones_are_the_curve(tmp_path):
    template = program(tmp_path) + " --lr {lr} --seed {seed} --steps {steps}"
    command = steepest.Command(template, metric="loss: (.*)", direction="min", steps=20)
    study = steepest.compare(command, "sgd", lrs=0.1, **ASK, seeds=1, store=":memory:")
    (outcome,) = study.result.entries[0].outcomes
    assert outcome.valid == pytest.approx(outcome.curve.metric[-1])
    assert len(outcome.curve.metric) == 5
    assert outcome.valid > outcome.curve.metric[-2]  # the program adds 0.01 at the end


@pytest.mark.parametrize(
    ("template", "how", "sentence"),
    [
        ("{prog} --lr {{lr}}", {}, "has no {seed}"),
        ("{prog} --lr {{lr}} --seed {{seed}}", {"metric": "loss: .*"}, "has 0 groups; expected one"),
        ("{prog} --lr {{lr}} --seed {{seed}}", {"metric": "loss: ("}, "is no regular expression"),
        ("{prog} --lr {{lr}} --seed {{seed}}", {"direction": "up"}, "expected min or max"),
        ("{prog} --lr {{lr}} --seed {{seed}} --steps {{steps}}", {}, "no number of steps was given"),
        ("{prog} --lr {{lr}} --seed {{seed}}", {"optimizers": "sgd,adam"}, "the command has no {optimizer}"),
        (
            "{prog} --optimizer {{optimizer}} --lr {{lr}} --seed {{seed}}",
            {"optimizers": "mine", "lrs": None},
            "give rates for it",
        ),
        ("{prog} --lr {{lr}} --seed {{seed}}", {"schedules": "linear"}, "neither {schedule} nor {warmup}"),
        (
            "{prog} --lr {{lr}} --seed {{seed}} --momentum {{momentum}}",
            {"optimizers": "mine", "lrs": 0.1},
            "has no value for it",
        ),
        ("{prog} --lr {{lr}} --seed {{seed}} --quote 'x", {}, "cannot be read"),
        ("no-such-program --lr {{lr}} --seed {{seed}}", {}, "was not found"),
        ("{prog} --lr {{lr}} --seed {{seed}}", {"metric": "accuracy: (.*)"}, "nothing that it printed matches"),
        ("{prog} --lr {{lr}} --seed {{seed}} --wrong 1", {}, "exit code 2"),
        ("{prog} --lr {{lr}} --seed {{seed}}", {"timeout": 0.001}, "took over 0.001 s"),
    ],
)
def test_a_command_that_cannot_be_compared_gets_one_sentence(template, how, sentence, tmp_path):
    asked = {"metric": "loss: (.*)", "direction": "min"} | how
    own = {name: asked.pop(name) for name in ("metric", "direction", "timeout") if name in asked}
    how = {"optimizers": "sgd", "lrs": [0.1, 0.01, 0.2], "store": ":memory:"} | ASK | asked

    def compared():
        return steepest.compare(steepest.Command(template.format(prog=program(tmp_path)), **own), **how)

    with pytest.raises(SteepestError, match=re.escape(sentence)):
        compared()


def test_settings_of_a_command_are_its_placeholders(tmp_path):
    template = program(tmp_path) + " --optimizer {optimizer} --lr {lr} --momentum {momentum} --seed {seed}"
    command = steepest.Command(template, metric="loss: (.*)", direction="min")
    study = steepest.compare(command, "momentum,mine(momentum=[0.5, 0.1])", lrs=0.1, **ASK, store=":memory:")
    assert {entry.candidate.space.name for entry in study.result.entries} == {"momentum", "mine(momentum=[0.5, 0.1])"}
    tried = {trial.settings["momentum"] for row in study.data.optimizers if "mine" in row.name for trial in row.trials}
    assert tried == {0.5, 0.1}


def test_the_command_line_runs_a_command_and_never_one_of_a_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    template = program(tmp_path) + " --lr {lr} --seed {seed}"
    words = ["--metric", "loss: (.*)", "--direction", "min", "--optimizers", "sgd", "--lrs", "0.1,0.01", "--margin", 0.1]
    found = run("compare", "--command", template, *words, "--budget", "40s")
    assert found.exit_code == 0, found.output
    assert "Use sgd at 0.1" in found.output
    refused = run("compare", "--continue")
    assert refused.exit_code == 2
    assert "a store never names a command to run" in refused.output
    assert "prog.py" not in refused.output
    resumed = run("compare", "--command", template, *words[:4], "--continue", "--budget", "5s")
    assert resumed.exit_code == 0, resumed.output
    assert "Nothing to train" in resumed.output


# Anybody's optimizer on a problem


def test_a_class_of_torch_races_on_a_problem_with_the_numbers_of_our_twin(line):
    outcome = single.train(line, find(torch.optim.NAdam), lr=0.05, steps=20, seed=3)
    ours = single.train(line, find("nadam"), lr=0.05, steps=20, seed=3)
    assert outcome.valid == pytest.approx(ours.valid, rel=1e-4)


def test_a_class_and_our_rule_of_the_same_numbers_are_said_to_be_the_same(line):
    ask = ASK | {"plan": "one"}
    study = steepest.compare(line, ["adam", torch.optim.AdamW, "adamw"], lrs=0.05, steps=20, **ask, store=":memory:")
    assert any("torch.optim.AdamW and adamw are the same optimizer" in note for note in study.result.notes)
    values = {e.candidate.space.name: [o.valid for o in e.outcomes][:3] for e in study.result.entries}
    assert values["torch.optim.AdamW"] == pytest.approx(values["adamw"], rel=1e-4)


def test_a_store_of_any_optimizer_is_sound_and_merges_whole(line, tmp_path):
    store = tmp_path / "s.db"
    asked = {"lrs": 0.05, "steps": 20, "store": store, "seeds": 2, "schedules": "constant", "plan": "one"}
    steepest.compare(line, ["torch.optim.NAdam(betas=(0.9, [0.99, 0.999]))", torch.optim.RAdam, "adam"], **asked)
    steepest.compare(str(looped(tmp_path, more=', config={"shift": [0.5, "x"]}')), torch.optim.Adam, **asked | {"steps": None})
    assert run("store", "check", store).exit_code == 0
    assert run("store", "merge", tmp_path / "other.db", store).exit_code == 0
    assert counted(tmp_path / "other.db") == counted(store)


def test_an_exact_study_has_torchs_numbers_to_the_bit_and_runs_of_its_own(line, tmp_path):
    asked = {"lrs": 0.05, "steps": 20, "seeds": 3, "schedules": "constant", "plan": "one", "store": tmp_path / "s.db"}
    exact = steepest.compare(line, "adam", exact=True, **asked)
    theirs = steepest.compare(line, torch.optim.Adam, **asked)
    assert [o.valid for o in exact.result.entries[0].outcomes] == [o.valid for o in theirs.result.entries[0].outcomes]
    assert steepest.compare(line, "adam", **asked).result.trained == 3
    assert steepest.compare(line, "adam", exact=True, **asked).result.trained == 0
    with pytest.raises(SteepestError, match="which --exact cannot"):
        steepest.compare(line, "adam", exact=True, **asked | {"plan": "many:4"})


def test_workers_set_how_many_runs_train_at_the_same_time(tmp_path):
    asked = {"lrs": 0.05, "seeds": 2, "schedules": "constant", "store": ":memory:"}
    for workers, words in ((1, "one by one (a process for each run)"), (3, "one by one in each of 3 processes")):
        assert steepest.compare(str(looped(tmp_path)), "sgd", workers=workers, **asked).result.plan.startswith(words)
    with pytest.raises(SteepestError, match="workers is 0"):
        steepest.compare(str(looped(tmp_path)), "sgd", workers=0, **asked)


def test_code_to_paste_makes_the_optimizer_that_was_picked(line):
    study = steepest.compare(
        line, [(torch.optim.NAdam, {"momentum_decay": 0.01})], lrs=[0.05, 0.02], steps=20, **ASK, store=":memory:"
    )
    space = {"model": nn.Linear(1, 1)}
    exec(study.best().code(), space)
    assert type(space["optimizer"]) is torch.optim.NAdam
    assert space["optimizer"].param_groups[0]["momentum_decay"] == 0.01
    assert space["optimizer"].param_groups[0]["lr"] == study.best().lr
    assert type(study.best().optimizer(space["model"].parameters())) is torch.optim.NAdam


def test_tables_for_a_paper_have_intervals_and_tuning(line):
    study = steepest.compare(line, "sgd,adam", steps=20, **ASK, store=":memory:")
    text, tex = study.markdown(), study.latex()
    assert text.splitlines()[0].split(" | ")[0].strip("| ") == "optimizer"
    assert "best of " in text
    assert " to " in text
    assert r"\begin{tabular}" in tex
    assert tex.count(r"\\") == len([row for row in study.data.optimizers if row.values]) + 1


# Loops that cannot be compared, or only with a caution; each sentence has a unit test in tests/training/test_loops.py

BAD = """
    import steepest, sys, torch

    @steepest.loop(metric="score", direction="max", {length})
    def train(run):
        {first}
        w = torch.nn.Parameter(torch.randn(3))
        optimizer = {optimizer}
        scheduler = run.scheduler(optimizer)
        for step in range(run.steps):
            loss = (w - 1.0).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            {step}
            run.report(loss)
        {last}
"""
FINE = {
    "length": "steps=40",
    "first": "pass",
    "optimizer": "run.optimizer([w])",
    "step": "scheduler.step()",
    "last": "return -(w - 1.0).square().sum()",
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimizer": "torch.optim.SGD([w], lr=0.1)"}, "expected the optimizer that run.optimizer returned"),
        ({"step": "scheduler.step() if step % 10 == 9 else None"}, "times in 20 optimizer steps; call it once after each"),
        ({"last": "return 'good'"}, "expected its score as a number"),
        ({"last": "sys.exit(3)"}, "failed in its first 3 runs: it raised SystemExit"),
        ({"length": "epochs=3"}, "call it with the number of steps of an epoch"),
    ],
)
def test_a_loop_that_cannot_be_compared_gets_one_sentence(change, sentence, tmp_path):
    path = written(tmp_path, "bad.py", BAD.format(**(FINE | change)))
    with pytest.raises(SteepestError, match=re.escape(sentence)):
        steepest.compare(str(path), "sgd,adam", **ASK | {"schedules": "constant,cosine"}, store=":memory:")


@pytest.mark.parametrize(
    ("change", "note", "repeats"),
    [
        ({"first": "torch.manual_seed(0)"}, "reports the same numbers for two seeds", True),
        ({"first": "torch.seed()"}, "Runs do not repeat", False),
        ({"last": "return {'score': -loss, 'test': 0.5}"}, "returns a test value in runs that choose a candidate", True),
    ],
)
def test_a_loop_with_a_fault_is_compared_and_the_fault_noted(change, note, repeats, tmp_path):
    path = written(tmp_path, "odd.py", BAD.format(**(FINE | change)))
    study = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=tmp_path / "s.db")
    assert any(note in said for said in study.result.notes)
    assert study.answer().repeats is repeats
    again = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=tmp_path / "s.db")
    assert any(note in said for said in again.result.notes)  # also where nothing is trained


def test_a_loop_without_reports_leaves_a_store_that_is_sound(tmp_path):
    path, store = written(tmp_path, "quiet.py", BAD.format(**FINE).replace("run.report(loss)", "pass")), tmp_path / "s.db"
    first = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    assert any("never calls run.report" in note for note in first.result.notes)
    assert run("store", "check", store).exit_code == 0
    again = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=store)
    assert again.result.trained == 0
    assert again.report(tmp_path / "r.html").stat().st_size > 0


def test_runs_that_raised_are_noted_with_the_reason(tmp_path):
    first = "assert run.lr < 0.3, 'the rate is too high'"
    path = written(tmp_path, "high.py", BAD.format(**FINE | {"first": first}))
    study = steepest.compare(str(path), "sgd", lrs=[0.1, 0.4, 0.5], **ASK, store=":memory:")
    (note,) = [note for note in study.result.notes if note.startswith("Runs that raised count as collapsed")]
    assert "sgd at 0.4 and 1 more; it raised AssertionError" in note
    assert note.endswith("the rate is too high.")


def test_a_caution_about_an_optimizer_is_given_where_it_is_compared(tmp_path):
    path, store = written(tmp_path, "train.py", BAD.format(**FINE)), tmp_path / "s.db"
    said = []
    for names in ("schedule_free_sgd,sgd", "sgd"):
        study = steepest.compare(str(path), names, lrs=[0.1, 0.05], **ASK, store=store)
        said.append(any("schedule_free_sgd was evaluated in train mode" in note for note in study.result.notes))
    assert said == [True, False]


def test_the_arguments_of_the_command_are_not_those_of_a_loop(tmp_path, monkeypatch):
    first = "import argparse; p = argparse.ArgumentParser(); p.add_argument('--width', type=int, default=3); p.parse_args()"
    path = written(tmp_path, "parses.py", BAD.format(**FINE | {"first": first}))
    monkeypatch.setattr(sys, "argv", ["steepest", "compare", str(path), "--budget", "20s"])
    study = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=":memory:")
    assert study.answer().pick is not None


@pytest.mark.parametrize(
    ("tried", "first", "how", "said"),
    [
        ({"a": 7, "b": 7}, 7, {}, ""),
        ({"a": 9, "b": 7}, 7, {}, "Grids were extended where the best rate was at an edge (rates tried: a 9; every other 7)."),
        ({"a": 2, "b": 0}, 7, {}, "The study ended before all rates of the first grids were tried (rates tried: a 2, b 0)."),
        ({"a": 9, "b": 7}, 7, {"interrupted": True}, "The optimizers were not tuned with equal work (rates tried: a 9, b 7)."),
        ({"a": 3, "b": 7}, 7, {"searched": False}, "The optimizers were not tuned with equal work (rates tried: a 3, b 7)."),
    ],
)
def test_what_is_said_of_unequal_tuning(tried, first, how, said):
    assert notes.unequal(tried, first, **how) == said


def test_a_list_of_python_has_the_values_to_compare():
    both = space.spaces([("adamw", {"weight_decay": [0, 0.1]}), ("adam", {"lr": [0.1, 0.01]})], ["constant"], None)
    assert [axis.options for axis in both[0].others] == [(0, 0.1)]
    assert both[1].rates == (0.01, 0.1)


def test_the_code_of_a_pick_has_each_optimizer_of_the_loop(tmp_path):
    second = {"optimizer": "run.optimizer([w], name='a'); b = run.optimizer([v], name='b'); run.scheduler(b)"}
    more = {"first": "v = torch.nn.Parameter(torch.zeros(1))", "step": "b.step(); scheduler.step()"}
    path = written(tmp_path, "two.py", BAD.format(**FINE | second | more))
    code = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=":memory:").best().code()
    space = {"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)}
    exec(code, space)
    assert {type(space[f"{name}_optimizer"]) for name in "ab"} == {steepest.optim.SGD}


def test_a_file_named_like_a_module_of_python_is_compared(tmp_path):
    path = written(tmp_path, "string.py", BAD.format(**FINE))
    study = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=":memory:")
    assert study.answer().pick is not None


def test_test_data_count_once_for_the_pick_on_fresh_seeds(tmp_path):
    last = "return {'score': -loss, **({'test': 7.0 + run.seed % 2} if run.final else {})}"
    path = written(tmp_path, "tested.py", BAD.format(**FINE | {"last": last}))
    answer = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=":memory:").to_dict()["answer"]
    assert answer["test"]["n"] == 5
    assert answer["test"]["mean"] == pytest.approx(7.4)
    assert answer["fresh"] is None


def test_a_loop_with_epochs_is_neither_shortened_nor_lengthened(tmp_path):
    body = FINE | {"length": "epochs=2", "first": "run.steps_per_epoch(20)"}
    path = written(tmp_path, "epochs.py", BAD.format(**body).replace("range(run.steps)", "range(40)"))
    study = steepest.compare(str(path), "sgd", lrs=[0.1, 0.05], **ASK, store=":memory:")
    assert study.data.steps == 40
    assert study.result.answer.longer is None
    assert study.result.question.any_length is False
    with pytest.raises(SteepestError, match="sets the length of its runs itself; leave --steps out"):
        steepest.compare(str(path), "sgd", steps=30, store=":memory:")
    with pytest.raises(SteepestError, match="sets the length of its runs itself; give seeds or a budget"):
        steepest.compare(str(path), "sgd", seeds=2, budget="5s", store=":memory:")


def test_a_command_without_steps_says_nothing_of_steps(tmp_path):
    command = steepest.Command(program(tmp_path) + " --lr {lr} --seed {seed}", metric="loss: (.*)", direction="min")
    study = steepest.compare(command, "sgd", lrs=[0.1, 0.05], **ASK, store=":memory:")
    assert study.answer().sentence.startswith(f"Use sgd at {study.answer().pick.lr:g}. ")
    assert study.result.answer.longer is None
    assert study.best().code() == ""


@pytest.mark.slow  # heavyball compiles for minutes
@pytest.mark.parametrize("name", ["heavyball:SOAP", "pytorch_optimizer:SOAP"])
def test_soap_of_a_package_races(name, line):
    pytest.importorskip(name.partition(":")[0])
    study = steepest.compare(
        line, [name, "sgd"], lrs=0.01, seeds=2, steps=20, schedules="constant", plan="one", store=":memory:"
    )
    values = {entry.candidate.space.name: entry.values for entry in study.result.entries}
    assert all(value is not None and math.isfinite(value) for value in values[name])
    assert values[name] != values["sgd"]


@pytest.mark.slow
def test_a_function_of_a_notebooks_cell_is_compared():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cells = [
        "import steepest, torch\ntarget = 1.0\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.w = torch.nn.Parameter(torch.randn(3))\n"
        "    def forward(self):\n"
        "        return (self.w - target).square().sum()",
        "@steepest.loop(metric='loss', steps=20)\n"
        "def train(run):\n"
        "    net = Net()\n"
        "    optimizer = run.optimizer(net)\n"
        "    for _ in range(run.steps):\n"
        "        loss = net()\n"
        "        optimizer.zero_grad()\n"
        "        loss.backward()\n"
        "        optimizer.step()\n"
        "        run.report(loss)\n"
        "    return net()\n"
        "study = steepest.compare(train, 'sgd', lrs=[0.1, 0.01], schedules='constant', budget='20s', store=':memory:')\n"
        "print(study.best().lr, study.answer().repeats)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert [output["text"] for output in notebook.cells[1].outputs if output.get("name") == "stdout"] == ["0.1 True\n"]
