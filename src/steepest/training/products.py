"""Multiply float32 matrices with oneDNN, and compute the linear layers of many runs with these products.

torch multiplies float32 matrices with MKL, which uses only half of some processors (measured on an AMD with AVX-512: 110
against 240 GFLOP/s a core); its convolutions use oneDNN, and so do these products. Without oneDNN, torch's product is used.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, FunctionCtx

LARGE = 4e6  # floating-point operations above which oneDNN's overhead of ten microseconds pays off


@functools.cache
def _present() -> bool:
    """Whether torch has oneDNN's linear operation."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        return torch.equal(_linear(torch.ones(2, 2), torch.ones(3, 2)), torch.full((2, 3), 2.0))
    except (RuntimeError, NotImplementedError):
        return False


def _linear(a: Tensor, b: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # type: ignore[no-any-return]


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b.T for a (m, k) and b (n, k); calls with the same shapes use the same method."""
    large = 2.0 * a.shape[0] * a.shape[1] * b.shape[0] >= LARGE
    if large and a.dtype is torch.float32 and a.device.type == "cpu" and _present():
        return _linear(a, b)
    return a @ b.T


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, w: Tensor, x: Tensor, b: Tensor | None) -> Tensor:
        ctx.save_for_backward(w, x)
        shared = x.ndim == 2
        out = product(w.flatten(0, 1), x).view(*w.shape[:2], -1) if shared else _each(w, x)
        return out if b is None else out.add_(b[:, :, None])

    @staticmethod
    def backward(ctx: BackwardCFunction, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        w, x = ctx.saved_tensors  # type: ignore[misc]
        g = gradients[0].contiguous()
        gx = None
        if x.ndim == 2:
            gw = product(g.flatten(0, 1), x.T).view(w.shape)
        else:
            gw = _each(g, x.transpose(1, 2))
            if ctx.needs_input_grad[1]:  # type: ignore[misc]
                gx = _each(w.transpose(1, 2), g.transpose(1, 2)).transpose(1, 2)
        return gw, gx, g.sum(2) if ctx.needs_input_grad[2] else None  # type: ignore[misc]


def _each(a: Tensor, b: Tensor) -> Tensor:
    """a[r] @ b[r].T for every run r."""
    if 2.0 * a[0].numel() * b.shape[1] >= LARGE:
        return torch.stack([product(one, other) for one, other in zip(a, b, strict=True)])
    return torch.bmm(a, b.transpose(1, 2))


def linear(w: Tensor, x: Tensor, b: Tensor | None) -> Tensor:
    """The linear layers of many runs: w (runs, out, in), x (runs, batch, in) or one shared (batch, in), b (runs, out).

    Returns (runs, batch, out), a view of (runs, out, batch). A shared x gets no gradient.
    """
    return _Linear.apply(w, x, b).transpose(1, 2)  # type: ignore[no-any-return,no-untyped-call]
