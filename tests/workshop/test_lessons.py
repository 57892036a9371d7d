"""The lessons against separate programs that follow the documents."""

import ast
import json
import re
from pathlib import Path

import jupytext
import numpy as np
import pytest
from typer.testing import CliRunner

from steepest import rules
from steepest.cli import app
from steepest.errors import SteepestError
from steepest.problems.built_in.noisy_regression import data
from steepest_workshop.lessons import (
    NOT_HERE,
    agreed,
    assignment,
    batches,
    between,
    check,
    chosen,
    claim,
    close_to,
    curves,
    ideas,
    kept,
    notebooks,
    power,
    reproduce,
    shares,
    slides,
    spread,
    training,
    tutorial,
    written,
)
from steepest_workshop.lessons.exercises import EXERCISES
from steepest_workshop.lessons.noisy_regression import EXPONENTS, experiment

from . import solved


def followed(found, exponent, adam, replicate, steps, every, noise):
    """Test losses and the final point of one replicate, example by example in NumPy."""
    rng = np.random.default_rng(replicate)
    chosen = rng.integers(len(found.x), size=steps)
    normal, signs = rng.standard_normal((steps, 10)), rng.choice((-1.0, 1.0), (steps, 10))
    theta, m, v, losses = found.start.copy(), np.zeros(10), np.zeros(10), []
    for t, i in enumerate(chosen):
        if t % every == 0:
            losses.append(np.mean(np.abs(found.test_x @ theta - found.test_y) ** exponent))
        e = found.x[i] @ theta - found.y[i]
        g = exponent * np.abs(e) ** (exponent - 1) * np.sign(e) * found.x[i] + noise[0] * normal[t] + noise[1] * signs[t]
        if adam:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            theta = theta - 0.001 * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        else:
            theta = theta - 0.001 * g
    return losses, theta


@pytest.mark.parametrize("noise", [(0.0, 0.0), (0.3, 0.2)], ids=["clean", "noisy"])
def test_the_noisy_regression_equals_a_plain_program(noise):
    found = data()
    losses, points = experiment(
        found, [rules.get("adam"), rules.get("gd")], [0.001, 0.001], replicates=2, steps=150, noise=noise
    )
    assert losses.shape == (6, 2, 2, 3)
    for i, exponent in enumerate(EXPONENTS):
        for j in range(2):
            for replicate in range(2):
                expected, theta = followed(found, exponent, j == 0, replicate, 150, 50, noise)
                np.testing.assert_allclose(losses[i, j, replicate], expected, rtol=1e-9)
                np.testing.assert_allclose(points[i, j, replicate], theta, rtol=1e-9)


def test_the_cost_table_is_the_tutorials():
    assert [(row["m"], row["updates"]) for row in batches.cost(100, 10)] == [(100, 10), (10, 100), (1, 1000)]


