"""What is run of an answer: a learner's function on given inputs, with its results as plain numbers.

A trial contains no right answer. It runs in the notebook, and in the process of a grader, which loads this file by its path: it
imports nothing of this package.
"""

from __future__ import annotations

import dis
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MOST = 50_000  # numbers in a result
AXES = 8  # of a result
UNANSWERED = "Blank: put your answer in the place of its `...`."
NOTHING = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}  # what Python does in a blank
NUMBERS = "biufO"  # NumPy's kinds that are numbers, or may contain them
OPTIONS = ("lr", "momentum", "dampening", "nesterov", "betas", "eps", "weight_decay")  # of an optimizer


class RefusedError(Exception):
    """A learner's function did not run, or returned no numbers; the message says why."""


@dataclass(frozen=True)
class Trial:
    """A kind of trial, one of KINDS, and its inputs: arrays, numbers, and tuples or lists of these."""

    kind: str
    inputs: tuple[Any, ...]


@dataclass(frozen=True)
class Outcome:
    """The results of a trial: arrays in the order of its inputs, and texts by name."""

    arrays: list[Array] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


def run(mine: Any, trial: Trial) -> Outcome:
    """Run an answer. RefusedError, in one sentence, where it does not run or returns no numbers, or is blank."""
    if not filled(mine):
        raise RefusedError(UNANSWERED)
    return KINDS[trial.kind](mine, *trial.inputs)


def filled(answer: Any) -> bool:
    """Whether a blank is filled in: a function that does more than `...`, a class whose `forward` does, any value but `...`.

    >>> def blank(w, g, t, state):
    ...     "Returns the new w."
    ...     ...
    >>> filled(blank), filled(lambda w, g, t, state: w - 0.1 * g), filled(...), filled(0.1)
    (False, True, False, True)
    """
    answer = getattr(answer, "forward", answer) if isinstance(answer, type) else answer
    code = getattr(answer, "__code__", None)
    if code is None:
        return answer is not ...
    steps = list(dis.get_instructions(code))
    if not {step.opname for step in steps} <= NOTHING:
        return True
    (value,) = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return value is not ... and (value is not None or code.co_name == "<lambda>")


def called(mine: Any, where: str, *args: Any, own: Any = None) -> Any:
    """The result of a learner's function; RefusedError if it raises or returns None. `own`: what it was made of."""
    if not callable(mine):
        raise RefusedError(f"Given {type(mine).__name__}; expected a function. Pass the function itself: check(name, mine).")
    try:
        with np.errstate(all="ignore"):
            result = mine(*args)
    except Exception as error:
        lines = [frame.tb_lineno for frame in _frames(error) if frame.tb_frame.f_code in _codes(own or mine)]
        at = f", in line {lines[-1]} of your cell" if lines else ""
        raise RefusedError(f"{where}: your function stopped with {type(error).__name__}: {_text(error)}{at}.") from error
    if result is None:
        raise RefusedError(f"{where}: your function returned None; end it with `return` and the result.")
    return result


def _codes(mine: Any) -> list[Any]:
    """The code of a function, or of the methods of a class."""
    functions = vars(mine).values() if isinstance(mine, type) else [mine]
    return [function.__code__ for function in functions if hasattr(function, "__code__")]


def _text(error: BaseException) -> str:
    """The first 200 characters of an exception's message; empty if its `str` raises."""
    try:
        return " ".join(str(error).split())[:200]
    except Exception:  # of a learner's own class
        return ""


def _frames(error: BaseException) -> Iterator[Any]:
    at = error.__traceback__
    while at:
        yield at
        at = at.tb_next


def numbers(result: Any, where: str) -> Array:
    """A result as an array of float64; RefusedError if it is none."""
    try:
        values = np.asarray(_as_array(result))
        if values.dtype.kind not in NUMBERS:
            raise TypeError(values.dtype)
        values = np.array(values, float)
    except Exception:  # a result may be of a learner's own class
        raise RefusedError(f"{where}: your function returned {type(result).__name__}; expected numbers.") from None
    if not small(values.shape):
        raise RefusedError(f"{where}: your function returned {values.size:,} numbers, of shape {str(values.shape)[:80]}.")
    return values


