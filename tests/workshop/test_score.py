"""The scores of the reproduction's rows, recorded results of long trainings, and the page that reports them."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from steepest.api import compare
from steepest.problems import get
from steepest_workshop.lessons import (
    DOCUMENTS,
    claim,
    close_to,
    compared,
    decided,
    definitions,
    edge,
    formulas,
    ideas,
    inventory,
    kept,
    page,
    pictures,
    power,
    predicted,
    search,
    slides,
    training,
    written,
)


def test_a_printed_schedule_is_told_from_a_wrong_formula(monkeypatch):
    for number, count in (("001", 5), ("002", 1)):
        made = list(formulas._decays(number))
        assert len(made) == count
        assert {(row.holds, row.power) for row in made} == {(True, "reproduced")}
    right = formulas.DECAYS[1]
    late = right._replace(ours=formulas.schedules.inverse_time(formulas.K * 1.001))
    monkeypatch.setattr(formulas, "DECAYS", (late, right._replace(wrong=(right.formula,))))
    first, second = formulas._decays("001")
    assert (first.holds, first.power) == (False, "")
    assert (second.holds, second.power) == (True, "consistent")
    assert second.alike.startswith("usual slip 1; ")


def test_a_block_of_the_slides_is_fitted_and_lies_in_the_intervals_of_its_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    slow = slides.PRINTED[0][0]
    nothing = list(slides._within(0))
    assert {(row.holds, row.power) for row in nothing} == {(None, "unscored")}  # no start is recorded
    losses, correct = ([float(x) for x in part.split()] for part in slides.PRINTED[0][1:])
    generator = np.random.default_rng(0)
    for seed in range(slides.FIRST, slides.FIRST + 5):
        near = [
            [loss + 0.01 * generator.normal(), right / 100 + generator.normal()]
            for loss, right in zip(losses, correct, strict=True)
        ]
        kept.keep(slides.FILE, {slides._key(slow, seed): (slides.made_by(slow), near)})
    rows = list(slides._within(0))
    assert len(rows) == 20
    assert sum(row.holds for row in rows) >= 18
    assert all(row.power == ("fitted" if row.holds else "") for row in rows)
    # Student's interval of a sixth run, computed separately
    values = np.array([slides.seeds_of(slow)[k][0][0] for k in range(5)])
    half = 2.776 * values.std(ddof=1) * (6 / 5) ** 0.5
    low, high = map(float, rows[0].tolerance.split(" to "))
    assert (low, high) == (pytest.approx(values.mean() - half, rel=1e-3), pytest.approx(values.mean() + half, rel=1e-3))


def test_a_configuration_of_the_slides_is_what_its_class_makes_of_it():
    for config in (*slides.DRAWN, *(block[0] for block in slides.PRINTED)):
        class_name, arguments = config
        weight = training.torch.zeros(2, requires_grad=True)
        (group,) = getattr(slides.optim, class_name)([weight], **arguments).param_groups
        (ours,) = slides.build(slides.setting_of(config).rule, [weight], **arguments_of(config)).param_groups
        assert {k: v for k, v in group.items() if k != "params"} == {k: v for k, v in ours.items() if k != "params"}


def arguments_of(config):
    setting = slides.setting_of(config)
    return {"lr": setting.lr, **setting.hyper}


def test_the_networks_that_were_tried_are_ordered_by_how_near_they_come(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    assert search.OURS in search.combinations()
    assert len(search.combinations()) == 24
    assert search.PRINTED == ((1.4816, 77.19), (2.1605, 55.17))
    assert search.table() == []
    for k, combination in enumerate((search.OURS, search.combinations()[0])):
        value = {"slow": [[1.5, 77.19 + k], [2.2, 60.17 + 10 * k]], "collapsed": k}
        kept.keep(search.FILE, {search._key(combination): (search.made_by(combination), value)})
    assert [one.away() for one in search.table()] == [pytest.approx(5.0), pytest.approx(15.0)]
    first, second = search.rows()
    assert first.quantity.endswith("pixels normalised, used here")
    assert "77.2 and 60.2 % after an epoch of the slow runs, printed 77.2 and 55.2" in first.ours
    assert "1 of 6 starts collapse" in second.ours
    for network in search.NETWORKS.values():
        assert network()(training.torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_list_of_what_the_documents_hold_leads_somewhere():
    items = inventory.items()
    assert {item.source for item in items} == {"000", "001", "002", "003", "004"}
    assert {item.kind for item in items} == {"system", "experiment", "formula", "claim", "picture"}
    assert len(items) >= 200
    assert len({(item.source, item.kind, item.words, item.where) for item in items}) == len(items)
    document = (Path(__file__).parents[2] / "docs" / "reproduction.md").read_text()
    rows = [
        claim(line.rstrip()[-4:-1], line.split("*")[1], "", True) for line in document.splitlines() if line.startswith("- *")
    ]
    for part in document.split("\n## ")[1:]:
        rows += [close_to(part[:3], line.split(" | ")[0][2:], 0, 0, 0) for line in part.splitlines() if line.startswith("| ")]
    assert inventory.unmet(rows, pictures.names()) == []
    undrawn = inventory.unmet(rows, [])
    assert sum(where.startswith("picture ") for _, where in undrawn) >= 20
    without = inventory.unmet([row for row in rows if row.source != "001"], pictures.names())
    assert sum(item.source == "001" for item, _ in without) >= 30


# What a closer reading of the documents named as left out or half done: a document, and how its words begin.
NAMED = """
000 the sizes of its four files
000 its blank, forward
000 its three blanks, optimizer =
000 its printout every 500 iterations
000 batch descent cannot fit whole datasets
000 batch descent is slow
000 Adam's epsilon under the root
001 unimodal and multimodal functions
001 convex functions are unimodal
001 a stopping criterion
001 table: memory high, low, medium
001 table: online or not
001 its 33 columns
001 deeper but narrower parts
001 by a factor of 2 to 10
001 exponential step sizes on a residual network
001 milestones: one, two or three
001 a ball on a hill
001 the gradient pushes the velocity
001 beta = 0.99 is a boost, 0.999
001 velocity builds up
001 Nesterov is slightly better than momentum
001 its defaults, and 0.01 in most implementations
001 AdamW mends weight decay
001 Adam, the king of optimizers
001 stable training
001 the projection
001 its restart
001 most searches assume a unimodal surface
001 unimodal functions are usually still easy
001 one adaptive rate for all parameters
001 it needs a moving average
001 epsilon, a nuisance no more
001 it takes the schedule and the momentum of SGD
001 it saves the gradient at the extrapolated point
001 the order in that table
001 its misprinted line 12
001 table: ResNet-50 and -101 on ImageNet
001 table: ConvNeXt on ImageNet
001 table: ResNet-18 on ImageNet
001 two figures by link
001 links to videos
001 credits
001 ids of patients
002 Adam, epsilon under the root
002 momentum speeds up
002 Adam first, then SGD
002 a network before and after dropout
003 the network, which the document leaves open
003 losses and accuracies of the blocks
003 momentum with and without Nesterov
003 more loss at 0.01
003 beta1 above beta2
003 its usual beta and rate
003 the conclusions
004 its loss, l
004 the standard error
004 the mean over replicates
004 a single digit
004 the digit it says of one image, 4
004 best_vals
004 lr = 0.003
"""


@pytest.mark.parametrize("line", NAMED.strip().splitlines())
def test_what_a_reading_missed_is_made_or_cited_and_a_command_shows_it(line):
    source, words = line.split(" ", 1)
    found = [item for item in inventory.items() if item.source == source and item.words.startswith(words)]
    assert found, line
    for item in found:
        assert item.reason or item.where
        assert item.command.startswith(("steepest reproduce ", "python -m pydoc ", "python -c "))
        if item.command.startswith("steepest"):
            assert item.command.split()[2] in DOCUMENTS


def test_the_readme_and_the_page_print_the_number_that_the_scores_give():
    root = Path(__file__).parents[2]
    text = (root / "docs" / "reproduction.md").read_text()
    (number,) = re.findall(r"^(\d+) printed results are reproduced", text, re.M)
    assert f" {number} printed results are reproduced" in (root / "README.md").read_text()
    reproduced = re.findall(r"^\| (.+?) \|.*\| reproduced \|$", text, re.M)
    assert len(reproduced) == int(number) >= 110
    trained = {quantity for quantity in reproduced if not quantity.startswith(("formula", "schedule"))}
    assert trained <= {quantity for _, quantity in power.recorded()}  # formulas are scored as they are compared


def test_the_page_leads_with_what_surprises_and_folds_its_tables(tmp_path):
    rows = [
        claim("000", "Adam's averages are divided by 1 - beta1 and 1 - beta2", "none of 12 comes out", False),
        claim("001", "momentum below 1 damps the velocity", "a ball stops", None, "depends"),  # another verdict: no story
        close_to("000", "SGD, accuracy after 500 iterations", 91.5, 91.5, 0.1, power="reproduced"),
    ]
    page.write(rows, "quick", tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    document, rest = text.split("## Every claim by its verdict")
    assert "**A formula is refuted by the figures printed beside it.** None of 12 comes out. (000)" in document
    assert "friction" not in document
    assert "1 printed results are reproduced, 0 of them formulas" in document
    assert "- *momentum below 1 damps the velocity*: depends. A ball stops. (001)" in rest
    assert rest.count("<details") == rest.count("</details>")
    assert rest.index("<details><summary>Every printed result") < rest.index("| SGD, accuracy after 500 iterations | 91.5 |")


def test_a_definition_is_told_from_its_usual_slips(reproduced, monkeypatch):
    for number, count in (("000", 7), ("001", 18), ("002", 7), ("003", 1), ("004", 6)):
        words = {f"formula: {one.words}" for one in definitions.DEFINITIONS if one.source == number}
        made = reproduced("001") if number == "001" else definitions.rows(number)
        assert [(row.holds, row.power) for row in made if row.quantity in words] == [(True, "reproduced")] * count
    for one in definitions.DEFINITIONS:
        assert len(one.wrong) >= 2
        for wrong in one.wrong:  # ours with that mistake
            monkeypatch.setattr(definitions, "DEFINITIONS", (one._replace(ours=wrong, wrong=[]),))
            monkeypatch.setattr(definitions.slipped, "variants", lambda formula: ())
            assert [(row.holds, row.power) for row in definitions.rows(one.source)] == [(False, "")]
    nan = [0.5, np.nan]
    late = one._replace(ours=lambda scores, labels: nan[len(scores) == 3])
    monkeypatch.setattr(definitions, "DEFINITIONS", (late,))
    (row,) = definitions.rows(one.source)
    assert row.holds is False  # also if it is not a number on a later input
    monkeypatch.setattr(definitions, "DEFINITIONS", (one._replace(wrong=[one.formula]),))
    assert [row.power for row in definitions.rows(one.source)] == ["consistent"]


def test_intervals_and_verdicts_are_the_textbooks():
    values = np.array([1.0, 2.0, 3.0, 4.0])  # Student's t of 3 degrees of freedom, 3.182
    mean, low, high = predicted(values)
    assert (mean, high - mean) == (2.5, pytest.approx(3.182 * 1.29099 * 1.25**0.5, rel=1e-3))
    mean, low, high = predicted([7.0], values)  # one run: its own spread and that of the other add up
    assert (mean, mean - low) == (7.0, pytest.approx(3.182 * 1.29099 * 2**0.5, rel=1e-3))
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        drawn = rng.normal(size=7)
        _, low, high = predicted(drawn[:5])
        inside += low <= drawn[6] <= high
    assert inside == pytest.approx(1900, abs=40)  # four standard errors
    assert [decided(x) for x in ([(2, 1), (3, 1)], [(-2, 1)], [(2, 1), (0, 1)], [(0, 1)])] == [True, False, None, None]


def test_what_is_stale_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    kept.keep("some", {"001 a": ("x", 1), "001 b": ("x", 2), "002 a": ("x", 3)})
    kept.drop("some", lambda key: key.startswith("001") and key != "001 b")
    assert sorted(kept.load("some")) == ["001 b", "002 a"]
    assert kept.digest(kept.keep, 1) != kept.digest(kept.drop, 1)  # a function is identified by its code


def test_the_best_of_a_grid_is_none_on_its_edge():
    assert [edge(at, 4) for at in range(4)] == [True, False, False, True]


def test_undecided_comparisons_get_more_seeds(monkeypatch):
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(0.0, 1.0, 20), "b": rng.normal(0.0, 1.0, 20)}
    lead, words = compared.against(values, "a", "b", 4)
    assert lead is None
    assert "20 seeds" in words
    values["a"] = np.append(values["a"], [5.0] * 20)  # b has twenty: the common ones are compared
    assert compared.against(values, "a", "b", 4) == (lead, words)
    assert compared.against({"a": np.zeros(20), "b": np.full(20, 0.1)}, "a", "b")[0] == 0.0  # within the margin
    assert compared.against({"a": np.ones(20), "b": np.zeros(20)}, "a", "b")[0] == 1.0


def test_a_study_goes_on_with_the_seeds_that_come_next():
    digits, lrs = get("digits"), {"sgd": 0.1, "momentum": 0.011}
    problem = dataclasses.replace(digits, test=digits.valid, steps=30)
    few, many = (
        compare(problem, "sgd,momentum", schedules="constant", lrs=lrs, seeds=count, plan="one", store=":memory:")
        for count in (3, 6)
    )
    assert compared.against(compared.accuracies(few), "sgd", "momentum", compared.LOOKS)[0] is None
    made, expected = compared.settled(problem, few, [("sgd", "momentum")], 1), compared.accuracies(many)
    for name in lrs:
        np.testing.assert_allclose(made[name][:6], expected[name])
    one = {"sgd": 0.1, "momentum": 0.0001}
    plain = compare(problem, "sgd,momentum", schedules="constant", lrs=one, seeds=3, plan="one", store=":memory:")
    assert len(compared.settled(problem, plain, [("sgd", "momentum")], 1)["sgd"]) == 3  # what is decided is not trained again


@pytest.mark.parametrize("number", ["000", "001", "002", "003", "004"])
def test_the_scores_that_are_kept_are_of_what_makes_the_rows_now(number):
    """Where this fails, `python -m steepest_workshop.lessons.power` scores anew what changed."""
    assert [block.key for block in power.blocks(number) if not block.worth and block.score() is None] == []


def test_what_a_row_is_worth_is_what_wrong_settings_make_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    monkeypatch.setattr(power, "blocks", lambda number: list(formulas.blocks(number))[:1])
    assert [row.power for row in formulas.rows("004")][:2] == ["unscored", "unscored"]
    said = []
    power.score("004", said.append)
    assert len(said) == 1
    power.score("004", said.append)
    assert len(said) == 1  # recorded results are not recomputed
    (block,) = power.blocks("004")
    (row,) = block.made()
    assert (row.power, row.alike) == ("reproduced", "")
    assert power.recorded() == {("004", row.quantity)}
    kept.keep(power.FILE, {block.key: (block.digest, {row.quantity: ["another"]})})
    (row,) = block.made()
    assert (row.power, row.alike) == ("consistent", "another")
    kept.keep(power.FILE, {block.key: ("of another rule", {row.quantity: []})})
    assert block.made()[0].power == "unscored"


def test_every_formula_is_reproduced_once(reproduced):
    rows = written.once([row for number in ("000", "002", "003", "004") for row in formulas.rows(number)])
    first = [row for row in reproduced("001") if row.quantity.startswith(("formula: ", "schedule: "))]
    rows = written.once([*first, *rows])
    missed = [row.quantity for row in rows if row.power not in ("reproduced", "again")]
    assert missed == ["formula: Adam: alpha * m / sqrt(v + eps)"]  # epsilon is elsewhere in the rule
    assert sum(row.power == "reproduced" for row in rows) >= 50
    assert sum(row.power == "again" for row in rows) >= 15
    traced = [row.power for row in reproduced("001") if row.quantity.startswith("least squares")]
    assert (traced.count("reproduced"), traced.count("echo"), len(traced)) == (40, 2, 42)


def test_verdicts_come_out_either_way():
    assert ideas.stops(("valley", "bowl")).holds is True
    assert ideas.stops(("valley", "saddle")).holds is False
