"""Oracle of sharpness-aware minimization."""

import numpy as np


def sam(ps, grad, lrs, hypers):
    ps, path, buffers = [np.array(p, float) for p in ps], [], [None] * len(ps)
    for k, lr in enumerate(lrs):
        gs = grad(k, ps)
        norm = np.sqrt(sum((g**2).sum() for g in gs)) + 1e-12
        there = grad(k, [p + h.get("rho", 0.05) * g / norm for p, g, h in zip(ps, gs, hypers, strict=True)])
        for i, (p, g) in enumerate(zip(ps, there, strict=True)):
            momentum = hypers[i].get("momentum", 0.9)
            g = g + hypers[i].get("weight_decay", 0.0) * p
            fresh = 1 - hypers[i].get("dampening", 0.0)
            buffers[i] = g if buffers[i] is None else momentum * buffers[i] + fresh * g
            ps[i] = p - lr * buffers[i]
        path.append(list(ps))
    return path