def small(shape: tuple[int, ...]) -> bool:
    """Whether a result of this shape is small enough to be judged; one without numbers may still have a long axis."""
    return len(shape) <= AXES and math.prod(max(length, 1) for length in shape) <= MOST


def shaped(values: Array, shape: tuple[int, ...], where: str) -> Array:
    """The values; RefusedError if they have another shape."""
    if values.shape != shape:
        raise RefusedError(f"{where}: your result has the shape {values.shape}; expected {shape}.")
    return values


def follow(function: Callable[..., Any], gradients: Array, start: Array, sloped: bool = False) -> Iterator[Array]:
    """The points of a step function `f(w, g, t, state)` along given gradients; `sloped`: it takes a function of w instead."""
    w, state = start.copy(), dict[str, Any]()
    for t, g in enumerate(gradients, 1):
        push: Any = (lambda at, g=g: g + 0.5 * at) if sloped else g.copy()
        where = f"Step {t}"
        w = shaped(numbers(called(function, where, w.copy(), push, t, state), where), start.shape, where)
        yield w


def steps(mine: Any, gradients: Array, start: Array, sloped: bool) -> Outcome:
    """The points of a step function, as one array (steps, coordinates)."""
    return Outcome([np.array(list(follow(mine, gradients, start, sloped)))])


def values(mine: Any, *cases: tuple[Any, ...], own: Any = None) -> Outcome:
    """The result for each input. `own` is what the learner wrote, if the function was made of it."""
    results = []
    for k, case in enumerate(cases, 1):
        where = f"Input {k} of {len(cases)}"
        copies = [each.copy() if hasattr(each, "copy") else each for each in case]
        results.append(numbers(called(mine, where, *copies, own=own), where))
    return Outcome(results)


def network(mine: Any, *cases: tuple[Any, ...]) -> Outcome:
    """The scores of a class of networks, for images and the weights and biases of its two layers."""
    import torch

    def scores(x: Array, *weights: Array) -> Any:
        model = mine(x.shape[1], len(weights[1]), len(weights[3])).double()
        for parameter, value in zip(model.parameters(), weights, strict=True):
            parameter.data = torch.as_tensor(value)
        return model(torch.as_tensor(x))

    return values(scores if isinstance(mine, type) else mine, *cases, own=mine)


def tensors(mine: Any, *cases: tuple[Any, ...]) -> Outcome:
    """The results of a function of tensors."""
    import torch

    def result(*args: Any) -> Any:
        return mine(*map(torch.as_tensor, args))

    return values(result if callable(mine) else mine, *cases, own=mine)


def _as_array(result: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return result.detach().numpy() if hasattr(result, "detach") else result


def optimizer(mine: Any, weight: Array, bias: Array, batches: Array) -> Outcome:
    """The weights of a linear layer after each step of an optimizer, which is a function of parameters, and its options."""
    import torch

    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    layer.load_state_dict({"weight": torch.as_tensor(weight), "bias": torch.as_tensor(bias)})
    given = called(mine, "Your optimizer", layer.parameters())
    if not isinstance(given, torch.optim.Optimizer):
        raise RefusedError(f"It gave {type(given).__name__}; expected an optimizer of torch's or ours.")
    results = []
    for batch in batches:
        given.zero_grad()
        (layer(torch.as_tensor(batch)) ** 2).mean().backward()
        called(lambda: (given.step(), given), "Your optimizer")
        results.append(layer.weight.detach().numpy().copy())
    own = given.param_groups[0]
    return Outcome(results, {"class": type(given).__name__} | {name: repr(own[name]) for name in OPTIONS if name in own})


def answer(mine: Any) -> Outcome:
    """A word or a number as text."""
    return Outcome(texts={"answer": str(mine)[:200]})


KINDS: dict[str, Callable[..., Outcome]] = {
    "steps": steps,
    "values": values,
    "network": network,
    "tensors": tensors,
    "optimizer": optimizer,
    "answer": answer,
}
WITH_TORCH = ("network", "tensors", "optimizer")
