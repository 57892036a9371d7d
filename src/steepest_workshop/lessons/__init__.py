"""The documents that teach the subject, made again: what each prints, ours beside it, and whether it holds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from steepest.errors import SteepestError, unknown

# number of a document: its room, and what it is called
DOCUMENTS = {
    "000": ("assignment", "Optimizers (assignment)"),
    "001": ("tutorial", "Tutorial 03: Optimization and gradient descent (T. Daniel)"),
    "002": ("lab", "Lab 7: Optimization"),
    "003": ("slides", "Optimizers (slides; Cabrera, Errahmouni, Molins, Viladrich)"),
    "004": ("variants", "SGD variants on a noisy function; MNIST with Adam"),
}
TIERS = ("quick", "default", "full")
NOT_HERE = "not reproduced"


@dataclass(frozen=True)
class Row:
    """A printed quantity, ours, how far apart they may be, and whether that holds (None: it cannot be said, see `reason`).

    A claim in words has its words as `printed` and what was found as `ours`. `reason` says why a quantity is missed.
    """

    source: str
    quantity: str
    printed: float | str | None
    ours: float | str | None
    tolerance: float | str | None
    holds: bool | None
    reason: str = ""


def within(source: str, quantity: str, printed: float, ours: float | None, tolerance: float, reason: str = "") -> Row:
    """A row that holds where ours lies within the tolerance of what is printed."""
    holds = ours is not None and abs(ours - printed) <= tolerance * (1 + 1e-9)
    return Row(source, quantity, printed, ours, tolerance, holds, "" if holds else reason)


def between(source: str, quantity: str, printed: float, ours: float, low: float, high: float, reason: str = "") -> Row:
    """A row that holds where what is printed lies in a prediction interval of ours."""
    holds = low <= printed <= high
    return Row(source, quantity, printed, ours, f"{low:.6g} to {high:.6g}", holds, "" if holds else reason)


def claim(source: str, words: str, found: str, holds: bool | None, otherwise: str = "depends") -> Row:
    """A claim in words, what an experiment found, and whether it holds; where that is None, `otherwise` says what it is."""
    holds = None if holds is None else bool(holds)
    return Row(source, "claim", words, found, None, holds, {True: "", False: "does not hold", None: otherwise}[holds])


def agreed(parts: Iterable[bool]) -> bool | None:
    """True where all parts of a claim hold, False where none does, else None."""
    found = set(map(bool, parts))
    return None if len(found) > 1 else found.pop()


def spread(differences: ArrayLike, level: float = 0.05) -> tuple[float, float]:
    """The mean of paired differences, and half the width of its interval at confidence 1 - level (Student's t)."""
    found = np.asarray(differences, float)
    return float(found.mean()), float(stats.t.ppf(1 - level / 2, found.size - 1) * stats.sem(found))


def chosen(names: Sequence[str]) -> list[str]:
    """Documents by number or by room; "all" is every one."""
    rooms = {room: number for number, (room, _) in DOCUMENTS.items()}
    found: list[str] = []
    for name in names:
        if name == "all":
            return list(DOCUMENTS)
        if name not in DOCUMENTS and name not in rooms:
            raise unknown("document", name, [*DOCUMENTS, *rooms, "all"])
        found.append(rooms.get(name, name))
    return list(dict.fromkeys(found)) or list(DOCUMENTS)


def reproduce(name: str = "all", tier: str = "default", say: Callable[[str], None] = lambda words: None) -> list[Row]:
    """Every row of a document, or of all. `tier` is "quick", "default" or "full"; `say` hears of progress."""
    from steepest.problems.built_in.cifar10 import cifar10_resnet20

    if tier not in TIERS:
        raise SteepestError(f"The tier is {tier!r}; expected one of {', '.join(TIERS)}.")
    found: list[Row] = []
    for number in chosen([name]):
        room, title = DOCUMENTS[number]
        say(title)
        made, claims, residual = (_room(each) for each in (room, "claims", "residual"))
        hours = number == "001" and tier == "full"
        problem = cifar10_resnet20() if hours else None  # whose data may be missing: better now than in an hour
        found += made.rows(tier, say)
        found += [row for row in claims.on_surfaces() if row.source == number]
        if number == "001" and tier != "quick":
            found += claims.on_mnist(say)
        if hours:
            found += residual.rows(problem, say)
    return found


def _room(name: str) -> Any:
    return importlib.import_module(f".{name}", __name__)
