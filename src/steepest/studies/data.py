"""The data of a study as types: what the store keeps of it and a report reads, each number and text within bounds."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

LARGEST = 1.7976931348623157e308  # of floats that are finite
MOST = 2**63 - 1  # of whole numbers
MOST_STEPS = 10**12

Name = Annotated[str, msgspec.Meta(max_length=2_000)]
Words = Annotated[str, msgspec.Meta(max_length=20_000)]
# An integer in place of a real number stays one, so that what is read back is what was written.
Real = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)] | Annotated[int, msgspec.Meta(gt=0, le=MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Steps = Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS)]
Step = Annotated[int, msgspec.Meta(ge=0, le=MOST_STEPS)]
Scalar = str | int | float | bool | None
Setting = Scalar | list[Scalar] | dict[str, Scalar]


class UnfitError(ValueError):
    """Data that were read back are not what is written there."""


class Named(TypedDict):
    """A candidate of an answer."""

    name: Name
    schedule: Name
    lr: Positive


class Rejected(Named):
    """A candidate that collapsed too often."""

    collapsed: Count
    of: Count


class Possible(Named):
    """A candidate that may be the best still."""

    ahead_at_most: Real | None
    status: NotRequired[Words]


class Measure(Named):
    """Who is the best by another measure."""

    measure: Name
    value: Real
    pick: Real


class Collapse(TypedDict):
    """How many runs of the pick collapsed."""

    seen: Count
    of: Count
    at_most: Real | None
    status: NotRequired[Words]


class Mean(TypedDict):
    """A mean over fresh seeds."""

    mean: Real
    se: Real | None
    n: Count
    status: NotRequired[Words]


class Axis(TypedDict):
    """What is known along one axis."""

    name: Name
    low: Real | None
    high: Real | None
    cost_under: Real | None
    edge: bool
    status: NotRequired[Words]


class Cheaper(Named):
    """A candidate near the best with less state."""

    at_most: Real
    state: Real


class Longer(Named):
    """What the pick and the next came to in longer runs."""

    steps: Steps
    seeds: Count
    ahead: Real | None
    status: NotRequired[Words]


class Answer(TypedDict):
    """The answer of a study."""

    optimizer: Name | None
    schedule: Name | None
    lr: Positive | None
    hyper: dict[str, Setting]
    bound: Real | None
    bound_new_data: Real | None
    confidence: Real
    compared: Count
    possible: list[Possible]
    ruled_out: list[Named]
    rejected: list[Rejected]
    not_followed: Count
    limit: Name
    margin: Amount | None
    seconds_to_margin: Real | None
    collapse: Collapse
    beside: list[Measure]
    test: Mean | None
    fresh: Mean | None
    fidelity: NotRequired[Real | None]
    repeats: NotRequired[bool | None]
    axes: NotRequired[list[Axis]]
    cheaper: NotRequired[Cheaper | None]
    longer: NotRequired[Longer | None]
    saturated: NotRequired[bool]
    question: Count
    sentence: Words
    status: NotRequired[Words]


class Swept(TypedDict):
    """A rate of the sweep, as `compare --json` has it."""

    lr: Positive
    values: list[Real | None]
    diverged: Count
    status: NotRequired[Words]
    why: NotRequired[Words]


class Trial(TypedDict):
    """A rate of the sweep, as a picture shows it."""

    lr: Positive
    values: list[Real | None]
    diverged_at: list[Step | None]
    seen: NotRequired[Step | None]


class Run(TypedDict):
    """The curve of a run."""

    steps: list[Step]
    train: list[Real | None]
    valid: list[Real | None]
    metric: list[Real | None]
    diverged_at: Step | None


class Entry(TypedDict):
    """A candidate of a study."""

    name: Name
    schedule: Name
    lr: Positive | None
    hyper: dict[str, Setting]
    lr_at_edge: bool
    seeds: list[Count]
    values: list[Real | None]
    mean: Real | None
    se: Real | None
    diverged: Count
    seconds_per_step: Amount
    state_bytes: Count
    loss: NotRequired[Real | None]
    sweep: list[Swept]
    status: NotRequired[Words]
    why: NotRequired[Words]
    fidelity: NotRequired[Real | None]
    label: Name
    variant: Count
    evaluations: Steps
    length: Steps
    multipliers: Annotated[list[tuple[Step, Real]], msgspec.Meta(min_length=1)]
    runs: list[Run]
    trials: list[Trial]


class Verdict(TypedDict):
    """The verdict on a pair."""

    a: Name
    b: Name
    difference: Real | None
    low: Real | None
    high: Real | None
    p: Real | None
    probability: Real | None
    verdict: Name
    seeds_needed: Count | None
    status: NotRequired[Words]


class Place(Named):
    """How a candidate stands in a race."""

    label: Name
    standing: Literal["pick", "possible", "ruled out"]
    at_least: Real
    at_most: Real | None
    n: Count
    mean: Real | None


class Look(TypedDict):
    """What was known at a time of a race."""

    runs: Count
    seconds: Amount
    pick: Name
    bound: Amount | None
    seeds: dict[str, Count]


class Inside(TypedDict):
    """What was recorded inside a run."""

    label: Name
    name: Name
    schedule: Name
    lr: Positive
    steps: Annotated[list[Step], msgspec.Meta(min_length=1)]
    gradient: list[Amount]
    ratio: list[Amount]
    effective: list[Amount]
    cosine: list[Real]
    state: dict[str, list[Amount]]
    outputs: list[list[Count]]


class Landscape(TypedDict):
    """The loss on a plane."""

    x: Annotated[list[Real], msgspec.Meta(min_length=2)]
    y: Annotated[list[Real], msgspec.Meta(min_length=2)]
    losses: list[list[Real | None]]
    paths: list[Annotated[list[tuple[Real, Real]], msgspec.Meta(min_length=1)]]
    shown: list[Real]
    apart: list[list[bool]]


class Image(TypedDict):
    """An example that is an image."""

    image: str  # an address, which a page shows where it is a PNG
    target: int
    index: NotRequired[Count]


class Examples(TypedDict):
    """Examples that were watched, and those that all seeds got wrong."""

    watched: list[Image]
    errors: list[Image]
    wrong: Count
    seeds: Count
    of: Count


class Recorded(TypedDict):
    """What was recorded of the first two."""

    insides: Annotated[list[Inside], msgspec.Meta(min_length=1, max_length=2)]
    landscape: Landscape | None
    bound: Positive | None
    examples: Examples | None


class Versions(TypedDict):
    """Versions that a study ran with."""

    steepest: Name
    torch: Name
    numpy: NotRequired[Name]
    python: NotRequired[Name]


class Study(TypedDict):
    """What a report shows of a study: the dictionary of `compare --json`, and beside it what only pictures need."""

    problem: Name
    metric: Name
    direction: Literal["min", "max"]
    steps: Steps
    device: Name
    versions: Versions
    answer: Answer
    batch_size: NotRequired[Setting]
    optimizers: Annotated[list[Entry], msgspec.Meta(min_length=1, max_length=1_000)]
    verdicts: list[Verdict]
    about: Words
    batches: NotRequired[Words]
    in_points: bool
    optimum: tuple[Real, Words] | None
    split: Name
    raced: bool
    details: list[Words]
    unit: Name
    places: list[Place]
    looks: list[Look]
    table: tuple[list[Words], list[list[Words]]]
    pairs: list[tuple[Words, Words, Words]]
    code: Words
    protocol: Words
    notes: list[Words]
    ran: Name
    command: Words
    recorded: NotRequired[Recorded]


def check(shown: Study) -> None:
    """UnfitError where lists that belong together have several lengths, or something points at nothing."""
    for entry in shown["optimizers"]:
        expect(len(entry["values"]) == len(entry["seeds"]), "values and seeds differ in number")
        expect(entry["lr"] is not None or not (entry["values"] or entry["runs"]), "it has values at no rate")
        for trial in entry["trials"]:
            expect(len(trial["values"]) == len(trial["diverged_at"]), "values and seeds of a rate differ in number")
        for run in entry["runs"]:
            lengths = {len(run["steps"]), len(run["train"]), len(run["valid"]), len(run["metric"])}
            expect(len(lengths) == 1, "a curve has columns of several lengths")
            expect(grow(run["steps"]), "the steps of a curve do not grow")
    recorded = shown.get("recorded")
    if recorded:
        for inside in recorded["insides"]:
            columns = [inside["gradient"], inside["ratio"], inside["effective"], inside["cosine"], *inside["state"].values()]
            expect({*map(len, columns)} == {len(inside["steps"])}, "what was recorded differs in number")
            expect(len(inside["outputs"]) in (0, len(inside["steps"])), "recorded outputs differ in number")
        drawn, images = recorded["landscape"], recorded["examples"]
        if drawn:
            expect({*map(len, drawn["losses"])} == {len(drawn["x"])}, "the rows of a landscape differ in length")
            expect(len(drawn["losses"]) == len(drawn["y"]), "a landscape has another number of rows")
            counts = {len(drawn["paths"]), len(drawn["shown"]), len(drawn["apart"]), len(recorded["insides"])}
            expect(len(counts) == 1, "the paths of a landscape differ in number")
            points = zip(drawn["paths"], drawn["apart"], strict=True)
            expect(all(len(path) == len(apart) for path, apart in points), "the points of a path differ in number")
        if images:
            first = recorded["insides"][0]["outputs"]
            expect(all(len(classes) >= len(images["watched"]) for classes in first), "an image that was watched has no class")


def grow(steps: list[int]) -> bool:
    """Whether each is larger than the one before."""
    return all(a < b for a, b in itertools.pairwise(steps))


def expect(holds: bool, fault: str) -> None:
    """Raise UnfitError with a fault unless it holds."""
    if not holds:
        raise UnfitError(fault)
