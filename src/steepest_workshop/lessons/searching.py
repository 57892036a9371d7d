"""What document 001 says of one optimum and of many: convex, unimodal and multimodal surfaces, and what searches assume."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steepest import surfaces
from steepest.paths.loop import formula_of, trajectory
from steepest.rules import get
from steepest.surfaces import Surface, optimality

from . import Row, claim, shares

Array = NDArray[np.float64]
CONVEX = (
    "bowl",
    "booth",
    "valley",
    "x**4 + y**4 + x*y + x**2 + y**2",
    "exp(x+y) + exp(x-y) + exp(-x)",
    "sqrt(1 + x**2 + y**2)",
)
UNIMODAL = ("rosenbrock", "plateau", "1 - exp(-(x**2 + 2*y**2)/20)", "log(1 + x**2 + 3*y**2)")  # and not convex
MULTIMODAL = ("rastrigin", "styblinski_tang", "six_hump_camel")
SCIPY = ("Nelder-Mead", "Powell", "CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP")  # of scipy.optimize.minimize
OURS = {"sgd": 0.001, "momentum": 0.001, "rmsprop": 0.01, "adam": 0.05}
STARTS, STEPS = 8, 6000
NEAR = 1e-2  # of the height that a search goes down at the start: as near as a contour plot shows


def rows() -> Iterator[Row]:
    """Convex surfaces have one optimum; what has one is still easy, and most searches count on it."""
    yield single(CONVEX)
    found = searched()
    yield easy(found)
    yield assumed(found)


def single(names: Sequence[str]) -> Row:
    """How many minima the surfaces have that are proved or found to be convex."""
    counts = {}
    for name in names:
        surface = surfaces.get(name)
        if optimality.convexity(surface)[0] is not False:
            counts[name] = sum(point.kind == "minimum" for point in optimality.stationary(surface))
    several = [name for name, count in counts.items() if count > 1]
    waves = sum(point.kind == "minimum" for point in optimality.stationary(surfaces.get("styblinski_tang")))
    words = f"of {len(counts)} convex surfaces {len(several)} have several minima; styblinski_tang, not convex, has {waves}"
    return claim("001", "convex functions are unimodal", words, not several if counts else None)


@functools.cache
def searched() -> dict[str, tuple[float, float]]:
    """The share of starts from which each search finds the global minimum: of surfaces with one, and with many."""
    return {name: (_share(search, UNIMODAL), _share(search, MULTIMODAL)) for name, search in _searches().items()}


def _searches() -> Mapping[str, Callable[[Surface, Array], Array]]:
    ours = {name: functools.partial(_stepped, name, lr) for name, lr in OURS.items()}
    return {**{name: functools.partial(_scipys, name) for name in SCIPY}, **ours}


def _scipys(method: str, surface: Surface, start: Array) -> Array:
    from scipy.optimize import minimize  # half a second to import

    more: dict[str, Any] = {} if method in ("Nelder-Mead", "Powell") else {"jac": surface.gradient}
    with np.errstate(all="ignore"):
        return np.asarray(minimize(surface.value, start, method=method, **more).x)  # type: ignore[call-overload]


def _stepped(name: str, lr: float, surface: Surface, start: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(trajectory(get(name), formula_of(surface), start, STEPS, lr=lr)[0][-1])


def _share(search: Callable[[Surface, Array], Array], names: Sequence[str]) -> float:
    """Of starts spread over the surfaces' domains, the share from which a search ends at the lowest height."""
    hits = []
    for name in names:
        surface = surfaces.get(name)
        low, high = np.array(surface.domain, float).T
        starts = low + (high - low) * np.random.default_rng(0).random((STARTS, len(low)))
        least = _least(name)
        for start in starts:
            end = float(surface.value(search(surface, start)))
            hits.append(end - least <= NEAR * (float(surface.value(start)) - least))
    return float(np.mean(hits))


@functools.cache
def _least(name: str) -> float:
    """The lowest height of a surface."""
    return min(point.value for point in optimality.stationary(surfaces.get(name)))


def easy(found: Mapping[str, tuple[float, float]]) -> Row:
    """Whether what has one minimum, convex or not, is found from most starts."""
    shares_of = sorted(one for one, _ in found.values())
    words = f"on {len(UNIMODAL)} surfaces with one minimum that are not convex, {len(found)} searches find it from "
    words += f"{shares_of[0]:.0%} to {shares_of[-1]:.0%} of {STARTS} starts each: " + _listed(found, 0)
    usually = float(np.mean([one >= shares.MOST for one in shares_of]))
    holds = True if usually > 0.5 else False if usually < 0.5 else None
    return claim("001", "unimodal functions that are not convex are usually still easy to optimize", words, holds)


def assumed(found: Mapping[str, tuple[float, float]]) -> Row:
    """Whether most searches find a single minimum and miss the lowest of several."""
    counting = [name for name, (one, many) in found.items() if one >= shares.MOST > many]
    words = (
        f"{len(counting)} of {len(found)} searches find a single minimum from at least {shares.MOST:.0%} of the starts and the "
    )
    words += f"lowest of several from fewer: {_listed(found, 1)} on {len(MULTIMODAL)} surfaces with several"
    share = len(counting) / len(found)
    return claim(
        "001", "most searches assume a unimodal surface", words, True if share > 0.5 else False if share < 0.5 else None
    )


def _listed(found: Mapping[str, tuple[float, float]], which: int) -> str:
    return ", ".join(f"{name} {both[which]:.0%}" for name, both in found.items())
