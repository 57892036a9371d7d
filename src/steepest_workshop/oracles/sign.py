"""Oracles of rules that step by the sign."""

import numpy as np

from .each import each


@each
def rprop(p, lr0=None, etaminus=0.5, etaplus=1.2, step_min=1e-6, step_max=50.0):
    size, before = None, np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        size = np.full_like(p, lr) if size is None else size
        g = np.array(g)
        for i in np.ndindex(p.shape):  # element by element, as in the paper
            product = g[i] * before[i]
            if product > 0:
                size[i] = min(size[i] * etaplus, step_max)
            elif product < 0:
                size[i] = max(size[i] * etaminus, step_min)
                g[i] = 0.0
        before = g
        p = p - np.sign(g) * size


@each
def lion(p, beta1=0.9, beta2=0.99, weight_decay=0.0):
    m = np.zeros_like(p)
    while True:
        g, lr, _ = yield p
        p = p - lr * weight_decay * p
        p = p - lr * np.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
