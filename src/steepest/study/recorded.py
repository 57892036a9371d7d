"""Measurements recorded inside a run of the first two candidates, for the report: typed data and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from .scalars import Amount, Count, Name, Positive, Real, Step, expect


@dataclass(frozen=True, kw_only=True)
class Inside:
    """Measurements inside a run, at each of `steps`."""

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


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """The loss on a plane, and paths projected onto it."""

    x: Annotated[list[Real], msgspec.Meta(min_length=2)]
    y: Annotated[list[Real], msgspec.Meta(min_length=2)]
    losses: list[list[Real | None]]
    paths: list[Annotated[list[tuple[Real, Real]], msgspec.Meta(min_length=1)]]
    shown: list[Real]
    apart: list[list[bool]]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A validation example that is an image; `image` is its data URL, which a page shows only if it is a PNG."""

    image: str
    target: int
    index: Count | None = None


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples whose predictions were followed, and examples that all seeds got wrong."""

    watched: list[Image]
    errors: list[Image]
    wrong: Count
    seeds: Count
    of: Count


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The recordings of the first two candidates."""

    insides: Annotated[list[Inside], msgspec.Meta(min_length=1, max_length=2)]
    landscape: Landscape | None
    bound: Positive | None
    examples: Examples | None


def check_recorded(recorded: Recorded) -> None:
    """Raise UnfitError if lists that belong together differ in length."""
    for inside in recorded.insides:
        columns = [inside.gradient, inside.ratio, inside.effective, inside.cosine, *inside.state.values()]
        expect({*map(len, columns)} == {len(inside.steps)}, "what was recorded differs in number")
        expect(len(inside.outputs) in (0, len(inside.steps)), "recorded outputs differ in number")
    drawn, images = recorded.landscape, recorded.examples
    if drawn:
        expect({*map(len, drawn.losses)} == {len(drawn.x)}, "the rows of a landscape differ in length")
        expect(len(drawn.losses) == len(drawn.y), "a landscape has another number of rows")
        counts = {len(drawn.paths), len(drawn.shown), len(drawn.apart), len(recorded.insides)}
        expect(len(counts) == 1, "the paths of a landscape differ in number")
        points = zip(drawn.paths, drawn.apart, strict=True)
        expect(all(len(path) == len(apart) for path, apart in points), "the points of a path differ in number")
    if images:
        first = recorded.insides[0].outputs
        expect(all(len(classes) >= len(images.watched) for classes in first), "an image that was watched has no class")
