"""An update by torch's fused operations, as the loops of `torch.optim` have them, so that both round alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...rules.symbols import Expr, Symbol
from ...rules.words import Form, is_number
from ..numbers import Call
from .plain import Plain


class Exact(Plain):
    """The plain engine with fused operations, which round as the loops of `torch.optim` (`foreach=False`) do."""

    def call(self, x: Symbol) -> Call | None:
        """The fused operation that computes a symbol."""
        return fused(x)


EXACT = Exact()


class _Scaled(NamedTuple):
    """A tensor, or the product ("mul") or quotient ("div") of two, times a number and over another; None for 1."""

    parts: tuple[Symbol, ...]
    op: str = ""
    times: Expr | None = None
    over: Expr | None = None

    @property
    def factor(self) -> Expr:
        """The number."""
        times = 1.0 if self.times is None else self.times
        return times if self.over is None else times / self.over


def fused(x: Symbol) -> Call | None:
    """The fused operation that computes a node of a traced rule; None if torch's loops have its own operation."""
    if x.op == "sqrt":
        inner = _scaled(x.args[0]) if _is_tensor(x.args[0]) else None
        if inner and inner.over is not None and inner.times is None and not inner.op:
            return Call(_root, (inner.parts[0], inner.over))
    if x.op not in ("add", "sub") or not all(map(_is_tensor, x.args)):
        return None
    left, right = x.args
    if x.op == "add":
        return _average(left, right) or _added(left, right, 1) or _added(right, left, 1)
    return _added(left, right, -1)


def _average(left: Symbol, right: Symbol) -> Call | None:
    """beta * average + (1 - beta) * x."""
    old, new = _scaled(left), _scaled(right)
    beta, share = old.times, new.times
    if beta is None or old.op or not isinstance(share, Symbol) or share.op != "sub":
        return None
    if not _is_one(share.args[0]) or share.args[1] is not beta:
        return None
    if new.op == "mul":
        return Call(_averaged, (*old.parts, beta, *new.parts, share))
    return None if new.op else Call(_lerp, (*old.parts, *new.parts, share))


def _added(kept: Symbol, more: Symbol, sign: int) -> Call | None:
    """A tensor with a scaled one, a product or a quotient added."""
    scaled = _scaled(more)
    if not scaled.op and scaled.times is None and scaled.over is None:
        return None
    forms: dict[str, Form] = {"": _add, "mul": _addcmul, "div": _addcdiv}
    return Call(forms[scaled.op], (kept, *scaled.parts, scaled.factor if sign > 0 else -scaled.factor))


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Symbol) and x.tensor


def _is_one(x: Any) -> bool:
    return not isinstance(x, Symbol) and x == 1


def _scaled(x: Symbol) -> _Scaled:
    """A tensor with the numbers that multiply or divide it taken out."""
    if x.op == "mul":
        number, tensor = x.args if _is_tensor(x.args[1]) else reversed(x.args)
        if _is_tensor(number):
            return _Scaled((number, tensor), "mul")
        inner = _scaled(tensor)
        return inner._replace(times=number if inner.times is None else number * inner.times)
    if x.op == "div" and _is_tensor(x.args[0]):
        top, below = x.args
        inner = _scaled(top)
        if not _is_tensor(below):
            return inner._replace(over=below if inner.over is None else inner.over * below)
        return _Scaled((top, below), "div") if inner.op else inner._replace(parts=(*inner.parts, below), op="div")
    return _Scaled((x,))


def _fits(number: Any, *tensors: Any) -> bool:
    """Whether these are a Python number and tensors of one dtype: what looks like a tensor in a rule may turn out a number."""
    if not is_number(number) or not all(isinstance(t, Tensor) for t in tensors):
        return False
    return all(t.dtype is tensors[0].dtype for t in tensors)


def _add(a: Any, x: Any, s: Any) -> Any:
    return a.add(x, alpha=s) if _fits(s, a, x) else a + s * x


def _addcmul(a: Any, x: Any, y: Any, s: Any) -> Any:
    return torch.addcmul(a, x, y, value=s) if _fits(s, a, x, y) else a + s * x * y


def _averaged(a: Any, kept: Any, x: Any, y: Any, s: Any) -> Any:
    return _addcmul(a * kept, x, y, s)


def _addcdiv(a: Any, x: Any, y: Any, s: Any) -> Any:
    return torch.addcdiv(a, x, y, value=s) if _fits(s, a, x, y) else a + s * x / y


def _lerp(a: Any, x: Any, s: Any) -> Any:
    return torch.lerp(a, x, s) if _fits(s, a, x) else a + s * (x - a)


def _root(x: Any, over: Any) -> Any:
    return x.sqrt() / over**0.5 if _fits(over, x) else (x / over) ** 0.5