@pytest.mark.parametrize("size", [569, 57, 1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_descent_on_batches_equals_a_plain_loop(size, momentum):
    found = batches.data()
    path = batches.descend(found, size, 2, 0.01, momentum, seed=3)
    w, b = np.zeros(2), np.zeros(2)
    for k, index in enumerate(batches.order(569, size, 2, seed=3)):
        np.testing.assert_allclose(path[k], w, rtol=1e-10, atol=1e-13)
        g = 2 * found.x[index].T @ (found.x[index] @ w - found.y[index]) / size
        b = momentum * b + g
        w = w - 0.01 * b
    assert len(path) == len(batches.order(569, size, 2)) + 1
    errors = found.x @ path.T - found.y[:, None]
    np.testing.assert_allclose((errors**2).mean(0) - found.least, batches.excess(found, path), rtol=1e-9, atol=1e-12)


def test_what_the_tutorial_says_of_batches_in_numbers():
    rates = {row["m"]: row["largest rate"] for row in batches.largest_rates()}
    assert rates[1] < 0.5 * rates[10]  # larger batches allow larger rates
    assert rates[1] < 0.5 * rates[569]
    heavy = {row["m"]: row["largest rate"] for row in batches.largest_rates(momentum=0.9)}
    assert heavy[569] > 5 * heavy[10] > 25 * heavy[1] / 2  # momentum fails with small batches
    raw, standard = batches.scaling()
    assert raw["condition"] > 1000 * standard["condition"]
    assert raw["left"] > 0.01 > 1e-10 > standard["left"]
    assert raw["exact"] == pytest.approx(standard["exact"], rel=1e-8)  # the closed form needs no scaling
    hit = {row["m"]: row for row in batches.outliers()}
    assert hit[1]["worst"] > 10 * hit[569]["worst"]  # outliers pull single examples away
    assert hit[1]["worst"] > hit[10]["worst"]


def test_the_picture_of_the_three_descents_has_its_words():
    figure = batches.paths(2)
    words = figure.get_gid()
    assert "stochastic: 1 example an update" in words
    assert "batch: 569 examples an update" in words
    found, lines = batches.data(), {line.get_label().split(":")[0]: line for line in figure.axes[0].lines}
    for name, size, epochs, lr in (("stochastic", 1, 2, 0.03), ("mini-batch", 10, 2, 0.1), ("batch", 569, 114, 0.2)):
        path = batches.descend(found, size, epochs, lr)
        np.testing.assert_array_equal(lines[name].get_xydata(), path)
        assert f"rate {lr:g}, {len(path) - 1:,} updates" in lines[name].get_label()
    np.testing.assert_array_equal(lines["exact solution"].get_xydata(), [found.exact])
    assert len({line.get_color() for line in lines.values()}) == 4
    assert [text.get_text().split(":")[0] for text in figure.legends[0].get_texts()] == list(lines)


def test_a_row_holds_where_ours_is_near_enough_and_says_why_where_not():
    assert close_to("000", "q", 1.0, 1.05, 0.1, "why").holds
    missed = close_to("000", "q", 1.0, 1.2, 0.1, "why")
    assert (missed.holds, missed.reason) == (False, "why")
    assert not close_to("000", "q", 1.0, None, 0.1).holds
    assert not close_to("000", "q", 1.0, float("nan"), 0.1).holds
    assert between("000", "q", 1.0, 5.0, 0.0, 2.0).holds
    assert not between("000", "q", 3.0, 1.0, 0.0, 2.0).holds
    assert claim("000", "w", "f", None).reason == "depends"
    assert claim("000", "w", "f", None, "depends on the rate").reason == "depends on the rate"
    assert claim("000", "w", "f", np.True_).holds is True
    assert [agreed(parts) for parts in ([True, True], [True, False], [np.False_])] == [True, None, False]
    mean, half = spread([1.0, 2.0, 3.0, 4.0])  # Student's t of 3 degrees of freedom, 3.182; standard error 0.6455
    assert (mean, round(half, 3)) == (2.5, 2.054)
    assert spread([1.0, 2.0, 3.0, 4.0], 0.01)[1] == pytest.approx(5.841 * 0.6455, rel=1e-3)


def test_the_first_500_iterations_of_the_assignment_are_printed_ones(mnist_folder):
    data = training.images()
    # other orders of sums change SGD's by 7e-5, where a decay of 1e-4 would change it by 3e-4, and momentum's by 0.01
    for name, tolerance in (("SGD", 2e-4), ("Adam", 1e-5), ("momentum", 0.03)):
        ours = assignment.run(assignment.maker(assignment.settings()[name]), data, 500)
        ((step, loss, accuracy),) = ours
        losses, accuracies = assignment.PRINTED[name]
        assert step == 500
        assert loss == pytest.approx(losses[0], abs=tolerance)
        assert accuracy == pytest.approx(accuracies[0], abs=0.011 if name != "momentum" else 0.5)
        assert ours == assignment.run(assignment.torchs(name), data, 500)  # bit by bit


def test_the_exact_figures_of_the_tutorial_and_the_lab_hold(reproduced):
    rows = reproduced("001") + reproduced("lab")
    numbers = [row for row in rows if row.quantity != "claim"]
    trace = [row for row in numbers if row.quantity.startswith("least squares")]
    assert len(trace) == 42
    assert all(row.holds for row in trace)
    assert sum(row.quantity.startswith("LambdaLR") for row in numbers if row.holds) == 10
    away = [row for row in numbers if row.ours == NOT_HERE]
    assert len(away) == 55
    assert all(row.holds is None and row.reason for row in away)
    claims = {row.printed: row.holds for row in rows if row.quantity == "claim" and not row.holds}
    assert all(row.reason for row in rows if row.quantity == "claim" and not row.holds)
    refuted = [printed for printed, holds in claims.items() if holds is False]
    assert refuted == ["once the gradient is zero, the minimum is reached", "Schedule-Free's line 12, as it is printed"]
    undecided = {row.printed for row in rows if row.reason.startswith(("undecided", "not trained"))}
    assert len(claims) - len(undecided) == 12
    doubtful = {"adagrad: default eps", "rmsprop: default alpha", "columns of the table"}
    doubtful |= {"formula: Adam: alpha * m / sqrt(v + eps)"}  # the rule has epsilon outside the root
    assert {row.quantity for row in numbers if row.ours != NOT_HERE and not row.holds} == doubtful


def test_what_an_unseeded_program_printed_lies_in_our_intervals(reproduced):
    rows = [row for row in reproduced("004") if row.quantity != "claim" and row.printed is not None]
    assert len(rows) == 148
    assert sum(row.holds for row in rows) >= 128  # nineteen in twenty, minus two standard deviations


def test_every_printed_block_of_the_slides_has_ten_epochs():
    for _, losses, correct in slides.PRINTED:
        assert len(losses.split()) == len(correct.split()) == 10
    assert slides.network()(training.torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert slides.twins() == (pytest.approx(0.0290), pytest.approx(1.13))  # epoch 4: 0.0583 and 0.0293, 98.21 and 99.34 %


def test_the_table_is_written_with_every_miss_and_reason(tmp_path, strict):
    result = CliRunner().invoke(
        app, ["reproduce", "002", "--quick", "--json", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.md")]
    )
    assert result.exit_code == 0, result.output
    found = strict((tmp_path / "r.json").read_text())
    assert all({"source", "quantity", "printed", "ours", "tolerance", "holds"} <= set(row) for row in found)
    assert all("status" in row for row in found if None in row.values() or not row["holds"])
    page = (tmp_path / "r.md").read_text()
    assert page.count("\n| LambdaLR") == 10
    missed = close_to("002", "LambdaLR, rate in epoch 0", 100.0, 99.0, 1e-9, "broken")
    page = written.text([missed])
    assert "1 missed" in page
    assert "printed 100, ours 99" in page
    assert "broken" in page
    assert json.loads(json.dumps(written.as_data([missed])))[0]["holds"] is False
    worths = {row["power"] for row in [*found, *written.as_data([missed, power.unscored(missed)])]}
    assert worths <= {*power.KINDS, None}


def test_an_unknown_document_or_tier_is_refused():
    assert chosen(["all"]) == ["000", "001", "002", "003", "004"]
    assert chosen(["slides", "003"]) == ["003"]
    with pytest.raises(SteepestError, match="did you mean 'lab'"):
        chosen(["labs"])
    with pytest.raises(SteepestError, match="expected one of quick, default, full"):
        reproduce("002", "long")
    result = CliRunner().invoke(app, ["reproduce", "--quick", "--full"])
    assert result.exit_code == 2


def test_what_would_fail_after_an_hour_is_told_at_once(tmp_path, monkeypatch):
    result = CliRunner().invoke(app, ["reproduce", "002", "--quick", "--report", str(tmp_path / "none" / "r.md")])
    assert result.exit_code == 2
    assert "in a folder that does not exist" in result.stderr
    result = CliRunner().invoke(app, ["reproduce", "002", "--quick", "--report", str(tmp_path)])
    assert result.exit_code == 2
    assert "is a folder; give the path of a file" in result.stderr
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    with pytest.raises(SteepestError, match="steepest data fetch cifar10"):
        reproduce("001", "full")


NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


LONG = [path for path in NOTEBOOKS if path.stem != "002-lab"]  # 15 to 80 s each


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_is_shown_as_it_is_written_with_its_pictures_and_no_error(path):
    kept_one = json.loads(path.read_text())
    sources = ["".join(cell["source"]) for cell in kept_one["cells"]]
    assert [cell["source"] for cell in jupytext.read(path.with_suffix(".py")).cells] == sources
    code = [cell for cell in kept_one["cells"] if cell["cell_type"] == "code"]
    assert sum(bool(cell["outputs"]) for cell in code) > len(code) / 2
    assert not [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
    drawn = [out for cell in code for out in cell["outputs"] if "image/png" in out.get("data", {})]
    assert drawn  # its pictures are displayed without a kernel
    checks = [said(cell) for cell in code if re.search(r"^check\(", "".join(cell["source"]), re.M)]
    assert len(checks) >= 5
    assert checks == [[repr(check("adam", ...))]] * len(checks)  # it is stored with blanks


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.slow if path in LONG else (), id=path.stem) for path in NOTEBOOKS]
)
def test_a_lesson_runs_from_its_first_cell_to_its_last(path, mnist_folder):
    made = notebooks.make(path.with_suffix(".py"))  # a cell that fails raises
    kept_one = json.loads(path.read_text())
    for cell, again in zip(kept_one["cells"], made.cells, strict=True):
        if "check(" in "".join(cell["source"]) and cell["cell_type"] == "code":
            assert said(cell) == said(again)


def test_every_exercise_is_in_one_lesson_once():
    asked, checks = [], []
    for path in NOTEBOOKS:
        for cell in jupytext.read(path.with_suffix(".py")).cells:
            asked += re.findall(r'^ask\("(\w+)"\)', cell.source, re.M)
            checks += re.findall(r'^check\("(\w+)"', cell.source, re.M)
    assert asked == checks
    assert sorted(checks) == sorted(EXERCISES)
    assert 33 <= len(checks) <= 40


def test_a_blank_has_no_code_and_its_docstring_says_what_is_known():
    for path in NOTEBOOKS:
        for cell in jupytext.read(path.with_suffix(".py")).cells:
            name, answer = solved.checked(cell.source) if cell.cell_type == "code" else (None, None)
            if name is None or isinstance(answer, ast.Constant):
                assert name is None or answer.value is ...
                continue
            node = solved.blank_of(cell.source, answer)
            body = node if isinstance(node, ast.FunctionDef) else node.body[-1]
            docstring, dots = body.body
            assert ast.unparse(dots) == "..."
            assert len(ast.literal_eval(docstring.value)) > 40, name


CURVES = {
    "000": ["SGD", "SGD at 0.1", "momentum 0.9 at 0.1", "Adam at 0.001"],
    "001": ["step_decay", "multi_step", "inverse_time", "cosine", "RMSprop", "AdaBelief"],
    "002": ["", "", "dropout"],
    "003": ["Nesterov", "rho 0.9"],
    "004": ["Adagrad at 0.01"],
}


@pytest.mark.parametrize("done", [False, True], ids=["blank", "solved"])
@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.slow if path in LONG else (), id=path.stem) for path in NOTEBOOKS]
)
def test_a_learners_curves_are_drawn_where_she_has_written_them(path, done, mnist_folder, tmp_path):
    made = tmp_path / path.with_suffix(".py").name
    solved.lesson(path.with_suffix(".py"), made, done)
    notebook = notebooks.make(made)
    text = solved.printed(notebook)
    yours = re.findall(r"\|yours(?:: ([^|:\n]*))?", text)
    checks = [said(cell) for cell in notebook.cells if cell.cell_type == "code" and re.search(r"^check\(", cell.source, re.M)]
    assert yours == (CURVES[path.stem[:3]] if done else [])
    assert all(words.startswith("Right" if done else "Blank") for (words,) in checks), checks
    assert done or "Right" not in text


