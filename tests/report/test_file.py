"""The report's file: redrawn if its content changed, and otherwise left unchanged."""

import json
import os
import re
from dataclasses import asdict, replace

import pytest

import steepest
from steepest.report import file, page
from steepest.study.store import gate


@pytest.fixture(scope="module")
def study():
    return steepest.compare("digits", "sgd,adam", lrs=0.1, seeds=2, steps=5, store=":memory:")


@pytest.fixture(scope="module")
def whole(study):
    """The page, drawn once for all tests."""
    return page.text([study.data])


@pytest.fixture(autouse=True)
def drawn(whole, monkeypatch):
    """The data of every requested page."""
    asked = []
    monkeypatch.setattr(page, "text", lambda studies: asked.append(studies) or whole)
    return asked


@pytest.fixture
def report(study, drawn, tmp_path):
    path = study.report(tmp_path / "report.html")
    os.utime(path, (1, 1))
    drawn.clear()
    return path


def test_a_report_of_the_same_data_is_left_alone(study, report, drawn):
    kept = gate.study(json.loads(json.dumps(asdict(study.data))))  # as read from a store
    for again in (lambda: study.report(report), lambda: file.write([kept], report)):
        assert again() == report
        assert not drawn
        assert report.stat().st_mtime == 1


def test_the_digest_is_a_line_of_its_own_in_the_head_of_the_page(whole, report):
    lines = report.read_text().split("\n")
    assert re.fullmatch('<meta name="steepest-digest" content="[0-9a-f]{64}">', lines.pop(2))
    assert "\n".join(lines) == whole


EDITS = {
    "a word": lambda text: text.replace("Use ", "Do not use ", 1),
    "its first line": lambda text: text.replace("<!DOCTYPE html>", "<!doctype html>"),
    "its end": lambda text: text[:-1],
    "nothing but its head": lambda text: "\n".join(text.split("\n")[:3]),
    "a line more": lambda text: text + "\n",
    "its digest": lambda text: text.replace('digest" content="', 'digest" content="0', 1),
    "without a digest": lambda text: "\n".join(line for line in text.split("\n") if "steepest-digest" not in line),
    "nothing": lambda text: "",
    "another page": lambda text: "<!DOCTYPE html>\n<html>\n<p>mine</p>\n</html>\n",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=[*EDITS])
def test_a_report_that_was_edited_or_is_cut_short_is_drawn_again(study, report, drawn, edit):
    before = report.read_text()
    assert edit(before) != before
    report.write_text(edit(before))
    study.report(report)
    assert report.read_text() == before
    assert len(drawn) == 1


def test_bytes_that_are_no_text_are_written_over(study, report):
    before = report.read_bytes()
    report.write_bytes(b"\xff\xfe" + before)
    study.report(report)
    assert report.read_bytes() == before


def change_answer(data):
    return replace(data, answer=replace(data.answer, sentence=data.answer.sentence + "!"))


def change_value(data):
    first, *others = data.optimizers
    run = replace(first.runs[0], valid=[*first.runs[0].valid[:-1], first.runs[0].valid[-1] + 1e-6])
    return replace(data, optimizers=[replace(first, runs=[run, *first.runs[1:]]), *others])


@pytest.mark.parametrize("change", [change_answer, change_value])
def test_other_data_are_another_report(study, report, drawn, change):
    file.write([change(study.data)], report)
    file.write([study.data, study.data], report)
    assert len(drawn) == 2


def test_a_report_of_another_version_is_drawn_again(study, report, drawn, monkeypatch):
    monkeypatch.setattr(file, "version", lambda name: "0.0.0")
    study.report(report)
    assert len(drawn) == 1


def test_a_report_that_other_code_drew_is_drawn_again(study, report, drawn, monkeypatch, tmp_path):
    (tmp_path / "page.css").write_text("body{}")
    monkeypatch.setattr(file, "SOURCES", tmp_path)
    study.report(report)
    assert len(drawn) == 1
