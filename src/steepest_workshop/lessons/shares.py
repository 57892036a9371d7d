"""Comparisons on surfaces in many settings: a verdict that hangs on one rate, start or direction of the axes is none."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from steepest import surfaces
from steepest.paths.descent import descend
from steepest.rules import RACE, get

from . import Row, claim

TURNS = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0)  # degrees; by 90 only the coordinates' names change
UNTURNED = ("sgd", "momentum", "nesterov")  # which do not feel a turn: for them each setting counts once
HALF = TURNS[:4]  # of a saddle, which looks the same from all four sides
RATES = (0.01, 0.02, 0.05, 0.1)  # at the saddle, where nothing bounds a search for the best; each for all rules alike
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # how far beside the ridge a path starts
CONDITIONS = (10.0, 50.0, 200.0)  # of valleys
STARTS = ((-4.5, 1.2), (-4.5, 0.1), (-1.0, 1.8))  # far along, on the floor, on the wall
LEFT = 1.5  # from the saddle, which paths begin 1 from: a circle, so that turning alone changes nothing
PATIENCE = 400  # steps after which a path is said to stay
STEPS = 150  # in a valley
# From this share of the settings on a sentence holds, and up to the rest of it does not: a reader who tries ten settings meets
# one exception at most
MOST = 0.9
ADAPTIVE = ("adagrad", "rmsprop", "adam")
FASTER = "momentum almost always converges faster than descent"
BETTER = "Nesterov's momentum works slightly better than standard momentum"
Found = tuple[dict[str, float], ...]


@functools.cache
def leaving() -> Found:
    """The step at which each of the race has left the saddle, for every turn, distance from the ridge, and rate."""
    found = []
    for turn, ridge in itertools.product(HALF, RIDGES):
        surface = replace(surfaces.get("saddle"), start=(1.0, ridge))
        whole = surface.turned(turn)
        for rate in (*RATES, None):
            lrs = {name: rate or surface.rates.get(name, surface.rates[""]) for name in RACE}
            paths = descend(whole, [get(name) for name in RACE], whole.start, PATIENCE, lrs).paths
            away = {path.name: np.linalg.norm(np.nan_to_num(path.points, nan=np.inf), axis=1) > LEFT for path in paths}
            found.append({name: float(far.argmax() if far.any() else PATIENCE + 1) for name, far in away.items()})
    return tuple(found)


@functools.cache
def ending() -> Found:
    """The height that each of the race ends at in a valley at its best rate, for every turn, condition and start."""
    found = []
    for turn, condition in itertools.product(TURNS, CONDITIONS):
        surface = surfaces.get(f"valley(condition={condition})")
        for start in STARTS:
            whole = replace(surface, start=start).turned(turn)
            paths = descend(whole, [get(name) for name in RACE], whole.start, STEPS, {}).paths
            found.append({path.name: float(path.values[-1]) for path in paths})
    return tuple(found)


def share(found: Iterable[Mapping[str, float]], holds: Callable[[Mapping[str, float]], bool]) -> float:
    """In which share of the settings it holds."""
    verdicts = [holds(one) for one in found]
    return sum(verdicts) / len(verdicts)


def verdict(shares: Iterable[float]) -> bool | None:
    """True where each share is at least MOST, False where none is more than the rest, else None."""
    parts = list(shares)
    return True if min(parts) >= MOST else False if max(parts) <= 1 - MOST + 1e-9 else None


def against(name: str, others: Collection[str], found: Found, where: str, sentence: str, source: str) -> Row:
    """A sentence that `name` needs more, or ends higher, than each of the others: in which share of the settings it does."""
    if {name, *others} <= set(UNTURNED):
        found = found[: len(found) // (len(HALF) if where == SADDLE else len(TURNS))]
    shares = {other: share(found, lambda one, other=other: one[name] > one[other]) for other in others}  # type: ignore[misc]
    listing = ", ".join(f"{other} in {part:.0%}" for other, part in shares.items())
    words = f"{where} ({len(found)} settings) {name} is behind {listing}"
    return claim(source, sentence, words, verdict(shares.values()), "depends on the setting")


SADDLE = "over four turns, four distances from the ridge, and five rates"
VALLEY = "over six turns, three conditions and three starts, each at its best rate,"


def rows() -> Iterable[Row]:
    """The claims of the documents about races at a saddle and in valleys."""
    for name in ("sgd", "momentum"):
        yield against(name, ADAPTIVE, leaving(), SADDLE, f"{name} is stuck at the saddle point", "002")
        yield against(name, ADAPTIVE, ending(), VALLEY, f"{name} converges slower", "002")
    yield against("sgd", ["rmsprop"], leaving(), SADDLE, "at a saddle SGD gets stuck while RMSprop proceeds", "001")
    yield against("sgd", ["momentum"], ending(), VALLEY, f"{FASTER} (in valleys)", "001")
    yield against("momentum", ["nesterov"], ending(), VALLEY, f"{BETTER} (in valleys)", "001")
    yield against("sgd", ["rmsprop"], ending(), VALLEY, "RMSprop can take larger steps and converges faster", "003")
