"""How answers are judged: a learner's results beside an oracle's on the same inputs, and the usual slips beside both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import slips
from .slips import agree
from .trials import Array, Outcome, RefusedError, Trial, follow, run

STEPS = 12  # of changing gradients: after three or four of them every slip shows
SINGLE = 1e-5  # relative to the largest number: rounding in float32, over a few sums
MIXED = 1.2e-7  # the same, of results in float64 that were in part computed in float32

Wrong = tuple[str, Callable[..., Any]]  # what is said of a function, and the function


@dataclass(frozen=True)
class Answer:
    """Whether an answer is right, and what there is to say of it."""

    right: bool
    words: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Exercise:
    """What is asked, help in three steps, an answer (a function, or code as text), what is run of a learner's, a judge."""

    name: str
    task: str
    hints: tuple[str, str, str]
    solution: Callable[..., Any] | str
    trial: Callable[[], Trial]
    judge: Callable[[Outcome], Answer]
    wrong: tuple[Wrong, ...] = ()  # usual slips: what is said of one, and the function that makes it

    def check(self, mine: Any) -> Answer:
        """Run an answer in this process and judge it."""
        try:
            return self.judge(run(mine, self.trial()))
        except RefusedError as refused:
            return Answer(False, str(refused))


def apart(mine: Array, right: Array, before: Array) -> str:
    """How far a step is from the right one, in the coordinate where it is furthest."""
    if not np.isfinite(mine).all():
        return "not finite"
    at = int(np.abs(mine - right).argmax())
    away, moved, wanted = abs(mine[at] - right[at]), mine[at] - before[at], right[at] - before[at]
    if moved * wanted < 0:
        return f"{abs(moved):.3g} the other way"
    return f"{away:.3g} too {'far' if abs(moved) > abs(wanted) else 'short'}"


def world() -> tuple[Array, Array]:
    """Changing gradients (STEPS, 4), of different sizes in each coordinate, and a start.

    The last coordinate's gradients are as small as the epsilons of the rules, so that it matters where epsilon stands.
    """
    rng = np.random.default_rng(7)
    large = rng.normal(size=(STEPS, 3)) * (1.0, 3.0, 0.2)
    small = rng.normal(size=(STEPS, 1)) * 1e-8
    return np.hstack([large, small]), np.array([1.0, -2.0, 0.5, 0.25])


def single(mine: Sequence[Array], right: Sequence[Array], mixed: float = MIXED) -> bool:
    """Whether results, or moves, agree with the right ones up to float32's rounding: `mixed`, more if they are such numbers."""
    for ours, theirs in zip(mine, right, strict=True):
        with np.errstate(all="ignore"):
            rounded = ours.astype(np.float32).astype(float)
        within = SINGLE if np.allclose(ours, rounded, rtol=slips.SAME, atol=0) else mixed
        if not np.allclose(ours, theirs, rtol=within, atol=within * float(np.abs(theirs).max(initial=0.0))):
            return False
    return True


def steps_trial(sloped: bool) -> Trial:
    """The trial of a step function."""
    return Trial("steps", (*world(), sloped))


def judge_steps(
    outcome: Outcome,
    oracle: Callable[..., Any],
    wrong: Callable[[], Iterator[tuple[str, Array]]],
    name: str,
    sloped: bool = False,
) -> Answer:
    """A learner's points beside the oracle's, step by step; `wrong` are paths with a usual mistake, and its words."""
    gradients, start = world()
    (seen,) = outcome.arrays
    right = np.array(list(follow(oracle, gradients, start, sloped)))
    off = [t for t in range(STEPS) if not agree(seen[t], right[t])]
    if not off:
        return Answer(True, f"Right: {STEPS} steps of {name} agree with the right ones.")
    moves = [np.diff(path, axis=0, prepend=start[None]) for path in (seen, right)]
    if single([seen], [right], slips.SAME) or single([moves[0]], [moves[1]]):
        return Answer(True, f"Right up to float32's rounding: {STEPS} steps of {name}, here in float64.")
    slip = next((words for words, path in wrong() if agree(path, seen)), "") or slips.of_steps(
        seen, right, start, gradients, None if sloped else oracle
    )
    t = off[0]
    told = f"Step {t + 1}: {apart(seen[t], right[t], right[t - 1] if t else start)}"
    return Answer(False, f"{told}; {slip}" if slip else f"{told}.")


def judge_values(
    outcome: Outcome,
    oracle: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    wrong: Sequence[Wrong],
    also: Sequence[Wrong] = (),
) -> Answer:
    """A learner's results beside the oracle's on a few inputs; a slip is a wrong function that gives the same on each.

    `also` are other functions that are right, each with what is then said.
    """
    mine, right = outcome.arrays, results(oracle, cases)
    said = f"it agrees with the right answer on {len(cases)} inputs"
    accepted = [(said, right), *((words, results(function, cases)) for words, function in also)]
    for words, each in accepted:
        if slips.alike(mine, each):
            return Answer(True, f"Right: {words}.")
    for words, each in accepted:
        if slips.fit(mine, each) and single(mine, each):
            return Answer(True, f"Right up to float32's rounding: {words}, here in float64.")
    slip = next((words for words, function in wrong if slips.alike(mine, results(function, cases))), "")
    slip = slip or slips.of_values(mine, right, cases, oracle)
    k = next(k for k, (ours, theirs) in enumerate(zip(mine, right, strict=True)) if not agree(ours, theirs))
    told = f"Input {k + 1} of {len(cases)}: {_difference(mine[k], right[k])}"
    return Answer(False, f"{told}; {slip}" if slip else f"{told}.")


def results(function: Callable[..., Any], cases: Sequence[tuple[Any, ...]]) -> list[Array]:
    """What a function gives on each input."""
    with np.errstate(all="ignore"):
        return [np.asarray(function(*case), float) for case in cases]


def _difference(mine: Array, right: Array) -> str:
    """What is given and what is expected, where they are furthest apart."""
    if mine.shape != right.shape:
        return f"your result has the shape {mine.shape}; expected {right.shape}"
    at = np.unravel_index(int(np.nan_to_num(np.abs(mine - right), nan=np.inf).argmax()), right.shape)
    ours, theirs = f"{mine[at]:.6g}", f"{right[at]:.6g}"
    if ours == theirs:
        return f"yours differs from {theirs} by {abs(mine[at] - right[at]):.2g}"
    return f"yours is {ours}, expected {theirs}"
