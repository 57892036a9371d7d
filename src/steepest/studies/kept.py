"""Types of all that is read back from a store: runs, looks, facts and the data of reports.

A store may come from elsewhere, so nothing in it is used before it passed here: `decoded` for JSON, `checked` for a row. Both
raise `UnfitError` with what is wrong. SQLite itself keeps any type in any column, and JSON any depth.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..training import recorder
from ..training.recorder import Curve

LARGEST = 1.7976931348623157e308  # of floats that are finite
MOST = 2**63 - 1  # of whole numbers
MOST_STEPS = 10**12
MOST_BYTES = 2**60

Name = Annotated[str, msgspec.Meta(max_length=2_000)]
Words = Annotated[str, msgspec.Meta(max_length=20_000)]
# An integer in place of a real number stays one, so that what is read back is what was written.
Real = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
Result = Annotated[float, msgspec.Meta(ge=-recorder.LARGEST, le=recorder.LARGEST)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)] | Annotated[int, msgspec.Meta(gt=0, le=MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)] | Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Steps = Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS)]
Step = Annotated[int, msgspec.Meta(ge=0, le=MOST_STEPS)]
Key = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Time = Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}[T0-9:+.-]{0,30}$")]
Trials = Annotated[int, msgspec.Meta(ge=1, le=10_000)]  # rates
Way = Annotated[str, msgspec.Meta(pattern="^((one|processes)(:channels-last)?|one:compiled|many:[0-9]{1,9})$")]
Scalar = str | int | float | bool | None
Setting = Scalar | list[Scalar] | dict[str, Scalar]
Status = Literal["finished", "diverged", "failed", "no metric"]


class UnfitError(ValueError):
    """Data that were read back are not what is written there."""


class Row(TypedDict):
    """A row of the table `runs`, without its key, its blobs and JSON."""

    problem: Name
    optimizer: Name
    schedule: Name
    lr: Positive
    seed: Count
    steps: Steps
    status: Status
    valid: Result | None
    test: Result | None
    loss: Result | None
    diverged_at: Step | None
    seconds: Amount


class Counted(TypedDict):
    """How many runs of a problem a store has."""

    problem: Name
    runs: Count
    optimizers: Count
    diverged: Count
    failed: Count
    seconds: Amount
    last: Time


class Asked(TypedDict):
    """What a study was asked on the command line; options that are missing are the defaults."""

    problem: Name
    optimizers: NotRequired[Words]
    schedules: NotRequired[Words]
    lrs: NotRequired[Words]
    trials: NotRequired[Steps]
    seeds: NotRequired[Steps | None]
    steps: NotRequired[Steps | None]
    margin: NotRequired[Amount | None]
    device: NotRequired[Literal["cpu", "cuda"]]
    plan: NotRequired[Name]
    memory: NotRequired[Name | None]


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


class AskedStudy(TypedDict):
    """A study in the store, under what was asked."""

    asked: tuple[Name, Count, bool]
    shown: Study


FACTS: dict[str, Any] = {
    "asked": Asked,
    "at once": Steps,
    "candidates": tuple[Name, list[Key]],
    "carried": Annotated[int, msgspec.Meta(ge=2, le=MOST)],
    "ended": Count,
    "finished": Count,
    "fingerprint": Name,
    "fit": tuple[Annotated[list[Name], msgspec.Meta(min_length=1)], Trials, bool, Words, Way | None],
    "grows": bool,
    "identity": Name,
    "later": bool,
    "operations": Amount,
    "question": tuple[Name, Name],
    "repeats": bool,
    "steps": Steps,
    "steps to repeat": Count,
    "study": AskedStudy,
    "timing": Annotated[list[Amount], msgspec.Meta(min_length=2, max_length=2)],  # seconds of a step, bytes of state
    "way": Way,
}
"""The types of facts by their names. One of another version is any JSON."""


def decoded(text: object, kind: Any) -> Any:
    """JSON as a value of a type; UnfitError for text that is no JSON, nested too deep, or of another type."""
    if not isinstance(text, str):
        raise UnfitError(f"it is {type(text).__name__}, not text")
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise UnfitError(f"it is not JSON of this kind: {' '.join(str(error).split())}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnfitError("it is not JSON") from error


def fact(what: str, text: object) -> Any:
    """The value of a fact; UnfitError where it is not of the fact's type, or contradicts itself."""
    value = decoded(text, FACTS.get(what, Any))
    if what == "study":
        _check_study(value["shown"])
    if what == "timing":
        _expect(0 < value[0] < MOST_STEPS and value[1] < MOST_BYTES, "no step takes that long, or has so much state")
    return value


