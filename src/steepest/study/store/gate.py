"""Validate everything that is read from a store: the types of runs, looks and facts, and the functions that check them.

A store may come from someone else, so nothing in it is used before it is checked here: `decoded` for JSON, `row` for a row.
All raise `UnfitError` with the reason. SQLite itself accepts any type in any column, and JSON of any depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypedDict, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...training import recorder
from ...training.recorder import Curve
from .. import data
from ..scalars import (
    MOST,
    MOST_STEPS,
    Amount,
    Count,
    Name,
    Positive,
    Real,
    Scalar,
    Step,
    Steps,
    UnfitError,
    Words,
    expect,
    grow,
)

MOST_BYTES = 2**60
Result = Annotated[float, msgspec.Meta(ge=-recorder.LARGEST, le=recorder.LARGEST)]
Error = Annotated[float, msgspec.Meta(ge=0, le=recorder.LARGEST)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Key = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Time = Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}[T0-9:+.-]{0,30}$")]
Trials = Annotated[int, msgspec.Meta(ge=1, le=10_000)]  # rates of a grid
Way = Annotated[str, msgspec.Meta(pattern="^((one|processes)(:channels-last)?|one:compiled|many:[0-9]{1,9})$")]
Nested = Scalar | list[Scalar]
Made = Nested | dict[str, Nested]  # what made a run: a number or text, or settings, some of which are tuples
Unpacked = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]  # results of examples, and of resamples
Status = Literal["finished", "diverged", "failed", "no metric"]


class Row(TypedDict):
    """A row of the table `runs`, without key, blobs and JSON."""

    problem: Name
    optimizer: Name
    schedule: Name
    lr: Positive
    seed: Count
    steps: Steps
    status: Status
    valid: Result | None
    test: Result | None
    test_se: Error | None
    loss: Result | None
    diverged_at: Step | None
    seconds: Amount


class Counted(TypedDict):
    """Counts of a problem's runs in a store."""

    problem: Name
    runs: Count
    optimizers: Count
    diverged: Count
    failed: Count
    seconds: Amount
    last: Time


class AskedStudy(TypedDict):
    """The stored data of a study, with the question that it answers."""

    asked: tuple[Name, Count, bool]
    shown: dict[str, Any]


FACTS: dict[str, Any] = {
    "asked": dict[Name, Words | int | float | bool | None],
    "at once": Steps,
    "candidates": tuple[Name, list[Key]],
    "carried": Annotated[int, msgspec.Meta(ge=2, le=MOST)],
    "ended": Count,
    "finished": Count,
    "fingerprint": Name,
    "fit": tuple[Annotated[list[Name], msgspec.Meta(min_length=1)], Trials, bool, Words, Way | None],
    "first reports": list[Amount | Real | None],
    "grows": bool,
    "identity": Name,
    "later": bool,
    "notice": tuple[Name, Words, Name],  # what was trained, a sentence, and its code
    "operations": Amount,
    "question": tuple[Name, Name],
    "refined": Count,
    "repeats": bool,
    "steps": Steps,
    "steps to repeat": Count,
    "study": AskedStudy,
    "timing": Annotated[list[Amount], msgspec.Meta(min_length=2, max_length=2)],  # seconds of a step, bytes of state
    "way": Way,
}
"""The types of facts by name. A fact of another version may be any JSON."""


