"""Invalid checkpoints of unfinished runs: the run restarts, equal bit for bit to an uninterrupted one, with a warning."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import steepest
from steepest.rules import get
from steepest.training import checkpoints
from steepest.training.checkpoints import ASIDE, Slot
from steepest.training.processes import OutOfTimeError
from steepest.training.single import train
from steepest.training.stacked import Run, StackedRuns
from tests.training.test_checkpoints import STEPS, STOPPED, at, same

MODES = ("alone", "together")


@pytest.fixture(autouse=True)
def worth_a_file(monkeypatch):
    monkeypatch.setattr(checkpoints, "SHORT", 0.0)


def trained(mode, problem, slot, on_step=None, rule="adam", wide=False):
    """The outcomes of a run, or of two that train together."""
    if mode == "alone":
        step = None if on_step is None else lambda k, _: on_step(k)
        return [train(problem, get(rule), lr=0.01, steps=STEPS, seed=3, on_step=step, slot=slot)]
    seeds = (3, 4, 5) if wide else (3, 4)
    return StackedRuns(problem, [Run(get(rule), 0.01, seed, STEPS) for seed in seeds]).train(on_step, slot)


def stopped(mode, problem, path, **how):
    with pytest.raises(OutOfTimeError):
        trained(mode, problem, Slot(path), at(STOPPED), **how)
    assert path.is_file()


def read(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118


def edited(path, change):
    """Modified, with a valid digest."""
    tensors, facts = read(path)
    change(tensors, facts)
    Slot(path).write((tensors, facts))


def unsealed(path, change):
    """Modified, with the old digest."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors, facts = read(path)
    change(tensors, facts)
    save_file(tensors, path, about | {"facts": json.dumps(facts)})


def weights(tensors, value):
    for name in tensors:
        if name.startswith("model."):
            tensors[name] = torch.full_like(tensors[name], value)


def shorter(path):
    path.write_bytes(path.read_bytes()[:-40])


def other_bytes(path):
    content = bytearray(path.read_bytes())
    content[-30:-20] = (byte ^ 1 for byte in content[-30:-20])
    path.write_bytes(content)


DAMAGE = {
    "nothing in it": lambda path: path.write_bytes(b""),
    "the end is missing": shorter,
    "other bytes": other_bytes,
    "words": lambda path: path.write_text("not a state\n" * 100),
    "weights that are NaN": lambda path: unsealed(path, lambda tensors, _: weights(tensors, torch.nan)),
    "other weights": lambda path: unsealed(path, lambda tensors, _: weights(tensors, 0.5)),
    "another step": lambda path: unsealed(path, lambda _, facts: facts.update(step=2)),
    "no digest": lambda path: save_file(*read(path)[:1], path, {"facts": json.dumps(read(path)[1])}),
    "facts nested deeply": lambda path: save_file(read(path)[0], path, {"facts": "[" * 5_000 + "]" * 5_000, "digest": ""}),
    "no facts, sealed": lambda path: edited(path, lambda _, facts: facts.clear()),
    "a step beyond the end, sealed": lambda path: edited(path, lambda _, facts: facts.update(step=STEPS + 1)),
    "a gigantic step, sealed": lambda path: edited(path, lambda _, facts: facts.update(step=10**18)),
    "a step that is text, sealed": lambda path: edited(path, lambda _, facts: facts.update(step="3")),
    "seconds that are NaN, sealed": lambda path: edited(path, lambda _, facts: facts.update(seconds=None)),
    "no curves, sealed": lambda path: edited(path, lambda _, facts: facts["recorder"].clear()),
    "no tensors, sealed": lambda path: edited(path, lambda tensors, _: tensors.clear()),
    "weights of another shape, sealed": lambda path: edited(
        path, lambda tensors, _: tensors.update({name: torch.zeros(7, 7) for name in tensors if name.startswith("model.")})
    ),
}


@pytest.mark.parametrize("mode", ["alone", pytest.param("together", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_does_not_fit_is_set_aside_and_the_run_begins_anew(kind, mode, line, tmp_path):
    whole, path = trained(mode, line, checkpoints.NOWHERE), tmp_path / "run.safetensors"
    stopped(mode, line, path)
    DAMAGE[kind](path)
    heard = []
    for a, b in zip(trained(mode, line, Slot(path), heard.append), whole, strict=True):
        same(a, b)
    assert heard == [*range(1, STEPS + 1)]
    assert path.with_suffix(ASIDE).is_file()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", [{"rule": "momentum"}, {"wide": True}])
def test_the_file_of_another_run_does_not_fit(how, mode, line, tmp_path):
    """Under the name of this run, unchanged, and with a new digest."""
    whole, path = trained(mode, line, checkpoints.NOWHERE), tmp_path / "run.safetensors"
    other = steepest.Problem(
        name="wide",
        model=lambda: nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1)),
        loss=nn.MSELoss(),
        train=line.train,
        valid=line.valid,
        batch_size=8,
    )
    for problem, sealed in ((line, False), (other, False), (other, True)):
        source = tmp_path / "other.safetensors"
        stopped(mode, problem, source, **how)
        shutil.move(source, path)
        if sealed:
            edited(path, lambda *_: None)
        for a, b in zip(trained(mode, line, Slot(path)), whole, strict=True):
            same(a, b)
        assert path.with_suffix(ASIDE).exists()
        path.with_suffix(ASIDE).unlink()


def test_a_whole_file_is_gone_on_with_and_nothing_set_aside(line, tmp_path):
    path, heard = tmp_path / "run.safetensors", []
    stopped("alone", line, path)
    trained("alone", line, Slot(path), heard.append)
    assert heard == [*range(STOPPED + 1, STEPS + 1)]
    assert [*tmp_path.glob(f"*{ASIDE}")] == []


def test_a_study_says_that_runs_began_anew(line, tmp_path):
    store = tmp_path / "runs.db"
    asked = {"lrs": 0.05, "seeds": 2, "schedules": "constant", "plan": "one", "store": store}
    folder = checkpoints.folder_of(str(store))
    folder.mkdir()
    (folder / f"x{ASIDE}").touch()
    study = steepest.compare(line, "sgd,adam", steps=STEPS, **asked)
    (note,) = [note for note in study.result.notes if "were restarted" in note]
    assert note.startswith("A file in runs.db-unfinished could not be used as a checkpoint")
    assert note in study.to_dict()["notes"]
