"""The examples of trainers inside a training function: each is compared for a few steps."""

from pathlib import Path

import pytest

import steepest

EXAMPLES = Path(__file__).parents[2] / "examples" / "loops"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("with_*.py")), ids=lambda path: path.stem)
def test_a_trainer_inside_a_loop_is_compared(path):
    steps = None if "accelerate" in path.name else 12  # it trains for epochs
    study = steepest.compare(str(path), "sgd,adam", lrs=0.05, seeds=1, steps=steps, workers=2, store=":memory:")
    assert {entry.candidate.space.name for entry in study.result.entries} == {"sgd", "adam"}
    for entry in study.result.entries:
        (outcome,) = entry.outcomes
        assert 0 <= outcome.valid <= 100
        assert len(outcome.curve.train) > 1
        assert entry.seconds_per_step > 0
    values = {entry.candidate.space.name: entry.outcomes[0].curve.train[-1] for entry in study.result.entries}
    assert values["sgd"] != values["adam"]  # the candidate's optimizer trained
    assert not any("scheduler" in note or "report" in note for note in study.result.notes)
