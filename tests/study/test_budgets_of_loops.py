"""Eight training programs, each compared for two minutes: what the answer rests on, and whether its pick holds."""

import math
from pathlib import Path

import pytest

import steepest
from steepest.training.loading import given, training_of
from steepest.training.stacked import Run

PROGRAMS = sorted((Path(__file__).parents[1] / "training" / "loops" / "looped").glob("*.py"))
FRESH = range(3_000_000, 3_000_005)  # seeds that no study uses
SHARED = 3  # full runs of each of two finalists on the same seeds
MARGINS = 5.0


def values(path, candidate, steps, lr):
    """The metric of a candidate at a rate on fresh seeds; minus or plus infinity for a run that diverged."""
    loop = given(str(path))
    training = training_of(loop, workers=2)
    worst = -math.inf if loop.direction == "max" else math.inf
    runs = [Run(candidate.rule, lr, seed, steps, candidate.multiplier, config=candidate.config) for seed in FRESH]
    try:
        outcomes = dict(training.train_all(runs, training.first_plan(2)))
    finally:
        training.close()
    return [worst if outcomes[k].valid is None else outcomes[k].valid for k in range(len(runs))]


@pytest.mark.slow
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_two_minutes_give_a_bound_or_name_the_limit_and_the_pick_holds_on_fresh_seeds(path, tmp_path):
    study = steepest.compare(str(path), budget="120s", store=tmp_path / "s.db")
    answer = study.answer()
    print(f"\n{path.stem}: {answer}")
    raced = sorted((len(entry.outcomes) for entry in study.result.entries), reverse=True)
    contenders = sorted((place.n for place in answer.places), reverse=True) or raced
    assert answer.pick is not None
    assert answer.fidelity == 1.0
    assert contenders[1] >= SHARED or "time" in " ".join(answer.lines)
    if answer.bound is None or answer.bound > MARGINS * answer.margin:
        assert any("time" in line or "runs" in line for line in answer.lines), answer.lines
    candidate = study.result.chosen.candidate
    steps = study.result.question.steps
    own = values(path, candidate, steps, candidate.lr)
    sign = 1.0 if study.data.direction == "max" else -1.0
    gains = []
    for factor in (0.1, 10.0):
        other = values(path, candidate, steps, factor * candidate.lr)
        gains.append(sign * (sum(own) - sum(other)) / len(own))
    print(f"ahead of a tenth and ten times the rate by {gains}, bound {answer.bound}")
    assert max(gains) > (answer.bound or 0.0)


def test_there_are_eight_programs():
    assert len(PROGRAMS) == 8
