"""The commands for surfaces, paths and schedules: their output and their error messages."""

import json
import math
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from steepest import surfaces
from steepest.cli import app
from steepest.report.palette import COLOURS, style
from tests.cases import colours_near


def test_the_commands_write_what_they_promise(tmp_path, strict):
    def run(*args):
        result = CliRunner().invoke(app, [*args, "--json", str(tmp_path / "o.json")])
        assert result.exit_code == 0, result.output
        return strict((tmp_path / "o.json").read_text())

    found = run(
        "path", "saddle", "--optimizers", "sgd,adam", "--start=1,1e-3", "--steps", "50", "--out", str(tmp_path / "o.png")
    )
    assert found["surface"] == "saddle"
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.size == (1140, 780)
        assert all(colours_near(picture, style(name).colour) > 100 for name in ("sgd", "adam"))
        words = picture.text["Description"]
    for o in found["optimizers"]:
        assert f"{o['name']}, rate {o['lr']:g}" in words
    assert [set(o) for o in found["optimizers"]] == [{"name", "lr", "points", "values", "diverged_at", "status"}] * 2
    assert found["optimizers"][0]["points"][0] == [1.0, 1e-3]
    assert len(found["optimizers"][0]["points"]) == len(found["optimizers"][0]["values"]) == 51
    lost = run("path", "rosenbrock", "--optimizers", "sgd", "--lrs", "1")
    assert lost["optimizers"][0]["diverged_at"] == len(lost["optimizers"][0]["points"])
    card = run("surface", "himmelblau")
    assert list(card) == ["name", "formula", "gradient", "hessian", "minima", "stationary", "convex"]
    assert set(card["stationary"][0]) == {"point", "value", "kind", "eigenvalues"}
    mine = run("surface", "x**2 + 3*sin(y)**2")
    assert len(mine["minima"]) == 1
    made = run("schedule", "cosine", "one_cycle", "--steps", "30", "--out", str(tmp_path / "s.svg"))
    assert [s["name"] for s in made["schedules"]] == ["cosine", "one_cycle"]
    drawn = (tmp_path / "s.svg").read_text()
    for schedule, colour in zip(made["schedules"], COLOURS, strict=False):
        values = np.array(schedule["values"])
        assert f"{schedule['name']} from {values[0]:.3g} to {values[-1]:.3g}, at most {values.max():.3g}" in drawn
        curve = re.search(rf'<path d="([^"]*)"[^>]*stroke: {colour.lower()}', drawn)[1]
        heights = -np.array(re.findall(r"[ML] [\d.]+ ([\d.]+)", curve), float)
        scaled = np.min(values) + np.ptp(values) * (heights - heights.min()) / np.ptp(heights)
        np.testing.assert_allclose(scaled, values, atol=1e-4)
    assert made["schedules"][0]["momentum"] is None
    assert len(made["schedules"][1]["momentum"]) == len(made["schedules"][0]["values"]) == 30
    assert {row["name"] for row in run("list", "surfaces")} == set(surfaces.SURFACES)
    network = run("surface", "digits")
    assert network["bound"] == pytest.approx(2 / network["largest"])
    assert math.isfinite(json.loads(json.dumps(network))["gradient"])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["path", "saddle", "--out", "a.jpg"], "expected one of .png, .svg, .pdf"),
        (["path", "saddle", "--animate", "a.mp4"], "expected .gif"),
        (["path", "saddle", "--start", "1"], "expected 2 finite numbers"),
        (["path", "saddle", "--start", "a,b"], "expected 2 numbers"),
        (["path", "saddle", "--lrs", "0.1,0.2"], "a path takes one"),
        (["path", "saddle", "--view", "x"], "expected one of map"),
        (["path", "sadle"], "did you mean 'saddle'"),
        (["path", "log(x) + y", "--start=-1,1"], "has no finite value"),
        (["path", "rosenbrock(dims=4)", "--out", "a.png"], "a map needs 2"),
        (["path", "saddle", "--out", "no/such/a.png"], "does not exist"),
        (["path", "saddle", "--noise", "-1"], "noise is -1.0"),
        (["surface", "valley(condition=0)"], "at least 1"),
        (["surface", "rosenbrock(dims=1)"], "2 or more"),
        (["schedule", "step(size=0)"], "share of the run"),
        (["schedule", "cosine", "--out", "a.gif"], "expected one of .png"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(args, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert result.output.strip().splitlines()[-1].startswith("steepest: ")