def said(cell):
    """The plain-text output of a cell."""
    return ["".join(out["data"]["text/plain"]) for out in cell["outputs"] if out["output_type"] == "execute_result"]


def test_there_is_a_notebook_for_each_document():
    assert [path.stem[:3] for path in NOTEBOOKS] == ["000", "001", "002", "003", "004"]


def test_what_the_documents_explain_is_computed():
    made = {row.printed: row for row in ideas.rows()}
    assert len(made) == 16
    assert [printed for printed, row in made.items() if not row.holds] == [
        "once the gradient is zero, the minimum is reached",
        "Schedule-Free's line 12, as it is printed",
        "RMSprop is similar to descent with momentum",
    ]


def test_a_race_on_surfaces_is_judged_over_many_settings():
    found = ({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0})
    assert shares.share(found, lambda one: one["a"] > one["b"]) == 0.5
    assert [shares.verdict([part]) for part in (1.0, 0.9, 0.89, 0.11, 0.1, 0.0)] == [True, True, None, None, False, False]
    assert shares.verdict([1.0, 0.0]) is None
    assert (len(shares.leaving()), len(shares.ending())) == (80, 54)
    # plain descent is invariant to rotation: equal steps and heights at every one
    by_turn = np.array([one["sgd"] for one in shares.leaving()]).reshape(4, 20)
    assert (by_turn == by_turn[0]).all()
    heights = np.array([one["sgd"] for one in shares.ending()]).reshape(6, 3, 3)
    np.testing.assert_allclose(heights, np.broadcast_to(heights[:1], heights.shape), rtol=1e-6)
    adam = np.array([one["adam"] for one in shares.ending()]).reshape(6, 3, 3)
    assert (adam.max(0) > 10 * adam.min(0)).any()
    (row,) = [row for row in shares.rows() if row.printed.startswith("Nesterov")]
    assert "(9 settings)" in row.ours  # both are invariant to rotation: each setting counts once


