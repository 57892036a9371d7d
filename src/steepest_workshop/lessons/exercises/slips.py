"""Slips that any answer may have, recognised by comparing results: a factor, a sign, n for n - 1, a transpose, an epsilon.

They come after an exercise's own slips, which know more. Nothing here knows an exercise by name.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from .. import slipped
from .trials import Array, RefusedError, follow

SAME = 1e-9  # relative to what is right: rounding in another order
LIKE = 1e-6  # relative: a slip that is recognised may be rounded to float32
NEAR = 1e-4  # relative: a near miss
ROUNDED = 1e-8  # a move that is lost in the rounding of w is smaller
SMALL = 1e-3  # constants below are epsilons
EPSILONS = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
DIGITS = range(8)

Cases = Sequence[tuple[Any, ...]]
Form = tuple[str, Callable[[Any], Any]]

FORMS: tuple[Form, ...] = (
    ("does it have the other sign?", lambda r: -r),
    ("it is twice the right one: is there a factor of 2 too many?", lambda r: 2 * r),
    ("it is half the right one: is a factor of 2 missing?", lambda r: r / 2),
    ("it is 100 times the right one: is it in per cent?", lambda r: 100 * r),
    ("it is a hundredth of the right one: is it divided by 100 once too often?", lambda r: r / 100),
    ("is the logarithm to base 10? Here it is the natural one", lambda r: r / math.log(10)),
    ("is the logarithm to base 2? Here it is the natural one", lambda r: r / math.log(2)),
    ("is it 1 minus what is asked for?", lambda r: 1 - r),
    ("is it transposed?", lambda r: r.T),
    ("are its entries in the reverse order?", lambda r: r[::-1] if r.ndim else r),
    ("is it the absolute value?", np.abs),
    ("is it 1 over what is asked for?", lambda r: 1 / r),
    ("is a root missing? It is the square of the right one", lambda r: r**2),
    ("is there a root too many?", np.sqrt),
    ("is a logarithm missing?", np.exp),
    ("is there a logarithm too many?", np.log),
)
OVER = "is it divided by n - 1 where n belongs?"
UNDER = "is it divided by n where n - 1 belongs?"
COUNTS: tuple[Form, ...] = (  # factors, of the size n of an input
    ("is it the sum, not the mean? It is n times the right one", lambda n: n),
    ("is it the mean, not the sum? It is the n-th part of the right one", lambda n: 1 / n),
    (OVER, lambda n: n / (n - 1)),
    (UNDER, lambda n: (n - 1) / n),
    (OVER, lambda n: math.sqrt(n / (n - 1))),
    (UNDER, lambda n: math.sqrt((n - 1) / n)),
    ("is it not divided by the root of n?", math.sqrt),
    ("is it divided by the root of n once too often?", lambda n: 1 / math.sqrt(n)),
)
SHAPES: tuple[tuple[str, Callable[[Array, Any], Any]], ...] = (
    ("is the mean missing?", lambda mine, axis: mine.mean(axis)),
    ("is the sum missing?", lambda mine, axis: mine.sum(axis)),
)
KINDS = {"sign": "does a sign point the wrong way?", "n - 1": "is there n where n - 1 belongs, or the other way round?"}
EPSILON = "is epsilon missing, or does it stand elsewhere? Only what is as small as epsilon is wrong"


def agree(a: Array, b: Array, within: float = SAME) -> bool:
    """Whether two results are the same up to rounding."""
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=within, atol=within, equal_nan=True))


def alike(mine: Sequence[Array], other: Sequence[Array], within: float = SAME) -> bool:
    """Whether the results for all inputs are the same up to rounding."""
    return all(agree(a, b, within) for a, b in zip(mine, other, strict=True))


def fit(mine: Sequence[Array], other: Sequence[Array]) -> bool:
    """Whether the results for all inputs have the same shapes."""
    return all(a.shape == b.shape for a, b in zip(mine, other, strict=True))


def of_values(mine: Sequence[Array], right: Sequence[Array], cases: Cases, oracle: Callable[..., Any]) -> str:
    """What the results look like beside the right ones; empty if like none of the slips."""
    with np.errstate(all="ignore"):
        if not fit(mine, right):
            return _of_shapes(mine, right)
        for words, function in variants(oracle):
            if _gives(function, cases, mine):
                return words
        return (
            _of_forms(mine, right)
            or _of_counts(mine, right, cases)
            or _shifted(mine, cases, oracle)
            or _of_numbers(mine, right)
        )


def _of_forms(mine: Sequence[Array], right: Sequence[Array]) -> str:
    """Which form of the right results these are; a form that changes nothing, such as a number transposed, is none."""
    for words, form in FORMS:
        formed = [np.asarray(form(r)) for r in right]
        if alike(mine, formed, LIKE) and not alike(right, formed, LIKE):
            return words
    return ""


def _of_shapes(mine: Sequence[Array], right: Sequence[Array]) -> str:
    """What results of another shape look like."""
    if alike([a.T for a in mine], right, LIKE):
        return "is it transposed?"
    if alike([a.ravel() for a in mine], [r.ravel() for r in right], LIKE):
        return "its numbers are right, in another shape"
    for words, form in SHAPES:
        for axes in _axes(max(a.ndim for a in mine)):
            if all(a.ndim > max(axes) for a in mine) and alike([form(a, axes) for a in mine], right, LIKE):
                return words
    if alike(mine, [r.mean() for r in right], LIKE):
        return "is it the mean of what is asked for?"
    return "is it the sum of what is asked for?" if alike(mine, [r.sum() for r in right], LIKE) else ""


def _axes(count: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, count + 1):
        yield from itertools.combinations(range(count), size)


def _of_counts(mine: Sequence[Array], right: Sequence[Array], cases: Cases) -> str:
    """A factor that depends on the size of an input, which is a length or a number of entries."""
    sizes = [[n for each in case for n in (*np.shape(each), np.size(each))] for case in cases]
    for words, factor in COUNTS:
        for ns in zip(*sizes, strict=False):
            scaled = [factor(n) * r if n > 1 else r for n, r in zip(ns, right, strict=True)]
            if max(ns) > 1 and alike(mine, scaled, LIKE):
                return words
    return ""


def _shifted(mine: Sequence[Array], cases: Cases, oracle: Callable[..., Any]) -> str:
    """An input that counts from another number."""
    for place in range(len(cases[0])):
        if not all(type(case[place]) is int for case in cases):
            continue
        for shift in (1, -1):
            moved = [(*case[:place], case[place] + shift, *case[place + 1 :]) for case in cases]
            if _gives(oracle, moved, mine):
                return f"is it one too {'late' if shift > 0 else 'early'}: does it count from {max(shift, 0)}?"
    return ""


def _gives(function: Callable[..., Any], cases: Cases, mine: Sequence[Array]) -> bool:
    """Whether a function gives these results; one that does not run gives none."""
    try:
        return alike(mine, [np.asarray(function(*case), float) for case in cases])
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False


def _of_numbers(mine: Sequence[Array], right: Sequence[Array]) -> str:
    """A rounding, a near miss, a factor or a number more that is the same everywhere."""
    a, r = (np.concatenate([np.ravel(x) for x in each]) for each in (mine, right))
    if not np.isfinite(a).all():
        return ""
    digits = next((d for d in DIGITS if agree(a, np.round(r, d))), None)
    if digits is not None:
        return f"is it rounded to {digits} digits?"
    if np.allclose(a, r, rtol=NEAR, atol=0):
        return f"{_near(a, r)}: is a constant rounded, or something computed in float32?"
    factor = _factor(a, r)
    if factor:
        return f"it is {factor:.4g} times the right one everywhere: is there a factor too many, or is one missing?"
    if np.allclose(a - r, a[0] - r[0], rtol=LIKE, atol=LIKE):
        return f"it is {abs(a[0] - r[0]):.4g} {'more' if a[0] > r[0] else 'less'} than the right one everywhere"
    return _of_cases(list(map(agree, mine, right)))


def _of_cases(right: Sequence[bool]) -> str:
    """How many inputs are right, of which some are."""
    if sum(right) == len(right) - 1:
        return "every other input is right: is a case forgotten?"
    return f"{sum(right)} of the {len(right)} inputs {'is' if sum(right) == 1 else 'are'} right" if any(right) else ""


def _near(a: Array, r: Array) -> str:
    return f"it is right up to {np.max(np.abs(a - r) / np.maximum(np.abs(r), 1e-300)):.1g} of it"


def _factor(a: Array, r: Array, rounded: float = 0.0) -> float:
    """The ratio of two arrays if it is the same wherever numbers are larger than their rounding; else 0."""
    there = np.abs(r) > rounded
    if there.sum() < 2 or (np.abs(a[~there]) > 1000 * rounded).any():
        return 0.0
    ratio = a[there] / r[there]
    return float(ratio[0]) if np.allclose(ratio, ratio[0], rtol=LIKE, atol=0) else 0.0


def of_steps(seen: Array, right: Array, start: Array, gradients: Array, oracle: Callable[..., Any] | None) -> str:
    """What the points of a step function look like beside the right ones; empty if like none of the slips.

    Without an oracle only the points are compared: its gradients depend on where it is.
    """
    if not np.isfinite(seen).all():
        return ""
    for words, function in variants(oracle) if oracle else ():
        if _walks(function, gradients, start, seen):
            return words
    with np.errstate(all="ignore"):
        moves, wanted = (np.diff(path, axis=0, prepend=start[None]) for path in (seen, right))
        return _of_moves(seen, right, moves, wanted, oracle is not None) or _of_tiny(seen, right, gradients)


def _of_moves(seen: Array, right: Array, moves: Array, wanted: Array, fixed: bool) -> str:
    """What moves look like beside the right ones; `fixed`: their gradients are the same."""
    if not moves.any():
        return "w does not move"
    if agree(seen, wanted) or agree(seen, -wanted):
        return "is the step returned, not the new w?"
    factor = _factor(moves.ravel(), wanted.ravel(), ROUNDED) if fixed else 0.0
    if abs(factor + 1) < LIKE:
        return "does the step go uphill?"
    if factor and abs(factor - 1) > NEAR:
        return f"every step is {factor:.4g} times the right one: is the rate another, or a factor missing?"
    if agree(seen[1:], right[:-1]):
        return "is every step one late: is the state used before it is renewed?"
    if np.allclose(moves, wanted, rtol=NEAR, atol=NEAR * np.abs(wanted).max()):
        return f"{_near(seen, right)}: is a constant rounded, or something computed in float32?"
    return ""


def _of_tiny(seen: Array, right: Array, gradients: Array) -> str:
    """Whether only coordinates are wrong whose gradients are as small as epsilon."""
    tiny = np.abs(gradients).max(0) < LIKE
    return EPSILON if agree(seen[:, ~tiny], right[:, ~tiny], LIKE) else ""


def _walks(function: Callable[..., Any], gradients: Array, start: Array, seen: Array) -> bool:
    try:
        return agree(np.array(list(follow(function, gradients, start))), seen)
    except RefusedError:
        return False


def variants(oracle: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Wrong forms of an oracle, each after its words: an epsilon missing or elsewhere, a sign, n for n - 1."""
    if not isinstance(oracle, FunctionType):
        return
    node = slipped.node_of(oracle)
    for words, place, new in slipped.changes(node, _epsilons):
        yield words, slipped.rebuilt(oracle, slipped.with_node(node, place, new))
    for what, wrong in slipped.variants(oracle):
        kind = next((kind for kind in KINDS if f"{kind}: " in what), "")
        if kind:
            yield KINDS[kind], wrong


def _epsilons(node: Any) -> Iterator[tuple[str, ast.AST]]:
    """What may be wrong with an epsilon that is added at a node."""
    epsilon = _epsilon(node)
    if epsilon is not None:
        yield "is epsilon missing?", node.left
        others = [each for each in EPSILONS if each != epsilon.value]
        for each in others:
            yield f"is epsilon {each:g}? Here it is {epsilon.value:g}", ast.BinOp(node.left, ast.Add(), ast.Constant(each))
        if _is_root(node.left):
            inner = ast.BinOp(node.left.args[0], ast.Add(), epsilon)
            yield "is epsilon under the root? Here it stands outside", ast.Call(node.left.func, [inner], [])
    elif _is_root(node) and _epsilon(node.args[0]) is not None:
        inner = node.args[0]
        outside = ast.BinOp(ast.Call(node.func, [inner.left], []), ast.Add(), inner.right)
        yield "is epsilon outside the root? Here it stands under it", outside


def _epsilon(node: ast.AST) -> Any:
    """The small constant that is added at a node; None if there is none."""
    added = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) else None
    small = isinstance(added, ast.Constant) and isinstance(added.value, float) and 0 < added.value < SMALL
    return added if small else None


def _is_root(node: Any) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sqrt"
