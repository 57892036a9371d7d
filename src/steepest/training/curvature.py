"""The gradient norm of a model's loss at the initial weights, and the extreme eigenvalues of its Hessian."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from ..errors import SteepestError
from ..problems.problem import Problem
from ..problems.seeds import seeded

EXAMPLES = 2048  # most training examples in the loss


class Curvature(NamedTuple):
    """The loss, the norm of its gradient, and the smallest and largest eigenvalues of its Hessian.

    `bound` is 2 / largest, the largest stable rate of plain gradient descent; None if no eigenvalue is positive.
    """

    loss: float
    gradient: float
    least: float
    largest: float
    bound: float | None


def curvature(problem: Problem, device: str = "cpu") -> Curvature:
    """The curvature at the initial weights of seed 0, over the first training examples, with the model in evaluation mode.

    Lanczos' method (scipy's eigsh) on Hessian-vector products; the Hessian itself is never formed. Raises SteepestError for a
    model whose loss has no second derivative.
    """
    problem = problem.on(device).fresh(device)
    with seeded(0):
        model = problem.start(0, device).eval()
    params = [p for p in model.parameters() if p.requires_grad]
    loss = problem.batch_loss(model, problem.sample(EXAMPLES))
    gradients = _flat(torch.autograd.grad(loss, params, create_graph=True, allow_unused=True), params)
    if not gradients.requires_grad:
        raise SteepestError(f"Problem '{problem.name}': the gradient of its loss does not depend on the weights; no Hessian.")

    def times(v: np.ndarray) -> np.ndarray:
        along = torch.from_numpy(np.ascontiguousarray(v, dtype=np.float64)).to(gradients)
        product = torch.autograd.grad(gradients @ along.view(-1), params, retain_graph=True, allow_unused=True)
        return _flat(product, params).detach().double().cpu().numpy()

    count = gradients.numel()
    least, largest = _extremes(LinearOperator((count, count), matvec=times, dtype=np.float64), count, problem.name)
    norm = float(gradients.detach().double().norm())
    return Curvature(float(loss.detach()), norm, least, largest, 2 / largest if largest > 0 else None)


def _flat(tensors: tuple[Tensor | None, ...], params: list[nn.Parameter]) -> Tensor:
    parts = [torch.zeros_like(p) if t is None else t for t, p in zip(tensors, params, strict=True)]
    return torch.cat([part.reshape(-1) for part in parts])


def _extremes(operator: LinearOperator, count: int, name: str) -> tuple[float, float]:
    if count <= 8:
        w = np.linalg.eigvalsh(np.stack([operator.matvec(e) for e in np.eye(count)]))
        return float(w[0]), float(w[-1])
    start = np.random.default_rng(0).normal(size=count)
    try:
        return tuple(  # type: ignore[return-value]
            float(eigsh(operator, k=1, which=which, v0=start, tol=1e-4, return_eigenvectors=False, maxiter=2000)[0])
            for which in ("SA", "LA")
        )
    except ArpackNoConvergence:
        raise SteepestError(f"Problem '{name}': Lanczos' method did not find the Hessian's extreme eigenvalues.") from None
