"""Oracles of gradient descent, with and without momentum."""

import numpy as np

from .each import each


@each
def sgd(p, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, rate_inside=False):
    buf = None
    while True:
        g, lr, _ = yield p
        g = g + weight_decay * p
        if momentum == 0:
            p = p - lr * g
        elif rate_inside:  # v <- momentum v + lr g; p <- p - v
            d = lr * g
            buf = d if buf is None else momentum * buf + (1 - dampening) * d
            p = p - (d + momentum * buf if nesterov else buf)
        else:
            buf = g if buf is None else momentum * buf + (1 - dampening) * g
            p = p - lr * (g + momentum * buf if nesterov else buf)


@each
def gd(p, weight_decay=0.0):
    while True:
        g, lr, _ = yield p
        p = p - lr * (g + weight_decay * p)


def nesterov_lookahead(ps, grad, lrs, hypers):
    # theta_ahead = theta - momentum v; v = momentum v + lr g(theta_ahead); theta = theta - v
    ps, path = [np.array(p, float) for p in ps], []
    vs = [np.zeros_like(p) for p in ps]
    momenta = [h.get("momentum", 0.9) for h in hypers]
    for k, lr in enumerate(lrs):
        grad(k, ps)
        ahead = [p - m * v for p, m, v in zip(ps, momenta, vs, strict=True)]
        gs = grad(k, ahead)
        for i, h in enumerate(hypers):
            vs[i] = momenta[i] * vs[i] + lr * (gs[i] + h.get("weight_decay", 0.0) * ahead[i])
            ps[i] = ps[i] - vs[i]
        path.append(list(ps))
    return path