def decoded(text: object, kind: Any) -> Any:
    """Decode JSON to a type. Raises UnfitError for text that is not JSON, is nested too deeply, or has another type."""
    if not isinstance(text, str):
        raise UnfitError(f"it is {type(text).__name__}, not text")
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise UnfitError(f"it is not JSON of this kind: {' '.join(str(error).split())}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnfitError("it is not JSON") from error


def fact(what: str, text: object) -> Any:
    """The value of a fact. Raises UnfitError if it does not have the fact's type, or is inconsistent."""
    value = decoded(text, FACTS.get(what, Any))
    if what == "study":
        return value["asked"], study(value["shown"])
    if what == "timing":
        expect(0 < value[0] < MOST_STEPS and value[1] < MOST_BYTES, "no step takes that long, or has so much state")
    return value


def study(shown: dict[str, Any]) -> data.StudyData:
    """The data of a study, of this version or the previous one. Raises UnfitError if they are invalid."""
    try:
        made = msgspec.convert(shown if "version" in shown else upgraded(shown), data.StudyData)
    except (msgspec.ValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnfitError(f"it is not the data of a study: {' '.join(str(error).split())}") from error
    data.check(made)
    return made


def upgraded(shown: dict[str, Any]) -> dict[str, Any]:
    """Upgrade the data of a study from version 0, in which the answer had no pick and each trial was split in two lists."""
    old = shown["answer"]
    pick = {"name": old["optimizer"], "schedule": old["schedule"], "lr": old["lr"]}
    figure = (old["test"] and old["test"] | {"split": "test"}) or (old["fresh"] and old["fresh"] | {"split": "validation"})
    moved = {key: shown[key] for key in ("places", "looks", "details", "unit", "raced", "steps")}
    places = [place | {"label": place["label"].rpartition(" at ")[0]} for place in shown["places"]]
    answer = old | moved | {"places": places, "pick": pick if old["optimizer"] else None, "figure": figure}
    entries = []
    for entry in shown["optimizers"]:
        trials = [swept | trial for swept, trial in zip(entry["sweep"], entry["trials"], strict=True)]
        entries.append(entry | {"trials": trials})
    verdicts = [
        verdict | {"sentence": sentence, "beside": beside}
        for verdict, (_, sentence, beside) in zip(shown["verdicts"], shown["pairs"], strict=True)
    ]
    return shown | {"answer": answer, "optimizers": entries, "verdicts": verdicts}


def row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check a row of names and results. Raises UnfitError if a column has a value of another type."""
    for name in ("valid", "test", "test_se", "loss"):
        if not isinstance(values[name], float | int | None):
            raise UnfitError("one of its results is not a number")
    try:
        return cast(dict[str, Any], msgspec.convert(dict(values), Row))
    except msgspec.ValidationError as error:
        raise UnfitError(f"a column is not what it is for: {' '.join(str(error).split())}") from error


def curve(text: object) -> Curve:
    """A learning curve. Raises UnfitError unless its columns are numbers of one length, at increasing steps."""
    if isinstance(text, str):
        text = re.sub("-?(NaN|Infinity)", "null", text)  # written by versions before curves had gaps
    try:
        made = cast(Curve, decoded(text, Curve))
    except UnfitError as error:
        raise UnfitError("its curve is not a curve in JSON") from error
    if len({len(made.steps), len(made.train), len(made.valid), len(made.metric)}) > 1:
        raise UnfitError("its curve has columns of several lengths")
    if not grow(made.steps):
        raise UnfitError("the steps of its curve do not grow")
    return made


def spec(text: object) -> dict[str, Any]:
    """The spec of a run. Raises UnfitError if it is not a dictionary of plain values."""
    try:
        return cast(dict[str, Any], decoded(text, dict[str, Made]))
    except UnfitError as error:
        raise UnfitError("what made it is not JSON of plain values") from error


def examples(blob: object, unpack: Callable[[bytes | None], Unpacked]) -> Unpacked:
    """The results of examples, or of resamples of them. Raises UnfitError if they cannot be unpacked."""
    if not isinstance(blob, bytes | None):
        raise UnfitError("the results of its examples cannot be read")
    try:
        return unpack(blob)
    except ValueError as error:
        raise UnfitError("the results of its examples cannot be read") from error


def one(value: object, kind: Any, what: str) -> Any:
    """Check a single value. Raises UnfitError if it has another type than `kind`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UnfitError(f"{what} is {value!r:.60}") from error