def test_a_users_own_file_of_the_tutorial_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    (tmp_path / "cancer").mkdir()
    numbers = [int(line.split()[0]) for line in tutorial.SAMPLE.split("\n")[1:-1]]
    ids = dict(zip(numbers, tutorial.IDS.split(), strict=True))
    lines = [",".join(["id", "diagnosis", *(f"c{k}" for k in range(30)), ""])]
    lines += [f"{ids.get(number, number)}," + "0," * 31 for number in range(569)]
    (tmp_path / "cancer" / "cancer_dataset.csv").write_text("\n".join(lines) + "\n")
    made = {row.quantity: row for row in tutorial._official(31)}
    assert made["columns of the table"].holds
    assert made["ids of ten patients"].holds
    (tmp_path / "cancer" / "cancer_dataset.csv").write_text("id,diagnosis\n1,B\n")
    assert [row.holds for row in tutorial._official(31)] == [False, False]


def test_a_stopped_training_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    generator = training.torch.Generator().manual_seed(0)
    x = training.torch.randn(300, 6, generator=generator)
    data = curves.Sets(x[:200], (x[:200, 0] > 0).long(), x[200:], (x[200:, 0] > 0).long())

    def network():
        return training.mlp((6, 8, 2))

    whole = curves.train(curves.scheduled("cosine", 0), data, tmp_path / "whole.pt", 3, network)
    assert len(whole) == 3
    assert whole[-1][0] < whole[0][0]
    monkeypatch.setattr(curves, "measured", stopping(curves.measured, after=1))
    with pytest.raises(KeyboardInterrupt):
        curves.train(curves.scheduled("cosine", 0), data, tmp_path / "stopped.pt", 3, network)
    monkeypatch.undo()
    assert (tmp_path / "stopped.pt").is_file()
    assert curves.train(curves.scheduled("cosine", 0), data, tmp_path / "stopped.pt", 3, network) == whole
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    assert [row.reason for row in curves.rows()] == ["not trained"] * 2
    for name, end in (("constant", 50.0), ("cosine", 60.0)):
        runs = [curves.scheduled(name, k) for k in range(3)]
        kept.keep(curves.FILE, {run.key: (run.made_by, [[1.0, end + run.start]] * curves.EPOCHS) for run in runs})
    row, *_ = curves.rows()
    assert "constant 51.0 %; cosine 61.0 %; cosine leads a constant rate by +10.0 +- 0.0" in row.ours
    assert row.holds is True


def test_the_rate_with_the_best_trial_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    assert curves.compared("Adam") == []
    for k, trial in enumerate(curves.trials("Adam")):
        kept.keep(curves.FILE, {trial.key: (trial.made_by, [[1.0, 40.0 - abs(k - 1)]] * curves.SHORT)})
    assert {(run.lr, run.epochs) for run in curves.compared("Adam")} == {(curves.OPTIMIZERS["Adam"][1], curves.LONG)}


def stopping(function, after):
    """A function that raises KeyboardInterrupt after this many calls."""
    calls = []

    def called(*args):
        calls.append(args)
        if len(calls) > after:
            raise KeyboardInterrupt
        return function(*args)

    return called