def row(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of names and results; UnfitError where a column has a value of another type."""
    for name in ("valid", "test", "loss"):
        if not isinstance(values[name], float | int | None):
            raise UnfitError("one of its results is not a number")
    try:
        return cast(dict[str, Any], msgspec.convert(dict(values), Row))
    except msgspec.ValidationError as error:
        raise UnfitError(f"a column is not what it is for: {' '.join(str(error).split())}") from error


def curve(text: object) -> Curve:
    """A learning curve; UnfitError where its columns are not numbers, of one length, at growing steps."""
    if isinstance(text, str):
        text = re.sub("-?(NaN|Infinity)", "null", text)  # of versions before curves had gaps
    try:
        made = cast(Curve, decoded(text, Curve))
    except UnfitError as error:
        raise UnfitError("its curve is not a curve in JSON") from error
    if len({len(made.steps), len(made.train), len(made.valid), len(made.metric)}) > 1:
        raise UnfitError("its curve has columns of several lengths")
    if not _grow(made.steps):
        raise UnfitError("the steps of its curve do not grow")
    return made


def spec(text: object) -> dict[str, Any]:
    """What made a run itself; UnfitError where it is no dictionary of plain values."""
    try:
        return cast(dict[str, Any], decoded(text, dict[str, Setting]))
    except UnfitError as error:
        raise UnfitError("what made it is not JSON of plain values") from error


def examples(blob: object, unpack: Callable[[bytes | None], NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """The results of examples; UnfitError where they cannot be unpacked."""
    if not isinstance(blob, bytes | None):
        raise UnfitError("the results of its examples cannot be read")
    try:
        return unpack(blob)
    except ValueError as error:
        raise UnfitError("the results of its examples cannot be read") from error


def one(value: object, kind: Any, what: str) -> Any:
    """A single value of a type; UnfitError for another."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UnfitError(f"{what} is {value!r:.60}") from error


def _check_study(shown: Study) -> None:
    """UnfitError where lists that belong together have several lengths, or something points at nothing."""
    for entry in shown["optimizers"]:
        _expect(len(entry["values"]) == len(entry["seeds"]), "values and seeds differ in number")
        _expect(entry["lr"] is not None or not (entry["values"] or entry["runs"]), "it has values at no rate")
        for trial in entry["trials"]:
            _expect(len(trial["values"]) == len(trial["diverged_at"]), "values and seeds of a rate differ in number")
        for run in entry["runs"]:
            lengths = {len(run["steps"]), len(run["train"]), len(run["valid"]), len(run["metric"])}
            _expect(len(lengths) == 1, "a curve has columns of several lengths")
            _expect(_grow(run["steps"]), "the steps of a curve do not grow")
    recorded = shown.get("recorded")
    if recorded:
        for inside in recorded["insides"]:
            columns = [inside["gradient"], inside["ratio"], inside["effective"], inside["cosine"], *inside["state"].values()]
            _expect({*map(len, columns)} == {len(inside["steps"])}, "what was recorded differs in number")
            _expect(len(inside["outputs"]) in (0, len(inside["steps"])), "recorded outputs differ in number")
        drawn, images = recorded["landscape"], recorded["examples"]
        if drawn:
            _expect({*map(len, drawn["losses"])} == {len(drawn["x"])}, "the rows of a landscape differ in length")
            _expect(len(drawn["losses"]) == len(drawn["y"]), "a landscape has another number of rows")
            counts = {len(drawn["paths"]), len(drawn["shown"]), len(drawn["apart"]), len(recorded["insides"])}
            _expect(len(counts) == 1, "the paths of a landscape differ in number")
            points = zip(drawn["paths"], drawn["apart"], strict=True)
            _expect(all(len(path) == len(apart) for path, apart in points), "the points of a path differ in number")
        if images:
            first = recorded["insides"][0]["outputs"]
            _expect(all(len(classes) >= len(images["watched"]) for classes in first), "an image that was watched has no class")


def _grow(steps: list[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(steps))


def _expect(holds: bool, fault: str) -> None:
    if not holds:
        raise UnfitError(fault)
