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

# number of a document: its module, and what it is called
DOCUMENTS = {
    "000": ("assignment", "Optimizers (assignment)"),
    "001": ("tutorial", "Tutorial 03: Optimization and gradient descent (T. Daniel)"),
    "002": ("lab", "Lab 7: Optimization"),
    "003": ("slides", "Optimizers (slides; Cabrera, Errahmouni, Molins, Viladrich)"),
    "004": ("variants", "SGD variants on a noisy function; MNIST with Adam"),
}
TIERS = ("quick", "default", "full")
NOT_HERE = "not reproduced"
FORMULA = "the formula"  # what is printed, of a row that is a formula
ON_EDGE = "a best setting lies on its grid's edge"
# What a sentence's words of size mean here. "Much", "stuck", "freezes": a decade, which is seen on any logarithmic axis and
# which a rate's second digit does not make. "Like", "about": less than a factor of two, which it does.
MUCH, ALIKE = 10.0, 2.0


@dataclass(frozen=True)
class Row:
    """A printed quantity, ours, how far apart they may be, and whether that holds (None: it cannot be said, see `reason`).

    A claim in words has its words as `printed` and its experiment's outcome as `ours`. `reason` says why a quantity is missed.
    `power` says what a row is worth, one of `power.KINDS`; `alike` names what else it holds for, of a row that is "consistent";
    rows with one `same` are one comparison.
    """

    source: str
    quantity: str
    printed: float | str | None
    ours: float | str | None
    tolerance: float | str | None
    holds: bool | None
    reason: str = ""
    power: str = ""
    alike: str = ""
    same: str = ""


def close_to(
    source: str, quantity: str, printed: float, ours: float | None, tolerance: float, reason: str = "", power: str = ""
) -> Row:
    """A row that holds where ours differs from what is printed by no more than the tolerance."""
    holds = ours is not None and abs(ours - printed) <= tolerance * (1 + 1e-9)
    return Row(source, quantity, printed, ours, tolerance, holds, "" if holds else reason, power)


def between(source: str, quantity: str, printed: float, ours: float, low: float, high: float, reason: str = "") -> Row:
    """A row that holds where what is printed lies in a prediction interval of ours."""
    holds = low <= printed <= high
    return Row(source, quantity, printed, ours, f"{low:.6g} to {high:.6g}", holds, "" if holds else reason)


def claim(source: str, words: str, outcome: str, holds: bool | None, otherwise: str = "depends", power: str = "") -> Row:
    """A claim in words, the outcome of an experiment, and whether it holds; where that is None, `otherwise` says what it is."""
    holds = None if holds is None else bool(holds)
    reason = {True: "", False: "does not hold", None: otherwise}[holds]
    return Row(source, "claim", words, outcome, None, holds, reason, power)


def agreed(parts: Iterable[bool]) -> bool | None:
    """True where all parts of a claim hold, False where none does, else None."""
    verdicts = set(map(bool, parts))
    return None if len(verdicts) > 1 else verdicts.pop()


def decided(means: Iterable[tuple[float, float]]) -> bool | None:
    """Of differences with the halves of their intervals: True where all are above 0, False where all are below, else None."""
    signs = {1 if mean > half else -1 if mean < -half else 0 for mean, half in means}
    return {frozenset({1}): True, frozenset({-1}): False}.get(frozenset(signs))


def edge(at: int, count: int) -> bool:
    """Whether the best of a grid of so many is its first or last: then a better one may lie beyond, and nothing is decided."""
    return at in (0, count - 1)


def spread(differences: ArrayLike, level: float = 0.05) -> tuple[float, float]:
    """The mean of paired differences, and half the width of its interval at confidence 1 - level (Student's t)."""
    values = np.asarray(differences, float)
    return float(values.mean()), float(stats.t.ppf(1 - level / 2, values.size - 1) * stats.sem(values))


def predicted(values: ArrayLike, varied: ArrayLike | None = None) -> Any:
    """Mean, low and high of the 95 % prediction interval of one more run, over runs along the first axis (Student's t).

    Where there are too few values to tell how runs vary, `varied` are others that do.
    """
    drawn = np.asarray(values, float)
    spread = drawn if varied is None else np.asarray(varied, float)
    half = stats.t.ppf(0.975, len(spread) - 1) * spread.std(0, ddof=1) * np.sqrt(1 + 1 / len(drawn))
    return drawn.mean(0), drawn.mean(0) - half, drawn.mean(0) + half


def chosen(names: Sequence[str]) -> list[str]:
    """Documents by number or by module; "all" is every one."""
    numbers = {module: number for number, (module, _) in DOCUMENTS.items()}
    documents: list[str] = []
    for name in names:
        if name == "all":
            return list(DOCUMENTS)
        if name not in DOCUMENTS and name not in numbers:
            raise unknown("document", name, [*DOCUMENTS, *numbers, "all"])
        documents.append(numbers.get(name, name))
    return list(dict.fromkeys(documents)) or list(DOCUMENTS)


def reproduce(name: str = "all", tier: str = "default", say: Callable[[str], None] = lambda words: None) -> list[Row]:
    """Every row of a document, or of all. `tier` is "quick", "default" or "full"; `say` hears of progress.

    >>> rows = reproduce("001", "quick")  # doctest: +SKIP
    >>> reproduce("005")
    Traceback (most recent call last):
    steepest.errors.SteepestError: Unknown document '005'...
    """
    from steepest.problems.built_in.cifar10 import cifar10_resnet20

    if tier not in TIERS:
        raise SteepestError(f"The tier is {tier!r}; expected one of {', '.join(TIERS)}.")
    rows: list[Row] = []
    for number in chosen([name]):
        module_name, title = DOCUMENTS[number]
        say(title)
        made, claims, residual, formulas = (_module(each) for each in (module_name, "claims", "residual", "formulas"))
        hours = number == "001" and tier == "full"
        problem = cifar10_resnet20() if hours else None  # whose data may be missing: better now than in an hour
        rows += [*formulas.rows(number), *made.rows(tier, say)]
        rows += _module("search").rows() if number == "003" else []
        thoughts = [row for name in ("ideas", "motion", "searching") for row in _module(name).rows()]
        rows += [row for row in (*claims.on_surfaces(), *thoughts) if row.source == number]
        rows += _module("curves").rows() if number == "001" and not hours else []
        rows += _module("networks").on_mnist(say) if number == "001" and tier != "quick" else []
        if hours:
            rows += residual.rows(problem, say)
    return list(map(_module("power").unscored, rows))


def _module(name: str) -> Any:
    return importlib.import_module(f".{name}", __name__)


def __getattr__(name: str) -> Any:
    """What lessons use, found when it is asked for: a row needs neither a notebook nor an exercise."""
    rooms = {"check": "exercises", "task": "exercises", "hint": "exercises", "solution": "exercises"}
    rooms |= {"ask": "telling", "rule": "telling"}
    rooms |= {"filled": "exercises", "Mine": "learner"}
    if name in rooms:
        return getattr(_module(rooms[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
