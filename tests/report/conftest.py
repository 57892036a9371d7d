"""The race that the tests of the page and of its pictures read."""

import pytest

import steepest


@pytest.fixture(scope="session")
def raced(tmp_path_factory):
    """A recorded race on digits, its report and its store; no test changes them."""
    folder = tmp_path_factory.mktemp("raced")
    asked = {"steps": 100, "trials": 3, "budget": "60s", "margin": 2.0, "search": "rate", "record": True}
    study = steepest.compare("digits", "sgd,momentum,adam", store=folder / "runs.db", **asked)
    return study, study.report(folder / "report.html"), folder / "runs.db"
