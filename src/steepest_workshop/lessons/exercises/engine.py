"""How answers are judged: a learner's function beside an oracle's, on the same numbers, and the usual slips beside both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SAME = 1e-9  # relative to what is right: rounding in another order
STEPS = 12  # of changing gradients: after three or four of them every slip shows


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
    """What is asked, help in three steps, an answer (a function, or code as text), and how a learner's is judged."""

    name: str
    task: str
    hints: tuple[str, str, str]
    solution: Callable[..., Any] | str
    check: Callable[[Any], Answer]
    wrong: tuple[tuple[str, Callable[..., Any]], ...] = ()  # usual slips: what is said of one, and the function that makes it


class RefusedError(Exception):
    """A learner's function did not run; its words say why."""


def called(mine: Any, where: str, *args: Any) -> Any:
    """What a learner's function gives; RefusedError, in a sentence, where it does not run or gives nothing."""
    if not callable(mine):
        raise RefusedError(f"Given {type(mine).__name__}; expected a function. Pass the function itself: check(name, mine).")
    try:
        with np.errstate(all="ignore"):
            result = mine(*args)
    except Exception as error:
        code = getattr(mine, "__code__", None)
        lines = [frame.tb_lineno for frame in _frames(error) if frame.tb_frame.f_code is code]
        at = f", in line {lines[-1]} of your cell" if lines else ""
        raise RefusedError(f"{where}: your function stopped with {type(error).__name__}: {error}{at}.") from error
    if result is None:
        raise RefusedError(f"{where}: your function returned None; end it with `return` and the result.")
    return result


def _frames(error: BaseException) -> Iterator[Any]:
    at = error.__traceback__
    while at:
        yield at
        at = at.tb_next


def numbers(result: Any, like: Array, where: str) -> Array:
    """A result as an array of the right shape; RefusedError where it is none."""
    try:
        values = np.asarray(result, float)
    except (TypeError, ValueError):
        raise RefusedError(f"{where}: your function returned {type(result).__name__}; expected numbers.") from None
    if values.shape != like.shape:
        raise RefusedError(f"{where}: your result has the shape {values.shape}; expected {like.shape}.")
    return values


def agree(a: Array, b: Array) -> bool:
    """Whether two results are the same up to rounding."""
    return bool(np.allclose(a, b, rtol=SAME, atol=SAME, equal_nan=True))


def apart(mine: Array, right: Array, before: Array) -> str:
    """How far a step is from the right one, in the coordinate where it is furthest."""
    if not np.isfinite(mine).all():
        return "not finite"
    at = int(np.abs(mine - right).argmax())
    away, moved, wanted = abs(mine[at] - right[at]), mine[at] - before[at], right[at] - before[at]
    if moved * wanted < 0:
        return f"{abs(moved):.3g} the other way"
    return f"{away:.3g} too {'far' if abs(moved) > abs(wanted) else 'short'}"


def follow(
    function: Callable[..., Any], gradients: Array, start: Array, sloped: bool = False, own: bool = False
) -> Iterator[Array]:
    """The points of a step function `f(w, g, t, state)` along given gradients; `sloped`: it takes a function of w instead.

    `own` says that it is a learner's, whose mistakes become sentences.
    """
    w, state = start.copy(), dict[str, Any]()
    for t, g in enumerate(gradients, 1):
        push: Any = (lambda at, g=g: g + 0.5 * at) if sloped else g.copy()
        where = f"Step {t}"
        result = called(function, where, w.copy(), push, t, state) if own else function(w.copy(), push, t, state)
        w = numbers(result, start, where) if own else np.asarray(result, float)
        yield w


def world() -> tuple[Array, Array]:
    """Changing gradients (STEPS, 3), of different sizes in each coordinate, and a start."""
    rng = np.random.default_rng(7)
    return rng.normal(size=(STEPS, 3)) * (1.0, 3.0, 0.2), np.array([1.0, -2.0, 0.5])


def judge_steps(
    mine: Any, oracle: Callable[..., Any], slips: Callable[[], Iterator[tuple[str, Array]]], name: str, sloped: bool = False
) -> Answer:
    """A learner's step function beside the oracle's, step by step; `slips` are paths with a usual mistake, and its words."""
    gradients, start = world()
    right = np.array(list(follow(oracle, gradients, start, sloped)))
    try:
        seen = np.array(list(follow(mine, gradients, start, sloped, own=True)))
    except RefusedError as refused:
        return Answer(False, str(refused))
    off = [t for t in range(STEPS) if not agree(seen[t], right[t])]
    if not off:
        return Answer(True, f"Right: {STEPS} steps of {name} agree with the oracle's.")
    slip, t = next((words for words, path in slips() if agree(path, seen)), ""), off[0]
    told = f"Step {t + 1}: {apart(seen[t], right[t], right[t - 1] if t else start)}"
    return Answer(False, f"{told}; {slip}" if slip else f"{told}.")


def judge_values(
    mine: Any, oracle: Callable[..., Any], cases: Sequence[tuple[Any, ...]], slips: Sequence[tuple[str, Callable[..., Any]]]
) -> Answer:
    """A learner's function beside the oracle's on a few inputs; a slip is a wrong function that gives the same on each."""
    right, given = [np.asarray(oracle(*case), float) for case in cases], list[Array]()
    for k, case in enumerate(cases):
        where = f"Input {k + 1} of {len(cases)}"
        copies = [each.copy() if hasattr(each, "copy") else each for each in case]
        try:
            given.append(numbers(called(mine, where, *copies), right[k], where))
        except RefusedError as refused:
            return Answer(False, str(refused))
    off = [k for k in range(len(cases)) if not agree(given[k], right[k])]
    if not off:
        return Answer(True, f"Right: it agrees with the oracle on {len(cases)} inputs.")

    def alike(wrong: Callable[..., Any]) -> bool:
        with np.errstate(all="ignore"):
            return all(agree(np.asarray(wrong(*case), float), own) for case, own in zip(cases, given, strict=True))

    slip = next((words for words, wrong in slips if alike(wrong)), "")
    k = off[0]
    at = np.unravel_index(int(np.nan_to_num(np.abs(given[k] - right[k]), nan=np.inf).argmax()), right[k].shape)
    told = f"Input {k + 1} of {len(cases)}: yours is {given[k][at]:.6g}, expected {right[k][at]:.6g}"
    return Answer(False, f"{told}; {slip}" if slip else f"{told}.")
